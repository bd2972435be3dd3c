//! Chooses hosts for tasks: ECS's filters, constraints and strategies (ecs-behaviour 1.14).
//!
//! Owns [`ClusterIndex`], what placement knows of one cluster's hosts, and the choice itself. Pure
//! and deterministic: no async, clock, randomness or I/O; ties are broken by entropy that comes in
//! with the request. Never decides whether a task should run, and never changes what is reserved
//! while choosing: the caller reserves once the choice is an event.

mod slot;
mod strategy;
mod request;
mod outcome;
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
pub use member_of::Meeting;
pub use outcome::{Explained, Placement};
pub use particulars::Particulars;
pub use request::{MemberOf, Request};
pub use slot::{GroupKey, HostSlot};
pub use strategy::{AVAILABILITY_ZONE, Resource, SpreadOver, Strategy};
pub use taken::Taken;
pub use unplaced::{Reason, Unfit, Unplaced};
