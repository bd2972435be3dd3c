//! What events do to clusters, and their rows.

use longshore_common::clock::Timestamp;

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::ClusterRecord,
    },
    event::ClusterEvent,
    model::{
        cluster::{ClusterSettings, ClusterStatus, Replacing},
        name::ClusterName,
        tags::Tags,
    },
    placement::HostSlot,
    state::{ClusterSlot, Forgettable, State, changes::LogTo, cluster::Cluster},
};

impl State {
    pub(super) fn apply_cluster(&mut self, event: &ClusterEvent) {
        match event {
            ClusterEvent::ClusterCreated { name, settings, tags, at } => {
                self.cluster_created(name, settings, tags, *at);
            }
            ClusterEvent::ClusterUpdated { name, settings } => self.cluster_updated(name, settings),
            ClusterEvent::ClusterDeleted { name, at } => self.cluster_deleted(name, *at),
            ClusterEvent::ClusterForgotten { name } => self.cluster_forgotten(name),
            ClusterEvent::ReplacingPaused { cluster, lost_hosts, hosts, .. } => {
                self.replacing_paused(cluster, *lost_hosts, *hosts);
            }
            ClusterEvent::ReplacingResumed { cluster, overridden, .. } => {
                self.replacing_resumed(cluster, *overridden);
            }
        }
    }

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

impl Entity for kind::Cluster {
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
