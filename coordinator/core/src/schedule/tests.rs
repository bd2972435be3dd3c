//! The scheduler's rules, one sentence a test (ecs-behaviour 1.8 to 1.13).

#![allow(clippy::print_stdout, reason = "tests that print their seeds and counts")]

mod forbidden;
mod instances;
mod leaving;
mod planted_bugs;
mod recovery;
mod same_pass;
mod sources;
mod trouble;
mod waits;

use std::collections::BTreeMap;

use longshore_common::{
    protocol::{EngineHealth, ReportedPhase},
    task::{HealthStatus, StopCause, StopCode},
};

use crate::{
    Command, Event,
    command::{AgentAnswered, SettableHostStatus},
    event::{ServiceEvent, TaskEvent},
    model::{
        alarm::AlarmValue,
        cluster::Replacing,
        deployment::{DeploymentRef, DeploymentStatus, Stage},
        revision::Rollout,
        service::{
            DeploymentAlarms, DeploymentStrategy, HookAction, HookStage, HookTarget, LifecycleHook,
            LostAfter, Reconcile,
        },
        service_status::ServiceStatus,
        task::{Phase, Wish},
    },
    schedule::lost_hosts,
    test_kit::world::{CLUSTER, World, bounded, daemon, named, replicas, with_breaker},
};

#[test]
fn a_service_starts_its_tasks_and_says_when_it_is_steady() {
    let mut world = World::with_hosts(3);
    world.create(replicas(4));
    assert_eq!(world.counts(), "0 running, 4 pending");
    assert_eq!(world.status(), DeploymentStatus::InProgress);
    world.agents_work();
    assert_eq!(world.counts(), "4 running, 0 pending");
    assert_eq!((world.healthy(), world.service().steady), (0, false));
    world.pass(39.9);
    assert_eq!(world.healthy(), 0);
    world.pass(0.1);
    assert_eq!((world.healthy(), world.service().steady), (4, true));
    assert_eq!(world.status(), DeploymentStatus::Successful);
    assert!(world.said[0].starts_with("has started 4 tasks: (task "), "{:?}", world.said);
    let said: Vec<&str> = world.said[1..].iter().map(String::as_str).collect();
    let id = world.service().primary.unwrap();
    let completed = format!("(deployment ecs-svc/{id}) deployment completed.");
    assert_eq!(said, [completed.as_str(), "has reached a steady state."]);
}

#[test]
fn a_task_that_ends_is_replaced_at_once() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.settle();
    let first = world.running()[0];
    world.exits(first);
    assert_eq!(world.counts(), "1 running, 1 pending");
    world.settle();
    assert_eq!(world.counts(), "2 running, 0 pending");
}

#[test]
fn scaling_in_mirrors_placement() {
    let mut world = World::with_hosts(3);
    world.create(replicas(9));
    world.settle();
    world.scale(3);
    world.settle();
    assert_eq!(by_host(&world), [1, 1, 1]);
}

#[test]
fn scaling_in_while_tasks_settle_leaves_hosts_even() {
    let mut world = World::with_hosts(3);
    world.create(replicas(12));
    world.settle();
    world.scale(30);
    let fresh: Vec<_> = world.tasks().into_iter().filter(|t| t.phase == Phase::Pending).collect();
    let fresh: Vec<_> = fresh.into_iter().map(|task| (task.host, task.id)).collect();
    let last = fresh.iter().map(|(host, _)| *host).max().unwrap();
    // One host is quicker than the others: its tasks have settled, theirs have not.
    for (_, task) in fresh.iter().filter(|(host, _)| *host == last) {
        world.report(*task, ReportedPhase::Running);
    }
    world.pass(40.0);
    world.agents_work();
    assert_eq!(world.healthy(), 18);
    world.scale(3);
    world.settle();
    assert_eq!(by_host(&world), [1, 1, 1]);
}

/// How many tasks each host has.
fn by_host(world: &World) -> Vec<usize> {
    let mut by_host = BTreeMap::new();
    for task in world.tasks() {
        *by_host.entry(task.host).or_insert(0) += 1;
    }
    by_host.into_values().collect()
}

