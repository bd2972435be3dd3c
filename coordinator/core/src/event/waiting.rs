//! What became true of tasks that wait for a host.

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    protocol::ContainerId,
    resources::Demand,
    task::{StopCause, TaskOverride},
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        attachment::AttachmentSpec,
        client_token::UsedClientToken,
        name::{CapacityProviderName, ClusterName, Family},
        tags::Tags,
    },
    placement::Strategy,
    query::Constraint,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WaitingEvent {
    /// Tasks of one RunTask call that wait for a host. They have one when they are in a
    /// `TasksStarted` that names this launch.
    TasksWaiting(Box<TasksWaiting>),
    /// The tasks never had a host, and are written to the history.
    WaitingTasksEnded { launch: TaskId, tasks: Vec<TaskId>, cause: StopCause, at: Timestamp },
}

/// The record of tasks that wait, too: then `tasks` are those that still do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TasksWaiting {
    /// The id of its first task.
    pub launch: TaskId,
    pub cluster: ClusterName,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub started_by: Option<String>,
    pub overrides: TaskOverride,
    pub demand: Demand,
    pub tags: Tags,
    pub tasks: Vec<WaitingTask>,
    pub distinct_instance: bool,
    /// Constraints of the call, beside those of the task definition.
    #[serde(default)]
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
    /// Time at which the tasks are given up.
    pub until: Option<Timestamp>,
    pub timeout_ms: Option<u64>,
    /// The capacity provider whose hosts alone will do.
    #[serde(default)]
    pub provider: Option<CapacityProviderName>,
    /// As in `TasksStarted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentSpec>,
    /// As in `TasksStarted`; gone in a record.
    pub client_token: Option<UsedClientToken>,
    /// The journal's sequence of the batch that asked for the tasks, in a record; 0 in an event,
    /// and where an earlier release kept it.
    #[serde(default)]
    pub asked_seq: u64,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingTask {
    pub task: TaskId,
    pub containers: Vec<ContainerId>,
}
