//! What a run has done and found, and whether it is what was promised.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::judge::Fault;
use crate::figures::{count, figure, progress, reached};

/// Calls of a run in which every command and event must have been seen.
const CALLS_THAT_SEE_ALL: usize = 200_000;
/// A run of a million calls has at least so many restarts for each of so many calls.
const CALLS_PER_RESTART_MAX: usize = 3_000;
/// Faults that are told one by one.
const TOLD_MAX: usize = 10;

#[derive(Clone, Debug, Default)]
pub struct ChaosCounts {
    pub(super) asked: usize,
    pub(super) seed: u64,
    pub calls: usize,
    pub restarts: usize,
    pub commands_unseen: Vec<&'static str>,
    pub events_unseen: Vec<&'static str>,
    pub(super) seen: Vec<(&'static str, usize)>,
    pub(super) faults: BTreeMap<Fault, usize>,
    /// Each in words.
    pub(super) known: BTreeSet<String>,
    /// The first of them.
    pub(super) told: Vec<String>,
    pub(super) last_calls: Vec<String>,
    /// Answers by operation: refused, and not.
    pub(super) answered: BTreeMap<&'static str, [usize; 2]>,
    /// A digest of all calls and answers: one seed has one, on each machine.
    pub(super) course: u32,
}

impl ChaosCounts {
    pub(super) fn found(&mut self, fault: Fault, what: String) {
        // What lasts is found again and again.
        if !self.known.insert(what.clone()) {
            return;
        }
        *self.faults.entry(fault).or_default() += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{}: {what}", fault.figure()));
        }
    }

    pub fn print_and_judge(&self) -> Result<()> {
        for (name, times) in &self.seen {
            progress(&format!("{name} {times}"));
        }
        for (operation, [refused, done]) in &self.answered {
            progress(&format!("{operation}: {done} done, {refused} refused"));
        }
        figure("seed", self.seed as f64, "number")?;
        figure("course", f64::from(self.course), "number")?;
        count("calls", self.calls)?;
        count("restarts", self.restarts)?;
        for fault in Fault::ALL {
            count(fault.figure(), self.faults.get(&fault).copied().unwrap_or_default())?;
        }
        count("commands_unseen", self.commands_unseen.len())?;
        count("events_unseen", self.events_unseen.len())?;
        self.judge()
    }

    pub(super) fn judge(&self) -> Result<()> {
        ensure!(
            self.faults.is_empty(),
            "found (repeat with --seed {} --count {}):\n{}\nthe last calls:\n{}",
            self.seed,
            self.asked,
            self.told.join("\n"),
            self.last_calls.join("\n")
        );
        reached("calls", self.calls, self.asked)?;
        reached("restarts", self.restarts, self.asked / CALLS_PER_RESTART_MAX)?;
        if self.asked >= CALLS_THAT_SEE_ALL {
            let unseen = [&self.commands_unseen[..], &self.events_unseen[..]].concat();
            ensure!(unseen.is_empty(), "never seen: {}", unseen.join(", "));
        }
        Ok(())
    }
}
