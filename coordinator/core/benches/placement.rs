//! How many placements a second one core decides, at 10,000 hosts: lines of `name value unit`.
//!
//! `cargo bench -p longshore-core --bench placement [-- HOSTS TASKS CASE]`. Tasks of
//! 1,000 groups and 40 shapes fill hosts of three zones; each line is one strategy, then the mix of
//! all, choosing and reserving, for one task a call and for ten. A CASE is measured alone.

#![expect(clippy::print_stdout, reason = "figures go to standard output")]

use longshore_common::{
    clock::{Clock, SystemClock},
    protocol::Attribute,
    resources::{Capacity, CpuUnits, Demand, HostPort, MemoryMib, Transport},
};
use longshore_core::{
    placement::{
        ClusterIndex, Eligibility, GroupKey, HostOffer, HostSlot, MemberOf, Particulars, Request,
        Resource, SpreadOver, Strategy, Taken,
    },
    query::Constraint,
};

const GROUPS: u32 = 1000;
const SHAPES: u32 = 40;
/// Figures of one line are taken over at most so many tasks.
const MEASURED_TASKS: u32 = 400_000;
/// Calls of one decision that see what the ones before them took, and tasks of each.
const CALLS_OF_A_DECISION: [u32; 3] = [1, 10, 100];
const TASKS_OF_A_CALL: u32 = 10;
/// Tasks that each line of decisions places.
const DECIDED_TASKS: u32 = 50_000;

/// What one line measures: 0, 1 or more strategies, and what else the request asks for.
#[derive(Clone)]
struct Case {
    name: &'static str,
    strategies: Vec<Strategy>,
    required: Vec<Attribute>,
    distinct_instance: bool,
    member_of: Vec<Constraint>,
    ports: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let mut number =
        |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (hosts, tasks) = (number(10_000), number(1_000_000));
    let only = arguments.next();
    let is_asked = |case: &Case| only.as_ref().is_none_or(|only| only == case.name);
    let before = resident_mib();
    let empty = cluster(hosts);
    let clock = SystemClock::start();
    println!("hosts {hosts} count");
    for count in [1, 10] {
        for case in cases().into_iter().filter(is_asked) {
            let mut index = empty.clone();
            let run = run(&mut index, &[&case], MEASURED_TASKS.min(tasks), count, &clock);
            run.print(&format!("{}_count_{count}", case.name));
        }
    }
    for case in cases().into_iter().filter(is_asked) {
        for calls in CALLS_OF_A_DECISION {
            let cost = in_decisions(&empty, &case, calls);
            println!("{}_in_decisions_of_{calls}_cpu {cost:.0} ns/placement", case.name);
        }
    }
    if only.is_some() {
        return;
    }
    let cases = cases();
    let mix: Vec<&Case> = cases.iter().collect();
    for count in [1, 10] {
        let mut index = empty.clone();
        run(&mut index, &mix, tasks, count, &clock).print(&format!("mixed_count_{count}"));
        if count == 10 {
            println!("resident {} MiB", resident_mib() - before);
            refusals(&index, &clock);
        }
    }
}

/// CPU time of a placement, in nanoseconds, where each call sees what its decision took before it. Nothing is
/// reserved: a decision changes no index.
fn in_decisions(index: &ClusterIndex, case: &Case, calls: u32) -> f64 {
    let shapes: Vec<Demand> = (0..SHAPES).map(|shape| demand(shape, case.ports)).collect();
    let (mut placed, before) = (0, cpu_seconds());
    for decision in 0..DECIDED_TASKS / TASKS_OF_A_CALL / calls {
        let mut taken = Taken::default();
        for call in 0..calls {
            let nth = decision * calls + call;
            let demand = &shapes[(nth % SHAPES) as usize];
            let group = GroupKey(nth % GROUPS);
            let placement = index.place(&Request {
                demand,
                required_attributes: &case.required,
                member_of: MemberOf { constraints: &case.member_of, ..MemberOf::NONE },
                distinct_instance: case.distinct_instance,
                strategies: &case.strategies,
                group,
                count: TASKS_OF_A_CALL,
                images: &[],
                earlier: &taken,
                entropy: u64::from(nth),
            });
            placed += placement.hosts.len();
            for slot in placement.hosts {
                taken.add(slot, demand, group);
            }
        }
    }
    (cpu_seconds() - before) * 1e9 / placed as f64
}

