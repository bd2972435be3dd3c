//! One wait has one clock, and a condition is judged again whenever one of its causes changes:
//! hooks, rollbacks, backoffs, the time until a task is healthy, and the brake on mass losses.

use longshore_common::{
    id::TaskId,
    protocol::{ContainerReport, ContainerStatus, EngineHealth, ReportedPhase},
    task::{HealthStatus, StopCause, StopCode},
    task_definition::{ContainerDefinition, ContainerDependency, DependencyCondition, HealthCheck},
};

use crate::{
    Command,
    command::{EpochCommand, ServiceCommand, SettableHostStatus, TaskCommand},
    model::{
        cluster::Replacing,
        deployment::{DeploymentRef, DeploymentStatus, Stage},
        service::{HookAction, HookStage, HookTarget, LifecycleHook, LostAfter, ServiceConfig},
        task::Wish,
    },
    state::Standing,
    test_kit::world::{CLUSTER, World, blue_green, bounded, named, replicas, with_breaker},
};

/// Seconds in an hour.
const HOUR: f64 = 3600.0;

/// Blue/green with one pause after the scale-up.
fn paused(timeout_minutes: u32, on_timeout: HookAction) -> ServiceConfig {
    let mut config = blue_green(1);
    config.deployment.hooks = vec![LifecycleHook {
        target: HookTarget::Pause,
        stages: vec![HookStage::PostScaleUp],
        timeout_minutes,
        on_timeout,
    }];
    config
}

/// A second deployment that waits at its hook.
fn waits_at_hook(timeout_minutes: u32, on_timeout: HookAction) -> World {
    let mut world = World::with_hosts(1);
    world.create(blue_green(1));
    world.settle();
    let hooks = paused(timeout_minutes, on_timeout).deployment.hooks;
    world.update(|update| update.deployment.hooks = Some(hooks));
    world.deploy("app");
    world.agents_work();
    world.pass_step_by_step(41.0);
    assert_eq!(world.deployment().stage, Stage::PostScaleUp);
    world
}

#[test]
fn hook_waits_as_long_as_it_says_and_then_its_own_action_decides() {
    // Minutes of the hook; hours after which it still waits; what it says; what becomes of it.
    let longest = 20_160;
    let cases = [
        (60, 0.9, HookAction::Continue, DeploymentStatus::Successful),
        (24 * 60, 23.9, HookAction::Continue, DeploymentStatus::Successful),
        (24 * 60, 23.9, HookAction::Rollback, DeploymentStatus::RollbackSuccessful),
        (30 * 60, 29.0, HookAction::Continue, DeploymentStatus::Successful),
        (longest, 335.0, HookAction::Continue, DeploymentStatus::Successful),
        (longest, 335.0, HookAction::Rollback, DeploymentStatus::RollbackSuccessful),
    ];
    for (minutes, waits, action, ends) in cases {
        let mut world = waits_at_hook(minutes, action);
        world.pass_step_by_step(waits * HOUR);
        assert_eq!(world.status(), DeploymentStatus::InProgress, "{minutes} min");
        world.pass_step_by_step(f64::from(minutes) * 60.0 - waits * HOUR + 1.0);
        world.settle();
        assert_eq!(world.status(), ends, "{minutes} min, {action:?}");
    }
}

