//! What must go, goes: whatever became of a deployment and whoever is the primary one, a host that
//! drains is left by the tasks of services, and a service that was deleted ends.

use std::collections::BTreeSet;

use longshore_common::{
    id::{HostId, TaskId},
    task::HealthStatus,
};

use super::trouble::Chance;
use crate::{
    Command,
    command::{
        ServiceCommand,
        SettableHostStatus::{Active, Draining},
        TaskSetCommand,
    },
    model::{
        deployment::DeploymentStatus,
        host::HostStatus,
        revision::Rollout,
        service::{DeploymentStrategy, ServiceConfig},
        service_status::ServiceStatus,
    },
    schedule::messages::REPEATED_AFTER,
    state::Standing,
    test_kit::world::{
        World, blue_green, bounded, daemon, external, named, replicas, with_breaker,
    },
};

/// Number of worlds, each from a seed of its own.
const WORLDS: u64 = 300;
/// Seed of the first world.
const FIRST_SEED: u64 = 40_000;
/// Number of steps in one world.
const STEPS_OF_A_WORLD: u64 = 60;
/// Maximum number of waits for a host to be empty, or for a service to end.
const ROUNDS_MAX: usize = 120;

/// A service of two tasks whose new revision does not start, beside the old one that runs.
fn failed_without_rollback() -> World {
    let mut world = World::with_hosts(3);
    world.create(with_breaker(replicas(2), false));
    world.settle();
    world.define("bad", 10, false);
    world.deploy("bad");
    while world.status() == DeploymentStatus::InProgress {
        world.starts_fail();
        world.pass_step_by_step(1000.0);
    }
    assert_eq!(world.service().primary().unwrap().record.rollout, Rollout::Failed);
    assert_eq!(world.counts(), "2 running, 0 pending");
    world
}

#[test]
fn failed_deployment_lets_service_scale_in() {
    let mut world = failed_without_rollback();
    world.scale(1);
    world.live(5);
    assert_eq!(world.counts(), "1 running, 0 pending");
    world.scale(0);
    world.live(5);
    assert_eq!(world.counts(), "0 running, 0 pending");
    world
        .call(Command::Service(ServiceCommand::DeleteService { service: named("s"), force: false }))
        .unwrap();
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
}

#[test]
fn failed_deployment_lets_what_is_left_heal() {
    let mut world = failed_without_rollback();
    let old = world.service().completed;
    let task = world.running()[0];
    world.exits(task);
    world.live(5);
    assert_eq!(world.counts(), "2 running, 0 pending");
    let revisions = &world.service().revisions;
    assert!(revisions.iter().all(|r| r.tasks.is_empty() || Some(r.record.id) == old));
    world.scale(4);
    world.live(5);
    assert_eq!(world.counts(), "4 running, 0 pending");
}

#[test]
fn failed_deployment_lets_hosts_drain() {
    let mut world = failed_without_rollback();
    let task = world.running()[0];
    let host = world.state.host_at(world.state.task(task).unwrap().host).id;
    world.set_status(host, Draining);
    world.live(5);
    assert!(world.state.host(host).unwrap().tasks.is_empty());
    assert_eq!(world.counts(), "2 running, 0 pending");
}

#[test]
fn first_deployment_that_was_aborted_scales_in_and_drains() {
    let mut world = World::with_hosts(2);
    world.create(replicas(4));
    world.agents_work();
    world.abort();
    world.scale(2);
    world.live(3);
    assert_eq!(world.counts(), "2 running, 0 pending");
    // Nothing can take their place: the host is emptied all the same.
    let host = world.hosts[0];
    world.set_status(host, Draining);
    world.live(3);
    assert!(world.state.host(host).unwrap().tasks.is_empty());
}

#[test]
fn scaling_in_after_an_abort_stops_the_aborted_revision_first() {
    let mut world = World::with_hosts(2);
    world.create(replicas(3));
    world.settle();
    let old = world.service().primary;
    world.deploy("app");
    world.agents_work();
    world.abort();
    world.live(3);
    assert_eq!(world.counts(), "6 running, 0 pending");
    world.scale(2);
    world.live(3);
    assert_eq!(world.counts(), "2 running, 0 pending");
    let with_tasks = world.service().revisions.iter().filter(|r| !r.tasks.is_empty());
    assert!(with_tasks.into_iter().all(|r| Some(r.record.id) == old));
}

