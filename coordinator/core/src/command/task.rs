//! What can be asked of tasks.

use longshore_common::{
    id::{HostId, TaskId},
    task::TaskOverride,
};

use crate::{
    model::{
        capacity_provider::StrategyItem, definition::RevisionRef, name::ClusterName, tags::Tags,
        task_options::TaskOptions,
    },
    placement::Strategy,
    query::Constraint,
};

#[derive(Clone, Debug)]
pub enum TaskCommand {
    RunTask(Box<RunTask>),
    StartTask(Box<StartTask>),
    StopTask {
        cluster: ClusterName,
        task: TaskId,
        reason: Option<String>,
    },
    /// Protects from scale-in until `minutes` from now; without, protects no longer.
    UpdateTaskProtection {
        cluster: ClusterName,
        tasks: Vec<TaskId>,
        minutes: Option<u32>,
    },
}

/// What RunTask and StartTask have in common.
#[derive(Clone, Debug)]
pub struct TaskLaunch {
    pub cluster: ClusterName,
    pub definition: RevisionRef,
    pub overrides: TaskOverride,
    /// `family:<family>` when not given.
    pub group: Option<String>,
    pub started_by: Option<String>,
    pub tags: Tags,
    /// Options that those tags give.
    pub options: TaskOptions,
    /// propagateTags TASK_DEFINITION.
    pub propagate_tags: bool,
    /// Adds aws:ecs:clusterName.
    pub managed_tags: bool,
}

#[derive(Clone, Debug)]
pub struct RunTask {
    pub launch: TaskLaunch,
    pub count: u32,
    pub distinct_instance: bool,
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
    /// A capacity provider strategy, none at all for a launch type; absent: the cluster's own.
    pub capacity: Option<Vec<StrategyItem>>,
    pub client_token: Option<ClientToken>,
}

#[derive(Clone, Debug)]
pub struct StartTask {
    pub launch: TaskLaunch,
    pub hosts: Vec<HostId>,
}

/// RunTask's clientToken with a hash of all other parameters (promises.md 2.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    pub token: String,
    pub parameters_hash: u64,
}