#[test]
fn a_rolling_deployment_stays_within_its_bounds() {
    for (minimum, maximum) in [(50, 150), (100, 200), (0, 100), (75, 125)] {
        let mut world = World::with_hosts(3);
        world.create(bounded(12, minimum, maximum));
        world.settle();
        let old = world.service().primary;
        world.deploy("app");
        let floor = (12 * minimum).div_ceil(100);
        let ceiling = 12 * maximum / 100;
        for _ in 0..400 {
            let (running, pending) = (world.service().running(), world.service().pending());
            assert!(running >= floor, "{running} running of at least {floor}");
            assert!(running + pending <= ceiling, "{running} + {pending} of at most {ceiling}");
            // One report at a time, so that every state between is looked at.
            let next = world.tasks().into_iter().find_map(|task| {
                use crate::model::task::{Phase, Wish};
                match (&task.wish, task.phase) {
                    (Wish::Stop { cause, .. }, Phase::Stopping { .. }) => {
                        Some((task.id, ReportedPhase::Stopped(cause.clone())))
                    }
                    (Wish::Stop { cause, .. }, _) => {
                        Some((task.id, ReportedPhase::Stopping(cause.clone())))
                    }
                    (Wish::Run, Phase::Pending) => Some((task.id, ReportedPhase::Running)),
                    (Wish::Run, _) => None,
                }
            });
            match next {
                Some((task, phase)) => world.report(task, phase),
                None if world.service().steady => break,
                None => {
                    world.at = world.state.next_wake().expect("something is awaited");
                    world.call(Command::Tick).unwrap();
                }
            }
        }
        assert!(world.service().steady, "{minimum}/{maximum}: {}", world.counts());
        assert_ne!(world.service().primary, old);
        assert_eq!(world.service().revisions.len(), 1);
    }
}

#[test]
fn a_deployment_that_can_neither_stop_nor_start_says_so() {
    // desired 1, minimum 100, maximum 150: neither may be stopped nor started.
    let mut world = World::with_hosts(1);
    world.create(bounded(1, 100, 150));
    world.settle();
    world.deploy("app");
    let said = world.said.last().unwrap();
    assert!(said.starts_with("was unable to stop or start tasks during a deployment"), "{said}");
    assert_eq!(world.counts(), "1 running, 0 pending");
}

#[test]
fn the_breaker_trips_at_its_threshold_and_rolls_back() {
    let mut world = World::with_hosts(3);
    world.create(with_breaker(replicas(12), true));
    world.settle();
    let good = world.service().primary.unwrap();
    world.define("bad", 10, false);
    world.deploy("bad");
    let bad = world.service().primary.unwrap();
    for _ in 0..10 {
        if world.status() != DeploymentStatus::InProgress {
            break;
        }
        world.starts_fail();
        world.pass_step_by_step(10.0);
        assert!(world.service().running() >= 12);
    }
    assert_eq!(world.deployment().failures, 6);
    assert_eq!(world.service().primary, Some(good));
    let back = world.events.iter().find_map(|event| match event {
        Event::Service(ServiceEvent::RevisionChanged { revision, .. })
            if revision.rollout == Rollout::InProgress =>
        {
            Some(revision.reason.clone())
        }
        _ => None,
    });
    assert_eq!(
        back,
        Some(format!(
            "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/{good}."
        ))
    );
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::RollbackSuccessful);
    assert_eq!(world.service().revision(bad).map(|r| r.record.rollout), None);
    assert_eq!(world.service().primary().unwrap().record.rollout, Rollout::Completed);
    assert_eq!(world.counts(), "12 running, 0 pending");
}

#[test]
fn without_a_rollback_a_failed_deployment_launches_nothing_more() {
    let mut world = World::with_hosts(1);
    world.create(with_breaker(replicas(1), true));
    for _ in 0..3 {
        world.starts_fail();
        world.pass_step_by_step(60.0);
    }
    assert_eq!(world.status(), DeploymentStatus::Stopped);
    assert_eq!(world.service().primary().unwrap().record.rollout, Rollout::Failed);
    world.pass_step_by_step(3600.0);
    assert_eq!(world.counts(), "0 running, 0 pending");
    // An update tries again.
    world.deploy("app");
    assert_eq!(world.counts(), "0 running, 1 pending");
}

#[test]
fn tasks_that_never_start_are_tried_ever_more_rarely_until_an_update() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    let mut waits = Vec::new();
    for _ in 0..14 {
        world.starts_fail();
        let began = world.at;
        while world.service().pending() == 0 {
            world.at = world.state.next_wake().unwrap();
            world.call(Command::Tick).unwrap();
        }
        waits.push(world.at.since(began).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
    let said = world.said.iter().filter(|said| said.contains("unable to consistently start"));
    assert_eq!(said.count(), 1);
    world.starts_fail();
    world.scale(2);
    assert_eq!(world.counts(), "0 running, 2 pending");
}

#[test]
fn a_task_that_ran_first_does_not_slow_the_next_one_down() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    for _ in 0..20 {
        world.agents_work();
        world.pass(10.0);
        let task = world.running()[0];
        world.exits(task);
        assert_eq!(world.counts(), "0 running, 1 pending");
    }
}

