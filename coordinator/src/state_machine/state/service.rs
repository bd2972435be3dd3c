//! Services: what each is to be, its revisions, and how its tasks stand, counted.
//!
//! Every change of a task of a service passes through [`State::restand`], which keeps the counts,
//! so that the scheduler never counts tasks itself. What must be looked at again is marked due
//! (`due.rs`); deciding is the scheduler's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    task::{StopCause, StopCode},
};

use super::{
    Cluster, ClusterSlot, DefinitionSlot, EntityKey, Forgettable, HostStatus, Phase, ServiceSlot,
    State, Task, TaskSlot, Wish, dirty::LogTo,
};
use crate::state_machine::{
    command::Tags,
    event::{ServiceCreated, StartedForService},
    name::{ClusterName, ServiceName},
    record::{
        DeploymentRecord, HookRecord, LaunchBackoff, Move, RevisionRecord, Rollout, ServiceRecord,
        ServiceTaskRecord,
    },
    service::{
        Controller, RevisionId, Scheduling, ServiceConfig, ServiceId, ServicePolicy, ServiceRef,
    },
};

/// First wait of a service whose tasks do not start; each round doubles it.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// ecs-behaviour 1.9, repeated failure.
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

pub struct Service {
    pub id: ServiceId,
    pub slot: ServiceSlot,
    pub cluster: ClusterSlot,
    pub name: ServiceName,
    pub status: ServiceStatus,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<(String, u64)>,
    /// In the order of their creation.
    pub revisions: Vec<Revision>,
    pub primary: Option<RevisionId>,
    /// The revision of the last deployment that completed: where a rollback goes.
    pub completed: Option<RevisionId>,
    /// The deployment under way, or the last one.
    pub deployment: Option<DeploymentRecord>,
    pub launch: LaunchBackoff,
    /// The steady state has been announced and nothing changed since.
    pub steady: bool,
    /// One task on its way to where there are fewer.
    pub moving: Option<Move>,
    /// Messages that are not said again before their time (ecs-behaviour 1.8); volatile.
    pub(in crate::state_machine) said: BTreeMap<u64, Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ServiceStatus {
    Active,
    /// Deleted, with tasks that are still stopping.
    Draining,
    /// Deleted; still described for a while.
    Inactive {
        since: Timestamp,
    },
}

/// A revision with its tasks.
pub struct Revision {
    pub record: RevisionRecord,
    pub definition: DefinitionSlot,
    /// Every task of it that has not stopped.
    pub tasks: BTreeMap<TaskId, TaskSlot>,
    pub counts: Counts,
    /// Tasks without checks that run and are not settled yet, by when they began.
    pub settling: BTreeSet<(Timestamp, TaskId)>,
    /// Tasks whose health checks fail.
    pub unhealthy: BTreeSet<TaskId>,
}

/// What a task of a service counts as. Healthy or not is said of tasks that are wanted only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Pending,
    /// Running, not known yet to be healthy.
    Settling,
    Healthy,
    Unhealthy,
    /// Told to stop before it ran.
    LeavingPending,
    /// Told to stop, and its agent has not said yet that it is stopping.
    LeavingRunning,
    Stopping,
    /// On a host that was silent for too long.
    Lost,
}

const STANDINGS: usize = 8;

/// Tasks of one revision by how they stand, those on draining hosts apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([[u32; 2]; STANDINGS]);

impl Counts {
    pub fn of(&self, standing: Standing) -> u32 {
        self.0[standing as usize].iter().sum()
    }

    pub fn draining(&self, standing: Standing) -> u32 {
        self.0[standing as usize][1]
    }

    /// ECS's runningCount.
    pub fn running(&self) -> u32 {
        self.of(Standing::Settling)
            + self.of(Standing::Healthy)
            + self.of(Standing::Unhealthy)
            + self.of(Standing::LeavingRunning)
    }

    /// ECS's pendingCount.
    pub fn pending(&self) -> u32 {
        self.of(Standing::Pending) + self.of(Standing::LeavingPending)
    }

