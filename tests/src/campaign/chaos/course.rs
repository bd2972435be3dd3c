//! The course of a run: what happens when, and what is looked at after it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use longshore_core::{Command, command::EpochCommand};

use super::{
    agents::{Agents, HOSTS_MAX},
    clients::Clients,
    coordinator::{AfterDeath, Coordinator},
    counts::ChaosCounts,
    effects::{Booted, Effects},
    inputs::generator::CLUSTERS,
    judge::{self, Fault, Overfull},
    planted::Planted,
    views,
};
use crate::{chance::Chance, figures::progress};

/// Calls between two looks at the whole.
const WHOLE_EVERY: usize = 400;
/// A coordinator dies after about so many calls.
const DEATH_EVERY: usize = 120;
/// Rounds until an operator recovers from an old journal, about.
const RECOVERED_IN: usize = 4;
/// Faults cease so many times in a short run, after at least and at most so many calls in any, and each
/// so many-th time everything is deleted.
const CALMS: usize = 10;
const CALM_EVERY: std::ops::RangeInclusive<usize> = 300..=2_000;
const RAZE_EVERY: usize = 2;
/// Calls between two words of progress.
const TELL_EVERY: usize = 50_000;
/// Looks at the clock while time passes.
const TICKS_MAX: usize = 400;
/// Shortest time between two of them, as the coordinator keeps it.
const WAKES_APART: Duration = Duration::from_millis(2);
/// Panics of the coordinator after which a run ends.
const FALLS_MAX: usize = 10;
/// Faults after which a run ends.
const FAULTS_MAX: usize = 20;

pub(super) struct Course {
    pub(super) coordinator: Coordinator,
    pub(super) clients: Clients,
    pub(super) agents: Agents,
    pub(super) effects: Effects,
    pub(super) chance: Chance,
    pub(super) overfull: Overfull,
    pub(super) counts: ChaosCounts,
    /// Rounds until the scheduler begins after a start.
    begins_in: Option<usize>,
    /// Panics of the coordinator so far.
    falls: usize,
    /// What was left of each kind after everything was deleted, the first time, in bytes.
    pub(super) emptied: BTreeMap<String, usize>,
    /// Machines that come up, and in how many rounds.
    booting: Vec<(usize, Booted)>,
}

impl Course {
    pub(super) async fn begin(chance: Chance, planted: Planted) -> Result<Self> {
        let coordinator = Coordinator::start(&chance, planted).await?;
        let clients = Clients::of(&coordinator.edge.offered(), chance.part(11))?;
        Ok(Course {
            clients,
            agents: Agents::new(chance.part(12)),
            effects: Effects::new(chance.part(13)),
            chance: chance.part(14),
            coordinator,
            overfull: Overfull::new(),
            counts: ChaosCounts::default(),
            begins_in: Some(0),
            falls: 0,
            emptied: BTreeMap::new(),
            booting: Vec::new(),
        })
    }

    /// To its end, or to what nothing can follow.
    pub(super) async fn run(mut self, calls: usize) -> ChaosCounts {
        if let Err(error) = self.take_its_course(calls).await {
            self.found(Fault::Panic, format!("{error:#}"));
        }
        self.end()
    }

    async fn take_its_course(&mut self, calls: usize) -> Result<()> {
        let mut due = Due::default();
        let calm_every = (calls / CALMS).clamp(*CALM_EVERY.start(), *CALM_EVERY.end());
        while self.clients.calls < calls && !self.is_over() {
            self.round().await?;
            let done = self.clients.calls;
            if done >= due.whole + WHOLE_EVERY {
                due.whole = done;
                self.look_at_the_whole().await?;
            }
            if self.chance.one_in(DEATH_EVERY) {
                self.die().await?;
            }
            if done >= due.calm + calm_every {
                due.calm = done;
                due.calms += 1;
                self.calm_down().await?;
                if due.calms % RAZE_EVERY == 0 {
                    self.raze().await?;
                }
            }
            if done >= due.told + TELL_EVERY {
                due.told = done;
                let course = self.clients.course();
                progress(&format!(
                    "{done} calls, {} restarts, course {course}",
                    self.counts.restarts
                ));
            }
        }
        if self.is_over() {
            return Ok(());
        }
        self.calm_down().await
    }

