//! What became true of Auto Scaling groups and their instances.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::auto_scaling::{
    AutoScalingGroupName, GroupConfig, Instance, InstanceId, InstanceShape,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AutoScalingEvent {
    /// Managed scaling has found that a group should have another number of instances, and why.
    GroupScaled {
        group: AutoScalingGroupName,
        desired: u32,
        why: String,
        at: Timestamp,
    },
    /// Time since which a group has more instances than its tasks need; absent: it has no more.
    GroupExcess {
        group: AutoScalingGroupName,
        since: Option<Timestamp>,
    },
    AutoScalingGroupCreated {
        name: AutoScalingGroupName,
        uid: u128,
        config: Box<GroupConfig>,
        at: Timestamp,
    },
    /// The whole of what can change, the desired capacity and tags among it.
    AutoScalingGroupConfigured {
        name: AutoScalingGroupName,
        config: Box<GroupConfig>,
        at: Timestamp,
    },
    /// The group is being deleted; its instances end first.
    AutoScalingGroupDeleting {
        name: AutoScalingGroupName,
        at: Timestamp,
    },
    AutoScalingGroupDeleted {
        name: AutoScalingGroupName,
    },
    /// Launch `count` more instances.
    InstancesWanted {
        group: AutoScalingGroupName,
        count: u32,
        at: Timestamp,
    },
    /// The whole of an instance, at each of its changes.
    InstanceSet {
        group: AutoScalingGroupName,
        instance: Box<Instance>,
        why: String,
        /// What its container instance is like, when that is known; absent in older journals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shape: Option<Box<InstanceShape>>,
    },
    /// The launcher has terminated the instance.
    InstanceGone {
        group: AutoScalingGroupName,
        instance: InstanceId,
        at: Timestamp,
    },
}
