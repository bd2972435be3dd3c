//! What events do to tasks, and their rows.

use std::sync::Arc;

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    protocol::{ContainerStatus, TaskReport},
    task::{HealthStatus, StopCause},
    task_definition::{ContainerDefinition, ContainerDependency, DependencyCondition},
};

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::{TaskAdopted, TaskEvent, TasksStarted},
    model::{
        attachment::Attachments,
        task::{Phase, TaskEnd, TaskRecord, Wish},
    },
    placement::HostSlot,
    state::{
        ClusterSlot, DefinitionSlot, ServiceTask, State, TaskSlot,
        changes::LogTo,
        cluster::shared,
        counter,
        task::{Task, TaskCounter, checked_health},
    },
};

impl State {
    pub(super) fn apply_task(&mut self, event: &TaskEvent, seq: u64) {
        match event {
            TaskEvent::TasksStarted(started) => self.tasks_started(started, seq),
            TaskEvent::TaskStopRequested { task, cause, at } => {
                self.task_stop_requested(*task, cause, *at, seq);
            }
            TaskEvent::TaskReported { task, report, at } => {
                self.task_reported(*task, report, *at, seq);
            }
            TaskEvent::TaskStopped { task, cause, report, ran_briefly, at } => {
                self.task_stopped(*task, cause, report.as_deref(), *ran_briefly, *at, seq);
            }
            TaskEvent::TaskAdopted(adopted) => self.task_adopted(adopted, seq),
            TaskEvent::TasksStopRequested { tasks, cause, failed, at } => {
                self.tasks_stop_requested(tasks, cause, *failed, *at, seq);
            }
            TaskEvent::TasksSettled { tasks, .. } => self.tasks_settled(tasks),
            TaskEvent::TasksLost { host, tasks, .. } => self.tasks_lost(*host, tasks),
            TaskEvent::TasksReturned { host, tasks, .. } => self.tasks_returned(*host, tasks),
            TaskEvent::TaskProtectionPut { tasks, until } => {
                self.task_protection_put(tasks, *until)
            }
            TaskEvent::TaskTimeoutSet { task, timeout_ms } => {
                self.task_timeout_set(*task, *timeout_ms);
            }
        }
    }

    pub(super) fn tasks_started(&mut self, started: &TasksStarted, seq: u64) {
        let demand = Arc::new(started.demand.clone());
        let overrides = Arc::new(started.overrides.clone());
        let tags = Arc::new(started.tags.clone());
        let started_by = started.started_by.as_deref().map(shared);
        let asked = started.asked.clone().map(Arc::new);
        let Some(cluster) = self.cluster_slot(&started.cluster) else {
            return self.missing(format_args!("the cluster {}", started.cluster));
        };
        let (family, revision) = (&started.family, started.revision);
        let Some(definition) = self.definitions.slot(family.as_str(), revision) else {
            return self.missing(format_args!("the task definition {family}:{revision}"));
        };
        let created_at = match started.waited {
            Some(launch) => self.waited(launch, started),
            None => started.at,
        };
        for placed in &started.tasks {
            let Some(&host) = self.hosts_by_id.get(&placed.host) else {
                self.missing(format_args!("the container instance {}", placed.host));
                continue;
            };
            if self.tasks_by_id.contains_key(&placed.task) {
                continue;
            }
            // The first that are free: the same whenever the journal is read again.
            let gpus = self.hosts[host].free_gpus().take(demand.gpus as usize).cloned();
            let mut task = Task {
                id: placed.task,
                cluster,
                gpus: gpus.collect(),
                host,
                definition,
                group: self.groups.join(&started.group),
                generation: 1,
                version: 1,
                wish: Wish::Run,
                phase: Phase::Pending,
                created_at,
                demand: demand.clone(),
                overrides: overrides.clone(),
                tags: tags.clone(),
                started_by: started_by.clone(),
                containers: placed.containers.clone().into(),
                checked_health: None,
                blocked: false,
                service: started.service.as_ref().and_then(|started| {
                    let &slot = self.services_by_id.get(&started.service)?;
                    Some(Box::new(ServiceTask::of(slot, &ServiceTask::record_of_new(started))))
                }),
                report: None,
                timeout_ms: started.timeout_ms,
                provider: started.provider.clone(),
                asked: asked.clone(),
                log_driver_mode: started.log_driver_mode,
                placed_seq: seq,
                attachments: boxed(Attachments::precreated(&started.attachments)),
            };
            task.begin(started.at);
            let (host, is_ordered) = (task.host, task.ordered().is_some());
            self.touch(EntityKey::Task(placed.task));
            self.insert_task(task);
            self.service_has_new_task(placed.task);
            if is_ordered {
                self.give_order(host, placed.task, 1, None, seq);
            }
            self.log(
                LogTo::task(&started.cluster, placed.host, placed.task),
                format_args!("task of {}:{} placed", started.family, started.revision),
            );
        }
        if let Some(token) = &started.client_token {
            let own = started.tasks.iter().map(|placed| placed.task);
            let tasks = token.others.iter().copied().chain(own).collect();
            self.client_token_used(&started.cluster, token, tasks, started.at);
        }
    }

