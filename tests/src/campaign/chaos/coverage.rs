//! Which commands and events a run has seen. A new variant does not compile before it is listed.

use std::collections::BTreeMap;

use longshore_core::{
    Command, Event,
    command::{
        AlarmCommand, AttachmentCommand, AutoScalingCommand, CapacityProviderCommand,
        ClusterCommand, DefinitionCommand, EpochCommand, HostCommand, LogGroupCommand,
        MemberCommand, ServiceCommand, SettingCommand, TagCommand, TaskCommand, TaskSetCommand,
        TokenCommand,
    },
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

/// The names of all variants, and the name of one.
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

resources! { COMMANDS, command, Command:
    Epoch(EpochCommand): StartEpoch BeginScheduling Recover SkipLostOrders Tick;
    Cluster(ClusterCommand): CreateCluster UpdateCluster DeleteCluster PutClusterCapacityProviders ReplaceLostTasks;
    Definition(DefinitionCommand): RegisterTaskDefinition DeregisterTaskDefinition DeleteTaskDefinitions;
    Task(TaskCommand): RunTask StartTask StopTask UpdateTaskProtection;
    Attachment(AttachmentCommand): SubmitAttachmentStateChanges;
    Member(MemberCommand): CertifyHost;
    Host(HostCommand): RegisterContainerInstance RegisterHost DeregisterContainerInstance UpdateContainerInstancesState PutAttributes DeleteAttributes AgentAnswered AgentSilent;
    Token(TokenCommand): CreateJoinToken RevokeJoinToken UseJoinToken;
    Tag(TagCommand): Tag Untag;
    Setting(SettingCommand): PutAccountSetting DeleteAccountSetting;
    Service(ServiceCommand): CreateService UpdateService DeleteService StopServiceDeployment ContinueServiceDeployment HookAnswered;
    TaskSet(TaskSetCommand): CreateTaskSet UpdateTaskSet DeleteTaskSet UpdateServicePrimaryTaskSet;
    Alarm(AlarmCommand): PutMetricAlarm SetAlarmState DeleteAlarms;
    LogGroup(LogGroupCommand): CreateLogGroup PutLogRetention DeleteLogGroup;
    AutoScaling(AutoScalingCommand): CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup SetDesiredCapacity SetInstanceProtection TerminateInstance PutGroupTags DeleteGroupTags LauncherAnswered LauncherListed MachinesListed;
    CapacityProvider(CapacityProviderCommand): CreateCapacityProvider UpdateCapacityProvider DeleteCapacityProvider;
}

resources! { EVENTS, event, Event:
    Epoch(EpochEvent): EpochStarted Recovered WordAwaited;
    Cluster(ClusterEvent): ClusterCreated ClusterUpdated ClusterDeleted ClusterForgotten ReplacingPaused ReplacingResumed;
    Definition(DefinitionEvent): TaskDefinitionRegistered TaskDefinitionDeregistered TaskDefinitionDeleteRequested TaskDefinitionDeleted;
    Task(TaskEvent): TasksStarted TaskStopRequested TasksStopRequested TaskReported TaskStopped TaskAdopted TaskTimeoutSet TaskProtectionPut TasksSettled TasksLost TasksReturned;
    Attachment(AttachmentEvent): AttachmentsMoved TaskProvisioned TaskTakenBack TaskActivated TaskDeactivated TaskExecutionStopped;
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
