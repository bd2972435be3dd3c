//! Placement against a slow scheduler that looks at every host: the same tasks have a host, every
//! choice is one of the best, every refusal counts the same reasons, and what is explained before
//! is what is placed then, to the last host.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use longshore_common::{
    clock::Timestamp,
    protocol::Attribute,
    resources::{Capacity, CpuUnits, Demand, HostPort, MemoryMib, Transport},
};
use longshore_core::{
    placement::{
        AVAILABILITY_ZONE, ClusterIndex, Eligibility, GroupKey, GroupNames, HostOffer, HostSlot,
        MemberOf, Particulars, Reason, Request, Resource, SpreadOver, Strategy, Taken,
    },
    query::{Constraint, Facts, Version},
};

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
};

pub(super) const PLACEMENTS: usize = 1_000_000;
/// Clusters that a run of a million placements must have seen.
const PLACEMENTS_PER_CLUSTER_MAX: usize = 10;
const CLOSEST: usize = 5;

/// What a run is to do.
pub struct Placements {
    placements: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct PlacementsCounts {
    asked: usize,
    seed: u64,
    pub placements: usize,
    pub clusters: usize,
    pub calls: usize,
    pub refused: usize,
    pub with_member_of: usize,
}

/// A host and its tasks, each with its group.
#[derive(Clone)]
struct Host {
    capacity: Capacity,
    attributes: BTreeMap<&'static str, Option<String>>,
    eligibility: Eligibility,
    running: u32,
    tasks: Vec<(Demand, GroupKey)>,
}

struct Named;

const GROUPS: [&str; 3] = ["web", "batch", "db"];

impl GroupNames for Named {
    fn key(&self, name: &str) -> Option<GroupKey> {
        GROUPS.iter().position(|own| *own == name).map(|at| GroupKey(at as u32))
    }
    fn name(&self, key: GroupKey) -> &str {
        GROUPS[key.0 as usize]
    }
}

impl Facts for Host {
    fn agent_connected(&self) -> bool {
        self.eligibility.connected
    }
    fn agent_version(&self) -> Option<&Version> {
        None
    }
    fn instance_id(&self) -> Option<&str> {
        None
    }
    fn registered_at_s(&self) -> u32 {
        0
    }
    fn running_tasks(&self) -> u32 {
        self.running
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attributes.get(name).map(Option::as_deref)
    }
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.tasks.iter().any(|(_, group)| wanted(Named.name(*group)))
    }
}

impl Host {
    fn new(chance: &mut Chance) -> Host {
        let capacity = Capacity {
            cpu: CpuUnits(256 * chance.below(9) as u32),
            memory: MemoryMib(256 * chance.below(9) as u32),
            reserved_ports: Box::default(),
            gpus: Box::default(),
        };
        let mut attributes = BTreeMap::new();
        for name in [AVAILABILITY_ZONE, "rack"] {
            if !chance.one_in(5) {
                let value = (!chance.one_in(6)).then(|| format!("v{}", chance.below(3)));
                attributes.insert(name, value);
            }
        }
        let (active, connected) = (!chance.one_in(10), !chance.one_in(10));
        let eligibility = Eligibility { active, connected, engine_answers: true, has_room: true };
        Host { capacity, attributes, eligibility, running: chance.below(4) as u32, tasks: vec![] }
    }

    fn left(&self, of: Resource) -> i64 {
        let amount = |cpu: CpuUnits, memory: MemoryMib| match of {
            Resource::Cpu => i64::from(cpu.0),
            Resource::Memory => i64::from(memory.0),
        };
        let taken: i64 = self.tasks.iter().map(|(d, _)| amount(d.cpu, d.memory)).sum();
        amount(self.capacity.cpu, self.capacity.memory) - taken
    }

    fn tasks_of(&self, group: GroupKey) -> usize {
        self.tasks.iter().filter(|(_, of)| *of == group).count()
    }

    /// What it fails first.
    fn failure(&self, request: &Request<'_>) -> Option<Reason> {
        let has = |wanted: &Attribute| {
            let own = self.attributes.get(wanted.name.as_str());
            own.is_some_and(|own| wanted.value.is_none() || *own == wanted.value)
        };
        let spread = deciding(request.strategies).iter().all(|strategy| match strategy {
            Strategy::Spread(SpreadOver::Attribute(name)) => {
                self.attributes.contains_key(name.as_str())
            }
            _ => true,
        });
        let member = |one: &Constraint| one.expression().holds(self);
        let used = |port: &HostPort| self.tasks.iter().any(|(task, _)| task.ports.contains(port));
        let fits = |need: u32, of| need == 0 || self.left(of) >= i64::from(need);
        let passed = [
            (Reason::NotActive, self.eligibility.active),
            (Reason::AgentDisconnected, self.eligibility.connected),
            (Reason::Attribute, request.required_attributes.iter().all(has) && spread),
            (Reason::MemberOf, request.member_of.constraints.iter().all(member)),
            (
                Reason::DistinctInstance,
                !request.distinct_instance || self.tasks_of(request.group) == 0,
            ),
            (Reason::Port, !request.demand.ports.iter().any(used)),
            (Reason::Cpu, fits(request.demand.cpu.0, Resource::Cpu)),
            (Reason::Memory, fits(request.demand.memory.0, Resource::Memory)),
        ];
        passed.into_iter().find(|(_, passed)| !passed).map(|(reason, _)| reason)
    }
}

