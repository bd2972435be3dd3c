//! Which commands and events a run has seen. A new variant does not compile before it is listed.

use std::collections::BTreeMap;

use longshore_core::{Command, Event};

/// Only journals of earlier releases hold them.
const OLD_EVENTS: [&str; 1] = ["AttributesDeleted"];

/// How often each variant was seen, by its name.
#[derive(Clone, Debug)]
pub(super) struct Coverage(BTreeMap<&'static str, usize>);

impl Coverage {
    pub(super) fn of(names: &[&'static str]) -> Self {
        Coverage(names.iter().map(|name| (*name, 0)).collect())
    }

    pub(super) fn saw(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub(super) fn unseen(&self) -> Vec<&'static str> {
        let unseen =
            self.0.iter().filter(|(name, times)| **times == 0 && !OLD_EVENTS.contains(name));
        unseen.map(|(name, _)| *name).collect()
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|(name, times)| (*name, *times))
    }
}

macro_rules! names {
    ($names:ident, $name:ident, $of:ident: $($variant:ident)*) => {
        pub(super) const $names: &[&str] = &[$(stringify!($variant)),*];

        pub(super) fn $name(of: &$of) -> &'static str {
            match of {
                $($of::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

names! { COMMANDS, command, Command:
    CreateCluster UpdateCluster DeleteCluster RegisterTaskDefinition DeregisterTaskDefinition
    DeleteTaskDefinitions RunTask StartTask StopTask RegisterContainerInstance RegisterHost
    DeregisterContainerInstance UpdateContainerInstancesState PutAttributes DeleteAttributes Tag
    Untag PutAccountSetting DeleteAccountSetting CreateJoinToken RevokeJoinToken UseJoinToken
    AgentAnswered AgentSilent StartEpoch Recover SkipLostOrders Tick CreateService UpdateService
    DeleteService StopServiceDeployment ContinueServiceDeployment HookAnswered CreateTaskSet
    UpdateTaskSet DeleteTaskSet UpdateServicePrimaryTaskSet UpdateTaskProtection BeginScheduling
    ReplaceLostTasks PutMetricAlarm SetAlarmState DeleteAlarms CreateLogGroup PutLogRetention
    DeleteLogGroup CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup
    SetDesiredCapacity SetInstanceProtection TerminateInstance PutGroupTags DeleteGroupTags
    LauncherAnswered LauncherListed MachinesListed CreateCapacityProvider UpdateCapacityProvider
    DeleteCapacityProvider PutClusterCapacityProviders CertifyHost
}

names! { EVENTS, event, Event:
    EpochStarted Recovered ClusterCreated ClusterUpdated ClusterDeleted ClusterForgotten
    TaskDefinitionRegistered TaskDefinitionDeregistered TaskDefinitionDeleteRequested
    TaskDefinitionDeleted TasksStarted TaskStopRequested TaskReported TaskStopped
    ClientTokensExpired HostJoined HostRegistered HostDrained HostActivated HostDeregistered
    HostForgotten HostConnected HostDisconnected AttributesPut AttributesDeleted
    CustomAttributesDeleted StopCandidateConfirmed Tagged Untagged AccountSettingPut AccountSettingDeleted
    JoinTokenCreated JoinTokenUsed JoinTokenRevoked JoinTokensExpired TaskAdopted
    LostOrdersSkipped ServiceCreated ServiceConfigured ServiceDraining ServiceDeleted
    ServiceForgotten RevisionCreated RevisionChanged RevisionDropped PrimaryChanged
    DeploymentSet ServiceLogged ServiceSteady TasksStopRequested TasksSettled TasksLost
    TasksReturned TaskMoved TaskProtectionPut ReplacingPaused ReplacingResumed AlarmPut
    AlarmStateSet AlarmsDeleted LogGroupCreated LogRetentionPut LogGroupDeleted TasksWaiting
    GroupScaled GroupExcess WaitingTasksEnded TaskTimeoutSet AutoScalingGroupCreated
    AutoScalingGroupConfigured AutoScalingGroupDeleting AutoScalingGroupDeleted InstancesWanted
    InstanceSet InstanceGone CapacityProviderSet CapacityProviderForgotten MembersForgotten
    HostCertified HostEngineChanged HostSilenceChanged HostStorageChanged HostToldAll WordAwaited
}
