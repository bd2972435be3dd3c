//! ECS's placement as one would explain it: look at every host, every task, every time.

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{
    protocol::Attribute,
    resources::{Capacity, Demand, HostPort},
};

use crate::{
    placement::{
        AVAILABILITY_ZONE, Eligibility, GroupKey, GroupNames, HostSlot, Reason, Request, Resource,
        SpreadOver, Strategy, Unfit,
    },
    query::{Constraint, Facts, Version},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub(super) hosts: BTreeMap<HostSlot, ReferenceHost>,
}

#[derive(Clone, Debug)]
pub(super) struct ReferenceHost {
    pub(super) capacity: Capacity,
    pub(super) attributes: Vec<Attribute>,
    pub(super) eligibility: Eligibility,
    pub(super) tasks: Vec<(Demand, GroupKey)>,
    pub(super) instance_id: Option<String>,
    pub(super) agent_version: Option<Version>,
    pub(super) registered_at_s: u32,
    pub(super) running: u32,
    pub(super) images: BTreeSet<String>,
}

/// Group 3 is called g3.
pub(super) struct Named;

const GROUPS: [&str; 5] = ["g0", "g1", "g2", "g3", "g4"];

impl GroupNames for Named {
    fn key(&self, name: &str) -> Option<GroupKey> {
        GROUPS.iter().position(|own| *own == name).map(|at| GroupKey(at as u32))
    }
    fn name(&self, key: GroupKey) -> &str {
        GROUPS[key.0 as usize]
    }
}

impl Facts for ReferenceHost {
    fn agent_connected(&self) -> bool {
        self.eligibility.connected
    }
    fn agent_version(&self) -> Option<&Version> {
        self.agent_version.as_ref()
    }
    fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }
    fn registered_at_s(&self) -> u32 {
        self.registered_at_s
    }
    fn running_tasks(&self) -> u32 {
        self.running
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attribute(name)
    }
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.tasks.iter().any(|(_, group)| wanted(Named.name(*group)))
    }
}

impl ReferenceHost {
    pub(super) fn left(&self, of: Resource) -> i64 {
        let amount = |demand: &Demand| match of {
            Resource::Cpu => i64::from(demand.cpu.0),
            Resource::Memory => i64::from(demand.memory.0),
        };
        let capacity = match of {
            Resource::Cpu => i64::from(self.capacity.cpu.0),
            Resource::Memory => i64::from(self.capacity.memory.0),
        };
        capacity - self.tasks.iter().map(|(demand, _)| amount(demand)).sum::<i64>()
    }

    pub(super) fn gpus(&self) -> i64 {
        let used = self.tasks.iter().map(|(demand, _)| i64::from(demand.gpus));
        self.capacity.gpus.len() as i64 - used.sum::<i64>()
    }

    pub(super) fn ports(&self) -> BTreeSet<HostPort> {
        let used = self.tasks.iter().flat_map(|(demand, _)| demand.ports.iter());
        self.capacity.reserved_ports.iter().chain(used).copied().collect()
    }

    /// Room of the scarcer resource, in millionths of what the host offers.
    fn room(&self) -> i64 {
        let share = |of, all: u32| self.left(of).max(0) * 1_000_000 / i64::from(all.max(1));
        let cpu = share(Resource::Cpu, self.capacity.cpu.0);
        cpu.min(share(Resource::Memory, self.capacity.memory.0))
    }

    pub(super) fn tasks_of(&self, group: GroupKey) -> usize {
        self.tasks.iter().filter(|(_, of)| *of == group).count()
    }

