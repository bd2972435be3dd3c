//! Marks services, hosts, launches and groups as due, and wakes those whose time comes.

use std::{collections::BTreeSet, ops::Bound};

use longshore_common::clock::Timestamp;

use crate::{
    model::{auto_scaling::InstanceId, host::HostStatus},
    state::{
        Cluster, GroupSlot, HostSlot, ServiceSlot, State, WaitingSlot,
        due::{Due, Kind, Over, Round},
    },
};

/// Maximum number of services and launches waiting for room that are looked at when one event freed
/// some (ours), which bounds the work of the event. The others of a long queue follow at the next
/// events and ticks.
const WOKEN_PER_EVENT: usize = 8;

/// Maximum number of services and launches waiting for room that one tick looks at in one cluster
/// (ours).
const WOKEN_PER_TICK: usize = 256;

impl State {
    pub(super) fn is_due(&mut self, due: Due) {
        if !self.agenda.queued.insert(due) {
            return;
        }
        match due {
            Due::Host(slot) => self.agenda.hosts.push_back(slot),
            Due::Service(slot) if self.services[slot].is_daemon() => {
                self.agenda.daemons.push_back(slot);
            }
            Due::Service(slot) => self.agenda.replicas.push_back(slot),
            Due::Waiting(slot) => self.agenda.waiting.push_back(slot),
            Due::Group(slot) => self.agenda.groups.push_back(slot),
            Due::Instance(id) => self.agenda.instances.push_back(id),
        }
    }

    pub(super) fn service_is_due(&mut self, slot: ServiceSlot) {
        self.is_due(Due::Service(slot));
    }

    pub(super) fn host_is_due(&mut self, slot: HostSlot) {
        self.is_due(Due::Host(slot));
    }

    pub(super) fn group_is_due(&mut self, slot: GroupSlot) {
        self.is_due(Due::Group(slot));
    }

    pub(super) fn instance_is_due(&mut self, id: InstanceId) {
        self.is_due(Due::Instance(id));
    }

    /// Something happened to a host: whatever runs there, or should, is looked at again. A daemon
    /// that has no task there may belong there now, or no longer.
    pub(super) fn host_concerns_services(&mut self, slot: HostSlot) {
        self.host_is_due(slot);
        self.host_concerns_instance(slot);
        self.services_on(slot).into_iter().for_each(|service| self.service_is_due(service));
        let cluster = self.hosts[slot].cluster;
        self.begin_round(cluster, Kind::Daemons, Over::All);
        self.wake_waiting(cluster, WOKEN_PER_EVENT);
    }

    /// Services that have a task on a host.
    pub(super) fn services_on(&self, slot: HostSlot) -> BTreeSet<ServiceSlot> {
        let tasks = self.hosts[slot].tasks.values();
        tasks.filter_map(|task| Some(self.tasks[*task].service.as_ref()?.service)).collect()
    }

    /// A host may be given tasks from now on: services that even themselves out look at it.
    pub(super) fn host_offers_room(&mut self, slot: HostSlot) {
        self.begin_round(self.hosts[slot].cluster, Kind::Replicas, Over::Even);
    }

    /// Something that every service of the cluster depends on has changed.
    pub(super) fn cluster_concerns_services(&mut self, cluster: crate::state::ClusterSlot) {
        self.begin_round(cluster, Kind::Daemons, Over::All);
        self.begin_round(cluster, Kind::Replicas, Over::All);
    }

    /// Looks at a few services now and at the others at the next ticks, however many there are. A
    /// round that is under way starts over from its present position.
    fn begin_round(&mut self, cluster: crate::state::ClusterSlot, kind: Kind, over: Over) {
        let (services, under_way) = self.clusters[cluster].round(kind);
        let over = match under_way {
            Some(Round { over: Over::All, .. }) => Over::All,
            Some(Round { over: Over::Even, .. }) | None => over,
        };
        let (last, left) = (under_way.and_then(|round| round.last), services.len());
        *under_way = (left > 0).then_some(Round { last, left, over });
        if left > 0 {
            self.clusters_with_rounds.insert(cluster);
            self.continue_round(cluster, kind, WOKEN_PER_EVENT);
        }
    }

