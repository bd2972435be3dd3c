//! What placement knows of one cluster's hosts, kept up to date event by event.

use std::collections::BTreeMap;

use longshore_common::{
    protocol::Attribute,
    resources::{Capacity, Demand, HostPort},
};

use super::{GroupKey, HostSlot};

/// The hosts of one cluster. Part of the coordinator's state: `apply` keeps it, `decide` asks it.
#[derive(Clone, Debug, Default)]
pub struct ClusterIndex {
    pub(super) hosts: BTreeMap<HostSlot, Host>,
}

#[derive(Clone, Copy, Debug)]
pub struct HostOffer<'a> {
    pub capacity: &'a Capacity,
    pub attributes: &'a [Attribute],
    pub eligibility: Eligibility,
}

/// Whether a host may be given tasks at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligibility {
    /// Its status is ACTIVE.
    pub active: bool,
    pub connected: bool,
}

/// What a host has left for tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// CPU units; negative when the capacity was lowered under running tasks.
    pub cpu: i64,
    /// MiB, otherwise like `cpu`.
    pub memory: i64,
    /// Reserved or in use by tasks, sorted.
    pub ports: Vec<HostPort>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    capacity: Capacity,
    pub(super) attributes: Vec<Attribute>,
    pub(super) eligibility: Eligibility,
    pub(super) remaining: Remaining,
    /// Of tasks, sorted; twice when two tasks hold it.
    used_ports: Vec<HostPort>,
    pub(super) groups: BTreeMap<GroupKey, u32>,
}

impl ClusterIndex {
    pub fn new() -> Self {
        Self::default()
    }

    /// Hosts in the cluster, eligible or not.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Adds a host that has no tasks yet. The slot must be free.
    pub fn insert(&mut self, slot: HostSlot, offer: HostOffer<'_>) {
        let mut host = Host {
            capacity: Capacity::default(),
            attributes: offer.attributes.to_vec(),
            eligibility: offer.eligibility,
            remaining: Remaining::default(),
            used_ports: Vec::new(),
            groups: BTreeMap::new(),
        };
        host.set_capacity(offer.capacity);
        let before = self.hosts.insert(slot, host);
        assert!(before.is_none(), "{slot:?} is in the cluster already");
    }

    /// Forgets a host and all that was reserved there. Unknown slots are ignored.
    pub fn remove(&mut self, slot: HostSlot) {
        self.hosts.remove(&slot);
    }

    pub fn set_attributes(&mut self, slot: HostSlot, attributes: &[Attribute]) {
        self.host_mut(slot).attributes = attributes.to_vec();
    }

    /// What tasks hold stays reserved, be it more than the host now has.
    pub fn set_capacity(&mut self, slot: HostSlot, capacity: &Capacity) {
        self.host_mut(slot).set_capacity(capacity);
    }

    pub fn set_eligibility(&mut self, slot: HostSlot, eligibility: Eligibility) {
        self.host_mut(slot).eligibility = eligibility;
    }

    /// Takes what one task of `group` needs, whether or not it fits.
    pub fn reserve(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        let host = self.host_mut(slot);
        host.remaining.cpu -= i64::from(demand.cpu.0);
        host.remaining.memory -= i64::from(demand.memory.0);
        host.used_ports.extend_from_slice(&demand.ports);
        host.used_ports.sort_unstable();
        host.refresh_ports();
        *host.groups.entry(group).or_default() += 1;
    }

    /// Gives back what [`ClusterIndex::reserve`] took. Nothing happens when the host was removed.
    pub fn release(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        let Some(host) = self.hosts.get_mut(&slot) else { return };
        host.remaining.cpu += i64::from(demand.cpu.0);
        host.remaining.memory += i64::from(demand.memory.0);
        for port in &demand.ports {
            if let Ok(at) = host.used_ports.binary_search(port) {
                host.used_ports.remove(at);
            }
        }
        host.refresh_ports();
        if let Some(count) = host.groups.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                host.groups.remove(&group);
            }
        }
    }

    /// What a host of the cluster has left.
    pub fn remaining(&self, slot: HostSlot) -> Option<&Remaining> {
        self.hosts.get(&slot).map(|host| &host.remaining)
    }

    fn host_mut(&mut self, slot: HostSlot) -> &mut Host {
        self.hosts.get_mut(&slot).unwrap_or_else(|| panic!("{slot:?} is not in the cluster"))
    }
}

impl Host {
    fn set_capacity(&mut self, capacity: &Capacity) {
        self.remaining.cpu += i64::from(capacity.cpu.0) - i64::from(self.capacity.cpu.0);
        self.remaining.memory += i64::from(capacity.memory.0) - i64::from(self.capacity.memory.0);
        self.capacity = capacity.clone();
        self.refresh_ports();
    }

    fn refresh_ports(&mut self) {
        let ports = &mut self.remaining.ports;
        ports.clear();
        ports.extend_from_slice(&self.capacity.reserved_ports);
        ports.extend_from_slice(&self.used_ports);
        ports.sort_unstable();
        ports.dedup();
    }
}