/// A task that fits nowhere: the counts and the closest host are part of the answer.
fn refusals(index: &ClusterIndex, clock: &SystemClock) {
    let demand =
        Demand { cpu: CpuUnits(1024), memory: MemoryMib(u32::MAX), ports: [].into(), gpus: 0 };
    let request = Request {
        demand: &demand,
        required_attributes: &[],
        member_of: MemberOf::NONE,
        distinct_instance: false,
        strategies: &[],
        group: GroupKey(0),
        count: 1,
        images: &[],
        earlier: Taken::nothing(),
        entropy: 1,
    };
    let start = clock.monotonic();
    let refused = (0..10_000).filter(|_| index.place(&request).unplaced.is_some()).count();
    let seconds = clock.monotonic().since(start).as_secs_f64();
    println!("refusals {:.0} /s", refused as f64 / seconds);
}

struct Run {
    placed: u32,
    choosing_seconds: f64,
    reserving_seconds: f64,
    cpu_seconds: f64,
}

impl Run {
    fn print(&self, name: &str) {
        let placed = f64::from(self.placed);
        println!("{name} {:.0} placements/s", placed / self.choosing_seconds);
        let both = self.choosing_seconds + self.reserving_seconds;
        println!("{name}_and_reserved {:.0} placements/s", placed / both);
        println!("{name}_cpu {:.0} ns/placement", self.cpu_seconds * 1e9 / placed);
    }
}

/// Of a task: its own image, which every fourth host holds, and one that all hold.
fn images(shape: u32) -> [String; 2] {
    [
        format!("registry.example:5000/team/app-{shape}:1"),
        "registry.example:5000/proxy:3".to_owned(),
    ]
}

/// Places until `tasks` were asked for. Every fourth call gives back the tasks of an earlier one.
fn run(
    index: &mut ClusterIndex,
    cases: &[&Case],
    tasks: u32,
    count: u32,
    clock: &SystemClock,
) -> Run {
    let mut run =
        Run { placed: 0, choosing_seconds: 0.0, reserving_seconds: 0.0, cpu_seconds: 0.0 };
    let cpu_before = cpu_seconds();
    let shapes: Vec<Demand> = (0..SHAPES).map(|shape| demand(shape, false)).collect();
    let with_ports: Vec<Demand> = (0..SHAPES).map(|shape| demand(shape, true)).collect();
    let images: Vec<[String; 2]> = (0..SHAPES).map(images).collect();
    let mut held: Vec<(Vec<HostSlot>, usize, bool, GroupKey)> = Vec::new();
    for call in 0..tasks / count {
        let case = cases[call as usize % cases.len()];
        let shape = (call % SHAPES) as usize;
        let demand = if case.ports { &with_ports[shape] } else { &shapes[shape] };
        let group = GroupKey(call.wrapping_mul(2_654_435_761) % GROUPS);
        let request = Request {
            demand,
            required_attributes: &case.required,
            member_of: MemberOf { constraints: &case.member_of, ..MemberOf::NONE },
            distinct_instance: case.distinct_instance,
            strategies: &case.strategies,
            group,
            count,
            images: &images[shape],
            earlier: Taken::nothing(),
            entropy: u64::from(call),
        };
        let start = clock.monotonic();
        let placement = index.place(&request);
        let chosen = clock.monotonic();
        for slot in &placement.hosts {
            index.reserve(*slot, demand, group);
        }
        let reserved = clock.monotonic();
        run.placed += placement.hosts.len() as u32;
        run.choosing_seconds += chosen.since(start).as_secs_f64();
        run.reserving_seconds += reserved.since(chosen).as_secs_f64();
        held.push((placement.hosts, shape, case.ports, group));
        if call % 4 == 3 {
            let at = call.wrapping_mul(2_246_822_519) as usize % held.len();
            let (slots, shape, ports, group) = held.swap_remove(at);
            let demand = if ports { &with_ports[shape] } else { &shapes[shape] };
            for slot in slots {
                index.release(slot, demand, group);
            }
        }
    }
    run.cpu_seconds = cpu_seconds() - cpu_before;
    run
}

fn demand(shape: u32, ports: bool) -> Demand {
    let port = HostPort { transport: Transport::Tcp, port: 8000 + shape as u16 };
    Demand {
        cpu: CpuUnits(64 + 32 * (shape % 8)),
        memory: MemoryMib(128 + 60 * (shape / 4)),
        ports: if ports { [port].into() } else { [].into() },
        gpus: 0,
    }
}

