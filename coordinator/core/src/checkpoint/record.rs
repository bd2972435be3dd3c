//! The contents of rows, of a checkpoint and of the history.
//!
//! Rows outlive releases. A field is only ever added, with a default; a change of meaning is a new
//! kind in the table of entities, and the old one stays readable.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    logs::mode::LogDriverMode,
    protocol::{Attribute, ContainerId, EngineHealth, Epoch, StorageHealth, TaskReport, Versions},
    resources::{Capacity, Demand},
    task::{StopCause, TaskOverride},
    task_definition::{Compatibility, ContainerDefinition, TaskDefinition},
};
use serde::{Deserialize, Serialize};

pub use crate::state::{RESTORE_ORDER, Record};
use crate::{
    command::{ClusterSettings, SettingScope, Tags},
    event::{AgentPlace, AskedPlacement},
    model::{
        name::{CapacityProviderName, ClusterName, Family},
        service::{
            DeploymentConfig, DeploymentId, HookId, RevisionId, ServiceConfig, ServiceId,
            ServiceRef,
        },
    },
    state::{
        ClientTokenUse, ClusterStatus, DefinitionStatus, HostStatus, Membership, OrdersAtStarts,
        Phase, Replacing, ServiceStatus, Wish,
    },
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaRecord {
    pub epoch: Epoch,
    pub epochs: BTreeMap<u64, u64>,
    pub recovered: Option<Epoch>,
    #[serde(default)]
    pub recovered_seq: u64,
    #[serde(default)]
    pub starts: BTreeMap<u64, u64>,
    #[serde(default)]
    pub unsure_before: Option<Timestamp>,
    #[serde(default)]
    pub unsure_below: Option<u64>,
    #[serde(default)]
    pub recoveries: BTreeMap<u64, u64>,
    #[serde(default)]
    pub word_awaited_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyRecord {
    pub family: Family,
    pub last_revision: u32,
    /// Absent where nobody has kept apart what was registered and what was taken back from hosts.
    #[serde(default)]
    pub registered: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    pub host: HostId,
    pub membership: Membership,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingRecord {
    pub scope: SettingScope,
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub settings: ClusterSettings,
    pub tags: Tags,
    #[serde(default)]
    pub replacing: Replacing,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinitionRecord {
    pub definition: Arc<TaskDefinition>,
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub registered_at: Timestamp,
    pub status: DefinitionStatus,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    pub id: HostId,
    pub cluster: ClusterName,
    pub status: HostStatus,
    pub capacity: Capacity,
    pub attributes: Vec<Attribute>,
    pub custom_attributes: Vec<Attribute>,
    #[serde(default)]
    pub given_attributes: Vec<Attribute>,
    pub tags: Tags,
    pub versions: Versions,
    pub instance_id: Option<String>,
    pub agent: Option<AgentPlace>,
    pub registered_at: Timestamp,
    pub connected: bool,
    #[serde(default)]
    pub refused: bool,
    #[serde(default)]
    pub refused_until: Timestamp,
    pub connectivity_at: Timestamp,
    #[serde(default)]
    pub engine: EngineHealth,
    #[serde(default)]
    pub engine_at: Timestamp,
    #[serde(default)]
    pub storage: StorageHealth,
    #[serde(default)]
    pub storage_at: Timestamp,
    pub version: u64,
    pub last_order: u64,
    #[serde(default)]
    pub orders_at_starts: OrdersAtStarts,
    #[serde(default)]
    pub skipped_seq: u64,
    #[serde(default)]
    pub told_all: u64,
}

/// A task, live or stopped: the form in which it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub id: TaskId,
    pub cluster: ClusterName,
    /// Absent for one that never had any.
    pub host: Option<HostId>,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub generation: u32,
    pub version: u32,
    pub wish: Wish,
    pub phase: Phase,
    pub created_at: Timestamp,
    pub demand: Demand,
    pub overrides: TaskOverride,
    pub tags: Tags,
    pub started_by: Option<String>,
    pub containers: Vec<ContainerId>,
    /// Ids of the host's GPUs that are this task's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    pub report: Option<TaskReport>,
    /// Only in the history.
    pub end: Option<TaskEnd>,
    #[serde(default)]
    pub service: Option<ServiceTaskRecord>,
    /// How long it may be RUNNING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The capacity provider that it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<CapacityProviderName>,
    /// What the call that started it asked of hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedPlacement>,
    /// As in its order: see [`longshore_common::protocol::RunOrder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver_mode: Option<LogDriverMode>,
    /// The journal's sequence of the batch that gave it its host; 0 where an earlier release did.
    #[serde(default)]
    pub placed_seq: u64,
}

/// What a task is to the service that started it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTaskRecord {
    pub service: ServiceId,
    pub revision: RevisionId,
    /// It ran long enough without checks to count as healthy.
    pub settled: bool,
    /// Its host was silent for too long.
    pub lost: bool,
    /// It was lost once and came back.
    pub returned: bool,
    pub protected_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    pub id: ServiceId,
    pub named: ServiceRef,
    pub status: ServiceStatus,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<(String, u64)>,
    pub primary: Option<RevisionId>,
    /// The revision of the last deployment that completed: where a rollback goes.
    pub completed: Option<RevisionId>,
    pub revisions: Vec<RevisionRecord>,
    /// The deployment under way, or the last one.
    pub deployment: Option<DeploymentRecord>,
    pub launch: LaunchBackoff,
    pub steady: bool,
    #[serde(default)]
    pub moving: Option<Move>,
}

/// A task that starts elsewhere so that another one may stop (ecs-behaviour 1.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub leaving: TaskId,
    pub arriving: TaskId,
}

/// A revision of a service, kept while it is the primary one, has tasks or may be gone back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionRecord {
    pub id: RevisionId,
    pub family: Family,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub rollout: Rollout,
    /// ECS's rolloutStateReason.
    pub reason: String,
    /// Tasks that failed in a row.
    pub failed_tasks: u32,
    /// Has had a task in RUNNING: from now on health is what fails tasks (ecs-behaviour 1.10).
    pub has_run: bool,
    /// The service was scaled after the deployment of this revision had failed: what that left
    /// beyond the desired count goes.
    #[serde(default)]
    pub scaled: bool,
    /// Only with the EXTERNAL controller.
    pub task_set: Option<TaskSetRecord>,
    /// By container: what its image was found to be first. Later tasks are run from the same
    /// (ecs-behaviour 1.9, image digest).
    #[serde(default)]
    pub image_digests: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSetRecord {
    pub external_id: Option<String>,
    pub scale_permille: u32,
    pub tags: Tags,
    pub client_token: Option<(String, u64)>,
    /// Deleted; its tasks are still stopping.
    pub draining: bool,
    pub stable: bool,
    pub stability_at: Timestamp,
}

impl TaskSetRecord {
    /// ecs-behaviour 1.12: rounded up.
    pub fn computed_desired(&self, desired: u32) -> u32 {
        (u64::from(desired) * u64::from(self.scale_permille)).div_ceil(1000) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// Keeps a service whose tasks do not start from trying without end (ecs-behaviour 1.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchBackoff {
    /// Rounds in a row in which a task stopped before it ran.
    pub rounds: u32,
    /// Nothing is started before.
    pub not_before: Option<Timestamp>,
    /// Rounds in a row in which a task ended right after it began to run.
    #[serde(default)]
    pub brief_runs: u32,
}

/// A service deployment, under way or ended: the form in which it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    pub id: DeploymentId,
    pub service: ServiceRef,
    pub sources: Vec<RevisionId>,
    pub target: RevisionId,
    pub status: DeploymentStatus,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    pub config: DeploymentConfig,
    pub stage: Stage,
    pub stage_since: Timestamp,
    pub failures: u32,
    pub threshold: u32,
    pub breaker_triggered: bool,
    /// In ALARM when the deployment began: not listened to this time.
    pub alarms_ignored: Vec<String>,
    pub alarms_triggered: Vec<String>,
    pub rollback: Option<RollbackRecord>,
    pub hooks: Vec<HookRecord>,
    /// Tasks that each revision was to have when the deployment ended.
    pub desired: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentStatus {
    Pending,
    InProgress,
    Successful,
    StopRequested,
    Stopped,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl DeploymentStatus {
    pub fn is_over(self) -> bool {
        match self {
            DeploymentStatus::Successful
            | DeploymentStatus::Stopped
            | DeploymentStatus::RollbackSuccessful
            | DeploymentStatus::RollbackFailed => true,
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::StopRequested
            | DeploymentStatus::RollbackRequested
            | DeploymentStatus::RollbackInProgress => false,
        }
    }
}

/// ECS's lifecycleStage (ecs-behaviour 1.11). A rolling deployment scales, bakes and cleans up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    ReconcileService,
    PreScaleUp,
    ScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    PreProductionTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
    BakeTime,
    CleanUp,
}

impl Stage {
    /// ECS's lifecycleStage.
    pub fn as_ecs(self) -> &'static str {
        match self {
            Stage::ReconcileService => "RECONCILE_SERVICE",
            Stage::PreScaleUp => "PRE_SCALE_UP",
            Stage::ScaleUp => "SCALE_UP",
            Stage::PostScaleUp => "POST_SCALE_UP",
            Stage::TestTrafficShift => "TEST_TRAFFIC_SHIFT",
            Stage::PostTestTrafficShift => "POST_TEST_TRAFFIC_SHIFT",
            Stage::PreProductionTrafficShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Stage::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Stage::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Stage::BakeTime => "BAKE_TIME",
            Stage::CleanUp => "CLEAN_UP",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackRecord {
    pub reason: String,
    pub started_at: Timestamp,
    pub to: RevisionId,
}

/// One run of a lifecycle hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookRecord {
    pub id: HookId,
    /// Position among the deployment's hooks.
    pub hook: u32,
    pub stage: Stage,
    pub status: HookStatus,
    pub expires_at: Timestamp,
    /// An HTTP hook is called when this has passed.
    pub call_at: Option<Timestamp>,
    /// Why it failed, in its own words.
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookStatus {
    AwaitingAction,
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
}

/// How a task ended, with what its definition said of its containers, which may be deleted later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEnd {
    pub at: Timestamp,
    pub cause: StopCause,
    pub containers: Vec<ContainerDefinition>,
    pub host_connected: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientTokenRecord {
    pub cluster: ClusterName,
    pub token_use: ClientTokenUse,
}

pub fn encode(record: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(record).expect("records have no unserialisable part")
}

pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
