//! What serves continues to serve, whichever deployment overtakes which, until another revision
//! stands in its place.

use crate::{
    model::{
        deployment::{DeploymentStatus, Stage},
        revision::Rollout,
        service::{DeploymentStrategy, ServiceConfig},
    },
    state::Standing,
    test_kit::world::{World, blue_green, bounded, replicas, with_breaker},
};

/// Number of tasks in every scene.
const DESIRED: u32 = 4;
/// Time from a task's start until it is healthy, in seconds.
const UNTIL_HEALTHY: f64 = 41.0;
/// Maximum number of looks until a deployment is complete.
const ROUNDS_MAX: usize = 100;

fn bakes_for(minutes: u32) -> ServiceConfig {
    let mut config = blue_green(DESIRED);
    config.deployment.bake_minutes = Some(minutes);
    config
}

/// The first deployment of a service bakes: no revision has completed yet.
fn first_deployment_in_its_bake() -> World {
    let mut world = World::with_hosts(4);
    world.create(bakes_for(30));
    world.agents_work();
    world.pass_step_by_step(UNTIL_HEALTHY);
    assert_eq!((world.deployment().stage, world.service().completed), (Stage::BakeTime, None));
    world
}

/// Green serves and blue was told to stop.
fn green_in_its_clean_up() -> World {
    let mut world = World::with_hosts(4);
    world.create(blue_green(DESIRED));
    world.settle();
    world.deploy("app");
    world.agents_work();
    world.pass_step_by_step(UNTIL_HEALTHY);
    assert_eq!(world.deployment().stage, Stage::CleanUp);
    world
}

/// Half of the tasks are of the new revision.
fn half_of_a_rolling_deployment() -> World {
    let mut world = World::with_hosts(4);
    world.create(bounded(DESIRED, 100, 150));
    world.settle();
    world.deploy("app");
    world.agents_work();
    world.pass_step_by_step(UNTIL_HEALTHY);
    world.update(|update| {
        update.deployment.strategy = Some(DeploymentStrategy::BlueGreen);
        update.deployment.bake_minutes = Some(1);
    });
    world
}

#[test]
fn what_serves_stays_when_a_blue_green_deployment_takes_over() {
    let scenes =
        [first_deployment_in_its_bake, green_in_its_clean_up, half_of_a_rolling_deployment];
    for (index, scene) in scenes.into_iter().enumerate() {
        let mut world = scene();
        assert!(world.healthy() >= DESIRED, "scene {index}");
        world.deploy("app");
        for _ in 0..ROUNDS_MAX {
            assert!(world.healthy() >= DESIRED, "scene {index}: {}", world.counts());
            world.live(1);
        }
        assert_eq!(world.status(), DeploymentStatus::Successful, "scene {index}");
        assert_eq!(world.counts(), "4 running, 0 pending", "scene {index}");
    }
}

/// What died of blue is started again, though blue's deployment was overtaken.
#[test]
fn blue_that_never_completed_heals() {
    let mut world = first_deployment_in_its_bake();
    let blue = world.service().primary.unwrap();
    world.deploy("app");
    world.exits(world.running()[0]);
    world.agents_work();
    let counts = &world.service().revision(blue).unwrap().counts;
    assert_eq!(counts.wanted(), DESIRED);
}

/// A deployment that only waited for its predecessor to leave is what the next one goes back to.
#[test]
fn deployment_overtaken_in_its_clean_up_has_completed() {
    let mut world = green_in_its_clean_up();
    let green = world.service().primary.unwrap();
    world.deploy("app");
    assert_eq!(world.service().completed, Some(green));
    assert_eq!(world.service().revision(green).unwrap().record.rollout, Rollout::Completed);
}

/// No second copy: blue leaves before green comes.
#[test]
fn blue_and_green_never_run_together_without_second_copies() {
    let mut config = blue_green(1);
    config.options.replace = Some(false);
    let mut world = World::with_hosts(2);
    world.create(config);
    world.settle();
    let blue = world.service().primary;
    world.deploy("app");
    for _ in 0..ROUNDS_MAX {
        assert!(world.tasks().len() <= 1, "{}", world.counts());
        world.live(1);
    }
    assert_eq!(world.status(), DeploymentStatus::Successful);
    assert_ne!(world.service().completed, blue);
    assert_eq!(world.counts(), "1 running, 0 pending");
}

/// Back to the first revision while it still runs, and now its tasks do not start any more.
fn return_fails(rollback: bool) -> World {
    let mut world = World::with_hosts(4);
    world.create(with_breaker(replicas(2), rollback));
    world.settle();
    let first = world.running()[0];
    world.define("app", 20, false);
    world.deploy_quietly("app", None);
    world.agents_work();
    world.deploy_quietly("app", Some(1));
    world.exits(first);
    for _ in 0..ROUNDS_MAX {
        if world.status() != DeploymentStatus::InProgress {
            return world;
        }
        world.starts_fail();
        world.pass_step_by_step(1000.0);
    }
    panic!("the deployment goes on: {}", world.counts())
}

#[test]
fn revision_that_completed_is_started_again_after_its_return_failed() {
    for rollback in [false, true] {
        let mut world = return_fails(rollback);
        let first = world.service().completed.unwrap();
        world.live(ROUNDS_MAX);
        let counts = &world.service().revision(first).unwrap().counts;
        let healthy = world.healthy();
        assert!(healthy >= 2, "rollback {rollback}: {}", world.counts());
        assert!(counts.of(Standing::Healthy) > 0, "rollback {rollback}");
        for task in world.running() {
            world.exits(task);
        }
        world.live(ROUNDS_MAX);
        assert_eq!(world.healthy(), 2, "rollback {rollback}: {}", world.counts());
    }
}
