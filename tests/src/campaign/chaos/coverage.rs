//! Which commands and events a run has seen. A new variant does not compile before it is listed.

use std::collections::BTreeMap;

use longshore_core::{
    Command, Event,
    event::{
        AlarmEvent, AttachmentEvent, AutoScalingEvent, CapacityProviderEvent, ClusterEvent,
        DefinitionEvent, EpochEvent, HostEvent, LogGroupEvent, MemberEvent, ServiceEvent,
        SettingEvent, TagEvent, TaskEvent, TokenEvent, WaitingEvent,
    },
};

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
    DeleteTaskDefinitions RunTask StartTask StopTask SubmitAttachmentStateChanges RegisterContainerInstance RegisterHost
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

/// As [`names`], of an enum for each resource.
macro_rules! resources {
    ($names:ident, $name:ident, $of:ident: $($resource:ident($inner:ident): $($variant:ident)*;)*) => {
        pub(super) const $names: &[&str] = &[$($(stringify!($variant)),*),*];

        pub(super) fn $name(of: &$of) -> &'static str {
            match of {
                $($($of::$resource($inner::$variant { .. }) => stringify!($variant),)*)*
            }
        }
    };
}

resources! { EVENTS, event, Event:
    Epoch(EpochEvent): EpochStarted Recovered WordAwaited;
    Cluster(ClusterEvent): ClusterCreated ClusterUpdated ClusterDeleted ClusterForgotten ReplacingPaused ReplacingResumed;
    Definition(DefinitionEvent): TaskDefinitionRegistered TaskDefinitionDeregistered TaskDefinitionDeleteRequested TaskDefinitionDeleted;
    Task(TaskEvent): TasksStarted TaskStopRequested TasksStopRequested TaskReported TaskStopped TaskAdopted TaskTimeoutSet TaskProtectionPut TasksSettled TasksLost TasksReturned;
    Attachment(AttachmentEvent): AttachmentsMoved TaskProvisioned TaskActivated TaskDeactivated TaskExecutionStopped;
    Waiting(WaitingEvent): TasksWaiting WaitingTasksEnded;
    Member(MemberEvent): HostJoined HostCertified MembersForgotten;
    Host(HostEvent): HostRegistered HostDrained HostActivated HostDeregistered HostForgotten HostConnected HostDisconnected HostSilenceChanged HostEngineChanged HostStorageChanged HostToldAll AttributesPut AttributesDeleted CustomAttributesDeleted LostOrdersSkipped StopCandidateConfirmed;
    Token(TokenEvent): ClientTokensExpired JoinTokenCreated JoinTokenUsed JoinTokenRevoked JoinTokensExpired;
    Tag(TagEvent): Tagged Untagged;
    Setting(SettingEvent): AccountSettingPut AccountSettingDeleted;
    Service(ServiceEvent): ServiceCreated ServiceConfigured ServiceDraining ServiceDeleted ServiceForgotten RevisionCreated RevisionChanged RevisionDropped PrimaryChanged DeploymentSet ServiceLogged ServiceSteady TaskMoved;
    Alarm(AlarmEvent): AlarmPut AlarmStateSet AlarmsDeleted;
    LogGroup(LogGroupEvent): LogGroupCreated LogRetentionPut LogGroupDeleted;
    AutoScaling(AutoScalingEvent): AutoScalingGroupCreated AutoScalingGroupConfigured AutoScalingGroupDeleting AutoScalingGroupDeleted InstancesWanted InstanceSet InstanceGone GroupScaled GroupExcess;
    CapacityProvider(CapacityProviderEvent): CapacityProviderSet CapacityProviderForgotten;
}