/// Nothing is left to choose after `random`.
fn deciding(strategies: &[Strategy]) -> &[Strategy] {
    let end = strategies.iter().position(|strategy| *strategy == Strategy::Random);
    &strategies[..end.unwrap_or(strategies.len())]
}

#[derive(Clone, Default)]
struct Cluster(BTreeMap<HostSlot, Host>);

impl Cluster {
    /// The hosts of which any may be given the next task.
    fn best(&self, request: &Request<'_>) -> BTreeSet<HostSlot> {
        let fitting = self.0.iter().filter(|(_, host)| host.failure(request).is_none());
        let mut best: BTreeSet<HostSlot> = fitting.map(|(slot, _)| *slot).collect();
        let by_default = [
            Strategy::Spread(SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned())),
            Strategy::Spread(SpreadOver::Instance),
        ];
        let defaults = request.strategies.is_empty();
        for strategy in if defaults { &by_default } else { deciding(request.strategies) } {
            let least = best.iter().map(|slot| self.key(*slot, strategy, request, defaults)).min();
            best.retain(|slot| Some(self.key(*slot, strategy, request, defaults)) == least);
        }
        best
    }

    /// What a strategy would have as small as can be.
    fn key(
        &self,
        slot: HostSlot,
        strategy: &Strategy,
        request: &Request<'_>,
        defaults: bool,
    ) -> i64 {
        let host = &self.0[&slot];
        match strategy {
            Strategy::Random => 0,
            Strategy::Binpack(of) => host.left(*of).max(0),
            Strategy::Spread(SpreadOver::Instance) => host.tasks_of(request.group) as i64,
            Strategy::Spread(SpreadOver::Attribute(name)) => {
                // By default a host without a zone is in the zone without a name.
                let value = |host: &Host| {
                    let own = host.attributes.get(name.as_str()).cloned();
                    if defaults { Some(own.flatten()) } else { own }
                };
                let own = value(host);
                let alike = self.0.values().filter(|other| value(other) == own);
                alike.map(|other| other.tasks_of(request.group) as i64).sum()
            }
        }
    }

    fn reasons(&self, request: &Request<'_>) -> Vec<(Reason, u32)> {
        let mut counts = BTreeMap::new();
        for reason in self.0.values().filter_map(|host| host.failure(request)) {
            *counts.entry(reason).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }
}

const EXPRESSIONS: [&str; 12] = [
    "attribute:rack == v1",
    "attribute:rack != v1",
    "attribute:rack in [v0, v2]",
    "attribute:rack =~ v[01] or attribute:ecs.availability-zone =~ .*2",
    "attribute:rack exists and not(runningTasksCount > 2)",
    "runningTasksCount <= 1",
    "agentConnected == true",
    "task:group != web",
    "not(task:group == batch) || task:group == db",
    "task:group exists or attribute:rack >= v1",
    "task:group !~ .*b",
    "attribute:ecs.availability-zone !exists",
];

fn some_images(chance: &mut Chance) -> Vec<String> {
    let images = ["web:1", "web:2", "proxy:1"];
    images.into_iter().filter(|_| chance.one_in(3)).map(str::to_owned).collect()
}

/// What is asked of a cluster in one call.
struct Asked {
    demand: Demand,
    required: Vec<Attribute>,
    member_of: Vec<Constraint>,
    distinct_instance: bool,
    strategies: Vec<Strategy>,
    group: GroupKey,
    count: u32,
    /// The reference knows nothing of them: they only ever choose among its best hosts.
    images: Vec<String>,
    entropy: u64,
}

impl Asked {
    fn new(chance: &mut Chance, expressions: &[Constraint]) -> Asked {
        let port = HostPort { transport: Transport::Tcp, port: 80 + chance.below(2) as u16 };
        let demand = Demand {
            cpu: CpuUnits(64 * chance.below(5) as u32),
            memory: MemoryMib(64 * chance.below(5) as u32),
            ports: if chance.one_in(8) { [port].into() } else { Box::default() },
            gpus: 0,
        };
        let mut required = Vec::new();
        if chance.one_in(5) {
            let value = chance.one_in(2).then(|| format!("v{}", chance.below(3)));
            required.push(Attribute { name: "rack".to_owned(), value });
        }
        let constraints = if chance.one_in(2) { 1 + chance.below(2) } else { 0 };
        let member_of =
            (0..constraints).filter_map(|_| chance.pick(expressions).cloned()).collect();
        let zone = || SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned());
        let strategies = (0..chance.below(4)).map(|_| match chance.below(6) {
            0 => Strategy::Binpack(Resource::Cpu),
            1 => Strategy::Binpack(Resource::Memory),
            2 => Strategy::Spread(SpreadOver::Instance),
            3 => Strategy::Spread(zone()),
            4 => Strategy::Spread(SpreadOver::Attribute("rack".to_owned())),
            _ => Strategy::Random,
        });
        let strategies = strategies.collect();
        Asked {
            demand,
            required,
            member_of,
            distinct_instance: chance.one_in(8),
            strategies,
            group: GroupKey(chance.below(GROUPS.len()) as u32),
            count: 1 + chance.below(8) as u32,
            images: some_images(chance),
            entropy: chance.draw(),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            demand: &self.demand,
            required_attributes: &self.required,
            member_of: MemberOf {
                constraints: &self.member_of,
                own_group: Named.name(self.group),
                groups: &Named,
            },
            distinct_instance: self.distinct_instance,
            strategies: &self.strategies,
            group: self.group,
            count: self.count,
            images: &self.images,
            earlier: Taken::nothing(),
            entropy: self.entropy,
        }
    }
}

