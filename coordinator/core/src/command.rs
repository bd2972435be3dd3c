//! What can be asked of the state machine. Everything in a command is parsed and within limits;
//! what depends on the state is `decide`'s to judge.

use std::collections::BTreeMap;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    machine::AgentRun,
    mutual_tls::KeyHash,
    protocol::{
        Attribute, EngineHealth, Epoch, HeldImages, RegisterRequest, Report, ReportPosition, Seen,
        StorageHealth, Versions,
    },
    resources::Capacity,
    task::TaskOverride,
    task_definition::{Compatibility, TaskSpec},
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        alarm::{AlarmName, PutMetricAlarm, SetAlarmState},
        attachment::attachment_id,
        auto_scaling::{
            AutoScalingGroupName, GroupChange, GroupConfig, GroupTag, InstanceId, LauncherVerb,
        },
        capacity_provider::{CapacityProvider, CapacityProviderChange, StrategyItem},
        cluster::{ClusterCapacity, ClusterSettings},
        definition::RevisionRef,
        deployment::DeploymentRef,
        join_token::JoinToken,
        log_group::LogGroupName,
        name::{CapacityProviderName, ClusterName, Family},
        service::{
            CircuitBreaker, DeploymentAlarms, DeploymentStrategy, EarlySuccess, HookAction, HookId,
            LifecycleHook, PropagateTags, RevisionId, ServiceConfig, ServiceId, ServiceRef,
        },
        setting::SettingScope,
        tagged::Resource,
        tags::Tags,
        task_options::TaskOptions,
    },
    placement::Strategy,
    query::Constraint,
};

/// Maximum number of changes in one call of SubmitAttachmentStateChanges.
pub const ATTACHMENT_CHANGES_MAX: usize = 100;

/// How far one attachment of a task is.
#[derive(Clone, Debug)]
pub struct AttachmentStateChange {
    pub task: TaskId,
    /// Position in the task's list.
    pub attachment: u32,
    pub status: AttachmentStatus,
}

impl AttachmentStateChange {
    /// The attachment's id, as the API shows it.
    pub fn id(&self) -> String {
        attachment_id(self.task, self.attachment)
    }
}

/// What may be said of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentStatus {
    Attached,
    Detached,
    Failed,
}

impl AttachmentStatus {
    pub const ALL: [AttachmentStatus; 3] =
        [AttachmentStatus::Attached, AttachmentStatus::Detached, AttachmentStatus::Failed];

    pub fn name(self) -> &'static str {
        match self {
            AttachmentStatus::Attached => "ATTACHED",
            AttachmentStatus::Detached => "DETACHED",
            AttachmentStatus::Failed => "FAILED",
        }
    }
}

/// A command with all that it needs of the outside: the time and 128 random bits, from which new
/// ids are derived.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub at: Timestamp,
    pub entropy: u128,
    pub command: Command,
}

#[derive(Clone, Debug)]
pub enum Command {
    CreateCluster {
        name: ClusterName,
        settings: ClusterSettings,
        tags: Tags,
    },
    UpdateCluster {
        name: ClusterName,
        change: ClusterChange,
    },
    DeleteCluster {
        name: ClusterName,
    },

    RegisterTaskDefinition(Box<RegisterTaskDefinition>),
    DeregisterTaskDefinition(RevisionRef),
    /// Up to ten revisions; each may fail on its own.
    DeleteTaskDefinitions(Vec<RevisionRef>),

    RunTask(Box<RunTask>),
    StartTask(Box<StartTask>),
    StopTask {
        cluster: ClusterName,
        task: TaskId,
        reason: Option<String>,
    },

    /// Whoever makes attachments of tasks says how far they are; at most
    /// [`ATTACHMENT_CHANGES_MAX`] in a call.
    SubmitAttachmentStateChanges {
        cluster: ClusterName,
        changes: Vec<AttachmentStateChange>,
    },

    /// By the API: a host that has no agent yet.
    RegisterContainerInstance(Box<RegisterContainerInstance>),
    /// By an agent whose certificate names `host`.
    RegisterHost {
        host: HostId,
        request: Box<RegisterRequest>,
    },
    DeregisterContainerInstance {
        cluster: ClusterName,
        host: HostId,
        force: bool,
    },
    UpdateContainerInstancesState {
        cluster: ClusterName,
        hosts: Vec<HostId>,
        status: SettableHostStatus,
    },
    PutAttributes {
        cluster: ClusterName,
        attributes: Vec<TargetedAttribute>,
    },
    DeleteAttributes {
        cluster: ClusterName,
        attributes: Vec<TargetedAttribute>,
    },

    Tag {
        resource: Resource,
        tags: Tags,
    },
    Untag {
        resource: Resource,
        keys: Vec<String>,
    },

    PutAccountSetting {
        scope: SettingScope,
        name: String,
        value: String,
    },
    DeleteAccountSetting {
        principal: String,
        name: String,
    },

    CreateJoinToken(JoinToken),
    RevokeJoinToken {
        id: String,
    },
    /// An agent has shown the secret of this token: count the use and give it a host id, unless it is one
    /// that asks again.
    UseJoinToken {
        secret_hash: [u8; 32],
        requested_host: Option<HostId>,
        /// To be certified for the host.
        key: Option<KeyHash>,
    },