    fn end(mut self) -> ChaosCounts {
        self.counts.calls = self.clients.calls;
        self.counts.course = self.clients.course();
        self.counts.answered = std::mem::take(&mut self.clients.answered);
        let watched = self.coordinator.watched.borrow();
        self.counts.commands_unseen = watched.commands.unseen();
        self.counts.events_unseen = watched.events.unseen();
        self.counts.seen = watched.commands.seen().chain(watched.events.seen()).collect();
        drop(watched);
        self.counts
    }

    /// The calls before the first fault are kept.
    pub(super) fn found(&mut self, fault: Fault, what: String) {
        if self.counts.last_calls.is_empty() {
            self.counts.last_calls = self.clients.last_calls();
        }
        progress(&format!("{} found after {} calls", fault.figure(), self.clients.calls));
        self.counts.found(fault, what);
    }

    /// Enough was found, or what a planted bug shows.
    fn is_over(&self) -> bool {
        let faults = &self.counts.faults;
        let planted = self.coordinator.planted.shows_as();
        faults.values().sum::<usize>() >= FAULTS_MAX
            || planted.iter().any(|fault| faults.contains_key(fault))
    }

    /// One thing happens.
    async fn round(&mut self) -> Result<()> {
        self.begin_scheduling().await;
        if self.chance.one_in(RECOVERED_IN) {
            self.recover().await;
        }
        match self.chance.below(100) {
            0..=74 => self.clients.ask(&mut self.coordinator).await,
            75..=88 => self.agents.go_on(&mut self.coordinator).await,
            89..=92 => self.effects_go_on().await,
            93..=97 => {
                let passes = self.passes();
                self.pass(passes).await?;
            }
            98 => {
                let ahead = self.chance.below(600_000) as i64 - 300_000;
                self.coordinator.clock.jump(ahead);
                self.clients.note(&format!("the wall clock is set by {ahead} ms"));
            }
            _ => self.somebody_joins().await,
        }
        if !self.chance.one_in(10) {
            self.coordinator.settle()?;
        }
        self.look().await
    }

    pub(super) async fn effects_go_on(&mut self) {
        let (booted, gone) = self.effects.go_on(&mut self.coordinator).await;
        let boots = booted.into_iter().map(|one| (self.chance.below(20), one));
        self.booting.extend(boots);
        gone.iter().for_each(|gone| self.agents.terminate(gone));
        let mut up = Vec::new();
        self.booting.retain_mut(|(rounds, booted)| match *rounds {
            0 => {
                up.push(std::mem::take(&mut booted.0));
                false
            }
            _ => {
                *rounds -= 1;
                true
            }
        });
        for instance in up.into_iter().filter(|instance| !gone.contains(instance)) {
            let cluster = CLUSTERS[self.chance.below(2)];
            self.join(cluster, Some(instance)).await;
        }
    }

    async fn somebody_joins(&mut self) {
        if self.agents.len() < HOSTS_MAX {
            let few = if self.chance.one_in(5) { CLUSTERS.len() } else { 2 };
            let cluster = CLUSTERS[self.chance.below(few)];
            self.join(cluster, None).await;
        }
    }

    async fn join(&mut self, cluster: &str, instance: Option<String>) {
        if instance.as_ref().is_some_and(|instance| self.agents.is_instance(instance)) {
            return;
        }
        let known = self.chance.pick(&self.clients.known.tokens).map(|(token, _)| token.clone());
        let token = match known.filter(|_| !self.chance.one_in(3)) {
            Some(token) => token,
            None => self.new_token().await,
        };
        self.agents.join(&mut self.coordinator, &token, cluster, instance).await;
    }

