//! Choosing by looking at every host.

use std::collections::BTreeMap;

use longshore_common::{protocol::Attribute, resources::Demand};

use super::{
    AVAILABILITY_ZONE, ClusterIndex, HostSlot, Placement, Reason, Request, Resource, SpreadOver,
    Strategy, Unfit, Unplaced, index::Host,
};

impl ClusterIndex {
    /// Chooses hosts for `request.count` tasks as if each were reserved before the next is placed.
    /// A task that fits on some host is never refused.
    pub fn place(&self, request: &Request<'_>) -> Placement {
        let mut tentative = self.clone();
        let mut hosts = Vec::new();
        let mut entropy = request.entropy;
        for _ in 0..request.count {
            let mut candidates: Vec<HostSlot> = tentative
                .hosts
                .iter()
                .filter(|(_, host)| unfit(host, request).is_empty())
                .map(|(slot, _)| *slot)
                .collect();
            tentative.narrow(&mut candidates, request);
            if candidates.is_empty() {
                break;
            }
            entropy = entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = candidates[(entropy >> 33) as usize % candidates.len()];
            tentative.reserve(slot, request.demand, request.group);
            hosts.push(slot);
        }
        let missing = request.count - hosts.len() as u32;
        let unplaced = (missing > 0).then(|| tentative.explain(request, missing));
        Placement { hosts, unplaced }
    }

    /// Whether one task fits on the host that the caller picked (ECS's StartTask): agent, status,
    /// attributes, ports, CPU and memory; all that is wrong, in the order of [`Reason`].
    pub fn check(
        &self,
        slot: HostSlot,
        demand: &Demand,
        required_attributes: &[Attribute],
    ) -> Result<(), Vec<Unfit>> {
        let Some(host) = self.hosts.get(&slot) else { return Err(vec![Unfit::NotActive]) };
        let unfit = lacks(host, demand, required_attributes);
        if unfit.is_empty() { Ok(()) } else { Err(unfit) }
    }

    fn narrow(&self, candidates: &mut Vec<HostSlot>, request: &Request<'_>) {
        let default = [
            Strategy::Spread(SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned())),
            Strategy::Spread(SpreadOver::Instance),
        ];
        let by_default = request.strategies.is_empty();
        for strategy in if by_default { &default } else { request.strategies } {
            match strategy {
                Strategy::Random => {}
                Strategy::Binpack(Resource::Cpu) => {
                    keep_least(candidates, |slot| self.hosts[&slot].remaining.cpu);
                }
                Strategy::Binpack(Resource::Memory) => {
                    keep_least(candidates, |slot| self.hosts[&slot].remaining.memory);
                }
                Strategy::Spread(SpreadOver::Instance) => keep_least(candidates, |slot| {
                    self.hosts[&slot].groups.get(&request.group).copied().unwrap_or(0)
                }),
                Strategy::Spread(SpreadOver::Attribute(name)) => {
                    let mut counts: BTreeMap<Option<&Attribute>, u32> = BTreeMap::new();
                    for host in self.hosts.values() {
                        *counts.entry(attribute(host, name)).or_default() +=
                            host.groups.get(&request.group).copied().unwrap_or(0);
                    }
                    if !by_default {
                        candidates.retain(|slot| attribute(&self.hosts[slot], name).is_some());
                    }
                    keep_least(candidates, |slot| counts[&attribute(&self.hosts[&slot], name)]);
                }
            }
        }
    }

    fn explain(&self, request: &Request<'_>, count: u32) -> Unplaced {
        let mut reasons = Reason::ALL.map(|reason| (reason, 0));
        let mut closest: Option<((Reason, i64), HostSlot, Vec<Unfit>)> = None;
        for (slot, host) in &self.hosts {
            let unfit = unfit(host, request);
            let Some(first) = unfit.first() else { continue };
            reasons[first.reason() as usize].1 += 1;
            let closeness = (first.reason(), -missing_permille(&unfit));
            if closest.as_ref().is_none_or(|(best, ..)| closeness > *best) {
                closest = Some((closeness, *slot, unfit));
            }
        }
        Unplaced {
            count,
            hosts: self.hosts.len() as u32,
            reasons: reasons.into_iter().filter(|(_, hosts)| *hosts > 0).collect(),
            closest: closest.map(|(_, slot, unfit)| (slot, unfit)),
        }
    }
}

fn keep_least<K: Ord + Copy>(candidates: &mut Vec<HostSlot>, key: impl Fn(HostSlot) -> K) {
    let Some(least) = candidates.iter().map(|slot| key(*slot)).min() else { return };
    candidates.retain(|slot| key(*slot) == least);
}

fn attribute<'a>(host: &'a Host, name: &str) -> Option<&'a Attribute> {
    host.attributes.iter().find(|attribute| attribute.name == name)
}

fn unfit(host: &Host, request: &Request<'_>) -> Vec<Unfit> {
    let mut unfit = lacks(host, request.demand, request.required_attributes);
    for strategy in request.strategies {
        if let Strategy::Spread(SpreadOver::Attribute(name)) = strategy
            && attribute(host, name).is_none()
        {
            unfit.push(Unfit::Attribute(Attribute { name: name.clone(), value: None }));
        }
    }
    if request.distinct_instance && host.groups.contains_key(&request.group) {
        unfit.push(Unfit::DistinctInstance);
    }
    unfit.sort_by_key(Unfit::reason);
    unfit
}

fn lacks(host: &Host, demand: &Demand, required_attributes: &[Attribute]) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    if !host.eligibility.active {
        unfit.push(Unfit::NotActive);
    }
    if !host.eligibility.connected {
        unfit.push(Unfit::AgentDisconnected);
    }
    for required in required_attributes {
        let has = host.attributes.iter().any(|attribute| {
            attribute.name == required.name
                && (required.value.is_none() || attribute.value == required.value)
        });
        if !has {
            unfit.push(Unfit::Attribute(required.clone()));
        }
    }
    for port in &demand.ports {
        if host.remaining.ports.binary_search(port).is_ok() {
            unfit.push(Unfit::Port(*port));
        }
    }
    if demand.cpu.0 > 0 && host.remaining.cpu < i64::from(demand.cpu.0) {
        unfit.push(Unfit::Cpu { needed: demand.cpu.0, remaining: host.remaining.cpu });
    }
    if demand.memory.0 > 0 && host.remaining.memory < i64::from(demand.memory.0) {
        unfit.push(Unfit::Memory { needed: demand.memory.0, remaining: host.remaining.memory });
    }
    unfit
}

fn missing_permille(unfit: &[Unfit]) -> i64 {
    let missing = |needed: u32, remaining: i64| {
        (i64::from(needed) - remaining).saturating_mul(1000) / i64::from(needed)
    };
    let of = |unfit: &Unfit| match unfit {
        Unfit::Cpu { needed, remaining } | Unfit::Memory { needed, remaining } => {
            missing(*needed, *remaining)
        }
        _ => 0,
    };
    unfit.iter().map(of).sum()
}
