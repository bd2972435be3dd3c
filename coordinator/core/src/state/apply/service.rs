//! What events do to services and their revisions, and the rows of services.

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{clock::Timestamp, task_policy::TaskPolicy};

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::ServiceRecord,
    },
    event::{ServiceCreated, ServiceEvent},
    managed_scaling::Group,
    model::{
        name::{CapacityProviderName, ClusterName},
        revision::{RevisionRecord, Rollout},
        service::{RevisionId, ServiceConfig, ServiceId, ServicePolicy, ServiceRef},
        service_status::{LaunchBackoff, Move, ServiceStatus},
    },
    state::{
        Cluster, Counts, Due, Forgettable, ServiceSlot, State,
        changes::LogTo,
        service::{Revision, Service, hash_of},
    },
};

/// Maximum number of messages of one service that are not repeated (ours): as many as its
/// `events[]` show. Most name a task, and are never said again anyway.
const SAID_MAX: usize = 100;

impl State {
    pub(super) fn apply_service(&mut self, event: &ServiceEvent) {
        match event {
            ServiceEvent::ServiceCreated(created) => self.service_created(created),
            ServiceEvent::ServiceConfigured { service, config, .. } => {
                self.service_configured(*service, config);
            }
            ServiceEvent::ServiceDraining { service, .. } => self.service_draining(*service),
            ServiceEvent::ServiceDeleted { service, at } => self.service_deleted(*service, *at),
            ServiceEvent::ServiceForgotten { service } => self.service_forgotten(*service),
            ServiceEvent::RevisionCreated { service, revision } => {
                self.revision_created(*service, revision);
            }
            ServiceEvent::RevisionChanged { service, revision } => {
                self.revision_changed(*service, revision);
            }
            ServiceEvent::RevisionDropped { service, revision } => {
                self.revision_dropped(*service, *revision);
            }
            ServiceEvent::PrimaryChanged { service, revision, at } => {
                self.primary_changed(*service, *revision, *at);
            }
            ServiceEvent::DeploymentSet { service, deployment } => {
                self.deployment_set(*service, deployment);
            }
            ServiceEvent::ServiceLogged { service, message, at } => {
                self.service_logged(*service, message, *at);
            }
            ServiceEvent::ServiceSteady { service, at } => self.service_steady(*service, *at),
            ServiceEvent::TaskMoved { service, moving } => self.task_moved(*service, *moving),
        }
    }

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
        let made = self.service_tokens.get(&(cluster.clone(), token.to_owned()))?;
        let service = self.service(made.last()?.1)?;
        (at.since(service.created_at) < crate::state::token::CLIENT_TOKEN_LIFE).then_some(service)
    }

    /// What holds for a service where its own options say nothing.
    pub fn policy(&self, service: &Service) -> ServicePolicy {
        self.policy_of_cluster(&self.clusters[service.cluster]).with(&service.config.options)
    }

    pub fn policy_of_cluster(&self, cluster: &Cluster) -> ServicePolicy {
        self.service_policy.with(&cluster.settings.options)
    }

    /// Takes the policy where the coordinator's settings differ from the defaults; it is never
    /// journaled.
    pub fn set_service_policy(&mut self, policy: ServicePolicy) {
        self.service_policy = policy;
    }

    /// What the operator forbids.
    pub fn task_policy(&self) -> &TaskPolicy {
        &self.task_policy
    }

    /// Takes the policy from the coordinator's settings; it is never journaled.
    pub fn set_task_policy(&mut self, policy: TaskPolicy) {
        self.task_policy = policy;
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
        let Some(cluster) = self.cluster_slot(&record.named.cluster) else {
            return self.missing(format_args!("the cluster {}", record.named.cluster));
        };
        if self.services_by_id.contains_key(&record.id) {
            return;
        }
        let slot = self.services.insert_with(|slot| Service {
            id: record.id,
            slot,
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
            wanted: Vec::new(),
        });
        self.use_service_providers(slot, 1);
        self.services_by_id.insert(record.id, slot);
        for revision in record.revisions {
            self.insert_revision(slot, revision);
        }
        let held = &mut self.clusters[cluster];
        match record.status {
            ServiceStatus::Active | ServiceStatus::Draining => {
                held.services.insert(record.named.name, slot);
                if record.status == ServiceStatus::Draining {
                    held.draining_services.insert(slot);
                }
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
            let made = (record.created_at, record.id);
            self.service_tokens.entry(token).or_default().insert(made);
        }
        self.attend(slot, true);
        self.service_is_due(slot);
    }

    fn insert_revision(&mut self, slot: ServiceSlot, record: RevisionRecord) {
        let (family, revision) = (&record.family, record.revision);
        let Some(definition) = self.definitions.slot(family.as_str(), revision) else {
            return self.missing(format_args!("the task definition {family}:{revision}"));
        };
        if self.services[slot].position(record.id).is_some() {
            return;
        }
        self.definitions.used(definition);
        self.services[slot].revisions.push(Revision {
            record,
            definition,
            tasks: BTreeMap::new(),
            counts: Counts::default(),
            settling: BTreeSet::new(),
            unhealthy: BTreeSet::new(),
            returned: BTreeSet::new(),
            by_provider: BTreeMap::new(),
        });
    }

    /// The service's slot, its row marked as changed and itself as due.
    pub(super) fn service_changes(&mut self, id: ServiceId) -> Option<ServiceSlot> {
        let slot = *self.services_by_id.get(&id)?;
        self.touch(EntityKey::Service(id));
        self.service_is_due(slot);
        Some(slot)
    }

    pub(super) fn service_configured(&mut self, id: ServiceId, config: &ServiceConfig) {
        let Some(slot) = self.service_changes(id) else { return };
        self.use_service_providers(slot, -1);
        let service = &mut self.services[slot];
        let cluster = service.cluster;
        let lost_after = config.options.lost_after != service.config.options.lost_after;
        service.config = config.clone();
        // ecs-behaviour 1.9: an update ends the waiting, and is to be announced when done.
        service.launch = LaunchBackoff::default();
        service.steady = false;
        service.said.clear();
        self.use_service_providers(slot, 1);
        if lost_after {
            self.silent_hosts_are_due(cluster);
        }
        self.log_service(id, format_args!("service updated: {} tasks wanted", config.desired));
    }

    /// Counts a service in the uses of each of its capacity providers; an INACTIVE one uses none.
    fn use_service_providers(&mut self, slot: ServiceSlot, by: i32) {
        let service = &self.services[slot];
        if matches!(service.status, ServiceStatus::Inactive { .. }) {
            return;
        }
        let cluster = service.cluster;
        let providers: Vec<CapacityProviderName> =
            service.config.capacity.iter().map(|item| item.provider.clone()).collect();
        for provider in &providers {
            self.use_provider(cluster, Some(provider), by);
        }
    }

    /// Notes what of a service waits for hosts of capacity providers, whose groups may have to
    /// grow.
    pub fn set_wanted(&mut self, due: Due, wanted: Vec<(CapacityProviderName, Group)>) {
        let Due::Service(slot) = due else { return };
        let service = &mut self.services[slot];
        if service.wanted == wanted {
            return;
        }
        let before = std::mem::replace(&mut service.wanted, wanted.clone());
        let (cluster, waits) = (service.cluster, !wanted.is_empty());
        match waits {
            true => self.clusters[cluster].wanting.insert(slot),
            false => self.clusters[cluster].wanting.remove(&slot),
        };
        for (provider, _) in before.iter().chain(&wanted) {
            self.provider_is_wanted(Some(provider));
        }
    }

    pub(super) fn service_draining(&mut self, id: ServiceId) {
        let Some(slot) = self.service_changes(id) else { return };
        if !self.services[slot].is_active() {
            return;
        }
        self.services[slot].status = ServiceStatus::Draining;
        let cluster = self.services[slot].cluster;
        self.clusters[cluster].draining_services.insert(slot);
        self.log_service(id, format_args!("service is DRAINING"));
    }

    pub(super) fn service_deleted(&mut self, id: ServiceId, at: Timestamp) {
        let Some(slot) = self.service_changes(id) else { return };
        if matches!(self.services[slot].status, ServiceStatus::Inactive { .. }) {
            return;
        }
        self.log_service(id, format_args!("service is INACTIVE"));
        self.use_service_providers(slot, -1);
        self.set_wanted(Due::Service(slot), Vec::new());
        let service = &mut self.services[slot];
        service.status = ServiceStatus::Inactive { since: at };
        let (name, cluster) = (service.name.clone(), service.cluster);
        let held = &mut self.clusters[cluster];
        held.services.remove(&name);
        held.draining_services.remove(&slot);
        held.daemons.remove(&slot);
        held.replicas.remove(&slot);
        held.waiting.remove(&Due::Service(slot));
        if let Some(earlier) = held.inactive_services.insert(name, slot) {
            // The name means the one that was deleted last.
            let earlier = self.services[earlier].id;
            self.service_forgotten(earlier);
        }
        self.inactive.insert((at, Forgettable::Service(id)));
    }

    pub(super) fn service_forgotten(&mut self, id: ServiceId) {
        self.touch(EntityKey::Service(id));
        let Some(&slot) = self.services_by_id.get(&id) else { return };
        let service = &self.services[slot];
        if !matches!(service.status, ServiceStatus::Inactive { .. }) || service.has_tasks() {
            return;
        }
        self.services_by_id.remove(&id);
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
            if let Some(made) = self.service_tokens.get_mut(&token) {
                made.remove(&(service.created_at, id));
                if made.is_empty() {
                    self.service_tokens.remove(&token);
                }
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
        if !service.revisions[position].tasks.is_empty() {
            return;
        }
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

    pub(super) fn service_logged(&mut self, id: ServiceId, message: &str, at: Timestamp) {
        let Some(&slot) = self.services_by_id.get(&id) else { return };
        let said = &mut self.services[slot].said;
        said.insert(hash_of(message), at);
        if said.len() > SAID_MAX
            && let Some((&oldest, _)) = said.iter().min_by_key(|(_, at)| **at)
        {
            said.remove(&oldest);
        }
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
        let returned = service.revisions.iter().flat_map(|revision| &revision.returned);
        for task in returned.copied().collect::<Vec<_>>() {
            self.touch(EntityKey::Task(task));
            if let Some(&slot) = self.tasks_by_id.get(&task) {
                self.change_task(slot, |task| {
                    if let Some(of) = &mut task.service {
                        of.returned = false;
                    }
                });
            }
        }
        let message = format!("(service {}) has reached a steady state.", self.services[slot].name);
        self.service_logged(id, &message, at);
        self.services[slot].said.clear();
    }

    pub(super) fn task_moved(&mut self, id: ServiceId, moving: Option<Move>) {
        let Some(slot) = self.service_changes(id) else { return };
        self.services[slot].moving = moving;
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

impl Service {
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

impl Entity for kind::Service {
    fn keys(state: &State) -> Vec<ServiceId> {
        state.services.iter().map(|service| service.id).collect()
    }

    fn row(state: &State, service: &ServiceId) -> Option<ServiceRecord> {
        state.service(*service).map(|service| service.record(state))
    }

    fn restore(state: &mut State, row: ServiceRecord) {
        state.insert_service(row);
    }
}
