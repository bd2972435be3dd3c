//! What is asked of placement.

use std::fmt;

use longshore_common::{protocol::Attribute, resources::Demand};

use super::{
    groups::{GroupNames, NoGroups},
    slot::GroupKey,
    strategy::Strategy,
    taken::Taken,
};
use crate::query::Constraint;

/// Equal tasks to place at once.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub demand: &'a Demand,
    /// Attributes that the host must have; where one has no value here, any value will do.
    pub required_attributes: &'a [Attribute],
    pub member_of: MemberOf<'a>,
    pub distinct_instance: bool,
    /// Strategies in order: a later one chooses among the hosts that the earlier ones find equally
    /// good. None at all is ECS's default: over availability zones, then the fewest tasks of the
    /// group.
    pub strategies: &'a [Strategy],
    pub group: GroupKey,
    pub count: u32,
    /// Of its containers, in the form of [`familiar`](longshore_common::image_reference::familiar).
    pub images: &'a [String],
    /// What the same decision has placed already.
    pub earlier: &'a Taken,
    /// Breaks ties; the strategy `random` uses nothing else.
    pub entropy: u64,
}

/// The constraints of a request, all of which a host must meet.
#[derive(Clone, Copy)]
pub struct MemberOf<'a> {
    pub constraints: &'a [Constraint],
    /// The name of [`Request::group`], which may have no task yet.
    pub own_group: &'a str,
    pub groups: &'a dyn GroupNames,
}

impl MemberOf<'static> {
    /// No constraint and no group.
    pub const NONE: MemberOf<'static> =
        MemberOf { constraints: &[], own_group: "", groups: &NoGroups };
}

impl fmt::Debug for MemberOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.constraints, self.own_group)
    }
}
