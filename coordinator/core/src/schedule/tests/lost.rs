//! Hosts that fall silent, and what becomes of their tasks.

use super::*;
use crate::command::{ClusterCommand, HostCommand, TagCommand};

#[test]
fn tasks_of_a_silent_host_are_replaced_after_lost_after() {
    let mut world = World::with_hosts(4);
    world.create(replicas(8));
    world.settle();
    let host = world.hosts[0];
    let originals: Vec<_> = world.state.host(host).unwrap().tasks.keys().copied().collect();
    assert_eq!(originals.len(), 2);
    world.cut(host);
    let lost =
        |world: &World| lost_hosts(&world.state, world.state.cluster(CLUSTER).unwrap(), world.at);
    world.pass(9.9);
    assert_eq!((world.counts().as_str(), lost(&world)), ("8 running, 0 pending", 0));
    world.pass(0.1);
    assert_eq!(lost(&world), 1);
    assert_eq!(world.counts(), "6 running, 2 pending");
    // Before the message of those that take their place.
    let said: Vec<&str> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Service(ServiceEvent::ServiceLogged { message, .. }) => Some(message.as_str()),
            _ => None,
        })
        .collect();
    let [.., lost_ones, replaced] = said.as_slice() else { panic!("{said:?}") };
    let expected =
        format!("has lost 2 tasks with the (container-instance {host}), whose agent has");
    assert!(lost_ones.contains(&expected), "{lost_ones}");
    assert!(originals.iter().all(|task| lost_ones.contains(&task.to_string())), "{lost_ones}");
    assert!(replaced.contains("has started 2 tasks"), "{replaced}");
    world.settle();
    world.heal(host);
    assert_eq!(world.service().running(), 10);
    world.settle();
    assert_eq!(world.counts(), "8 running, 0 pending");
    assert!(originals.iter().all(|task| world.state.task(*task).is_some()));
    let losers = world.events.iter().rev().find_map(|event| match event {
        Event::Task(TaskEvent::TasksStopRequested { cause, .. }) => Some(cause.code),
        _ => None,
    });
    assert_eq!(losers, Some(StopCode::InfrastructureHealth));
}

#[test]
fn a_replacement_that_was_lost_itself_is_no_original() {
    let mut world = World::with_hosts(4);
    world.create(replicas(4));
    world.settle();
    let originals = world.running();
    let first = world.hosts[0];
    world.cut(first);
    world.pass(10.0);
    let started = |world: &World| {
        world.tasks().into_iter().find(|t| t.phase == Phase::Pending).map(|t| t.host)
    };
    let second = world.state.host_at(started(&world).unwrap()).id;
    world.cut(second);
    world.pass(10.0);
    world.settle();
    // The replacement begins to run only now, beside all that took its own place.
    world.heal(second);
    world.settle();
    world.heal(first);
    world.settle();
    assert_eq!(world.running(), originals);
}

#[test]
fn reconcile_keep_replacement_stops_what_came_back() {
    let mut world = World::with_hosts(4);
    let mut config = replicas(4);
    config.options.reconcile = Some(Reconcile::KeepReplacement);
    world.create(config);
    world.settle();
    let host = world.hosts[0];
    let original = *world.state.host(host).unwrap().tasks.keys().next().unwrap();
    world.cut(host);
    world.pass(10.0);
    world.settle();
    world.heal(host);
    world.settle();
    assert!(world.state.task(original).is_none());
    assert_eq!(world.counts(), "4 running, 0 pending");
}

#[test]
fn a_singleton_that_is_not_to_be_replaced_never_runs_twice() {
    let mut world = World::with_hosts(4);
    let mut config = replicas(1);
    config.options.replace = Some(false);
    world.create(config);
    world.settle();
    let task = world.running()[0];
    let host = world.state.host_at(world.state.task(task).unwrap().host).id;
    world.cut(host);
    world.pass_step_by_step(3600.0);
    assert_eq!(world.tasks().len(), 1);
    world.heal(host);
    assert_eq!(world.running(), [task]);
}

