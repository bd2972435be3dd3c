//! The state of a container. What is true in one state alone is data of that state, so that a
//! contradiction cannot be written down, and each state says where its container goes on.

use std::time::Duration;

use longshore_common::{clock::Timestamp, protocol::NetworkBinding, task::HealthStatus};
use serde::{Deserialize, Serialize};

#[cfg(test)]
use super::record::ContainerRecord;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ContainerState {
    /// The engine was not asked for the container since this agent started.
    Unknown(LastKnown),
    /// There is no container. A listing may have shown one since, which an inspect is to confirm.
    Absent {
        listed: Option<String>,
    },
    Created {
        id: String,
    },
    /// The start was answered. The container counts as running once its ports are known, which the
    /// next inspect tells.
    Started {
        id: String,
        run: Run,
    },
    Running {
        id: String,
        run: Run,
        process: MainProcess,
        /// The container's network was taken from it, and perhaps its ports with the network.
        left_network: bool,
    },
    /// The container ended, and its restart policy has it started again.
    Restarting {
        id: String,
        run: Run,
        end: End,
    },
    /// The container ended, or never will run. Without an id, the engine has nothing to remove.
    Stopped {
        id: Option<String>,
        ending: Ending,
    },
    /// Stopped, and cleaned up.
    Removed {
        id: Option<String>,
        ending: Ending,
    },
}

/// What was known of a container before its state was left, or before this agent started.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LastKnown {
    pub(super) id: Option<String>,
    pub(super) run: Option<Run>,
    pub(super) end: Option<End>,
}

/// One run of a container, from its start on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    pub(super) started_at: Option<Timestamp>,
    /// Milliseconds by which the wall clock, and with it Docker's times, has jumped during the run.
    pub(super) clock_jumped_ms: i64,
    pub(super) bindings: Vec<NetworkBinding>,
    pub(super) health: Option<HealthStatus>,
    /// Present once the container is to stop.
    pub(super) stop: Option<Stop>,
}

/// The stop of a container under way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stop {
    /// When the time to stop is over: one deadline, however often the agent restarts meanwhile.
    pub(super) by: Timestamp,
    /// Calls that this agent has made for it.
    pub(super) attempts: u32,
}

/// What the kernel tells of the first process of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MainProcess {
    Runs {
        /// Known once an inspect has shown it.
        pid: Option<u32>,
    },
    /// The process has ended; how, the engine has not said yet.
    Ended,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct End {
    pub(super) exit_code: Option<i32>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) reason: Option<String>,
    /// The last lines of the container's log; absent until the engine was asked for them.
    pub(super) last_lines: Option<Vec<String>>,
    /// The engine has refused to start the container again.
    pub(super) restart_refused: bool,
}

/// Why a container runs no more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    NeverRan { reason: Option<String> },
    Ran { run: Run, end: End },
}

/// Name of a state, as the ledger and the log give it. The ledger's format: never rename one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContainerStage {
    #[default]
    Unknown,
    Absent,
    /// Also a container whose first start was answered, while its ports are not known.
    Created,
    Running,
    /// Also a container that was started again, while its ports are not known.
    Restarting,
    Stopped,
    Removed,
}

impl Default for ContainerState {
    fn default() -> Self {
        ContainerState::Unknown(LastKnown::default())
    }
}

impl Run {
    /// What is left of the time that the container is given to stop; all of it before that began.
    pub(crate) fn grace_left(&self, grace: Duration, now: Timestamp) -> Duration {
        self.stop.as_ref().map_or(grace, |stop| stop.by.since(now).min(grace))
    }

    /// Calls that were to stop this run.
    pub(crate) fn stop_attempts(&self) -> u32 {
        self.stop.as_ref().map_or(0, |stop| stop.attempts)
    }
}

impl LastKnown {
    /// A container that will not run any more, for this reason unless an earlier one is known.
    pub(super) fn give_up(self, reason: String) -> ContainerState {
        let LastKnown { id, run, end } = self;
        let mut end = end.unwrap_or_default();
        end.reason.get_or_insert(reason);
        ContainerState::Stopped { id, ending: Ending::of(run, end) }
    }
}

impl Ending {
    pub(super) fn of(run: Option<Run>, end: End) -> Self {
        match run {
            Some(run) => Ending::Ran { run, end },
            None => Ending::NeverRan { reason: end.reason },
        }
    }

    fn run(&self) -> Option<&Run> {
        match self {
            Ending::NeverRan { .. } => None,
            Ending::Ran { run, .. } => Some(run),
        }
    }

    fn end(&self) -> Option<&End> {
        match self {
            Ending::NeverRan { .. } => None,
            Ending::Ran { end, .. } => Some(end),
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Ending::NeverRan { reason } => reason.as_deref(),
            Ending::Ran { end, .. } => end.reason.as_deref(),
        }
    }
}

