//! Clusters.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};

use super::{EntityKey, Forgettable, State, TaskSlot, dirty::LogTo};
use crate::{
    placement::{ClusterIndex, HostSlot},
    state_machine::{
        command::{ClusterSettings, Tags},
        name::ClusterName,
        record::ClusterRecord,
    },
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ClusterStatus {
    Active,
    /// Deleted; still described for a while.
    Inactive {
        since: Timestamp,
    },
}

impl Cluster {
    pub fn is_active(&self) -> bool {
        matches!(self.status, ClusterStatus::Active)
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
        }
    }

    pub(super) fn record(&self) -> ClusterRecord {
        ClusterRecord {
            name: self.name.clone(),
            status: self.status,
            settings: self.settings.clone(),
            tags: self.tags.clone(),
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
        self.log(LogTo::cluster(name), "cluster updated");
        self.cluster_mut(name).settings = settings.clone();
    }

    pub(super) fn cluster_deleted(&mut self, name: &ClusterName, at: Timestamp) {
        self.touch(EntityKey::Cluster(name.clone()));
        self.log(LogTo::cluster(name), "cluster deleted");
        self.cluster_mut(name).status = ClusterStatus::Inactive { since: at };
        self.inactive.insert((at, Forgettable::Cluster(name.clone())));
    }

    pub(super) fn cluster_forgotten(&mut self, name: &ClusterName) {
        self.touch(EntityKey::Cluster(name.clone()));
        if let Some(slot) = self.clusters_by_name.remove(name) {
            let cluster = self.clusters.remove(slot);
            if let ClusterStatus::Inactive { since } = cluster.status {
                self.inactive.remove(&(since, Forgettable::Cluster(name.clone())));
            }
        }
    }

    pub(super) fn cluster_mut(&mut self, name: &ClusterName) -> &mut Cluster {
        let slot = self.clusters_by_name[name];
        &mut self.clusters[slot]
    }

    pub(super) fn cluster_slot(&self, name: &ClusterName) -> u32 {
        self.clusters_by_name[name]
    }
}

/// Shares one text among many holders.
pub(super) fn shared(text: &str) -> Arc<str> {
    text.into()
}
