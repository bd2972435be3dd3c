//! What events do to the tasks of services, and how these are counted.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{ContainerReport, TaskReport},
    task::StopCause,
};

use crate::{
    checkpoint::entity::EntityKey,
    model::{
        host::HostStatus, service::RevisionId, service_status::LaunchBackoff,
        task::ServiceTaskRecord,
    },
    state::{
        ServiceSlot, State, Task, TaskSlot,
        changes::LogTo,
        service_task::{ServiceTask, Standing},
        task::{RUN_MIN, stopped_itself},
    },
};

/// First wait of a service whose tasks do not start (ours); each round doubles the wait.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Maximum wait of a service whose tasks do not start (ecs-behaviour 1.9, repeated failure).
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

impl State {
    pub(super) fn tasks_stop_requested(
        &mut self,
        tasks: &[TaskId],
        cause: &StopCause,
        failed: bool,
        at: Timestamp,
        seq: u64,
    ) {
        for &id in tasks {
            if failed
                && let Some(&slot) = self.tasks_by_id.get(&id)
                && let Some((service, revision)) =
                    self.tasks[slot].service.as_ref().map(|s| (s.service, s.revision))
            {
                self.task_failed(service, revision, at);
                match self.tasks[slot].phase.started_at() {
                    None => self.back_off(service, at),
                    Some(began) if at.since(began) < RUN_MIN => {
                        self.back_off_after_brief_run(service, at);
                    }
                    Some(_) => {}
                }
            }
            self.task_stop_requested(id, cause, at, seq);
        }
    }

    pub(super) fn tasks_settled(&mut self, tasks: &[TaskId]) {
        for id in tasks {
            self.change_service_task(*id, |task| task.settled = true);
        }
    }

    pub(super) fn tasks_lost(&mut self, host: HostId, tasks: &[TaskId]) {
        for id in tasks {
            self.change_service_task(*id, |task| task.lost = true);
        }
        if let Some(host) = self.host(host) {
            let to = LogTo::host(&self.cluster_at(host.cluster).name, host.id);
            self.log(to, format_args!("container instance is LOST with {} tasks", tasks.len()));
        }
        if let Some(slot) = self.host(host).map(|host| host.slot) {
            self.host_concerns_instance(slot);
        }
    }

    pub(super) fn tasks_returned(&mut self, host: HostId, tasks: &[TaskId]) {
        for id in tasks {
            self.change_service_task(*id, |task| (task.lost, task.returned) = (false, true));
        }
        if let Some(host) = self.host(host) {
            let to = LogTo::host(&self.cluster_at(host.cluster).name, host.id);
            self.log(to, format_args!("container instance is back with {} tasks", tasks.len()));
        }
    }

    pub(super) fn task_protection_put(&mut self, tasks: &[TaskId], until: Option<Timestamp>) {
        for id in tasks {
            self.change_service_task(*id, |task| task.protected_until = until);
            // What waited for the protection to end need not wait, or must wait longer.
            let service = self.task(*id).and_then(|task| Some(task.service.as_ref()?.service));
            service.into_iter().for_each(|service| self.service_is_due(service));
        }
    }

    fn change_service_task(&mut self, id: TaskId, change: impl FnOnce(&mut ServiceTask)) {
        let Some(&slot) = self.tasks_by_id.get(&id) else { return };
        self.touch(EntityKey::Task(id));
        self.change_task(slot, |task| {
            if let Some(service) = &mut task.service {
                change(service);
            }
            task.version += 1;
        });
    }

    /// Changes a task and keeps the counts of its service in line.
    pub(super) fn change_task(&mut self, slot: TaskSlot, change: impl FnOnce(&mut Task)) {
        self.uncount(slot);
        let before = self.tasks[slot].standing();
        self.leave_counts(slot);
        change(&mut self.tasks[slot]);
        self.enter_counts(slot);
        self.recount(slot);
        self.standing_changed(slot, before);
    }

