//! What events do to container instances and to the orders on their way, and their rows.

use std::collections::{BTreeMap, VecDeque};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{
        Attribute, Desired, DesiredDigest, EngineHealth, HeldImages, ReportPosition, StorageHealth,
    },
    task::StopCause,
};

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::HostRecord,
    },
    event::{HostEvent, HostRegistered},
    model::{
        cluster::Replacing,
        host::{HostStatus, Membership},
        orders_at_starts::OrdersAtStarts,
    },
    placement::{HostOffer, HostSlot},
    state::{
        Forgettable, State, TaskSlot,
        changes::LogTo,
        counter,
        host::{Host, QUEUED_ORDERS_MAX, QueuedOrder, managed_instance_id},
    },
};

impl State {
    pub(super) fn apply_host(&mut self, event: &HostEvent, seq: u64) {
        match event {
            HostEvent::HostRegistered(registered) => self.host_registered(registered, seq),
            HostEvent::HostDrained { host, .. } => self.host_status(*host, HostStatus::Draining),
            HostEvent::HostActivated { host, .. } => self.host_status(*host, HostStatus::Active),
            HostEvent::HostDeregistered { host, at } => self.host_deregistered(*host, *at, seq),
            HostEvent::HostForgotten { host } => self.host_forgotten(*host),
            HostEvent::HostConnected { host, at } => {
                self.host_connectivity(*host, true, false, *at)
            }
            HostEvent::LostOrdersSkipped { host, to } => self.lost_orders_skipped(*host, *to, seq),
            HostEvent::HostDisconnected { host, refused, at, .. } => {
                self.host_connectivity(*host, false, *refused, *at);
            }
            HostEvent::HostSilenceChanged { host, refused, at, .. } => {
                self.host_silence_changed(*host, *refused, *at);
            }
            HostEvent::HostEngineChanged { host, engine, at } => {
                self.host_engine_changed(*host, *engine, *at);
            }
            HostEvent::HostToldAll { host, recovered } => self.host_told_all(*host, *recovered),
            HostEvent::HostStorageChanged { host, storage, at } => {
                self.host_storage_changed(*host, *storage, *at);
            }
            HostEvent::AttributesPut { host, attributes } => self.attributes_put(*host, attributes),
            HostEvent::AttributesDeleted { host, names } => self.attributes_deleted(*host, names),
            HostEvent::CustomAttributesDeleted { host, names } => {
                self.custom_attributes_deleted(*host, names)
            }
            HostEvent::StopCandidateConfirmed { host, task, generation, cause } => {
                self.stop_candidate_confirmed(*host, *task, *generation, cause, seq);
            }
        }
    }