    /// Tasks that are wanted, wherever their host is.
    pub fn wanted(&self) -> u32 {
        self.of(Standing::Pending)
            + self.of(Standing::Settling)
            + self.of(Standing::Healthy)
            + self.of(Standing::Unhealthy)
    }

    /// Wanted tasks on hosts that drain.
    pub fn wanted_draining(&self) -> u32 {
        self.draining(Standing::Pending)
            + self.draining(Standing::Settling)
            + self.draining(Standing::Healthy)
            + self.draining(Standing::Unhealthy)
    }

    /// Told to stop, and not stopped yet.
    pub fn leaving(&self) -> u32 {
        self.of(Standing::LeavingPending)
            + self.of(Standing::LeavingRunning)
            + self.of(Standing::Stopping)
    }

    fn change(&mut self, standing: Standing, draining: bool, by: i32) {
        let count = &mut self.0[standing as usize][usize::from(draining)];
        *count = count.checked_add_signed(by).expect("a count that was counted up");
    }
}

impl Service {
    pub fn is_active(&self) -> bool {
        self.status == ServiceStatus::Active
    }

    pub fn revision(&self, id: RevisionId) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.record.id == id)
    }

    pub fn primary(&self) -> Option<&Revision> {
        self.primary.and_then(|id| self.revision(id))
    }

    /// The deployment under way.
    pub fn under_way(&self) -> Option<&DeploymentRecord> {
        self.deployment.as_ref().filter(|deployment| !deployment.status.is_over())
    }

    pub fn is_daemon(&self) -> bool {
        self.config.scheduling == Scheduling::Daemon
    }

    pub fn is_external(&self) -> bool {
        self.config.controller == Controller::External
    }

    /// The group of its tasks, by which they are spread.
    pub fn group(&self) -> String {
        format!("service:{}", self.name)
    }

    pub fn running(&self) -> u32 {
        self.revisions.iter().map(|revision| revision.counts.running()).sum()
    }

    pub fn pending(&self) -> u32 {
        self.revisions.iter().map(|revision| revision.counts.pending()).sum()
    }

    pub fn has_tasks(&self) -> bool {
        self.revisions.iter().any(|revision| !revision.tasks.is_empty())
    }

    fn position(&self, id: RevisionId) -> Option<usize> {
        self.revisions.iter().position(|revision| revision.record.id == id)
    }

    pub(super) fn record(&self, state: &State) -> ServiceRecord {
        ServiceRecord {
            id: self.id,
            named: self.named(state),
            status: self.status,
            config: self.config.clone(),
            tags: self.tags.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            client_token: self.client_token.clone(),
            primary: self.primary,
            completed: self.completed,
            revisions: self.revisions.iter().map(|revision| revision.record.clone()).collect(),
            deployment: self.deployment.clone(),
            launch: self.launch,
            steady: self.steady,
            moving: self.moving,
        }
    }

    pub fn named(&self, state: &State) -> ServiceRef {
        ServiceRef { cluster: state.cluster_at(self.cluster).name.clone(), name: self.name.clone() }
    }
}

/// What a task is to the service that started it.
pub struct ServiceTask {
    pub service: ServiceSlot,
    pub revision: RevisionId,
    pub settled: bool,
    pub lost: bool,
    pub returned: bool,
    pub protected_until: Option<Timestamp>,
}

impl ServiceTask {
    pub(super) fn of(service: ServiceSlot, record: &ServiceTaskRecord) -> Self {
        ServiceTask {
            service,
            revision: record.revision,
            settled: record.settled,
            lost: record.lost,
            returned: record.returned,
            protected_until: record.protected_until,
        }
    }

    pub(super) fn record_of_new(started: &StartedForService) -> ServiceTaskRecord {
        ServiceTaskRecord {
            service: started.service,
            revision: started.revision,
            settled: false,
            lost: false,
            returned: false,
            protected_until: None,
        }
    }

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

    pub fn is_protected(&self, at: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > at)
    }
}