fn cluster(hosts: u32) -> ClusterIndex {
    let mut index = ClusterIndex::new();
    for slot in 0..hosts {
        let size = 1 + slot % 3;
        let capacity = Capacity {
            cpu: CpuUnits(32 * 1024 * size),
            memory: MemoryMib(65_536 * size - 512),
            reserved_ports: [22, 2375, 2376, 51678, 51679, 51680]
                .map(|port| HostPort { transport: Transport::Tcp, port })
                .into(),
            gpus: Box::default(),
        };
        let attributes = attributes(slot);
        let eligibility = Eligibility {
            active: true,
            connected: slot % 100 != 0,
            engine_answers: true,
            has_room: true,
        };
        let particulars = Particulars::default();
        let offer =
            HostOffer { capacity: &capacity, attributes: &attributes, eligibility, particulars };
        index.insert(HostSlot(slot), offer);
        let held = (0..SHAPES).filter(|shape| (slot + shape).is_multiple_of(4));
        let held: Vec<String> = held.flat_map(images).collect();
        index.set_images(HostSlot(slot), &held);
    }
    index
}

fn attributes(slot: u32) -> Vec<Attribute> {
    let valued = [
        ("ecs.availability-zone", format!("zone-{}", slot % 3)),
        (
            "ecs.cpu-architecture",
            if slot.is_multiple_of(5) { "arm64" } else { "x86_64" }.to_owned(),
        ),
        ("ecs.os-type", "linux".to_owned()),
        ("ecs.os-family", "LINUX".to_owned()),
        ("ecs.instance-type", format!("size-{}", slot % 3)),
        ("ecs.ami-id", format!("ami-{}", slot % 7)),
        ("rack", format!("rack-{}", slot % 250)),
        ("name", format!("host-{slot}")),
    ];
    let valued =
        valued.map(|(name, value)| Attribute { name: name.to_owned(), value: Some(value) });
    let capability = |n| Attribute { name: format!("ecs.capability.number-{n}"), value: None };
    valued.into_iter().chain((0..40).map(capability)).collect()
}

fn cases() -> Vec<Case> {
    let plain = |name, strategies: &[Strategy]| Case {
        name,
        strategies: strategies.to_vec(),
        required: (0..5)
            .map(|n| Attribute { name: format!("ecs.capability.number-{n}"), value: None })
            .collect(),
        distinct_instance: false,
        member_of: Vec::new(),
        ports: false,
    };
    let over = |name: &str| Strategy::Spread(SpreadOver::Attribute(name.to_owned()));
    let (cpu, memory) = (Strategy::Binpack(Resource::Cpu), Strategy::Binpack(Resource::Memory));
    let instance = Strategy::Spread(SpreadOver::Instance);
    let arm = ("ecs.cpu-architecture".to_owned(), Some("arm64".to_owned()));
    let mut constrained =
        plain("zone_instance_distinct_arm", &[over("ecs.availability-zone"), instance.clone()]);
    constrained.required.push(Attribute { name: arm.0, value: arm.1 });
    constrained.distinct_instance = true;
    let mut member_of = constrained.clone();
    member_of.name = "zone_instance_distinct_member_of";
    member_of.member_of = ["attribute:ecs.instance-type =~ size-[01] and runningTasksCount < 200"]
        .map(|text| Constraint::from(text.to_owned()))
        .to_vec();
    let mut with_ports =
        plain("zone_binpack_ports", &[over("ecs.availability-zone"), memory.clone()]);
    with_ports.ports = true;
    vec![
        plain("random", &[Strategy::Random]),
        plain("default", &[]),
        plain("binpack_memory", std::slice::from_ref(&memory)),
        plain("binpack_cpu", &[cpu]),
        plain("spread_instance", &[instance]),
        plain("zone_then_binpack", &[over("ecs.availability-zone"), memory.clone()]),
        plain("250_racks_then_binpack", &[over("rack"), memory]),
        constrained,
        member_of,
        with_ports,
    ]
}

/// Memory of this process, from the kernel; 0 where there is no procfs.
fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096 / (1024 * 1024)
}

/// CPU time of this thread, from the kernel: what other processes take does not count.
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns: f64 = schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(f64::NAN);
    ns / 1e9
}