    pub(super) fn host_registered(&mut self, registered: &HostRegistered, seq: u64) {
        self.touch(EntityKey::Host(registered.host));
        self.log(
            LogTo::host(&registered.cluster, registered.host),
            format_args!(
                "container instance registered with {} CPU units and {} MiB",
                registered.capacity.cpu.0, registered.capacity.memory.0
            ),
        );
        let Some(&slot) = self.hosts_by_id.get(&registered.host) else {
            self.insert_host(HostRecord {
                id: registered.host,
                cluster: registered.cluster.clone(),
                status: HostStatus::Active,
                capacity: registered.capacity.clone(),
                attributes: registered.attributes.clone(),
                custom_attributes: Vec::new(),
                given_attributes: registered.given.clone().unwrap_or_default(),
                tags: registered.tags.clone(),
                versions: registered.versions.clone(),
                instance_id: registered.instance_id.clone(),
                agent: registered.agent.clone(),
                registered_at: registered.at,
                connected: false,
                refused: false,
                refused_until: Timestamp::default(),
                connectivity_at: registered.at,
                engine: EngineHealth::Unknown,
                engine_at: Timestamp::default(),
                storage: StorageHealth::Unknown,
                storage_at: Timestamp::default(),
                version: 1,
                last_order: 0,
                orders_at_starts: OrdersAtStarts::since(self.epoch.counter),
                skipped_seq: 0,
                told_all: 0,
            });
            self.host_changed(registered.host, seq);
            if let Some(&slot) = self.hosts_by_id.get(&registered.host) {
                self.host_concerns_services(slot);
            }
            return;
        };
        let said_before = self.hosts[slot].instance_id.clone();
        let said_now =
            registered.instance_id.clone().or_else(|| Some(managed_instance_id(registered.host)));
        self.host_is_instance(registered.host, said_before.as_deref(), false);
        self.host_is_instance(registered.host, said_now.as_deref(), true);
        let was_registered = self.hosts[slot].is_registered();
        if let HostStatus::Inactive { since } = self.hosts[slot].status {
            self.inactive.remove(&(since, Forgettable::Host(registered.host)));
        }
        self.change_standing(slot, |host| {
            // Its silence counts from now on.
            if !host.is_registered() || host.agent.is_none() {
                host.connectivity_at = registered.at;
            }
            if !host.is_registered() {
                host.status = HostStatus::Active;
            }
            if registered.agent.is_some() {
                host.agent = registered.agent.clone();
            }
        });
        let host = &mut self.hosts[slot];
        host.capacity = registered.capacity.clone();
        host.attributes = registered.attributes.clone();
        host.tags.extend(registered.tags.clone());
        if host.storage != StorageHealth::Unknown && host.versions != registered.versions {
            // What the former program said of the disks, this one may not know to take back.
            (host.storage, host.storage_at) = (StorageHealth::Unknown, registered.at);
        }
        host.versions = registered.versions.clone();
        host.instance_id = said_now;
        if let Some(given) = &registered.given {
            host.given_attributes.clone_from(given);
        }
        host.version += 1;
        let cluster = &mut self.clusters[host.cluster];
        if was_registered {
            cluster.index.set_capacity(host.slot, &host.capacity);
            cluster.index.set_particulars(host.slot, host.particulars());
            self.reindex_eligibility(registered.host);
            self.reindex_attributes(registered.host);
        } else {
            cluster.registered_hosts += 1;
            self.enter_index(registered.host);
            self.member_may_be_idle(registered.host, registered.at);
        }
        self.host_concerns_services(slot);
        self.host_changed(registered.host, seq);
    }

    /// Changes what decides whether a host counts as silent. The one way to do so: its cluster's
    /// silent hosts follow.
    fn change_standing(&mut self, slot: HostSlot, change: impl FnOnce(&mut Host)) {
        let host = &mut self.hosts[slot];
        let before = host.silent_since();
        change(host);
        let (after, slot) = (host.silent_since(), host.slot);
        let silent = &mut self.clusters[host.cluster].silent;
        if let Some(since) = before {
            silent.remove(&(since, slot));
        }
        silent.extend(after.map(|since| (since, slot)));
    }

    pub(super) fn insert_host(&mut self, record: HostRecord) {
        let id = record.id;
        let Some(cluster) = self.cluster_slot(&record.cluster) else {
            return self.missing(format_args!("the cluster {}", record.cluster));
        };
        if self.hosts_by_id.contains_key(&id) {
            return;
        }
        let slot = self.hosts.insert_with(|slot| Host {
            id,
            slot,
            cluster,
            status: record.status,
            capacity: record.capacity,
            attributes: record.attributes,
            custom_attributes: record.custom_attributes,
            given_attributes: record.given_attributes,
            tags: record.tags,
            versions: record.versions,
            instance_id: record.instance_id.or_else(|| Some(managed_instance_id(id))),
            agent: record.agent,
            registered_at: record.registered_at,
            connected: record.connected,
            refused: record.refused,
            refused_until: record.refused_until,
            connectivity_at: record.connectivity_at,
            heard_since: None,
            engine: record.engine,
            engine_at: record.engine_at,
            storage: record.storage,
            storage_at: record.storage_at,
            version: record.version,
            tasks: BTreeMap::new(),
            used_gpus: Vec::new(),
            running_tasks: 0,
            pending_tasks: 0,
            own_tasks: 0,
            digest: DesiredDigest::default(),
            last_order: record.last_order,
            orders_at_starts: record.orders_at_starts,
            skipped_seq: record.skipped_seq,
            told_all: record.told_all,
            queue: VecDeque::new(),
            changed_seq: 0,
            reports_taken: None,
            images_taken: None,
        });
        self.hosts_by_id.insert(id, slot);
        let host = &mut self.hosts[slot];
        let registered_at = host.registered_at;
        if let HostStatus::Inactive { since } = host.status {
            self.inactive.insert((since, Forgettable::Host(id)));
        }
        let registered = host.is_registered();
        let instance = host.instance_id.clone().filter(|_| registered);
        let cluster = &mut self.clusters[cluster];
        cluster.hosts.insert(id, host.slot);
        if host.is_registered() {
            cluster.registered_hosts += 1;
        }
        if let Some(since) = host.silent_since() {
            cluster.silent.insert((since, host.slot));
        }
        self.enter_index(id);
        self.host_is_instance(id, instance.as_deref(), true);
        self.member_may_be_idle(id, registered_at);
    }