#[test]
fn service_tells_its_bounds_after_a_failed_deployment() {
    // Desired 1, minimum 50, maximum 100: neither may be stopped nor started.
    let mut world = World::with_hosts(2);
    world.create(bounded(1, 50, 100));
    world.settle();
    let host = world.state.host_at(world.state.task(world.running()[0]).unwrap().host).id;
    world.deploy("app");
    world.abort();
    world.said.clear();
    // The deployment has said the same: nothing is said twice in a short while, and all in the end.
    world.set_status(host, Draining);
    world.live(5);
    assert_eq!((world.state.host(host).unwrap().tasks.len(), world.said.len()), (1, 0));
    world.pass_step_by_step(REPEATED_AFTER.as_secs_f64());
    let said = world.said.last().unwrap();
    assert!(said.starts_with("was unable to stop or start tasks during a deployment"), "{said}");
}

#[test]
fn service_tells_its_bounds_while_green_scales_up() {
    let mut world = World::with_hosts(2);
    let mut config = bounded(1, 100, 150);
    config.deployment.strategy = DeploymentStrategy::BlueGreen;
    config.deployment.bake_minutes = Some(0);
    world.create(config);
    world.agents_work();
    let host = world.state.host_at(world.state.task(world.running()[0]).unwrap().host).id;
    world.set_status(host, Draining);
    world.live(1);
    let said = world.said.last().unwrap();
    assert!(said.starts_with("was unable to stop or start tasks during a deployment"), "{said}");
}

#[test]
fn unhealthy_task_leaves_a_draining_host_first() {
    let mut world = World::with_hosts(3);
    world.define("checked", 10, true);
    world.create_named("s", "checked", bounded(2, 100, 200));
    world.agents_work();
    for task in world.running() {
        world.set_health(task, HealthStatus::Healthy);
    }
    let sick = world.running()[0];
    let host = world.state.host_at(world.state.task(sick).unwrap().host).id;
    world.set_health(sick, HealthStatus::Unhealthy);
    world.set_status(host, Draining);
    // Its replacement never becomes healthy.
    world.live(5);
    assert!(world.state.task(sick).is_none());
}

#[test]
fn unhealthy_task_on_a_draining_host_goes_with_its_service() {
    let mut world = World::with_hosts(1);
    world.define("checked", 10, true);
    world.create_named("s", "checked", replicas(1));
    world.agents_work();
    let sick = world.running()[0];
    world.set_status(world.hosts[0], Draining);
    world.set_health(sick, HealthStatus::Unhealthy);
    world.delete_by_force("s");
    world.live(3);
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
}

#[test]
fn deleted_daemon_leaves_a_draining_host_that_has_other_tasks() {
    let mut world = World::with_hosts(2);
    world.create(daemon());
    world.settle();
    let host = world.hosts[0];
    world.start_alone(host);
    world.agents_work();
    world.set_status(host, Draining);
    world.delete_by_force("s");
    world.live(3);
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
    assert_eq!(world.state.host(host).unwrap().tasks.len(), 1);
}

#[test]
fn daemon_deployment_completes_without_hosts_that_drain() {
    let mut world = World::with_hosts(3);
    world.create(daemon());
    world.settle();
    let host = world.hosts[0];
    let alone = world.start_alone(host);
    world.agents_work();
    world.set_status(host, Draining);
    world.update(|update| update.force_new_deployment = true);
    world.live(10);
    assert_eq!(world.status(), DeploymentStatus::Successful);
    assert!(world.service().steady);
    // The old daemon serves the task that is still there.
    assert_eq!(world.state.host(host).unwrap().tasks.len(), 2);
    world.exits(alone);
    world.live(3);
    assert!(world.state.host(host).unwrap().tasks.is_empty());
}

