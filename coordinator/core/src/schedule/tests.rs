//! The scheduler's rules, one sentence a test (ecs-behaviour 1.8 to 1.13).

#![allow(clippy::print_stdout, reason = "tests that print their seeds and counts")]

mod deployments;
mod forbidden;
mod instances;
mod leaving;
mod lost;
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
    command::{AgentAnswered, EpochCommand, ServiceCommand, SettableHostStatus, TaskCommand},
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
fn tasks_that_never_start_are_tried_ever_more_rarely_until_an_update() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    let mut waits = Vec::new();
    for _ in 0..14 {
        world.starts_fail();
        let began = world.at;
        while world.service().pending() == 0 {
            world.at = world.state.next_wake().unwrap();
            world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
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
fn unhealthy_tasks_stop_one_at_a_time_without_room_to_replace() {
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
            world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
    }
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

/// Whose setting it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SetOn {
    Service,
    Cluster,
}

#[test]
fn protected_tasks_are_not_scaled_in_until_their_time_is_over() {
    let mut world = World::with_hosts(1);
    world.create(replicas(3));
    world.settle();
    let (cluster, tasks) = (CLUSTER.parse().unwrap(), world.running());
    world
        .call(Command::Task(TaskCommand::UpdateTaskProtection { cluster, tasks, minutes: Some(1) }))
        .unwrap();
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
    let refused = world.call(Command::Service(ServiceCommand::DeleteService {
        service: named("s"),
        force: false,
    }));
    assert!(refused.is_err());
    world.scale(0);
    world.settle();
    world
        .call(Command::Service(ServiceCommand::DeleteService { service: named("s"), force: false }))
        .unwrap();
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
    // The name is free again.
    world.create(replicas(1));
    world
        .call(Command::Service(ServiceCommand::DeleteService { service: named("s"), force: true }))
        .unwrap();
    assert_eq!(world.service().status, ServiceStatus::Draining);
    world.agents_work();
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
    world.pass(3601.0);
    assert!(world.state.service_named(&named("s")).is_none());
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

/// Random services under random trouble: the bounds of ecs-behaviour 1.9 hold at every step, and
/// when the trouble stops, the service becomes steady.
#[test]
fn bounds_hold_under_trouble_and_a_quiet_service_becomes_steady() {
    let steps = trouble::run(trouble::STEPS_FAST, trouble::SEED);
    assert!(steps >= trouble::STEPS_FAST, "only {steps} steps were taken");
}