    pub(super) async fn new_token(&mut self) -> String {
        let input = serde_json::json!({"ttlSeconds": 3600});
        let made = self.clients.told(&mut self.coordinator, "CreateJoinToken", input).await;
        made["token"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn begin_scheduling(&mut self) {
        match self.begins_in {
            None => {}
            Some(0) => {
                self.begins_in = None;
                // Once it is known to be old, `recover` begins.
                if !self.coordinator.journal_is_old() {
                    self.coordinator.submit(Command::Epoch(EpochCommand::BeginScheduling)).await;
                }
            }
            Some(rounds) => self.begins_in = Some(rounds - 1),
        }
    }

    fn passes(&mut self) -> Duration {
        let seconds = match self.chance.below(100) {
            0..=64 => 1 + self.chance.below(10),
            65..=89 => self.chance.below(60),
            90..=98 => self.chance.below(600),
            _ => self.chance.below(3 * 3600),
        };
        Duration::from_secs(seconds as u64)
    }

    /// Lets time pass, and tells so whenever the state machine wants it.
    pub(super) async fn pass(&mut self, passes: Duration) -> Result<()> {
        let until = self.coordinator.now().saturating_add(passes);
        for _ in 0..TICKS_MAX {
            let now = self.coordinator.now();
            let wake = self.coordinator.next_wake().filter(|wake| *wake < until);
            let next = wake.map_or(until, |wake| wake.max(now)).since(now);
            self.coordinator.clock.advance(next.max(WAKES_APART));
            self.coordinator.submit(Command::Epoch(EpochCommand::Tick)).await;
            self.coordinator.settle()?;
            if wake.is_none() || self.coordinator.broken {
                return Ok(());
            }
        }
        // What wants to look again and again does not keep time from passing.
        let rest = until.since(self.coordinator.now());
        self.coordinator.clock.advance(rest);
        self.coordinator.submit(Command::Epoch(EpochCommand::Tick)).await;
        self.coordinator.settle()
    }

    /// The coordinator dies, most often while somebody asks for something.
    async fn die(&mut self) -> Result<()> {
        let turns = self.chance.below(6);
        if turns > 0 {
            self.clients.ask_in_vain(&mut self.coordinator, turns).await;
        }
        let journal = match self.chance.below(40) {
            0..=3 => AfterDeath::BackedUp,
            4..=7 => AfterDeath::WentBack,
            _ => AfterDeath::Kept,
        };
        self.restart(journal).await
    }

    pub(super) async fn restart(&mut self, journal: AfterDeath) -> Result<()> {
        self.clients.note(&format!("the coordinator starts anew, its journal {journal:?}"));
        let compare = |before: &_, after: &_| judge::differences(before, after);
        let different = self.coordinator.restart(journal, compare).await?;
        self.counts.restarts += 1;
        for what in different {
            self.found(Fault::RestartDifference, what);
        }
        self.begins_in = Some(self.chance.below(4));
        if journal == AfterDeath::WentBack {
            self.agents.go_on(&mut self.coordinator).await;
        }
        self.look().await
    }

    /// An operator reads the alarm sooner or later.
    pub(super) async fn recover(&mut self) {
        if self.coordinator.journal_is_old() {
            self.clients.told(&mut self.coordinator, "Recover", serde_json::json!({})).await;
        }
    }

    /// What is cheap to look at after each step.
    pub(super) async fn look(&mut self) -> Result<()> {
        let panics = std::mem::take(&mut self.coordinator.watched.borrow_mut().panics);
        for panic in panics {
            self.found(Fault::Panic, panic);
        }
        for (fault, what) in self.clients.take_faults() {
            self.found(fault, what);
        }
        if self.coordinator.broken {
            self.falls += 1;
            ensure!(self.falls < FALLS_MAX, "the coordinator panics again and again");
            return Box::pin(self.restart(AfterDeath::Kept)).await;
        }
        let overfull = &mut self.overfull;
        overfull.append(&mut self.coordinator.watched.borrow_mut().overfull);
        let found = self.coordinator.peek(|state| judge::hosts(state, overfull));
        for (fault, what) in found {
            self.found(fault, what);
        }
        Ok(())
    }

    async fn look_at_the_whole(&mut self) -> Result<()> {
        self.coordinator.settle()?;
        if self.coordinator.broken {
            return self.look().await;
        }
        for what in self.coordinator.peek(judge::unsound) {
            self.found(Fault::Unsound, what);
        }
        let found = views::views(&mut self.coordinator, &mut self.clients).await;
        for (fault, what) in found {
            self.found(fault, what);
        }
        self.look().await
    }
}

/// When what was done last, in calls.
#[derive(Clone, Default)]
struct Due {
    whole: usize,
    calm: usize,
    calms: usize,
    told: usize,
}
