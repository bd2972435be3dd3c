//! Why commands about hosts, which ECS calls container instances, are refused.

use longshore_common::id::HostId;

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRejection {
    #[error("The container instance {0} was not found in the cluster {1}.")]
    ContainerInstanceNotFound(HostId, ClusterName),
    #[error(
        "Found running tasks on the instance: {count} have not stopped. Drain the instance first, or deregister it with force."
    )]
    ContainerInstanceHasTasks { count: usize },
    #[error("The container instance {0} is inactive.")]
    ContainerInstanceInactive(HostId),
    #[error("The container instance {0} is named twice; name each once.")]
    ContainerInstanceTwice(HostId),
    #[error("The cluster {cluster} has reached the limit of {limit} container instances.")]
    TooManyContainerInstances { cluster: ClusterName, limit: usize },
    #[error(
        "The host {host} is in the cluster {current}; deregister it there before it joins {asked}."
    )]
    HostInOtherCluster { host: HostId, current: ClusterName, asked: String },
    #[error("The target {0} was not found in the cluster {1}.")]
    TargetNotFound(HostId, ClusterName),
    #[error("The container instance {0} has reached the limit of {1} custom attributes.")]
    TooManyAttributes(HostId, usize),
    #[error("{0} has no attribute named {1}.")]
    AttributeNotFound(HostId, String),
}