    /// `None`: no such attribute. `Some(None)`: it has no value.
    pub(super) fn attribute(&self, name: &str) -> Option<Option<&str>> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.as_deref())
    }

    fn fails(&self, reason: Reason, request: &Request<'_>) -> bool {
        let missing = |wanted: &Attribute| match self.attribute(&wanted.name) {
            None => true,
            Some(value) => wanted.value.is_some() && wanted.value.as_deref() != value,
        };
        let lacks = |need: u32, of| need > 0 && self.left(of) < i64::from(need);
        match reason {
            Reason::NotActive => !self.eligibility.active,
            Reason::AgentDisconnected => !self.eligibility.connected,
            Reason::EngineSilent => !self.eligibility.engine_answers,
            Reason::NoRoom => !self.eligibility.has_room,
            Reason::Attribute => {
                request.required_attributes.iter().any(missing)
                    || deciding(request.strategies).iter().any(|strategy| match strategy {
                        Strategy::Spread(SpreadOver::Attribute(name)) => {
                            self.attribute(name).is_none()
                        }
                        _ => false,
                    })
            }
            Reason::MemberOf => {
                let constraints = request.member_of.constraints.iter();
                !constraints.map(Constraint::expression).all(|expression| expression.holds(self))
            }
            Reason::DistinctInstance => {
                request.distinct_instance && self.tasks_of(request.group) > 0
            }
            Reason::Port => {
                let ports = self.ports();
                request.demand.ports.iter().any(|port| ports.contains(port))
            }
            Reason::Gpu => request.demand.gpus > 0 && self.gpus() < request.demand.gpus.into(),
            Reason::Cpu => lacks(request.demand.cpu.0, Resource::Cpu),
            Reason::Memory => lacks(request.demand.memory.0, Resource::Memory),
        }
    }

    pub(super) fn failures(&self, request: &Request<'_>) -> Vec<Reason> {
        Reason::ALL.into_iter().filter(|reason| self.fails(*reason, request)).collect()
    }
}

/// Strategies up to `random`.
fn deciding(strategies: &[Strategy]) -> &[Strategy] {
    let end = strategies.iter().position(|strategy| *strategy == Strategy::Random);
    &strategies[..end.unwrap_or(strategies.len())]
}

impl Reference {
    pub(super) fn reserve(&mut self, slot: HostSlot, demand: &Demand, group: GroupKey) {
        self.hosts.get_mut(&slot).unwrap().tasks.push((demand.clone(), group));
    }

