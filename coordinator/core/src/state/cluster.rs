//! Clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};

use super::{
    ClusterSlot, Due, EntityKey, Forgettable, ServiceSlot, State, TaskSlot, WaitingSlot,
    dirty::LogTo,
    due::Rounds,
    entity::{Entity, kind},
};
use crate::{
    checkpoint::record::ClusterRecord,
    model::{
        cluster::{ClusterSettings, ClusterStatus, Replacing},
        name::{CapacityProviderName, ClusterName, ServiceName},
        tags::Tags,
    },
    placement::{ClusterIndex, HostSlot},
};

pub struct Cluster {
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub settings: ClusterSettings,
    pub tags: Tags,
    /// Where its tasks can go.
    pub index: ClusterIndex,
    /// Every container instance, INACTIVE ones included, in the order of their ids.
    pub hosts: BTreeMap<HostId, HostSlot>,
    /// Every task that has not stopped, in the order of their ids.
    pub tasks: BTreeMap<TaskId, TaskSlot>,
    pub running_tasks: u32,
    pub pending_tasks: u32,
    /// ACTIVE and DRAINING container instances: ECS's registeredContainerInstancesCount.
    pub registered_hosts: u32,
    /// Every service that is ACTIVE or DRAINING.
    pub services: BTreeMap<ServiceName, ServiceSlot>,
    /// Of `services`, those that are DRAINING.
    pub draining_services: BTreeSet<ServiceSlot>,
    /// Deleted services, still described for a while.
    pub inactive_services: BTreeMap<ServiceName, ServiceSlot>,
    /// Of `services`, those with one task on every host.
    pub daemons: BTreeSet<ServiceSlot>,
    /// Of `services`, the others.
    pub replicas: BTreeSet<ServiceSlot>,
    /// Tasks that have no host yet.
    pub waiting_tasks: BTreeMap<TaskId, WaitingSlot>,
    /// Services and launches that wait for room on some host; volatile.
    pub waiting: BTreeSet<Due>,
    /// The last of `waiting` that was woken: the next round goes on after it.
    pub(super) woken: Option<Due>,
    /// Its services that are yet to be looked at for something that concerns all of them; volatile.
    pub(super) rounds: Rounds,
    /// Connected hosts that fell silent, by since when.
    pub silent: BTreeSet<(Timestamp, HostSlot)>,
    pub replacing: Replacing,
    /// When a host was last heard again; volatile.
    pub last_return: Timestamp,
    /// Tasks and services that go by each of its capacity providers.
    pub provider_uses: BTreeMap<CapacityProviderName, u32>,
    /// Services whose tasks wait for hosts of a capacity provider; volatile.
    pub wanting: BTreeSet<ServiceSlot>,
}

impl Cluster {
    pub fn is_active(&self) -> bool {
        matches!(self.status, ClusterStatus::Active)
    }

    /// ECS's pendingTasksCount, which counts those without a host too.
    pub fn all_pending_tasks(&self) -> u32 {
        self.pending_tasks + self.waiting_tasks.len() as u32
    }

    pub(super) fn new(record: ClusterRecord) -> Self {
        Cluster {
            name: record.name,
            status: record.status,
            settings: record.settings,
            tags: record.tags,
            index: ClusterIndex::default(),
            hosts: BTreeMap::new(),
            tasks: BTreeMap::new(),
            running_tasks: 0,
            pending_tasks: 0,
            registered_hosts: 0,
            services: BTreeMap::new(),
            draining_services: BTreeSet::new(),
            inactive_services: BTreeMap::new(),
            daemons: BTreeSet::new(),
            replicas: BTreeSet::new(),
            waiting_tasks: BTreeMap::new(),
            waiting: BTreeSet::new(),
            woken: None,
            rounds: Rounds::default(),
            silent: BTreeSet::new(),
            replacing: record.replacing,
            last_return: Timestamp::default(),
            provider_uses: BTreeMap::new(),
            wanting: BTreeSet::new(),
        }
    }

    pub(super) fn record(&self) -> ClusterRecord {
        ClusterRecord {
            name: self.name.clone(),
            status: self.status,
            settings: self.settings.clone(),
            tags: self.tags.clone(),
            replacing: self.replacing,
        }
    }
}

impl State {
    pub(super) fn cluster_created(
        &mut self,
        name: &ClusterName,
        settings: &ClusterSettings,
        tags: &Tags,
        _at: Timestamp,
    ) {
        self.touch(EntityKey::Cluster(name.clone()));
        self.log(LogTo::cluster(name), "cluster created");
        if let Some(&slot) = self.clusters_by_name.get(name) {
            let cluster = &mut self.clusters[slot];
            if let ClusterStatus::Inactive { since } = cluster.status {
                self.inactive.remove(&(since, Forgettable::Cluster(name.clone())));
            }
            cluster.status = ClusterStatus::Active;
            cluster.settings = settings.clone();
            cluster.tags = tags.clone();
            return;
        }
        self.insert_cluster(ClusterRecord {
            name: name.clone(),
            status: ClusterStatus::Active,
            settings: settings.clone(),
            tags: tags.clone(),
            replacing: Replacing::Normal,
        });
    }

