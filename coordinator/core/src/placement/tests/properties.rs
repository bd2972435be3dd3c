//! Any history of a cluster, any requests: the index agrees with the reference all along.

use std::{cell::Cell, collections::BTreeSet, ops::Range};

use longshore_common::{
    clock::Timestamp,
    protocol::Attribute,
    resources::{Capacity, CpuUnits, Demand, HostPort, MemoryMib, Transport},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::reference::{Named, Reference, ReferenceHost};
use crate::{
    placement::{
        AVAILABILITY_ZONE, ClusterIndex, Eligibility, GroupKey, GroupNames, HostOffer, HostSlot,
        MemberOf, Particulars, Placement, Request, Resource, SpreadOver, Strategy as Placing,
        Taken,
        bits::{Bits, rows_of},
        index::quantity,
    },
    query::{Constraint, Version},
};

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, Offer),
    Remove(u32),
    SetAttributes(u32, Vec<Attribute>),
    SetCapacity(u32, Capacity),
    SetEligibility(u32, Eligibility),
    SetParticulars(u32, Told),
    SetRunning(u32, u32),
    SetImages(u32, Vec<String>),
    Place(Asked),
    Start(u32, Demand, Vec<Attribute>),
    Release(u32, usize),
}

#[derive(Clone, Debug)]
struct Offer {
    capacity: Capacity,
    attributes: Vec<Attribute>,
    eligibility: Eligibility,
    told: Told,
}

/// What a host said when it registered.
#[derive(Clone, Debug)]
struct Told {
    instance_id: Option<String>,
    agent_version: &'static str,
    registered_at_s: u32,
}

#[derive(Clone, Debug)]
struct Asked {
    demand: Demand,
    required: Vec<Attribute>,
    member_of: Vec<Constraint>,
    distinct_instance: bool,
    strategies: Vec<Placing>,
    group: u32,
    count: u32,
    images: Vec<String>,
    entropy: u64,
    /// Whether the caller goes through with it.
    kept: bool,
}

/// Maximum number of closest hosts that are compared.
const CLOSEST: usize = 5;
const NAMES: [&str; 3] = [AVAILABILITY_ZONE, "rack", "ssd"];

/// How many values an attribute has in these tests.
#[derive(Clone, Copy)]
enum Values {
    Few,
    Many,
}

fn attribute(values: Values) -> impl Strategy<Value = Attribute> {
    let value = match values {
        Values::Few => 0..3_u32,
        Values::Many => 0..2000,
    };
    let value = prop_oneof![1 => Just(None), 6 => value.prop_map(|n| Some(n.to_string()))];
    (prop::sample::select(&NAMES[..]), value)
        .prop_map(|(name, value)| Attribute { name: name.to_owned(), value })
}

fn attributes(values: Values) -> impl Strategy<Value = Vec<Attribute>> {
    prop::collection::vec(attribute(values), 0..4).prop_map(|mut attributes| {
        attributes.sort();
        attributes.dedup_by(|a, b| a.name == b.name);
        attributes
    })
}

fn ports(max: usize) -> impl Strategy<Value = Box<[HostPort]>> {
    let port = (80u16..84, prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)])
        .prop_map(|(port, transport)| HostPort { transport, port });
    prop::collection::btree_set(port, 0..=max).prop_map(|ports| ports.into_iter().collect())
}

fn amount(max: u32) -> impl Strategy<Value = u32> {
    prop_oneof![3 => (1..=max / 64).prop_map(|n| n * 64), 1 => 0..=max]
}

fn capacity() -> impl Strategy<Value = Capacity> {
    let gpus = prop_oneof![2 => Just(0), 1 => 1u32..8];
    (amount(8192), amount(16384), ports(1), gpus).prop_map(|(cpu, memory, reserved_ports, gpus)| {
        Capacity {
            cpu: CpuUnits(cpu),
            memory: MemoryMib(memory),
            reserved_ports,
            gpus: (0..gpus).map(|gpu| format!("GPU-{gpu}")).collect(),
        }
    })
}

fn demand() -> impl Strategy<Value = Demand> {
    let ports = prop_oneof![9 => ports(0), 1 => ports(2)];
    let gpus = prop_oneof![9 => Just(0), 1 => 1u32..4];
    (amount(320), amount(640), ports, gpus).prop_map(|(cpu, memory, ports, gpus)| Demand {
        cpu: CpuUnits(cpu),
        memory: MemoryMib(memory),
        ports,
        gpus,
    })
}

