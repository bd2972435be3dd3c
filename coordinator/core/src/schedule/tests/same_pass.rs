//! What one look starts fits on its hosts together: capacity providers that share hosts, several
//! task sets, and blue and green that are short of tasks at the same time.

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{
    protocol::ReportedPhase,
    resources::HostPort,
    task::{StopCause, StopCode},
};

use super::trouble::{Chance, by_two_providers};
use crate::placement::{Resource, SpreadOver, Strategy};
use crate::test_kit::world::{CLUSTER, World, blue_green, external, replicas};

/// Number of worlds, each from a seed of its own.
const WORLDS: u64 = 400;
/// Seed of the first world.
const FIRST_SEED: u64 = 90_000;
/// Number of steps in one world.
const STEPS_OF_A_WORLD: u64 = 25;

/// One fills more than a third of a host, one has a static host port, one needs a GPU.
const FAMILIES: [&str; 4] = ["wide", "port", "gpu", "app"];

struct Scene {
    world: World,
    chance: Chance,
    family: &'static str,
    external: bool,
    distinct: bool,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut world = World::new().forgetful();
        world.gpus_of_hosts = 2;
        world.define("wide", 1500, false);
        world.define_with_port("port", 80);
        world.define_with_gpu("gpu");
        for _ in 0..1 + chance.below(3) {
            world.add_host();
        }
        let family = FAMILIES[chance.below(4) as usize];
        let kind = chance.below(3);
        let desired = 1 + chance.below(8) as u32;
        let mut config = match kind {
            0 => replicas(desired),
            1 => external(desired),
            _ => blue_green(desired),
        };
        if chance.below(3) > 0 && kind != 1 {
            by_two_providers(&mut world, &mut chance);
        }
        config.strategies = match chance.below(4) {
            0 => vec![Strategy::Binpack(Resource::Memory)],
            1 => vec![Strategy::Random],
            2 => vec![Strategy::Spread(SpreadOver::Instance)],
            _ => vec![],
        };
        config.distinct_instance = chance.below(3) == 0;
        let distinct = config.distinct_instance;
        world.create_named("s", family, config);
        let mut scene = Scene { world, chance, family, external: kind == 1, distinct };
        if scene.external {
            for _ in 0..2 + scene.chance.below(2) {
                scene.world.create_task_set(family, 1000);
            }
        }
        scene
    }

    fn step(&mut self) {
        match self.chance.below(8) {
            0 => {
                let desired = self.chance.below(9) as u32;
                self.world.scale(desired);
            }
            1 if !self.external => self.world.deploy(self.family),
            2 | 3 => self.all_tasks_of_a_host_end(),
            4 if self.world.hosts.len() < 5 => {
                self.world.add_host();
            }
            5 => self.world.pass_step_by_step(2000.0),
            _ => self.world.live(1),
        }
    }

    /// All at once, so that every revision that had some is short of them in one look.
    fn all_tasks_of_a_host_end(&mut self) {
        let hosts = self.world.hosts.clone();
        let Some(host) = self.chance.pick(&hosts) else { return };
        let reason = "Essential container in task exited".to_owned();
        let cause = StopCause { code: StopCode::EssentialContainerExited, reason };
        let tasks = self.world.state.host(host).unwrap().tasks.keys();
        let ended = tasks.map(|task| (*task, ReportedPhase::Stopped(cause.clone()))).collect();
        self.world.answer(host, ended);
    }

    fn check(&self) {
        let state = &self.world.state;
        let index = &state.cluster(CLUSTER).unwrap().index;
        for host in self.world.hosts.iter().map(|host| state.host(*host).unwrap()) {
            let left = index.remaining(host.slot).unwrap();
            let most = left.cpu.min(left.memory).min(left.gpus);
            assert!(most >= 0, "{} has {left:?} left", host.id);
            let mut ports: BTreeSet<HostPort> = BTreeSet::new();
            let mut gpus: BTreeSet<&String> = BTreeSet::new();
            for task in host.tasks.values().map(|slot| state.task_at(*slot)) {
                let once = task.demand.ports.iter().all(|port| ports.insert(*port));
                assert!(once, "two tasks on {} have the same port", host.id);
                assert_eq!(task.gpus.len(), task.demand.gpus as usize, "GPUs of {}", task.id);
                assert!(task.gpus.iter().all(|gpu| gpus.insert(gpu)), "a GPU of two tasks");
            }
            assert!(!self.distinct || host.tasks.len() <= 1, "{} tasks", host.tasks.len());
        }
    }
}

#[test]
fn nothing_is_given_away_twice_in_one_look() {
    for seed in FIRST_SEED..FIRST_SEED + WORLDS {
        let mut scene = Scene::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scene.check();
            for _ in 0..STEPS_OF_A_WORLD {
                scene.step();
                scene.check();
            }
        }));
        if let Err(panic) = outcome {
            eprintln!("seed {seed} of what one look starts");
            std::panic::resume_unwind(panic);
        }
    }
    println!("same pass: {WORLDS} worlds from seed {FIRST_SEED}");
}

/// Spread counts what the look itself started.
#[test]
fn task_sets_started_together_are_spread_together() {
    let mut world = World::with_hosts(4);
    world.create(external(2));
    world.scale(0);
    world.create_task_set("app", 1000);
    world.create_task_set("app", 1000);
    world.scale(2);
    let mut by_host = BTreeMap::new();
    for task in world.tasks() {
        *by_host.entry(task.host).or_insert(0) += 1;
    }
    assert_eq!(by_host.into_values().collect::<Vec<_>>(), [1, 1, 1, 1]);
}