#[test]
fn hook_that_is_approved_after_a_day_goes_on() {
    let mut world = waits_at_hook(48 * 60, HookAction::Rollback);
    world.pass_step_by_step(25.0 * HOUR);
    let hook = world.deployment().hooks.last().unwrap().id;
    let deployment = DeploymentRef { service: named("s"), deployment: world.deployment().id };
    let action = HookAction::Continue;
    world
        .call(Command::Service(ServiceCommand::ContinueServiceDeployment {
            deployment,
            hook,
            action,
        }))
        .unwrap();
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

#[test]
fn bake_of_a_whole_day_ends_well() {
    let mut world = World::with_hosts(1);
    let mut config = blue_green(1);
    config.deployment.bake_minutes = Some(24 * 60);
    world.create(config);
    world.agents_work();
    world.pass_step_by_step(25.0 * HOUR);
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

#[test]
fn stage_that_waits_for_tasks_ends_after_a_day() {
    let mut world = World::with_hosts(1);
    world.create(blue_green(1));
    world.settle();
    let blue = world.service().primary;
    world.define("big", 9999, false);
    world.deploy("big");
    world.pass_step_by_step(23.9 * HOUR);
    assert_eq!(world.status(), DeploymentStatus::InProgress);
    world.pass_step_by_step(0.2 * HOUR);
    assert_eq!(world.service().primary, blue);
}

#[test]
fn failed_deployment_is_seen_until_its_rollback_is_complete() {
    let mut world = World::with_hosts(1);
    world.create(with_breaker(replicas(1), true));
    world.settle();
    let good = world.service().primary.unwrap();
    world.define("bad", 10, false);
    world.deploy("bad");
    let bad = world.service().primary.unwrap();
    while world.status() == DeploymentStatus::InProgress {
        world.starts_fail();
        world.pass_step_by_step(1.0);
    }
    // Nothing of the good revision was ever stopped.
    assert_eq!(world.counts(), "1 running, 0 pending");
    for _ in 0..39 {
        assert_eq!(world.status(), DeploymentStatus::RollbackInProgress);
        let failed = &world.service().revision(bad).unwrap().record;
        assert!(failed.reason.contains("circuit breaker"), "{}", failed.reason);
        assert!(world.service().is_target(bad));
        world.pass_step_by_step(1.0);
    }
    world.pass_step_by_step(1.0);
    assert_eq!(world.status(), DeploymentStatus::RollbackSuccessful);
    assert!(world.service().revision(bad).is_none());
    assert_eq!(world.service().primary, Some(good));
}

#[test]
fn task_that_exits_at_once_is_started_ever_more_rarely() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    let mut waits = Vec::new();
    for _ in 0..12 {
        world.agents_work();
        let task = world.running()[0];
        world.pass(1.0);
        world.exits(task);
        let began = world.at;
        while world.service().pending() == 0 {
            world.at = world.state.next_wake().unwrap();
            world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
        waits.push(world.at.since(began).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    let said = world.said.iter().filter(|said| said.contains("unable to consistently start"));
    assert_eq!(said.count(), 1);
    // ECS counts only tasks that never ran as failed.
    assert_eq!(world.service().primary().unwrap().record.failed_tasks, 0);
    // One that stays up ends the waiting.
    world.agents_work();
    world.pass_step_by_step(41.0);
    let task = world.running()[0];
    world.exits(task);
    assert_eq!(world.counts(), "0 running, 1 pending");
}

/// A task whose `app` starts once its `db` is healthy.
fn depends(world: &mut World) {
    let container = |name: &str| ContainerDefinition {
        name: name.to_owned(),
        image: Some("busybox".to_owned()),
        memory: Some(10),
        ..ContainerDefinition::default()
    };
    let check = HealthCheck {
        command: vec!["CMD".to_owned(), "false".to_owned()],
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
    };
    let db = ContainerDefinition {
        health_check: Some(check),
        essential: Some(false),
        ..container("db")
    };
    let on = ContainerDependency {
        container_name: "db".to_owned(),
        condition: DependencyCondition::Healthy,
    };
    let app = ContainerDefinition { depends_on: vec![on], ..container("app") };
    world.define_containers("depends", vec![db, app]);
}

fn db_is(health: HealthStatus) -> Vec<ContainerReport> {
    let report = |name: &str, status, health| ContainerReport {
        name: name.to_owned(),
        status,
        health,
        ..ContainerReport::default()
    };
    vec![
        report("db", ContainerStatus::Running, Some(health)),
        report("app", ContainerStatus::Pending, None),
    ]
}

#[test]
fn task_that_waits_for_an_unhealthy_container_is_replaced_and_counted() {
    let mut world = World::with_hosts(1);
    depends(&mut world);
    world.create_named("s", "depends", with_breaker(replicas(1), false));
    let task = world.tasks()[0].id;
    world.report_containers(task, ReportedPhase::Activating, db_is(HealthStatus::Unknown));
    assert_eq!(world.counts(), "0 running, 1 pending");
    assert_eq!(world.state.task(task).unwrap().standing(), Some(Standing::Pending));
    world.report_containers(task, ReportedPhase::Activating, db_is(HealthStatus::Unhealthy));
    assert_eq!(world.service().primary().unwrap().record.failed_tasks, 1);
    assert!(world.said.iter().any(|said| said.ends_with("failed container health checks.")));
    world.agents_work();
    assert!(world.state.task(task).is_none());
    // Replaced, and not at once: it never ran.
    assert_eq!(world.counts(), "0 running, 0 pending");
    world.pass_step_by_step(1.0);
    assert_eq!(world.counts(), "0 running, 1 pending");
    for _ in 0..2 {
        let task = world.tasks()[0].id;
        world.report_containers(task, ReportedPhase::Activating, db_is(HealthStatus::Unhealthy));
        let (code, reason) = (StopCode::ServiceSchedulerInitiated, String::new());
        world.report(task, ReportedPhase::Stopped(StopCause { code, reason }));
        world.pass_step_by_step(10.0);
    }
    assert_eq!(world.status(), DeploymentStatus::Stopped);
}

#[test]
fn grace_covers_a_task_that_waits_for_an_unhealthy_container() {
    let mut world = World::with_hosts(1);
    depends(&mut world);
    let config = ServiceConfig { grace_s: Some(60), ..replicas(1) };
    world.create_named("s", "depends", config);
    let task = world.tasks()[0].id;
    world.report_containers(task, ReportedPhase::Activating, db_is(HealthStatus::Unhealthy));
    world.pass_step_by_step(59.0);
    assert_eq!(world.service().primary().unwrap().record.failed_tasks, 0);
    world.pass_step_by_step(1.0);
    assert_eq!(world.service().primary().unwrap().record.failed_tasks, 1);
}

#[test]
fn time_until_healthy_counts_only_while_the_host_is_heard() {
    let mut world = World::with_hosts(1);
    let mut config = replicas(1);
    config.options.lost_after = Some(LostAfter::Never);
    world.create(config);
    world.agents_work();
    world.pass(20.0);
    let host = world.hosts[0];
    world.cut(host);
    world.pass_step_by_step(600.0);
    assert_eq!((world.healthy(), world.status()), (0, DeploymentStatus::InProgress));
    world.heal(host);
    world.pass_step_by_step(39.0);
    assert_eq!(world.healthy(), 0);
    world.pass_step_by_step(1.0);
    assert_eq!((world.healthy(), world.status()), (1, DeploymentStatus::Successful));
}

#[test]
fn new_coordinator_judges_after_a_report_of_every_host() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.agents_work();
    world.pass(20.0);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    // Long after all tasks would have been healthy, and nobody was heard yet.
    world.pass_step_by_step(9.0);
    world.pass(100.0);
    assert_eq!((world.healthy(), world.service().steady), (0, false));
    assert_eq!(world.status(), DeploymentStatus::InProgress);
    let hosts = world.hosts.clone();
    hosts.iter().for_each(|host| world.heal(*host));
    world.pass_step_by_step(39.0);
    assert_eq!(world.healthy(), 0);
    world.pass_step_by_step(1.0);
    assert_eq!((world.healthy(), world.status()), (2, DeploymentStatus::Successful));
}

#[test]
fn deployment_of_healthy_tasks_is_not_done_before_every_host_was_heard() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    world.create_named("s", "checked", replicas(2));
    world.agents_work();
    let tasks = world.running();
    world.set_health(tasks[0], HealthStatus::Healthy);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    // The last one becomes healthy; of the first one's host nobody has heard.
    world.set_health(tasks[1], HealthStatus::Healthy);
    assert_eq!((world.status(), world.service().steady), (DeploymentStatus::InProgress, false));
    world.set_health(tasks[0], HealthStatus::Healthy);
    assert_eq!((world.status(), world.service().steady), (DeploymentStatus::Successful, true));
}

#[test]
fn new_coordinator_stops_nothing_for_tasks_of_which_it_has_not_heard() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    world.create_named("s", "checked", replicas(2));
    world.agents_work();
    let old = world.running();
    old.iter().for_each(|task| world.set_health(*task, HealthStatus::Healthy));
    world.deploy("checked");
    world.agents_work();
    let new: Vec<_> = world.running().into_iter().filter(|task| !old.contains(task)).collect();
    assert_eq!(new.len(), 2);
    let host_of =
        |world: &World, task| world.state.host_at(world.state.task(task).unwrap().host).id;
    let silent = host_of(&world, new[0]);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    let heard = host_of(&world, new[1]);
    assert_ne!(silent, heard);
    world.set_health(new[1], HealthStatus::Healthy);
    // Two of old are healthy by what an earlier coordinator knew, one of them by what is heard.
    assert!(old.iter().all(|task| world.state.task(*task).unwrap().wish == Wish::Run));
    world.heal(silent);
    let stops = |task: &TaskId| world.state.task(*task).unwrap().wish != Wish::Run;
    assert_eq!(old.iter().filter(|task| stops(task)).count(), 1);
}

/// A deployment whose new tasks stand and bake, and whose old one is protected for two days.
fn cleans_up() -> (World, TaskId) {
    let mut world = World::with_hosts(2);
    let mut config = blue_green(1);
    config.options.lost_after = Some(LostAfter::Never);
    world.create(config);
    world.settle();
    let old = world.running()[0];
    protect(&mut world, old, Some(48 * 60));
    world.deploy("app");
    world.agents_work();
    world.pass_step_by_step(HOUR);
    world.agents_work();
    assert_eq!(world.deployment().stage, Stage::CleanUp);
    (world, old)
}

fn protect(world: &mut World, task: TaskId, minutes: Option<u32>) {
    let (cluster, tasks) = (CLUSTER.parse().unwrap(), vec![task]);
    world
        .call(Command::Task(TaskCommand::UpdateTaskProtection { cluster, tasks, minutes }))
        .unwrap();
}

#[test]
fn clean_up_waits_for_protected_tasks_and_never_rolls_back() {
    for unprotected_early in [false, true] {
        let (mut world, old) = cleans_up();
        world.pass_step_by_step(30.0 * HOUR);
        assert_eq!(world.status(), DeploymentStatus::InProgress);
        if unprotected_early {
            protect(&mut world, old, None);
        } else {
            world.pass_step_by_step(18.0 * HOUR);
        }
        assert_ne!(world.state.task(old).unwrap().wish, Wish::Run, "{unprotected_early}");
        world.settle();
        assert_eq!(world.status(), DeploymentStatus::Successful, "{unprotected_early}");
    }
}

#[test]
fn deployment_says_that_it_waits_for_hosts_that_are_never_lost() {
    let (mut world, old) = cleans_up();
    let slot = world.state.task(old).unwrap().host;
    let silent = world.state.host_at(slot).id;
    world.cut(silent);
    world.pass_step_by_step(50.0 * HOUR);
    assert_eq!(world.status(), DeploymentStatus::InProgress);
    let said = world.said.iter().filter(|said| said.contains("are never taken for lost"));
    let said: Vec<_> = said.collect();
    assert!(said.iter().any(|said| said.contains(&old.to_string())), "{said:?}");
    world.deregister(silent);
    world.settle();
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

/// The agent answers and its container engine does not: nobody knows how the tasks there are.
#[test]
fn service_names_awaited_hosts_when_they_are_connected() {
    let mut world = World::with_hosts(3);
    world.create(replicas(3));
    world.settle();
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    // Something happens that makes it unsteady, so that it is to become steady anew.
    world.update(|update| update.force_new_deployment = true);
    let engineless = world.hosts[1];
    for host in world.hosts.clone() {
        let silent = host == engineless;
        world.answer_with(host, Vec::new(), |said| {
            said.looked = !silent;
            said.engine = if silent { EngineHealth::Silent } else { EngineHealth::Answers };
        });
    }
    let told = |world: &World| {
        let said = world.said.iter().filter(|said| said.contains("engines have not answered"));
        said.cloned().collect::<Vec<_>>()
    };
    world.pass_step_by_step(59.0);
    assert_eq!(told(&world), Vec::<String>::new());
    world.pass_step_by_step(2.0);
    let said = told(&world);
    assert_eq!(said.len(), 1, "{:?}", world.said);
    assert!(said[0].contains(&format!("1 container instances: (container-instance {engineless})")));
    world.pass_step_by_step(3600.0);
    assert_eq!(told(&world).len(), 1, "it is not said again and again");
}

#[test]
fn new_coordinator_does_not_wait_for_ever_for_a_host_that_is_never_lost() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    let mut config = replicas(2);
    config.options.lost_after = Some(LostAfter::Never);
    world.create_named("s", "checked", config);
    world.agents_work();
    let tasks = world.running();
    world.set_health(tasks[0], HealthStatus::Healthy);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    let slot = world.state.task(tasks[0]).unwrap().host;
    let silent = world.state.host_at(slot).id;
    world.cut(silent);
    world.set_health(tasks[1], HealthStatus::Healthy);
    assert_eq!((world.status(), world.service().steady), (DeploymentStatus::InProgress, false));
    world.pass_step_by_step(60.0);
    assert_eq!((world.status(), world.service().steady), (DeploymentStatus::Successful, true));
    assert_eq!(world.running(), tasks);
}

/// Six hosts of which three were lost at once.
fn braked() -> World {
    let mut world = World::with_hosts(6);
    world.create(replicas(6));
    world.settle();
    let cut = world.hosts[..3].to_vec();
    cut.iter().for_each(|host| world.cut(*host));
    world.pass_step_by_step(60.0);
    assert_eq!(world.state.cluster(CLUSTER).unwrap().replacing, Replacing::Paused);
    world
}

#[test]
fn brake_is_judged_again_whatever_changes_the_set_of_hosts() {
    type Cause = fn(&mut World);
    let causes: [(&str, Cause); 4] = [
        ("all lost hosts are deregistered", |world| {
            let lost = world.hosts[..3].to_vec();
            for host in lost {
                world.deregister(host);
            }
        }),
        ("one lost host is deregistered", |world| {
            let host = world.hosts[0];
            world.deregister(host);
        }),
        ("hosts join", |world| {
            for _ in 0..2 {
                world.add_host();
            }
        }),
        ("one host is back", |world| {
            let host = world.hosts[0];
            world.heal(host);
        }),
    ];
    for (name, cause) in causes {
        let mut world = braked();
        cause(&mut world);
        world.live(10);
        let replacing = world.state.cluster(CLUSTER).unwrap().replacing;
        assert_eq!(replacing, Replacing::Normal, "{name}");
        assert_eq!(world.service().running(), 6, "{name}");
    }
}

#[test]
fn brake_holds_while_the_loss_is_a_mass_loss() {
    let mut world = braked();
    let host = world.hosts[5];
    world.set_status(host, SettableHostStatus::Draining);
    world.live(10);
    assert_eq!(world.state.cluster(CLUSTER).unwrap().replacing, Replacing::Paused);
}

#[test]
fn going_back_to_a_revision_that_still_runs_takes_its_tasks() {
    let mut world = World::with_hosts(1);
    world.define_with_port("web", 80);
    world.create_named("s", "web", bounded(1, 100, 200));
    world.settle();
    let (task, first) = (world.running()[0], world.service().primary);
    // The port is taken as long as the old task runs, which no new one may precede.
    world.define_with_port("web", 80);
    world.deploy_quietly("web", None);
    world.pass_step_by_step(600.0);
    assert_ne!(world.service().primary, first);
    assert_eq!(world.status(), DeploymentStatus::InProgress);
    world.deploy_quietly("web", Some(1));
    world.settle();
    assert_eq!((world.running(), world.service().primary), (vec![task], first));
    assert_eq!(world.status(), DeploymentStatus::Successful);
    assert_eq!(world.service().revisions.len(), 1);
}

#[test]
fn update_that_rules_out_zone_balancing_by_default_ends_it() {
    let mut world = World::with_hosts(2);
    world.create(ServiceConfig { az_rebalancing: true, ..bounded(2, 50, 200) });
    world.update(|update| update.deployment.maximum_percent = Some(100));
    assert!(!world.service().config.az_rebalancing);
    // Who asks for both is told that they exclude each other.
    assert!(world.try_update(|update| update.az_rebalancing = Some(true)).is_err());
}
