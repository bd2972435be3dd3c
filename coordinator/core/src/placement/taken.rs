//! What a decision has taken by now: tasks that it starts, of which the index does not know yet.
//!
//! Owns their sums by host. Never changes the index: once the decision is an event, whoever applies
//! it reserves.

use std::collections::BTreeMap;

use longshore_common::resources::{Demand, HostPort};

use super::{GroupKey, HostSlot};

/// Tasks that one decision has placed, by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    by_host: BTreeMap<HostSlot, TakenOnHost>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TakenOnHost {
    pub(super) cpu: i64,
    pub(super) memory: i64,
    pub(super) gpus: i64,
    pub(super) ports: Vec<HostPort>,
    /// Tasks by group.
    groups: Vec<(GroupKey, u32)>,
}

impl Taken {
    /// What a decision has taken that begins.
    pub fn nothing() -> &'static Taken {
        static NOTHING: Taken = Taken { by_host: BTreeMap::new() };
        &NOTHING
    }

    /// One more task of `group` on this host.
    pub fn add(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        let here = self.by_host.entry(slot).or_default();
        here.cpu += i64::from(demand.cpu.0);
        here.memory += i64::from(demand.memory.0);
        here.gpus += i64::from(demand.gpus);
        here.ports.extend_from_slice(&demand.ports);
        match here.groups.iter_mut().find(|(key, _)| *key == group) {
            Some((_, tasks)) => *tasks += 1,
            None => here.groups.push((group, 1)),
        }
    }

    pub(super) fn on(&self, slot: HostSlot) -> Option<&TakenOnHost> {
        self.by_host.get(&slot)
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (HostSlot, &TakenOnHost)> {
        self.by_host.iter().map(|(slot, here)| (*slot, here))
    }

    /// Tasks of a group on a host.
    pub(super) fn of_group(&self, slot: HostSlot, group: GroupKey) -> u32 {
        self.on(slot).map_or(0, |here| here.of_group(group))
    }
}

impl TakenOnHost {
    pub(super) fn of_group(&self, group: GroupKey) -> u32 {
        self.groups.iter().find(|(key, _)| *key == group).map_or(0, |(_, tasks)| *tasks)
    }
}
