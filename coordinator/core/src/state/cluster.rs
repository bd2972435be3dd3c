//! Clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};

use super::{Due, ServiceSlot, TaskSlot, WaitingSlot, due::Rounds};
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
    /// Index of the hosts on which the cluster's tasks can be placed.
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
    /// Those of `services` that are DRAINING.
    pub draining_services: BTreeSet<ServiceSlot>,
    /// Deleted services, still described for a while.
    pub inactive_services: BTreeMap<ServiceName, ServiceSlot>,
    /// Those of `services` that have one task on every host.
    pub daemons: BTreeSet<ServiceSlot>,
    /// Those of `services` that are no daemons.
    pub replicas: BTreeSet<ServiceSlot>,
    /// Tasks that have no host yet.
    pub waiting_tasks: BTreeMap<TaskId, WaitingSlot>,
    /// Services and launches that wait for room on some host; volatile.
    pub waiting: BTreeSet<Due>,
    /// The last of `waiting` that was woken: the next round continues after it.
    pub(super) woken: Option<Due>,
    /// The cluster's services that are yet to be looked at for something that concerns all of them;
    /// volatile.
    pub(super) rounds: Rounds,
    /// Connected hosts that fell silent, by since when.
    pub silent: BTreeSet<(Timestamp, HostSlot)>,
    pub replacing: Replacing,
    /// When a host was last heard again; volatile.
    pub last_return: Timestamp,
    /// Number of tasks and services that use each of the cluster's capacity providers.
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

/// Shares one text among many holders.
pub(super) fn shared(text: &str) -> Arc<str> {
    text.into()
}