    /// Puts a task into every index, without an order.
    pub(super) fn insert_task(&mut self, mut task: Task) {
        let said = self.said_by(task.definition, task.report.as_deref());
        (task.checked_health, task.blocked) = said;
        let (id, cluster, host) = (task.id, task.cluster, task.host);
        self.definitions.used(task.definition);
        self.clusters[cluster].index.reserve(host, &task.demand, task.group);
        self.hosts[host].take_gpus(&task.gpus);
        self.desire(host, id, task.generation, None, task.ordered());
        self.count(&task, 1);
        self.use_provider(cluster, task.provider.as_ref(), 1);
        let slot = self.tasks.insert(task);
        self.tasks_by_id.insert(id, slot);
        self.clusters[cluster].tasks.insert(id, slot);
        self.hosts[host].tasks.insert(id, slot);
        self.count_busy(slot, 1);
        self.join_service(slot);
        self.set_deadlines(slot, true);
    }

    pub(super) fn restore_task(&mut self, record: TaskRecord) {
        let id = record.id;
        let place = record.host.and_then(|host| self.hosts_by_id.get(&host).copied());
        let definition = self.definitions.slot(record.family.as_str(), record.revision);
        let cluster = self.cluster_slot(&record.cluster);
        let (Some(host), Some(definition), Some(cluster)) = (place, definition, cluster) else {
            return self.missing(format_args!("the place or the definition of the task {id}"));
        };
        if self.tasks_by_id.contains_key(&id) {
            return;
        }
        let task = Task {
            id,
            cluster,
            host,
            definition,
            group: self.groups.join(&record.group),
            generation: record.generation,
            version: record.version,
            wish: record.wish,
            phase: record.phase,
            created_at: record.created_at,
            demand: Arc::new(record.demand),
            overrides: Arc::new(record.overrides),
            tags: Arc::new(record.tags),
            started_by: record.started_by.as_deref().map(shared),
            containers: record.containers.into(),
            gpus: record.gpus.into(),
            checked_health: None,
            blocked: false,
            service: record.service.as_ref().and_then(|service| {
                let &slot = self.services_by_id.get(&service.service)?;
                Some(Box::new(ServiceTask::of(slot, service)))
            }),
            report: record.report.map(Box::new),
            timeout_ms: record.timeout_ms,
            provider: record.provider,
            asked: record.asked.map(Arc::new),
            log_driver_mode: record.log_driver_mode,
            placed_seq: record.placed_seq,
            attachments: boxed(record.attachments),
        };
        self.insert_task(task);
    }

    /// A task that a host runs and an older journal does not know (after `recover`).
    pub(super) fn task_adopted(&mut self, adopted: &TaskAdopted, seq: u64) {
        let record = TaskRecord { placed_seq: seq, ..adopted.record.clone() };
        let Some(host) = record.host else { return };
        let (id, cluster) = (record.id, record.cluster.clone());
        self.touch(EntityKey::Task(id));
        if let Some(slot) = self.cluster_slot(&cluster) {
            self.adopted_from_waiting(slot, id);
        }
        self.restore_task(record);
        self.service_has_new_task(id);
        self.host_changed(host, seq);
        let of_no_service = self.task(id).is_some_and(|task| {
            task.service.is_none() && self.group_name(task.group).starts_with("service:")
        });
        let what = match of_no_service {
            true => {
                "task adopted from its host: its service is not in this journal, so that none counts \
                 or stops it; stop it when you have made the service anew"
            }
            false => "task adopted from its host",
        };
        self.log(LogTo::task(&cluster, host, id), what);
    }

