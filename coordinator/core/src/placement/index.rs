//! What placement knows of one cluster's hosts, kept up to date event by event.
//!
//! Every change costs what it changes (one host, its ports, its attributes), never O(hosts) or
//! O(tasks). Beside each host's own figures stand the same facts turned round, as sets of hosts:
//! who is active, who has an attribute, a port taken, so much left, tasks of a group.

use std::sync::Arc;

use longshore_common::{
    index::FastMap,
    limits::IMAGES_REPORTED_MAX,
    protocol::Attribute,
    resources::{Capacity, Demand, HostPort},
};

use super::{
    GroupKey, HostSlot, Resource,
    attributes::{Attributes, Held},
    bits::Bits,
    column::Column,
    groups::{GroupNames, Groups},
    particulars::{AllParticulars, Holders, Particulars},
};
use crate::query::Version;

/// The hosts of one cluster. Part of the coordinator's state: `apply` keeps it, `decide` asks it.
#[derive(Clone, Debug, Default)]
pub struct ClusterIndex {
    /// The caller's slots are shared by all clusters; rows are dense in this one.
    rows: FastMap<HostSlot, u32>,
    hosts: Vec<Option<Host>>,
    free_rows: Vec<u32>,
    pub(super) present: Bits,
    pub(super) active: Bits,
    pub(super) connected: Bits,
    /// Hosts whose container engine answers, as far as is known.
    pub(super) engine_answers: Bits,
    /// Hosts whose disks have room for new tasks, as far as is known.
    pub(super) has_room: Bits,
    /// Active, connected, with an engine that answers and with room.
    pub(super) ready: Bits,
    pub(super) attributes: Attributes,
    /// Hosts on which the port is reserved or in use.
    pub(super) ports: FastMap<HostPort, Bits>,
    pub(super) cpu: Column,
    pub(super) memory: Column,
    pub(super) gpus: Column,
    pub(super) groups: Groups,
    /// Hosts with any task.
    pub(super) busy: Bits,
    pub(super) particulars: AllParticulars,
    /// Hosts by the names of the images that they hold.
    pub(super) images: Holders<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
pub struct HostOffer<'a> {
    pub capacity: &'a Capacity,
    pub attributes: &'a [Attribute],
    pub eligibility: Eligibility,
    pub particulars: Particulars<'a>,
}

/// Whether a host may be given tasks at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eligibility {
    /// Whether the host's status is ACTIVE.
    pub active: bool,
    pub connected: bool,
    /// False while its agent says that the container engine does not answer.
    pub engine_answers: bool,
    /// False while its agent says that the disks have no room for new tasks.
    pub has_room: bool,
}

impl Eligibility {
    pub fn is_ready(self) -> bool {
        self.active && self.connected && self.engine_answers && self.has_room
    }
}

/// What a host has left for tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// CPU units; negative when the capacity was lowered under running tasks.
    pub cpu: i64,
    /// MiB, otherwise like `cpu`.
    pub memory: i64,
    /// How many, otherwise like `cpu`.
    pub gpus: i64,
    /// Reserved or in use by tasks, sorted.
    pub ports: Vec<HostPort>,
}

/// What [`ClusterIndex::facts`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    pub ready: bool,
    pub active: bool,
    pub connected: bool,
    pub engine_answers: bool,
    pub has_room: bool,
    pub busy: bool,
    pub remaining: Remaining,
    /// CPU units, MiB and GPUs by which placement finds it.
    pub free: [u32; 3],
    /// Ports by which placement leaves it out.
    pub ports: Vec<HostPort>,
    /// Ports that tasks hold, sorted.
    pub used_ports: Vec<HostPort>,
    pub running: u32,
    pub registered_at_s: u32,
    pub instance_id: Option<Arc<str>>,
    /// Tasks by the names of their groups.
    pub groups: Vec<(String, u32)>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) slot: HostSlot,
    pub(super) capacity: Capacity,
    pub(super) remaining: Remaining,
    /// Ports that tasks hold, sorted; a port stands twice when two tasks hold it.
    used_ports: Vec<HostPort>,
    pub(super) attributes: Held,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) agent_version: Option<Version>,
    /// Tasks by group, sorted, no zeros.
    pub(super) groups: Vec<(GroupKey, u32)>,
    images: Box<[Arc<str>]>,
}

