use longshore_common::{
    protocol::{Epoch, ReportedPhase},
    task::StopCause,
};
use longshore_core::{Command, command::EpochCommand, test_kit::world::World};

use super::*;

/// What a manifest names as given before to an agent that has seen this.
fn given_before(world: &World, seen: Option<Seen>) -> Vec<TaskId> {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let sender = Sender { fleet: FleetId::new(1), identity };
    let host = world.state.host(world.hosts[0]).unwrap();
    let peer = Peer { seen, needs_manifest: true };
    let manifest = poll(&world.state, host, &sender, peer, 0).manifest.unwrap();
    let order = seen.map_or(0, |seen| seen.order);
    assert_eq!(manifest.seen_order, if manifest.given_before.is_empty() { 0 } else { order });
    manifest.given_before
}

/// The orders given before to an agent that obeys this start.
fn given_to_obedient(world: &World, order: u64) -> Vec<TaskId> {
    given_before(world, Some(Seen { epoch: world.state.epoch(), order }))
}

/// Whatever a manifest names that the agent was ordered before, and does not hold, has ended: the
/// journal lost that, be it known to be old or not.
#[test]
fn manifest_tells_what_was_given_before_and_nothing_unseen() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let old = world.start_alone(host);
    world.pass(1.0);
    // The coordinator starts on a backup.
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    let new = world.start_alone(host);
    let both = if old < new { vec![old, new] } else { vec![new, old] };
    let cases = [(0, vec![]), (1, vec![old]), (2, both.clone())];
    let tells = |world: &World| {
        assert_eq!(given_before(world, None), []);
        for (order, expected) in &cases {
            assert_eq!(given_to_obedient(world, *order), *expected, "{order}");
        }
    };
    tells(&world);
    // Of a start before the last.
    let first = Epoch { counter: 1, incarnation: 1 };
    let by = |epoch, order| Some(Seen { epoch, order });
    assert_eq!(given_before(&world, by(first, 1)), [old]);
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 6, incarnation: 5, proved: None }))
        .unwrap();
    // Another start was lost in between, which nobody knows: what it gave is numbered as ours.
    let lost = Epoch { counter: 5, incarnation: 77 };
    for epoch in [first, lost] {
        assert_eq!(given_before(&world, by(epoch, 0)), []);
    }
    assert_eq!(given_before(&world, by(first, 2)), [old]);
    assert_eq!(given_before(&world, by(lost, 2)), both);
    tells(&world);
    // Without the queue, of each start what was placed before it.
    world.state.orders_taken(host, 2);
    tells(&world);
    // Third by its number, which the agent takes for one of those that are lost.
    world.start_alone(host);
    world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: 50 })).unwrap();
    assert_eq!(given_to_obedient(&world, 50), both);
    assert_eq!(given_to_obedient(&world, 10), [], "nobody knows what it has seen");
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 7 })).unwrap();
    assert_eq!(given_to_obedient(&world, 50), both);
    // From here on numbers tell again.
    let later = world.start_alone(host);
    assert!(given_to_obedient(&world, 51).contains(&later));
    assert_eq!(given_to_obedient(&world, 51).len(), 3);
}

/// Orders that were given over several starts, and not seen, hide none that were seen before.
#[test]
fn manifest_tells_what_was_given_before_orders_that_were_not_seen() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let old = world.start_alone(host);
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 6, incarnation: 5, proved: None }))
        .unwrap();
    let recovery = world.state.epoch();
    world.start_alone(host);
    for incarnation in [7, 8] {
        world.start_alone(host);
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation })).unwrap();
    }
    // A start knows no queue.
    world.state.orders_taken(host, 4);
    for epoch in [recovery, world.state.epoch()] {
        assert_eq!(given_before(&world, Some(Seen { epoch, order: 2 })), [old], "{epoch:?}");
    }
    let all = given_before(&world, Some(Seen { epoch: recovery, order: 3 }));
    assert_eq!(all.len(), 3, "all of the recovery's were seen");
}

/// More starts with orders than are remembered, while the host is off.
#[test]
fn order_that_was_never_taken_was_not_given_before() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    let seen = Some(Seen { epoch: world.state.epoch(), order: 0 });
    for incarnation in 3..15 {
        world.start_alone(host);
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation })).unwrap();
        world.state.orders_taken(host, u64::MAX);
        let starts = &world.state.host(host).unwrap().orders_at_starts;
        assert_eq!(given_before(&world, seen), [], "{starts:?}");
    }
}

/// The lost part of the journal had more starts than its copy.
#[test]
fn task_that_a_copy_of_the_journal_placed_was_not_given_before() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let old = world.start_alone(host);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    world.start_alone(host);
    let lost = Epoch { counter: 4, incarnation: 77 };
    world
        .call(Command::Epoch(EpochCommand::Recover {
            beyond: 4,
            incarnation: 5,
            proved: Some(lost),
        }))
        .unwrap();
    world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: 2 })).unwrap();
    assert_eq!(given_before(&world, Some(Seen { epoch: lost, order: 2 })), [old]);
}

/// More orders than were lost were given before the host was heard: its queue is skipped with them.
#[test]
fn manifest_tells_what_was_given_before_when_the_queue_was_skipped() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let old = world.start_alone(host);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 6, incarnation: 5, proved: None }))
        .unwrap();
    for _ in 0..2 {
        world.start_alone(host);
    }
    world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: 2 })).unwrap();
    assert_eq!(given_to_obedient(&world, 2), [old]);
    assert_eq!(given_to_obedient(&world, 1), []);
}

/// A task of the history that found no host in this journal may run all the same.
#[test]
fn task_that_was_given_up_unseen_has_not_ended() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let task = world.start_alone(host);
    let failed = StopCause { code: StopCode::TaskFailedToStart, reason: String::new() };
    world.report(task, ReportedPhase::Stopped(failed));
    let mut stopped = world.take_batches().into_iter().flat_map(|batch| batch.history.stopped);
    let ended = stopped.next().unwrap();
    assert!(has_ended(&ended));
    let unseen = TaskRecord { host: None, ..ended.clone() };
    assert!(!has_ended(&unseen));
    let mut stopped = unseen;
    stopped.end.as_mut().unwrap().cause.code = StopCode::UserInitiated;
    assert!(has_ended(&stopped), "somebody stopped it while it waited");
}
