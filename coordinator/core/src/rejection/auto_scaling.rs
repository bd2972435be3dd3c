//! Why commands about Auto Scaling groups and their instances are refused.

use crate::model::auto_scaling::{AutoScalingGroupName, InstanceId};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutoScalingRejection {
    #[error("AutoScalingGroup name not found - AutoScalingGroup {0} not found")]
    GroupNotFound(AutoScalingGroupName),
    #[error(
        "AutoScalingGroup by this name already exists - A group with the name {0} already exists"
    )]
    GroupExists(AutoScalingGroupName),
    #[error("The Auto Scaling group {0} is being deleted. Wait until its instances are gone.")]
    GroupDeleting(AutoScalingGroupName),
    #[error(
        "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group: {name} has {count}. Scale it to 0 first, or delete it with ForceDelete."
    )]
    GroupHasInstances { name: AutoScalingGroupName, count: usize },
    #[error(
        "Scaling activity of {name} is in its cooldown for another {left_s} s. Wait, or leave HonorCooldown out."
    )]
    GroupCoolsDown { name: AutoScalingGroupName, left_s: u64 },
    #[error("{0}")]
    InvalidGroup(String),
    #[error(
        "The limit of {limit} Auto Scaling groups is reached. Delete one that is no longer used."
    )]
    TooManyGroups { limit: usize },
    #[error("Instance Id not found - No managed instance found for instance ID: {0}")]
    InstanceNotFound(InstanceId),
    #[error("The instance {0} is not part of Auto Scaling group {1}.")]
    InstanceNotInGroup(InstanceId, AutoScalingGroupName),
    #[error("The instance {0} is not in InService. Protect it when it is.")]
    InstanceNotInService(InstanceId),
}