fn eligibility() -> impl Strategy<Value = Eligibility> {
    let mostly = || prop::bool::weighted(0.9);
    (mostly(), mostly(), mostly(), mostly()).prop_map(
        |(active, connected, engine_answers, has_room)| Eligibility {
            active,
            connected,
            engine_answers,
            has_room,
        },
    )
}

fn told() -> impl Strategy<Value = Told> {
    let id = prop::option::weighted(0.8, (0u32..30).prop_map(|n| format!("i-{n}")));
    let version = prop::sample::select(&["1.9.0", "1.10.0", "2.0.0-rc.1", "odd"][..]);
    (id, version, 1_700_000_000u32..1_700_000_004).prop_map(
        |(instance_id, agent_version, registered_at_s)| Told {
            instance_id,
            agent_version,
            registered_at_s,
        },
    )
}

fn offer(values: Values) -> impl Strategy<Value = Offer> {
    (capacity(), attributes(values), eligibility(), told()).prop_map(
        |(capacity, attributes, eligibility, told)| Offer {
            capacity,
            attributes,
            eligibility,
            told,
        },
    )
}

/// Expressions that hold of some hosts of these tests and not of others.
fn constraint() -> impl Strategy<Value = Constraint> {
    let order = || prop::sample::select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let name = || prop::sample::select(&NAMES[..]);
    let member = || prop::sample::select(&["in", "!in"][..]);
    let matching = || prop::sample::select(&["=~", "!~"][..]);
    let condition = prop_oneof![
        (name(), order(), 0..4u32).prop_map(|(name, op, n)| format!("attribute:{name} {op} {n}")),
        (name(), member(), 0..3u32)
            .prop_map(|(name, op, n)| format!("attribute:{name} {op} [{n}, {}]", n + 1)),
        (name(), matching(), 0..3u32)
            .prop_map(|(name, op, n)| format!("attribute:{name} {op} 1.*|{n}.*")),
        (name(), prop::bool::ANY).prop_map(|(name, has)| format!(
            "attribute:{name} {}exists",
            if has { "" } else { "!" }
        )),
        (order(), 0..6u32).prop_map(|(op, n)| format!("runningTasksCount {op} {n}")),
        (prop::sample::select(&["1.9", "1.10", "2.0.0-rc.1"][..]), order())
            .prop_map(|(version, op)| format!("agentVersion {op} {version}")),
        (member(), 0..30u32).prop_map(|(op, n)| format!("ec2InstanceId {op} [i-{n}, i-{}]", n / 2)),
        (matching(), 0..3u32).prop_map(|(op, n)| format!("ec2InstanceId {op} i-{n}.+")),
        (order(), 0..4u32).prop_map(|(op, n)| format!("registeredAt {op} 2023-11-14T22:13:2{n}Z")),
        (prop::sample::select(&["==", "!="][..]), prop::bool::ANY)
            .prop_map(|(op, is)| format!("agentConnected {op} {is}")),
        (prop::sample::select(&["==", "!="][..]), 0..5u32)
            .prop_map(|(op, n)| format!("task:group {op} g{n}")),
        (matching(), 0..4u32).prop_map(|(op, n)| format!("task:group {op} g[{n}4]")),
        prop::bool::ANY.prop_map(|has| format!("task:group {}exists", if has { "" } else { "!" })),
    ];
    let text = condition.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("not {a}")),
        ]
    });
    text.prop_map(|text| Constraint::parse(&text).unwrap())
}

fn placing() -> impl Strategy<Value = Placing> {
    prop_oneof![
        Just(Placing::Binpack(Resource::Cpu)),
        Just(Placing::Binpack(Resource::Memory)),
        Just(Placing::Spread(SpreadOver::Instance)),
        prop::sample::select(&NAMES[..])
            .prop_map(|name| Placing::Spread(SpreadOver::Attribute(name.to_owned()))),
        Just(Placing::Random),
    ]
}

fn images() -> impl Strategy<Value = Vec<String>> {
    let image = prop::sample::select(&["web:1", "web:2", "proxy:1"][..]);
    prop::collection::vec(image.prop_map(str::to_owned), 0..3)
}

