//! Starts and stops: the arithmetic of replicas and task sets (ecs-behaviour 1.9, 1.12).
//!
//! What becomes of a task is said by the table in `fate.rs`; how many may go and come now is
//! counted here, within the bounds of a [`Scope`].

use longshore_common::{clock::Timestamp, id::TaskId, task::StopCause};

use super::{
    Work,
    fate::{Cell, Fate, Role, fate},
    messages,
};
use crate::{
    event::{Event, ServiceEvent, TaskEvent},
    model::{
        cluster::Replacing,
        deployment::{DeploymentStatus, Stage},
        revision::Rollout,
        service::{DeploymentStrategy, RevisionId},
        service_status::ServiceStatus,
    },
    state::{Counts, Due, Revision, Standing, Task},
};

/// Revisions that share one target and one pair of bounds: all revisions of a rolling service;
/// blue, green and each task set by itself.
struct Scope<'a> {
    /// Surplus tasks of an earlier member go first.
    members: Vec<(&'a Revision, Role)>,
    /// The revision whose tasks are started. None when the deployment failed and there is nothing
    /// to go back to.
    launcher: Option<&'a Revision>,
    /// How many tasks there are to be.
    target: u32,
    /// How many there may be until some are scaled in.
    most: u32,
    room: Room,
}

/// What a pass may still do within the service's bounds.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Tasks that may be started.
    headroom: u32,
    /// Running tasks that may be stopped.
    spare: u32,
}

impl Room {
    fn unbounded() -> Room {
        Room { headroom: u32::MAX, spare: u32::MAX }
    }
}

impl<'a> Work<'a> {
    pub(super) fn balance(&mut self) {
        let service = self.service;
        if !service.is_active() {
            service.revisions.iter().for_each(|r| self.stop_at_once(r, Role::Ended));
            return;
        }
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
        // Without a second copy of any task, green takes blue's place task by task.
        let beside_until = match self.policy.replace {
            true => Stage::CleanUp,
            false => Stage::ScaleUp,
        };
        match green_stage {
            Some(stage) if stage < beside_until => self.balance_blue_green(primary, stage),
            Some(_) | None => self.roll(primary),
        }
    }