impl ContainerState {
    /// Leaves the state; what was known in it goes into the next one.
    pub(super) fn leave(&mut self) -> LastKnown {
        let of_ending = |id, ending| match ending {
            Ending::NeverRan { reason } => {
                let end = reason.map(|reason| End { reason: Some(reason), ..End::default() });
                LastKnown { id, run: None, end }
            }
            Ending::Ran { run, end } => LastKnown { id, run: Some(run), end: Some(end) },
        };
        match std::mem::take(self) {
            ContainerState::Unknown(known) => known,
            ContainerState::Absent { listed } => LastKnown { id: listed, run: None, end: None },
            ContainerState::Created { id } => LastKnown { id: Some(id), run: None, end: None },
            ContainerState::Started { id, run } | ContainerState::Running { id, run, .. } => {
                LastKnown { id: Some(id), run: Some(run), end: None }
            }
            ContainerState::Restarting { id, run, end } => {
                LastKnown { id: Some(id), run: Some(run), end: Some(end) }
            }
            ContainerState::Stopped { id, ending } | ContainerState::Removed { id, ending } => {
                of_ending(id, ending)
            }
        }
    }

    /// The container engine's id.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            ContainerState::Unknown(known) => known.id.as_deref(),
            ContainerState::Absent { listed } => listed.as_deref(),
            ContainerState::Created { id }
            | ContainerState::Started { id, .. }
            | ContainerState::Running { id, .. }
            | ContainerState::Restarting { id, .. } => Some(id),
            ContainerState::Stopped { id, .. } | ContainerState::Removed { id, .. } => {
                id.as_deref()
            }
        }
    }

    /// The run under way, or else the last one.
    pub(super) fn run(&self) -> Option<&Run> {
        match self {
            ContainerState::Unknown(known) => known.run.as_ref(),
            ContainerState::Absent { .. } | ContainerState::Created { .. } => None,
            ContainerState::Started { run, .. }
            | ContainerState::Running { run, .. }
            | ContainerState::Restarting { run, .. } => Some(run),
            ContainerState::Stopped { ending, .. } | ContainerState::Removed { ending, .. } => {
                ending.run()
            }
        }
    }

    pub(super) fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            ContainerState::Unknown(known) => known.run.as_mut(),
            ContainerState::Absent { .. } | ContainerState::Created { .. } => None,
            ContainerState::Started { run, .. }
            | ContainerState::Running { run, .. }
            | ContainerState::Restarting { run, .. }
            | ContainerState::Stopped { ending: Ending::Ran { run, .. }, .. }
            | ContainerState::Removed { ending: Ending::Ran { run, .. }, .. } => Some(run),
            ContainerState::Stopped { ending: Ending::NeverRan { .. }, .. }
            | ContainerState::Removed { ending: Ending::NeverRan { .. }, .. } => None,
        }
    }

    /// How the last run ended; none while another one is under way.
    pub(super) fn end(&self) -> Option<&End> {
        match self {
            ContainerState::Unknown(known) => known.end.as_ref(),
            ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Started { .. }
            | ContainerState::Running { .. } => None,
            ContainerState::Restarting { end, .. } => Some(end),
            ContainerState::Stopped { ending, .. } | ContainerState::Removed { ending, .. } => {
                ending.end()
            }
        }
    }

    /// Why the container ended as it did, or never will run.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            ContainerState::Stopped { ending, .. } | ContainerState::Removed { ending, .. } => {
                ending.reason()
            }
            ContainerState::Unknown(_)
            | ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Started { .. }
            | ContainerState::Running { .. }
            | ContainerState::Restarting { .. } => self.end().and_then(|end| end.reason.as_deref()),
        }
    }
}

#[cfg(test)]
impl ContainerState {
    /// A container in this stage, which has an id if one exists. It has run if it can have, and its
    /// last lines were read if it has ended.
    pub(crate) fn sample(stage: ContainerStage, id: &str) -> Self {
        let (exists, ever_ran, has_ended) = match stage {
            ContainerStage::Unknown | ContainerStage::Absent => (false, false, false),
            ContainerStage::Created => (true, false, false),
            ContainerStage::Running => (true, true, false),
            ContainerStage::Restarting | ContainerStage::Stopped | ContainerStage::Removed => {
                (true, true, true)
            }
        };
        ContainerRecord {
            state: stage,
            id: exists.then(|| id.to_owned()),
            ever_ran,
            finished_at: (stage == ContainerStage::Restarting).then_some(Timestamp(60)),
            last_lines: has_ended.then(Vec::new),
            ..ContainerRecord::default()
        }
        .into_state()
    }
}
