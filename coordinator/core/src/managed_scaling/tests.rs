//! Worked cases: the documentation's own, and what lies around them.

use longshore_common::resources::{Capacity, CpuUnits, Demand, HostPort, MemoryMib, Transport};
use proptest::prelude::*;

use super::*;

/// Managed scaling that these tests vary.
const DEFAULT: ManagedScaling = ManagedScaling {
    enabled: true,
    target_capacity: 100,
    minimum_step: 1,
    maximum_step: 10_000,
    warmup_s: 300,
};

fn target(percent: u32) -> ManagedScaling {
    ManagedScaling { target_capacity: percent, ..DEFAULT }
}

fn steps(least: u32, most: u32) -> ManagedScaling {
    ManagedScaling { minimum_step: least, maximum_step: most, ..DEFAULT }
}

/// N, of them busy, launching, waiting tasks, instances that these would fill.
fn counts(numbers: [u32; 5]) -> Counts {
    let [in_service, busy, launching, waiting, needed] = numbers;
    Counts { in_service, busy, launching, waiting, needed }
}

#[test]
fn the_reservation_is_what_tasks_need_of_what_is_in_service() {
    for (numbers, scaling, m, percent) in [
        // The documentation's: nothing there and nothing asked for; something asked for.
        ([0, 0, 0, 0, 0], DEFAULT, 0, 100.0),
        ([0, 0, 0, 1, 1], DEFAULT, 1, 200.0),
        ([0, 0, 0, 40, 10], DEFAULT, 10, 200.0),
        // All that is there is in use: 100; half of it: 50; nothing waits, so nothing is short.
        ([4, 4, 0, 0, 0], DEFAULT, 4, 100.0),
        ([4, 2, 0, 0, 0], DEFAULT, 2, 50.0),
        ([4, 0, 0, 0, 0], DEFAULT, 0, 0.0),
        ([3, 1, 0, 0, 0], DEFAULT, 1, 100.0 / 3.0),
        // Tasks that wait need more than is there, be it in use or not.
        ([4, 4, 0, 3, 1], DEFAULT, 5, 125.0),
        ([4, 2, 0, 3, 1], DEFAULT, 5, 125.0),
        ([2, 2, 0, 9, 2], DEFAULT, 4, 200.0),
        ([1, 1, 0, 9, 3], DEFAULT, 4, 400.0),
        // Those on their way are not in service.
        ([1, 1, 3, 9, 3], DEFAULT, 4, 400.0),
        // Tasks that never fit ask for nothing.
        ([2, 2, 0, 7, 0], DEFAULT, 2, 100.0),
        ([0, 0, 0, 7, 0], DEFAULT, 0, 100.0),
        // The steps bound what tasks are said to need.
        ([4, 4, 0, 3, 1], steps(2, 10_000), 6, 150.0),
        ([4, 4, 0, 90, 9], steps(1, 4), 8, 200.0),
        ([4, 4, 0, 90, 9], steps(3, 3), 7, 175.0),
        ([0, 0, 0, 90, 9], steps(1, 4), 4, 200.0),
        ([5, 5, 0, 1, 1], steps(5, 10), 10, 200.0),
        ([5, 0, 0, 1, 1], steps(2, 10), 7, 140.0),
        ([0, 0, 0, 1, 1], steps(3, 10), 3, 200.0),
        // No step without a task that waits and fits.
        ([4, 1, 0, 0, 0], steps(2, 10_000), 1, 25.0),
        ([0, 0, 0, 0, 0], steps(2, 10_000), 0, 100.0),
        ([2, 1, 0, 5, 0], steps(3, 10), 1, 50.0),
        // One instance, and as many as a cluster may have.
        ([1, 0, 0, 0, 0], DEFAULT, 0, 0.0),
        ([1, 1, 0, 0, 0], DEFAULT, 1, 100.0),
        ([1, 1, 0, 500, 500], DEFAULT, 501, 50_100.0),
        ([5000, 4999, 0, 0, 0], DEFAULT, 4999, 99.98),
        ([5000, 5000, 0, 1, 1], DEFAULT, 5001, 100.02),
        ([8, 6, 0, 0, 0], DEFAULT, 6, 75.0),
        // The target is compared with, and no part of the metric.
        ([4, 3, 0, 0, 0], target(75), 3, 75.0),
        ([10, 5, 0, 0, 0], target(50), 5, 50.0),
    ] {
        let reservation = counts(numbers).reservation(&scaling);
        assert_eq!((reservation.needed, reservation.in_service), (m, numbers[0]), "{numbers:?}");
        assert!((reservation.percent() - percent).abs() < 1e-9, "{numbers:?}: {reservation}");
    }
    let shown = counts([2, 2, 0, 3, 1]).reservation(&DEFAULT).to_string();
    assert_eq!(shown, "M 3 / N 2 = 150 %");
}

