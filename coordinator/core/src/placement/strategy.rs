//! ECS's placement strategies, as they are given and kept.

use serde::{Deserialize, Serialize};

/// ECS's `placementStrategy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// The host that has least of it left.
    Binpack(Resource),
    /// The host, or the attribute's value, with the fewest tasks of the group.
    Spread(SpreadOver),
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    Cpu,
    Memory,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpreadOver {
    /// `instanceId`, and `host`, which means the same.
    Instance,
    /// The values of this attribute; hosts without the attribute are not chosen.
    Attribute(String),
}

/// The attribute whose values the default strategy spreads over.
pub const AVAILABILITY_ZONE: &str = "ecs.availability-zone";