    pub(super) fn host_status(&mut self, id: HostId, status: HostStatus) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let tasks: Vec<TaskSlot> = self.hosts[slot].tasks.values().copied().collect();
        tasks.iter().for_each(|task| self.leave_counts(*task));
        self.change_standing(slot, |host| host.status = status);
        self.hosts[slot].version += 1;
        tasks.iter().for_each(|task| self.enter_counts(*task));
        let host = &self.hosts[slot];
        let to = LogTo::host(&self.clusters[host.cluster].name, id);
        self.log(
            to,
            match status {
                HostStatus::Active => "container instance is ACTIVE",
                HostStatus::Draining => "container instance is DRAINING",
                HostStatus::Inactive { .. } => "container instance is INACTIVE",
            },
        );
        self.reindex_eligibility(id);
        self.host_concerns_services(slot);
    }

    pub(super) fn host_deregistered(&mut self, id: HostId, at: Timestamp, seq: u64) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        if !self.hosts[slot].is_registered() {
            return;
        }
        self.host_status(id, HostStatus::Inactive { since: at });
        self.touch(EntityKey::Member(id));
        self.inactive.insert((at, Forgettable::Host(id)));
        self.change_standing(slot, |host| {
            host.connected = false;
            host.connectivity_at = at;
        });
        let host = &mut self.hosts[slot];
        host.heard_since = None;
        host.queue.clear();
        self.unheard.remove(&host.slot);
        let cluster = &mut self.clusters[host.cluster];
        counter::count(&mut cluster.registered_hosts, -1);
        cluster.index.remove(host.slot);
        host.images_taken = None;
        let membership = self.members.entry(id).or_insert(Membership {
            cluster: Some(cluster.name.clone()),
            joined_at: at,
            revoked: true,
            keys: Vec::new(),
        });
        membership.revoked = true;
        self.member_may_be_idle(id, at);
        self.host_changed(id, seq);
        let instance = self.hosts[slot].instance_id.clone();
        self.host_is_instance(id, instance.as_deref(), false);
    }

    pub(super) fn host_forgotten(&mut self, id: HostId) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        if self.hosts[slot].is_registered() || !self.hosts[slot].tasks.is_empty() {
            return;
        }
        self.hosts_by_id.remove(&id);
        let host = self.hosts.remove(slot);
        if let HostStatus::Inactive { since } = host.status {
            self.inactive.remove(&(since, Forgettable::Host(id)));
        }
        let cluster = &mut self.clusters[host.cluster];
        cluster.hosts.remove(&id);
        self.forget_due_host(slot);
    }

    pub(super) fn host_connectivity(
        &mut self,
        id: HostId,
        connected: bool,
        refused: bool,
        at: Timestamp,
    ) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.change_standing(slot, |host| {
            host.connected = connected;
            host.connectivity_at = at;
        });
        let host = &mut self.hosts[slot];
        if connected {
            self.clusters[host.cluster].last_return = at;
        }
        host.heard_since = None;
        host.refused = refused;
        host.refused_until = Timestamp::default();
        host.version += 1;
        let to = LogTo::host(&self.clusters[host.cluster].name, id);
        let cluster = host.cluster;
        if connected && self.clusters[cluster].replacing != Replacing::Normal {
            self.silent_hosts_are_due(cluster);
        }
        self.log(to, if connected { "agent connected" } else { "agent disconnected" });
        self.reindex_eligibility(id);
        self.host_concerns_services(slot);
    }

    pub(super) fn host_silence_changed(&mut self, id: HostId, refused: bool, at: Timestamp) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.touch(EntityKey::Host(id));
        let host = &mut self.hosts[slot];
        if host.refused && !refused {
            host.refused_until = at;
        }
        host.refused = refused;
        let to = LogTo::host(&self.clusters[host.cluster].name, id);
        self.log(
            to,
            match refused {
                true => "the host answers, but no agent listens: it may be restarting",
                false => "the host does not answer any more",
            },
        );
        self.host_is_due(slot);
        let services = self.services_on(slot);
        services.into_iter().for_each(|service| self.service_is_due(service));
    }

    pub(super) fn host_engine_changed(&mut self, id: HostId, engine: EngineHealth, at: Timestamp) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.touch(EntityKey::Host(id));
        let host = &mut self.hosts[slot];
        (host.engine, host.engine_at) = (engine, at);
        if engine == EngineHealth::Silent {
            host.heard_since = None;
        }
        host.version += 1;
        let to = LogTo::host(&self.clusters[host.cluster].name, id);
        self.log(
            to,
            match engine {
                EngineHealth::Silent => {
                    "the container engine does not answer: no tasks are placed here until it does"
                }
                EngineHealth::Answers | EngineHealth::Unknown => "the container engine answers",
            },
        );
        self.reindex_eligibility(id);
        self.host_concerns_services(slot);
    }

    pub(super) fn host_storage_changed(
        &mut self,
        id: HostId,
        storage: StorageHealth,
        at: Timestamp,
    ) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.touch(EntityKey::Host(id));
        let host = &mut self.hosts[slot];
        (host.storage, host.storage_at) = (storage, at);
        host.version += 1;
        let to = LogTo::host(&self.clusters[host.cluster].name, id);
        self.log(
            to,
            match storage {
                StorageHealth::Full => {
                    "the disks have no room for new tasks: none are placed here until they have"
                }
                StorageHealth::Unwritable => {
                    "the agent's ledger cannot be written: no tasks are placed here until it can"
                }
                StorageHealth::Ready | StorageHealth::Unknown => {
                    "the disks have room for new tasks"
                }
            },
        );
        self.reindex_eligibility(id);
        self.host_concerns_services(slot);
    }

    pub(super) fn attributes_put(&mut self, id: HostId, attributes: &[Attribute]) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        for attribute in attributes {
            host.custom_attributes.retain(|a| a.name != attribute.name);
            host.custom_attributes.push(attribute.clone());
        }
        host.custom_attributes.sort();
        host.version += 1;
        self.reindex_attributes(id);
        self.host_concerns_services(slot);
    }

    /// Deletes attributes as earlier programs did: registered ones too.
    pub(super) fn attributes_deleted(&mut self, id: HostId, names: &[String]) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        host.attributes.retain(|a| !names.contains(&a.name));
        host.given_attributes.retain(|a| !names.contains(&a.name));
        self.custom_attributes_deleted(id, names);
    }

    pub(super) fn custom_attributes_deleted(&mut self, id: HostId, names: &[String]) {
        self.touch(EntityKey::Host(id));
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        host.custom_attributes.retain(|a| !names.contains(&a.name));
        host.version += 1;
        self.reindex_attributes(id);
        self.host_concerns_services(slot);
    }

    pub(super) fn stop_candidate_confirmed(
        &mut self,
        host: HostId,
        task: TaskId,
        generation: u32,
        cause: &StopCause,
        seq: u64,
    ) {
        let Some(&slot) = self.hosts_by_id.get(&host) else { return };
        self.give_order(slot, task, generation, Some(cause.clone()), seq);
    }

    /// What is queued below `to` reaches the agent by a manifest: it takes those numbers for old.
    pub(super) fn lost_orders_skipped(&mut self, host: HostId, to: u64, seq: u64) {
        let Some(&slot) = self.hosts_by_id.get(&host) else { return };
        self.touch(EntityKey::Host(host));
        let start = self.epoch.counter;
        let to_skip = &mut self.hosts[slot];
        to_skip.last_order = to_skip.last_order.max(to);
        to_skip.orders_at_starts.skip(start, to);
        to_skip.skipped_seq = seq;
        to_skip.queue.clear();
        self.host_changed(host, seq);
    }

    /// Numbers an order and queues it for the host's next poll.
    pub(super) fn give_order(
        &mut self,
        slot: HostSlot,
        task: TaskId,
        generation: u32,
        stop: Option<StopCause>,
        seq: u64,
    ) {
        let id = self.hosts[slot].id;
        self.touch(EntityKey::Host(id));
        let host = &mut self.hosts[slot];
        // A journal of an earlier release may hold the largest number, which a host had claimed.
        host.last_order = host.last_order.saturating_add(1);
        if host.queue.len() == QUEUED_ORDERS_MAX {
            host.queue.pop_front();
        }
        host.queue.push_back(QueuedOrder { order: host.last_order, task, generation, stop });
        self.host_changed(id, seq);
    }

    /// Replaces or removes what the digest counts for one task.
    pub(super) fn desire(
        &mut self,
        slot: HostSlot,
        task: TaskId,
        generation: u32,
        from: Option<Desired>,
        to: Option<Desired>,
    ) {
        let digest = &mut self.hosts[slot].digest;
        if let Some(desired) = from {
            digest.remove(task, generation, desired);
        }
        if let Some(desired) = to {
            digest.add(task, generation, desired);
        }
    }

    /// The agent's ledger holds every order up to `order`: they need not be sent again.
    pub fn orders_taken(&mut self, id: HostId, order: u64) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let queue = &mut self.hosts[slot].queue;
        while queue.front().is_some_and(|queued| queued.order <= order) {
            queue.pop_front();
        }
    }

    /// Every report up to `position` was taken and may be acknowledged once this is durable.
    pub fn reports_taken(&mut self, id: HostId, position: ReportPosition, seq: u64) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        let before = host.reports_taken.replace(position);
        if before.is_some_and(|before| before.session != position.session) {
            host.heard_since = None;
        }
        self.host_changed(id, seq);
    }

    /// The host's tasks are as its agent said: they may count again.
    pub fn host_heard(&mut self, id: HostId, at: Timestamp) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.unheard.remove(&slot);
        self.hosts[slot].heard_since.get_or_insert(at);
        self.host_is_due(slot);
        let services = self.services_on(slot);
        services.into_iter().for_each(|service| self.service_is_due(service));
    }

    /// What it runs and this journal does not know is not taken back from it any more.
    pub(super) fn host_told_all(&mut self, id: HostId, recovered: u64) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        self.touch(EntityKey::Host(id));
        self.hosts[slot].told_all = recovered;
    }

    /// A new coordinator, whose epoch has this counter, has heard nobody yet.
    pub(super) fn nobody_is_heard(&mut self, start: u64) {
        let mut grown = Vec::new();
        for (&id, &slot) in &self.hosts_by_id {
            let host = &mut self.hosts[slot];
            host.heard_since = None;
            if host.is_registered() && host.agent.is_some() {
                self.unheard.insert(slot);
            }
            if host.orders_at_starts.have_grown(host.last_order) {
                grown.push((id, slot));
            }
        }
        for (id, slot) in grown {
            self.touch(EntityKey::Host(id));
            let host = &mut self.hosts[slot];
            host.orders_at_starts.begin(start, host.last_order);
        }
    }

    /// Time since which a host is heard without a pause, by an agent that has looked at its tasks;
    /// `None` while it is not.
    pub fn heard_since(&self, slot: HostSlot) -> Option<Timestamp> {
        self.host_at(slot).heard_since
    }

    /// Whether this coordinator still waits to hear of the tasks of a host that an earlier one knew.
    pub fn is_unheard(&self, slot: HostSlot) -> bool {
        self.unheard.contains(&slot)
    }

    pub fn unheard_hosts(&self) -> impl Iterator<Item = &Host> {
        self.unheard.iter().map(|slot| self.host_at(*slot))
    }

    pub fn unheard_len(&self) -> usize {
        self.unheard.len()
    }

    /// The images that a host holds: placement prefers such hosts among equally good ones.
    pub fn images_held(&mut self, id: HostId, images: &HeldImages) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        if host.is_registered() {
            host.images_taken = Some(images.position);
            self.clusters[host.cluster].index.set_images(host.slot, &images.references);
        }
    }

    pub(super) fn host_changed(&mut self, id: HostId, seq: u64) {
        let Some(&slot) = self.hosts_by_id.get(&id) else { return };
        let host = &mut self.hosts[slot];
        host.changed_seq = host.changed_seq.max(seq);
        if !self.replaying && self.changes.hosts.last() != Some(&id) {
            self.changes.hosts.push(id);
        }
    }

    /// Placement knows registered hosts only.
    fn enter_index(&mut self, id: HostId) {
        let host = &self.hosts[self.hosts_by_id[&id]];
        let index = &self.clusters[host.cluster].index;
        if !host.is_registered() || index.remaining(host.slot).is_some() {
            return;
        }
        let attributes: Vec<Attribute> = host.all_attributes().cloned().collect();
        let offer = HostOffer {
            capacity: &host.capacity,
            attributes: &attributes,
            eligibility: host.eligibility(),
            particulars: host.particulars(),
        };
        let index = &mut self.clusters[host.cluster].index;
        index.insert(host.slot, offer);
        index.set_running(host.slot, host.running_tasks);
    }

    fn reindex_attributes(&mut self, id: HostId) {
        let host = &self.hosts[self.hosts_by_id[&id]];
        let attributes: Vec<Attribute> = host.all_attributes().cloned().collect();
        self.clusters[host.cluster].index.set_attributes(host.slot, &attributes);
    }

    fn reindex_eligibility(&mut self, id: HostId) {
        let host = &self.hosts[self.hosts_by_id[&id]];
        let (slot, eligibility) = (host.slot, host.eligibility());
        self.clusters[host.cluster].index.set_eligibility(slot, eligibility);
        if eligibility.is_ready() {
            self.host_offers_room(slot);
        }
    }
}