    /// The first digest that a task of a revision reports of a container's image is the revision's.
    pub(super) fn keep_image_digests(&mut self, slot: TaskSlot, report: &TaskReport) {
        let Some(of) = &self.tasks[slot].service else { return };
        let (service, revision, id) = (of.service, of.revision, self.services[of.service].id);
        let Some(position) = self.services[service].position(revision) else { return };
        let known = &self.services[service].revisions[position].record.image_digests;
        let of_container = |container: &ContainerReport| {
            let digest = container.image_digest.as_ref()?;
            let is_new = !known.contains_key(&container.name);
            is_new.then(|| (container.name.clone(), digest.clone()))
        };
        let found: Vec<_> = report.containers.iter().filter_map(of_container).collect();
        if found.is_empty() {
            return;
        }
        self.touch(EntityKey::Service(id));
        let record = &mut self.services[service].revisions[position].record;
        record.image_digests.extend(found);
        if !self.replaying {
            let record = record.clone();
            self.changes.revisions.push((id, record));
        }
    }

    /// What follows from how a task stood before and stands now.
    fn standing_changed(&mut self, slot: TaskSlot, before: Option<Standing>) {
        let task = &self.tasks[slot];
        let Some(now) = task.standing().filter(|now| Some(*now) != before) else { return };
        let Some(of) = &task.service else { return };
        let (service, revision, id) = (of.service, of.revision, self.services[of.service].id);
        self.service_is_due(service);
        let runs = matches!(now, Standing::Settling | Standing::Healthy | Standing::Unhealthy);
        let held = &self.services[service];
        let Some(position) = held.position(revision) else { return };
        let record = &held.revisions[position].record;
        let resets = held.config.deployment.circuit_breaker.reset_on_healthy_task;
        let first_run = runs && !record.has_run;
        let healthy = now == Standing::Healthy && resets && record.failed_tasks > 0;
        // One that begins to run may be about to end: only one that stays up ends that count.
        let brief_runs = if now == Standing::Healthy { 0 } else { held.launch.brief_runs };
        let launch = LaunchBackoff { brief_runs, ..LaunchBackoff::default() };
        let ends_backoff = runs && held.launch != launch;
        if first_run || healthy || ends_backoff {
            self.touch(EntityKey::Service(id));
            let held = &mut self.services[service];
            let record = &mut held.revisions[position].record;
            record.has_run |= runs;
            if healthy {
                record.failed_tasks = 0;
            }
            if ends_backoff {
                held.launch = launch;
            }
        }
    }

    /// Takes a task out of its service's counts.
    pub(super) fn leave_counts(&mut self, slot: TaskSlot) {
        self.count_standing(slot, -1);
    }

    pub(super) fn enter_counts(&mut self, slot: TaskSlot) {
        self.count_standing(slot, 1);
    }

    fn count_standing(&mut self, slot: TaskSlot, by: i32) {
        let task = &self.tasks[slot];
        let (Some(standing), Some(of)) = (task.standing(), &task.service) else { return };
        let draining = self.hosts[task.host].status == HostStatus::Draining;
        let began = task.phase.started_at().filter(|_| task.checked_health.is_none());
        let (id, service, revision) = (task.id, of.service, of.revision);
        let returned = of.returned;
        let provider = task.provider.clone().filter(|_| standing.stays() && !draining);
        let service = &mut self.services[service];
        let Some(position) = service.position(revision) else { return };
        let revision = &mut service.revisions[position];
        revision.counts.change(standing, draining, by);
        if let Some(provider) = provider {
            revision.count_of_provider(provider, by);
        }
        match returned && by > 0 {
            true => revision.returned.insert(id),
            false => revision.returned.remove(&id),
        };
        match (standing, began, by > 0) {
            (Standing::Settling, Some(began), true) => {
                revision.settling.insert((began, id));
            }
            (Standing::Settling, Some(began), false) => {
                revision.settling.remove(&(began, id));
            }
            (Standing::Unhealthy | Standing::Blocked, _, true) => {
                revision.unhealthy.insert(id);
            }
            (Standing::Unhealthy | Standing::Blocked, _, false) => {
                revision.unhealthy.remove(&id);
            }
            _ => {}
        }
    }

