//! What became true of tasks, those of services among them.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    logs::mode::LogDriverMode,
    protocol::{ContainerId, TaskReport},
    resources::Demand,
    task::{StopCause, TaskOverride},
};
use serde::{Deserialize, Serialize};

use crate::model::{
    attachment::AttachmentSpec,
    client_token::UsedClientToken,
    name::{CapacityProviderName, ClusterName, Family},
    tags::Tags,
    task::{AskedPlacement, StartedForService, TaskRecord},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskEvent {
    /// One decision, any number of tasks of one kind.
    TasksStarted(Box<TasksStarted>),
    TaskStopRequested {
        task: TaskId,
        cause: StopCause,
        at: Timestamp,
    },
    TaskReported {
        task: TaskId,
        report: Box<TaskReport>,
        at: Timestamp,
    },
    /// The last word on a task, which goes from the state to the history.
    TaskStopped {
        task: TaskId,
        cause: StopCause,
        report: Option<Box<TaskReport>>,
        /// The task ended of itself right after it began to run: its service waits before the next
        /// one.
        #[serde(default)]
        ran_briefly: bool,
        at: Timestamp,
    },
    /// A host runs a task that this journal did not know, as the host said after `recover`.
    TaskAdopted(Box<TaskAdopted>),
    /// One decision of the scheduler, any number of tasks of one service.
    TasksStopRequested {
        tasks: Vec<TaskId>,
        cause: StopCause,
        /// Counted against their revision (ecs-behaviour 1.10, what counts).
        failed: bool,
        at: Timestamp,
    },
    /// The tasks ran long enough without checks to count as healthy.
    TasksSettled {
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    /// The tasks' host was silent for too long: they leave their service's count (design.md rule
    /// 6).
    TasksLost {
        host: HostId,
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    /// The tasks' host is back and they still run.
    TasksReturned {
        host: HostId,
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    TaskProtectionPut {
        tasks: Vec<TaskId>,
        until: Option<Timestamp>,
    },
    /// How long the task may be RUNNING from now on; absent: without an end.
    TaskTimeoutSet {
        task: TaskId,
        timeout_ms: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TasksStarted {
    pub cluster: ClusterName,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub started_by: Option<String>,
    pub overrides: TaskOverride,
    pub demand: Demand,
    pub tags: Tags,
    pub tasks: Vec<PlacedTask>,
    /// RunTask's clientToken, kept in the same record as its effect.
    pub client_token: Option<UsedClientToken>,
    #[serde(default)]
    pub service: Option<StartedForService>,
    /// How long each may be RUNNING.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The launch in which they waited for a host.
    #[serde(default)]
    pub waited: Option<TaskId>,
    /// The capacity provider whose hosts the tasks are placed on.
    #[serde(default)]
    pub provider: Option<CapacityProviderName>,
    /// Absent when the call asked nothing, and for tasks of a service.
    #[serde(default)]
    pub asked: Option<AskedPlacement>,
    /// The account's `defaultLogDriverMode` when they were placed; absent in older journals, whose
    /// tasks block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver_mode: Option<LogDriverMode>,
    /// What each task is to have attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentSpec>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedTask {
    pub task: TaskId,
    pub host: HostId,
    pub containers: Vec<ContainerId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskAdopted {
    pub record: TaskRecord,
}