#[test]
fn an_unhealthy_task_is_replaced_before_it_is_stopped() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    world.create_named("s", "checked", bounded(2, 100, 200));
    world.agents_work();
    for task in world.running() {
        world.set_health(task, HealthStatus::Healthy);
    }
    assert!(world.service().steady);
    let sick = world.running()[0];
    world.set_health(sick, HealthStatus::Unhealthy);
    assert_eq!(world.counts(), "2 running, 1 pending");
    world.agents_work();
    assert_eq!(world.counts(), "3 running, 0 pending");
    let fresh =
        world.running().into_iter().max_by_key(|t| world.state.task(*t).unwrap().created_at);
    world.set_health(fresh.unwrap(), HealthStatus::Healthy);
    world.agents_work();
    assert_eq!(world.counts(), "2 running, 0 pending");
    assert!(world.state.task(sick).is_none());
    assert!(world.said.iter().any(|said| said.ends_with("failed container health checks.")));
}

#[test]
fn without_room_for_a_replacement_one_unhealthy_task_at_a_time_goes_first() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    world.create_named("s", "checked", bounded(3, 0, 100));
    world.agents_work();
    let tasks = world.running();
    for task in &tasks {
        world.set_health(*task, HealthStatus::Healthy);
    }
    for task in &tasks[..2] {
        world.set_health(*task, HealthStatus::Unhealthy);
    }
    let stopping = world.events.iter().rev().find_map(|event| match event {
        Event::Task(TaskEvent::TasksStopRequested { tasks, .. }) => Some(tasks.len()),
        _ => None,
    });
    assert_eq!(stopping, Some(1));
}

#[test]
fn the_grace_period_covers_container_checks() {
    let mut world = World::with_hosts(1);
    world.define("checked", 10, true);
    let mut config = replicas(1);
    config.grace_s = Some(60);
    world.create_named("s", "checked", config);
    world.agents_work();
    let task = world.running()[0];
    world.set_health(task, HealthStatus::Unhealthy);
    assert_eq!(world.counts(), "1 running, 0 pending");
    world.pass(59.0);
    assert_eq!(world.counts(), "1 running, 0 pending");
    world.pass_step_by_step(2.0);
    assert_eq!(world.counts(), "1 running, 1 pending");
}

#[test]
fn a_draining_host_is_emptied_within_the_bounds() {
    let mut world = World::with_hosts(2);
    world.create(replicas(4));
    world.settle();
    let host = world.hosts[0];
    world.set_status(host, SettableHostStatus::Draining);
    assert_eq!(world.counts(), "4 running, 2 pending");
    world.settle();
    assert_eq!(world.counts(), "4 running, 0 pending");
    assert!(world.state.host(host).unwrap().tasks.is_empty());
}

#[test]
fn what_has_not_run_on_a_draining_host_goes_at_once() {
    let mut world = World::with_hosts(2);
    world.create(replicas(4));
    let host = world.hosts[0];
    world.set_status(host, SettableHostStatus::Draining);
    let told: Vec<_> = world.state.host(host).unwrap().tasks.values().copied().collect();
    assert!(
        told.iter().all(|slot| world.state.task_at(*slot).wish != crate::model::task::Wish::Run)
    );
}

#[test]
fn a_task_that_fits_nowhere_waits_for_room_and_says_what_is_missing() {
    let mut world = World::with_hosts(1);
    world.define("big", 3000, false);
    world.create_named("s", "big", replicas(2));
    assert_eq!(world.counts(), "0 running, 1 pending");
    let said = world.said.last().unwrap();
    assert!(said.contains("has insufficient memory available"), "{said}");
    assert!(said.contains("has 1096 of the 3000 MiB needed"), "{said}");
    world.pass(3600.0);
    let repeated = world.said.iter().filter(|said| said.contains("insufficient memory"));
    assert_eq!(repeated.count(), 1);
    world.add_host();
    assert_eq!(world.counts(), "0 running, 2 pending");
}

