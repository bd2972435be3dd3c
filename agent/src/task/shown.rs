//! A task as the endpoints show it: a picture that the engine makes after each change, never changed
//! itself. Pure.

use std::sync::Arc;

use longshore_common::{clock::Timestamp, protocol::NetworkBinding, task::HealthStatus};

use crate::task::{
    desired::{DesiredTask, Role},
    intent::Intent,
    key::TaskKey,
    observed::{ContainerStage, ObservedTask, PullState},
};

/// Who is shown the tasks, by the engine, after each change.
pub(crate) trait ShowsTasks: std::fmt::Debug + Send + Sync {
    /// A task is new, or changed.
    fn publish(&self, task: ShownTask);

    /// The task has been cleaned up.
    fn forget(&self, key: TaskKey);
}

#[derive(Clone, Debug)]
pub(crate) struct ShownTask {
    pub(crate) key: TaskKey,
    pub(crate) arn: String,
    pub(crate) cluster: String,
    pub(crate) family: String,
    pub(crate) revision: u32,
    /// The task is to stop, or has stopped.
    pub(crate) stops: bool,
    /// Absent for a task that only its containers' labels tell of.
    pub(crate) intent: Option<Arc<Intent>>,
    pub(crate) pull_started_at: Option<Timestamp>,
    pub(crate) pull_stopped_at: Option<Timestamp>,
    pub(crate) execution_stopped_at: Option<Timestamp>,
    pub(crate) containers: Vec<ShownContainer>,
}

#[derive(Clone, Debug)]
pub(crate) struct ShownContainer {
    pub(crate) name: String,
    pub(crate) docker_name: String,
    pub(crate) docker_id: Option<String>,
    pub(crate) image: Arc<str>,
    pub(crate) known: KnownStatus,
    pub(crate) exit_code: Option<i32>,
    /// Absent without a health check.
    pub(crate) health: Option<HealthStatus>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// Absent without a restart policy.
    pub(crate) restarts: Option<u32>,
    pub(crate) bindings: Vec<NetworkBinding>,
}

/// How far a container is, in the words of ECS's agent (ecs-behaviour 1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KnownStatus {
    None,
    Pulled,
    Created,
    Running,
    Stopped,
}

impl KnownStatus {
    pub(crate) fn word(self) -> &'static str {
        match self {
            KnownStatus::None => "NONE",
            KnownStatus::Pulled => "PULLED",
            KnownStatus::Created => "CREATED",
            KnownStatus::Running => "RUNNING",
            KnownStatus::Stopped => "STOPPED",
        }
    }
}

impl ShownTask {
    pub(crate) fn of(desired: &DesiredTask, observed: &ObservedTask) -> Self {
        let containers = desired.containers.iter().zip(&observed.containers);
        // It comes last, so the others' indices stay what they are.
        let containers = containers.filter(|(wanted, _)| wanted.role == Role::Defined);
        let containers = containers.map(|(wanted, container)| ShownContainer {
            name: wanted.name.clone(),
            docker_name: wanted.docker_name.clone(),
            docker_id: container.id().map(str::to_owned),
            image: wanted.named_image.clone(),
            known: known(container.stage(), &container.pull),
            exit_code: container.exit_code(),
            health: wanted.health_check.then(|| container.health().unwrap_or_default()),
            started_at: container.started_at(),
            finished_at: container.finished_at(),
            restarts: wanted.restart.as_ref().map(|_| container.restarts),
            bindings: container.bindings().to_vec(),
        });
        ShownTask {
            key: desired.key,
            arn: desired.task_arn.clone(),
            cluster: desired.cluster.clone(),
            family: desired.family.clone(),
            revision: desired.revision,
            stops: observed.stop_cause(desired).is_some(),
            intent: desired.intent.clone(),
            pull_started_at: observed.pull_started_at,
            pull_stopped_at: observed.pull_stopped_at,
            execution_stopped_at: observed.execution_stopped_at,
            containers: containers.collect(),
        }
    }

    pub(crate) fn desired_status(&self) -> &'static str {
        if self.stops { "STOPPED" } else { "RUNNING" }
    }

    /// The least of its containers' (ecs-behaviour 1.7).
    pub(crate) fn known_status(&self) -> &'static str {
        let least = self.containers.iter().map(|container| container.known).min();
        least.unwrap_or(KnownStatus::None).word()
    }
}

fn known(stage: ContainerStage, pull: &PullState) -> KnownStatus {
    match stage {
        ContainerStage::Absent if *pull == PullState::Done => KnownStatus::Pulled,
        ContainerStage::Unknown | ContainerStage::Absent => KnownStatus::None,
        ContainerStage::Created => KnownStatus::Created,
        ContainerStage::Running | ContainerStage::Restarting => KnownStatus::Running,
        ContainerStage::Stopped | ContainerStage::Removed => KnownStatus::Stopped,
    }
}
