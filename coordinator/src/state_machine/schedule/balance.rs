//! Starts and stops: the arithmetic of replicas and task sets (ecs-behaviour 1.9, 1.12).

use longshore_common::{clock::Timestamp, id::TaskId, task::StopCause};

use super::{Work, messages};
use crate::state_machine::{
    event::Event,
    record::{Rollout, Stage},
    service::DeploymentStrategy,
    state::{Counts, Replacing, Revision, ServiceStatus, Standing, Task},
};

/// Wanted tasks that run.
const RUNNING: [Standing; 2] = [Standing::Settling, Standing::Healthy];

/// What a pass may still do within the service's bounds.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Tasks that may be started.
    headroom: u32,
    /// Running tasks that may be stopped.
    spare: u32,
}

impl Room {
    fn without_end() -> Room {
        Room { headroom: u32::MAX, spare: u32::MAX }
    }
}

impl<'a> Work<'a> {
    pub(super) fn balance(&mut self) {
        let service = self.service;
        if service.is_external() {
            return self.balance_task_sets();
        }
        let Some(primary) = service.primary() else { return };
        if service.is_daemon() {
            return self.balance_daemon(primary);
        }
        let green_stage = service.under_way().and_then(|deployment| {
            let blue_green = deployment.config.strategy == DeploymentStrategy::BlueGreen;
            (blue_green && deployment.rollback.is_none()).then_some(deployment.stage)
        });
        match green_stage {
            Some(stage) if service.is_active() && stage < Stage::CleanUp => {
                self.balance_blue_green(primary, stage);
            }
            Some(_) | None => self.roll(primary),
        }
    }

    /// Replaces what is outdated and keeps the primary revision at the desired count, within
    /// minimumHealthyPercent and maximumPercent.
    fn roll(&mut self, primary: &'a Revision) {
        let service = self.service;
        let desired = self.desired();
        let failed = primary.record.rollout == Rollout::Failed;
        let mut room = self.room(primary, desired);
        let before = self.pass.events.len();
        let mut outdated = 0;
        for old in service.revisions.iter().filter(|r| r.record.id != primary.record.id) {
            outdated += old.counts.wanted();
            // A deployment that failed for good leaves what runs as it is.
            if !failed || !service.is_active() {
                self.retire(old, &mut room);
            }
        }
        outdated += primary.counts.wanted_draining();
        let wants_more = self.sustain(primary, desired, &mut room, failed);
        let moves = self.pass.events.len() > before || self.pass.waits_for_room;
        let in_motion = service.revisions.iter().any(|revision| {
            let counts = &revision.counts;
            counts.leaving() > 0
                || counts.of(Standing::Pending) > 0
                || counts.of(Standing::Settling) > 0
        });
        let waits = service.launch.not_before.is_some_and(|until| until > self.at);
        if service.is_active()
            && !failed
            && outdated > 0
            && wants_more
            && !moves
            && !in_motion
            && !waits
        {
            self.say(messages::deadlock(service));
        }
    }

    fn room(&self, primary: &Revision, desired: u32) -> Room {
        let config = &self.service.config.deployment;
        let (mut shown, mut serving) = (0, 0);
        for revision in &self.service.revisions {
            let counts = &revision.counts;
            shown += counts.running() + counts.pending();
            serving += counts.of(Standing::Healthy);
            // What runs already is not given up before its replacement is known to be good.
            serving += match revision.record.id == primary.record.id {
                true => counts.draining(Standing::Settling),
                false => counts.of(Standing::Settling),
            };
        }
        let (mut ceiling, mut floor) =
            (config.running_ceiling(desired), config.healthy_floor(desired));
        if !self.policy.replace {
            // Never more copies than desired, those that may still run among them: a deployment
            // stops first, and may stop at least one.
            let counts = self.service.revisions.iter().map(|revision| &revision.counts);
            let unseen = |c: &Counts| c.of(Standing::Stopping) + c.of(Standing::Lost);
            shown += counts.map(unseen).sum::<u32>();
            ceiling = ceiling.min(desired);
            floor = floor.min(desired.saturating_sub(1));
        }
        Room { headroom: ceiling.saturating_sub(shown), spare: serving.saturating_sub(floor) }
    }

    /// Stops the tasks of an old revision, as many as may go now.
    fn retire(&mut self, old: &'a Revision, room: &mut Room) {
        for draining in [true, false] {
            let idle = self.tasks_of(old, &[Standing::Pending, Standing::Unhealthy], draining);
            self.stop_scaling(idle, usize::MAX);
            let running = self.tasks_of(old, &RUNNING, draining);
            let stopped = self.stop_scaling(running, room.spare as usize);
            room.spare -= stopped;
        }
    }