#[test]
fn a_cluster_without_hosts_is_told_of() {
    let mut world = World::new();
    world.create(replicas(1));
    let said = world.said.last().unwrap();
    assert!(said.ends_with("Reason: No Container Instances were found in your cluster."), "{said}");
    world.add_host();
    assert_eq!(world.counts(), "0 running, 1 pending");
}

#[test]
fn a_daemon_is_on_every_host_and_on_each_that_joins() {
    let mut world = World::with_hosts(3);
    world.create(daemon());
    world.settle();
    assert_eq!(world.counts(), "3 running, 0 pending");
    world.add_host();
    assert_eq!(world.counts(), "3 running, 1 pending");
    world.settle();
    let hosts: std::collections::BTreeSet<_> = world.tasks().iter().map(|t| t.host).collect();
    assert_eq!(hosts.len(), 4);
}

#[test]
fn a_daemon_leaves_a_draining_host_last() {
    let mut world = World::with_hosts(2);
    world.create_named("d", "app", daemon());
    world.create(replicas(2));
    world.settle();
    world.pass_step_by_step(41.0);
    let host = world.hosts[0];
    world.set_status(host, SettableHostStatus::Draining);
    // The replica's replacement is not healthy yet: both are still there.
    world.agents_work();
    assert_eq!(world.state.host(host).unwrap().tasks.len(), 2);
    world.settle();
    world.pass_step_by_step(41.0);
    world.agents_work();
    assert!(world.state.host(host).unwrap().tasks.is_empty());
    assert_eq!(world.service_named("d").running(), 1);
}