fn asked(values: Values) -> impl Strategy<Value = Asked> {
    let required =
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(attribute(values), 1..3)];
    let member_of =
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(constraint(), 1..3)];
    let limits = (demand(), required, member_of, prop::bool::weighted(0.1));
    let choice = (prop::collection::vec(placing(), 0..4), 0u32..4, 1u32..32, images());
    (limits, choice, any::<u64>(), prop::bool::weighted(0.8)).prop_map(
        |(limits, (strategies, group, count, images), entropy, kept)| {
            let (demand, required, member_of, distinct_instance) = limits;
            Asked {
                demand,
                required,
                member_of,
                distinct_instance,
                strategies,
                group,
                count,
                images,
                entropy,
                kept,
            }
        },
    )
}

fn op(slots: u32, values: Values) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..slots, offer(values)).prop_map(|(slot, offer)| Op::Insert(slot, offer)),
        1 => (0..slots).prop_map(Op::Remove),
        1 => (0..slots, attributes(values)).prop_map(|(slot, given)| Op::SetAttributes(slot, given)),
        1 => (0..slots, capacity()).prop_map(|(slot, capacity)| Op::SetCapacity(slot, capacity)),
        1 => (0..slots, eligibility()).prop_map(|(slot, given)| Op::SetEligibility(slot, given)),
        1 => (0..slots, told()).prop_map(|(slot, told)| Op::SetParticulars(slot, told)),
        1 => (0..slots, 0u32..6).prop_map(|(slot, running)| Op::SetRunning(slot, running)),
        1 => (0..slots, images()).prop_map(|(slot, images)| Op::SetImages(slot, images)),
        6 => asked(values).prop_map(Op::Place),
        2 => (0..slots, demand(), prop::collection::vec(attribute(values), 0..2))
            .prop_map(|(slot, demand, required)| Op::Start(slot, demand, required)),
        6 => (0..slots, any::<usize>()).prop_map(|(slot, task)| Op::Release(slot, task)),
    ]
}

/// Hosts to begin with, and what happens then on `slots` slots.
fn history(
    hosts: Range<usize>,
    slots: u32,
    ops: Range<usize>,
    values: Values,
) -> impl Strategy<Value = (Vec<Offer>, Vec<Op>)> {
    let hosts = prop::collection::vec(offer(values), hosts);
    (hosts, prop::collection::vec(op(slots, values), ops))
}

impl Told {
    fn particulars(&self) -> Particulars<'_> {
        Particulars {
            instance_id: self.instance_id.as_deref(),
            agent_version: self.agent_version,
            registered_at: Timestamp(u64::from(self.registered_at_s) * 1000),
        }
    }
}

#[derive(Default)]
struct Both {
    index: ClusterIndex,
    reference: Reference,
    placed: u64,
}

