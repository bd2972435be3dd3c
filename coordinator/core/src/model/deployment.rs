//! A service deployment: the form in which it is kept and shown.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::service::{DeploymentConfig, DeploymentId, HookId, RevisionId, ServiceRef};

/// A service deployment as its ARN names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRef {
    pub service: ServiceRef,
    pub deployment: DeploymentId,
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
    /// Alarms that were in ALARM when the deployment began: ignored this time.
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
