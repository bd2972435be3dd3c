//! Small clusters, one sentence each.

use expect_test::{Expect, expect};
use longshore_common::{
    clock::Timestamp,
    protocol::Attribute,
    resources::{Capacity, CpuUnits, Demand, HostPort, MemoryMib, Transport},
};

use crate::{
    placement::{
        AVAILABILITY_ZONE, ClusterIndex, Eligibility, GroupKey, GroupNames, HostOffer, HostSlot,
        MemberOf, Particulars, Placement, Request, Resource, SpreadOver, Strategy, Taken, Unfit,
    },
    query::Constraint,
};

const READY: Eligibility =
    Eligibility { active: true, connected: true, engine_answers: true, has_room: true };
const WEB: GroupKey = GroupKey(1);
const OTHER: GroupKey = GroupKey(2);

struct Named;

impl GroupNames for Named {
    fn key(&self, name: &str) -> Option<GroupKey> {
        [WEB, OTHER].into_iter().find(|key| self.name(*key) == name)
    }
    fn name(&self, key: GroupKey) -> &str {
        if key == WEB { "web" } else { "other" }
    }
}

fn attribute(text: &str) -> Attribute {
    match text.split_once('=') {
        Some((name, value)) => Attribute { name: name.into(), value: Some(value.into()) },
        None => Attribute { name: text.into(), value: None },
    }
}

fn attributes(texts: &[&str]) -> Vec<Attribute> {
    texts.iter().map(|text| attribute(text)).collect()
}

fn capacity(cpu: u32, memory: u32) -> Capacity {
    let ssh = HostPort { transport: Transport::Tcp, port: 22 };
    Capacity {
        cpu: CpuUnits(cpu),
        memory: MemoryMib(memory),
        reserved_ports: [ssh].into(),
        gpus: Box::default(),
    }
}

/// CPU units, MiB, attributes.
type Given<'a> = (u32, u32, &'a [&'a str]);
const BIG: Given<'_> = (65536, 65536, &[]);

/// Hosts 0, 1, 2…
fn cluster(hosts: &[Given<'_>]) -> ClusterIndex {
    let mut index = ClusterIndex::new();
    for (slot, (cpu, memory, texts)) in (0..).zip(hosts) {
        let (capacity, attributes) = (capacity(*cpu, *memory), attributes(texts));
        let offer = HostOffer {
            capacity: &capacity,
            attributes: &attributes,
            eligibility: READY,
            particulars: Particulars::default(),
        };
        index.insert(HostSlot(slot), offer);
    }
    index
}

fn demand(cpu: u32, memory: u32, tcp_ports: &[u16]) -> Demand {
    let port = |port: &u16| HostPort { transport: Transport::Tcp, port: *port };
    Demand {
        cpu: CpuUnits(cpu),
        memory: MemoryMib(memory),
        ports: tcp_ports.iter().map(port).collect(),
        gpus: 0,
    }
}

/// Asks for `count` tasks of the group WEB.
struct Ask<'a> {
    demand: Demand,
    required: &'a [&'a str],
    member_of: &'a [&'a str],
    distinct_instance: bool,
    strategies: &'a [Strategy],
    count: u32,
    images: [&'a str; 2],
    entropy: u64,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        let demand = demand(256, 256, &[]);
        Ask {
            demand,
            required: &[],
            member_of: &[],
            distinct_instance: false,
            strategies: &[],
            count: 1,
            images: ["web:1", "proxy:1"],
            entropy: 7,
        }
    }
}

fn place(index: &ClusterIndex, ask: &Ask<'_>) -> Placement {
    let constraints = ask.member_of.iter().map(|text| Constraint::parse(text).unwrap());
    let constraints: Vec<Constraint> = constraints.collect();
    index.place(&Request {
        demand: &ask.demand,
        required_attributes: &attributes(ask.required),
        member_of: MemberOf { constraints: &constraints, own_group: "web", groups: &Named },
        distinct_instance: ask.distinct_instance,
        strategies: ask.strategies,
        group: WEB,
        count: ask.count,
        images: &ask.images.map(str::to_owned),
        earlier: Taken::nothing(),
        entropy: ask.entropy,
    })
}