impl Both {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Insert(slot, offer) => self.insert(HostSlot(*slot), offer),
            Op::Remove(slot) => {
                self.index.remove(HostSlot(*slot));
                self.reference.hosts.remove(&HostSlot(*slot));
            }
            Op::SetAttributes(slot, attributes) => {
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.attributes = attributes.clone();
                    self.index.set_attributes(HostSlot(*slot), attributes);
                }
            }
            Op::SetCapacity(slot, capacity) => {
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.capacity = capacity.clone();
                    self.index.set_capacity(HostSlot(*slot), capacity);
                }
            }
            Op::SetEligibility(slot, eligibility) => {
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.eligibility = *eligibility;
                    self.index.set_eligibility(HostSlot(*slot), *eligibility);
                }
            }
            Op::SetParticulars(slot, told) => {
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.instance_id.clone_from(&told.instance_id);
                    host.agent_version = Version::parse(told.agent_version);
                    host.registered_at_s = told.registered_at_s;
                    self.index.set_particulars(HostSlot(*slot), told.particulars());
                }
            }
            Op::SetRunning(slot, running) => {
                self.index.set_running(HostSlot(*slot), *running);
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.running = *running;
                }
            }
            Op::SetImages(slot, images) => {
                self.index.set_images(HostSlot(*slot), images);
                if let Some(host) = self.reference.hosts.get_mut(&HostSlot(*slot)) {
                    host.images = images.iter().cloned().collect();
                }
            }
            Op::Place(asked) => self.place(asked),
            Op::Start(slot, demand, required) => self.start(HostSlot(*slot), demand, required),
            Op::Release(slot, task) => {
                let slot = HostSlot(*slot);
                let Some(host) = self.reference.hosts.get_mut(&slot) else { return };
                if !host.tasks.is_empty() {
                    let (demand, group) = host.tasks.swap_remove(task % host.tasks.len());
                    self.index.release(slot, &demand, group);
                }
            }
        }
    }

    fn insert(&mut self, slot: HostSlot, offer: &Offer) {
        if self.reference.hosts.contains_key(&slot) {
            return;
        }
        let Offer { capacity, attributes, eligibility, told } = offer;
        let (eligibility, particulars) = (*eligibility, told.particulars());
        self.index.insert(slot, HostOffer { capacity, attributes, eligibility, particulars });
        let host = ReferenceHost {
            capacity: capacity.clone(),
            attributes: attributes.clone(),
            eligibility,
            tasks: Vec::new(),
            instance_id: told.instance_id.clone(),
            agent_version: Version::parse(told.agent_version),
            registered_at_s: told.registered_at_s,
            running: 0,
            images: BTreeSet::new(),
        };
        self.reference.hosts.insert(slot, host);
    }

    fn place(&mut self, asked: &Asked) {
        let request = Request {
            demand: &asked.demand,
            required_attributes: &asked.required,
            member_of: MemberOf {
                constraints: &asked.member_of,
                own_group: Named.name(GroupKey(asked.group)),
                groups: &Named,
            },
            distinct_instance: asked.distinct_instance,
            strategies: &asked.strategies,
            group: GroupKey(asked.group),
            count: asked.count,
            images: &asked.images,
            earlier: Taken::nothing(),
            entropy: asked.entropy,
        };
        let placement = self.index.place(&request);
        assert_eq!(placement, self.index.place(&request), "equal requests have equal answers");
        let mut tentative = self.reference.clone();
        for slot in &placement.hosts {
            let best = tentative.best(&request);
            assert!(best.contains(slot), "{slot:?} is not one of {best:?} for {request:?}");
            assert!(tentative.goes_by_images(*slot, &best, &request), "{slot:?} for {request:?}");
            tentative.reserve(*slot, request.demand, request.group);
        }
        // Some, because the reference explains slowly.
        if asked.entropy.is_multiple_of(8) {
            self.explain(&request, &placement, &tentative);
        }
        if asked.entropy % 8 < 2 {
            self.goes_on(&request, &placement, &tentative);
        }
        self.placed += placement.hosts.len() as u64;
        let missing = request.count - placement.hosts.len() as u32;
        match placement.unplaced {
            None => assert_eq!(missing, 0),
            Some(unplaced) => {
                assert_eq!(unplaced.count, missing);
                assert!(missing > 0);
                assert_eq!(tentative.best(&request), BTreeSet::new(), "{request:?}");
                assert_eq!(unplaced.hosts as usize, tentative.hosts.len());
                assert_eq!(unplaced.reasons, tentative.reasons(&request));
                assert_eq!(unplaced.closest.is_none(), tentative.hosts.is_empty());
                if let Some((slot, unfit)) = unplaced.closest {
                    let closest = tentative.closest(&request);
                    assert!(closest.contains(&slot), "{slot:?} not of {closest:?}: {request:?}");
                    tentative.assert_explained(slot, &unfit, &request);
                }
            }
        }
        if asked.kept {
            for slot in placement.hosts {
                self.index.reserve(slot, request.demand, request.group);
            }
            self.reference = tentative;
        }
    }

    /// A second placement of the same decision, which sees what the first one took.
    fn goes_on(&self, request: &Request<'_>, first: &Placement, placed: &Reference) {
        let mut taken = Taken::default();
        first.hosts.iter().for_each(|slot| taken.add(*slot, request.demand, request.group));
        // It asks for less, so that it may fit where the first one does not any more.
        let half = Demand {
            cpu: CpuUnits(request.demand.cpu.0 / 2),
            memory: MemoryMib(request.demand.memory.0 / 2),
            ..request.demand.clone()
        };
        let request = Request { demand: &half, earlier: &taken, ..*request };
        let placement = self.index.place(&request);
        let mut tentative = placed.clone();
        for slot in &placement.hosts {
            let best = tentative.best(&request);
            assert!(best.contains(slot), "then {slot:?} is not one of {best:?} for {request:?}");
            tentative.reserve(*slot, request.demand, request.group);
        }
        let Some(unplaced) = placement.unplaced else { return };
        assert_eq!(tentative.best(&request), BTreeSet::new(), "then {request:?}");
        assert_eq!(unplaced.reasons, tentative.reasons(&request));
        if let Some((slot, unfit)) = unplaced.closest {
            let closest = tentative.closest(&request);
            assert!(closest.contains(&slot), "then {slot:?} not of {closest:?}: {request:?}");
            tentative.assert_explained(slot, &unfit, &request);
        }
    }

    /// What is explained is what is then placed, and the closest hosts are in their order.
    fn explain(&self, request: &Request<'_>, placement: &Placement, placed: &Reference) {
        let more = Request { count: request.count + 7, ..*request };
        let explained = self.index.explain(&more, CLOSEST);
        let same = &explained.placement.hosts[..placement.hosts.len()];
        assert_eq!(same, placement.hosts, "{request:?}");
        let Some(unplaced) = &placement.unplaced else { return };
        assert_eq!(explained.placement.hosts.len(), placement.hosts.len());
        let again = explained.placement.unplaced.as_ref().unwrap();
        assert_eq!((&again.reasons, &again.closest), (&unplaced.reasons, &unplaced.closest));
        assert_eq!(explained.closest.first(), unplaced.closest.as_ref());
        assert_eq!(explained.closest.len(), CLOSEST.min(placed.hosts.len()));
        let mut left = placed.clone();
        for (slot, unfit) in &explained.closest {
            let closest = left.closest(request);
            assert!(closest.contains(slot), "{slot:?} not of {closest:?}: {request:?}");
            placed.assert_explained(*slot, unfit, request);
            left.hosts.remove(slot);
        }
    }

    fn start(&mut self, slot: HostSlot, demand: &Demand, required_attributes: &[Attribute]) {
        let request = Request {
            demand,
            required_attributes,
            member_of: MemberOf::NONE,
            distinct_instance: false,
            strategies: &[],
            group: GroupKey(0),
            count: 1,
            images: &[],
            earlier: Taken::nothing(),
            entropy: 0,
        };
        let outcome = self.index.check(slot, demand, required_attributes);
        match outcome {
            Ok(()) => {
                assert!(self.reference.hosts[&slot].failures(&request).is_empty());
                self.index.reserve(slot, demand, GroupKey(0));
                self.reference.reserve(slot, demand, GroupKey(0));
            }
            Err(unfit) if self.reference.hosts.contains_key(&slot) => {
                self.reference.assert_explained(slot, &unfit, &request);
            }
            Err(_) => {}
        }
    }

    /// Everything in the index is what the hosts and their tasks say, and nothing else is in it.
    fn audit(&self) {
        let (index, hosts) = (&self.index, &self.reference.hosts);
        let rows = |wanted: &dyn Fn(&ReferenceHost) -> bool| self.rows(wanted);
        assert_eq!(index.len(), hosts.len());
        assert_eq!(set(&index.present), rows(&|_| true));
        assert_eq!(set(&index.active), rows(&|host| host.eligibility.active));
        assert_eq!(set(&index.connected), rows(&|host| host.eligibility.connected));
        let ready =
            Eligibility { active: true, connected: true, engine_answers: true, has_room: true };
        assert_eq!(set(&index.busy), rows(&|host| !host.tasks.is_empty()));
        let ids: BTreeSet<_> =
            hosts.values().filter_map(|host| host.instance_id.as_ref()).collect();
        assert_eq!(index.particulars.instance_ids.iter().count(), ids.len());
        let versions = hosts.values().filter_map(|host| host.agent_version.as_ref());
        let versions: BTreeSet<_> = versions.collect();
        assert_eq!(index.particulars.versions.iter().count(), versions.len());
        let images: BTreeSet<_> = hosts.values().flat_map(|host| &host.images).collect();
        assert_eq!(index.images.iter().count(), images.len());
        for image in images {
            let held = index.images.get(image.as_str()).unwrap();
            assert_eq!(set(held), rows(&|host| host.images.contains(image)));
        }
        assert_eq!(set(&index.ready), rows(&|host| host.eligibility == ready));
        for (slot, host) in hosts {
            let remaining = index.remaining(*slot).unwrap();
            assert_eq!(remaining.cpu, host.left(Resource::Cpu));
            assert_eq!(remaining.memory, host.left(Resource::Memory));
            assert_eq!(remaining.ports, host.ports().into_iter().collect::<Vec<_>>());
            let row = index.row_of(*slot).unwrap();
            index.cpu.assert_holds(row, quantity(remaining.cpu));
            index.memory.assert_holds(row, quantity(remaining.memory));
            assert_eq!(index.particulars.running.get(row), host.running);
            assert_eq!(index.particulars.registered_at_s.get(row), host.registered_at_s);
            let by_id =
                host.instance_id.as_deref().map(|id| index.particulars.instance_ids.get(id));
            assert!(by_id.is_none_or(|rows| rows.unwrap().contains(row)));
        }
        let ports: BTreeSet<HostPort> = hosts.values().flat_map(ReferenceHost::ports).collect();
        assert_eq!(index.ports.len(), ports.len());
        for port in ports {
            assert_eq!(set(&index.ports[&port]), rows(&|host| host.ports().contains(&port)));
        }
        self.audit_attributes_and_groups();
    }

    fn rows(&self, wanted: &dyn Fn(&ReferenceHost) -> bool) -> BTreeSet<u32> {
        let hosts = self.reference.hosts.iter().filter(|(_, host)| wanted(host));
        hosts.map(|(slot, _)| self.index.row_of(*slot).unwrap()).collect()
    }

    fn audit_attributes_and_groups(&self) {
        let (index, hosts) = (&self.index, &self.reference.hosts);
        let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
        for attribute in hosts.values().flat_map(|host| &host.attributes) {
            names.insert(&attribute.name);
            let with_name = self.rows(&|host| host.attribute(&attribute.name).is_some());
            let any = Attribute { name: attribute.name.clone(), value: None };
            assert_eq!(set(index.attributes.hosts_with(&any).unwrap()), with_name);
            if attribute.value.is_some() {
                values.insert(attribute);
                let with_value = self.rows(&|host| host.attributes.contains(attribute));
                assert_eq!(set(index.attributes.hosts_with(attribute).unwrap()), with_value);
            }
        }
        assert_eq!(index.attributes.counts(), (names.len(), values.len()));
        let tasks = hosts.values().flat_map(|host| &host.tasks);
        let groups: BTreeSet<GroupKey> = tasks.map(|(_, group)| *group).collect();
        assert_eq!(index.groups.len(), groups.len());
        for key in groups {
            let group = index.groups.get(key).unwrap();
            let tasks = |host: &ReferenceHost| host.tasks_of(key) as u32;
            assert_eq!(group.tasks(), hosts.values().map(tasks).sum::<u32>());
            for (slot, host) in hosts {
                assert_eq!(group.on.get(index.row_of(*slot).unwrap()), tasks(host));
            }
            let mut counted = 0;
            for name in &names {
                let name = index.attributes.id(name).unwrap();
                for (value, on) in index.attributes.values(name) {
                    if !index.attributes.is_counted(name) {
                        assert_eq!(group.on_value(value), 0);
                        continue;
                    }
                    let on = set(on);
                    let there = |slot| on.contains(&index.row_of(slot).unwrap());
                    let hosts = hosts.iter().filter(|(slot, _)| there(**slot));
                    let count: u32 = hosts.map(|(_, host)| tasks(host)).sum();
                    assert_eq!(group.on_value(value), count);
                    counted += usize::from(count > 0);
                }
            }
            assert_eq!(group.values_counted(), counted);
        }
    }
}

