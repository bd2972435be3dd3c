//! A task: the form in which it is kept and shown.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    logs::mode::LogDriverMode,
    protocol::{ContainerId, Desired, ReportedPhase, TaskReport},
    resources::Demand,
    task::{StopCause, TaskOverride},
    task_definition::ContainerDefinition,
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        attachment::Attachments,
        name::{CapacityProviderName, ClusterName, Family},
        service::{RevisionId, ServiceId},
        tags::Tags,
    },
    placement::Strategy,
    query::Constraint,
};

/// Which service started a task, and for which of its revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedForService {
    pub service: ServiceId,
    pub revision: RevisionId,
}

/// What a call of RunTask asked of the hosts beside the task definition; kept to be explained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AskedPlacement {
    pub distinct_instance: bool,
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
}

impl AskedPlacement {
    /// `None` when nothing is asked.
    pub fn new(
        distinct_instance: bool,
        member_of: &[Constraint],
        strategies: &[Strategy],
    ) -> Option<Self> {
        let (member_of, strategies) = (member_of.to_vec(), strategies.to_vec());
        let asked = AskedPlacement { distinct_instance, member_of, strategies };
        (asked != AskedPlacement::default()).then_some(asked)
    }
}

/// A task, live or stopped: the form in which it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub id: TaskId,
    pub cluster: ClusterName,
    /// Absent for one that never had any.
    pub host: Option<HostId>,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub generation: u32,
    pub version: u32,
    pub wish: Wish,
    pub phase: Phase,
    pub created_at: Timestamp,
    pub demand: Demand,
    pub overrides: TaskOverride,
    pub tags: Tags,
    pub started_by: Option<String>,
    pub containers: Vec<ContainerId>,
    /// Ids of the host's GPUs that are this task's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    pub report: Option<TaskReport>,
    /// The end of the task, in the history only.
    pub end: Option<TaskEnd>,
    #[serde(default)]
    pub service: Option<ServiceTaskRecord>,
    /// How long it may be RUNNING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The capacity provider that the task was started by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<CapacityProviderName>,
    /// What the call that started it asked of hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedPlacement>,
    /// As in its order: see [`longshore_common::protocol::RunOrder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver_mode: Option<LogDriverMode>,
    /// The journal's sequence of the batch that gave it its host; 0 where an earlier release did.
    #[serde(default)]
    pub placed_seq: u64,
    #[serde(default, skip_serializing_if = "Attachments::is_empty")]
    pub attachments: Attachments,
}

/// What a task is to the service that started it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTaskRecord {
    pub service: ServiceId,
    pub revision: RevisionId,
    /// The task ran long enough without checks to count as healthy.
    pub settled: bool,
    /// The task's host was silent for too long.
    pub lost: bool,
    /// The task was lost once and came back.
    pub returned: bool,
    pub protected_until: Option<Timestamp>,
}

/// How a task ended, with what its definition said of its containers, which may be deleted later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEnd {
    pub at: Timestamp,
    pub cause: StopCause,
    pub containers: Vec<ContainerDefinition>,
    pub host_connected: bool,
}

/// What the coordinator wants of a task; only ever goes from run to stop.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Wish {
    Run,
    Stop { cause: StopCause, at: Timestamp },
}

impl Wish {
    pub fn desired(&self) -> Desired {
        match self {
            Wish::Run => Desired::Run,
            Wish::Stop { .. } => Desired::Stop,
        }
    }
}

/// How far a task is, as its agent reported and as far as its attachments let it (ecs-behaviour 1.6);
/// only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// The task's host is not ordered to run it before what must be attached before the start is
    /// attached.
    Provisioning,
    Pending,
    Activating,
    Running {
        started_at: Timestamp,
    },
    /// The task's host is not ordered to stop it before what must be detached before the stop is
    /// detached.
    Deactivating {
        started_at: Option<Timestamp>,
    },
    Stopping {
        started_at: Option<Timestamp>,
        stopping_at: Timestamp,
    },
    /// The task's containers have ended, or never were, and the rest is being detached.
    Deprovisioning {
        started_at: Option<Timestamp>,
        stopping_at: Timestamp,
    },
}

impl Phase {
    /// Where a report moves a task; `None` when it says nothing new.
    pub(crate) fn after(self, reported: &ReportedPhase, at: Timestamp) -> Option<Phase> {
        match (self, reported) {
            (Phase::Pending, ReportedPhase::Activating) => Some(Phase::Activating),
            (Phase::Pending | Phase::Activating, ReportedPhase::Running) => {
                Some(Phase::Running { started_at: at })
            }
            (Phase::Pending | Phase::Activating, ReportedPhase::Stopping(_)) => {
                Some(Phase::Stopping { started_at: None, stopping_at: at })
            }
            (Phase::Running { started_at }, ReportedPhase::Stopping(_)) => {
                Some(Phase::Stopping { started_at: Some(started_at), stopping_at: at })
            }
            (Phase::Deactivating { started_at }, ReportedPhase::Stopping(_)) => {
                Some(Phase::Stopping { started_at, stopping_at: at })
            }
            (_, ReportedPhase::Stopped(_))
            | (_, ReportedPhase::Pending)
            | (Phase::Provisioning | Phase::Deprovisioning { .. }, _)
            | (Phase::Deactivating { .. }, ReportedPhase::Activating | ReportedPhase::Running)
            | (Phase::Activating, ReportedPhase::Activating)
            | (Phase::Running { .. }, ReportedPhase::Activating | ReportedPhase::Running)
            | (
                Phase::Stopping { .. },
                ReportedPhase::Activating | ReportedPhase::Running | ReportedPhase::Stopping(_),
            ) => None,
        }
    }

    pub fn started_at(self) -> Option<Timestamp> {
        match self {
            Phase::Provisioning | Phase::Pending | Phase::Activating => None,
            Phase::Running { started_at } => Some(started_at),
            Phase::Deactivating { started_at }
            | Phase::Stopping { started_at, .. }
            | Phase::Deprovisioning { started_at, .. } => started_at,
        }
    }

    /// ECS's `lastStatus` of a task that has a host.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Provisioning => "PROVISIONING",
            Phase::Pending => "PENDING",
            Phase::Activating => "ACTIVATING",
            Phase::Running { .. } => "RUNNING",
            Phase::Deactivating { .. } => "DEACTIVATING",
            Phase::Stopping { .. } => "STOPPING",
            Phase::Deprovisioning { .. } => "DEPROVISIONING",
        }
    }
}
