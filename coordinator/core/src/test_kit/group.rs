//! A world with an Auto Scaling group, whose launcher does what the test says.

use std::{collections::BTreeMap, time::Duration};

use super::world::World;
use crate::{
    Command,
    command::{AutoScalingCommand, CapacityProviderCommand},
    model::{
        auto_scaling::{GroupConfig, LaunchSource},
        capacity_provider::{
            CapacityPolicy, CapacityProvider, CapacityProviderStatus, LauncherPolicy,
            ManagedScaling,
        },
        tags::Tags,
    },
};

/// Timeout of a launched host's registration in tests, in seconds.
pub const BOOT_DEADLINE_S: f64 = 600.0;

pub fn policy() -> CapacityPolicy {
    let launcher = LauncherPolicy {
        boot_deadline: Duration::from_secs(BOOT_DEADLINE_S as u64),
        size: None,
        names_machines: false,
    };
    CapacityPolicy {
        launchers: BTreeMap::from([("rack".to_owned(), launcher)]),
        fargate: BTreeMap::new(),
    }
}

pub fn config(min: u32, max: u32, desired: u32) -> GroupConfig {
    GroupConfig {
        min,
        max,
        desired,
        cooldown_s: 300,
        grace_s: 0,
        protects_new: false,
        launch: LaunchSource::Template { launcher: "rack".to_owned(), version: None },
        zones: Vec::new(),
        subnets: None,
        tags: BTreeMap::new(),
    }
}

pub fn provider(draining: bool) -> Command {
    Command::CapacityProvider(CapacityProviderCommand::CreateCapacityProvider(Box::new(
        CapacityProvider {
            name: "cp".parse().unwrap(),
            group: "g".parse().unwrap(),
            managed_scaling: ManagedScaling::default(),
            termination_protection: false,
            draining,
            scale_in_after_ms: None,
            tags: Tags::new(),
            status: CapacityProviderStatus::Active,
            update: None,
        },
    )))
}

pub fn world_with(config: GroupConfig) -> World {
    let mut world = World::new();
    world.state.set_capacity_policy(policy());
    let name = "g".parse().unwrap();
    world
        .call(Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
            name,
            config: Box::new(config),
        }))
        .unwrap();
    world
}
