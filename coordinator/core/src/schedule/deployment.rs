//! The deployment engine: one deployment after another, each a walk through stages
//! (ecs-behaviour 1.10, 1.11). A rolling deployment scales, bakes when there are alarms, and is
//! done; blue/green without a load balancer has hooks between the same stages and cleans up last.
//!
//! Owns the life of a [`DeploymentRecord`]. Never: starts or stops of tasks; it only says which
//! revision is the primary one and which stage holds.

use std::time::Duration;

use longshore_common::clock::Timestamp;

use super::{Work, messages};
use crate::{
    event::{Event, ServiceEvent},
    lifecycle::deployment::{end, enter, failures, give_up, rolled_out},
    model::{
        deployment::{
            DeploymentRecord, DeploymentStatus, HookRecord, HookStatus, RollbackRecord, Stage,
        },
        revision::{RevisionRecord, Rollout},
        service::{DeploymentStrategy, HookAction, HookId, HookStage, HookTarget, RevisionCleanup},
    },
    state::Service,
};

/// Time for which a rolling deployment listens to its alarms after the old tasks are gone
/// (ecs-behaviour 1.10, alarms).
const BAKE_WITH_ALARMS: Duration = Duration::from_secs(60);
/// Maximum time of the stage that waits for new tasks (ecs-behaviour 1.11). A stage that waits for
/// something with a time of its own, a hook, the bake or the protection of old tasks, has that time
/// alone.
const STAGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Ends the deployment under way by going back to the last revision that completed, if there is one;
/// else leaves it failed. A target that completed earlier, and was taken up again, is begun anew
/// itself. `why` completes "ECS deployment …".
fn roll_back(
    service: &Service,
    mut deployment: DeploymentRecord,
    wanted: bool,
    why: &str,
    at: Timestamp,
) -> Vec<Event> {
    let id = service.id;
    let target = deployment.target;
    let mut events = vec![Event::Service(ServiceEvent::ServiceLogged {
        service: id,
        message: messages::deployment_failed(service, target, why),
        at,
    })];
    let to = service.completed.filter(|_| wanted);
    let back = to.and_then(|to| service.revision(to));
    let reason = |what: &str| format!("ECS deployment {what}: {why}.");
    let source = match deployment.breaker_triggered {
        true => "circuit breaker",
        false => "failed",
    };
    events.extend(rolled_out(service, target, Rollout::Failed, reason(source), at));
    match back {
        Some(back) => {
            let to = back.record.id;
            events.push(Event::Service(ServiceEvent::ServiceLogged {
                service: id,
                message: messages::rolling_back(service, to),
                at,
            }));
            let revision = RevisionRecord {
                rollout: Rollout::InProgress,
                reason: format!(
                    "ECS deployment {source}: rolling back to deploymentId ecs-svc/{to}."
                ),
                updated_at: at,
                failed_tasks: 0,
                scaled: false,
                ..back.record.clone()
            };
            events.push(Event::Service(ServiceEvent::RevisionChanged {
                service: id,
                revision: Box::new(revision),
            }));
            events.push(Event::Service(ServiceEvent::PrimaryChanged {
                service: id,
                revision: to,
                at,
            }));
            deployment.status = DeploymentStatus::RollbackInProgress;
            deployment.reason = Some(reason(source));
            deployment.rollback =
                Some(RollbackRecord { reason: reason(source), started_at: at, to });
            deployment.failures = failures(service, target);
            deployment.hooks.iter_mut().for_each(give_up);
            enter(&mut deployment, Stage::ScaleUp, at);
        }
        None => {
            let reason = Some(reason(source));
            end(&mut deployment, service, DeploymentStatus::Stopped, reason, at);
        }
    }
    events.push(Event::Service(ServiceEvent::DeploymentSet {
        service: id,
        deployment: Box::new(deployment),
    }));
    events
}

/// The stages that a strategy has. Without a load balancer there is no traffic to shift
/// (ecs-behaviour 1.11).
fn stages(strategy: DeploymentStrategy) -> &'static [Stage] {
    match strategy {
        DeploymentStrategy::Rolling => &[Stage::ScaleUp, Stage::BakeTime],
        DeploymentStrategy::BlueGreen => &[
            Stage::ReconcileService,
            Stage::PreScaleUp,
            Stage::ScaleUp,
            Stage::PostScaleUp,
            Stage::BakeTime,
            Stage::CleanUp,
        ],
    }
}

fn hook_stage(stage: Stage) -> Option<HookStage> {
    Some(match stage {
        Stage::ReconcileService => HookStage::ReconcileService,
        Stage::PreScaleUp => HookStage::PreScaleUp,
        Stage::PostScaleUp => HookStage::PostScaleUp,
        Stage::TestTrafficShift => HookStage::TestTrafficShift,
        Stage::PostTestTrafficShift => HookStage::PostTestTrafficShift,
        Stage::PreProductionTrafficShift => HookStage::PreProductionTrafficShift,
        Stage::ProductionTrafficShift => HookStage::ProductionTrafficShift,
        Stage::PostProductionTrafficShift => HookStage::PostProductionTrafficShift,
        Stage::ScaleUp | Stage::BakeTime | Stage::CleanUp => return None,
    })
}