#[test]
fn a_singletons_deployment_waits_until_the_old_copy_has_stopped() {
    let mut world = World::with_hosts(2);
    let mut config = replicas(1);
    config.options.replace = Some(false);
    world.create(config);
    world.settle();
    let old = world.running()[0];
    world.deploy("app");
    assert_eq!(world.counts(), "1 running, 0 pending");
    let cause = StopCause { code: StopCode::ServiceSchedulerInitiated, reason: String::new() };
    world.report(old, ReportedPhase::Stopping(cause.clone()));
    assert_eq!(world.counts(), "0 running, 0 pending");
    world.report(old, ReportedPhase::Stopped(cause));
    assert_eq!(world.counts(), "0 running, 1 pending");
    world.settle();
}

/// The manner of a silence, by the second at which it was noticed, and when its host is lost. The
/// first word of an agent that ends is a connection that broke; only the next is refused.
#[test]
fn a_host_is_lost_by_how_it_is_silent_last() {
    const BROKE: bool = false;
    const REFUSED: bool = true;
    let silences: [(&[(f64, bool)], f64); 9] = [
        (&[(0.0, BROKE)], 10.0),
        (&[(0.0, REFUSED)], 120.0),
        // An agent stops and is away.
        (&[(0.0, BROKE), (0.5, REFUSED)], 120.0),
        (&[(0.0, BROKE), (9.9, REFUSED)], 120.0),
        // It is back, is slow to answer, and goes again.
        (&[(0.0, BROKE), (0.5, REFUSED), (60.0, BROKE), (61.0, REFUSED)], 120.0),
        // Its machine is switched off.
        (&[(0.0, REFUSED), (30.0, BROKE)], 40.0),
        (&[(0.0, BROKE), (0.5, REFUSED), (30.0, BROKE)], 40.0),
        // A refusal never lengthens the silence beyond the grace.
        (&[(0.0, REFUSED), (115.0, BROKE)], 120.0),
        // Too late: the tasks are lost.
        (&[(0.0, BROKE), (12.0, REFUSED)], 10.0),
    ];
    for (silence, lost_at) in silences {
        let mut world = World::with_hosts(2);
        world.create(replicas(2));
        world.settle();
        let (host, start) = (world.hosts[0], world.at);
        let seconds = |world: &World| (world.at.0 - start.0) as f64 / 1000.0;
        let is_lost = |world: &World| {
            lost_hosts(&world.state, world.state.cluster(CLUSTER).unwrap(), world.at) == 1
        };
        let mut before = 0.0;
        for (at, refused) in silence {
            let (at, refused, why) = (*at, *refused, "no answer".to_owned());
            if (before..at).contains(&lost_at) {
                break;
            }
            world.pass_step_by_step(at - before);
            world.call(Command::Host(HostCommand::AgentSilent { host, why, refused })).unwrap();
            before = at;
        }
        let since = world.state.host(host).unwrap().connectivity_at;
        assert_eq!(since, start, "{silence:?}: it is silent since its first word");
        world.pass_step_by_step(lost_at - 0.1 - seconds(&world));
        assert_eq!(world.counts(), "2 running, 0 pending", "{silence:?}");
        assert!(!is_lost(&world), "{silence:?}");
        world.pass_step_by_step(0.1);
        assert_eq!(world.counts(), "1 running, 1 pending", "{silence:?}");
        assert!(is_lost(&world), "{silence:?}");
    }
}

#[test]
fn what_is_lost_stays_lost_when_its_host_begins_to_refuse() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.settle();
    let (host, why) = (world.hosts[0], "refused".to_owned());
    world.cut(host);
    world.pass_step_by_step(10.0);
    assert_eq!(world.counts(), "1 running, 1 pending");
    world.call(Command::Host(HostCommand::AgentSilent { host, why, refused: true })).unwrap();
    world.settle();
    assert_eq!(world.counts(), "2 running, 0 pending");
}