impl Placements {
    pub fn of(placements: usize, seed: u64) -> Placements {
        Placements { placements, seed }
    }

    pub fn run(self) -> Result<PlacementsCounts> {
        progress(&format!("placement: {} placements, seed {}", self.placements, self.seed));
        let (asked, seed) = (self.placements, self.seed);
        let mut counts = PlacementsCounts { asked, seed, ..Default::default() };
        let mut chance = Chance::from_seed(self.seed).part(0);
        let expressions = EXPRESSIONS
            .iter()
            .map(|text| Constraint::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        while counts.placements < self.placements {
            counts.clusters += 1;
            one_cluster(&mut chance, &expressions, &mut counts)?;
        }
        Ok(counts)
    }
}

fn one_cluster(
    chance: &mut Chance,
    expressions: &[Constraint],
    counts: &mut PlacementsCounts,
) -> Result<()> {
    let (mut index, mut cluster) = (ClusterIndex::new(), Cluster::default());
    for slot in 0..1 + chance.below(12) as u32 {
        let host = Host::new(chance);
        let attributes: Vec<Attribute> = host
            .attributes
            .iter()
            .map(|(name, value)| Attribute { name: (*name).to_owned(), value: value.clone() })
            .collect();
        index.insert(
            HostSlot(slot),
            HostOffer {
                capacity: &host.capacity,
                attributes: &attributes,
                eligibility: host.eligibility,
                particulars: Particulars {
                    registered_at: Timestamp::default(),
                    ..Particulars::default()
                },
            },
        );
        index.set_running(HostSlot(slot), host.running);
        index.set_images(HostSlot(slot), &some_images(chance));
        cluster.0.insert(HostSlot(slot), host);
    }
    for _ in 0..3 {
        let asked = Asked::new(chance, expressions);
        let request = asked.request();
        counts.calls += 1;
        counts.with_member_of += usize::from(!asked.member_of.is_empty());
        let explained = index.explain(&request, CLOSEST);
        let placement = index.place(&request);
        ensure!(explained.placement == placement, "explained otherwise than placed: {request:?}");
        for slot in &placement.hosts {
            let best = cluster.best(&request);
            ensure!(best.contains(slot), "{slot:?} is not one of {best:?}: {request:?}");
            let Some(host) = cluster.0.get_mut(slot) else { continue };
            host.tasks.push((asked.demand.clone(), asked.group));
            index.reserve(*slot, &asked.demand, asked.group);
            counts.placements += 1;
        }
        let missing = asked.count as usize - placement.hosts.len();
        let told = placement.unplaced.as_ref().map_or(0, |unplaced| unplaced.count as usize);
        ensure!(told == missing, "{told} told of {missing} without a host: {request:?}");
        if let Some(unplaced) = &placement.unplaced {
            counts.refused += missing;
            ensure!(cluster.best(&request).is_empty(), "there was room: {request:?}");
            let reasons = cluster.reasons(&request);
            ensure!(unplaced.reasons == reasons, "{:?}, not {reasons:?}", unplaced.reasons);
            ensure!(explained.closest.first() == unplaced.closest.as_ref(), "{request:?}");
            ensure!(explained.closest.len() == CLOSEST.min(cluster.0.len()), "{request:?}");
        }
        let slot = HostSlot(chance.below(cluster.0.len()) as u32);
        if let Some(host) = cluster.0.get_mut(&slot)
            && let Some((demand, group)) = host.tasks.pop()
        {
            index.release(slot, &demand, group);
        }
    }
    Ok(())
}

impl PlacementsCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("placements", self.placements)?;
        count("clusters", self.clusters)?;
        count("calls_explained_and_placed", self.calls)?;
        count("calls_with_member_of", self.with_member_of)?;
        count("tasks_refused", self.refused)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("placements", self.placements, self.asked)?;
        reached("clusters", self.clusters, self.asked / PLACEMENTS_PER_CLUSTER_MAX)?;
        reached("tasks that were refused", self.refused, self.asked / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_and_refusal_is_what_looking_at_every_host_finds() {
        Placements::of(3_000, 7).run().unwrap().judge().unwrap();
    }
}