    /// A host asks for a certificate for a new key.
    CertifyHost(Box<CertifyHost>),

    /// What an agent's answer to a poll says that the state should know.
    AgentAnswered(Box<AgentAnswered>),
    /// The poller lost its agent (design.md rule 5: two beats missed, refused or reset).
    AgentSilent {
        host: HostId,
        why: String,
        /// The host answered that nobody listens.
        refused: bool,
    },

    /// The first command of every start.
    StartEpoch {
        incarnation: u64,
    },
    /// The operator accepts that the journal went back (design.md rule 3). `beyond` is the highest
    /// epoch counter that any agent has shown; `proved` the epoch by which one has proved it, none
    /// where the operator knew it before.
    Recover {
        beyond: u64,
        incarnation: u64,
        proved: Option<Epoch>,
    },
    /// After `recover`, this agent has shown that it took orders up to `to` of the lost part of
    /// the journal: ours must be numbered above them.
    SkipLostOrders {
        host: HostId,
        to: u64,
    },
    /// Time has passed: expire what is due.
    Tick,

    CreateService(Box<CreateService>),
    UpdateService(Box<UpdateService>),
    DeleteService {
        service: ServiceRef,
        force: bool,
    },
    StopServiceDeployment {
        deployment: DeploymentRef,
        rollback: bool,
    },
    /// Answers a PAUSE hook.
    ContinueServiceDeployment {
        deployment: DeploymentRef,
        hook: HookId,
        action: HookAction,
    },
    /// What an HTTP hook answered, or that it did not.
    HookAnswered {
        service: ServiceId,
        hook: HookId,
        answer: HookAnswer,
    },
    CreateTaskSet(Box<CreateTaskSet>),
    UpdateTaskSet {
        service: ServiceRef,
        task_set: RevisionId,
        scale_permille: u32,
    },
    DeleteTaskSet {
        service: ServiceRef,
        task_set: RevisionId,
        force: bool,
    },
    UpdateServicePrimaryTaskSet {
        service: ServiceRef,
        task_set: RevisionId,
    },
    /// Protects from scale-in until `minutes` from now; without, protects no longer.
    UpdateTaskProtection {
        cluster: ClusterName,
        tasks: Vec<TaskId>,
        minutes: Option<u32>,
    },
    /// Every host that can be heard has said what it has seen: after a start, the scheduler does
    /// nothing before.
    BeginScheduling,
    /// The operator lets the tasks of lost hosts be replaced though half of them are lost.
    ReplaceLostTasks {
        cluster: ClusterName,
    },

    PutMetricAlarm(Box<PutMetricAlarm>),
    SetAlarmState(SetAlarmState),
    DeleteAlarms {
        names: Vec<AlarmName>,
    },

    CreateLogGroup {
        name: LogGroupName,
        tags: Tags,
    },
    PutLogRetention {
        name: LogGroupName,
        days: Option<u32>,
    },
    DeleteLogGroup {
        name: LogGroupName,
    },

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
        /// Its instances are terminated with it.
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

    CreateCapacityProvider(Box<CapacityProvider>),
    UpdateCapacityProvider {
        name: CapacityProviderName,
        change: CapacityProviderChange,
    },
    DeleteCapacityProvider {
        name: CapacityProviderName,
    },
    PutClusterCapacityProviders {
        cluster: ClusterName,
        capacity: ClusterCapacity,
    },
}

/// Members that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterChange {
    pub settings: Option<BTreeMap<String, String>>,
    pub configuration: Option<serde_json::Value>,
    /// The empty string removes it.
    pub service_connect_namespace: Option<String>,
}

#[derive(Clone, Debug)]
pub struct RegisterTaskDefinition {
    pub family: Family,
    pub spec: TaskSpec,
    /// `requiresAttributes`: names, with a value where one is required.
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub tags: Tags,
}

/// What RunTask and StartTask have in common.
#[derive(Clone, Debug)]
pub struct TaskLaunch {
    pub cluster: ClusterName,
    pub definition: RevisionRef,
    pub overrides: TaskOverride,
    /// `family:<family>` when not given.
    pub group: Option<String>,
    pub started_by: Option<String>,
    pub tags: Tags,
    /// From those tags.
    pub options: TaskOptions,
    /// propagateTags TASK_DEFINITION.
    pub propagate_tags: bool,
    /// Adds aws:ecs:clusterName.
    pub managed_tags: bool,
}

#[derive(Clone, Debug)]
pub struct RunTask {
    pub launch: TaskLaunch,
    pub count: u32,
    pub distinct_instance: bool,
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
    /// A capacity provider strategy, none at all for a launch type; absent: the cluster's own.
    pub capacity: Option<Vec<StrategyItem>>,
    pub client_token: Option<ClientToken>,
}

#[derive(Clone, Debug)]
pub struct StartTask {
    pub launch: TaskLaunch,
    pub hosts: Vec<HostId>,
}

/// RunTask's clientToken with a hash of all other parameters (promises.md 2.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    pub token: String,
    pub parameters_hash: u64,
}

