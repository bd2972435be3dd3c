//! What refusals of the state machine are called by the API: the one map from its reasons to errors.
//!
//! Never decides whether something is wrong.

use longshore_common::arn::Identity;
use longshore_core::{
    Rejection,
    rejection::{
        AlarmRejection, AttachmentRejection, AutoScalingRejection, CapacityProviderRejection,
        ClusterRejection, DefinitionRejection, HostRejection, LogGroupRejection, MemberRejection,
        ServiceRejection, TagRejection, TaskRejection, TaskSetRejection, TokenRejection,
    },
};

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
            Rejection::Definition(DefinitionRejection::TaskDefinitionNotFound { .. }) => {
                ApiError::task_definition_not_found()
            }
            Rejection::Definition(DefinitionRejection::NotHonoured { .. }) => {
                ApiError::client(rejection.to_string())
            }
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
            Rejection::Task(TaskRejection::ClientTokenConflict { task_ids, cluster }) => {
                task_ids.iter().map(|task| identity.task(cluster.as_str(), *task)).collect()
            }
            Rejection::Service(ServiceRejection::ServiceTokenConflict(named)) => {
                vec![identity.service(named.cluster.as_str(), named.name.as_str())]
            }
            _ => Vec::new(),
        };
        ApiError { code: code_of(rejection), message: rejection.to_string(), resource_ids }
    }
}

/// The error as ECS answers; where its reference does not say, one that the operation declares.
fn code_of(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::Cluster(rejection) => code_of_cluster(rejection),
        Rejection::Definition(rejection) => code_of_definition(rejection),
        Rejection::Task(rejection) => code_of_task(rejection),
        Rejection::Attachment(rejection) => code_of_attachment(rejection),
        Rejection::Member(rejection) => code_of_member(rejection),
        Rejection::Host(rejection) => code_of_host(rejection),
        Rejection::Token(rejection) => code_of_token(rejection),
        Rejection::Tag(rejection) => code_of_tag(rejection),
        Rejection::Service(rejection) => code_of_service(rejection),
        Rejection::TaskSet(rejection) => code_of_task_set(rejection),
        Rejection::Alarm(rejection) => code_of_alarm(rejection),
        Rejection::LogGroup(rejection) => code_of_log_group(rejection),
        Rejection::AutoScaling(rejection) => code_of_auto_scaling(rejection),
        Rejection::CapacityProvider(rejection) => code_of_capacity_provider(rejection),
    }
}

fn code_of_cluster(rejection: &ClusterRejection) -> ErrorCode {
    match rejection {
        ClusterRejection::ClusterNotFound(_) => ErrorCode::ClusterNotFound,
        ClusterRejection::InvalidClusterName(_) => ErrorCode::InvalidParameter,
        ClusterRejection::ClusterContainsContainerInstances { .. } => {
            ErrorCode::ClusterContainsContainerInstances
        }
        ClusterRejection::ClusterContainsTasks { .. } => ErrorCode::ClusterContainsTasks,
        ClusterRejection::ClusterContainsServices { .. } => ErrorCode::ClusterContainsServices,
        ClusterRejection::TooManyClusters { .. } => ErrorCode::Client,
    }
}

fn code_of_definition(rejection: &DefinitionRejection) -> ErrorCode {
    match rejection {
        DefinitionRejection::TaskDefinitionNotFound { .. }
        | DefinitionRejection::TaskDefinitionInactive { .. }
        | DefinitionRejection::TooManyRevisions { .. }
        | DefinitionRejection::Forbidden { .. } => ErrorCode::Client,
        DefinitionRejection::NotHonoured { .. } => ErrorCode::UnsupportedFeature,
    }
}

fn code_of_task(rejection: &TaskRejection) -> ErrorCode {
    match rejection {
        TaskRejection::TaskNotFound(_)
        | TaskRejection::InvalidOverride(_)
        | TaskRejection::TooManyPlacementConstraints { .. }
        | TaskRejection::NoContainerInstances => ErrorCode::InvalidParameter,
        TaskRejection::ClientTokenConflict { .. } => ErrorCode::Conflict,
    }
}

fn code_of_attachment(rejection: &AttachmentRejection) -> ErrorCode {
    match rejection {
        AttachmentRejection::AttachmentNotFound { .. }
        | AttachmentRejection::AttachmentTwice(_)
        | AttachmentRejection::AttachmentStateConflict { .. } => ErrorCode::InvalidParameter,
    }
}

fn code_of_member(rejection: &MemberRejection) -> ErrorCode {
    match rejection {
        MemberRejection::HostHasJoined(_) => ErrorCode::InvalidParameter,
        MemberRejection::HostUnknown(_) => ErrorCode::ResourceNotFound,
        MemberRejection::HostDeregistered(_) | MemberRejection::HostKeyUnknown(_) => {
            ErrorCode::AccessDenied
        }
        MemberRejection::HostOfOtherMachine(_) | MemberRejection::HostLivesElsewhere { .. } => {
            ErrorCode::Conflict
        }
    }
}

fn code_of_host(rejection: &HostRejection) -> ErrorCode {
    match rejection {
        HostRejection::ContainerInstanceNotFound(..)
        | HostRejection::ContainerInstanceHasTasks { .. }
        | HostRejection::ContainerInstanceInactive(_)
        | HostRejection::ContainerInstanceTwice(_)
        | HostRejection::HostInOtherCluster { .. }
        | HostRejection::AttributeNotFound(..) => ErrorCode::InvalidParameter,
        HostRejection::TooManyContainerInstances { .. } => ErrorCode::Client,
        HostRejection::TargetNotFound(..) => ErrorCode::TargetNotFound,
        HostRejection::TooManyAttributes(..) => ErrorCode::AttributeLimitExceeded,
    }
}

