//! Which id and which address belongs to which container: written by the engine when a task changes,
//! read by every request.
//!
//! A request costs a look-up or two, however many tasks there are, and never waits for the engine.
//! Never: a Docker call, or a decision about who may ask (that is [`super::source`]).

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use longshore_common::{
    clock::{Monotonic, Timestamp},
    index::FastMap,
};

use super::{limit::Limiter, stats::Readings};
use crate::{
    runtime::{ContainerDetails, ContainerSummary, MountPoint},
    settings::RequestRate,
    task::{
        endpoint_names::{EndpointId, Names},
        key::TaskKey,
        shown::{KnownStatus, ShownTask, ShowsTasks},
    },
};

pub(crate) struct EndpointDirectory {
    names: Names,
    rate: RequestRate,
    inside: RwLock<DirectoryIndex>,
}

#[derive(Default)]
struct DirectoryIndex {
    tasks: FastMap<TaskKey, Arc<DirectoryEntry>>,
    by_id: FastMap<EndpointId, ContainerPosition>,
    by_docker_id: FastMap<String, ContainerPosition>,
    by_address: FastMap<IpAddr, ContainerPosition>,
}

/// A container: its task, and which of the task's it is.
type ContainerPosition = (TaskKey, usize);

/// A task, and what was found out about its containers for those who asked.
pub(crate) struct DirectoryEntry {
    pub(crate) task: ShownTask,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) slots: Vec<Arc<ContainerSlot>>,
}

/// One container's place for what the container engine shows of it.
#[derive(Default)]
pub(crate) struct ContainerSlot {
    seen: RwLock<Option<Arc<InspectedContainer>>>,
    /// Addresses that point here.
    addresses: Mutex<Vec<IpAddr>>,
    /// Held by the one request that asks the container engine for all.
    pub(crate) asking: tokio::sync::Mutex<()>,
    readings: Mutex<Readings>,
}

/// What an inspect showed of a container.
#[derive(Debug)]
pub(crate) struct InspectedContainer {
    docker_id: String,
    restarts: Option<u32>,
    pub(crate) at: Monotonic,
    pub(crate) pid: Option<u32>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) image_id: Option<String>,
    pub(crate) mounts: Vec<MountPoint>,
}

impl EndpointDirectory {
    pub(crate) fn new(names: Names, rate: RequestRate) -> Self {
        EndpointDirectory { names, rate, inside: RwLock::default() }
    }

    pub(crate) fn by_id(&self, id: EndpointId) -> Option<(Arc<DirectoryEntry>, usize)> {
        let inside = self.read();
        inside.at(*inside.by_id.get(&id)?)
    }

    pub(crate) fn by_address(&self, address: IpAddr) -> Option<(Arc<DirectoryEntry>, usize)> {
        let inside = self.read();
        inside.at(*inside.by_address.get(&address)?)
    }

    /// An inspect of this container answered.
    pub(crate) fn inspected(
        &self,
        entry: &DirectoryEntry,
        index: usize,
        details: ContainerDetails,
        at: Monotonic,
    ) -> Arc<InspectedContainer> {
        let seen = Arc::new(InspectedContainer {
            docker_id: details.id,
            restarts: entry.task.containers[index].restarts,
            at,
            pid: details.pid,
            addresses: details.addresses,
            created_at: details.created_at,
            image_id: details.image_id,
            mounts: details.mounts,
        });
        let place = (entry.task.key, index);
        let mut inside = self.write();
        entry.slots[index].set(seen.clone());
        inside.leave_addresses(&entry.slots[index], place);
        // Only while the directory still has this very container: it may have been forgotten since.
        let current = inside.tasks.get(&place.0).map(|current| &current.slots[index]);
        if current.is_some_and(|slot| Arc::ptr_eq(slot, &entry.slots[index])) {
            inside.point(&seen.addresses, &entry.slots[index], place);
        }
        seen
    }