fn set(bits: &Bits) -> BTreeSet<u32> {
    bits.lines().flat_map(|(block, line)| rows_of(block, line)).collect()
}

fn config(cases: u32) -> Config {
    Config { cases, source_file: Some(file!()), ..Config::default() }
}

#[test]
fn every_choice_is_one_that_looking_at_every_host_would_make() {
    let placed = Cell::new(0);
    let histories = history(0..20, 24, 1..60, Values::Few);
    let mut runner = TestRunner::new(config(800));
    let outcome = runner.run(&histories, |(offers, ops)| {
        let mut both = Both::default();
        for (slot, offer) in (0..).zip(&offers) {
            both.insert(HostSlot(slot), offer);
        }
        for op in &ops {
            both.apply(op);
        }
        both.audit();
        placed.set(placed.get() + both.placed);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(placed.get() >= 35_000, "only {} placements were compared", placed.get());
}

#[test]
fn clusters_of_more_hosts_than_a_line_has_are_placed_alike() {
    let histories = history(500..1300, 1400, 1..15, Values::Many);
    let mut runner = TestRunner::new(config(6));
    let outcome = runner.run(&histories, |(offers, ops)| {
        let mut both = Both::default();
        for (slot, offer) in (0..).zip(&offers) {
            both.insert(HostSlot(slot), offer);
        }
        for op in &ops {
            both.apply(op);
        }
        both.audit();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
