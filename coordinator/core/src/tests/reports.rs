//! What agents say of tasks, and what is made of it.

use super::*;

#[test]
fn task_keeps_its_room_from_pending_until_stopped() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(1);
    let look = |world: &World| {
        let host = world.state.host(hosts[0]).unwrap();
        let cluster = world.state.cluster("web").unwrap();
        let remaining = cluster.index.remaining(host.slot).unwrap().memory;
        (host.pending_tasks, host.running_tasks, cluster.running_tasks, remaining)
    };
    assert_eq!(look(&world), (1, 0, 0, 900));
    let phases = [ReportedPhase::Activating, ReportedPhase::Running, ReportedPhase::Running];
    for (seq, phase) in (1..).zip(phases) {
        world.put(answered(hosts[0], seq, vec![report(seq, tasks[0], phase)]));
    }
    assert_eq!(look(&world), (0, 1, 1, 900));
    world.put(stop(tasks[0]));
    world.put(answered(hosts[0], 4, vec![report(4, tasks[0], ReportedPhase::Stopping(exited()))]));
    assert_eq!(look(&world), (0, 0, 0, 900));
    world.put(answered(hosts[0], 5, vec![report(5, tasks[0], ReportedPhase::Stopped(exited()))]));
    assert_eq!(look(&world), (0, 0, 0, 1000));
    assert!(world.state.task(tasks[0]).is_none());
}

#[test]
fn reports_that_say_nothing_new_are_not_journaled() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(1);
    world.log.clear();
    let running = |seq| vec![report(seq, tasks[0], ReportedPhase::Running)];
    world.put(answered(hosts[0], 1, running(1)));
    world.put(answered(hosts[0], 1, running(1)));
    world.put(answered(hosts[0], 2, running(2)));
    world.put(answered(hosts[0], 3, vec![report(3, tasks[0], ReportedPhase::Stopped(exited()))]));
    world.put(answered(hosts[0], 3, vec![report(3, tasks[0], ReportedPhase::Stopped(exited()))]));
    world.check(expect![[r#"
        TaskReported
        TaskStopped EssentialContainerExited Essential container in task exited
    "#]]);
}

/// Each is held against what was known before the answer.
#[test]
fn last_report_of_a_task_in_an_answer_is_the_one_that_counts() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(1);
    let says = |seq, phase| report(seq, tasks[0], phase);
    world.put(answered(hosts[0], 1, vec![says(1, ReportedPhase::Running)]));
    world.log.clear();
    let meanwhile = says(2, ReportedPhase::Stopping(exited()));
    world.put(answered(hosts[0], 3, vec![meanwhile, says(3, ReportedPhase::Running)]));
    world.check(expect![""]);
    let ended = |seq| says(seq, ReportedPhase::Stopped(exited()));
    world.put(answered(hosts[0], 6, vec![says(4, ReportedPhase::Running), ended(5), ended(6)]));
    world.check(expect![[r#"
        TaskStopped EssentialContainerExited Essential container in task exited
    "#]]);
}

#[test]
fn a_task_never_goes_back() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(1);
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Running)]));
    let before = world.state.task(tasks[0]).unwrap().phase;
    world.put(answered(hosts[0], 2, vec![report(2, tasks[0], ReportedPhase::Activating)]));
    assert_eq!(world.state.task(tasks[0]).unwrap().phase, before);
}

#[test]
fn another_hosts_word_on_a_task_does_not_count() {
    let (world, hosts) = World::with_hosts(2);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(1);
    let own = world.state.host_at(world.state.task(tasks[0]).unwrap().host).id;
    let other = *hosts.iter().find(|host| **host != own).unwrap();
    world.put(answered(other, 1, vec![report(1, tasks[0], ReportedPhase::Stopped(exited()))]));
    assert!(world.state.task(tasks[0]).is_some());
}

#[test]
fn stopping_is_ordered_once_and_digests_follow_what_is_desired() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    let empty = world.state.host(hosts[0]).unwrap().digest;
    let (tasks, _) = world.run(1);
    let running = world.state.host(hosts[0]).unwrap().digest;
    assert_ne!(empty, running);
    world.log.clear();
    world.put(stop(tasks[0]));
    world.put(stop(tasks[0]));
    let host = world.state.host(hosts[0]).unwrap();
    assert_ne!(host.digest, running);
    assert_eq!(
        host.queue.iter().map(|o| (o.order, o.stop.is_some())).collect::<Vec<_>>(),
        [(1, false), (2, true)]
    );
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Stopped(exited()))]));
    assert_eq!(world.state.host(hosts[0]).unwrap().digest, empty);
    world.put(stop(tasks[0]));
    world.check(expect![[r#"
        TaskStopRequested UserInitiated enough
        TaskStopped EssentialContainerExited Essential container in task exited
        rejected: The referenced task was not found.
    "#]]);
}

#[test]
fn a_stop_candidate_is_stopped_only_when_the_history_knows_its_end() {
    let (mut world, hosts) = World::with_hosts(1);
    world.log.clear();
    let candidate = |task| {
        let task = TaskId::new(task);
        Report { seq: 1, body: ReportBody::StopCandidate { task, generation: 1, run: None } }
    };
    let mut said = AgentAnswered {
        host: hosts[0],
        seen: Some(Seen { epoch: Epoch { counter: 1, incarnation: 1 }, order: 0 }),
        position: ReportPosition { session: 7, seq: 1 },
        reports: vec![candidate(5)],
        ended_candidates: vec![],
        images: None,
        engine: EngineHealth::Unknown,
        storage: StorageHealth::Unknown,
        leaving: false,
        looked: true,
    };
    world.put(Command::Host(HostCommand::AgentAnswered(Box::new(said.clone()))));
    assert!(world.state.host(hosts[0]).unwrap().queue.is_empty());
    said.position.session = 8;
    said.ended_candidates = vec![TaskId::new(5)];
    world.put(Command::Host(HostCommand::AgentAnswered(Box::new(said))));
    world.check(expect![[r#"
        StopCandidateConfirmed
    "#]]);
}
