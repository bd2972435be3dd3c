//! What the ledger keeps of a task: flat records, whose form on the disk never changes.
//!
//! Never: a call under way, a doubt or an attempt, none of which outlives the agent.

use longshore_common::{
    clock::Timestamp,
    protocol::NetworkBinding,
    task::{HealthStatus, StopCause},
};
use serde::{Deserialize, Serialize};

use super::{
    ObservedTask,
    container::ObservedContainer,
    state::{ContainerStage, ContainerState, End, Ending, LastKnown, MainProcess, Run, Stop},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    pub(crate) containers: Vec<ContainerRecord>,
    pub(crate) own_stop: Option<StopCause>,
    pub(crate) pull_started_at: Option<Timestamp>,
    pub(crate) pull_stopped_at: Option<Timestamp>,
    pub(crate) stopping_at: Option<Timestamp>,
    pub(crate) execution_stopped_at: Option<Timestamp>,
    pub(crate) acknowledged: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) state: ContainerStage,
    pub(crate) id: Option<String>,
    pub(crate) ever_ran: bool,
    pub(crate) image_digest: Option<String>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) bindings: Vec<NetworkBinding>,
    pub(crate) health: Option<HealthStatus>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) restarts: u32,
    #[serde(default)]
    pub(crate) last_lines: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) stop_by: Option<Timestamp>,
}

impl From<&ObservedTask> for TaskRecord {
    fn from(observed: &ObservedTask) -> Self {
        TaskRecord {
            containers: observed.containers.iter().map(ContainerRecord::from).collect(),
            own_stop: observed.own_stop.clone(),
            pull_started_at: observed.pull_started_at,
            pull_stopped_at: observed.pull_stopped_at,
            stopping_at: observed.stopping_at,
            execution_stopped_at: observed.execution_stopped_at,
            acknowledged: observed.acknowledged,
        }
    }
}

impl From<TaskRecord> for ObservedTask {
    fn from(record: TaskRecord) -> Self {
        ObservedTask {
            containers: record.containers.into_iter().map(ObservedContainer::from).collect(),
            own_stop: record.own_stop,
            pull_started_at: record.pull_started_at,
            pull_stopped_at: record.pull_stopped_at,
            stopping_at: record.stopping_at,
            execution_stopped_at: record.execution_stopped_at,
            acknowledged: record.acknowledged,
        }
    }
}

impl From<&ObservedContainer> for ContainerRecord {
    fn from(container: &ObservedContainer) -> Self {
        let run = container.state.run();
        ContainerRecord {
            state: container.stage(),
            id: container.id().map(str::to_owned),
            ever_ran: container.ever_ran(),
            image_digest: container.image_digest.clone(),
            exit_code: container.exit_code(),
            reason: container.reason().map(str::to_owned),
            bindings: container.bindings().to_vec(),
            health: container.health(),
            started_at: container.started_at(),
            finished_at: container.finished_at(),
            restarts: container.restarts,
            last_lines: container.state.end().and_then(|end| end.last_lines.clone()),
            stop_by: run.and_then(|run| run.stop.as_ref()).map(|stop| stop.by),
        }
    }
}

impl From<ContainerRecord> for ObservedContainer {
    fn from(mut record: ContainerRecord) -> Self {
        let (image_digest, restarts) = (record.image_digest.take(), record.restarts);
        ObservedContainer {
            state: record.into_state(),
            image_digest,
            restarts,
            ..ObservedContainer::default()
        }
    }
}

impl ContainerRecord {
    /// A record that lacks what its state has is of a container that nothing sure is known of.
    pub(crate) fn into_state(self) -> ContainerState {
        let run = Run {
            started_at: self.started_at,
            bindings: self.bindings,
            health: self.health,
            stop: self.stop_by.map(|by| Stop { by, attempts: 0 }),
            clock_jumped_ms: 0,
        };
        let has_ended = self.finished_at.is_some() || self.exit_code.is_some();
        let has_end = has_ended || self.reason.is_some() || self.last_lines.is_some();
        let end = End {
            exit_code: self.exit_code,
            finished_at: self.finished_at,
            reason: self.reason,
            last_lines: self.last_lines,
            restart_refused: false,
        };
        let ending = |run, end| Ending::of(self.ever_ran.then_some(run), end);
        match (self.state, self.id) {
            (ContainerStage::Absent, listed) => ContainerState::Absent { listed },
            (ContainerStage::Created, Some(id)) if !self.ever_ran => ContainerState::Created { id },
            (ContainerStage::Restarting, Some(id)) if has_ended || !self.ever_ran => {
                ContainerState::Restarting { id, run, end }
            }
            (ContainerStage::Created | ContainerStage::Restarting, Some(id)) => {
                ContainerState::Started { id, run }
            }
            (ContainerStage::Running, Some(id)) => ContainerState::Running {
                id,
                run,
                process: MainProcess::Runs { pid: None },
                left_network: false,
            },
            (ContainerStage::Stopped, id) => {
                ContainerState::Stopped { id, ending: ending(run, end) }
            }
            (ContainerStage::Removed, id) => {
                ContainerState::Removed { id, ending: ending(run, end) }
            }
            (
                ContainerStage::Unknown
                | ContainerStage::Created
                | ContainerStage::Running
                | ContainerStage::Restarting,
                id,
            ) => ContainerState::Unknown(LastKnown {
                id,
                run: self.ever_ran.then_some(run),
                end: has_end.then_some(end),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As agents write them.
    fn records() -> Vec<ContainerRecord> {
        let created = ContainerRecord {
            state: ContainerStage::Created,
            id: Some("abc".to_owned()),
            image_digest: Some("sha256:00".to_owned()),
            ..ContainerRecord::default()
        };
        let running = ContainerRecord {
            state: ContainerStage::Running,
            ever_ran: true,
            health: Some(HealthStatus::Healthy),
            started_at: Some(Timestamp(30)),
            stop_by: Some(Timestamp(90)),
            ..created.clone()
        };
        let ended = ContainerRecord {
            state: ContainerStage::Stopped,
            exit_code: Some(3),
            finished_at: Some(Timestamp(60)),
            last_lines: Some(vec!["one".to_owned()]),
            ..running.clone()
        };
        let in_stage = |record: &ContainerRecord, state, restarts| ContainerRecord {
            state,
            restarts,
            ..record.clone()
        };
        vec![
            ContainerRecord::default(),
            ContainerRecord { state: ContainerStage::Absent, ..ContainerRecord::default() },
            created,
            in_stage(&running, ContainerStage::Created, 0),
            in_stage(&running, ContainerStage::Restarting, 1),
            in_stage(&running, ContainerStage::Unknown, 0),
            in_stage(&ended, ContainerStage::Restarting, 1),
            in_stage(&ended, ContainerStage::Removed, 0),
            in_stage(&ended, ContainerStage::Unknown, 2),
            running,
            ContainerRecord { id: None, ..ended.clone() },
            ended,
            ContainerRecord {
                state: ContainerStage::Stopped,
                reason: Some("CannotPullContainerError: no such image".to_owned()),
                ..ContainerRecord::default()
            },
        ]
    }

    #[test]
    fn record_of_a_container_is_read_and_written_alike() {
        for record in records() {
            let container = ObservedContainer::from(record.clone());
            assert_eq!(ContainerRecord::from(&container), record);
        }
    }
}
