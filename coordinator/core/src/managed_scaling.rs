//! How many container instances an Auto Scaling group is to have for its capacity provider: the
//! documented reservation metric, and what follows from it (ecs-behaviour 1.15).
//!
//! Arithmetic alone: what is counted comes in, and when is for the scheduler to know.

mod pack;
#[cfg(test)]
mod tests;

use std::fmt;

pub use pack::{Group, Needed, needed};

use crate::model::capacity_provider::ManagedScaling;

/// What there is of one capacity provider, and what waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instances in service: the N of the metric.
    pub in_service: u32,
    /// Number of the instances in service that run a task which is no daemon's.
    pub busy: u32,
    /// Number of instances on their way.
    pub launching: u32,
    /// Number of tasks that wait for room, those that would never fit included.
    pub waiting: u32,
    /// Number of empty instances that those tasks would fill.
    pub needed: u32,
}

/// `CapacityProviderReservation`: instances that tasks need, of those in service, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub needed: u32,
    pub in_service: u32,
}

/// What a group should do, and how many instances it is to have then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Stay,
    Out(u32),
    /// Fewer instances, once this has been wanted for a while; the number is the least that the
    /// group may be scaled in to, step by step.
    In(u32),
}

/// `CapacityProviderReservation` of a provider that has no instances while tasks need some, in
/// percent (Amazon ECS managed scaling behavior).
const FROM_ZERO_PERCENT: u32 = 200;
/// Number of percent in a whole.
const PERCENT: u32 = 100;

impl Counts {
    /// M and N. Tasks that wait need what they would fill, but at least the smallest step and at
    /// most the greatest (Amazon ECS managed scaling behavior).
    pub fn reservation(&self, scaling: &ManagedScaling) -> Reservation {
        let needed = match self.needed {
            0 => self.busy,
            more => {
                self.in_service + more.max(scaling.minimum_step).min(scaling.maximum_step.max(1))
            }
        };
        Reservation { needed, in_service: self.in_service }
    }

    /// How many instances the group is to have, within its bounds.
    pub fn wanted(&self, scaling: &ManagedScaling, min: u32, max: u32) -> Wanted {
        let there = self.in_service + self.launching;
        let reserved = match self.needed {
            0 => self.busy,
            more => self.in_service + more,
        };
        let target = at_target(reserved, scaling.target_capacity);
        if target > there && there < max {
            let step = (target - there).max(scaling.minimum_step).min(scaling.maximum_step.max(1));
            return Wanted::Out((there + step).min(max));
        }
        // Whatever waits may need what seems to be too much. What is on its way is too much as well:
        // a launcher that has no more hosts would keep those that are there for ever.
        let least = target.max(min);
        match self.waiting == 0 && least < there {
            true => Wanted::In(least),
            false => Wanted::Stay,
        }
    }
}

/// The fewest instances of which `reserved` are no more than `target` percent.
fn at_target(reserved: u32, target: u32) -> u32 {
    let exact = u64::from(reserved) * u64::from(PERCENT);
    exact.div_ceil(u64::from(target.max(1))) as u32
}

/// How many instances to go down to now: half of what is too much, rounded up, as target tracking
/// does; or at once, where the operator wants it.
pub fn step_in(there: u32, least: u32, at_once: bool) -> u32 {
    let excess = there.saturating_sub(least);
    match at_once {
        true => least,
        false => there - excess.div_ceil(2),
    }
}

impl Reservation {
    pub fn percent(&self) -> f64 {
        match (self.needed, self.in_service) {
            (0, 0) => f64::from(PERCENT),
            (_, 0) => f64::from(FROM_ZERO_PERCENT),
            (needed, in_service) => f64::from(needed) / f64::from(in_service) * f64::from(PERCENT),
        }
    }
}

/// `M 3 / N 2 = 150 %`.
impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M {} / N {} = {:.0} %", self.needed, self.in_service, self.percent())
    }
}
