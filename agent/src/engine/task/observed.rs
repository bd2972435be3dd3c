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
    task::{HealthStatus, StopCause, StopCode},
};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        plan::{DesiredTask, PullPolicy, Restart, Role, Rules, order},
        task::{desired::DesiredContainer, labels},
    },
    runtime::{
        Aim, ContainerChange, ContainerDetails, RunState, RuntimeError, Unknown, ecs_reason,
        shorten,
    },
};

#[cfg(test)]
mod tests;

/// How often one container is asked for before a 404 is believed.
const MISSING_TO_BELIEVE: u32 = 2;
/// Between the two: an engine that is starting may not have read its containers yet.
const MISSING_RETRY: Duration = Duration::from_secs(1);
/// Attempts at a call that the engine answers with 5xx, before its word is final.
const ENGINE_ERRORS_MAX: u32 = 3;
/// ecs-behaviour 1.7.
const PULL_ATTEMPTS_MAX: u32 = 5;
/// How often an image is pulled again that was gone when its container was to be made.
const IMAGES_LOST_MAX: u32 = 2;
const PULL_RETRY_MIN: Duration = Duration::from_millis(1100);
const PULL_RETRY_MAX: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// 128 and the number of SIGKILL: what the end of a namespace's first process does to all others.
const KILLED: i32 = 137;

const PAUSE_EXITED: &str = "The container that holds the namespaces which this task's containers \
                            share (~internal~ecs~pause) exited";
const ESSENTIAL_EXITED: &str = "Essential container in task exited";
const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
const REMOVED_OUTSIDE: &str =
    "DockerStateError: the container is gone, and it was not this agent that removed it";

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

/// What came of one [`crate::engine::plan::Step`].
#[derive(Debug)]
pub(crate) enum Outcome {
    Pulled(Result<(), RuntimeError>),
    /// An image that the agent made.
    Loaded(Result<(), RuntimeError>),
    /// Nobody needed the image any more.
    PullCancelled,
    Created(Result<String, RuntimeError>),
    Started(Result<(), RuntimeError>),
    Inspected(Result<Box<ContainerDetails>, RuntimeError>),
    /// Stop or kill.
    Stopped(Result<(), RuntimeError>),
    Removed(Result<(), RuntimeError>),
    LastLines(Result<Vec<String>, RuntimeError>),
}

/// When the container's next step may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Now,
    After(Duration),
}

impl ObservedTask {
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

    /// Of a task that was found by its containers, without a record: those of which none is left ran
    /// and were removed since, where the others show it. They are asked for, and not run again.
    pub(crate) fn gone_after_they_ran(&mut self, desired: &DesiredTask, now: Timestamp) {
        while let Some((index, succeeded)) = self.gone_after_it_ran(desired) {
            let container = &mut self.containers[index];
            (container.state, container.doubt) = (ContainerState::Unknown, true);
            container.ever_ran = true;
            container.exit_seen = succeeded.then_some((Some(0), now));
        }
    }

    /// A container of which nothing is left and that had begun, and whether it surely succeeded.
    fn gone_after_it_ran(&self, desired: &DesiredTask) -> Option<(usize, bool)> {
        let is_there = |index: &usize| self.containers[*index].state != ContainerState::Absent;
        let all = || 0..self.containers.len();
        let missing = || all().filter(|index| !is_there(index));
        // What depends on it was made after it had begun.
        let needed = missing().find_map(|index| {
            let there =
                all().filter(is_there).flat_map(|other| &desired.containers[other].depends_on);
            let needed: Vec<_> =
                there.filter(|one| one.on == index).map(|one| one.condition).collect();
            let succeeded = needed.contains(&order::Condition::Success);
            (!needed.is_empty()).then_some((index, succeeded))
        });
        // Nothing tells whether one was made that nobody needs. What could have run has.
        needed.or_else(|| {
            let could_run = |index: &usize| {
                !desired.containers[*index].essential && order::may_begin(desired, self, *index)
            };
            let any = all().any(|index| is_there(&index));
            missing().find(could_run).filter(|_| any).map(|index| (index, false))
        })
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

    /// Draws the conclusions of a change: what is started again, whether the task stops by itself,
    /// and whether it has.
    pub(crate) fn settle(&mut self, desired: &DesiredTask, now: Timestamp) {
        if desired.stop_cause(self).is_none() {
            for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
                if wanted.restart.as_ref().is_some_and(|policy| container.starts_again(policy)) {
                    container.restarts += 1;
                    container.state = ContainerState::Restarting;
                }
            }
            self.own_stop = self.first_end(desired);
            self.give_up_what_never_begins(desired, now);
        }
        if desired.stop_cause(self).is_none() {
            return;
        }
        self.set_stop_deadlines(desired, now);
        self.stopping_at.get_or_insert(now);
        let over = |c: &ObservedContainer| c.is_over() && !c.awaits_last_lines();
        if self.execution_stopped_at.is_none() && self.containers.iter().all(over) {
            self.execution_stopped_at = Some(now);
        }
    }