/// How many tasks each host gets, then what ECS would be told of those that none gets.
fn check(index: &ClusterIndex, ask: &Ask<'_>, expected: Expect) {
    let placement = place(index, ask);
    let mut text = String::new();
    for slot in 0..index.len() as u32 {
        let tasks = placement.hosts.iter().filter(|host| host.0 == slot).count();
        text += &format!("{tasks} ");
    }
    if let Some(unplaced) = placement.unplaced {
        let reason = unplaced.reason().map(|reason| reason.as_ecs());
        let sentence = unplaced.sentence(|slot| format!("#{}", slot.0));
        text += &format!("\n{} x {reason:?}: {sentence}", unplaced.count);
    }
    expected.assert_eq(text.trim_end());
}

#[test]
fn binpack_fills_the_fullest_host_that_has_room_before_the_next() {
    let mut index = cluster(&[(4096, 4096, &[]), (4096, 1024, &[]), (4096, 2048, &[])]);
    let strategies = &[Strategy::Binpack(Resource::Memory)];
    check(&index, &Ask { strategies, count: 7, ..Ask::default() }, expect!["0 4 3"]);
    index.reserve(HostSlot(0), &demand(0, 3900, &[]), OTHER);
    check(&index, &Ask { strategies, count: 7, ..Ask::default() }, expect!["0 4 3"]);
    let strategies = &[Strategy::Binpack(Resource::Cpu), Strategy::Binpack(Resource::Memory)];
    check(&index, &Ask { strategies, ..Ask::default() }, expect!["0 1 0"]);
}

#[test]
fn spread_counts_only_tasks_of_the_own_group() {
    let mut index = cluster(&[(4096, 4096, &[]), (4096, 4096, &[]), (4096, 4096, &[])]);
    let strategies = &[Strategy::Spread(SpreadOver::Instance)];
    for _ in 0..5 {
        index.reserve(HostSlot(0), &demand(64, 64, &[]), OTHER);
    }
    index.reserve(HostSlot(1), &demand(64, 64, &[]), WEB);
    check(&index, &Ask { strategies, count: 5, ..Ask::default() }, expect!["2 1 2"]);
}

#[test]
fn spread_over_an_attribute_evens_out_its_values_not_its_hosts() {
    let rack = "rack".to_owned();
    let strategies =
        &[Strategy::Spread(SpreadOver::Attribute(rack)), Strategy::Binpack(Resource::Memory)];
    let a: &[&str] = &["rack=a"];
    let index =
        cluster(&[(4096, 4096, a), (4096, 2048, a), (4096, 4096, &["rack=b"]), (4096, 1024, &[])]);
    // Host 3 has no rack; host 1 is the fuller one of rack a.
    check(&index, &Ask { strategies, count: 6, ..Ask::default() }, expect!["0 3 3 0"]);
}

#[test]
fn default_placement_spreads_over_zones_then_over_hosts() {
    let zone = |name: &str| format!("{AVAILABILITY_ZONE}={name}");
    let (a, b) = (zone("a"), zone("b"));
    let index = cluster(&[
        (4096, 4096, &[&a]),
        (4096, 4096, &[&a]),
        (4096, 4096, &[&b]),
        (4096, 4096, &[]),
    ]);
    check(&index, &Ask { count: 12, ..Ask::default() }, expect!["2 2 4 4"]);
}

#[test]
fn a_full_zone_does_not_hold_back_the_others() {
    let zone = |name: &str| format!("{AVAILABILITY_ZONE}={name}");
    let (a, b) = (zone("a"), zone("b"));
    let index = cluster(&[(512, 4096, &[&a]), (4096, 4096, &[&b])]);
    check(&index, &Ask { count: 9, ..Ask::default() }, expect!["2 7"]);
}