/// Ways for an agent to be back without knowing what became of its tasks.
const KNOWS_NOTHING: [fn(&mut AgentAnswered); 3] = [
    // It has just begun.
    |said| said.looked = false,
    // And its container engine does not even answer.
    |said| (said.looked, said.engine) = (false, EngineHealth::Silent),
    // Its container engine is gone since it has looked.
    |said| said.engine = EngineHealth::Silent,
];

#[test]
fn what_replaced_a_lost_task_stays_until_its_host_knows_what_it_runs() {
    for (knows_nothing, runs_on) in KNOWS_NOTHING.iter().flat_map(|w| [(w, false), (w, true)]) {
        let mut world = World::with_hosts(2);
        world.create(replicas(1));
        world.settle();
        let original = world.running()[0];
        let host = world.state.host_at(world.state.task(original).unwrap().host).id;
        world.cut(host);
        world.pass_step_by_step(10.0);
        world.agents_work();
        world.pass_step_by_step(60.0);
        let replacement = *world.running().iter().find(|task| **task != original).unwrap();
        let wish = |world: &World, task| world.state.task(task).map(|task| task.wish.clone());
        for _ in 0..3 {
            world.answer_with(host, Vec::new(), knows_nothing);
            world.pass_step_by_step(600.0);
            assert!(world.state.host(host).unwrap().connected);
            assert_eq!(wish(&world, replacement), Some(Wish::Run));
            assert_eq!(world.counts(), "1 running, 0 pending", "the original does not count");
        }
        let has_ended = !runs_on;
        let cause = StopCause {
            code: StopCode::EssentialContainerExited,
            reason: "Essential container in task exited".to_owned(),
        };
        let ended = has_ended.then_some((original, ReportedPhase::Stopped(cause)));
        world.answer_with(host, ended.into_iter().collect(), |said| {
            said.engine = EngineHealth::Answers;
        });
        world.settle();
        let stays = if runs_on { original } else { replacement };
        assert_eq!(world.running(), [stays]);
        assert_eq!(world.state.check(), Vec::<String>::new());
    }
}

/// The site loses its power: no container is left, and a new coordinator knows what was.
#[test]
fn after_a_power_cut_nothing_is_well_before_hosts_have_looked() {
    for knows_nothing in KNOWS_NOTHING {
        let mut world = World::with_hosts(2);
        world.create(replicas(2));
        world.agents_work();
        let tasks = world.running();
        let hosts = world.hosts.clone();
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
        hosts.iter().for_each(|host| world.answer_with(*host, Vec::new(), knows_nothing));
        world.pass_step_by_step(600.0);
        assert_eq!((world.healthy(), world.service().steady), (0, false));
        assert_eq!(world.status(), DeploymentStatus::InProgress);
        for task in &tasks {
            let host = world.state.host_at(world.state.task(*task).unwrap().host).id;
            let cause = StopCause {
                code: StopCode::EssentialContainerExited,
                reason: "Essential container in task exited".to_owned(),
            };
            let ended = vec![(*task, ReportedPhase::Stopped(cause))];
            world.answer_with(host, ended, |said| said.engine = EngineHealth::Answers);
        }
        world.settle();
        assert_eq!(
            (world.status(), world.counts().as_str()),
            (DeploymentStatus::Successful, "2 running, 0 pending",)
        );
        assert!(tasks.iter().all(|task| world.state.task(*task).is_none()));
    }
}