    /// Looks at the next services of a round, up to `count`.
    fn continue_round(&mut self, cluster: crate::state::ClusterSlot, kind: Kind, count: usize) {
        let (services, under_way) = self.clusters[cluster].round(kind);
        let Some(Round { last, left, over }) = *under_way else { return };
        let count = count.min(left);
        let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let before = last.map(|last| services.range(..=last));
        let round = services.range(after).chain(before.into_iter().flatten());
        let looked_at: Vec<ServiceSlot> = round.copied().take(count).collect();
        let last = looked_at.last().copied().or(last);
        let left = if looked_at.len() < count { 0 } else { left - count };
        *under_way = (left > 0).then_some(Round { last, left, over });
        for slot in looked_at {
            let service = &self.services[slot];
            let evens_out =
                || service.config.az_rebalancing || self.policy(service).rebalance_hosts;
            if over == Over::All || evens_out() {
                self.service_is_due(slot);
            }
        }
    }

    /// Room came free in a cluster: some that wait for it are looked at.
    pub(super) fn room_came_free(&mut self, cluster: crate::state::ClusterSlot) {
        self.wake_waiting(cluster, WOKEN_PER_EVENT);
    }

    /// A task left a host: if that drains, daemons that are there may go as well.
    pub(super) fn daemons_may_leave(&mut self, slot: HostSlot) {
        if self.hosts[slot].status != HostStatus::Draining {
            return;
        }
        if self.hosts[slot].own_tasks == 0 {
            let mut daemons = self.services_on(slot);
            daemons.retain(|service| self.services[*service].is_daemon());
            daemons.into_iter().for_each(|service| self.service_is_due(service));
        }
        if self.hosts[slot].tasks.is_empty() {
            self.host_concerns_instance(slot);
        }
    }

    pub(super) fn wake_waiting(&mut self, cluster: crate::state::ClusterSlot, count: usize) {
        let held = &mut self.clusters[cluster];
        let woken: Vec<Due> = match held.woken {
            None => held.waiting.iter().copied().take(count).collect(),
            Some(last) => {
                let after = held.waiting.range((Bound::Excluded(last), Bound::Unbounded));
                after.chain(held.waiting.range(..=last)).copied().take(count).collect()
            }
        };
        held.woken = woken.last().copied().or(held.woken);
        woken.into_iter().for_each(|due| self.is_due(due));
    }

    /// Time is `at`: what waited for it is due.
    pub fn wake(&mut self, at: Timestamp) {
        while let Some((when, due)) = self.agenda.later.first().copied().filter(|(t, _)| *t <= at) {
            self.agenda.later.remove(&(when, due));
            self.agenda.wakes_at.remove(&due);
            self.is_due(due);
        }
    }

    /// Lets those that wait for room try again though nothing was heard of any.
    pub fn wake_all_waiting(&mut self) {
        let clusters: Vec<_> = self.clusters_with_waiting.iter().copied().collect();
        clusters.into_iter().for_each(|cluster| self.wake_waiting(cluster, WOKEN_PER_TICK));
        let rounds: Vec<_> = self.clusters_with_rounds.iter().copied().collect();
        for cluster in rounds {
            self.continue_round(cluster, Kind::Daemons, WOKEN_PER_TICK);
            self.continue_round(cluster, Kind::Replicas, WOKEN_PER_TICK);
            if self.clusters[cluster].rounds.is_over() {
                self.clusters_with_rounds.remove(&cluster);
            }
        }
    }

    /// The next to look at; it is no longer due.
    pub fn take_due(&mut self) -> Option<Due> {
        let agenda = &mut self.agenda;
        let due = (agenda.hosts.pop_front().map(Due::Host))
            .or_else(|| agenda.daemons.pop_front().map(Due::Service))
            .or_else(|| agenda.replicas.pop_front().map(Due::Service))
            .or_else(|| agenda.waiting.pop_front().map(Due::Waiting))
            .or_else(|| agenda.instances.pop_front().map(Due::Instance))
            .or_else(|| agenda.groups.pop_front().map(Due::Group))?;
        agenda.queued.remove(&due);
        Some(due)
    }

    pub fn begin_scheduling(&mut self) {
        self.scheduling_began = true;
    }

    /// Holds the scheduling while an agent proves that the journal went back.
    pub fn hold_scheduling(&mut self, held: bool) {
        self.scheduling_held = held;
    }

