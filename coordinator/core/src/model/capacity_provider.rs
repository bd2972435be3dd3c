//! What a capacity provider is, and what a strategy says of several (ecs-behaviour 1.15).
//!
//! Words shared by commands, events and the state; everything in them was checked where it entered.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_common::{clock::Timestamp, resources::Capacity};
use serde::{Deserialize, Serialize};

use super::{auto_scaling::AutoScalingGroupName, name::CapacityProviderName};
use crate::model::{
    options::{OPTION_PREFIX, not_a_time, parse_seconds},
    tags::Tags,
};

/// Maximum number of capacity providers that exist at once (ours: ECS documents none).
pub const CAPACITY_PROVIDERS_MAX: usize = 1_000;
/// Maximum number of capacity providers of one cluster (ecs-behaviour 1.15).
pub const CLUSTER_PROVIDERS_MAX: usize = 20;
/// The two that exist without being made.
pub const FARGATE: &str = "FARGATE";
pub const FARGATE_SPOT: &str = "FARGATE_SPOT";

/// The tag of a capacity provider that says for how many seconds an instance may stay unused before
/// it goes.
pub const SCALE_IN_AFTER: &str = "longshore:scale-in-after";

/// The attribute that a host of an Auto Scaling group has: the group's name. The coordinator alone
/// gives it.
pub const GROUP_ATTRIBUTE: &str = "longshore.auto-scaling-group";

/// A provider that hands out the hosts of an Auto Scaling group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityProvider {
    pub name: CapacityProviderName,
    pub group: AutoScalingGroupName,
    pub managed_scaling: ManagedScaling,
    /// `managedTerminationProtection`.
    pub termination_protection: bool,
    /// `managedDraining`.
    pub draining: bool,
    /// Time after which surplus instances are removed, all of them at once, from the provider's tag
    /// [`SCALE_IN_AFTER`].
    #[serde(default)]
    pub scale_in_after_ms: Option<u64>,
    pub tags: Tags,
    pub status: CapacityProviderStatus,
    /// ECS's `updateStatus`, which is never seen in progress here: absent until the first one.
    pub update: Option<ProviderUpdate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapacityProviderStatus {
    Active,
    /// Deleted; still described for a while.
    Inactive {
        since: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderUpdate {
    Create,
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedScaling {
    pub enabled: bool,
    /// Target capacity in percent, 1 to 100.
    pub target_capacity: u32,
    pub minimum_step: u32,
    pub maximum_step: u32,
    pub warmup_s: u32,
}

/// One entry of a capacity provider strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyItem {
    pub provider: CapacityProviderName,
    pub base: u32,
    pub weight: u32,
    /// The call said `launchType` FARGATE and no strategy: the provider need not be the cluster's,
    /// and the launch type is what is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_launch_type: bool,
}

impl StrategyItem {
    pub fn launch_type_fargate() -> Self {
        let provider = FARGATE.parse().expect("FARGATE is a name like any other");
        StrategyItem { provider, base: 0, weight: 1, by_launch_type: true }
    }
}

/// UpdateCapacityProvider: members that are absent stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityProviderChange {
    pub managed_scaling: Option<ManagedScaling>,
    pub termination_protection: Option<bool>,
    pub draining: Option<bool>,
}

/// What the operator's settings say of capacity: never journaled, the same in every batch of one
/// process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityPolicy {
    /// Who can launch hosts, by the name that a group gives as its launch template.
    pub launchers: BTreeMap<String, LauncherPolicy>,
    /// Hosts that stand in for FARGATE and FARGATE_SPOT, by the provider's name.
    pub fargate: BTreeMap<CapacityProviderName, HostMark>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherPolicy {
    /// How long a launched host may take until it registers.
    pub boot_deadline: Duration,
    /// What its hosts offer, where the settings say so: how many are needed is known before the first
    /// one registered.
    pub size: Option<Capacity>,
    /// True when the launcher cannot be told an instance's id: what it launches has ids of its own,
    /// and instances are bound to these. Such a launcher is a group of AWS, and serves one group.
    pub names_machines: bool,
}

/// Hosts with this attribute, of this value if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMark {
    pub attribute: String,
    pub value: Option<String>,
}

impl CapacityProvider {
    pub fn is_active(&self) -> bool {
        matches!(self.status, CapacityProviderStatus::Active)
    }
}

impl Default for ManagedScaling {
    /// ecs-behaviour 1.15, for a provider that says nothing of managed scaling.
    fn default() -> Self {
        ManagedScaling {
            enabled: false,
            target_capacity: 100,
            minimum_step: 1,
            maximum_step: 10_000,
            warmup_s: 300,
        }
    }
}

/// What the `longshore:` tags of a capacity provider say: its [`CapacityProvider::scale_in_after_ms`].
/// The error is a sentence for the user.
pub fn scale_in_after_ms(tags: &Tags) -> Result<Option<u64>, String> {
    let mut after = None;
    for (name, value) in tags.iter().filter(|(name, _)| name.starts_with(OPTION_PREFIX)) {
        if name != SCALE_IN_AFTER {
            return Err(format!(
                "The tag `{name}` is not a setting of capacity providers. Known: {SCALE_IN_AFTER}."
            ));
        }
        after = Some(parse_seconds(value).ok_or_else(|| not_a_time(name, value))?);
    }
    Ok(after)
}

/// Whether a name is one of the two that nobody makes.
pub fn is_fargate(name: &str) -> bool {
    name == FARGATE || name == FARGATE_SPOT
}
