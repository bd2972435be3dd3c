//! What a batch changed that others must hear of, and the log lines that say it.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};

use crate::model::{
    deployment::DeploymentRecord,
    name::{ClusterName, ServiceName},
    revision::RevisionRecord,
    service::ServiceId,
    task::TaskRecord,
};

/// What a batch changed that others must hear of once it is durable.
#[derive(Default)]
pub struct Changes {
    /// Hosts with a new order, digest or acknowledgement.
    pub hosts: Vec<HostId>,
    /// Tasks that left the state for the history.
    pub stopped: Vec<TaskRecord>,
    /// Service deployments as they are now, for the history.
    pub deployments: Vec<(ServiceId, DeploymentRecord)>,
    pub revisions: Vec<(ServiceId, RevisionRecord)>,
    /// Messages of services: (service, message, when).
    pub service_events: Vec<(ServiceId, String, Timestamp)>,
    /// Something outside is to be done (`hook_calls` and `launcher_calls` of the state).
    pub effects: bool,
    /// One line of the log each: (host, what).
    pub log: Vec<LogLine>,
}

/// A state change as the operator reads it (design.md rule 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub cluster: Option<ClusterName>,
    pub host: Option<HostId>,
    pub task: Option<TaskId>,
    pub service: Option<ServiceName>,
    pub what: String,
}

/// What a log line is about.
pub(super) struct LogTo {
    pub(super) cluster: Option<ClusterName>,
    pub(super) host: Option<HostId>,
    pub(super) task: Option<TaskId>,
    pub(super) service: Option<ServiceName>,
}

impl LogTo {
    pub(super) fn nothing() -> Self {
        LogTo { cluster: None, host: None, task: None, service: None }
    }

    pub(super) fn cluster(cluster: &ClusterName) -> Self {
        LogTo { cluster: Some(cluster.clone()), host: None, task: None, service: None }
    }

    pub(super) fn host(cluster: &ClusterName, host: HostId) -> Self {
        LogTo { cluster: Some(cluster.clone()), host: Some(host), task: None, service: None }
    }

    pub(super) fn task(cluster: &ClusterName, host: HostId, task: TaskId) -> Self {
        LogTo { cluster: Some(cluster.clone()), host: Some(host), task: Some(task), service: None }
    }

    /// A task that has no host.
    pub(super) fn waiting(cluster: &ClusterName, task: TaskId) -> Self {
        LogTo { cluster: Some(cluster.clone()), host: None, task: Some(task), service: None }
    }

    pub(super) fn service(cluster: &ClusterName, service: &ServiceName) -> Self {
        let service = Some(service.clone());
        LogTo { cluster: Some(cluster.clone()), host: None, task: None, service }
    }
}