    /// What each revision is to the service, and the one whose tasks are started. The tasks of a
    /// failed deployment stay, but whatever goes is replaced by the revision that completed last.
    pub(super) fn cast(
        &self,
        primary: &'a Revision,
    ) -> (Vec<(&'a Revision, Role)>, Option<&'a Revision>) {
        let service = self.service;
        let (others, launcher) = match primary.record.rollout {
            Rollout::InProgress | Rollout::Completed => (Role::Outdated, Some(primary)),
            Rollout::Failed => {
                // What completed once and failed now is started again, unless going back to it was
                // what failed.
                let went_back = service.deployment.as_ref().is_some_and(|deployment| {
                    deployment.status == DeploymentStatus::RollbackFailed
                });
                let fallback = service
                    .completed
                    .filter(|id| *id != primary.record.id || !went_back)
                    .and_then(|id| service.revision(id));
                let role = if fallback.is_some() { Role::Current } else { Role::Stranded };
                (role, fallback)
            }
        };
        let of_primary = if others == Role::Outdated { Role::Current } else { others };
        let mut members = vec![(primary, of_primary)];
        let rest = service.revisions.iter().filter(|r| r.record.id != primary.record.id);
        members.extend(rest.map(|revision| (revision, others)));
        // What can be started again is scaled in last.
        members.sort_by_key(|(revision, _)| {
            launcher.is_some_and(|launcher| launcher.record.id == revision.record.id)
        });
        (members, launcher)
    }

    /// Replaces what is outdated and keeps the service at the desired count, within
    /// minimumHealthyPercent and maximumPercent.
    fn roll(&mut self, primary: &'a Revision) {
        let service = self.service;
        let desired = self.desired();
        let (members, launcher) = self.cast(primary);
        let failed = primary.record.rollout == Rollout::Failed;
        // A failed deployment leaves what runs as it is until the service is scaled.
        let most = match failed && !primary.record.scaled {
            true => service.config.deployment.running_ceiling(desired).max(desired),
            false => desired,
        };
        let room = self.room(&members, desired);
        self.keep(Scope { members, launcher, target: desired, most, room });
    }

    fn room(&self, members: &[(&'a Revision, Role)], target: u32) -> Room {
        let config = &self.service.config.deployment;
        let counts = || members.iter().map(|(revision, _)| &revision.counts);
        let mut shown: u32 = counts().map(|counts| counts.running() + counts.pending()).sum();
        let serving: u32 = members.iter().map(|(r, role)| self.serving(r, *role)).sum();
        // A floor above the target is one that no deployment could ever reach.
        let mut floor = config.healthy_floor(target).min(target);
        let mut ceiling = config.running_ceiling(target);
        if !self.policy.replace {
            // Never more copies than desired, those that may still run among them: a deployment
            // stops first, and may stop at least one.
            let unseen = |c: &Counts| c.of(Standing::Stopping) + c.of(Standing::Lost);
            shown += counts().map(unseen).sum::<u32>();
            ceiling = ceiling.min(target);
            floor = floor.min(target.saturating_sub(1));
        }
        Room { headroom: ceiling.saturating_sub(shown), spare: serving.saturating_sub(floor) }
    }

    /// Tasks that count for minimumHealthyPercent. What runs already and is to go is not given up
    /// before its replacement is known to be good; nor does a task count of which only an earlier
    /// coordinator has heard.
    fn serving(&self, revision: &Revision, role: Role) -> u32 {
        let leaves = |draining: bool| draining || matches!(role, Role::Outdated | Role::Ended);
        let serves = |task: &&Task| match task.standing() {
            Some(Standing::Healthy) => true,
            Some(Standing::Settling) => leaves(self.is_draining(task)),
            Some(Standing::Unhealthy) => {
                leaves(self.is_draining(task)) && self.grace_end(task).is_some()
            }
            _ => false,
        };
        let counts = &revision.counts;
        let settling = match leaves(false) {
            true => counts.of(Standing::Settling),
            false => counts.draining(Standing::Settling),
        };
        let unhealthy = revision.unhealthy.iter().filter_map(|id| self.state.task(*id));
        let graced = unhealthy.filter(serves).count() as u32;
        let unheard = self.unheard_tasks(revision).into_iter().filter(serves).count() as u32;
        (counts.of(Standing::Healthy) + settling + graced).saturating_sub(unheard)
    }

    /// Stops and starts what the scope needs.
    fn keep(&mut self, scope: Scope<'a>) {
        let Scope { members, launcher, target, most, mut room } = scope;
        let before = self.pass.events.len();
        for (revision, role) in &members {
            self.stop_at_once(revision, *role);
        }
        self.give_way(&members, &mut room);

        let counted: Vec<&Revision> = members
            .iter()
            .filter(|(_, role)| matches!(role, Role::Current | Role::Stranded))
            .map(|(revision, _)| *revision)
            .collect();
        let sum = |of: fn(&Counts) -> u32| counted.iter().map(|r| of(&r.counts)).sum::<u32>();
        let healthy = sum(|counts| counts.staying(Standing::Healthy));
        let mut kept = healthy
            + sum(|counts| counts.staying(Standing::Pending) + counts.staying(Standing::Settling));
        let mut sick = Vec::new();
        for (revision, role) in &members {
            let (graced, past) = self.unhealthy(revision);
            match role {
                Role::Current => {
                    kept += graced;
                    sick.extend(past);
                }
                // Past their grace these go at once.
                Role::Stranded => kept += graced,
                Role::Outdated | Role::Ended => {}
            }
        }
        let lost = sum(|counts| counts.of(Standing::Lost));
        let lost = if self.replaces_lost() { 0 } else { lost };
        let need = target.saturating_sub(kept + lost);
        let start = if launcher.is_some() { need.min(room.headroom) } else { 0 };
        let idle = sum(|counts| counts.leaving() + counts.of(Standing::Pending)) == 0;

        let bad = sick.len() as u32;
        let mut stop_sick = (healthy + bad).saturating_sub(target).min(bad);
        let cluster = self.state.cluster_at(self.service.cluster);
        let no_room = start == 0 || cluster.waiting.contains(&Due::Service(self.service.slot));
        if stop_sick == 0 && bad > 0 && need > 0 && no_room && idle {
            // No room for a replacement first: one at a time.
            stop_sick = 1;
        }
        self.stop_sick(sick, stop_sick as usize);
        let counts_primary = counted.iter().any(|r| Some(r.record.id) == self.service.primary);
        let allowed = most + if counts_primary { self.moving_allowance() } else { 0 };
        self.stop_surplus(&counted, kept.saturating_sub(allowed) as usize, &mut room);
        if let Some(launcher) = launcher {
            self.launch(launcher, start);
        }
        let acts_or_waits = self.pass.events.len() > before || self.pass.waits_for_room;
        if launcher.is_some() && need > 0 && !acts_or_waits {
            self.say_if_bounds_forbid_all(&members);
        }
    }

    /// Something is to go, nothing comes or goes, and nothing else is the reason.
    fn say_if_bounds_forbid_all(&mut self, members: &[(&Revision, Role)]) {
        let some_are_to_go = members.iter().any(|(revision, role)| match role {
            Role::Outdated => revision.counts.wanted() > 0,
            Role::Current | Role::Stranded | Role::Ended => revision.counts.wanted_draining() > 0,
        });
        let in_motion = members.iter().any(|(revision, _)| {
            let counts = &revision.counts;
            counts.leaving() > 0
                || counts.of(Standing::Pending) > 0
                || counts.of(Standing::Settling) > 0
        });
        if !some_are_to_go || in_motion {
            return;
        }
        let backs_off_until = self.service.launch.not_before.filter(|until| *until > self.at);
        match backs_off_until.max(self.state.may_come_to_light_until(self.at)) {
            Some(until) => self.wake_at(until),
            None => self.say(messages::deadlock(self.service)),
        }
    }

    /// Stops what is to be replaced, as many as the bounds spare: what is outdated first, and of a
    /// revision those on draining hosts first.
    fn give_way(&mut self, members: &[(&'a Revision, Role)], room: &mut Room) {
        let outdated = members.iter().filter(|(_, role)| *role == Role::Outdated);
        let others = members.iter().filter(|(_, role)| *role != Role::Outdated);
        for (revision, role) in outdated.chain(others) {
            if room.spare == 0 {
                return;
            }
            let mut going = self.of_fate(revision, *role, Fate::ReplaceFirst);
            // These wait for a replacement that runs, not for one that is healthy: see `keep`.
            going.retain(|task| *role == Role::Outdated || self.is_draining(task));
            let (draining, staying): (Vec<&Task>, Vec<&Task>) =
                going.into_iter().partition(|task| self.is_draining(task));
            for tasks in [draining, staying] {
                room.spare -= self.stop_up_to(revision.record.id, tasks, room.spare);
            }
        }
    }

    /// Whether the tasks of lost hosts get replacements now.
    fn replaces_lost(&self) -> bool {
        let replacing = self.state.cluster_at(self.service.cluster).replacing;
        self.policy.replace && replacing != Replacing::Paused
    }

    /// End of the time in which failing checks say nothing yet; `None` when that time is over.
    fn grace_end(&self, task: &Task) -> Option<Timestamp> {
        let grace_s = self.service.config.grace_s.unwrap_or(0);
        let began = task.phase.started_at().unwrap_or(task.created_at);
        let ends = Timestamp(began.0.saturating_add(u64::from(grace_s) * 1000));
        (ends > self.at).then_some(ends)
    }

    /// How a task stands when its grace period is looked at; when that ends is noted.
    fn judged(&mut self, task: &Task) -> Option<Standing> {
        let standing = task.standing()?;
        let graced = match standing {
            Standing::Unhealthy => Standing::Settling,
            Standing::Blocked => Standing::Pending,
            other => return Some(other),
        };
        let Some(ends) = self.grace_end(task) else { return Some(standing) };
        self.wake_at(ends);
        Some(graced)
    }

    /// Tasks whose checks fail on hosts that stay: the number of those within their grace period,
    /// and those that run and fail after it.
    fn unhealthy(&mut self, revision: &'a Revision) -> (u32, Vec<&'a Task>) {
        let (mut graced, mut past) = (0, Vec::new());
        for id in &revision.unhealthy {
            let Some(task) = self.state.task(*id).filter(|task| !self.is_draining(task)) else {
                continue;
            };
            match self.judged(task) {
                Some(Standing::Unhealthy) => past.push(task),
                // It goes at once.
                Some(Standing::Blocked) => {}
                _ => graced += 1,
            }
        }
        (graced, past)
    }

    /// Tasks of a revision with this fate, in the order of their ids. Costs nothing when the counts
    /// say that there is none.
    pub(super) fn of_fate(
        &mut self,
        revision: &'a Revision,
        role: Role,
        wanted: Fate,
    ) -> Vec<&'a Task> {
        let daemon = self.service.is_daemon();
        let has = |standing, draining, protected| {
            fate(Cell { standing, draining, role, protected, daemon }).0 == wanted
        };
        let counts = &revision.counts;
        let possible = |standing: &Standing| {
            let judged = match standing {
                Standing::Unhealthy => Standing::Settling,
                Standing::Blocked => Standing::Pending,
                other => *other,
            };
            let any = |draining| has(*standing, draining, false) || has(judged, draining, false);
            (counts.draining(*standing) > 0 && any(true))
                || (counts.staying(*standing) > 0 && any(false))
        };
        if !Standing::WANTED.iter().any(possible) {
            return Vec::new();
        }
        let state = self.state;
        let mut found = Vec::new();
        for task in revision.tasks.values().map(|slot| state.task_at(*slot)) {
            let Some(standing) = self.judged(task) else { continue };
            let (draining, protected) = (self.is_draining(task), self.is_protected(task));
            if has(standing, draining, protected) {
                found.push(task);
            } else if protected && has(standing, draining, false) {
                let until = task.service.as_ref().and_then(|of| of.protected_until);
                until.into_iter().for_each(|until| self.wake_at(until));
            }
        }
        found
    }

    /// Stops what waits for nothing.
    pub(super) fn stop_at_once(&mut self, revision: &'a Revision, role: Role) {
        let going = self.of_fate(revision, role, Fate::StopFirst);
        if going.is_empty() {
            return;
        }
        let counts = matches!(role, Role::Current | Role::Stranded);
        let (sick, others): (Vec<&Task>, Vec<&Task>) = going.into_iter().partition(|task| {
            let ill = matches!(task.standing(), Some(Standing::Unhealthy | Standing::Blocked));
            counts && ill && self.grace_end(task).is_none()
        });
        self.stop_sick(sick, usize::MAX);
        self.stop_up_to(revision.record.id, others, u32::MAX);
    }

    fn stop_sick(&mut self, sick: Vec<&'a Task>, count: usize) {
        let mut tasks: Vec<TaskId> = sick.iter().take(count).map(|task| task.id).collect();
        if !self.may_stop(&mut tasks) {
            return;
        }
        // One that never ran makes the service wait before it starts the next.
        self.backs_off |= sick.iter().take(count).any(|task| task.phase.started_at().is_none());
        for task in &tasks {
            let (service, at) = (self.service.id, self.at);
            let message = messages::failed_health_checks(self.service, *task);
            self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged {
                service,
                message,
                at,
            }));
        }
        self.stop(tasks, messages::unhealthy(), true);
    }

    /// Stops tasks that are too many: of each revision those that have not shown to be good first.
    fn stop_surplus(&mut self, of: &[&'a Revision], count: usize, room: &mut Room) {
        let mut left = count;
        for revision in of {
            if left > 0 {
                left -= self.stop_surplus_of(revision, left, room);
            }
        }
    }

    /// Returns how many were found to go, be it later.
    fn stop_surplus_of(&mut self, revision: &'a Revision, count: usize, room: &mut Room) -> usize {
        let all = [Standing::Pending, Standing::Settling, Standing::Healthy];
        let mut wanted = self.tasks_of(revision, &all, false);
        // Surplus tasks may be stopped within their grace period too (ecs-behaviour 1.9).
        wanted.extend(self.tasks_of(revision, &[Standing::Unhealthy], false));
        wanted.retain(|task| {
            task.standing() != Some(Standing::Unhealthy) || self.grace_end(task).is_some()
        });
        let before = wanted.len();
        wanted.retain(|task| !self.is_protected(task));
        if wanted.len() < count.min(before) {
            self.wake_when_unprotected(revision);
            self.say(messages::protected(self.service, &self.scaled(revision)));
        }
        let returned = |task: &&Task| task.service.as_ref().is_some_and(|of| of.returned);
        let after_loss = wanted.iter().any(returned);
        let mut victims = Vec::new();
        if after_loss {
            victims = self.mirror_of_placement(wanted, count);
        } else {
            let order = [Standing::Pending, Standing::Unhealthy, Standing::Settling];
            for standing in order.into_iter().chain([Standing::Healthy]) {
                let class = wanted.iter().copied().filter(|t| t.standing() == Some(standing));
                let class: Vec<&Task> = class.collect();
                let more = self.mirror_beside(&victims, class, count - victims.len());
                victims.extend(more);
            }
        }
        let found = victims.len();
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
        found
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

    /// Stops up to `count` of these tasks of a revision for a deployment or a scaling; returns how
    /// many.
    pub(super) fn stop_up_to(&mut self, of: RevisionId, tasks: Vec<&'a Task>, count: u32) -> u32 {
        let victims = self.mirror_of_placement(tasks, count as usize);
        let tasks: Vec<TaskId> = victims.iter().map(|task| task.id).collect();
        let stopped = tasks.len() as u32;
        self.stop(tasks, messages::scaling(self.service.primary.unwrap_or(of)), false);
        stopped
    }

    /// Leaves those of the tasks that may be stopped. After `recover` the journal takes for running
    /// what has ended since, and what was adopted for new though it serves. Nothing is stopped
    /// before hosts have had their time to say what they run, and none of what ran before while its
    /// agent has said nothing of it.
    pub(super) fn may_stop(&mut self, tasks: &mut Vec<TaskId>) -> bool {
        if !self.state.has_recovered() {
            return !tasks.is_empty();
        }
        if let Some(until) = self.state.may_come_to_light_until(self.at)
            && !tasks.is_empty()
        {
            self.wake_at(until);
            return false;
        }
        let since = self.state.epoch_started_at();
        tasks.retain(|task| {
            let task = self.state.task(*task);
            let may_stop = |task: &Task| {
                // No agent can say anything of one that its host was never ordered to run.
                let unordered = task.ordered().is_none() && !self.state.may_run_unseen(task);
                unordered || task.report.is_some() || task.created_at >= since
            };
            task.is_none_or(may_stop)
        });
        !tasks.is_empty()
    }

    fn stop(&mut self, mut tasks: Vec<TaskId>, cause: StopCause, failed: bool) {
        if !self.may_stop(&mut tasks) {
            return;
        }
        let (service, at) = (self.service.id, self.at);
        let message = messages::stopped(self.service, &tasks);
        self.pass.events.push(Event::Task(TaskEvent::TasksStopRequested {
            tasks,
            cause,
            failed,
            at,
        }));
        self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged { service, message, at }));
    }

    /// Green has the desired count from SCALE_UP on. Blue, all that serves beside it, has it until the
    /// clean-up.
    fn balance_blue_green(&mut self, green: &'a Revision, stage: Stage) {
        let desired = self.desired();
        self.keep_alone(green, if stage < Stage::ScaleUp { 0 } else { desired });
        let is_blue = |revision: &&Revision| revision.record.id != green.record.id;
        let blue: Vec<&Revision> = self.service.revisions.iter().filter(is_blue).collect();
        if blue.is_empty() {
            return;
        }
        let launcher = self.launcher_of_blue(&blue);
        let role = if launcher.is_some() { Role::Current } else { Role::Stranded };
        let mut members: Vec<(&Revision, Role)> = blue.into_iter().map(|r| (r, role)).collect();
        members.sort_by_key(|(revision, _)| {
            launcher.is_some_and(|launcher| launcher.record.id == revision.record.id)
        });
        let room = self.room(&members, desired);
        self.keep(Scope { members, launcher, target: desired, most: desired, room });
    }

    /// The revision of blue whose tasks are started when blue lacks some: the one that completed
    /// last, or, where none did or none of its tasks are left, the newest that serves.
    fn launcher_of_blue(&self, blue: &[&'a Revision]) -> Option<&'a Revision> {
        let completed = || blue.iter().find(|r| Some(r.record.id) == self.service.completed);
        let serves = |revision: &&&Revision| revision.counts.wanted() > 0;
        let goes_on = |revision: &&&Revision| revision.record.rollout != Rollout::Failed;
        completed()
            .filter(serves)
            .or_else(|| blue.iter().rev().filter(serves).find(goes_on))
            .or_else(completed)
            .copied()
    }

    /// Keeps a revision at its own target, whatever others have.
    fn keep_alone(&mut self, revision: &'a Revision, target: u32) {
        let members = vec![(revision, Role::Current)];
        let room = self.room(&members, target);
        let launcher = Some(revision);
        self.keep(Scope { members, launcher, target, most: target, room });
    }

    /// Stops a revision for which another one stands already.
    fn retire(&mut self, revision: &'a Revision) {
        let members = vec![(revision, Role::Outdated)];
        let room = Room::unbounded();
        self.keep(Scope { members, launcher: None, target: 0, most: 0, room });
    }

    /// Every task set has its share, whoever is the primary one (ecs-behaviour 1.12).
    fn balance_task_sets(&mut self) {
        let desired = self.desired();
        for set in &self.service.revisions {
            let Some(record) = &set.record.task_set else { continue };
            match record.draining {
                true => self.retire(set),
                false => self.keep_alone(set, record.computed_desired(desired)),
            }
            let target = if record.draining { 0 } else { record.computed_desired(desired) };
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
            self.pass.events.push(Event::Service(ServiceEvent::RevisionChanged {
                service,
                revision: Box::new(revision),
            }));
        }
    }

    /// Whether the primary revision has what it is to have, and no old task is left.
    pub(super) fn has_arrived(&self, healthy_percent: u32, old_gone: bool) -> bool {
        let service = self.service;
        let Some(primary) = service.primary() else { return false };
        let counts = &primary.counts;
        let healthy = counts.staying(Standing::Healthy);
        let wanted = (u64::from(self.desired()) * u64::from(healthy_percent)).div_ceil(100) as u32;
        let others = service.revisions.iter().filter(|r| r.record.id != primary.record.id);
        let covered = !service.is_daemon() || self.is_covered(primary);
        service.status == ServiceStatus::Active
            && covered
            && healthy >= wanted
            && (healthy_percent < 100 || counts.staying(Standing::Pending) == 0)
            && (!old_gone || others.into_iter().all(|r| self.is_gone(&r.counts)))
    }

    /// Whether nothing of a revision is shown any more. A daemon stays on a host that drains until
    /// the other tasks there have ended: no deployment waits for that.
    pub(super) fn is_gone(&self, counts: &Counts) -> bool {
        match self.service.is_daemon() {
            true => counts.shown_staying() == 0,
            false => counts.running() + counts.pending() == 0,
        }
    }
}
