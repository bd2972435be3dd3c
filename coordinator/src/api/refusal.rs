//! What refusals of the state machine are called by the API: the one map from its reasons to errors.
//!
//! Never decides whether something is wrong.

use longshore_common::arn::Identity;
use longshore_core::Rejection;

use crate::edge::{
    context::Api,
    error::{ApiError, AutoScalingFault, ErrorCode, MonitoringFault},
};

impl Api {
    pub(crate) fn refusal(&self, rejection: &Rejection) -> ApiError {
        ApiError::of(rejection, &self.identity)
    }

    /// A refusal in the words that ECS has for it where tasks are started and services are made.
    pub(crate) fn launch_refusal(&self, rejection: &Rejection) -> ApiError {
        match rejection {
            Rejection::TaskDefinitionNotFound { .. } => ApiError::task_definition_not_found(),
            Rejection::NotHonoured { .. } => ApiError::client(rejection.to_string()),
            _ => self.refusal(rejection),
        }
    }
}

impl ApiError {
    pub(crate) fn cluster_not_found() -> Self {
        Self::new(ErrorCode::ClusterNotFound, "Cluster not found.")
    }

    pub(crate) fn target_not_found(target: &str) -> Self {
        Self::new(ErrorCode::TargetNotFound, format!("The target {target} was not found."))
    }

    pub(crate) fn task_definition_not_found() -> Self {
        Self::client("TaskDefinition not found.")
    }

    pub(crate) fn of(rejection: &Rejection, identity: &Identity) -> Self {
        let resource_ids = match rejection {
            Rejection::ClientTokenConflict { task_ids, cluster } => {
                task_ids.iter().map(|task| identity.task(cluster.as_str(), *task)).collect()
            }
            Rejection::ServiceTokenConflict(named) => {
                vec![identity.service(named.cluster.as_str(), named.name.as_str())]
            }
            _ => Vec::new(),
        };
        ApiError { code: code_of(rejection), message: rejection.to_string(), resource_ids }
    }
}