    /// Whether an agent proves that the journal went back: time changes nothing of it either.
    pub fn is_held(&self) -> bool {
        self.scheduling_held
    }

    pub fn schedules(&self) -> bool {
        self.scheduling_began && !self.scheduling_held
    }

    pub fn has_due(&self) -> bool {
        !self.agenda.queued.is_empty()
    }

    /// When the next thing that waits for its time is to be looked at.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.agenda.later.first().map(|(at, _)| *at)
    }

    /// Looks at `due` again at this time, and not at one that was asked for before.
    pub fn set_wake(&mut self, due: Due, at: Option<Timestamp>) {
        if let Some(before) = self.agenda.wakes_at.remove(&due) {
            self.agenda.later.remove(&(before, due));
        }
        if let Some(at) = at {
            self.agenda.wakes_at.insert(due, at);
            self.agenda.later.insert((at, due));
        }
    }

    /// Whether a service or a launch waits for room in its cluster.
    pub fn set_waiting(&mut self, due: Due, waits: bool) {
        let cluster = match due {
            Due::Host(_) | Due::Group(_) | Due::Instance(_) => return,
            Due::Service(slot) => self.services[slot].cluster,
            // All of its tasks may have a host by now.
            Due::Waiting(slot) => match self.waiting.get(slot) {
                Some(waiting) => waiting.cluster,
                None => return,
            },
        };
        let waiting = &mut self.clusters[cluster].waiting;
        match waits {
            true => waiting.insert(due),
            false => waiting.remove(&due),
        };
        match waiting.is_empty() {
            true => self.clusters_with_waiting.remove(&cluster),
            false => self.clusters_with_waiting.insert(cluster),
        };
    }

    pub(super) fn forget_due_service(&mut self, slot: ServiceSlot) {
        self.forget_due(Due::Service(slot));
        self.agenda.daemons.retain(|queued| *queued != slot);
        self.agenda.replicas.retain(|queued| *queued != slot);
    }

    pub(super) fn forget_due_waiting(&mut self, slot: WaitingSlot) {
        self.forget_due(Due::Waiting(slot));
        self.agenda.waiting.retain(|queued| *queued != slot);
    }

    pub(super) fn forget_due_host(&mut self, slot: HostSlot) {
        self.forget_due(Due::Host(slot));
        self.agenda.hosts.retain(|queued| *queued != slot);
    }

    pub(super) fn forget_due_group(&mut self, slot: GroupSlot) {
        self.forget_due(Due::Group(slot));
        self.agenda.groups.retain(|queued| *queued != slot);
    }

    pub(super) fn forget_due_instance(&mut self, id: InstanceId) {
        self.forget_due(Due::Instance(id));
        self.agenda.instances.retain(|queued| *queued != id);
    }

    fn forget_due(&mut self, due: Due) {
        self.agenda.queued.remove(&due);
        self.set_wake(due, None);
    }

    /// Makes everything looked at once, after a start, or when grace begins anew.
    pub(super) fn all_are_due(&mut self) {
        let services: Vec<ServiceSlot> = self.services_by_id.values().copied().collect();
        // In the order of their calls, as far as that is known.
        let mut waiting: Vec<_> = self
            .waiting_by_launch
            .values()
            .map(|&slot| (self.waiting[slot].launch.at, slot))
            .collect();
        waiting.sort_unstable();
        let mut hosts: Vec<HostSlot> = self.hosts_by_id.values().copied().collect();
        hosts.sort_unstable();
        hosts.into_iter().for_each(|slot| self.host_is_due(slot));
        let mut services = services;
        services.sort_unstable();
        services.into_iter().for_each(|slot| self.service_is_due(slot));
        waiting.into_iter().for_each(|(_, slot)| self.is_due(Due::Waiting(slot)));
        self.all_groups_are_due();
    }
}

impl Cluster {
    /// The services of a round, and how far it has come.
    pub(super) fn round(&mut self, kind: Kind) -> (&BTreeSet<ServiceSlot>, &mut Option<Round>) {
        match kind {
            Kind::Daemons => (&self.daemons, &mut self.rounds.daemons),
            Kind::Replicas => (&self.replicas, &mut self.rounds.replicas),
        }
    }
}
