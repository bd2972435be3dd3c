//! A service deployment as ECS shows it.

use longshore_common::{arn::Identity, clock::Timestamp};
use longshore_core::{
    State,
    model::{
        deployment::{DeploymentRecord, DeploymentStatus, HookRecord, HookStatus},
        service::{HookAction, HookTarget, RevisionId, ServiceId},
    },
    schedule,
    state::Service,
};
use serde::{Deserialize, Serialize};

use crate::api::ecs::{
    identifiers,
    services::{
        deployment_configuration::{self, DeploymentConfigurationView},
        view::{RevisionSummary, summary},
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentBrief {
    cluster_arn: String,
    created_at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<f64>,
    service_arn: String,
    service_deployment_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<f64>,
    status: DeploymentStatusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    target_service_revision_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceDeploymentView {
    #[serde(skip_serializing_if = "Option::is_none")]
    alarms: Option<AlarmsView>,
    cluster_arn: String,
    created_at: f64,
    deployment_circuit_breaker: BreakerView,
    deployment_configuration: DeploymentConfigurationView,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<f64>,
    lifecycle_hook_details: Vec<HookDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<RollbackView>,
    service_arn: String,
    service_deployment_arn: String,
    source_service_revisions: Vec<RevisionSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<f64>,
    status: DeploymentStatusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<f64>,
    target_service_revision: RevisionSummary,
    updated_at: f64,
}

/// The status as it is written in answers, and in filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DeploymentStatusName {
    Pending,
    Successful,
    Stopped,
    StopRequested,
    InProgress,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BreakerView {
    status: MonitorStatus,
    failure_count: u32,
    threshold: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlarmsView {
    status: MonitorStatus,
    alarm_names: Vec<String>,
    triggered_alarm_names: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum MonitorStatus {
    Triggered,
    Monitoring,
    MonitoringComplete,
    Disabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RollbackView {
    reason: String,
    started_at: f64,
    service_revision_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookDetail {
    hook_id: String,
    target_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_arn: Option<String>,
    status: &'static str,
    expires_at: f64,
    timeout_action: &'static str,
}

pub(super) fn brief(identity: &Identity, record: &DeploymentRecord) -> DeploymentBrief {
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_epoch_seconds);
    DeploymentBrief {
        cluster_arn: identifiers::cluster_arn(identity, &record.service.cluster),
        created_at: record.created_at.as_epoch_seconds(),
        finished_at: seconds(record.finished_at),
        service_arn: identifiers::service_arn(identity, &record.service),
        service_deployment_arn: arn(identity, record),
        started_at: seconds(record.started_at),
        status: record.status.into(),
        status_reason: record.reason.clone(),
        target_service_revision_arn: revision_arn(identity, record, record.target),
    }
}

/// `known` is what the history has; what the state has of the same deployment is newer.
pub(super) fn of(
    identity: &Identity,
    state: &State,
    service: ServiceId,
    known: &DeploymentRecord,
) -> ServiceDeploymentView {
    let service = state.service(service);
    let current = service.and_then(|service| service.deployment.as_ref());
    let record = current.filter(|current| current.id == known.id).unwrap_or(known);
    let revision = |id, requested| summary_of(identity, state, service, record, id, requested);
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_epoch_seconds);
    ServiceDeploymentView {
        alarms: alarms(record),
        cluster_arn: identifiers::cluster_arn(identity, &record.service.cluster),
        created_at: record.created_at.as_epoch_seconds(),
        deployment_circuit_breaker: breaker(service, record),
        deployment_configuration: deployment_configuration::view(&record.config),
        finished_at: seconds(record.finished_at),
        lifecycle_hook_details: record.hooks.iter().map(|hook| hook_detail(record, hook)).collect(),
        lifecycle_stage: record.started_at.map(|_| record.stage.as_ecs()),
        rollback: record.rollback.as_ref().map(|rollback| RollbackView {
            reason: rollback.reason.clone(),
            started_at: rollback.started_at.as_epoch_seconds(),
            service_revision_arn: revision_arn(identity, record, rollback.to),
        }),
        service_arn: identifiers::service_arn(identity, &record.service),
        service_deployment_arn: arn(identity, record),
        source_service_revisions: record.sources.iter().map(|id| revision(*id, 0)).collect(),
        started_at: seconds(record.started_at),
        status: record.status.into(),
        status_reason: record.reason.clone(),
        stopped_at: seconds(record.stopped_at),
        target_service_revision: revision(record.target, record.desired),
        updated_at: record.updated_at.as_epoch_seconds(),
    }
}

fn arn(identity: &Identity, record: &DeploymentRecord) -> String {
    let (cluster, name) = (record.service.cluster.as_str(), record.service.name.as_str());
    identity.service_deployment(cluster, name, record.id)
}

fn revision_arn(identity: &Identity, record: &DeploymentRecord, id: RevisionId) -> String {
    let (cluster, name) = (record.service.cluster.as_str(), record.service.name.as_str());
    identity.service_revision(cluster, name, id)
}

/// What a revision runs now; `requested` is what it was to have when nothing more is known of it.
fn summary_of(
    identity: &Identity,
    state: &State,
    service: Option<&Service>,
    record: &DeploymentRecord,
    id: RevisionId,
    requested: u32,
) -> RevisionSummary {
    let live = service.and_then(|service| Some((service, service.revision(id)?)));
    match live {
        Some((service, revision)) => {
            let desired = schedule::desired(state, service);
            summary(identity, &record.service, service, revision, desired)
        }
        None => RevisionSummary::gone(revision_arn(identity, record, id), requested),
    }
}

fn breaker(service: Option<&Service>, record: &DeploymentRecord) -> BreakerView {
    let live = service.filter(|_| !record.status.is_over());
    let counted = live.and_then(|service| service.revision(record.target));
    BreakerView {
        status: monitor(record.config.circuit_breaker.enable, record.breaker_triggered, record),
        failure_count: counted.map_or(record.failures, |target| target.record.failed_tasks),
        threshold: record.threshold,
    }
}

fn alarms(record: &DeploymentRecord) -> Option<AlarmsView> {
    let alarms = record.config.alarms.as_ref()?;
    Some(AlarmsView {
        status: monitor(alarms.enable, !record.alarms_triggered.is_empty(), record),
        alarm_names: alarms.names.clone(),
        triggered_alarm_names: record.alarms_triggered.clone(),
    })
}

fn monitor(enabled: bool, triggered: bool, record: &DeploymentRecord) -> MonitorStatus {
    match (enabled, triggered, record.status.is_over()) {
        (false, _, _) => MonitorStatus::Disabled,
        (true, true, _) => MonitorStatus::Triggered,
        (true, false, true) => MonitorStatus::MonitoringComplete,
        (true, false, false) => MonitorStatus::Monitoring,
    }
}

fn hook_detail(record: &DeploymentRecord, run: &HookRecord) -> HookDetail {
    let hook = record.config.hooks.get(run.hook as usize);
    let (target_type, target_arn) = match hook.map(|hook| &hook.target) {
        Some(HookTarget::Http { url, .. }) => ("AWS_LAMBDA", Some(url.clone())),
        Some(HookTarget::Pause) | None => ("PAUSE", None),
    };
    let action = hook.map_or(HookAction::Rollback, |hook| hook.on_timeout);
    HookDetail {
        hook_id: run.id.to_string(),
        target_type,
        target_arn,
        status: match run.status {
            HookStatus::AwaitingAction => "AWAITING_ACTION",
            HookStatus::InProgress => "IN_PROGRESS",
            HookStatus::Succeeded => "SUCCEEDED",
            HookStatus::Failed => "FAILED",
            HookStatus::TimedOut => "TIMED_OUT",
        },
        expires_at: run.expires_at.as_epoch_seconds(),
        timeout_action: match action {
            HookAction::Rollback => "ROLLBACK",
            HookAction::Continue => "CONTINUE",
        },
    }
}

impl From<DeploymentStatus> for DeploymentStatusName {
    fn from(status: DeploymentStatus) -> Self {
        match status {
            DeploymentStatus::Pending => DeploymentStatusName::Pending,
            DeploymentStatus::InProgress => DeploymentStatusName::InProgress,
            DeploymentStatus::Successful => DeploymentStatusName::Successful,
            DeploymentStatus::StopRequested => DeploymentStatusName::StopRequested,
            DeploymentStatus::Stopped => DeploymentStatusName::Stopped,
            DeploymentStatus::RollbackRequested => DeploymentStatusName::RollbackRequested,
            DeploymentStatus::RollbackInProgress => DeploymentStatusName::RollbackInProgress,
            DeploymentStatus::RollbackSuccessful => DeploymentStatusName::RollbackSuccessful,
            DeploymentStatus::RollbackFailed => DeploymentStatusName::RollbackFailed,
        }
    }
}