/// As ECS answers; where its reference does not say, with an error that the operation declares.
fn code_of(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::ClusterNotFound(_) => ErrorCode::ClusterNotFound,
        Rejection::ClusterContainsContainerInstances { .. } => {
            ErrorCode::ClusterContainsContainerInstances
        }
        Rejection::ClusterContainsTasks { .. } => ErrorCode::ClusterContainsTasks,
        Rejection::TooManyClusters { .. }
        | Rejection::TooManyRevisions { .. }
        | Rejection::TooManyContainerInstances { .. }
        | Rejection::TooManyServices { .. }
        | Rejection::TaskDefinitionNotFound { .. }
        | Rejection::TaskDefinitionInactive { .. } => ErrorCode::Client,
        Rejection::Forbidden { .. } => ErrorCode::Client,
        Rejection::NotHonoured { .. } => ErrorCode::UnsupportedFeature,
        Rejection::InvalidOverride(_)
        | Rejection::TooManyPlacementConstraints { .. }
        | Rejection::NoContainerInstances
        | Rejection::TaskNotFound(_)
        | Rejection::AttachmentNotFound { .. }
        | Rejection::AttachmentTwice(_)
        | Rejection::AttachmentStateConflict { .. }
        | Rejection::ContainerInstanceNotFound(..)
        | Rejection::ContainerInstanceHasTasks { .. }
        | Rejection::ContainerInstanceInactive(_)
        | Rejection::ContainerInstanceTwice(_)
        | Rejection::HostHasJoined(_)
        | Rejection::HostInOtherCluster { .. }
        | Rejection::AttributeNotFound(..)
        | Rejection::InvalidClusterName(_)
        | Rejection::ServiceExists(_)
        | Rejection::ServiceStillDraining(_)
        | Rejection::InvalidServiceConfig(_)
        | Rejection::ServiceNeedsDefinition
        | Rejection::ExternalTakesNoDefinition
        | Rejection::DaemonTakesNoDesiredCount
        // Neither CreateService nor CreateTaskSet declares ConflictException.
        | Rejection::ServiceTokenConflict(_)
        | Rejection::ServiceScaledAboveZero
        | Rejection::ServiceHasDeployments
        | Rejection::NotExternal(_)
        | Rejection::TaskSetScaledAboveZero(_)
        | Rejection::HookNotWaiting(_)
        | Rejection::InvalidOption(_)
        | Rejection::ResourceInactive { .. }
        | Rejection::TooManyTags { .. } => ErrorCode::InvalidParameter,
        Rejection::ServiceNotFound(_) => ErrorCode::ServiceNotFound,
        Rejection::ServiceNotActive(_) => ErrorCode::ServiceNotActive,
        Rejection::TooManyTaskSets { .. } => ErrorCode::LimitExceeded,
        Rejection::ServiceDeploymentNotFound(_) => ErrorCode::ServiceDeploymentNotFound,
        Rejection::TaskSetNotFound(_) => ErrorCode::TaskSetNotFound,
        Rejection::ClusterContainsServices { .. } => ErrorCode::ClusterContainsServices,
        Rejection::TooManyAttributes(..) => ErrorCode::AttributeLimitExceeded,
        Rejection::TargetNotFound(..) => ErrorCode::TargetNotFound,
        Rejection::ResourceNotFound(_)
        | Rejection::NoSuchJoinToken(_)
        | Rejection::HostUnknown(_) => ErrorCode::ResourceNotFound,
        Rejection::ClientTokenConflict { .. }
        | Rejection::ServiceDeploymentNotStoppable(_)
        | Rejection::HostOfOtherMachine(_)
        | Rejection::HostLivesElsewhere { .. }
        | Rejection::JoinTokenExists(_) => ErrorCode::Conflict,
        Rejection::JoinTokenUnknown
        | Rejection::JoinTokenExpired
        | Rejection::JoinTokenRevoked
        | Rejection::JoinTokenUsedUp
        | Rejection::JoinTokenForOtherCluster { .. }
        | Rejection::HostKeyUnknown(_)
        | Rejection::HostDeregistered(_) => ErrorCode::AccessDenied,

        Rejection::LogGroupExists(_) => ErrorCode::ResourceAlreadyExists,
        Rejection::LogGroupNotFound => ErrorCode::ResourceNotFound,
        Rejection::TooManyLogGroups { .. } => ErrorCode::LimitExceeded,
        Rejection::GroupNotFound(_)
        | Rejection::InvalidGroup(_)
        | Rejection::InstanceNotFound(_)
        | Rejection::InstanceNotInGroup(..)
        | Rejection::InstanceNotInService(_) => {
            ErrorCode::AutoScaling(AutoScalingFault::Validation)
        }
        Rejection::GroupExists(_) => ErrorCode::AutoScaling(AutoScalingFault::AlreadyExists),
        Rejection::GroupDeleting(_) | Rejection::GroupCoolsDown { .. } => {
            ErrorCode::AutoScaling(AutoScalingFault::ScalingActivityInProgress)
        }
        Rejection::GroupHasInstances { .. } => {
            ErrorCode::AutoScaling(AutoScalingFault::ResourceInUse)
        }
        Rejection::TooManyGroups { .. } => ErrorCode::AutoScaling(AutoScalingFault::LimitExceeded),
        Rejection::CapacityProviderNotFound(_) | Rejection::InvalidCapacityProvider(_) => {
            ErrorCode::InvalidParameter
        }
        Rejection::CapacityProviderExists(_) => ErrorCode::InvalidParameter,
        Rejection::CapacityProviderInUse(_) => ErrorCode::ResourceInUse,
        Rejection::TooManyCapacityProviders { .. } => ErrorCode::LimitExceeded,
        Rejection::AlarmsNotFound(_) => ErrorCode::Monitoring(MonitoringFault::ResourceNotFound),
        Rejection::TooManyAlarms { .. } => ErrorCode::Monitoring(MonitoringFault::LimitExceeded),
    }
}
