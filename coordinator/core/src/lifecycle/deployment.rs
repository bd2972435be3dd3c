//! How a service deployment begins, and how it ends.

use longshore_common::clock::Timestamp;

use crate::{
    event::{Event, ServiceEvent},
    model::{
        deployment::{DeploymentRecord, DeploymentStatus, HookRecord, HookStatus, Stage},
        revision::{RevisionRecord, Rollout},
        service::{DeploymentConfig, DeploymentId, RevisionId, ServiceId, ServiceRef},
    },
    state::Service,
};

/// A deployment that is to begin.
pub(crate) struct NewDeployment {
    pub(crate) service: ServiceId,
    pub(crate) named: ServiceRef,
    pub(crate) id: DeploymentId,
    pub(crate) config: DeploymentConfig,
    pub(crate) desired: u32,
    /// Revisions that have tasks now.
    pub(crate) sources: Vec<RevisionId>,
    /// Alarms that are in ALARM already: ignored this time.
    pub(crate) alarms_ignored: Vec<String>,
    /// The service has this revision already, with tasks of an earlier deployment.
    pub(crate) is_known: bool,
    pub(crate) revision: RevisionRecord,
}

/// The events that begin the deployment of a new revision of a service.
pub(crate) fn begin(new: NewDeployment) -> Vec<Event> {
    let NewDeployment { service, named, id, config, desired, sources, alarms_ignored, .. } = new;
    let revision = Box::new(new.revision);
    let (at, target) = (revision.updated_at, revision.id);
    let threshold = config.circuit_breaker.threshold(desired);
    let deployment = DeploymentRecord {
        id,
        service: named,
        sources,
        target,
        status: DeploymentStatus::Pending,
        reason: None,
        created_at: at,
        started_at: None,
        updated_at: at,
        finished_at: None,
        stopped_at: None,
        config,
        stage: Stage::ReconcileService,
        stage_since: at,
        failures: 0,
        threshold,
        breaker_triggered: false,
        alarms_ignored,
        alarms_triggered: Vec::new(),
        rollback: None,
        hooks: Vec::new(),
        desired,
    };
    vec![
        match new.is_known {
            true => Event::Service(ServiceEvent::RevisionChanged { service, revision }),
            false => Event::Service(ServiceEvent::RevisionCreated { service, revision }),
        },
        Event::Service(ServiceEvent::PrimaryChanged { service, revision: target, at }),
        Event::Service(ServiceEvent::DeploymentSet { service, deployment: Box::new(deployment) }),
    ]
}

/// A newer deployment takes over (ecs-behaviour 1.10, superseding). A target that only waited for its
/// predecessor to leave has completed: it is what the newer one goes back to.
pub(crate) fn supersede(service: &Service, why: &str, at: Timestamp) -> Vec<Event> {
    let Some(mut deployment) = service.under_way().cloned() else { return Vec::new() };
    let mut events = Vec::new();
    if deployment.stage == Stage::CleanUp && deployment.rollback.is_none() {
        let target = deployment.target;
        let reason = format!("ECS deployment ecs-svc/{target} completed.");
        events.extend(rolled_out(service, target, Rollout::Completed, reason, at));
    }
    end(&mut deployment, service, DeploymentStatus::Stopped, Some(why.to_owned()), at);
    events.push(Event::Service(ServiceEvent::DeploymentSet {
        service: service.id,
        deployment: Box::new(deployment),
    }));
    events
}

/// What is said of a revision's deployment from now on, if there is still such a revision.
pub(crate) fn rolled_out(
    service: &Service,
    revision: RevisionId,
    rollout: Rollout,
    reason: String,
    at: Timestamp,
) -> Option<Event> {
    let record = service.revision(revision)?.record.clone();
    let revision = RevisionRecord { rollout, reason, updated_at: at, ..record };
    Some(Event::Service(ServiceEvent::RevisionChanged {
        service: service.id,
        revision: Box::new(revision),
    }))
}

pub(crate) fn failures(service: &Service, revision: RevisionId) -> u32 {
    service.revision(revision).map_or(0, |revision| revision.record.failed_tasks)
}

pub(crate) fn end(
    deployment: &mut DeploymentRecord,
    service: &Service,
    status: DeploymentStatus,
    reason: Option<String>,
    at: Timestamp,
) {
    deployment.status = status;
    deployment.reason = reason.or(deployment.reason.take());
    deployment.updated_at = at;
    deployment.failures = failures(service, deployment.target);
    deployment.hooks.iter_mut().for_each(give_up);
    match status {
        DeploymentStatus::Stopped => deployment.stopped_at = Some(at),
        DeploymentStatus::Pending
        | DeploymentStatus::InProgress
        | DeploymentStatus::Successful
        | DeploymentStatus::StopRequested
        | DeploymentStatus::RollbackRequested
        | DeploymentStatus::RollbackInProgress
        | DeploymentStatus::RollbackSuccessful
        | DeploymentStatus::RollbackFailed => {}
    }
    deployment.finished_at = Some(at);
}

/// Nobody waits for its answer any more.
pub(crate) fn give_up(hook: &mut HookRecord) {
    match hook.status {
        HookStatus::AwaitingAction | HookStatus::InProgress => {
            (hook.status, hook.call_at) = (HookStatus::Failed, None);
        }
        HookStatus::Succeeded | HookStatus::Failed | HookStatus::TimedOut => {}
    }
}

pub(crate) fn enter(deployment: &mut DeploymentRecord, stage: Stage, at: Timestamp) {
    (deployment.stage, deployment.stage_since, deployment.updated_at) = (stage, at, at);
}