    /// Keeps one revision at `target` tasks. Returns whether it wants more than it has.
    fn sustain(
        &mut self,
        revision: &'a Revision,
        target: u32,
        room: &mut Room,
        failed: bool,
    ) -> bool {
        // ecs-behaviour 1.9, draining instance: what has not run yet goes at once.
        let pending = self.tasks_of(revision, &[Standing::Pending], true);
        self.stop_scaling(pending, usize::MAX);
        let leaving = self.tasks_of(revision, &RUNNING, true);
        let stopped = self.stop_scaling(leaving, room.spare as usize);
        room.spare -= stopped;

        let counts = &revision.counts;
        let current = counts.wanted() - counts.wanted_draining();
        let healthy = counts.of(Standing::Healthy) - counts.draining(Standing::Healthy);
        let sick = self.past_grace(revision);
        let bad = sick.len() as u32;
        let kept = if self.replaces_lost() { 0 } else { counts.of(Standing::Lost) };
        let need = target.saturating_sub(current - bad + kept);
        let start = need.min(room.headroom);

        let idle = counts.leaving() == 0 && counts.of(Standing::Pending) == 0;
        let mut stop_sick = (healthy + bad).saturating_sub(target).min(bad);
        if stop_sick == 0 && bad > 0 && need > 0 && start == 0 && idle {
            // No room for a replacement first: one at a time.
            stop_sick = 1;
        }
        self.stop_sick(sick, stop_sick as usize);
        let kept_for_move = match Some(revision.record.id) == self.service.primary {
            true => self.moving_allowance(),
            false => 0,
        };
        let surplus = (current - bad).saturating_sub(target + kept_for_move);
        self.stop_surplus(revision, surplus as usize, room);
        if failed {
            return false;
        }
        room.headroom -= start;
        self.launch(revision, start);
        need > 0
    }

    /// Whether the tasks of lost hosts get replacements now.
    fn replaces_lost(&self) -> bool {
        let replacing = self.state.cluster_at(self.service.cluster).replacing;
        self.policy.replace && replacing != Replacing::Paused
    }

