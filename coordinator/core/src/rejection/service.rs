//! Why commands about services and their deployments are refused.

use crate::model::{
    deployment::DeploymentRef,
    name::ClusterName,
    service::{HookId, ServiceRef},
};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceRejection {
    #[error("Service not found.")]
    ServiceNotFound(ServiceRef),
    #[error("Service was not ACTIVE.")]
    ServiceNotActive(ServiceRef),
    #[error("Creation of service was not idempotent.")]
    ServiceExists(ServiceRef),
    #[error("Unable to Start a service that is still Draining.")]
    ServiceStillDraining(ServiceRef),
    #[error("The client token was used before with other parameters.")]
    ServiceTokenConflict(ServiceRef),
    #[error("The cluster {cluster} has reached the limit of {limit} services.")]
    TooManyServices { cluster: ClusterName, limit: usize },
    #[error("{0}")]
    InvalidServiceConfig(String),
    #[error("TaskDefinition can not be blank.")]
    ServiceNeedsDefinition,
    #[error(
        "TaskDefinition must be blank. A service with the EXTERNAL deployment controller takes no task definition and no forced deployment: its task sets do. Use CreateTaskSet."
    )]
    ExternalTakesNoDefinition,
    #[error(
        "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again: a daemon has a task on every container instance."
    )]
    DaemonTakesNoDesiredCount,
    #[error(
        "The service cannot be stopped while it is scaled above 0. Set its desiredCount to 0 first, or delete it with force."
    )]
    ServiceScaledAboveZero,
    #[error("The service cannot be stopped while deployments are active.")]
    ServiceHasDeployments,
    #[error("The ARN of a service deployment was not found: {}", .0.deployment)]
    ServiceDeploymentNotFound(DeploymentRef),
    #[error(
        "The service deployment {} cannot be stopped any more: only one that is PENDING or IN_PROGRESS can.", .0.deployment
    )]
    ServiceDeploymentNotStoppable(DeploymentRef),
    #[error("No PAUSE hook {0} of this service deployment waits for an action.")]
    HookNotWaiting(HookId),
}