/// One list of a launcher's machines, compared with the instances that are bound to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinesListed {
    pub launcher: String,
    /// Machines that are not on their way out, bound ones among them.
    pub alive: u32,
    /// Of these, what no instance is bound to.
    pub unbound: Vec<InstanceId>,
    /// Of these, what the list before showed already.
    pub lasting: Vec<InstanceId>,
    /// What an instance is bound to, and neither this list nor the one before showed alive.
    pub missing: Vec<InstanceId>,
    /// Why the launcher has launched nothing more, in its words.
    pub stalled: Option<String>,
}

#[derive(Clone, Debug)]
pub struct RegisterContainerInstance {
    pub cluster: ClusterName,
    /// Registers an existing instance anew.
    pub host: Option<HostId>,
    pub capacity: Capacity,
    pub attributes: Vec<Attribute>,
    pub versions: Versions,
    pub instance_id: Option<String>,
    pub tags: Tags,
}

/// The two states that a user may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettableHostStatus {
    Active,
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetedAttribute {
    pub host: HostId,
    pub attribute: Attribute,
}

#[derive(Clone, Debug)]
pub struct CertifyHost {
    pub host: HostId,
    /// To be certified.
    pub key: KeyHash,
    /// By which the host has proved itself; absent in the moment of its joining.
    pub by: Option<ShownKey>,
    /// Of the token that came along.
    pub secret_hash: Option<[u8; 32]>,
    /// Absent from agents that do not say it.
    pub run: Option<AgentRun>,
}

/// A key of this fleet that somebody has proved to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownKey {
    pub key: KeyHash,
    /// True once its certificate has ended.
    pub ended: bool,
}

#[derive(Clone, Debug)]
pub struct AgentAnswered {
    pub host: HostId,
    pub seen: Option<Seen>,
    /// The position after `reports`, or of the last one known.
    pub position: ReportPosition,
    pub reports: Vec<Report>,
    /// Of the stop candidates among `reports`, those that the history knows to have ended.
    pub ended_candidates: Vec<TaskId>,
    /// When the host has others than it said last.
    pub images: Option<HeldImages>,
    pub engine: EngineHealth,
    pub storage: StorageHealth,
    /// Its machine is about to be taken away.
    pub leaving: bool,
    /// With this answer all is said that there is to know of the host's tasks.
    pub looked: bool,
}

#[derive(Clone, Debug)]
pub struct CreateService {
    pub service: ServiceRef,
    /// Absent with the EXTERNAL controller, whose task sets bring their own.
    pub definition: Option<RevisionRef>,
    /// Without its capacity provider strategy.
    pub config: ServiceConfig,
    /// As in [`RunTask`].
    pub capacity: Option<Vec<StrategyItem>>,
    pub tags: Tags,
    pub created_by: String,
    pub client_token: Option<ClientToken>,
}

/// Members that are absent stay as they are.
#[derive(Clone, Debug)]
pub struct UpdateService {
    pub service: ServiceRef,
    pub definition: Option<RevisionRef>,
    pub desired: Option<u32>,
    pub deployment: DeploymentChange,
    pub distinct_instance: Option<bool>,
    pub member_of: Option<Vec<Constraint>>,
    pub strategies: Option<Vec<Strategy>>,
    /// Empty: none any more.
    pub capacity: Option<Vec<StrategyItem>>,
    pub grace_s: Option<u32>,
    pub az_rebalancing: Option<bool>,
    pub propagate_tags: Option<PropagateTags>,
    pub managed_tags: Option<bool>,
    pub force_new_deployment: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentChange {
    pub minimum_healthy_percent: Option<u32>,
    pub maximum_percent: Option<u32>,
    pub strategy: Option<DeploymentStrategy>,
    pub circuit_breaker: Option<CircuitBreaker>,
    pub alarms: Option<DeploymentAlarms>,
    pub bake_minutes: Option<u32>,
    pub hooks: Option<Vec<LifecycleHook>>,
    pub early_success: Option<EarlySuccess>,
}

#[derive(Clone, Debug)]
pub struct CreateTaskSet {
    pub service: ServiceRef,
    pub definition: RevisionRef,
    pub external_id: Option<String>,
    /// Of the service's desired count, in tenths of a percent.
    pub scale_permille: u32,
    pub tags: Tags,
    pub client_token: Option<ClientToken>,
}

/// `hookStatus` of a lifecycle hook's answer (ecs-behaviour 1.11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookAnswer {
    Succeeded,
    Failed(String),
    /// Ask again after so many seconds.
    InProgress {
        call_back_s: u32,
    },
}

impl Command {
    /// Whether the operator may have it done while a host proves that the journal is old: to throw out
    /// a host whose proof he does not believe.
    pub fn passes_an_old_journal(&self) -> bool {
        matches!(self, Command::DeregisterContainerInstance { .. })
    }
}

/// An epoch as [`Command::StartEpoch`] makes it from the state's last one.
pub fn next_epoch(last: Epoch, incarnation: u64) -> Epoch {
    Epoch { counter: last.counter.saturating_add(1), incarnation }
}