    /// Every container's address, as a listing shows it. A hint only: who asks is looked at still.
    pub(crate) fn listed(&self, listing: &[ContainerSummary]) {
        let mut inside = self.write();
        for summary in listing {
            let Some(place) = inside.by_docker_id.get(&summary.id).copied() else { continue };
            let Some((entry, index)) = inside.at(place) else { continue };
            inside.leave_addresses(&entry.slots[index], place);
            inside.point(&summary.addresses, &entry.slots[index], place);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let inside = self.read();
        inside.tasks.is_empty()
            && inside.by_id.is_empty()
            && inside.by_docker_id.is_empty()
            && inside.by_address.is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, DirectoryIndex> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, DirectoryIndex> {
        self.inside.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShowsTasks for EndpointDirectory {
    fn publish(&self, task: ShownTask) {
        let key = task.key;
        let mut inside = self.write();
        let (limiter, slots) = match inside.tasks.get(&key) {
            Some(known) => (known.limiter.clone(), known.slots.clone()),
            None => (Arc::new(Limiter::new(self.rate)), Vec::new()),
        };
        let is_new = slots.len() != task.containers.len();
        let slots = match is_new {
            true => task.containers.iter().map(|_| Arc::default()).collect(),
            false => slots,
        };
        for (index, container) in task.containers.iter().enumerate() {
            // It was made anew: Docker's id is another one.
            let before = inside.tasks.get(&key).and_then(|known| known.task.containers.get(index));
            let before = before.and_then(|before| before.docker_id.clone());
            if let Some(id) = before.filter(|id| container.docker_id.as_ref() != Some(id)) {
                inside.by_docker_id.remove(&id);
            }
            if is_new {
                inside.by_id.insert(self.names.id(key, &container.name), (key, index));
            }
            if let Some(id) = &container.docker_id
                && !inside.by_docker_id.contains_key(id)
            {
                inside.by_docker_id.insert(id.clone(), (key, index));
            }
        }
        let entry = Arc::new(DirectoryEntry { task, limiter, slots });
        for index in 0..entry.slots.len() {
            if entry.slots[index].is_set() && entry.seen(index).is_none() {
                entry.slots[index].clear();
                inside.leave_addresses(&entry.slots[index], (key, index));
            }
        }
        inside.tasks.insert(key, entry);
    }

    fn forget(&self, key: TaskKey) {
        let mut inside = self.write();
        let Some(entry) = inside.tasks.remove(&key) else { return };
        for (index, container) in entry.task.containers.iter().enumerate() {
            inside.by_id.remove(&self.names.id(key, &container.name));
            if let Some(id) = &container.docker_id {
                inside.by_docker_id.remove(id);
            }
            inside.leave_addresses(&entry.slots[index], (key, index));
        }
    }
}

impl DirectoryIndex {
    fn at(&self, (key, index): ContainerPosition) -> Option<(Arc<DirectoryEntry>, usize)> {
        Some((self.tasks.get(&key)?.clone(), index))
    }

    fn point(&mut self, addresses: &[IpAddr], slot: &ContainerSlot, place: ContainerPosition) {
        for address in addresses {
            self.by_address.insert(*address, place);
        }
        slot.addresses().extend_from_slice(addresses);
    }

    fn leave_addresses(&mut self, slot: &ContainerSlot, place: ContainerPosition) {
        for address in slot.addresses().drain(..) {
            if self.by_address.get(&address) == Some(&place) {
                self.by_address.remove(&address);
            }
        }
    }
}

impl DirectoryEntry {
    /// What was last seen of a container, unless it is another one now or has ended since.
    pub(crate) fn seen(&self, index: usize) -> Option<Arc<InspectedContainer>> {
        let container = &self.task.containers[index];
        let seen = self.slots[index].get()?;
        let same = container.docker_id.as_ref() == Some(&seen.docker_id)
            && container.restarts == seen.restarts;
        // What runs no more has no address and no process.
        let ended = container.known == KnownStatus::Stopped;
        (same && !(ended && (seen.pid.is_some() || !seen.addresses.is_empty()))).then_some(seen)
    }
}

impl ContainerSlot {
    fn get(&self) -> Option<Arc<InspectedContainer>> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_set(&self) -> bool {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set(&self, seen: Arc<InspectedContainer>) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn clear(&self) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for EndpointDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointDirectory").field("tasks", &self.read().tasks.len()).finish()
    }
}
