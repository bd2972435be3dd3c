//! What became true. Events are the journal: variants and fields are only ever added, with
//! defaults, and an old journal is a golden file.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    logs::mode::LogDriverMode,
    mutual_tls::KeyHash,
    protocol::{Attribute, ContainerId, EngineHealth, Epoch, StorageHealth, TaskReport, Versions},
    resources::{Capacity, Demand},
    task::{StopCause, TaskOverride},
    task_definition::{Compatibility, TaskDefinition},
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        alarm::{AlarmName, AlarmPut, AlarmStateSet},
        auto_scaling::{AutoScalingGroupName, GroupConfig, Instance, InstanceId, InstanceShape},
        capacity_provider::CapacityProvider,
        client_token::UsedClientToken,
        cluster::ClusterSettings,
        deployment::DeploymentRecord,
        host::AgentPlace,
        join_token::JoinToken,
        log_group::LogGroupName,
        name::{CapacityProviderName, ClusterName, Family},
        revision::RevisionRecord,
        service::{RevisionId, ServiceConfig, ServiceId, ServiceRef},
        service_status::Move,
        setting::SettingScope,
        tagged::Resource,
        tags::Tags,
        task::{AskedPlacement, StartedForService, TaskRecord},
    },
    placement::Strategy,
    query::Constraint,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    EpochStarted {
        epoch: Epoch,
        at: Timestamp,
    },
    /// The operator went on from an older journal: agents' unknown tasks are adopted, not stopped.
    Recovered {
        epoch: Epoch,
        at: Timestamp,
        /// As earlier releases told what was asked for before the journal was old: by the time.
        #[serde(default)]
        unsure_before: Option<Timestamp>,
        /// What was asked for by a batch below this one was, before the journal was old.
        #[serde(default)]
        unsure_below: Option<u64>,
    },
    /// Hosts have had their time since the last `recover`: what they run has come to light.
    WordAwaited,

    ClusterCreated {
        name: ClusterName,
        settings: ClusterSettings,
        tags: Tags,
        at: Timestamp,
    },
    ClusterUpdated {
        name: ClusterName,
        settings: ClusterSettings,
    },
    ClusterDeleted {
        name: ClusterName,
        at: Timestamp,
    },
    /// No longer described either.
    ClusterForgotten {
        name: ClusterName,
    },

    TaskDefinitionRegistered(Box<TaskDefinitionRegistered>),
    TaskDefinitionDeregistered {
        family: Family,
        revision: u32,
        at: Timestamp,
    },
    TaskDefinitionDeleteRequested {
        family: Family,
        revision: u32,
        at: Timestamp,
    },
    TaskDefinitionDeleted {
        family: Family,
        revision: u32,
    },

    /// One decision, any number of tasks of one kind.
    TasksStarted(Box<TasksStarted>),
    TaskStopRequested {
        task: TaskId,
        cause: StopCause,
        at: Timestamp,
    },
    TaskReported {
        task: TaskId,
        report: Box<TaskReport>,
        at: Timestamp,
    },
    /// The last word on a task, which goes from the state to the history.
    TaskStopped {
        task: TaskId,
        cause: StopCause,
        report: Option<Box<TaskReport>>,
        /// It ended of itself right after it began to run: its service waits before the next one.
        #[serde(default)]
        ran_briefly: bool,
        at: Timestamp,
    },
    ClientTokensExpired {
        tokens: Vec<(ClusterName, String)>,
    },

    /// A host id was given to an agent that joined.
    HostJoined {
        host: HostId,
        cluster: Option<ClusterName>,
        at: Timestamp,
    },
    /// A certificate was given to the host for a key; `by` is the key that asked for it.
    HostCertified {
        host: HostId,
        key: KeyHash,
        by: Option<KeyHash>,
        at: Timestamp,
    },
    HostRegistered(Box<HostRegistered>),
    HostDrained {
        host: HostId,
        at: Timestamp,
    },
    HostActivated {
        host: HostId,
        at: Timestamp,
    },
    HostDeregistered {
        host: HostId,
        at: Timestamp,
    },
    /// No longer described either.
    HostForgotten {
        host: HostId,
    },
    HostConnected {
        host: HostId,
        at: Timestamp,
    },
    HostDisconnected {
        host: HostId,
        why: String,
        /// The host answered that nobody listens.
        #[serde(default)]
        refused: bool,
        at: Timestamp,
    },
    /// A host that is silent began to refuse connections, or does not even do that any more. Since
    /// when it is silent stays as it was.
    HostSilenceChanged {
        host: HostId,
        why: String,
        refused: bool,
        at: Timestamp,
    },
    /// The host's agent says that its container engine answers, or does not.
    HostEngineChanged {
        host: HostId,
        engine: EngineHealth,
        at: Timestamp,
    },
    /// Since the `recover` of this epoch the host has told everything that it runs.
    HostToldAll {
        host: HostId,
        recovered: u64,
    },
    /// The host's agent says that its disks have room for new tasks, or have not.
    HostStorageChanged {
        host: HostId,
        storage: StorageHealth,
        at: Timestamp,
    },
    AttributesPut {
        host: HostId,
        attributes: Vec<Attribute>,
    },
    /// By releases that took the registered attributes of these names away too.
    AttributesDeleted {
        host: HostId,
        names: Vec<String>,
    },
    /// What PutAttributes had put; a registered attribute of the same name shows again.
    CustomAttributesDeleted {
        host: HostId,
        names: Vec<String>,
    },
    /// The agent runs a task that ended for us: it may stop it.
    StopCandidateConfirmed {
        host: HostId,
        task: TaskId,
        generation: u32,
        cause: StopCause,
    },

    Tagged {
        resource: Resource,
        tags: Tags,
    },
    Untagged {
        resource: Resource,
        keys: Vec<String>,
    },

    AccountSettingPut {
        scope: SettingScope,
        name: String,
        value: String,
    },
    AccountSettingDeleted {
        principal: String,
        name: String,
    },

    JoinTokenCreated(JoinToken),
    JoinTokenUsed {
        id: String,
    },
    JoinTokenRevoked {
        id: String,
    },
    JoinTokensExpired {
        ids: Vec<String>,
    },

    /// After `recover`: a host runs a task that this journal did not know.
    TaskAdopted(Box<TaskAdopted>),
    /// The next order of this host is numbered above `to`: its agent took those of a journal that
    /// is lost.
    LostOrdersSkipped {
        host: HostId,
        to: u64,
    },

    ServiceCreated(Box<ServiceCreated>),
    /// The whole of what can change without a new revision.
    ServiceConfigured {
        service: ServiceId,
        config: Box<ServiceConfig>,
        at: Timestamp,
    },
    /// Deleted; its tasks are still stopping.
    ServiceDraining {
        service: ServiceId,
        at: Timestamp,
    },
    /// INACTIVE; still described for a while.
    ServiceDeleted {
        service: ServiceId,
        at: Timestamp,
    },
    ServiceForgotten {
        service: ServiceId,
    },
    /// A revision, or with the EXTERNAL controller a task set.
    RevisionCreated {
        service: ServiceId,
        revision: Box<RevisionRecord>,
    },
    /// New facts of a revision whose tasks stay.
    RevisionChanged {
        service: ServiceId,
        revision: Box<RevisionRecord>,
    },
    /// It has no task and nothing goes back to it.
    RevisionDropped {
        service: ServiceId,
        revision: RevisionId,
    },
    PrimaryChanged {
        service: ServiceId,
        revision: RevisionId,
        at: Timestamp,
    },
    /// The whole of a service deployment, at its begin and at each of its changes.
    DeploymentSet {
        service: ServiceId,
        deployment: Box<DeploymentRecord>,
    },
    /// A message for `events[]`.
    ServiceLogged {
        service: ServiceId,
        message: String,
        at: Timestamp,
    },
    /// It has what it is to have; said again only after a change.
    ServiceSteady {
        service: ServiceId,
        at: Timestamp,
    },
    /// One decision of the scheduler, any number of tasks of one service.
    TasksStopRequested {
        tasks: Vec<TaskId>,
        cause: StopCause,
        /// Counted against their revision (ecs-behaviour 1.10, what counts).
        failed: bool,
        at: Timestamp,
    },
    /// They ran long enough without checks to count as healthy.
    TasksSettled {
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    /// Their host was silent for too long: they leave their service's count (design.md rule 6).
    TasksLost {
        host: HostId,
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    /// Their host is back and they still run.
    TasksReturned {
        host: HostId,
        tasks: Vec<TaskId>,
        at: Timestamp,
    },
    /// One task is on its way from a crowded zone or host to another; absent: no longer.
    TaskMoved {
        service: ServiceId,
        moving: Option<Move>,
    },
    TaskProtectionPut {
        tasks: Vec<TaskId>,
        until: Option<Timestamp>,
    },
    /// Half of a cluster's hosts were lost at once: their tasks are not replaced.
    ReplacingPaused {
        cluster: ClusterName,
        lost_hosts: u32,
        hosts: u32,
        at: Timestamp,
    },
    /// The hosts are back, or the operator said so.
    ReplacingResumed {
        cluster: ClusterName,
        /// By the operator, while the hosts are still lost.
        overridden: bool,
        at: Timestamp,
    },

    AlarmPut(Box<AlarmPut>),
    AlarmStateSet(Box<AlarmStateSet>),
    AlarmsDeleted {
        names: Vec<AlarmName>,
    },

    LogGroupCreated {
        name: LogGroupName,
        #[serde(default)]
        tags: Tags,
        at: Timestamp,
    },
    LogRetentionPut {
        name: LogGroupName,
        days: Option<u32>,
    },
    LogGroupDeleted {
        name: LogGroupName,
    },

    /// Tasks of one RunTask call that wait for a host. They have one when they are in a
    /// [`TasksStarted`] that names this launch.
    TasksWaiting(Box<TasksWaiting>),
    /// Managed scaling has found that a group should have another number of instances, and why.
    GroupScaled {
        group: AutoScalingGroupName,
        desired: u32,
        why: String,
        at: Timestamp,
    },
    /// Since when a group has more instances than its tasks need; absent: it has not.
    GroupExcess {
        group: AutoScalingGroupName,
        since: Option<Timestamp>,
    },

    /// They never had a host, and go to the history.
    WaitingTasksEnded {
        launch: TaskId,
        tasks: Vec<TaskId>,
        cause: StopCause,
        at: Timestamp,
    },
    /// How long the task may be RUNNING from now on; absent: without an end.
    TaskTimeoutSet {
        task: TaskId,
        timeout_ms: Option<u64>,
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
    /// Its instances go first.
    AutoScalingGroupDeleting {
        name: AutoScalingGroupName,
        at: Timestamp,
    },
    AutoScalingGroupDeleted {
        name: AutoScalingGroupName,
    },
    /// The group's next so many instances are to be launched.
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
    /// Its launcher has terminated it.
    InstanceGone {
        group: AutoScalingGroupName,
        instance: InstanceId,
        at: Timestamp,
    },
    /// Agents that joined whose hosts are long deregistered, or were never registered: what their
    /// certificates open need not be remembered, since these have ended.
    MembersForgotten {
        hosts: Vec<HostId>,
    },
    /// The whole of a capacity provider, at each of its changes.
    CapacityProviderSet(Box<CapacityProvider>),
    CapacityProviderForgotten {
        name: CapacityProviderName,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceCreated {
    pub service: ServiceId,
    pub named: ServiceRef,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_by: String,
    /// The token and a hash of the call's other parameters.
    pub client_token: Option<(String, u64)>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskAdopted {
    pub record: TaskRecord,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionRegistered {
    pub definition: Arc<TaskDefinition>,
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub tags: Tags,
    /// A host said that it runs a task of it, after `recover`: nobody may start more of them.
    #[serde(default)]
    pub taken_back: bool,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TasksStarted {
    pub cluster: ClusterName,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub started_by: Option<String>,
    pub overrides: TaskOverride,
    pub demand: Demand,
    pub tags: Tags,
    pub tasks: Vec<PlacedTask>,
    /// RunTask's clientToken, kept in the same record as its effect.
    pub client_token: Option<UsedClientToken>,
    #[serde(default)]
    pub service: Option<StartedForService>,
    /// How long each may be RUNNING.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The launch in which they waited for a host.
    #[serde(default)]
    pub waited: Option<TaskId>,
    /// The capacity provider that they go by.
    #[serde(default)]
    pub provider: Option<CapacityProviderName>,
    /// Absent when the call asked nothing, and for tasks of a service.
    #[serde(default)]
    pub asked: Option<AskedPlacement>,
    /// The account's `defaultLogDriverMode` when they were placed; absent in older journals, whose
    /// tasks block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver_mode: Option<LogDriverMode>,
    pub at: Timestamp,
}

/// The record of tasks that wait, too: then `tasks` are those that still do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TasksWaiting {
    /// The id of its first task.
    pub launch: TaskId,
    pub cluster: ClusterName,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub started_by: Option<String>,
    pub overrides: TaskOverride,
    pub demand: Demand,
    pub tags: Tags,
    pub tasks: Vec<WaitingTask>,
    pub distinct_instance: bool,
    /// Beside the constraints of the task definition.
    #[serde(default)]
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
    /// They are given up then.
    pub until: Option<Timestamp>,
    pub timeout_ms: Option<u64>,
    /// Only its hosts will do.
    #[serde(default)]
    pub provider: Option<CapacityProviderName>,
    /// As in [`TasksStarted`]; gone in a record.
    pub client_token: Option<UsedClientToken>,
    /// In a record, the journal's sequence of the batch that asked for them; 0 in an event, and where an
    /// earlier release kept it.
    #[serde(default)]
    pub asked_seq: u64,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingTask {
    pub task: TaskId,
    pub containers: Vec<ContainerId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedTask {
    pub task: TaskId,
    pub host: HostId,
    pub containers: Vec<ContainerId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRegistered {
    pub host: HostId,
    pub cluster: ClusterName,
    pub capacity: Capacity,
    /// What the agent or the caller registered; custom attributes are apart.
    pub attributes: Vec<Attribute>,
    /// Of them, what a caller registered and an agent leaves as it is; absent: as before.
    #[serde(default)]
    pub given: Option<Vec<Attribute>>,
    pub versions: Versions,
    pub instance_id: Option<String>,
    /// Where to poll and what to call the host; absent for one registered by the API.
    pub agent: Option<AgentPlace>,
    /// Added to the tags that the host has.
    pub tags: BTreeMap<String, String>,
    pub at: Timestamp,
}