impl Work<'_> {
    pub(super) fn advance_deployment(&mut self) {
        let service = self.service;
        if !service.is_active() {
            return;
        }
        let Some(deployment) = service.under_way() else { return };
        let mut deployment = deployment.clone();
        match deployment.status {
            DeploymentStatus::Pending => {
                deployment.status = DeploymentStatus::InProgress;
                deployment.started_at = Some(self.at);
                let first = stages(deployment.config.strategy).first().copied();
                enter(&mut deployment, first.unwrap_or(Stage::ScaleUp), self.at);
                self.set(deployment);
            }
            DeploymentStatus::InProgress => self.in_progress(deployment),
            DeploymentStatus::StopRequested => {
                // Aborted: what runs continues, and nothing more is started or stopped for the
                // deployment.
                let target = deployment.target;
                let why = format!("ECS deployment ecs-svc/{target} was stopped.");
                let stopped = rolled_out(service, target, Rollout::Failed, why, self.at);
                self.pass.events.extend(stopped);
                end(&mut deployment, service, DeploymentStatus::Stopped, None, self.at);
                self.set(deployment);
            }
            DeploymentStatus::RollbackRequested => {
                let why = deployment.reason.clone().unwrap_or_default();
                self.pass.events.extend(roll_back(service, deployment, true, &why, self.at));
            }
            DeploymentStatus::RollbackInProgress => self.rolling_back(deployment),
            DeploymentStatus::Successful
            | DeploymentStatus::Stopped
            | DeploymentStatus::RollbackSuccessful
            | DeploymentStatus::RollbackFailed => {}
        }
    }

    fn set(&mut self, deployment: DeploymentRecord) {
        let service = self.service.id;
        self.pass.events.push(Event::Service(ServiceEvent::DeploymentSet {
            service,
            deployment: Box::new(deployment),
        }));
    }

    fn in_progress(&mut self, mut deployment: DeploymentRecord) {
        let service = self.service;
        let breaker = deployment.config.circuit_breaker;
        let threshold = breaker.threshold(self.desired());
        if breaker.enable && failures(service, deployment.target) >= threshold {
            deployment.breaker_triggered = true;
            deployment.threshold = threshold;
            let stage_two =
                service.revision(deployment.target).is_some_and(|target| target.record.has_run);
            let why = if stage_two { "task failed health checks" } else { "tasks failed to start" };
            let events = roll_back(service, deployment, breaker.rollback, why, self.at);
            self.pass.events.extend(events);
            return;
        }
        if !deployment.alarms_triggered.is_empty() {
            let rollback = deployment.config.alarms.as_ref().is_some_and(|alarms| alarms.rollback);
            let why = format!("alarm detected ({})", deployment.alarms_triggered.join(", "));
            let events = roll_back(service, deployment, rollback, &why, self.at);
            self.pass.events.extend(events);
            return;
        }
        // The clean-up waits for tasks that are protected, or whose hosts are silent: the new revision
        // has all that it is to have, and nothing would be won by going back.
        let waits_for_tasks = deployment.stage == Stage::ScaleUp
            && deployment.config.strategy == DeploymentStrategy::BlueGreen;
        let stage_ends = deployment.stage_since.saturating_add(STAGE_MAX);
        if waits_for_tasks && stage_ends > self.at {
            self.wake_at(stage_ends);
        } else if waits_for_tasks {
            let stage = deployment.stage.as_ecs();
            let why = format!("the stage {stage} did not end within 24 hours");
            self.pass.events.extend(roll_back(service, deployment, true, &why, self.at));
            return;
        }
        if self.runs_hooks(&mut deployment) {
            return;
        }
        if self.stage_is_done(&deployment) && self.is_heard() {
            self.next_stage(deployment);
        }
    }

    fn stage_is_done(&mut self, deployment: &DeploymentRecord) -> bool {
        let config = &deployment.config;
        let rolling = config.strategy == DeploymentStrategy::Rolling;
        match deployment.stage {
            Stage::ScaleUp if rolling => match config.early_success.filter(|early| early.enable) {
                Some(early) => {
                    let blocking = early.cleanup == RevisionCleanup::Blocking;
                    self.has_arrived(early.healthy_percent, blocking)
                }
                None => self.has_arrived(100, true),
            },
            Stage::ScaleUp => self.has_arrived(100, false),
            Stage::CleanUp => self.has_arrived(100, true),
            Stage::BakeTime => {
                let minutes = config.bake_minutes.map(|m| Duration::from_secs(u64::from(m) * 60));
                let listens = config.alarms.as_ref().is_some_and(|alarms| alarms.enable);
                let bake = match (minutes, rolling) {
                    (Some(minutes), _) => minutes,
                    (None, true) if listens => BAKE_WITH_ALARMS,
                    (None, _) => Duration::ZERO,
                };
                let ends = deployment.stage_since.saturating_add(bake);
                if ends > self.at {
                    self.wake_at(ends);
                }
                ends <= self.at
            }
            Stage::ReconcileService
            | Stage::PreScaleUp
            | Stage::PostScaleUp
            | Stage::TestTrafficShift
            | Stage::PostTestTrafficShift
            | Stage::PreProductionTrafficShift
            | Stage::ProductionTrafficShift
            | Stage::PostProductionTrafficShift => true,
        }
    }

    fn next_stage(&mut self, mut deployment: DeploymentRecord) {
        let stages = stages(deployment.config.strategy);
        let position = stages.iter().position(|stage| *stage == deployment.stage);
        match position.and_then(|position| stages.get(position + 1)) {
            Some(next) => {
                enter(&mut deployment, *next, self.at);
                self.set(deployment);
            }
            None => self.succeed(deployment, DeploymentStatus::Successful),
        }
    }

    fn succeed(&mut self, mut deployment: DeploymentRecord, status: DeploymentStatus) {
        let (service, at) = (self.service, self.at);
        end(&mut deployment, service, status, None, at);
        if let Some(id) = service.primary {
            let reason = format!("ECS deployment ecs-svc/{id} completed.");
            let message = messages::deployment_completed(service, id);
            self.pass.events.extend(rolled_out(service, id, Rollout::Completed, reason, at));
            let service = service.id;
            self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged {
                service,
                message,
                at,
            }));
        }
        self.set(deployment);
    }

    fn rolling_back(&mut self, mut deployment: DeploymentRecord) {
        let service = self.service;
        if self.has_arrived(100, true) && self.is_heard() {
            let began = deployment.rollback.as_ref().map_or(self.at, |back| back.started_at);
            // The old tasks may never have left. The rollback is watched as long as a new task is,
            // and whoever watches the service sees the failed deployment meanwhile.
            let watched = began.saturating_add(self.policy.healthy_after);
            if watched > self.at {
                return self.wake_at(watched);
            }
            return self.succeed(deployment, DeploymentStatus::RollbackSuccessful);
        }
        let breaker = deployment.config.circuit_breaker;
        let primary = service.primary.unwrap_or(deployment.target);
        if breaker.enable && failures(service, primary) >= breaker.threshold(self.desired()) {
            let why = "the tasks of the revision that was rolled back to fail too".to_owned();
            let reason = format!("ECS deployment circuit breaker: {why}.");
            let failed = rolled_out(service, primary, Rollout::Failed, reason, self.at);
            self.pass.events.extend(failed);
            end(&mut deployment, service, DeploymentStatus::RollbackFailed, Some(why), self.at);
            self.set(deployment);
        }
    }

    /// Begins, awaits and judges the hooks of the stage. Returns whether the stage waits, or the
    /// deployment changed.
    fn runs_hooks(&mut self, deployment: &mut DeploymentRecord) -> bool {
        let Some(at_stage) = hook_stage(deployment.stage) else { return false };
        let hooks = deployment.config.hooks.iter().enumerate();
        let due: Vec<u32> = hooks
            .filter(|(_, hook)| hook.stages.contains(&at_stage))
            .map(|(position, _)| position as u32)
            .collect();
        let (stage, at) = (deployment.stage, self.at);
        for position in due {
            let hook = deployment.config.hooks[position as usize].clone();
            let run = deployment.hooks.iter_mut().find(|r| r.hook == position && r.stage == stage);
            let Some(run) = run else {
                let minutes = Duration::from_secs(u64::from(hook.timeout_minutes) * 60);
                let (status, call_at) = match hook.target {
                    HookTarget::Pause => (HookStatus::AwaitingAction, None),
                    HookTarget::Http { .. } => (HookStatus::InProgress, Some(at)),
                };
                deployment.hooks.push(HookRecord {
                    id: HookId::new(self.ids.nth(0)),
                    hook: position,
                    stage,
                    status,
                    expires_at: at.saturating_add(minutes),
                    call_at,
                    reason: None,
                });
                deployment.updated_at = at;
                self.set(deployment.clone());
                return true;
            };
            match run.status {
                HookStatus::Succeeded => {}
                HookStatus::AwaitingAction | HookStatus::InProgress if run.expires_at > at => {
                    let expires = run.expires_at;
                    self.wake_at(expires);
                    return true;
                }
                HookStatus::AwaitingAction | HookStatus::InProgress => {
                    run.status = HookStatus::TimedOut;
                    run.call_at = None;
                    deployment.updated_at = at;
                    self.set(deployment.clone());
                    return true;
                }
                HookStatus::TimedOut => match hook.on_timeout {
                    HookAction::Continue => {}
                    HookAction::Rollback => {
                        let why =
                            format!("a lifecycle hook of the stage {} timed out", stage.as_ecs());
                        let failed = deployment.clone();
                        let events = roll_back(self.service, failed, true, &why, at);
                        self.pass.events.extend(events);
                        return true;
                    }
                },
                HookStatus::Failed => {
                    let said = run.reason.as_ref().map(|said| format!(" ({said})"));
                    let said = said.unwrap_or_default();
                    let why =
                        format!("a lifecycle hook of the stage {} failed{said}", stage.as_ecs());
                    let failed = deployment.clone();
                    self.pass.events.extend(roll_back(self.service, failed, true, &why, at));
                    return true;
                }
            }
        }
        false
    }
}