#[test]
fn a_lost_after_that_is_changed_holds_for_hosts_that_are_silent_already() {
    use crate::model::tagged::Resource;
    for on in [SetOn::Service, SetOn::Cluster] {
        for before in ["never", "3600"] {
            let mut world = World::with_hosts(2);
            let resource = match on {
                SetOn::Service => Resource::Service(named("s")),
                SetOn::Cluster => Resource::Cluster(CLUSTER.parse().unwrap()),
            };
            let set = |world: &mut World, value: &str| {
                let tags = [("longshore:lost-after".to_owned(), value.to_owned())].into();
                world
                    .call(Command::Tag(TagCommand::Tag { resource: resource.clone(), tags }))
                    .unwrap();
            };
            world.create(replicas(2));
            set(&mut world, before);
            world.settle();
            let host = world.hosts[0];
            world.cut(host);
            world.pass_step_by_step(600.0);
            assert_eq!(world.counts(), "2 running, 0 pending", "{on:?} {before}");
            // At once, and at its time.
            set(&mut world, "10");
            assert_eq!(world.counts(), "1 running, 1 pending", "{on:?} {before}");
            world.settle();
            let host = world.hosts[1];
            world.heal(world.hosts[0]);
            set(&mut world, before);
            world.settle();
            world.cut(host);
            world.pass_step_by_step(20.0);
            set(&mut world, "60");
            world.pass_step_by_step(39.9);
            assert_eq!(world.service().pending(), 0, "{on:?} {before}");
            world.pass_step_by_step(0.1);
            assert!(world.service().pending() > 0, "{on:?} {before}");
        }
    }
}

#[test]
fn lost_after_is_a_setting_of_the_cluster_and_of_the_service() {
    let mut world = World::with_hosts(3);
    let mut config = replicas(3);
    config.options.lost_after = Some(LostAfter::Milliseconds(2000));
    world.create(config);
    let tags = [("longshore:lost-after".to_owned(), "never".to_owned())].into();
    let resource = crate::model::tagged::Resource::Cluster(CLUSTER.parse().unwrap());
    world.call(Command::Tag(TagCommand::Tag { resource, tags })).unwrap();
    world.create_named("t", "app", replicas(3));
    world.settle();
    let host = world.hosts[0];
    world.cut(host);
    world.pass_step_by_step(2.0);
    assert_eq!(world.service().pending(), 1);
    world.pass_step_by_step(3600.0);
    assert_eq!(world.service_named("t").pending(), 0);
}

#[test]
fn mass_loss_pauses_replacing_until_hosts_return_or_are_given_up() {
    for overridden in [false, true] {
        let mut world = World::with_hosts(6);
        world.create(replicas(6));
        world.settle();
        let cut: Vec<_> = world.hosts[..3].to_vec();
        cut.iter().for_each(|host| world.cut(*host));
        world.pass_step_by_step(30.0);
        assert_eq!(world.counts(), "3 running, 0 pending");
        assert_eq!(world.state.cluster(CLUSTER).unwrap().replacing, Replacing::Paused);
        if overridden {
            world
                .call(Command::Cluster(ClusterCommand::ReplaceLostTasks {
                    cluster: CLUSTER.parse().unwrap(),
                }))
                .unwrap();
            assert_eq!(world.counts(), "3 running, 3 pending");
        } else {
            cut.iter().for_each(|host| world.heal(*host));
            world.settle();
            assert_eq!(world.counts(), "6 running, 0 pending");
            assert_eq!(world.state.cluster(CLUSTER).unwrap().replacing, Replacing::Normal);
            let stopped = world
                .events
                .iter()
                .any(|e| matches!(e, Event::Task(TaskEvent::TasksStopRequested { .. })));
            assert!(!stopped);
        }
    }
}

#[test]
fn a_new_coordinator_gives_every_host_a_full_grace() {
    let mut world = World::with_hosts(4);
    world.create(replicas(4));
    world.settle();
    world.cut(world.hosts[0]);
    world.pass(9.0);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    world.pass(9.0);
    assert_eq!(world.counts(), "4 running, 0 pending");
    world.pass(1.0);
    assert_eq!(world.counts(), "3 running, 1 pending");
}