fn code_of_token(rejection: &TokenRejection) -> ErrorCode {
    match rejection {
        TokenRejection::JoinTokenUnknown
        | TokenRejection::JoinTokenExpired
        | TokenRejection::JoinTokenRevoked
        | TokenRejection::JoinTokenUsedUp
        | TokenRejection::JoinTokenForOtherCluster { .. } => ErrorCode::AccessDenied,
        TokenRejection::NoSuchJoinToken(_) => ErrorCode::ResourceNotFound,
        TokenRejection::JoinTokenExists(_) => ErrorCode::Conflict,
    }
}

fn code_of_tag(rejection: &TagRejection) -> ErrorCode {
    match rejection {
        TagRejection::ResourceNotFound(_) => ErrorCode::ResourceNotFound,
        TagRejection::ResourceInactive { .. }
        | TagRejection::TooManyTags { .. }
        | TagRejection::InvalidOption(_) => ErrorCode::InvalidParameter,
    }
}

fn code_of_service(rejection: &ServiceRejection) -> ErrorCode {
    match rejection {
        ServiceRejection::ServiceNotFound(_) => ErrorCode::ServiceNotFound,
        ServiceRejection::ServiceNotActive(_) => ErrorCode::ServiceNotActive,
        ServiceRejection::ServiceExists(_)
        | ServiceRejection::ServiceStillDraining(_)
        // Neither CreateService nor CreateTaskSet declares ConflictException.
        | ServiceRejection::ServiceTokenConflict(_)
        | ServiceRejection::InvalidServiceConfig(_)
        | ServiceRejection::ServiceNeedsDefinition
        | ServiceRejection::ExternalTakesNoDefinition
        | ServiceRejection::DaemonTakesNoDesiredCount
        | ServiceRejection::ServiceScaledAboveZero
        | ServiceRejection::ServiceHasDeployments
        | ServiceRejection::HookNotWaiting(_) => ErrorCode::InvalidParameter,
        ServiceRejection::TooManyServices { .. } => ErrorCode::Client,
        ServiceRejection::ServiceDeploymentNotFound(_) => ErrorCode::ServiceDeploymentNotFound,
        ServiceRejection::ServiceDeploymentNotStoppable(_) => ErrorCode::Conflict,
    }
}

fn code_of_task_set(rejection: &TaskSetRejection) -> ErrorCode {
    match rejection {
        TaskSetRejection::NotExternal(_) | TaskSetRejection::TaskSetScaledAboveZero(_) => {
            ErrorCode::InvalidParameter
        }
        TaskSetRejection::TaskSetNotFound(_) => ErrorCode::TaskSetNotFound,
        TaskSetRejection::TooManyTaskSets { .. } => ErrorCode::LimitExceeded,
    }
}

fn code_of_alarm(rejection: &AlarmRejection) -> ErrorCode {
    match rejection {
        AlarmRejection::AlarmsNotFound(_) => {
            ErrorCode::Monitoring(MonitoringFault::ResourceNotFound)
        }
        AlarmRejection::TooManyAlarms { .. } => {
            ErrorCode::Monitoring(MonitoringFault::LimitExceeded)
        }
    }
}

fn code_of_log_group(rejection: &LogGroupRejection) -> ErrorCode {
    match rejection {
        LogGroupRejection::LogGroupExists(_) => ErrorCode::ResourceAlreadyExists,
        LogGroupRejection::LogGroupNotFound => ErrorCode::ResourceNotFound,
        LogGroupRejection::TooManyLogGroups { .. } => ErrorCode::LimitExceeded,
    }
}

fn code_of_auto_scaling(rejection: &AutoScalingRejection) -> ErrorCode {
    ErrorCode::AutoScaling(match rejection {
        AutoScalingRejection::GroupNotFound(_)
        | AutoScalingRejection::InvalidGroup(_)
        | AutoScalingRejection::InstanceNotFound(_)
        | AutoScalingRejection::InstanceNotInGroup(..)
        | AutoScalingRejection::InstanceNotInService(_) => AutoScalingFault::Validation,
        AutoScalingRejection::GroupExists(_) => AutoScalingFault::AlreadyExists,
        AutoScalingRejection::GroupDeleting(_) | AutoScalingRejection::GroupCoolsDown { .. } => {
            AutoScalingFault::ScalingActivityInProgress
        }
        AutoScalingRejection::GroupHasInstances { .. } => AutoScalingFault::ResourceInUse,
        AutoScalingRejection::TooManyGroups { .. } => AutoScalingFault::LimitExceeded,
    })
}

fn code_of_capacity_provider(rejection: &CapacityProviderRejection) -> ErrorCode {
    match rejection {
        CapacityProviderRejection::CapacityProviderNotFound(_)
        | CapacityProviderRejection::CapacityProviderExists(_)
        | CapacityProviderRejection::InvalidCapacityProvider(_) => ErrorCode::InvalidParameter,
        CapacityProviderRejection::CapacityProviderInUse(_) => ErrorCode::ResourceInUse,
        CapacityProviderRejection::TooManyCapacityProviders { .. } => ErrorCode::LimitExceeded,
    }
}