    pub(super) fn task_stop_requested(
        &mut self,
        id: TaskId,
        cause: &StopCause,
        at: Timestamp,
        seq: u64,
    ) {
        let Some(&slot) = self.tasks_by_id.get(&id) else { return };
        self.touch(EntityKey::Task(id));
        let task = &self.tasks[slot];
        let from = task.ordered();
        // Its host tells first whether it runs it.
        let may_run_unseen = self.may_run_unseen(task);
        self.set_deadlines(slot, false);
        self.change_task(slot, |task| {
            task.wish = Wish::Stop { cause: cause.clone(), at };
            if !may_run_unseen {
                task.begin_to_stop(at);
            }
            task.version += 1;
        });
        self.set_deadlines(slot, true);
        self.reorder(slot, from, seq);
        let to = self.log_to_task(slot);
        self.log(to, format_args!("task is to stop: {}", cause.reason));
    }

    pub(super) fn task_reported(
        &mut self,
        id: TaskId,
        report: &TaskReport,
        at: Timestamp,
        seq: u64,
    ) {
        let Some(&slot) = self.tasks_by_id.get(&id) else { return };
        self.touch(EntityKey::Task(id));
        let task = &self.tasks[slot];
        let from = task.ordered();
        let mut next = task.phase.after(&report.phase, at);
        let said = self.said_by(task.definition, Some(report));
        self.set_deadlines(slot, false);
        self.change_task(slot, |task| {
            next = task.phase_with_attachments(next, &report.phase, at);
            task.phase = next.unwrap_or(task.phase);
            (task.checked_health, task.blocked) = said;
            task.version += 1;
            task.report = Some(Box::new(report.clone()));
        });
        self.set_deadlines(slot, true);
        self.reorder(slot, from, seq);
        self.keep_image_digests(slot, report);
        if next.is_some() {
            self.log_phase(slot);
        }
    }

    /// What a task's report says of its health, and whether it is blocked. Whoever keeps a report keeps
    /// this with it, since a start derives it anew.
    pub(super) fn said_by(
        &self,
        definition: DefinitionSlot,
        report: Option<&TaskReport>,
    ) -> (Option<HealthStatus>, bool) {
        let containers = &self.definition_at(definition).definition.spec.container_definitions;
        (checked_health(containers, report), is_blocked(containers, report))
    }

    pub(super) fn log_phase(&mut self, slot: TaskSlot) {
        let to = self.log_to_task(slot);
        let phase = self.tasks[slot].phase.name();
        self.log(to, format_args!("task is {phase}"));
    }

    pub(super) fn task_stopped(
        &mut self,
        id: TaskId,
        cause: &StopCause,
        report: Option<&TaskReport>,
        ran_briefly: bool,
        at: Timestamp,
        seq: u64,
    ) {
        let Some(&slot) = self.tasks_by_id.get(&id) else { return };
        self.touch(EntityKey::Task(id));
        self.uncount(slot);
        if !self.replaying {
            self.move_to_history(slot, cause, report, at);
        }
        if !matches!(self.tasks[slot].phase, Phase::Deprovisioning { .. }) {
            self.service_task_ended(slot, cause, ran_briefly, at);
        }
        self.leave_service(slot);
        self.remove_task(slot, seq);
    }

    fn move_to_history(
        &mut self,
        slot: TaskSlot,
        cause: &StopCause,
        report: Option<&TaskReport>,
        at: Timestamp,
    ) {
        let to = self.log_to_task(slot);
        self.log(to, format_args!("task is STOPPED: {}", cause.reason));
        let task = &self.tasks[slot];
        let mut record = task.record(self);
        record.version += 1;
        if let Some(report) = report {
            record.report = Some(report.clone());
        }
        // StopTask's documentation: the tags of a task go when it stops.
        record.tags.clear();
        record.attachments.give_up();
        let definition = self.definition_at(task.definition);
        record.end = Some(TaskEnd {
            at,
            cause: cause.clone(),
            containers: definition.definition.spec.container_definitions.clone(),
            host_connected: self.host_at(task.host).connected,
        });
        self.changes.stopped.push(record);
    }

    fn remove_task(&mut self, slot: TaskSlot, seq: u64) {
        self.set_deadlines(slot, false);
        self.count_busy(slot, -1);
        let task = self.tasks.remove(slot);
        self.use_provider(task.cluster, task.provider.as_ref(), -1);
        self.tasks_by_id.remove(&task.id);
        self.definitions.left(task.definition);
        let cluster = &mut self.clusters[task.cluster];
        cluster.tasks.remove(&task.id);
        cluster.index.release(task.host, &task.demand, task.group);
        let host = &mut self.hosts[task.host];
        host.tasks.remove(&task.id);
        host.give_back_gpus(&task.gpus);
        self.desire(task.host, task.id, task.generation, task.ordered(), None);
        let host = self.hosts[task.host].id;
        self.host_changed(host, seq);
        self.groups.leave(task.group);
        self.room_came_free(task.cluster);
        self.daemons_may_leave(task.host);
    }