impl ClusterIndex {
    pub fn new() -> Self {
        Self::default()
    }

    /// Hosts in the cluster, eligible or not.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a host that has no tasks yet. The slot must be free.
    pub fn insert(&mut self, slot: HostSlot, offer: HostOffer<'_>) {
        let row = self.free_rows.pop().unwrap_or(self.hosts.len() as u32);
        let before = self.rows.insert(slot, row);
        assert!(before.is_none(), "{slot:?} is in the cluster already");
        let (attributes, uncounted) = self.attributes.add(row, offer.attributes);
        self.groups.forget(&uncounted);
        let host = Host {
            slot,
            capacity: Capacity::default(),
            remaining: Remaining::default(),
            used_ports: Vec::new(),
            attributes,
            instance_id: None,
            agent_version: None,
            groups: Vec::new(),
            images: Box::default(),
        };
        if row as usize == self.hosts.len() {
            self.hosts.push(Some(host));
        } else {
            self.hosts[row as usize] = Some(host);
        }
        self.present.insert(row);
        self.set_eligibility(slot, offer.eligibility);
        self.set_capacity(slot, offer.capacity);
        self.set_particulars(slot, offer.particulars);
    }

    /// Forgets a host and all that was reserved there. Unknown slots are ignored.
    pub fn remove(&mut self, slot: HostSlot) {
        if !self.rows.contains_key(&slot) {
            return;
        }
        self.set_particulars(slot, Particulars::default());
        self.set_running(slot, 0);
        self.set_images(slot, &[]);
        let Some(row) = self.rows.remove(&slot) else { return };
        let Some(host) = self.hosts[row as usize].take() else { return };
        self.cpu.change(row, quantity(host.remaining.cpu), 0);
        self.memory.change(row, quantity(host.remaining.memory), 0);
        self.gpus.change(row, quantity(host.remaining.gpus), 0);
        for port in host.remaining.ports {
            self.free_port(port, row);
        }
        for (group, tasks) in host.groups {
            let values = self.attributes.counted(&host.attributes);
            self.groups.subtract(group, row, tasks, tasks, values);
        }
        self.attributes.remove(row, &host.attributes, &Held::default());
        self.present.remove(row);
        self.busy.remove(row);
        self.active.remove(row);
        self.connected.remove(row);
        self.engine_answers.remove(row);
        self.has_room.remove(row);
        self.ready.remove(row);
        self.free_rows.push(row);
    }

    pub fn set_attributes(&mut self, slot: HostSlot, attributes: &[Attribute]) {
        let Some(row) = self.row_of(slot) else { return };
        // Entered before the old ones go, so that a name or value in both keeps its id.
        let (new, uncounted) = self.attributes.add(row, attributes);
        self.groups.forget(&uncounted);
        let old = std::mem::replace(&mut self.host_mut(row).attributes, new);
        let host = self.hosts[row as usize].as_ref().expect("the row is in use");
        let new = &host.attributes;
        for &(group, tasks) in &host.groups {
            let (old, new) = (self.attributes.counted(&old), self.attributes.counted(new));
            self.groups.change_values(group, tasks, old, new);
        }
        self.attributes.remove(row, &old, new);
    }

    /// What tasks hold stays reserved, be it more than the host now has.
    pub fn set_capacity(&mut self, slot: HostSlot, capacity: &Capacity) {
        let Some(row) = self.row_of(slot) else { return };
        let host = self.host_mut(row);
        let cpu = i64::from(capacity.cpu.0) - i64::from(host.capacity.cpu.0);
        let memory = i64::from(capacity.memory.0) - i64::from(host.capacity.memory.0);
        let gpus = capacity.gpus.len() as i64 - host.capacity.gpus.len() as i64;
        host.capacity = capacity.clone();
        self.give(row, cpu, memory, gpus);
        self.refresh_ports(row);
    }

    pub fn set_eligibility(&mut self, slot: HostSlot, eligibility: Eligibility) {
        let Some(row) = self.row_of(slot) else { return };
        self.active.set(row, eligibility.active);
        self.connected.set(row, eligibility.connected);
        self.engine_answers.set(row, eligibility.engine_answers);
        self.has_room.set(row, eligibility.has_room);
        self.ready.set(row, eligibility.is_ready());
    }