impl Task {
    /// How a task of a service counts; `None` for one that belongs to none.
    pub fn standing(&self) -> Option<Standing> {
        let service = self.service.as_ref()?;
        if service.lost {
            return Some(Standing::Lost);
        }
        let wanted = match self.wish {
            Wish::Run => true,
            Wish::Stop { .. } => false,
        };
        Some(match self.phase {
            Phase::Pending | Phase::Activating if wanted => Standing::Pending,
            Phase::Pending | Phase::Activating => Standing::LeavingPending,
            Phase::Stopping { .. } => Standing::Stopping,
            Phase::Running { .. } if !wanted => Standing::LeavingRunning,
            Phase::Running { .. } => match self.checked_health {
                None if service.settled => Standing::Healthy,
                None => Standing::Settling,
                Some(longshore_common::task::HealthStatus::Healthy) => Standing::Healthy,
                Some(longshore_common::task::HealthStatus::Unknown) => Standing::Settling,
                Some(longshore_common::task::HealthStatus::Unhealthy) => Standing::Unhealthy,
            },
        })
    }
}

impl State {
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services_by_id.get(&id).map(|&slot| &self.services[slot])
    }

    pub fn service_at(&self, slot: ServiceSlot) -> &Service {
        &self.services[slot]
    }

    pub fn services_len(&self) -> usize {
        self.services_by_id.len()
    }

    /// The service of this name that is not INACTIVE, else the one deleted last.
    pub fn service_named(&self, named: &ServiceRef) -> Option<&Service> {
        let cluster = self.cluster(named.cluster.as_str())?;
        let slot = cluster
            .services
            .get(&named.name)
            .or_else(|| cluster.inactive_services.get(&named.name))?;
        Some(&self.services[*slot])
    }

    /// The service that was made with this client token in the last 24 hours.
    pub fn service_of_token(
        &self,
        cluster: &ClusterName,
        token: &str,
        at: Timestamp,
    ) -> Option<&Service> {
        let id = self.service_tokens.get(&(cluster.clone(), token.to_owned()))?;
        let service = self.service(*id)?;
        (at.since(service.created_at) < super::token::CLIENT_TOKEN_LIFE).then_some(service)
    }

    /// What holds for a service where its own options say nothing.
    pub fn policy(&self, service: &Service) -> ServicePolicy {
        self.policy_of_cluster(&self.clusters[service.cluster]).with(&service.config.options)
    }

    pub fn policy_of_cluster(&self, cluster: &Cluster) -> ServicePolicy {
        self.service_policy.with(&cluster.settings.options)
    }

    /// Where the coordinator's settings differ from the defaults; never journaled.
    pub fn set_service_policy(&mut self, policy: ServicePolicy) {
        self.service_policy = policy;
    }

    pub(super) fn service_created(&mut self, created: &ServiceCreated) {
        self.touch(EntityKey::Service(created.service));
        self.insert_service(ServiceRecord {
            id: created.service,
            named: created.named.clone(),
            status: ServiceStatus::Active,
            config: created.config.clone(),
            tags: created.tags.clone(),
            created_at: created.at,
            created_by: created.created_by.clone(),
            client_token: created.client_token.clone(),
            primary: None,
            completed: None,
            revisions: Vec::new(),
            deployment: None,
            launch: LaunchBackoff::default(),
            steady: false,
            moving: None,
        });
        self.log_service(created.service, format_args!("service created"));
    }

    pub(super) fn insert_service(&mut self, record: ServiceRecord) {
        let cluster = self.cluster_slot(&record.named.cluster);
        let slot = self.services.insert(Service {
            id: record.id,
            slot: 0,
            cluster,
            name: record.named.name.clone(),
            status: record.status,
            config: record.config,
            tags: record.tags,
            created_at: record.created_at,
            created_by: record.created_by,
            client_token: record.client_token,
            revisions: Vec::new(),
            primary: record.primary,
            completed: record.completed,
            deployment: record.deployment,
            launch: record.launch,
            steady: record.steady,
            moving: record.moving,
            said: BTreeMap::new(),
        });
        self.services[slot].slot = slot;
        self.services_by_id.insert(record.id, slot);
        for revision in record.revisions {
            self.insert_revision(slot, revision);
        }
        let held = &mut self.clusters[cluster];
        match record.status {
            ServiceStatus::Active | ServiceStatus::Draining => {
                held.services.insert(record.named.name, slot);
                if self.services[slot].is_daemon() {
                    held.daemons.insert(slot);
                } else {
                    held.replicas.insert(slot);
                }
            }
            ServiceStatus::Inactive { since } => {
                held.inactive_services.insert(record.named.name, slot);
                self.inactive.insert((since, Forgettable::Service(record.id)));
            }
        }
        if let Some((token, _)) = &self.services[slot].client_token {
            let token = (self.clusters[cluster].name.clone(), token.clone());
            self.service_tokens.insert(token, record.id);
        }
        self.attend(slot, true);
        self.service_is_due(slot);
    }

    fn insert_revision(&mut self, slot: ServiceSlot, record: RevisionRecord) {
        let definition = self
            .definitions
            .slot(record.family.as_str(), record.revision)
            .expect("a revision has a registered definition");
        self.definitions.used(definition);
        self.services[slot].revisions.push(Revision {
            record,
            definition,
            tasks: BTreeMap::new(),
            counts: Counts::default(),
            settling: BTreeSet::new(),
            unhealthy: BTreeSet::new(),
        });
    }

    /// The service's slot, its row marked as changed and itself as due.
    fn service_changes(&mut self, id: ServiceId) -> Option<ServiceSlot> {
        let slot = *self.services_by_id.get(&id)?;
        self.touch(EntityKey::Service(id));
        self.service_is_due(slot);
        Some(slot)
    }

    pub(super) fn service_configured(&mut self, id: ServiceId, config: &ServiceConfig) {
        let Some(slot) = self.service_changes(id) else { return };
        let service = &mut self.services[slot];
        service.config = config.clone();
        // ecs-behaviour 1.9: an update ends the waiting, and is to be announced when done.
        service.launch = LaunchBackoff::default();
        service.steady = false;
        service.said.clear();
        self.log_service(id, format_args!("service updated: {} tasks wanted", config.desired));
    }

    pub(super) fn service_draining(&mut self, id: ServiceId) {
        let Some(slot) = self.service_changes(id) else { return };
        self.services[slot].status = ServiceStatus::Draining;
        self.log_service(id, format_args!("service is DRAINING"));
    }

    pub(super) fn service_deleted(&mut self, id: ServiceId, at: Timestamp) {
        let Some(slot) = self.service_changes(id) else { return };
        self.log_service(id, format_args!("service is INACTIVE"));
        let service = &mut self.services[slot];
        service.status = ServiceStatus::Inactive { since: at };
        let (name, cluster) = (service.name.clone(), service.cluster);
        let held = &mut self.clusters[cluster];
        held.services.remove(&name);
        held.daemons.remove(&slot);
        held.replicas.remove(&slot);
        held.waiting.remove(&slot);
        if let Some(earlier) = held.inactive_services.insert(name, slot) {
            // The name means the one that was deleted last.
            let earlier = self.services[earlier].id;
            self.service_forgotten(earlier);
        }
        self.inactive.insert((at, Forgettable::Service(id)));
    }

    pub(super) fn service_forgotten(&mut self, id: ServiceId) {
        self.touch(EntityKey::Service(id));
        let Some(slot) = self.services_by_id.remove(&id) else { return };
        self.forget_due_service(slot);
        self.attend(slot, false);
        let service = self.services.remove(slot);
        for revision in &service.revisions {
            self.definitions.left(revision.definition);
        }
        if let ServiceStatus::Inactive { since } = service.status {
            self.inactive.remove(&(since, Forgettable::Service(id)));
        }
        let held = &mut self.clusters[service.cluster];
        if held.inactive_services.get(&service.name) == Some(&slot) {
            held.inactive_services.remove(&service.name);
        }
        if let Some((token, _)) = service.client_token {
            let token = (held.name.clone(), token);
            if self.service_tokens.get(&token) == Some(&id) {
                self.service_tokens.remove(&token);
            }
        }
    }

    pub(super) fn revision_created(&mut self, id: ServiceId, record: &RevisionRecord) {
        let Some(slot) = self.service_changes(id) else { return };
        self.insert_revision(slot, record.clone());
        let service = &mut self.services[slot];
        service.launch = LaunchBackoff::default();
        service.steady = false;
        service.said.clear();
        if !self.replaying {
            self.changes.revisions.push((id, record.clone()));
        }
    }

    pub(super) fn revision_changed(&mut self, id: ServiceId, record: &RevisionRecord) {
        let Some(slot) = self.service_changes(id) else { return };
        let service = &mut self.services[slot];
        let Some(position) = service.position(record.id) else { return };
        service.revisions[position].record = record.clone();
        if record.rollout == Rollout::Completed && service.primary == Some(record.id) {
            service.completed = Some(record.id);
        }
        service.steady = false;
    }

    pub(super) fn revision_dropped(&mut self, id: ServiceId, revision: RevisionId) {
        let Some(slot) = self.service_changes(id) else { return };
        let service = &mut self.services[slot];
        let Some(position) = service.position(revision) else { return };
        let dropped = service.revisions.remove(position);
        if service.completed == Some(revision) {
            service.completed = None;
        }
        if service.primary == Some(revision) {
            service.primary = None;
        }
        self.definitions.left(dropped.definition);
    }

    pub(super) fn primary_changed(&mut self, id: ServiceId, revision: RevisionId, at: Timestamp) {
        let Some(slot) = self.service_changes(id) else { return };
        let service = &mut self.services[slot];
        service.primary = Some(revision);
        service.launch = LaunchBackoff::default();
        service.steady = false;
        if let Some(position) = service.position(revision) {
            service.revisions[position].record.updated_at = at;
        }
        self.log_service(id, format_args!("deployment ecs-svc/{revision} is PRIMARY"));
    }

    pub(super) fn deployment_set(&mut self, id: ServiceId, deployment: &DeploymentRecord) {
        let Some(slot) = self.service_changes(id) else { return };
        let before = self.services[slot].deployment.as_ref().map(|d| (d.id, d.status, d.stage));
        if before != Some((deployment.id, deployment.status, deployment.stage)) {
            self.log_service(
                id,
                format_args!(
                    "service deployment {} to ecs-svc/{} is {:?}, stage {:?}{}",
                    deployment.id,
                    deployment.target,
                    deployment.status,
                    deployment.stage,
                    deployment.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default(),
                ),
            );
        }
        self.attend(slot, false);
        self.services[slot].deployment = Some(deployment.clone());
        self.attend(slot, true);
        if !self.replaying {
            self.changes.deployments.push((id, deployment.clone()));
        }
    }

    /// Notes down, or forgets, what a service's deployment waits for: alarms, calls of its hooks.
    fn attend(&mut self, slot: ServiceSlot, begins: bool) {
        let Some(deployment) = self.services[slot].under_way() else { return };
        if let Some(alarms) = deployment.config.alarms.as_ref().filter(|alarms| alarms.enable) {
            for name in &alarms.names {
                if begins {
                    self.alarm_watchers.entry(name.clone()).or_default().insert(slot);
                } else if let Some(watchers) = self.alarm_watchers.get_mut(name) {
                    watchers.remove(&slot);
                    if watchers.is_empty() {
                        self.alarm_watchers.remove(name);
                    }
                }
            }
        }
        let calls = deployment.hooks.iter().filter_map(|hook| Some((hook.call_at?, slot, hook.id)));
        for call in calls {
            match begins {
                true => self.hook_calls.insert(call),
                false => self.hook_calls.remove(&call),
            };
            self.changes.effects |= begins;
        }
    }

    /// Calls of lifecycle hooks that are to be made, with when, the next one first.
    pub fn hook_calls(&self) -> impl Iterator<Item = (Timestamp, &Service, &HookRecord)> {
        self.hook_calls.iter().filter_map(|(at, slot, id)| {
            let service = &self.services[*slot];
            let hook = service.under_way()?.hooks.iter().find(|hook| hook.id == *id)?;
            Some((*at, service, hook))
        })
    }

    /// An alarm went off: the deployments that listen to it keep that, even if it ends again
    /// before they are looked at.
    pub(super) fn deployments_hear_of(&mut self, alarm: &str) {
        let watchers = self.alarm_watchers.get(alarm).cloned().unwrap_or_default();
        for slot in watchers {
            let id = self.services[slot].id;
            self.touch(EntityKey::Service(id));
            let Some(deployment) = &mut self.services[slot].deployment else { continue };
            let listened = !deployment.alarms_ignored.iter().any(|ignored| ignored == alarm)
                && !deployment.alarms_triggered.iter().any(|known| known == alarm);
            if listened {
                deployment.alarms_triggered.push(alarm.to_owned());
                self.service_is_due(slot);
            }
        }
    }

    pub(super) fn service_logged(&mut self, id: ServiceId, message: &str, at: Timestamp) {
        let Some(&slot) = self.services_by_id.get(&id) else { return };
        self.services[slot].said.insert(hash_of(message), at);
        if self.replaying {
            return;
        }
        self.log_service(id, message);
        self.changes.service_events.push((id, message.to_owned(), at));
    }

    pub(super) fn service_steady(&mut self, id: ServiceId, at: Timestamp) {
        let Some(&slot) = self.services_by_id.get(&id) else { return };
        self.touch(EntityKey::Service(id));
        // A steady service may be one to even out.
        self.service_is_due(slot);
        let service = &mut self.services[slot];
        service.steady = true;
        // Whatever was complained of is resolved.
        service.said.clear();
        for position in 0..service.revisions.len() {
            for slot in service.revisions[position].tasks.values() {
                if let Some(task) = &mut self.tasks[*slot].service {
                    task.returned = false;
                }
            }
        }
        let message = format!("(service {}) has reached a steady state.", self.services[slot].name);
        self.service_logged(id, &message, at);
        self.services[slot].said.clear();
    }

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

    pub(super) fn task_moved(&mut self, id: ServiceId, moving: Option<Move>) {
        let Some(slot) = self.service_changes(id) else { return };
        self.services[slot].moving = moving;
    }

    pub(super) fn task_protection_put(&mut self, tasks: &[TaskId], until: Option<Timestamp>) {
        for id in tasks {
            self.change_service_task(*id, |task| task.protected_until = until);
        }
    }

    fn change_service_task(&mut self, id: TaskId, change: impl FnOnce(&mut ServiceTask)) {
        let Some(&slot) = self.tasks_by_id.get(&id) else { return };
        self.touch(EntityKey::Task(id));
        self.restand(slot, |task| {
            if let Some(service) = &mut task.service {
                change(service);
            }
            task.version += 1;
        });
    }

    /// Changes a task and keeps the counts of its service in line.
    pub(super) fn restand(&mut self, slot: TaskSlot, change: impl FnOnce(&mut Task)) {
        self.uncount(slot);
        let before = self.tasks[slot].standing();
        self.unstand(slot);
        change(&mut self.tasks[slot]);
        self.stand(slot);
        self.recount(slot);
        self.stood(slot, before);
    }

    /// What follows from how a task stood before and stands now.
    fn stood(&mut self, slot: TaskSlot, before: Option<Standing>) {
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
        let ends_backoff = runs && held.launch != LaunchBackoff::default();
        if first_run || healthy || ends_backoff {
            self.touch(EntityKey::Service(id));
            let held = &mut self.services[service];
            let record = &mut held.revisions[position].record;
            record.has_run |= runs;
            if healthy {
                record.failed_tasks = 0;
            }
            if ends_backoff {
                held.launch = LaunchBackoff::default();
            }
        }
    }

    /// Takes a task out of its service's counts.
    pub(super) fn unstand(&mut self, slot: TaskSlot) {
        self.count_standing(slot, -1);
    }

    pub(super) fn stand(&mut self, slot: TaskSlot) {
        self.count_standing(slot, 1);
    }

    fn count_standing(&mut self, slot: TaskSlot, by: i32) {
        let task = &self.tasks[slot];
        let (Some(standing), Some(of)) = (task.standing(), &task.service) else { return };
        let draining = self.hosts[task.host.0].status == HostStatus::Draining;
        let began = task.phase.started_at().filter(|_| task.checked_health.is_none());
        let (id, service, revision) = (task.id, of.service, of.revision);
        let service = &mut self.services[service];
        let position = service.position(revision).expect("a revision outlives its tasks");
        let revision = &mut service.revisions[position];
        revision.counts.change(standing, draining, by);
        match (standing, began, by > 0) {
            (Standing::Settling, Some(began), true) => {
                revision.settling.insert((began, id));
            }
            (Standing::Settling, Some(began), false) => {
                revision.settling.remove(&(began, id));
            }
            (Standing::Unhealthy, _, true) => {
                revision.unhealthy.insert(id);
            }
            (Standing::Unhealthy, _, false) => {
                revision.unhealthy.remove(&id);
            }
            _ => {}
        }
    }

    /// Enters a new task of a service; it is in no count yet.
    pub(super) fn join_service(&mut self, slot: TaskSlot) {
        let task = &self.tasks[slot];
        let (Some(of), id) = (&task.service, task.id) else { return };
        let service = &mut self.services[of.service];
        let position = service.position(of.revision).expect("a task starts for a known revision");
        service.revisions[position].tasks.insert(id, slot);
        let service = of.service;
        self.stand(slot);
        self.service_changed_by_task(service);
    }

    /// Takes a task that has stopped out of its service. `ended` is why, if it is an end that says
    /// something of the service.
    pub(super) fn leave_service(&mut self, slot: TaskSlot, ended: &StopCause, at: Timestamp) {
        let task = &self.tasks[slot];
        let (Some(of), id) = (&task.service, task.id) else { return };
        let (service, revision) = (of.service, of.revision);
        let failed = never_ran(task, ended);
        self.unstand(slot);
        let held = &mut self.services[service];
        let position = held.position(revision).expect("a revision outlives its tasks");
        held.revisions[position].tasks.remove(&id);
        self.service_changed_by_task(service);
        if failed {
            self.task_failed(service, revision, at);
            self.back_off(service, at);
        }
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
            record.failed_tasks += 1;
            record.updated_at = at;
        }
    }

    /// Failures while the service waits already are of the round that made it wait.
    fn back_off(&mut self, slot: ServiceSlot, at: Timestamp) {
        let launch = &mut self.services[slot].launch;
        if launch.not_before.is_some_and(|until| at < until) {
            return;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << launch.rounds.min(16)).min(BACKOFF_MAX);
        launch.rounds += 1;
        launch.not_before = Some(at.saturating_add(wait));
    }

    pub(super) fn log_service(&mut self, id: ServiceId, what: impl std::fmt::Display) {
        if self.replaying {
            return;
        }
        let Some(service) = self.service(id) else { return };
        let (cluster, name) = (self.cluster_at(service.cluster).name.clone(), service.name.clone());
        self.log(LogTo::service(&cluster, &name), what);
    }
}

/// Whether a task stopped of itself before it ever ran.
fn never_ran(task: &Task, ended: &StopCause) -> bool {
    let by_itself = match ended.code {
        StopCode::TaskFailedToStart | StopCode::EssentialContainerExited => true,
        StopCode::UserInitiated
        | StopCode::ServiceSchedulerInitiated
        | StopCode::SpotInterruption
        | StopCode::TerminationNotice
        | StopCode::InfrastructureHealth => false,
    };
    by_itself && task.wish == Wish::Run && task.phase.started_at().is_none()
}

/// FNV-1a: tells messages of one service apart; collisions only silence a message.
pub(in crate::state_machine) fn hash_of(message: &str) -> u64 {
    message.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