#[test]
fn task_sets_without_a_primary_one_leave_draining_hosts() {
    let mut world = World::with_hosts(3);
    world.create(external(4));
    world.create_task_set("app", 1000);
    world.create_task_set("app", 500);
    world.live(3);
    assert_eq!(world.counts(), "6 running, 0 pending");
    let host = world.hosts[0];
    world.set_status(host, Draining);
    // The replacements run before anything stops.
    assert_eq!(world.service().running(), 6);
    assert!(world.service().pending() > 0);
    world.live(5);
    assert!(world.state.host(host).unwrap().tasks.is_empty());
    assert_eq!(world.counts(), "6 running, 0 pending");
    world.delete_by_force("s");
    world.live(3);
    assert!(matches!(world.service().status, ServiceStatus::Inactive { .. }));
}

#[test]
fn blue_and_green_keep_their_floor_while_a_host_drains() {
    let mut world = World::with_hosts(3);
    world.create(blue_green(3));
    world.settle();
    world.deploy("app");
    world.agents_work();
    let blue = world.service().completed.unwrap();
    let host = world.hosts[0];
    world.set_status(host, Draining);
    // Nothing of blue stops before its replacement is healthy.
    let counts = &world.service().revision(blue).unwrap().counts;
    assert_eq!((counts.of(Standing::Healthy), counts.leaving()), (3, 0));
    world.live(10);
    assert!(world.state.host(host).unwrap().tasks.is_empty());
    assert_eq!(world.status(), DeploymentStatus::Successful);
}

/// A floor above the desired count asks for nothing that no deployment can give.
#[test]
fn deployment_with_a_floor_above_desired_completes() {
    let mut world = World::with_hosts(2);
    world.create(bounded(2, 150, 200));
    world.settle();
    world.deploy("app");
    world.settle();
    assert_eq!(world.counts(), "2 running, 0 pending");
}