    /// Every container whose dependencies can no longer be met never runs and says why, one that
    /// waits for such a one too. The task stops for it only if it is essential.
    fn give_up_what_never_begins(&mut self, desired: &DesiredTask, now: Timestamp) {
        while let Some((index, reason)) = order::never_begins(desired, self, now) {
            self.containers[index].never_runs(reason.clone());
            if desired.containers[index].essential {
                let cause = StopCause { code: StopCode::TaskFailedToStart, reason };
                self.own_stop.get_or_insert(cause);
            }
        }
    }

    /// From now on, containers whose turn it is have their time to stop.
    fn set_stop_deadlines(&mut self, desired: &DesiredTask, now: Timestamp) {
        for (index, wanted) in desired.containers.iter().enumerate() {
            let container = &self.containers[index];
            let gone = container.process_ended && desired.stop.is_none();
            let runs = container.state == ContainerState::Running && !gone;
            if runs && container.stop_by.is_none() && order::may_stop(desired, self, index) {
                self.containers[index].stop_by = Some(now.saturating_add(wanted.stop_grace));
            }
        }
    }

    /// Why the task stops by itself, if an essential container has ended.
    fn first_end(&self, desired: &DesiredTask) -> Option<StopCause> {
        let containers = || desired.containers.iter().zip(&self.containers);
        let mut ended = containers().filter(|(wanted, c)| wanted.essential && c.has_ended());
        let pause = containers().find(|(wanted, c)| wanted.role == Role::Pause && c.has_ended());
        let Some((_, pause)) = pause else {
            return ended.next().map(|(_, container)| own_stop_cause(container));
        };
        // The end of the pause container may take the others with it, and not the other way round:
        // one that ended in its own way was before.
        let own_way = |c: &ObservedContainer| c.exit_code.is_some_and(|code| code != KILLED);
        let before = ended.find(|(wanted, c)| wanted.role == Role::Defined && own_way(c));
        let mut cause = own_stop_cause(before.map_or(pause, |(_, container)| container));
        if before.is_none() && pause.ever_ran {
            cause.reason = PAUSE_EXITED.to_owned();
        }
        Some(cause)
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

    /// Takes the outcome of a call for container `index`.
    pub(crate) fn record(
        &mut self,
        desired: &DesiredTask,
        index: usize,
        outcome: Outcome,
        rules: &Rules,
        now: Timestamp,
    ) -> Next {
        let wanted = &desired.containers[index];
        let container = &mut self.containers[index];
        (container.in_flight, container.being_started) = (false, false);
        container.being_inspected = false;
        match outcome {
            Outcome::Pulled(result) => {
                self.pull_stopped_at = Some(now);
                self.containers[index].pulled = None;
                self.containers[index].pulled(result, rules.pull, Some(&wanted.image))
            }
            Outcome::Loaded(result) => container.pulled(result, rules.pull, None),
            Outcome::PullCancelled => {
                (container.pulled, container.pull_failure) = (None, None);
                Next::Now
            }
            Outcome::Created(Ok(id)) => {
                container.settled();
                container.id = Some(id);
                container.state = ContainerState::Created;
                Next::Now
            }
            Outcome::Created(Err(error)) => container.create_failed(error),
            Outcome::Started(Ok(())) => {
                container.settled();
                container.begins();
                container.started_at.get_or_insert(now);
                if wanted.health_check {
                    container.health = Some(HealthStatus::Unknown);
                }
                match &wanted.bindings {
                    // Reported as running once its ports are known, which one inspect tells.
                    None => container.doubt = true,
                    Some(bindings) => {
                        container.bindings.clone_from(bindings);
                        container.state = ContainerState::Running;
                    }
                }
                Next::Now
            }
            Outcome::Started(Err(error)) => container.start_failed(&error),
            Outcome::Inspected(Ok(details)) => {
                let ours = labels::task_of(&details.labels, rules) == Some(desired.key)
                    && labels::container_index(&details.labels, desired) == Some(index);
                if ours {
                    container.inspected(*details, wanted.health_check, now)
                } else {
                    container.settled();
                    container.never_runs(format!(
                        "CannotCreateContainerError: the name {} is taken by a container that is \
                         not this task's; remove it",
                        wanted.docker_name
                    ));
                    Next::Now
                }
            }
            Outcome::Inspected(Err(RuntimeError::NotFound { .. })) => container.not_found(now),
            Outcome::Inspected(Err(_)) => {
                container.doubt = true;
                container.retry()
            }
            Outcome::Stopped(Ok(())) => {
                container.doubt = true;
                container.stop_attempts += 1;
                match container.stop_attempts {
                    1 => Next::Now,
                    // It ran on after one that was said to be done.
                    more => Next::After(backoff(RETRY_MIN, RETRY_MAX, more)),
                }
            }
            Outcome::Stopped(Err(_)) => {
                container.stop_attempts += 1;
                container.doubt = true;
                container.retry()
            }
            Outcome::Removed(Ok(()) | Err(RuntimeError::NotFound { .. })) => {
                container.settled();
                container.doubt = false;
                container.state = ContainerState::Removed;
                Next::Now
            }
            Outcome::Removed(Err(_)) => container.retry(),
            // They help a reader; a task's end does not wait for a second try.
            Outcome::LastLines(lines) => {
                container.last_lines = Some(lines.unwrap_or_default());
                Next::Now
            }
        }
    }

    /// Takes an event of container `index`. True when there is something to plan or to report.
    pub(crate) fn event(
        &mut self,
        desired: &DesiredTask,
        index: usize,
        change: ContainerChange,
        at: Timestamp,
    ) -> bool {
        let container = &mut self.containers[index];
        match change {
            ContainerChange::Started => {
                // Of our own start, or of one that an inspect has shown: it brings the exact time.
                if container.being_started || container.has_begun() {
                    container.started_at = Some(at);
                    return false;
                }
                // Somebody else started it, perhaps while another call of ours is under way.
                container.doubt = true;
            }
            ContainerChange::Exited { exit_code } => {
                container.exit_seen = Some((exit_code, at));
                container.doubt = true;
            }
            // Its own exit, if it comes to that, tells it too, unless that was told first.
            ContainerChange::OutOfMemory => return container.kernel_killed_for_memory(),
            ContainerChange::Health(health) => {
                if !desired.containers[index].health_check || container.health == Some(health) {
                    return false;
                }
                container.health = Some(health);
            }
            // With its network it loses its ports; with another it has others.
            ContainerChange::LeftNetwork => {
                // A container that ends leaves its network too.
                let runs = container.state == ContainerState::Running && !container.end_is_known();
                if !runs || container.being_started {
                    return false;
                }
                (container.left_network, container.doubt) = (true, true);
            }
            ContainerChange::JoinedNetwork => {
                if !std::mem::take(&mut container.left_network) {
                    return false;
                }
                container.doubt = true;
            }
            // It goes on as it is, and is stopped as any other.
            ContainerChange::ByOthers(_) => return false,
            ContainerChange::Removed => {
                if container.state == ContainerState::Removed {
                    return false;
                }
                container.missing = container.missing.max(1);
                container.doubt = true;
            }
        }
        true
    }

    /// Takes what a listing of every container of ours says of container `index`.
    pub(crate) fn listed(&mut self, index: usize, found: Option<(&str, RunState)>) {
        let container = &mut self.containers[index];
        if container.in_flight {
            return;
        }
        match (container.state, found) {
            (ContainerState::Removed, _) => {}
            (ContainerState::Unknown, None) if container.id.is_none() => {
                container.state = ContainerState::Absent;
            }
            (ContainerState::Stopped, None) => container.state = ContainerState::Removed,
            (ContainerState::Absent, None) => {}
            // A listing is no 404: an engine that starts may not have read its containers yet.
            (
                ContainerState::Unknown
                | ContainerState::Created
                | ContainerState::Running
                | ContainerState::Restarting,
                None,
            ) => container.doubt = true,
            // An engine that has missed the end is told to stop what it takes for running.
            (ContainerState::Running, Some((_, RunState::Running))) => {
                container.process_ended = false;
            }
            (ContainerState::Created, Some((_, RunState::Created)))
            | (ContainerState::Restarting, Some((_, RunState::Exited)))
            | (ContainerState::Stopped, Some((_, RunState::Exited | RunState::Created))) => {}
            (_, Some((id, _))) => {
                container.id.get_or_insert_with(|| id.to_owned());
                container.doubt = true;
            }
        }
    }
}

fn own_stop_cause(ended: &ObservedContainer) -> StopCause {
    if ended.ever_ran {
        return StopCause {
            code: StopCode::EssentialContainerExited,
            reason: ESSENTIAL_EXITED.to_owned(),
        };
    }
    StopCause {
        code: StopCode::TaskFailedToStart,
        reason: ended.reason.clone().unwrap_or_else(|| "Task failed to start".to_owned()),
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

    /// ecs-behaviour 1.7, restart policy.
    fn starts_again(&self, policy: &Restart) -> bool {
        let ran = self.start_by_this_clock().zip(self.finished_at);
        let ran = ran.map(|(from, until)| until.since(from));
        let ignored = |code: &i32| policy.ignored_exit_codes.contains(code);
        self.state == ContainerState::Stopped
            && self.id.is_some()
            && !self.doubt
            && !self.restart_refused
            && self.exit_code.is_some_and(|code| !ignored(&code))
            && ran.is_some_and(|ran| ran >= policy.after_running)
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

    fn retry(&mut self) -> Next {
        self.failures += 1;
        Next::After(backoff(RETRY_MIN, RETRY_MAX, self.failures))
    }

    /// `image` is absent for one that the agent makes itself.
    fn pulled(
        &mut self,
        result: Result<(), RuntimeError>,
        policy: PullPolicy,
        image: Option<&str>,
    ) -> Next {
        self.pull_failure = None;
        let Err(error) = result else {
            self.failures = 0;
            self.pull = PullState::Done;
            return Next::Now;
        };
        let again = match &error {
            RuntimeError::Unknown(Unknown::Timeout { .. }) => false,
            RuntimeError::Unknown(Unknown::Transport { .. }) => true,
            RuntimeError::Unknown(
                Unknown::Registry { .. } | Unknown::Engine { .. } | Unknown::Unreadable { .. },
            ) => self.failures + 1 < PULL_ATTEMPTS_MAX,
            RuntimeError::NotFound { .. }
            | RuntimeError::ImageNotFound { .. }
            | RuntimeError::Conflict { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => false,
        };
        let attempts = self.failures + 1;
        if again {
            self.failures = attempts;
            // An engine that is away fails every attempt, and is told of by itself.
            if !matches!(error, RuntimeError::Unknown(Unknown::Transport { .. })) {
                let error = shorten(&error.to_string());
                self.pull_failure = Some(PullFailure { attempts, error });
            }
            return Next::After(backoff(PULL_RETRY_MIN, PULL_RETRY_MAX, self.failures));
        }
        self.failures = 0;
        let reason = match image {
            Some(image) => pull_reason(image, attempts, &error),
            None => ecs_reason(Aim::Pull, &error),
        };
        match policy {
            PullPolicy::PullFirst => {
                // What the host has will do. If it has nothing, this is why.
                self.pull = PullState::Done;
                self.verdict = Some(reason);
            }
            PullPolicy::Always | PullPolicy::Once | PullPolicy::PreferCached => {
                self.never_runs(reason)
            }
        }
        Next::Now
    }

    fn create_failed(&mut self, error: RuntimeError) -> Next {
        match &error {
            RuntimeError::ImageNotFound { .. } => match self.pull {
                PullState::NotNeeded => self.pull = PullState::Needed,
                // Somebody has removed it since.
                PullState::Done if self.verdict.is_none() && self.images_lost < IMAGES_LOST_MAX => {
                    self.images_lost += 1;
                    self.pull = PullState::Needed;
                }
                PullState::Needed | PullState::Done => {
                    let reason = self.verdict.take();
                    self.never_runs(reason.unwrap_or_else(|| ecs_reason(Aim::Create, &error)));
                }
            },
            // An earlier attempt may have made it: the labels tell.
            RuntimeError::Conflict { .. } => self.doubt = true,
            RuntimeError::NotFound { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => {
                self.never_runs(ecs_reason(Aim::Create, &error));
            }
            RuntimeError::Unknown(unknown) => {
                self.judge(Aim::Create, unknown, &error);
                return self.retry();
            }
        }
        Next::Now
    }

    fn start_failed(&mut self, error: &RuntimeError) -> Next {
        self.doubt = true;
        match error {
            RuntimeError::NotFound { .. } => {
                // Of the container, or of something that it needs: then asking again shows it.
                self.missing = self.missing.max(1);
                if self.failures + 1 >= ENGINE_ERRORS_MAX {
                    self.verdict = Some(ecs_reason(Aim::Start, error));
                }
                return self.retry();
            }
            RuntimeError::ImageNotFound { .. }
            | RuntimeError::Conflict { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => self.verdict = Some(ecs_reason(Aim::Start, error)),
            RuntimeError::Unknown(unknown) => {
                self.judge(Aim::Start, unknown, error);
                return self.retry();
            }
        }
        Next::Now
    }

    /// After a call whose outcome is unknown: inspect, and give up if it was not done and there is
    /// no sense in trying again.
    fn judge(&mut self, aim: Aim, unknown: &Unknown, error: &RuntimeError) {
        self.doubt = true;
        let give_up = match unknown {
            Unknown::Timeout { .. } => true,
            Unknown::Registry { .. } | Unknown::Engine { .. } => {
                self.failures + 1 >= ENGINE_ERRORS_MAX
            }
            Unknown::Transport { .. } | Unknown::Unreadable { .. } => false,
        };
        if give_up {
            self.verdict = Some(ecs_reason(aim, error));
        }
    }

    fn inspected(&mut self, details: ContainerDetails, health_check: bool, now: Timestamp) -> Next {
        self.id = Some(details.id);
        self.missing = 0;
        match details.state {
            RunState::Created => {
                if let Some(reason) = self.verdict.take() {
                    self.never_runs(reason);
                } else if self.ever_ran {
                    // It ran and shows no exit: some engine's way to say that it is gone.
                    self.ended(None, details.finished_at.unwrap_or(now));
                } else {
                    self.state = ContainerState::Created;
                }
            }
            RunState::Running => {
                self.settled();
                let another_run = details.started_at.is_some_and(|at| self.started_before(at));
                if another_run {
                    // What was known of the end was the end of an earlier run.
                    (self.process_ended, self.exit_seen) = (false, None);
                    (self.stop_attempts, self.stop_by) = (0, None);
                    self.killed_for_memory = false;
                }
                self.state = ContainerState::Running;
                self.begins();
                self.pid = details.pid;
                self.started_at = details.started_at.or(self.started_at);
                self.bindings = details.bindings;
                if health_check {
                    self.health = Some(details.health.unwrap_or_default());
                }
            }
            RunState::Exited => {
                self.started_at = details.started_at.or(self.started_at);
                self.ever_ran |= details.started_at.is_some();
                if details.oom_killed {
                    self.reason = Some(OUT_OF_MEMORY.to_owned());
                }
                let verdict = self.verdict.take();
                match verdict {
                    Some(reason) if !self.ever_ran => self.never_runs(reason),
                    verdict => {
                        let restarting = self.state == ContainerState::Restarting;
                        self.ended(details.exit_code, details.finished_at.unwrap_or(now));
                        if restarting && let Some(reason) = verdict {
                            self.restart_refused = true;
                            self.reason = Some(reason);
                        }
                    }
                }
            }
        }
        Next::Now
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

    fn not_found(&mut self, now: Timestamp) -> Next {
        self.missing += 1;
        // Its exit was seen: the 404 adds nothing that a second one could change.
        if self.missing < MISSING_TO_BELIEVE && self.exit_seen.is_none() {
            self.doubt = true;
            return Next::After(MISSING_RETRY);
        }
        let verdict = self.verdict.take();
        self.doubt = false;
        self.missing = 0;
        if self.state == ContainerState::Stopped {
            self.state = ContainerState::Removed;
        } else if self.ever_ran || (self.exit_seen.is_some() && verdict.is_none()) {
            // An exit is the end of something that ran, also if its start was never answered.
            let (exit_code, at) = self.exit_seen.unwrap_or((None, now));
            if self.exit_seen.is_none() {
                self.reason.get_or_insert_with(|| REMOVED_OUTSIDE.to_owned());
            }
            self.ended(exit_code, at);
            self.id = None;
        } else if let Some(reason) = verdict {
            self.never_runs(reason);
        } else {
            self.id = None;
            self.state = ContainerState::Absent;
        }
        Next::Now
    }
}

/// ECS's reason, with the image if the error does not name it, and the attempts if there were more.
fn pull_reason(image: &str, attempts: u32, error: &RuntimeError) -> String {
    let reason = ecs_reason(Aim::Pull, error);
    let names_its_subject =
        matches!(error, RuntimeError::NoLogin { .. } | RuntimeError::NotPrepared { .. });
    let tried = match attempts {
        1 if names_its_subject || reason.contains(image) => return reason,
        1 => format!("image {image}"),
        more => format!("image {image} was tried {more} times"),
    };
    match reason.split_once(": ") {
        Some((name, message)) => shorten(&format!("{name}: {tried}: {message}")),
        None => reason,
    }
}

/// Doubles with each failure.
pub(crate) fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max)
}