    pub fn set_particulars(&mut self, slot: HostSlot, now: Particulars<'_>) {
        let Some(row) = self.row_of(slot) else { return };
        let (id, version) = (now.instance_id.map(Arc::from), Version::parse(now.agent_version));
        let host = self.hosts[row as usize].as_mut().expect("the row is in use");
        let all = &mut self.particulars;
        if let Some(old) = std::mem::replace(&mut host.instance_id, id) {
            all.instance_ids.remove(&old, row);
        }
        if let Some(old) = std::mem::replace(&mut host.agent_version, version) {
            all.versions.remove(&old, row);
        }
        if let Some(id) = &host.instance_id {
            all.instance_ids.add(id.clone(), row);
        }
        if let Some(version) = &host.agent_version {
            all.versions.add(version.clone(), row);
        }
        let before = all.registered_at_s.get(row);
        all.registered_at_s.change(row, before, now.registered_at_s());
    }

    /// The names of the images that a host holds, those beyond [`IMAGES_REPORTED_MAX`] left out.
    /// Unknown slots are ignored.
    pub fn set_images(&mut self, slot: HostSlot, names: &[String]) {
        let Some(&row) = self.rows.get(&slot) else { return };
        let names = names.iter().take(IMAGES_REPORTED_MAX);
        // Entered before the old ones go, so that a name in both is kept once for all hosts.
        let mut now: Vec<Arc<str>> = names.map(|name| self.images.add_named(name, row)).collect();
        now.sort_unstable();
        let host = self.hosts[row as usize].as_mut().expect("the row is in use");
        let before = std::mem::replace(&mut host.images, now.into());
        for name in before.iter().filter(|name| host.images.binary_search(name).is_err()) {
            self.images.remove(name, row);
        }
    }

    /// How many of a host's tasks are RUNNING. Unknown slots are ignored.
    pub fn set_running(&mut self, slot: HostSlot, tasks: u32) {
        let Some(&row) = self.rows.get(&slot) else { return };
        let before = self.particulars.running.get(row);
        self.particulars.running.change(row, before, tasks);
    }

    /// Takes what one task of `group` needs, whether or not it fits. Unknown slots are ignored,
    /// here and in whatever changes a host.
    pub fn reserve(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        let Some(row) = self.row_of(slot) else { return };
        let Demand { cpu, memory, gpus, .. } = demand;
        self.give(row, -i64::from(cpu.0), -i64::from(memory.0), -i64::from(*gpus));
        let host = self.hosts[row as usize].as_mut().expect("the row is in use");
        let before = match host.groups.binary_search_by_key(&group, |(key, _)| *key) {
            Ok(at) => {
                host.groups[at].1 += 1;
                host.groups[at].1 - 1
            }
            Err(at) => {
                host.groups.insert(at, (group, 1));
                0
            }
        };
        self.groups.add(group, row, before, self.attributes.counted(&host.attributes));
        self.busy.insert(row);
        if !demand.ports.is_empty() {
            host.used_ports.extend_from_slice(&demand.ports);
            host.used_ports.sort_unstable();
            self.refresh_ports(row);
        }
    }

    /// Gives back what [`ClusterIndex::reserve`] took. Nothing happens when the host was removed, or
    /// has no task of the group, so give back before another host gets its slot.
    pub fn release(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        let Some(&row) = self.rows.get(&slot) else { return };
        let host = self.hosts[row as usize].as_mut().expect("the row is in use");
        let at = host.groups.binary_search_by_key(&group, |(key, _)| *key);
        let Ok(at) = at else { return };
        let before = host.groups[at].1;
        host.groups[at].1 -= 1;
        if before == 1 {
            host.groups.remove(at);
            self.busy.set(row, !host.groups.is_empty());
        }
        let values = self.attributes.counted(&host.attributes);
        self.groups.subtract(group, row, before, 1, values);
        if !demand.ports.is_empty() {
            for port in &demand.ports {
                if let Ok(at) = host.used_ports.binary_search(port) {
                    host.used_ports.remove(at);
                }
            }
            self.refresh_ports(row);
        }
        let Demand { cpu, memory, gpus, .. } = demand;
        self.give(row, i64::from(cpu.0), i64::from(memory.0), i64::from(*gpus));
    }