impl Host {
    pub(super) fn record(&self, state: &State) -> HostRecord {
        HostRecord {
            id: self.id,
            cluster: state.cluster_at(self.cluster).name.clone(),
            status: self.status,
            capacity: self.capacity.clone(),
            attributes: self.attributes.clone(),
            custom_attributes: self.custom_attributes.clone(),
            given_attributes: self.given_attributes.clone(),
            tags: self.tags.clone(),
            versions: self.versions.clone(),
            instance_id: self.instance_id.clone(),
            agent: self.agent.clone(),
            registered_at: self.registered_at,
            connected: self.connected,
            refused: self.refused,
            refused_until: self.refused_until,
            connectivity_at: self.connectivity_at,
            engine: self.engine,
            engine_at: self.engine_at,
            storage: self.storage,
            storage_at: self.storage_at,
            version: self.version,
            last_order: self.last_order,
            orders_at_starts: self.orders_at_starts.clone(),
            skipped_seq: self.skipped_seq,
            told_all: self.told_all,
        }
    }
}

impl Entity for kind::Host {
    fn keys(state: &State) -> Vec<HostId> {
        state.hosts.iter().map(|host| host.id).collect()
    }

    fn row(state: &State, host: &HostId) -> Option<HostRecord> {
        state.host(*host).map(|host| host.record(state))
    }

    fn restore(state: &mut State, row: HostRecord) {
        state.insert_host(row);
    }
}