#[test]
fn a_daemons_deployment_stops_the_old_task_before_the_new_one_starts() {
    let mut world = World::with_hosts(3);
    world.create(daemon());
    world.settle();
    world.update(|update| update.force_new_deployment = true);
    for _ in 0..50 {
        for host in &world.hosts {
            let running = world.state.host(*host).unwrap();
            assert!(running.tasks.len() <= 1);
        }
        if world.service().steady {
            break;
        }
        world.agents_work();
        if let Some(wake) = world.state.next_wake() {
            world.at = wake;
            world.call(Command::Tick).unwrap();
        }
    }
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

#[test]
fn the_tasks_of_a_silent_host_are_replaced_after_lost_after_and_the_originals_stay() {
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
            world.call(Command::AgentSilent { host, why, refused }).unwrap();
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
    world.call(Command::AgentSilent { host, why, refused: true }).unwrap();
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
        world.call(Command::StartEpoch { incarnation: 2 }).unwrap();
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

/// Whose setting it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SetOn {
    Service,
    Cluster,
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
                world.call(Command::Tag { resource: resource.clone(), tags }).unwrap();
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
    world.call(Command::Tag { resource, tags }).unwrap();
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
fn half_of_the_hosts_lost_at_once_stops_replacing_until_they_are_back_or_the_operator_says_so() {
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
            world.call(Command::ReplaceLostTasks { cluster: CLUSTER.parse().unwrap() }).unwrap();
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
    world.call(Command::StartEpoch { incarnation: 2 }).unwrap();
    world.pass(9.0);
    assert_eq!(world.counts(), "4 running, 0 pending");
    world.pass(1.0);
    assert_eq!(world.counts(), "3 running, 1 pending");
}

#[test]
fn protected_tasks_are_not_scaled_in_until_their_time_is_over() {
    let mut world = World::with_hosts(1);
    world.create(replicas(3));
    world.settle();
    let (cluster, tasks) = (CLUSTER.parse().unwrap(), world.running());
    world.call(Command::UpdateTaskProtection { cluster, tasks, minutes: Some(1) }).unwrap();
    world.scale(1);
    world.agents_work();
    assert_eq!(world.counts(), "3 running, 0 pending");
    assert!(world.said.last().unwrap().contains("The number of protected tasks are more than"));
    world.pass_step_by_step(60.0);
    world.agents_work();
    assert_eq!(world.counts(), "1 running, 0 pending");
}

#[test]
fn a_deleted_service_drains_and_is_still_described() {
    let mut world = World::with_hosts(1);
    world.create(replicas(2));
    world.settle();
    let refused = world.call(Command::DeleteService { service: named("s"), force: false });
    assert!(refused.is_err());
    world.scale(0);
    world.settle();
    world.call(Command::DeleteService { service: named("s"), force: false }).unwrap();
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
    // The name is free again.
    world.create(replicas(1));
    world.call(Command::DeleteService { service: named("s"), force: true }).unwrap();
    assert_eq!(world.service().status, ServiceStatus::Draining);
    world.agents_work();
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
    world.pass(3601.0);
    assert!(world.state.service_named(&named("s")).is_none());
}

#[test]
fn an_aborted_deployment_leaves_what_runs_as_it_is() {
    let mut world = World::with_hosts(1);
    world.create(replicas(2));
    world.settle();
    world.deploy("app");
    let deployment = DeploymentRef { service: named("s"), deployment: world.deployment().id };
    world.call(Command::StopServiceDeployment { deployment, rollback: false }).unwrap();
    assert_eq!(world.status(), DeploymentStatus::Stopped);
    world.agents_work();
    world.pass_step_by_step(600.0);
    world.agents_work();
    assert_eq!(world.counts(), "4 running, 0 pending");
    assert_eq!(world.service().primary().unwrap().record.rollout, Rollout::Failed);
}

#[test]
fn a_newer_deployment_supersedes_the_one_under_way() {
    let mut world = World::with_hosts(1);
    world.create(replicas(2));
    let first = world.deployment().id;
    world.deploy("app");
    let stopped = world.events.iter().any(|event| match event {
        Event::Service(ServiceEvent::DeploymentSet { deployment, .. }) => {
            deployment.id == first && deployment.status == DeploymentStatus::Stopped
        }
        _ => false,
    });
    assert!(stopped);
    world.settle();
    assert_eq!(world.counts(), "2 running, 0 pending");
}

#[test]
fn blue_green_runs_both_revisions_pauses_at_its_hook_and_cleans_up_after_the_bake() {
    let mut world = World::with_hosts(3);
    let mut config = replicas(3);
    config.deployment.strategy = DeploymentStrategy::BlueGreen;
    config.deployment.bake_minutes = Some(5);
    config.deployment.hooks = vec![LifecycleHook {
        target: HookTarget::Pause,
        stages: vec![HookStage::PostScaleUp],
        timeout_minutes: 60,
        on_timeout: HookAction::Rollback,
    }];
    world.create(config);
    world.agents_work();
    world.pass_step_by_step(41.0);
    let go_on = |world: &mut World| {
        let deployment = world.deployment();
        let hook = deployment.hooks.last().unwrap().id;
        let deployment = crate::model::deployment::DeploymentRef {
            service: named("s"),
            deployment: deployment.id,
        };
        let action = HookAction::Continue;
        world.call(Command::ContinueServiceDeployment { deployment, hook, action }).unwrap();
    };
    assert_eq!(world.deployment().stage, Stage::PostScaleUp);
    go_on(&mut world);
    world.settle();
    let blue = world.service().primary;
    world.deploy("app");
    world.agents_work();
    assert_eq!(world.counts(), "6 running, 0 pending");
    world.pass_step_by_step(41.0);
    assert_eq!(world.deployment().stage, Stage::PostScaleUp);
    world.pass_step_by_step(600.0);
    assert_eq!(world.counts(), "6 running, 0 pending");
    go_on(&mut world);
    assert_eq!(world.deployment().stage, Stage::BakeTime);
    world.pass_step_by_step(299.0);
    assert_eq!(world.deployment().stage, Stage::BakeTime);
    world.pass_step_by_step(2.0);
    assert_eq!(world.deployment().stage, Stage::CleanUp);
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::Successful);
    assert_eq!(world.counts(), "3 running, 0 pending");
    assert_ne!(world.service().primary, blue);
}

#[test]
fn a_pause_hook_that_times_out_rolls_back() {
    let mut world = World::with_hosts(3);
    let mut config = replicas(2);
    config.deployment.strategy = DeploymentStrategy::BlueGreen;
    config.deployment.bake_minutes = Some(0);
    world.create(config);
    world.settle();
    let blue = world.service().primary;
    world.update(|update| {
        update.deployment.hooks = Some(vec![LifecycleHook {
            target: HookTarget::Pause,
            stages: vec![HookStage::PreScaleUp],
            timeout_minutes: 1,
            on_timeout: HookAction::Rollback,
        }]);
    });
    world.deploy("app");
    assert_eq!(world.deployment().stage, Stage::PreScaleUp);
    assert_eq!(world.counts(), "2 running, 0 pending");
    world.pass_step_by_step(61.0);
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::RollbackSuccessful);
    assert_eq!(world.service().primary, blue);
}

