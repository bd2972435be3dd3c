//! What can carry tags.

use longshore_common::id::{HostId, TaskId};
use serde::{Deserialize, Serialize};

use crate::model::{
    alarm::AlarmName,
    log_group::LogGroupName,
    name::{CapacityProviderName, ClusterName, Family},
    service::{RevisionId, ServiceRef},
};

/// Something that can carry tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    Cluster(ClusterName),
    TaskDefinition { family: Family, revision: u32 },
    Task { cluster: ClusterName, task: TaskId },
    ContainerInstance { cluster: ClusterName, host: HostId },
    Service(ServiceRef),
    TaskSet { service: ServiceRef, task_set: RevisionId },
    CapacityProvider(CapacityProviderName),
    LogGroup(LogGroupName),
    Alarm(AlarmName),
}