struct Scene {
    world: World,
    chance: Chance,
    family: &'static str,
    broken: bool,
    external: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Rolling,
    BlueGreen,
    Daemon,
    External,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut world = World::with_hosts(2 + chance.below(4) as usize).forgetful();
        world.define("checked", 10, true);
        let kinds = [Kind::Rolling, Kind::BlueGreen, Kind::Daemon, Kind::External];
        let kind = kinds[chance.below(4) as usize];
        let family = if chance.below(2) == 0 { "checked" } else { "app" };
        world.create_named("s", family, Scene::config(kind, &mut chance));
        let external = matches!(kind, Kind::External);
        let mut scene = Scene { world, chance, family, broken: false, external };
        if external {
            scene.task_sets();
        }
        scene
    }

    fn config(kind: Kind, chance: &mut Chance) -> ServiceConfig {
        let desired = 1 + chance.below(5) as u32;
        let mut config = match kind {
            Kind::Rolling => {
                let (minimum, maximum) =
                    [(50, 100), (100, 200), (0, 150)][chance.below(3) as usize];
                bounded(desired, minimum, maximum)
            }
            Kind::BlueGreen => blue_green(desired),
            Kind::Daemon => daemon(),
            Kind::External => return external(desired),
        };
        config.deployment.circuit_breaker.enable = chance.below(3) > 0;
        config.deployment.circuit_breaker.rollback = chance.below(3) == 0;
        config
    }

    fn task_sets(&mut self) {
        for _ in 0..1 + self.chance.below(2) {
            let scale = [300, 500, 1000][self.chance.below(3) as usize];
            let set = self.world.create_task_set(self.family, scale);
            if self.chance.below(2) == 0 {
                let service = named("s");
                let primary = Command::TaskSet(TaskSetCommand::UpdateServicePrimaryTaskSet {
                    service,
                    task_set: set,
                });
                self.world.call(primary).unwrap();
            }
        }
    }

    fn trouble(&mut self) {
        let hosts = self.world.hosts.clone();
        let host = self.chance.pick(&hosts);
        let running = self.world.running();
        let task = self.chance.pick(&running);
        match self.chance.below(13) {
            0 if !self.world.service().is_daemon() => {
                let desired = self.chance.below(6) as u32;
                self.world.scale(desired);
            }
            1 if !self.external => {
                self.broken = self.chance.below(2) == 0;
                self.world.deploy(self.family);
            }
            2 if self.world.service().under_way().is_some_and(|d| d.rollback.is_none()) => {
                self.world.abort();
            }
            3 => host.into_iter().for_each(|host| self.world.set_status(host, Draining)),
            4 => host.into_iter().for_each(|host| self.world.set_status(host, Active)),
            5 => host.into_iter().for_each(|host| self.world.cut(host)),
            6 => host.into_iter().for_each(|host| self.world.heal(host)),
            7 => task.into_iter().for_each(|task| self.world.exits(task)),
            8 if self.family == "checked" => {
                let health = [HealthStatus::Healthy, HealthStatus::Unhealthy];
                let health = health[self.chance.below(2) as usize];
                task.into_iter().for_each(|task| self.world.set_health(task, health));
            }
            9 => {
                let active = host.filter(|host| {
                    let host = self.world.state.host(*host).unwrap();
                    host.connected && host.status == HostStatus::Active
                });
                if let Some(host) = active {
                    self.world.start_alone(host);
                }
            }
            10 => {
                let seconds = self.chance.below(60) as f64;
                self.world.pass_step_by_step(seconds);
            }
            _ if self.broken => self.world.starts_fail(),
            _ => self.world.agents_work(),
        }
    }

    /// New tasks are good; those that are ill stay ill.
    fn live(&mut self, done: impl Fn(&Scene) -> bool) -> bool {
        for _ in 0..ROUNDS_MAX {
            if done(self) {
                return true;
            }
            self.world.live(1);
            if self.family == "checked" {
                for task in self.world.running() {
                    let task = self.world.state.task(task);
                    let health =
                        task.filter(|t| t.service.is_some()).and_then(|t| t.checked_health);
                    if health == Some(HealthStatus::Unknown) {
                        self.world.set_health(task.unwrap().id, HealthStatus::Healthy);
                    }
                }
            }
        }
        done(self)
    }

    /// What is on hosts that drain and is to go.
    fn stays(&self, draining: &BTreeSet<HostId>) -> Vec<TaskId> {
        let state = &self.world.state;
        let mut found = Vec::new();
        for host in draining.iter().map(|host| state.host(*host).unwrap()) {
            let tasks: Vec<_> = host.tasks.values().map(|slot| state.task_at(*slot)).collect();
            let of_services = tasks.iter().filter(|task| task.service.is_some());
            // A daemon stays as long as a task that nobody replaces.
            let alone = tasks.iter().any(|task| task.service.is_none());
            if !(alone && self.world.service().is_daemon()) {
                found.extend(of_services.map(|task| task.id));
            }
        }
        found
    }

    fn run(mut self) {
        for _ in 0..STEPS_OF_A_WORLD {
            self.trouble();
        }
        // The trouble ends, but not what it did.
        self.broken = false;
        for host in self.world.hosts.clone() {
            self.world.heal(host);
        }
        let mut draining = BTreeSet::new();
        for host in self.world.hosts.clone() {
            if self.chance.below(2) == 0 {
                self.world.set_status(host, Draining);
            }
            if self.world.state.host(host).unwrap().status == HostStatus::Draining {
                draining.insert(host);
            }
        }
        for _ in 0..3 {
            self.world.add_host();
        }
        if !self.world.service().is_daemon() {
            // Bounds under which every move is legal.
            self.world.update(|update| {
                update.deployment.minimum_healthy_percent = Some(50);
                update.deployment.maximum_percent = Some(200);
            });
        }
        let emptied = self.live(|scene| scene.stays(&draining).is_empty());
        assert!(emptied, "{:?} stay on draining hosts", self.stays(&draining));
        self.world.delete_by_force("s");
        let ended =
            |scene: &Scene| matches!(scene.world.service().status, ServiceStatus::Inactive { .. });
        assert!(self.live(ended), "the deleted service has {}", self.world.counts());
    }
}

/// Random services, hosts that drain, deployments that fail or are aborted, tasks that are ill.
#[test]
fn nothing_stays_on_draining_hosts_or_of_ended_services() {
    for seed in FIRST_SEED..FIRST_SEED + WORLDS {
        let outcome = std::panic::catch_unwind(|| Scene::new(seed).run());
        if let Err(panic) = outcome {
            eprintln!("seed {seed} of what must go");
            std::panic::resume_unwind(panic);
        }
    }
    println!("leaving: {WORLDS} worlds from seed {FIRST_SEED}");
}