#[test]
fn zones_are_evened_out_when_a_host_joins_one_that_has_fewer_tasks() {
    let mut world = World::with_hosts(2);
    let mut config = replicas(6);
    config.az_rebalancing = true;
    world.create(config);
    world.settle();
    assert_eq!(world.by_zone(), [("a", 3), ("b", 3)]);
    world.add_host();
    // Started in the zone that has fewest; nothing stops before it is healthy.
    assert_eq!(world.counts(), "6 running, 1 pending");
    assert!(world.said.iter().any(|said| said.ends_with("AZ Rebalancing in progress.")));
    world.agents_work();
    world.pass(39.0);
    assert_eq!(world.counts(), "7 running, 0 pending");
    for _ in 0..3 {
        world.settle();
        world.pass_step_by_step(41.0);
    }
    assert_eq!(world.by_zone(), [("a", 2), ("b", 2), ("c", 2)]);
    assert_eq!(world.counts(), "6 running, 0 pending");
    let reasons = world.events.iter().filter_map(|event| match event {
        Event::Task(TaskEvent::TasksStopRequested { cause, .. }) => Some(cause.reason.as_str()),
        _ => None,
    });
    assert!(reasons.into_iter().all(|r| r.starts_with("Availability-zone rebalancing")));
}

#[test]
fn by_its_tag_a_service_moves_tasks_to_a_host_that_joins() {
    let mut world = World::with_hosts(1);
    let mut config = replicas(4);
    config.options.rebalance_hosts = Some(true);
    world.create(config);
    world.settle();
    let host = world.add_host();
    for _ in 0..4 {
        world.settle();
        world.pass_step_by_step(41.0);
    }
    assert_eq!(world.state.host(host).unwrap().tasks.len(), 2);
    assert_eq!(world.counts(), "4 running, 0 pending");
}

#[test]
fn a_service_that_never_runs_twice_is_not_moved() {
    let mut world = World::with_hosts(1);
    let mut config = replicas(4);
    config.options.rebalance_hosts = Some(true);
    config.options.replace = Some(false);
    world.create(config);
    world.settle();
    let host = world.add_host();
    world.settle();
    world.pass_step_by_step(41.0);
    assert_eq!(world.state.host(host).unwrap().tasks.len(), 0);
    assert_eq!(world.counts(), "4 running, 0 pending");
}

/// Six tasks on two hosts, one of which is to move to a third.
fn world_with_a_move() -> World {
    let mut world = World::with_hosts(2);
    let mut config = replicas(6);
    config.az_rebalancing = true;
    world.create(config);
    world.settle();
    world.add_host();
    assert!(world.service().moving.is_some());
    world
}

#[test]
fn a_scaling_ends_a_move() {
    let mut world = world_with_a_move();
    world.scale(2);
    world.settle();
    assert_eq!(world.counts(), "2 running, 0 pending");
}

#[test]
fn an_alarm_that_goes_off_fails_the_deployment_and_one_that_was_off_at_the_start_is_ignored() {
    let mut world = World::with_hosts(3);
    world.put_alarm("errors");
    world.put_alarm("noise");
    world.set_alarm("noise", AlarmValue::Alarm);
    let mut config = replicas(2);
    config.deployment.alarms = Some(DeploymentAlarms {
        names: vec!["errors".to_owned(), "noise".to_owned()],
        enable: true,
        rollback: true,
    });
    world.create(config);
    world.settle();
    let good = world.service().primary;
    world.deploy("app");
    world.set_alarm("noise", AlarmValue::Ok);
    world.set_alarm("noise", AlarmValue::Alarm);
    world.agents_work();
    world.pass_step_by_step(41.0);
    world.agents_work();
    assert_eq!(world.deployment().stage, Stage::BakeTime);
    world.set_alarm("errors", AlarmValue::Alarm);
    assert_eq!(world.status(), DeploymentStatus::RollbackInProgress);
    assert_eq!(world.deployment().alarms_triggered, ["errors"]);
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::RollbackSuccessful);
    assert_eq!(world.service().primary, good);
}

/// Random services under random trouble: the bounds of ecs-behaviour 1.9 hold at every step, and
/// when the trouble stops, the service becomes steady.
#[test]
fn bounds_hold_under_trouble_and_a_quiet_service_becomes_steady() {
    let steps = trouble::run(trouble::STEPS_FAST, trouble::SEED);
    assert!(steps >= trouble::STEPS_FAST, "only {steps} steps were taken");
}
