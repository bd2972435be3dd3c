//! Chooses hosts for tasks: ECS's filters, constraints and strategies (ecs-behaviour 1.14).
//!
//! Owns [`ClusterIndex`], what placement knows of one cluster's hosts, and the choice itself. Pure
//! and deterministic: no async, clock, randomness or I/O; ties are broken by entropy that comes in
//! with the request. Never decides whether a task should run, and never changes what is reserved
//! while choosing: the caller reserves once the choice is an event.

mod index;
mod filter;
mod taken;
mod batch;
mod coverage;
mod spread;
mod unplaced;
mod cure;
mod explain;
mod member_of;
mod attributes;
mod groups;
mod particulars;
mod column;
mod candidates;
mod bits;
#[cfg(test)]
mod tests;

pub use groups::GroupNames;
pub use index::{ClusterIndex, Eligibility, HostOffer, Remaining};
pub use member_of::{Meeting, MemberOf};
pub use particulars::Particulars;
pub use taken::Taken;
pub use unplaced::{Reason, Unfit, Unplaced};

use longshore_common::{protocol::Attribute, resources::Demand};
use serde::{Deserialize, Serialize};

/// A host's place in the caller's arena of hosts. May be used again once the host was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostSlot(pub u32);

/// A task group's name, interned by the caller. Tasks of one group are spread and kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u32);

/// Equal tasks to place at once.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub demand: &'a Demand,
    /// Without a value: the host must have the attribute, whatever its value.
    pub required_attributes: &'a [Attribute],
    pub member_of: MemberOf<'a>,
    pub distinct_instance: bool,
    /// In order: a later one chooses among the hosts that the earlier ones find equally good.
    /// None at all is ECS's default: over availability zones, then the fewest tasks of the group.
    pub strategies: &'a [Strategy],
    pub group: GroupKey,
    pub count: u32,
    /// Of its containers, in the form of [`familiar`](longshore_common::image_reference::familiar).
    pub images: &'a [String],
    /// What the same decision has placed already.
    pub earlier: &'a Taken,
    /// Breaks ties, and is all that `random` goes by.
    pub entropy: u64,
}

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

/// Where tasks go, in the order in which they were chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub hosts: Vec<HostSlot>,
    /// Present when there are fewer hosts than tasks asked for.
    pub unplaced: Option<Unplaced>,
}

/// See [`ClusterIndex::explain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub placement: Placement,
    /// In order, none when every task has a host; each with all that it lacks.
    pub closest: Vec<(HostSlot, Vec<Unfit>)>,
}

/// The attribute whose values the default strategy spreads over.
pub const AVAILABILITY_ZONE: &str = "ecs.availability-zone";