    /// Enters a task of a service into its counts; it is in none yet.
    pub(super) fn join_service(&mut self, slot: TaskSlot) {
        let task = &self.tasks[slot];
        let (Some(of), id) = (&task.service, task.id) else { return };
        let service = &mut self.services[of.service];
        let Some(position) = service.position(of.revision) else {
            let revision = of.revision;
            return self.missing(format_args!("the revision {revision} of the task {id}"));
        };
        let revision = &mut service.revisions[position];
        revision.tasks.insert(id, slot);
        self.enter_counts(slot);
    }

    /// A task came to a service, or back to it. Never while rows are restored: a steady service
    /// is steady after a start too.
    pub(super) fn service_has_new_task(&mut self, task: TaskId) {
        let task = self.tasks_by_id.get(&task).map(|slot| &self.tasks[*slot]);
        if let Some(service) = task.and_then(|task| task.service.as_ref()).map(|of| of.service) {
            self.service_changed_by_task(service);
        }
    }

    /// The containers of a task have ended: what that says of its service.
    pub(super) fn service_task_ended(
        &mut self,
        slot: TaskSlot,
        ended: &StopCause,
        ran_briefly: bool,
        at: Timestamp,
    ) {
        let task = &self.tasks[slot];
        let Some(of) = &task.service else { return };
        let (service, revision) = (of.service, of.revision);
        let failed = never_ran(task, ended);
        if self.services[service].position(revision).is_none() {
            return;
        }
        self.service_changed_by_task(service);
        if failed {
            self.task_failed(service, revision, at);
            self.back_off(service, at);
        } else if ran_briefly {
            self.back_off_after_brief_run(service, at);
        }
    }

    /// Takes a task that has stopped out of its service.
    pub(super) fn leave_service(&mut self, slot: TaskSlot) {
        let task = &self.tasks[slot];
        let (Some(of), id) = (&task.service, task.id) else { return };
        let (service, revision) = (of.service, of.revision);
        self.leave_counts(slot);
        let held = &mut self.services[service];
        let Some(position) = held.position(revision) else { return };
        held.revisions[position].tasks.remove(&id);
        self.service_changed_by_task(service);
    }

    fn service_changed_by_task(&mut self, slot: ServiceSlot) {
        let service = &mut self.services[slot];
        if service.steady {
            service.steady = false;
            let id = service.id;
            self.touch(EntityKey::Service(id));
        }
        self.service_is_due(slot);
    }

    fn task_failed(&mut self, slot: ServiceSlot, revision: RevisionId, at: Timestamp) {
        let id = self.services[slot].id;
        self.touch(EntityKey::Service(id));
        let service = &mut self.services[slot];
        if let Some(position) = service.position(revision) {
            let record = &mut service.revisions[position].record;
            record.failed_tasks = record.failed_tasks.saturating_add(1);
            record.updated_at = at;
        }
    }

    /// Backs off, continuing the rounds from the last brief run: that the task of that run began to
    /// run has ended no waiting.
    fn back_off_after_brief_run(&mut self, slot: ServiceSlot, at: Timestamp) {
        self.touch(EntityKey::Service(self.services[slot].id));
        let launch = &mut self.services[slot].launch;
        launch.rounds = launch.rounds.max(launch.brief_runs);
        self.back_off(slot, at);
        let launch = &mut self.services[slot].launch;
        launch.brief_runs = launch.rounds;
    }

    /// Failures while the service waits already are of the round that made it wait.
    fn back_off(&mut self, slot: ServiceSlot, at: Timestamp) {
        let launch = &mut self.services[slot].launch;
        if launch.not_before.is_some_and(|until| at < until) {
            return;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << launch.rounds.min(16)).min(BACKOFF_MAX);
        launch.rounds = launch.rounds.saturating_add(1);
        launch.not_before = Some(at.saturating_add(wait));
    }
}

/// Whether a task stopped of itself before it ever ran.
fn never_ran(task: &Task, ended: &StopCause) -> bool {
    stopped_itself(task, ended) && task.phase.started_at().is_none()
}

impl ServiceTask {
    pub(super) fn record(&self, state: &State) -> ServiceTaskRecord {
        ServiceTaskRecord {
            service: state.service_at(self.service).id,
            revision: self.revision,
            settled: self.settled,
            lost: self.lost,
            returned: self.returned,
            protected_until: self.protected_until,
        }
    }
}
