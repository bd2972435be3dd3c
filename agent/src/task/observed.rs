//! What is known of a task on this host, and what each outcome of a call teaches.
//!
//! Pure: the wall time comes in. The one rule here is that unknown is not dead (promises.md 2.2):
//! a container ends by an inspect that shows it, by its exit event, or by two 404s for its id;
//! every other error leaves it as last known and in doubt, and doubt is cleared by an inspect.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    image_reference::is_by_digest,
    protocol::NetworkBinding,
    task::{HealthStatus, StopCause},
};
use serde::{Deserialize, Serialize};

use crate::{
    settings::PullPolicy,
    task::desired::{DesiredContainer, DesiredTask, Role},
};

mod conclusions;
mod events;
mod outcomes;
#[cfg(test)]
mod tests;

pub(crate) use self::outcomes::{Next, Outcome, backoff};

/// 128 and the number of SIGKILL: what the end of a namespace's first process does to all others.
const KILLED: i32 = 137;

const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObservedTask {
    pub(crate) containers: Vec<ObservedContainer>,
    /// Why it stops although nobody ordered it to.
    pub(crate) own_stop: Option<StopCause>,
    pub(crate) pull_started_at: Option<Timestamp>,
    pub(crate) pull_stopped_at: Option<Timestamp>,
    pub(crate) stopping_at: Option<Timestamp>,
    pub(crate) execution_stopped_at: Option<Timestamp>,
    /// The coordinator holds this task's end: it is no longer desired here.
    pub(crate) acknowledged: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObservedContainer {
    pub(crate) state: ContainerState,
    /// The container engine's id.
    pub(crate) id: Option<String>,
    pub(crate) ever_ran: bool,
    pub(crate) image_digest: Option<String>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) bindings: Vec<NetworkBinding>,
    pub(crate) health: Option<HealthStatus>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// How often its restart policy started it again.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// The end of its log once it has ended; absent until the engine was asked.
    #[serde(default)]
    pub(crate) last_lines: Option<Vec<String>>,

    /// When the time that it is given to stop is over: one deadline, whoever restarts meanwhile.
    #[serde(default)]
    pub(crate) stop_by: Option<Timestamp>,

    /// What was last known may no longer hold: inspect before anything else.
    #[serde(skip)]
    pub(crate) doubt: bool,
    /// A call is under way.
    #[serde(skip)]
    pub(crate) in_flight: bool,
    /// That call is our own start.
    #[serde(skip)]
    pub(crate) being_started: bool,
    /// That call is an inspect.
    #[serde(skip)]
    pub(crate) being_inspected: bool,
    /// Its network was taken from it, and perhaps its ports with it.
    #[serde(skip)]
    left_network: bool,
    /// The next call waits for a moment, after a failure.
    #[serde(skip)]
    pub(crate) waiting: bool,
    #[serde(skip)]
    pub(crate) pull: PullState,
    /// While its image is being pulled, and the engine has told how far that is.
    #[serde(skip)]
    pub(crate) pulled: Option<PullAmount>,
    /// While another attempt is to follow one that has failed.
    #[serde(skip)]
    pub(crate) pull_failure: Option<PullFailure>,
    /// How often an image that was pulled was gone when the container was to be made.
    #[serde(skip)]
    images_lost: u32,
    #[serde(skip)]
    pub(crate) stop_attempts: u32,
    #[serde(skip)]
    failures: u32,
    #[serde(skip)]
    missing: u32,
    /// Why the container never runs, if the next inspect shows that the last call was not done.
    #[serde(skip)]
    verdict: Option<String>,
    #[serde(skip)]
    exit_seen: Option<(Option<i32>, Timestamp)>,
    /// The kernel says that its process has ended; how, the engine has not said yet.
    #[serde(skip)]
    pub(crate) process_ended: bool,
    /// The kernel says that it killed a process of this run for its memory.
    #[serde(skip)]
    killed_for_memory: bool,
    /// While it runs and an inspect has shown it.
    #[serde(skip)]
    pub(crate) pid: Option<u32>,
    /// The engine will not start it again.
    #[serde(skip)]
    restart_refused: bool,
    /// How far the wall clock, and with it Docker's times, has jumped while it ran.
    #[serde(skip)]
    clock_jumped_ms: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContainerState {
    /// Not asked for since this agent started.
    #[default]
    Unknown,
    Absent,
    Created,
    Running,
    /// It ended, and its restart policy has it started again.
    Restarting,
    /// It ended, or it never will run.
    Stopped,
    /// Stopped, and cleaned up.
    Removed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PullState {
    #[default]
    NotNeeded,
    Needed,
    Done,
}

impl PullState {
    /// Whether a container's image is to be pulled before its first create.
    fn before(wanted: &DesiredContainer, policy: PullPolicy) -> Self {
        match (wanted.role, policy) {
            // What the agent makes itself is in no registry.
            (Role::Pause, _) => PullState::NotNeeded,
            (Role::Defined, _) if is_by_digest(&wanted.image) => PullState::NotNeeded,
            (Role::Defined, PullPolicy::PullFirst | PullPolicy::Always | PullPolicy::Once) => {
                PullState::Needed
            }
            (Role::Defined, PullPolicy::PreferCached) => PullState::NotNeeded,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PullAmount {
    pub(crate) bytes: u64,
    pub(crate) of_bytes: u64,
}

/// How the last attempt of a pull has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullFailure {
    pub(crate) attempts: u32,
    pub(crate) error: String,
}

impl ObservedTask {
    /// Why this task is to stop, if it is: the first of an order and what happened by itself.
    pub(crate) fn stop_cause<'a>(&'a self, desired: &'a DesiredTask) -> Option<&'a StopCause> {
        self.own_stop.as_ref().or(desired.stop.as_ref())
    }

    /// A task of which nothing was ever done here.
    pub(crate) fn new(desired: &DesiredTask, pull: PullPolicy) -> Self {
        let fresh = ObservedContainer { state: ContainerState::Absent, ..Default::default() };
        let mut task =
            ObservedTask { containers: vec![fresh; desired.containers.len()], ..Self::default() };
        task.set_pulls(desired, pull);
        task
    }

    /// A task as the ledger or the labels tell of it, to be compared with the engine.
    pub(crate) fn unseen(mut self, desired: &DesiredTask, pull: PullPolicy) -> Self {
        self.containers.resize_with(desired.containers.len(), ObservedContainer::default);
        self.set_pulls(desired, pull);
        for container in &mut self.containers {
            match container.state {
                ContainerState::Stopped | ContainerState::Removed => {}
                ContainerState::Absent
                | ContainerState::Created
                | ContainerState::Running
                | ContainerState::Restarting
                | ContainerState::Unknown => container.state = ContainerState::Unknown,
            }
        }
        self
    }

    /// What was pulled before, under [`PullPolicy::Once`], is not pulled again.
    pub(crate) fn reuse(&mut self, desired: &DesiredTask, was_pulled: impl Fn(&str) -> bool) {
        for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
            if container.pull == PullState::Needed && was_pulled(&wanted.image) {
                container.pull = PullState::NotNeeded;
            }
        }
    }

    fn set_pulls(&mut self, desired: &DesiredTask, policy: PullPolicy) {
        for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
            container.pull = PullState::before(wanted, policy);
            if wanted.role == Role::Pause {
                // It never writes a line that could be asked for.
                container.last_lines = Some(Vec::new());
            }
        }
    }

    /// Whether every container was asked for since the agent started: else there is no news.
    pub(crate) fn is_known(&self) -> bool {
        self.containers.iter().all(|c| c.state != ContainerState::Unknown)
    }

    /// All of it was looked at, and nothing is in doubt.
    pub(crate) fn is_seen(&self) -> bool {
        self.is_known() && self.containers.iter().all(|c| !c.doubt && !c.in_flight)
    }

    /// An inspect of it is needed or under way.
    pub(crate) fn awaits_look(&self) -> bool {
        !self.is_known() || self.containers.iter().any(|c| c.doubt || c.being_inspected)
    }

    /// Something of it was seen to run, so that it has not ended.
    pub(crate) fn runs(&self) -> bool {
        self.containers.iter().any(|c| c.state == ContainerState::Running)
    }

    /// Nothing of it runs, nothing will, and nothing is open.
    pub(crate) fn has_stopped(&self) -> bool {
        self.execution_stopped_at.is_some()
    }

    /// An operator's view of the pull: from the first image's begin to the last one's end.
    pub(crate) fn pull_begins(&mut self, now: Timestamp) {
        self.pull_started_at.get_or_insert(now);
        self.pull_stopped_at = None;
    }

    /// The wall clock is so far ahead of where it should be, or behind when negative: what is
    /// measured from a container's start goes by the time that has passed, not by this.
    pub(crate) fn clock_jumped(&mut self, by_ms: i64) {
        for container in self.containers.iter_mut().filter(|c| c.state == ContainerState::Running) {
            container.clock_jumped_ms = container.clock_jumped_ms.saturating_add(by_ms);
            container.stop_by = container.stop_by.map(|at| at.jumped(by_ms));
        }
    }
}

impl ObservedContainer {
    /// Of a task that is to stop: this container does not run, and no call could make it run.
    pub(crate) fn is_over(&self) -> bool {
        let still = match self.state {
            ContainerState::Unknown | ContainerState::Running => false,
            ContainerState::Absent
            | ContainerState::Created
            | ContainerState::Restarting
            | ContainerState::Stopped
            | ContainerState::Removed => true,
        };
        still && !self.in_flight && !self.doubt
    }

    /// It ended, and what it wrote last was not asked for yet.
    pub(crate) fn awaits_last_lines(&self) -> bool {
        self.state == ContainerState::Stopped
            && self.ever_ran
            && self.id.is_some()
            && self.last_lines.is_none()
    }

    /// A call came out well. A doubt stays: it came up while the call was under way, and what was
    /// seen then may be newer than the reply.
    fn settled(&mut self) {
        self.failures = 0;
        self.missing = 0;
        self.verdict = None;
    }

    /// Also before the engine has said how.
    fn has_ended(&self) -> bool {
        match self.state {
            ContainerState::Stopped => true,
            ContainerState::Running => self.process_ended,
            ContainerState::Unknown
            | ContainerState::Absent
            | ContainerState::Created
            | ContainerState::Restarting
            | ContainerState::Removed => false,
        }
    }

    /// It was started by us or seen to run, also while its ports are still asked for, and nothing was
    /// heard of an end since.
    fn has_begun(&self) -> bool {
        let begun = match self.state {
            ContainerState::Running => true,
            ContainerState::Created | ContainerState::Restarting => {
                self.ever_ran && self.finished_at.is_none()
            }
            ContainerState::Unknown
            | ContainerState::Absent
            | ContainerState::Stopped
            | ContainerState::Removed => false,
        };
        begun && !self.end_is_known()
    }

    /// It was known to run, and not since `at` already. An exact time comes with the event: the
    /// first one is that of our own clock.
    fn started_before(&self, at: Timestamp) -> bool {
        self.ever_ran && self.end_is_known() && self.started_at.is_some_and(|known| known < at)
    }

    /// The kernel has killed a process of this container for its memory. Docker does not say so where
    /// the control group went with its only process (cgroup v2). True when that is news.
    pub(crate) fn kernel_killed_for_memory(&mut self) -> bool {
        self.killed_for_memory = true;
        let known = self.reason.clone();
        // Its end may have been seen before.
        if self.state == ContainerState::Stopped {
            self.explain_by_memory();
        }
        self.reason != known
    }

    /// A process that was stopped for another reason is not said to be killed for its memory.
    fn explain_by_memory(&mut self) {
        if self.killed_for_memory && self.exit_code == Some(KILLED) && self.stop_by.is_none() {
            self.reason.get_or_insert_with(|| OUT_OF_MEMORY.to_owned());
        }
    }

    /// It was heard to end, and no inspect has shown how.
    fn end_is_known(&self) -> bool {
        self.process_ended || self.exit_seen.is_some()
    }

    /// What is left of the time that it is given to stop; all of it before that began.
    pub(crate) fn grace_left(&self, grace: Duration, now: Timestamp) -> Duration {
        self.stop_by.map_or(grace, |by| by.since(now).min(grace))
    }

    /// When it was started, as the clock shows it that later times are read from.
    pub(crate) fn start_by_this_clock(&self) -> Option<Timestamp> {
        self.started_at.map(|at| at.jumped(self.clock_jumped_ms))
    }

    /// It runs, perhaps not for the first time.
    fn begins(&mut self) {
        self.ever_ran = true;
        self.pid = None;
        self.left_network = false;
        if self.finished_at.take().is_some() {
            self.clock_jumped_ms = 0;
            self.killed_for_memory = false;
            (self.started_at, self.exit_code, self.exit_seen) = (None, None, None);
            (self.reason, self.last_lines) = (None, None);
            (self.stop_by, self.stop_attempts) = (None, 0);
        }
    }

    fn never_runs(&mut self, reason: String) {
        self.state = ContainerState::Stopped;
        self.reason.get_or_insert(reason);
    }

    fn ended(&mut self, exit_code: Option<i32>, at: Timestamp) {
        self.settled();
        self.doubt = false;
        self.state = ContainerState::Stopped;
        (self.pid, self.process_ended) = (None, false);
        self.ever_ran = true;
        self.exit_code = exit_code;
        self.finished_at = Some(at);
        self.explain_by_memory();
    }
}
