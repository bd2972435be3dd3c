//! What can be asked of Auto Scaling groups and their instances, and what launchers say of these.

use crate::model::auto_scaling::{
    AutoScalingGroupName, GroupChange, GroupConfig, GroupTag, InstanceId, LauncherVerb,
};

#[derive(Clone, Debug)]
pub enum AutoScalingCommand {
    CreateAutoScalingGroup {
        name: AutoScalingGroupName,
        config: Box<GroupConfig>,
    },
    UpdateAutoScalingGroup {
        name: AutoScalingGroupName,
        change: Box<GroupChange>,
    },
    DeleteAutoScalingGroup {
        name: AutoScalingGroupName,
        /// Terminates the group's instances with it.
        force: bool,
    },
    SetDesiredCapacity {
        name: AutoScalingGroupName,
        desired: u32,
        honour_cooldown: bool,
    },
    SetInstanceProtection {
        name: AutoScalingGroupName,
        instances: Vec<InstanceId>,
        protected: bool,
    },
    TerminateInstance {
        instance: InstanceId,
        decrement: bool,
    },
    PutGroupTags(Vec<(AutoScalingGroupName, String, GroupTag)>),
    DeleteGroupTags(Vec<(AutoScalingGroupName, String)>),
    /// What a launcher answered, or why it did not.
    LauncherAnswered {
        instance: InstanceId,
        verb: LauncherVerb,
        result: Result<(), String>,
    },
    /// What a launcher's list differs in from what it is to have.
    LauncherListed {
        launcher: String,
        /// Listed, and no instance of ours.
        unknown: Vec<InstanceId>,
        /// Launched long enough ago, and not listed.
        missing: Vec<InstanceId>,
    },
    /// What a launcher has whose machines have ids of their own. Ids are its machines'.
    MachinesListed(Box<MachinesListed>),
}

/// One list of a launcher's machines, compared with the instances that are bound to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinesListed {
    pub launcher: String,
    /// Machines that are not on their way out, bound ones among them.
    pub alive: u32,
    /// Those of the machines alive that no instance is bound to.
    pub unbound: Vec<InstanceId>,
    /// Those of the machines in `unbound` that the list before showed already.
    pub lasting: Vec<InstanceId>,
    /// What an instance is bound to, and neither this list nor the one before showed alive.
    pub missing: Vec<InstanceId>,
    /// Why the launcher has launched nothing more, in its words.
    pub stalled: Option<String>,
}