    /// Every host that one task could be given without breaking a rule or missing an optimum.
    pub(super) fn best(&self, request: &Request<'_>) -> BTreeSet<HostSlot> {
        let mut best: BTreeSet<HostSlot> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.failures(request).is_empty())
            .map(|(slot, _)| *slot)
            .collect();
        let by_default = [
            Strategy::Spread(SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned())),
            Strategy::Spread(SpreadOver::Instance),
        ];
        let defaults = request.strategies.is_empty();
        let strategies = if defaults { &by_default } else { deciding(request.strategies) };
        for strategy in strategies {
            // By default, no zone and a zone without a name are the same.
            let value = |host: &ReferenceHost, name: &str| {
                let value = host.attribute(name).map(|value| value.map(str::to_owned));
                if defaults { Some(value.flatten()) } else { value }
            };
            let mut on_value: BTreeMap<Option<Option<String>>, i64> = BTreeMap::new();
            if let Strategy::Spread(SpreadOver::Attribute(name)) = strategy {
                for host in self.hosts.values() {
                    *on_value.entry(value(host, name)).or_default() +=
                        host.tasks_of(request.group) as i64;
                }
            }
            let key = |slot: &HostSlot| -> i64 {
                let host = &self.hosts[slot];
                match strategy {
                    Strategy::Random => 0,
                    // Nothing is left of a host that has less than nothing.
                    Strategy::Binpack(of) => host.left(*of).max(0),
                    Strategy::Spread(SpreadOver::Instance) => host.tasks_of(request.group) as i64,
                    Strategy::Spread(SpreadOver::Attribute(name)) => on_value[&value(host, name)],
                }
            };
            let least = best.iter().map(key).min();
            best.retain(|slot| Some(key(slot)) == least);
        }
        best
    }

    /// Whether none of these hosts, all equally good, should have been chosen instead of this one
    /// for the images that it holds.
    pub(super) fn goes_by_images(
        &self,
        chosen: HostSlot,
        best: &BTreeSet<HostSlot>,
        request: &Request<'_>,
    ) -> bool {
        let mut holders = best.clone();
        for image in request.images {
            let mut with = holders.clone();
            with.retain(|slot| self.hosts[slot].images.contains(image));
            if !with.is_empty() {
                holders = with;
            }
        }
        let spreads = |strategy: &Strategy| matches!(strategy, Strategy::Spread(_));
        let evens_out = request.strategies.iter().all(spreads);
        let room = |slot: &HostSlot| self.hosts[slot].room();
        holders.contains(&chosen)
            || request.strategies.contains(&Strategy::Random)
            || evens_out && holders.iter().any(|slot| room(slot) + 250_000 < room(&chosen))
    }

    /// Hosts by the first filter that they fail.
    pub(super) fn reasons(&self, request: &Request<'_>) -> Vec<(Reason, u32)> {
        let mut counts = BTreeMap::new();
        for host in self.hosts.values() {
            if let Some(first) = host.failures(request).first() {
                *counts.entry(*first).or_insert(0) += 1;
            }
        }
        counts.into_iter().collect()
    }

    /// Hosts that come as close to taking the task as any does, when none can.
    pub(super) fn closest(&self, request: &Request<'_>) -> BTreeSet<HostSlot> {
        let closeness = |host: &ReferenceHost| {
            let failures = host.failures(request);
            let first = failures[0];
            let share = |need: u32, of| {
                (i64::from(need) - host.left(of).max(0)) * 1_000_000 / i64::from(need.max(1))
            };
            let numbers = match failures[..] {
                [Reason::Cpu] => (1, share(request.demand.cpu.0, Resource::Cpu), 0, 0),
                [Reason::Memory] => (1, share(request.demand.memory.0, Resource::Memory), 0, 0),
                [Reason::Cpu, Reason::Memory] => {
                    (2, 0, -host.left(Resource::Memory).max(0), -host.left(Resource::Cpu).max(0))
                }
                _ => (0, 0, 0, 0),
            };
            // Failing later is closer; lacking CPU and lacking memory count as one.
            let stage = std::cmp::Reverse(first.min(Reason::Cpu));
            (stage, numbers)
        };
        let least = self.hosts.values().map(closeness).min();
        let hosts = self.hosts.iter();
        hosts.filter(|(_, host)| Some(closeness(host)) == least).map(|(slot, _)| *slot).collect()
    }

    pub(super) fn assert_explained(&self, slot: HostSlot, unfit: &[Unfit], request: &Request<'_>) {
        let mut said: Vec<Reason> = unfit.iter().map(Unfit::reason).collect();
        said.dedup();
        assert_eq!(said, self.hosts[&slot].failures(request));
        for unfit in unfit {
            match unfit {
                Unfit::Cpu { needed, remaining } => {
                    assert_eq!(*needed, request.demand.cpu.0);
                    assert_eq!(*remaining, self.hosts[&slot].left(Resource::Cpu));
                }
                Unfit::Memory { needed, remaining } => {
                    assert_eq!(*needed, request.demand.memory.0);
                    assert_eq!(*remaining, self.hosts[&slot].left(Resource::Memory));
                }
                Unfit::Gpu { needed, remaining } => {
                    assert_eq!(*needed, request.demand.gpus);
                    assert_eq!(*remaining, self.hosts[&slot].gpus());
                }
                Unfit::Port(port) => assert!(self.hosts[&slot].ports().contains(port)),
                Unfit::NotActive
                | Unfit::AgentDisconnected
                | Unfit::EngineSilent
                | Unfit::NoRoom
                | Unfit::Attribute(_)
                | Unfit::MemberOf(_)
                | Unfit::DistinctInstance => {}
            }
        }
    }
}
