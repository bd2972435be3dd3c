//! Deployments: their bounds, their breaker, their alarms and hooks, and how one takes over from another.

use super::*;

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
                    world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
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
fn an_aborted_deployment_leaves_what_runs_as_it_is() {
    let mut world = World::with_hosts(1);
    world.create(replicas(2));
    world.settle();
    world.deploy("app");
    let deployment = DeploymentRef { service: named("s"), deployment: world.deployment().id };
    world
        .call(Command::Service(ServiceCommand::StopServiceDeployment {
            deployment,
            rollback: false,
        }))
        .unwrap();
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
fn blue_green_pauses_at_its_hook_and_cleans_up_after_the_bake() {
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
        world
            .call(Command::Service(ServiceCommand::ContinueServiceDeployment {
                deployment,
                hook,
                action,
            }))
            .unwrap();
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
fn alarm_fails_the_deployment_unless_it_was_on_at_the_start() {
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