#[test]
fn a_member_of_constraint_keeps_tasks_off_hosts_that_do_not_meet_it() {
    let index = cluster(&[
        (4096, 4096, &["zone=a", "type=t2.small"]),
        (4096, 4096, &["zone=b", "type=t2.large"]),
        (4096, 4096, &["zone=b"]),
    ]);
    let spread = &[Strategy::Spread(SpreadOver::Instance)];
    let ask = |member_of| Ask { member_of, strategies: spread, count: 6, ..Ask::default() };
    check(&index, &ask(&["attribute:type =~ t2.*"]), expect!["3 3 0"]);
    check(&index, &ask(&["attribute:zone == b"]), expect!["0 3 3"]);
    check(&index, &ask(&["attribute:zone == b", "attribute:type exists"]), expect!["0 6 0"]);
    check(&index, &ask(&["not(attribute:type in [t2.small, t2.large])"]), expect!["0 0 6"]);
    check(
        &index,
        &Ask { count: 1, ..ask(&["attribute:zone == b", "attribute:type == g2"]) },
        expect![[r#"
            0 0 0 
            1 x Some("MemberOf placement constraint unsatisfied"): no container instance can take the task (of 3: 3 outside of a memberOf constraint); the closest container instance #0 does not meet the constraint `attribute:zone == b` and does not meet the constraint `attribute:type == g2`"#]],
    );
}

#[test]
fn a_constraint_that_names_groups_heeds_the_tasks_of_its_own_call() {
    let mut index = cluster(&[BIG; 3]);
    let ask = |member_of| Ask { member_of, count: 4, ..Ask::default() };
    check(
        &index,
        &ask(&["task:group != web"]),
        expect![[r#"
        1 1 1 
        1 x Some("MemberOf placement constraint unsatisfied"): no container instance can take the task (of 3: 3 outside of a memberOf constraint); the closest container instance #0 does not meet the constraint `task:group != web`"#]],
    );
    check(
        &index,
        &Ask { count: 1, ..ask(&["task:group == other"]) },
        expect![[r#"
        0 0 0 
        1 x Some("MemberOf placement constraint unsatisfied"): no container instance can take the task (of 3: 3 outside of a memberOf constraint); the closest container instance #0 does not meet the constraint `task:group == other`"#]],
    );
    index.reserve(HostSlot(1), &demand(64, 64, &[]), OTHER);
    check(&index, &ask(&["task:group == other"]), expect!["0 4 0"]);
    check(&index, &ask(&["task:group !~ o.*"]), expect!["2 0 2"]);
    check(&index, &ask(&["task:group exists"]), expect!["0 4 0"]);
}

#[test]
fn running_tasks_ids_versions_and_times_are_asked_of_hosts_as_they_are() {
    let mut index = cluster(&[BIG; 3]);
    for (slot, id, agent_version) in [(0, "i-a", "1.9.0"), (1, "i-b", "1.10.0"), (2, "i-c", "odd")]
    {
        let registered_at = Timestamp(1_529_360_908_000 + 1000 * u64::from(slot));
        let particulars = Particulars { instance_id: Some(id), agent_version, registered_at };
        index.set_particulars(HostSlot(slot), particulars);
        index.set_running(HostSlot(slot), slot);
    }
    let spread = &[Strategy::Spread(SpreadOver::Instance)];
    let ask = |text| Ask { member_of: text, strategies: spread, count: 6, ..Ask::default() };
    check(&index, &ask(&["runningTasksCount < 2"]), expect!["3 3 0"]);
    check(&index, &ask(&["runningTasksCount >= 2"]), expect!["0 0 6"]);
    check(&index, &ask(&["runningTasksCount < 4000000000"]), expect!["2 2 2"]);
    check(&index, &ask(&["agentVersion >= 1.10"]), expect!["0 6 0"]);
    check(&index, &ask(&["agentVersion != 1.9"]), expect!["0 3 3"]);
    check(&index, &ask(&["ec2InstanceId in [i-a, i-c]"]), expect!["3 0 3"]);
    check(&index, &ask(&["ec2InstanceId =~ i-[bc]"]), expect!["0 3 3"]);
    check(&index, &ask(&["registeredAt > 2018-06-18T22:28:28Z"]), expect!["0 3 3"]);
    check(&index, &ask(&["agentConnected == true"]), expect!["2 2 2"]);
    check(
        &index,
        &Ask { count: 1, ..ask(&["agentConnected == false"]) },
        expect![[r#"
        0 0 0 
        1 x Some("MemberOf placement constraint unsatisfied"): no container instance can take the task (of 3: 3 outside of a memberOf constraint); the closest container instance #0 does not meet the constraint `agentConnected == false`"#]],
    );
}

#[test]
fn distinct_instance_gives_a_host_one_task_of_the_group() {
    let mut index = cluster(&[(4096, 4096, &[]), (4096, 4096, &[]), (4096, 4096, &[])]);
    index.reserve(HostSlot(0), &demand(64, 64, &[]), OTHER);
    index.reserve(HostSlot(1), &demand(64, 64, &[]), WEB);
    let ask = Ask { distinct_instance: true, count: 3, ..Ask::default() };
    check(
        &index,
        &ask,
        expect![[r#"
            1 0 1 
            1 x Some("DistinctInstance placement constraint unsatisfied"): no container instance can take the task (of 3: 3 with a task of the group already); the closest container instance #0 runs a task of the same group already"#]],
    );
}

#[test]
fn a_static_port_is_free_once_on_a_host_and_never_when_reserved() {
    let index = cluster(&[(4096, 4096, &[]), (4096, 4096, &[])]);
    let ask = Ask { demand: demand(0, 64, &[80]), count: 3, ..Ask::default() };
    check(
        &index,
        &ask,
        expect![[r#"
            1 1 
            1 x Some("RESOURCE:PORTS"): no container instance can take the task (of 2: 2 with a needed port taken); the closest container instance #0 has tcp port 80 in use"#]],
    );
    let ask = Ask { demand: demand(0, 64, &[22]), ..Ask::default() };
    check(
        &index,
        &ask,
        expect![[r#"
            0 0 
            1 x Some("RESOURCE:PORTS"): no container instance can take the task (of 2: 2 with a needed port taken); the closest container instance #0 has tcp port 22 in use"#]],
    );
}

#[test]
fn a_full_cluster_says_how_much_is_missing_on_the_closest_host() {
    let index = cluster(&[(4096, 128, &[]), (4096, 192, &[]), (128, 4096, &[]), (64, 64, &[])]);
    check(
        &index,
        &Ask::default(),
        expect![[r#"
            0 0 0 0 
            1 x Some("RESOURCE:MEMORY"): no container instance can take the task (of 4: 2 short of CPU, 2 short of memory); the closest container instance #1 has 192 of the 256 MiB needed"#]],
    );
    let index = cluster(&[(128, 128, &[]), (64, 192, &[])]);
    check(
        &index,
        &Ask::default(),
        expect![[r#"
            0 0 
            1 x Some("RESOURCE:CPU"): no container instance can take the task (of 2: 2 short of CPU); the closest container instance #1 has 64 of the 256 CPU units needed and has 192 of the 256 MiB needed"#]],
    );
}

#[test]
fn a_task_with_gpus_goes_where_enough_are_free() {
    let mut index = cluster(&[BIG, BIG, BIG]);
    for (slot, gpus) in [(1, 2), (2, 4)] {
        let gpus = (0..gpus).map(|gpu| format!("GPU-{gpu}")).collect();
        index.set_capacity(HostSlot(slot), &Capacity { gpus, ..capacity(65536, 65536) });
    }
    let asks = |gpus, count| Ask {
        demand: Demand { gpus, ..demand(256, 256, &[]) },
        count,
        ..Ask::default()
    };
    index.reserve(HostSlot(2), &asks(1, 1).demand, WEB);
    check(
        &index,
        &asks(3, 2),
        expect![[r#"
            0 0 1 
            1 x Some("RESOURCE:GPU"): no container instance can take the task (of 3: 3 short of GPUs); the closest container instance #0 has 0 of the 3 GPUs needed"#]],
    );
    check(&index, &asks(2, 2), expect!["0 1 1"]);
    index.release(HostSlot(2), &asks(1, 1).demand, WEB);
    check(&index, &asks(4, 1), expect!["0 0 1"]);
}

#[test]
fn the_reason_is_that_of_the_host_which_fails_last() {
    let arm: &[&str] = &["ecs.cpu-architecture=arm64"];
    let required = &["ecs.cpu-architecture=arm64"][..];
    let mut index = cluster(&[(4096, 4096, &[]), (4096, 4096, arm), (4096, 128, arm)]);
    let ask = Ask { required, ..Ask::default() };
    index.set_eligibility(
        HostSlot(1),
        Eligibility { active: true, connected: false, engine_answers: true, has_room: true },
    );
    check(
        &index,
        &ask,
        expect![[r#"
            0 0 0 
            1 x Some("RESOURCE:MEMORY"): no container instance can take the task (of 3: 1 with a disconnected agent, 1 without a required attribute, 1 short of memory); the closest container instance #2 has 128 of the 256 MiB needed"#]],
    );
    index.set_eligibility(
        HostSlot(2),
        Eligibility { active: false, connected: true, engine_answers: true, has_room: true },
    );
    check(
        &index,
        &ask,
        expect![[r#"
            0 0 0 
            1 x Some("ATTRIBUTE"): no container instance can take the task (of 3: 1 not ACTIVE, 1 with a disconnected agent, 1 without a required attribute); the closest container instance #0 lacks the attribute ecs.cpu-architecture with the value arm64"#]],
    );
    index.set_eligibility(
        HostSlot(0),
        Eligibility { active: true, connected: false, engine_answers: true, has_room: true },
    );
    check(
        &index,
        &ask,
        expect![[r#"
            0 0 0 
            1 x Some("AGENT"): no container instance can take the task (of 3: 1 not ACTIVE, 2 with a disconnected agent); the closest container instance #1 has a disconnected agent"#]],
    );
}

#[test]
fn an_empty_cluster_has_no_reason_but_that() {
    check(
        &cluster(&[]),
        &Ask::default(),
        expect![[r#"

            1 x None: the cluster has no container instances"#]],
    );
}

#[test]
fn start_task_is_told_all_that_is_wrong_with_the_host_it_picked() {
    let mut index = cluster(&[(128, 4096, &["ssd"])]);
    let check = |index: &ClusterIndex, slot, demand, required: &[&str]| {
        let unfit = index.check(HostSlot(slot), &demand, &attributes(required));
        unfit.map_err(|unfit| unfit.iter().map(Unfit::to_string).collect::<Vec<_>>().join("; "))
    };
    assert_eq!(check(&index, 0, demand(128, 128, &[80]), &["ssd"]), Ok(()));
    index.reserve(HostSlot(0), &demand(64, 64, &[80]), WEB);
    index.set_eligibility(
        HostSlot(0),
        Eligibility { active: true, connected: false, engine_answers: true, has_room: true },
    );
    expect![[r#"
        Err(
            "has a disconnected agent; lacks the attribute rack; has tcp port 80 in use; has 64 of the 128 CPU units needed",
        )
    "#]]
    .assert_debug_eq(&check(&index, 0, demand(128, 128, &[80, 81]), &["ssd", "rack"]));
    expect![[r#"
        Err(
            "is not ACTIVE (if it is DRAINING, update-container-instances-state --status ACTIVE ends that)",
        )
    "#]]
    .assert_debug_eq(&check(&index, 9, demand(1, 1, &[]), &[]));
}

#[test]
fn host_whose_capacity_shrank_below_its_tasks_takes_nothing_more() {
    let mut index = cluster(&[(1024, 1024, &[])]);
    index.reserve(HostSlot(0), &demand(512, 512, &[]), WEB);
    index.set_capacity(HostSlot(0), &capacity(256, 2048));
    assert_eq!(index.remaining(HostSlot(0)).unwrap().cpu, -256);
    check(
        &index,
        &Ask::default(),
        expect![[r#"
            0 
            1 x Some("RESOURCE:CPU"): no container instance can take the task (of 1: 1 short of CPU); the closest container instance #0 has 0 of the 256 CPU units needed"#]],
    );
    // A task that takes no CPU is none the worse for it.
    check(&index, &Ask { demand: demand(0, 256, &[]), ..Ask::default() }, expect!["1"]);
    index.release(HostSlot(0), &demand(512, 512, &[]), WEB);
    assert_eq!(index.remaining(HostSlot(0)).unwrap().cpu, 256);
}

#[test]
fn port_reserved_while_a_task_has_it_stays_taken_afterwards() {
    let mut index = cluster(&[(1024, 1024, &[])]);
    index.reserve(HostSlot(0), &demand(0, 64, &[8080]), WEB);
    let mut reserving = capacity(1024, 1024);
    reserving.reserved_ports = demand(0, 0, &[22, 8080]).ports;
    index.set_capacity(HostSlot(0), &reserving);
    index.release(HostSlot(0), &demand(0, 64, &[8080]), WEB);
    assert_eq!(index.remaining(HostSlot(0)).unwrap().ports, &*demand(0, 0, &[22, 8080]).ports);
}

#[test]
fn random_leaves_no_host_out_and_heeds_nothing_after_it() {
    let index = cluster(&[BIG; 4]);
    // Were binpack heeded, one host would get them all.
    let strategies = &[Strategy::Random, Strategy::Binpack(Resource::Memory)];
    let placement = place(&index, &Ask { strategies, count: 200, ..Ask::default() });
    for slot in 0..4 {
        let tasks = placement.hosts.iter().filter(|host| host.0 == slot).count();
        assert!((25..=75).contains(&tasks), "host {slot} got {tasks} of 200");
    }
}

#[test]
fn many_small_groups_fill_hosts_evenly() {
    let mut index = cluster(&[BIG; 50]);
    for group in 0..1000 {
        let placement = index.place(&Request {
            demand: &demand(64, 64, &[]),
            required_attributes: &[],
            member_of: MemberOf::NONE,
            distinct_instance: false,
            strategies: &[],
            group: GroupKey(group),
            count: 1,
            images: &[],
            earlier: Taken::nothing(),
            entropy: u64::from(group),
        });
        index.reserve(placement.hosts[0], &demand(64, 64, &[]), GroupKey(group));
    }
    let least = (0..50).map(|slot| index.remaining(HostSlot(slot)).unwrap().cpu).min().unwrap();
    // 20 tasks each on average.
    assert!(65536 - least <= 64 * 24, "one host has {} tasks", (65536 - least) / 64);
}

/// Where one task goes, for a hundred entropies.
fn throws(index: &ClusterIndex, strategies: &[Strategy]) -> Vec<u32> {
    let ask = |entropy| Ask { strategies, entropy, ..Ask::default() };
    (0..100).map(|entropy| place(index, &ask(entropy)).hosts[0].0).collect()
}

/// Each host that a task goes to.
fn chosen(index: &ClusterIndex, strategies: &[Strategy]) -> Vec<u32> {
    let mut chosen = throws(index, strategies);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn holds(index: &mut ClusterIndex, slot: u32, images: &[&str]) {
    let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
    index.set_images(HostSlot(slot), &images);
}

#[test]
fn of_equally_good_hosts_one_that_holds_the_image_is_chosen() {
    let mut index = cluster(&[BIG; 4]);
    assert_eq!(chosen(&index, &[]), [0, 1, 2, 3]);
    holds(&mut index, 1, &["web:1", "other:2"]);
    holds(&mut index, 2, &["web:2"]);
    assert_eq!(chosen(&index, &[]), [1]);
    assert_eq!(chosen(&index, &[Strategy::Binpack(Resource::Cpu)]), [1]);
    holds(&mut index, 3, &["web:1"]);
    assert_eq!(chosen(&index, &[]), [1, 3]);
    holds(&mut index, 1, &["other:2"]);
    assert_eq!(chosen(&index, &[]), [3]);
    index.remove(HostSlot(3));
    assert_eq!(chosen(&index, &[]), [0, 1, 2]);
}

#[test]
fn a_host_that_holds_both_images_comes_before_one_that_holds_one() {
    let mut index = cluster(&[BIG; 4]);
    holds(&mut index, 0, &["proxy:1"]);
    assert_eq!(chosen(&index, &[]), [0]);
    holds(&mut index, 1, &["web:1"]);
    assert_eq!(chosen(&index, &[]), [1]);
    holds(&mut index, 2, &["web:1", "proxy:1"]);
    assert_eq!(chosen(&index, &[]), [2]);
}

#[test]
fn the_strategy_comes_before_the_image() {
    let mut index = cluster(&[BIG; 3]);
    holds(&mut index, 1, &["web:1"]);
    let spread = [Strategy::Spread(SpreadOver::Instance)];
    check(&index, &Ask { count: 3, strategies: &spread, ..Ask::default() }, expect!["1 1 1"]);
    assert_eq!(chosen(&index, &[Strategy::Random]), [0, 1, 2]);
    index.reserve(HostSlot(1), &demand(64, 64, &[]), WEB);
    assert_eq!(chosen(&index, &[]), [0, 2]);
}

#[test]
fn tasks_do_not_heap_up_where_their_image_is() {
    let small_hosts: [Given<'_>; 4] = [(1024, 1024, &[]); 4];
    let mut index = cluster(&small_hosts);
    holds(&mut index, 1, &["web:1"]);
    let small = demand(256, 256, &[]);
    index.reserve(HostSlot(1), &small, OTHER);
    assert_eq!(chosen(&index, &[]), [1], "it has a quarter less than the others");
    index.reserve(HostSlot(1), &demand(8, 8, &[]), OTHER);
    let there = throws(&index, &[]).into_iter().filter(|host| *host == 1).count();
    assert!(there < 20, "it has more than a quarter less, and got {there} of 100");
}