    /// Tasks whose checks fail after the grace period; when a grace ends is noted.
    pub(super) fn past_grace(&mut self, revision: &'a Revision) -> Vec<&'a Task> {
        let grace_s = self.service.config.grace_s.unwrap_or(0);
        let mut sick = Vec::new();
        for id in &revision.unhealthy {
            let Some(task) = self.state.task(*id).filter(|task| !self.is_draining(task)) else {
                continue;
            };
            let began = task.phase.started_at().unwrap_or(task.created_at);
            let ends = Timestamp(began.0.saturating_add(u64::from(grace_s) * 1000));
            if ends > self.at {
                self.wake_at(ends);
            } else {
                sick.push(task);
            }
        }
        sick
    }

    pub(super) fn stop_sick(&mut self, sick: Vec<&'a Task>, count: usize) {
        let tasks: Vec<TaskId> = sick.iter().take(count).map(|task| task.id).collect();
        for task in &tasks {
            let (service, at) = (self.service.id, self.at);
            let message = messages::failed_health_checks(self.service, *task);
            self.pass.events.push(Event::ServiceLogged { service, message, at });
        }
        self.stop(tasks, messages::unhealthy(), true);
    }

    /// Stops tasks that are too many: those that have not shown to be good first.
    fn stop_surplus(&mut self, revision: &'a Revision, count: usize, room: &mut Room) {
        if count == 0 {
            return;
        }
        let all = [Standing::Pending, Standing::Settling, Standing::Healthy];
        let mut wanted = self.tasks_of(revision, &all, false);
        if self.service.is_active() {
            let before = wanted.len();
            wanted.retain(|task| !self.is_protected(task));
            if wanted.len() < count && wanted.len() < before {
                self.wake_when_unprotected(revision);
                self.say(messages::protected(self.service, &self.scaled(revision)));
            }
        }
        let returned = |task: &&Task| task.service.as_ref().is_some_and(|of| of.returned);
        let after_loss = wanted.iter().any(returned);
        let mut victims = Vec::new();
        if after_loss {
            victims = self.mirror_of_placement(wanted, count);
        } else {
            for standing in all {
                let class = wanted.iter().copied().filter(|t| t.standing() == Some(standing));
                let class: Vec<&Task> = class.collect();
                let more = self.mirror_beside(&victims, class, count - victims.len());
                victims.extend(more);
            }
        }
        // Among copies of a lost host's tasks, healthy ones may be chosen before others are.
        victims.retain(|task| match task.standing() {
            Some(Standing::Healthy) => {
                let may = room.spare > 0;
                room.spare = room.spare.saturating_sub(1);
                may
            }
            _ => true,
        });
        let tasks: Vec<TaskId> = victims.iter().map(|task| task.id).collect();
        let cause = match after_loss {
            true => messages::superseded_by_replacement(),
            false => messages::scaling(self.service.primary.unwrap_or(revision.record.id)),
        };
        self.stop(tasks, cause, false);
    }

    fn scaled(&self, revision: &Revision) -> String {
        match revision.record.task_set {
            Some(_) => format!("task set ecs-svc/{}", revision.record.id),
            None => format!("deployment ecs-svc/{}", revision.record.id),
        }
    }

    fn wake_when_unprotected(&mut self, revision: &'a Revision) {
        let tasks = revision.tasks.values().map(|slot| self.state.task_at(*slot));
        let until = tasks.filter_map(|task| task.service.as_ref()?.protected_until);
        let next = until.filter(|until| *until > self.at).min();
        next.into_iter().for_each(|next| self.wake_at(next));
    }

    /// Stops up to `count` of these for a deployment or a scaling; returns how many.
    pub(super) fn stop_scaling(&mut self, mut tasks: Vec<&'a Task>, count: usize) -> u32 {
        if tasks.is_empty() || count == 0 {
            return 0;
        }
        if self.service.is_active() {
            let all = tasks.len();
            tasks.retain(|task| !self.is_protected(task));
            if tasks.len() < all {
                let service = self.service;
                service.revisions.iter().for_each(|r| self.wake_when_unprotected(r));
            }
        }
        let victims = self.mirror_of_placement(tasks, count);
        let tasks: Vec<TaskId> = victims.iter().map(|task| task.id).collect();
        let stopped = tasks.len() as u32;
        if let Some(primary) = self.service.primary {
            self.stop(tasks, messages::scaling(primary), false);
        }
        stopped
    }

    fn stop(&mut self, tasks: Vec<TaskId>, cause: StopCause, failed: bool) {
        if tasks.is_empty() {
            return;
        }
        let (service, at) = (self.service.id, self.at);
        let message = messages::stopped(self.service, &tasks);
        self.pass.events.push(Event::TasksStopRequested { tasks, cause, failed, at });
        self.pass.events.push(Event::ServiceLogged { service, message, at });
    }

    /// Blue keeps the desired count until the clean-up; green has it from SCALE_UP on.
    fn balance_blue_green(&mut self, green: &'a Revision, stage: Stage) {
        let desired = self.desired();
        let target = if stage < Stage::ScaleUp { 0 } else { desired };
        self.sustain(green, target, &mut Room::without_end(), false);
        let blue = self.service.completed.filter(|id| *id != green.record.id);
        for old in self.service.revisions.iter().filter(|r| r.record.id != green.record.id) {
            if Some(old.record.id) == blue {
                self.sustain(old, desired, &mut Room::without_end(), false);
            } else {
                self.retire(old, &mut Room::without_end());
            }
        }
    }

    /// Every task set has its share, whoever is the primary one (ecs-behaviour 1.12).
    fn balance_task_sets(&mut self) {
        let desired = self.desired();
        for set in &self.service.revisions {
            let Some(record) = &set.record.task_set else { continue };
            let active = self.service.is_active() && !record.draining;
            let target = if active { record.computed_desired(desired) } else { 0 };
            self.sustain(set, target, &mut Room::without_end(), false);
            self.note_stability(set, target);
        }
    }

    fn note_stability(&mut self, set: &'a Revision, target: u32) {
        let Some(record) = &set.record.task_set else { return };
        let counts = &set.counts;
        let healthy = counts.of(Standing::Healthy);
        let stable = counts.running() == target
            && healthy == target
            && counts.pending() == 0
            && counts.wanted_draining() == 0;
        if stable != record.stable {
            let mut revision = set.record.clone();
            if let Some(record) = &mut revision.task_set {
                (record.stable, record.stability_at) = (stable, self.at);
            }
            let service = self.service.id;
            self.pass.events.push(Event::RevisionChanged { service, revision: Box::new(revision) });
        }
    }

    /// Whether the primary revision has what it is to have, and no old task is left.
    pub(super) fn has_arrived(&self, healthy_percent: u32, old_gone: bool) -> bool {
        let service = self.service;
        let Some(primary) = service.primary() else { return false };
        let counts = &primary.counts;
        let healthy = counts.of(Standing::Healthy) - counts.draining(Standing::Healthy);
        let wanted = (u64::from(self.desired()) * u64::from(healthy_percent)).div_ceil(100) as u32;
        let others = service.revisions.iter().filter(|r| r.record.id != primary.record.id);
        let gone = |r: &Revision| r.counts.running() + r.counts.pending() == 0;
        let covered = !service.is_daemon() || self.is_covered(primary);
        service.status == ServiceStatus::Active
            && covered
            && healthy >= wanted
            && (healthy_percent < 100 || counts.of(Standing::Pending) == 0)
            && (!old_gone || others.into_iter().all(gone))
    }
}