    pub(super) fn insert_cluster(&mut self, record: ClusterRecord) {
        let name = record.name.clone();
        if let ClusterStatus::Inactive { since } = record.status {
            self.inactive.insert((since, Forgettable::Cluster(name.clone())));
        }
        let slot = self.clusters.insert(Cluster::new(record));
        self.clusters_by_name.insert(name, slot);
    }

    pub(super) fn cluster_updated(&mut self, name: &ClusterName, settings: &ClusterSettings) {
        self.touch(EntityKey::Cluster(name.clone()));
        let Some(slot) = self.cluster_slot(name) else { return };
        self.log(LogTo::cluster(name), "cluster updated");
        let before = std::mem::replace(&mut self.clusters[slot].settings, settings.clone());
        if before.options != settings.options || before.capacity != settings.capacity {
            self.cluster_concerns_services(slot);
            // How long they may be silent is one of the options.
            self.silent_hosts_are_due(slot);
        }
    }

    pub(super) fn replacing_paused(&mut self, name: &ClusterName, lost_hosts: u32, hosts: u32) {
        self.touch(EntityKey::Cluster(name.clone()));
        let Some(slot) = self.cluster_slot(name) else { return };
        self.log(
            LogTo::cluster(name),
            format_args!(
                "ALARM: {lost_hosts} of {hosts} container instances were lost at once. Their tasks are not replaced until they are back, or until you run: longshore-coordinator replace-lost-tasks --cluster {name}"
            ),
        );
        // Nobody has to look: what is replaced is asked at each look.
        self.clusters[slot].replacing = Replacing::Paused;
    }

    pub(super) fn replacing_resumed(&mut self, name: &ClusterName, overridden: bool) {
        self.touch(EntityKey::Cluster(name.clone()));
        let Some(slot) = self.cluster_slot(name) else { return };
        self.log(LogTo::cluster(name), "the tasks of lost container instances are replaced again");
        self.clusters[slot].replacing =
            if overridden { Replacing::Overridden } else { Replacing::Normal };
        // Only services that lost tasks waited for this.
        for host in self.silent_hosts_are_due(slot) {
            self.services_on(host).into_iter().for_each(|service| self.service_is_due(service));
        }
    }

    pub(super) fn silent_hosts_are_due(&mut self, cluster: ClusterSlot) -> Vec<HostSlot> {
        let silent = &self.clusters[cluster].silent;
        let silent: Vec<HostSlot> = silent.iter().map(|(_, host)| *host).collect();
        silent.iter().for_each(|host| self.host_is_due(*host));
        silent
    }

    pub(super) fn cluster_deleted(&mut self, name: &ClusterName, at: Timestamp) {
        self.touch(EntityKey::Cluster(name.clone()));
        let Some(slot) = self.cluster_slot(name) else { return };
        if !self.clusters[slot].is_active() {
            return;
        }
        self.log(LogTo::cluster(name), "cluster deleted");
        self.clusters[slot].status = ClusterStatus::Inactive { since: at };
        self.inactive.insert((at, Forgettable::Cluster(name.clone())));
    }

    pub(super) fn cluster_forgotten(&mut self, name: &ClusterName) {
        self.touch(EntityKey::Cluster(name.clone()));
        if self.cluster_is_referred_to(name) {
            return;
        }
        if let Some(slot) = self.clusters_by_name.remove(name) {
            self.clusters_with_waiting.remove(&slot);
            self.clusters_with_rounds.remove(&slot);
            let cluster = self.clusters.remove(slot);
            self.tallies.forget(name);
            if let ClusterStatus::Inactive { since } = cluster.status {
                self.inactive.remove(&(since, Forgettable::Cluster(name.clone())));
            }
        }
    }

    pub(super) fn cluster_slot(&self, name: &ClusterName) -> Option<ClusterSlot> {
        self.clusters_by_name.get(name).copied()
    }
}

/// Shares one text among many holders.
pub(super) fn shared(text: &str) -> Arc<str> {
    text.into()
}

impl Entity for kind::Cluster {
    type Key = ClusterName;
    type Row = ClusterRecord;

    fn id(name: &ClusterName) -> Vec<u8> {
        name.as_str().into()
    }

    fn keys(state: &State) -> Vec<ClusterName> {
        state.clusters_by_name.keys().cloned().collect()
    }

    fn row(state: &State, name: &ClusterName) -> Option<ClusterRecord> {
        state.cluster(name.as_str()).map(Cluster::record)
    }

    fn restore(state: &mut State, row: ClusterRecord) {
        state.insert_cluster(row);
    }
}