#[test]
fn a_group_goes_to_its_target_within_its_bounds_and_steps() {
    use Wanted::{In, Out, Stay};
    for (numbers, scaling, (min, max), wanted) in [
        // From nothing to exactly what is needed, not to two.
        ([0, 0, 0, 1, 1], DEFAULT, (0, 100), Out(1)),
        ([0, 0, 0, 40, 10], DEFAULT, (0, 100), Out(10)),
        // What is on its way already is not asked for again.
        ([0, 0, 10, 40, 10], DEFAULT, (0, 100), Stay),
        ([0, 0, 6, 40, 10], DEFAULT, (0, 100), Out(10)),
        ([2, 2, 1, 9, 3], DEFAULT, (0, 100), Out(5)),
        // Bounds.
        ([0, 0, 0, 40, 10], DEFAULT, (0, 4), Out(4)),
        ([4, 4, 0, 40, 10], DEFAULT, (0, 4), Stay),
        ([3, 3, 0, 40, 10], DEFAULT, (0, 4), Out(4)),
        ([5, 5, 0, 40, 10], DEFAULT, (0, 4), Stay),
        ([3, 0, 0, 0, 0], DEFAULT, (2, 9), In(2)),
        ([2, 0, 0, 0, 0], DEFAULT, (2, 9), Stay),
        // Steps.
        ([0, 0, 0, 1, 1], steps(3, 10_000), (0, 100), Out(3)),
        ([0, 0, 0, 40, 10], steps(1, 4), (0, 100), Out(4)),
        ([4, 4, 0, 28, 7], steps(1, 4), (0, 100), Out(8)),
        // Room to spare: a target below 100 is kept without any task waiting.
        ([4, 4, 0, 0, 0], target(80), (0, 100), Out(5)),
        ([5, 4, 0, 0, 0], target(80), (0, 100), Stay),
        ([10, 5, 0, 0, 0], target(50), (0, 100), Stay),
        ([10, 4, 0, 0, 0], target(50), (0, 100), In(8)),
        ([0, 0, 0, 4, 1], target(50), (0, 100), Out(2)),
        ([0, 0, 0, 0, 0], target(50), (0, 100), Stay),
        // Down to what is in use.
        ([4, 2, 0, 0, 0], DEFAULT, (0, 100), In(2)),
        ([4, 0, 0, 0, 0], DEFAULT, (0, 100), In(0)),
        ([4, 4, 0, 0, 0], DEFAULT, (0, 100), Stay),
        // What is on its way is too much as well; but not while anything waits.
        ([4, 2, 1, 0, 0], DEFAULT, (0, 100), In(2)),
        ([0, 0, 2, 0, 0], DEFAULT, (0, 100), In(0)),
        ([4, 2, 0, 1, 0], DEFAULT, (0, 100), Stay),
    ] {
        assert_eq!(counts(numbers).wanted(&scaling, min, max), wanted, "{numbers:?}");
    }
}

#[test]
fn half_of_what_is_too_much_goes_at_a_time_unless_all_is_to_go_at_once() {
    for (there, least, at_once, expected) in
        [(10, 2, false, 6), (6, 2, false, 4), (3, 2, false, 2), (10, 2, true, 2), (2, 2, false, 2)]
    {
        assert_eq!(step_in(there, least, at_once), expected);
    }
}