    pub(super) fn uncount(&mut self, slot: TaskSlot) {
        let (cluster, host, counted) = self.place_in_counters(slot);
        self.add_to_counters(cluster, host, counted, -1);
    }

    pub(super) fn recount(&mut self, slot: TaskSlot) {
        let (cluster, host, counted) = self.place_in_counters(slot);
        self.add_to_counters(cluster, host, counted, 1);
    }

    fn count(&mut self, task: &Task, by: i32) {
        self.add_to_counters(task.cluster, task.host, task.counter(), by);
    }

    fn place_in_counters(&self, slot: TaskSlot) -> (ClusterSlot, HostSlot, TaskCounter) {
        let task = &self.tasks[slot];
        (task.cluster, task.host, task.counter())
    }

    fn add_to_counters(
        &mut self,
        cluster: ClusterSlot,
        host: HostSlot,
        counted: TaskCounter,
        by: i32,
    ) {
        let cluster = &mut self.clusters[cluster];
        let host = &mut self.hosts[host];
        let counters = match counted {
            TaskCounter::Pending => [&mut cluster.pending_tasks, &mut host.pending_tasks],
            TaskCounter::Running => [&mut cluster.running_tasks, &mut host.running_tasks],
            TaskCounter::Neither => return,
        };
        counters.into_iter().for_each(|held| counter::count(held, by));
        if counted == TaskCounter::Running {
            cluster.index.set_running(host.slot, host.running_tasks);
        }
    }

    pub(super) fn log_to_task(&self, slot: TaskSlot) -> LogTo {
        let task = &self.tasks[slot];
        LogTo::task(&self.clusters[task.cluster].name, self.hosts[task.host].id, task.id)
    }
}

fn boxed(attachments: Attachments) -> Option<Box<Attachments>> {
    (!attachments.is_empty()).then(|| Box::new(attachments))
}

/// Whether a container that has not started waits until another one is healthy, and that one is
/// unhealthy.
fn is_blocked(containers: &[ContainerDefinition], report: Option<&TaskReport>) -> bool {
    let Some(report) = report else { return false };
    let reported = |name: &str| report.containers.iter().find(|reported| reported.name == name);
    let waits = |container: &&ContainerDefinition| {
        reported(&container.name).is_none_or(|own| own.status == ContainerStatus::Pending)
    };
    let unhealthy = |on: &ContainerDependency| {
        on.condition == DependencyCondition::Healthy
            && reported(&on.container_name).and_then(|other| other.health)
                == Some(HealthStatus::Unhealthy)
    };
    containers.iter().filter(waits).any(|container| container.depends_on.iter().any(unhealthy))
}

impl Task {
    pub fn record(&self, state: &State) -> TaskRecord {
        let definition = state.definition_at(self.definition);
        TaskRecord {
            id: self.id,
            cluster: state.cluster_at(self.cluster).name.clone(),
            host: Some(state.host_at(self.host).id),
            family: definition.family.clone(),
            revision: definition.definition.revision,
            group: state.group_name(self.group).to_owned(),
            generation: self.generation,
            version: self.version,
            wish: self.wish.clone(),
            phase: self.phase,
            created_at: self.created_at,
            demand: (*self.demand).clone(),
            overrides: (*self.overrides).clone(),
            tags: (*self.tags).clone(),
            started_by: self.started_by.as_deref().map(str::to_owned),
            containers: self.containers.to_vec(),
            gpus: self.gpus.to_vec(),
            report: self.report.as_deref().cloned(),
            end: None,
            service: self.service.as_ref().map(|service| service.record(state)),
            timeout_ms: self.timeout_ms,
            provider: self.provider.clone(),
            asked: self.asked.as_deref().cloned(),
            log_driver_mode: self.log_driver_mode,
            placed_seq: self.placed_seq,
            attachments: self.attachments.as_deref().cloned().unwrap_or_default(),
        }
    }
}

impl Entity for kind::Task {
    fn keys(state: &State) -> Vec<TaskId> {
        state.tasks.iter().map(|task| task.id).collect()
    }

    fn row(state: &State, task: &TaskId) -> Option<TaskRecord> {
        state.task(*task).map(|task| task.record(state))
    }

    fn restore(state: &mut State, row: TaskRecord) {
        state.restore_task(row);
    }
}