    /// What a host of the cluster has left.
    pub fn remaining(&self, slot: HostSlot) -> Option<&Remaining> {
        self.rows.get(&slot).map(|&row| &self.host(row).remaining)
    }

    /// All that is kept of a host, in words that do not depend on slots; for tests and checks.
    pub fn facts(&self, slot: HostSlot, names: &dyn GroupNames) -> Option<HostFacts> {
        let row = self.row_of(slot)?;
        let host = self.host(row);
        let mut groups: Vec<(String, u32)> =
            host.groups.iter().map(|(key, tasks)| (names.name(*key).to_owned(), *tasks)).collect();
        groups.sort();
        let ports = self.ports.iter().filter(|(_, rows)| rows.contains(row));
        let mut ports: Vec<HostPort> = ports.map(|(port, _)| *port).collect();
        ports.sort_unstable();
        Some(HostFacts {
            ready: self.ready.contains(row),
            active: self.active.contains(row),
            connected: self.connected.contains(row),
            engine_answers: self.engine_answers.contains(row),
            has_room: self.has_room.contains(row),
            busy: self.busy.contains(row),
            remaining: host.remaining.clone(),
            free: [&self.cpu, &self.memory, &self.gpus].map(|column| column.planes.get(row)),
            ports,
            used_ports: host.used_ports.clone(),
            running: self.particulars.running.get(row),
            registered_at_s: self.particulars.registered_at_s.get(row),
            instance_id: host.instance_id.clone(),
            groups,
        })
    }

    pub(super) fn row_of(&self, slot: HostSlot) -> Option<u32> {
        self.rows.get(&slot).copied()
    }

    pub(super) fn host(&self, row: u32) -> &Host {
        self.hosts[row as usize].as_ref().expect("the row is in use")
    }

    pub(super) fn column(&self, resource: Resource) -> &Column {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    fn host_mut(&mut self, row: u32) -> &mut Host {
        self.hosts[row as usize].as_mut().expect("the row is in use")
    }

    /// Adds to what a host has left, or takes from it.
    fn give(&mut self, row: u32, cpu: i64, memory: i64, gpus: i64) {
        let remaining = &mut self.host_mut(row).remaining;
        let (old_cpu, old_memory, old_gpus) = (remaining.cpu, remaining.memory, remaining.gpus);
        remaining.cpu += cpu;
        remaining.memory += memory;
        remaining.gpus += gpus;
        let (new_cpu, new_memory, new_gpus) = (remaining.cpu, remaining.memory, remaining.gpus);
        self.cpu.change(row, quantity(old_cpu), quantity(new_cpu));
        self.memory.change(row, quantity(old_memory), quantity(new_memory));
        if gpus != 0 {
            self.gpus.change(row, quantity(old_gpus), quantity(new_gpus));
        }
    }

    /// Brings `remaining.ports`, and the sets by port, in line with what is reserved and used.
    fn refresh_ports(&mut self, row: u32) {
        let host = self.host_mut(row);
        let mut ports = Vec::with_capacity(host.remaining.ports.len() + 1);
        ports.extend_from_slice(&host.capacity.reserved_ports);
        ports.extend_from_slice(&host.used_ports);
        ports.sort_unstable();
        ports.dedup();
        let old = std::mem::replace(&mut host.remaining.ports, ports.clone());
        for port in missing_in(&old, &ports) {
            self.free_port(port, row);
        }
        for port in missing_in(&ports, &old) {
            self.ports.entry(port).or_default().insert(row);
        }
    }

    fn free_port(&mut self, port: HostPort, row: u32) {
        if let Some(rows) = self.ports.get_mut(&port) {
            rows.remove(row);
            if rows.is_empty() {
                self.ports.remove(&port);
            }
        }
    }
}

/// What of a rest can be given to tasks: nothing of a negative one.
pub(super) fn quantity(remaining: i64) -> u32 {
    remaining.clamp(0, i64::from(u32::MAX)) as u32
}

/// What is in `all` but not in `other`; both sorted.
fn missing_in<T: Ord + Copy>(all: &[T], other: &[T]) -> Vec<T> {
    all.iter().filter(|item| other.binary_search(item).is_err()).copied().collect()
}
