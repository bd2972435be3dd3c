//! Every operation of the API in sequences that a seed decides, from several clients, while hosts
//! come, fail and go, the clock is set, and the coordinator dies and is started again. After each
//! step, and more thoroughly from time to time, what must hold is looked at: nothing panics, nothing
//! is a server's fault, no host has less than nothing left, a restart changes nothing, lists and
//! counts agree, what is deleted or drained comes to its end, and nothing grows with history.

mod agents;
mod calm;
mod clients;
mod coordinator;
mod course;
mod coverage;
mod effects;
mod inputs;
mod judge;
mod known;
mod planted;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use self::{
    course::Course,
    judge::Fault,
    planted::{BUGS, Planted},
};
use crate::{
    campaign::reached,
    chance::Chance,
    figures::{count, figure, progress},
};

/// Calls of a full run.
pub(super) const CALLS: usize = 1_000_000;
/// Calls of a run in which every command and event must have been seen.
const CALLS_THAT_SEE_ALL: usize = 200_000;
/// A run of a million calls has at least so many restarts for each of so many calls.
const CALLS_PER_RESTART_MAX: usize = 3_000;
/// Faults that are told one by one.
const TOLD_MAX: usize = 10;

/// What a run is to do.
pub struct Chaos {
    calls: usize,
    seed: u64,
    planted: Planted,
}

#[derive(Clone, Debug, Default)]
pub struct ChaosCounts {
    asked: usize,
    seed: u64,
    pub calls: usize,
    pub restarts: usize,
    pub commands_unseen: Vec<&'static str>,
    pub events_unseen: Vec<&'static str>,
    seen: Vec<(&'static str, usize)>,
    faults: BTreeMap<Fault, usize>,
    /// Each in words.
    known: BTreeSet<String>,
    /// The first of them.
    told: Vec<String>,
    last_calls: Vec<String>,
    /// Answers by operation: refused, and not.
    answered: BTreeMap<&'static str, [usize; 2]>,
    /// A digest of all calls and answers: one seed has one, on each machine.
    course: u32,
}

impl Chaos {
    pub fn of(calls: usize, seed: u64) -> Self {
        Chaos { calls, seed, planted: Planted::default() }
    }

    /// With a bug at one of the coordinator's doors, which is to be found.
    pub fn with_bug(self, name: &str) -> Result<Self> {
        let names = || BUGS.map(|bug| format!("{bug:?}")).join(", ");
        let planted = Planted::named(name);
        let planted = planted.with_context(|| format!("there is no bug {name}: {}", names()))?;
        Ok(Chaos { planted, ..self })
    }

    /// On a runtime of its own: one thread, so that one seed has one course.
    pub fn run(&self) -> Result<ChaosCounts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = runtime.block_on(async {
            let course = Course::begin(Chance::from_seed(self.seed), self.planted.clone()).await?;
            Ok::<_, anyhow::Error>(course.run(self.calls).await)
        });
        Ok(ChaosCounts { asked: self.calls, seed: self.seed, ..counts? })
    }
}

impl ChaosCounts {
    fn found(&mut self, fault: Fault, what: String) {
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

    fn judge(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::{planted::Bug, *};

    /// Under ten seconds of a small machine, with some calm times and some emptied states.
    const CALLS_OF_A_TEST: usize = 3_000;
    /// Calls of a run with a bug, and runs in which it must be found. Most are in the first.
    const CALLS_WITH_A_BUG: usize = 1_500;
    const SEEDS_MAX: u64 = 3;

    #[test]
    fn chaos_finds_nothing_wrong() {
        Chaos::of(CALLS_OF_A_TEST, 7).run().unwrap().judge().unwrap();
    }

    #[test]
    fn one_seed_has_one_course() {
        let course = || {
            let counts = Chaos::of(CALLS_WITH_A_BUG, 3).run().unwrap();
            (counts.course, counts.calls, counts.restarts, counts.seen, counts.answered)
        };
        assert_eq!(course(), course());
    }

    /// Each as what it is: another fault does not count for it.
    fn is_found(bug: Bug) {
        let found = (1..=SEEDS_MAX).any(|seed| {
            let chaos = Chaos { calls: CALLS_WITH_A_BUG, seed, planted: Planted::bug(bug) };
            let counts = chaos.run().unwrap();
            bug.shows_as().iter().any(|fault| counts.faults.contains_key(fault))
        });
        assert!(found, "{bug:?} was not found");
    }

    /// A test for each bug, so that they run side by side.
    macro_rules! planted_bugs_are_found {
        ($($test:ident $bug:ident,)*) => {
            mod planted_bugs_are_found {
                use super::*;

                $(#[test]
                fn $test() {
                    is_found(Bug::$bug);
                })*

                #[test]
                fn each_has_a_test() {
                    assert_eq!(BUGS, [$(Bug::$bug),*]);
                }
            }
        };
    }

    planted_bugs_are_found! {
        stale_snapshot StaleSnapshot,
        count_kept_by_hand CountKeptByHand,
        gate_forgotten GateForgotten,
        not_marked_changed NotMarkedChanged,
        kind_missing KindMissing,
        history_unbounded HistoryUnbounded,
        draining_kept DrainingKept,
        service_kept ServiceKept,
        bad_token_breaks BadTokenBreaks,
        list_disagrees ListDisagrees,
    }
}