fn demand(cpu: u32, memory: u32) -> Demand {
    Demand { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Demand::default() }
}

fn group(cpu: u32, memory: u32, count: u32) -> Group {
    Group { demand: demand(cpu, memory), count, distinct_instance: false }
}

fn size(cpu: u32, memory: u32, gpus: usize) -> Capacity {
    let port = HostPort { transport: Transport::Tcp, port: 22 };
    Capacity {
        cpu: CpuUnits(cpu),
        memory: MemoryMib(memory),
        reserved_ports: Box::new([port]),
        gpus: (0..gpus).map(|gpu| gpu.to_string()).collect(),
    }
}

#[test]
fn tasks_fill_as_few_instances_as_they_can() {
    let with_port = |port| Group {
        demand: Demand {
            ports: Box::new([HostPort { transport: Transport::Tcp, port }]),
            ..demand(1, 1)
        },
        count: 3,
        distinct_instance: false,
    };
    let with_gpus =
        Group { demand: Demand { gpus: 1, ..demand(1, 1) }, count: 5, distinct_instance: false };
    let apart = Group { distinct_instance: true, ..group(1, 1, 4) };
    let host = size(1024, 2048, 2);
    for (groups, instances, never_fit) in [
        (vec![], 0, 0),
        (vec![group(256, 64, 40)], 10, 0),
        (vec![group(256, 512, 4)], 1, 0),
        (vec![group(256, 512, 5)], 2, 0),
        // The scarcer resource decides.
        (vec![group(1, 1024, 6)], 3, 0),
        // Small ones fill what large ones leave.
        (vec![group(768, 64, 2), group(256, 64, 2)], 2, 0),
        (vec![group(256, 64, 2), group(768, 64, 2)], 2, 0),
        (vec![group(600, 64, 3), group(400, 64, 3)], 3, 0),
        // What fits on no instance of this size asks for none.
        (vec![group(2048, 64, 3)], 0, 3),
        (vec![group(2048, 64, 3), group(1024, 64, 1)], 1, 3),
        (vec![with_port(22)], 0, 3),
        // One of a port, and of those that are to be apart, for each instance.
        (vec![with_port(80)], 3, 0),
        (vec![apart.clone()], 4, 0),
        (vec![apart, group(1, 1, 100)], 4, 0),
        (vec![with_gpus], 3, 0),
    ] {
        assert_eq!(needed(&host, &groups), Needed { instances, never_fit }, "{groups:?}");
    }
}

proptest! {
    /// No fewer than any resource alone needs, no more than one for each task, and with one kind of
    /// task exactly what division says.
    #[test]
    fn the_number_of_instances_is_within_what_arithmetic_allows(
        sizes in prop::collection::vec((1u32..1500, 1u32..3000, 1u32..40), 1..6),
    ) {
        let host = size(1024, 2048, 0);
        let groups: Vec<Group> = sizes.iter().map(|&(c, m, n)| group(c, m, n)).collect();
        let Needed { instances, never_fit } = needed(&host, &groups);
        let (too_large, fitting): (Vec<&Group>, Vec<&Group>) =
            groups.iter().partition(|g| g.demand.cpu.0 > 1024 || g.demand.memory.0 > 2048);
        prop_assert_eq!(never_fit, too_large.iter().map(|g| g.count).sum::<u32>());
        let total = |of: fn(&Demand) -> u32| -> u32 {
            fitting.iter().map(|g| of(&g.demand) * g.count).sum()
        };
        prop_assert!(instances >= total(|d| d.cpu.0).div_ceil(1024));
        prop_assert!(instances >= total(|d| d.memory.0).div_ceil(2048));
        prop_assert!(instances <= fitting.iter().map(|g| g.count).sum::<u32>());
        if let [one] = fitting[..] {
            let each = (1024 / one.demand.cpu.0).min(2048 / one.demand.memory.0);
            prop_assert_eq!(instances, one.count.div_ceil(each));
        }
    }
}
