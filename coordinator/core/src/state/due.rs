//! What the scheduler must look at again: services and hosts that something happened to, and those
//! whose time comes.
//!
//! Volatile: after a start everything is due once, and whoever looks says when to look again. A
//! quiet service is in none of these sets and costs nothing.

use std::collections::{BTreeSet, VecDeque};

use longshore_common::{
    clock::Timestamp,
    index::{FastMap, FastSet},
};

use super::{GroupSlot, HostSlot, ServiceSlot, WaitingSlot};
use crate::model::auto_scaling::InstanceId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    Host(HostSlot),
    Service(ServiceSlot),
    Waiting(WaitingSlot),
    Group(GroupSlot),
    Instance(InstanceId),
}

/// A round over a cluster's services, begun by an event that may concern any of them: each event looks
/// at a few, and the ticks after it at the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The last that was looked at; absent before the first.
    pub(super) last: Option<ServiceSlot>,
    /// How many are to be looked at.
    pub(super) left: usize,
    pub(super) over: Over,
}

/// Which of the services a round wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Only services that even themselves out.
    Even,
    All,
}

/// The rounds of a cluster; volatile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    pub(super) daemons: Option<Round>,
    pub(super) replicas: Option<Round>,
}

/// What a round goes over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Daemons,
    Replicas,
}

#[derive(Default)]
pub(super) struct Agenda {
    /// Hosts first: what they lost changes what services need.
    pub(super) hosts: VecDeque<HostSlot>,
    /// Daemons before replicas (ecs-behaviour 1.9: placed first).
    pub(super) daemons: VecDeque<ServiceSlot>,
    pub(super) replicas: VecDeque<ServiceSlot>,
    /// RunTask's, in the order of their calls.
    pub(super) waiting: VecDeque<WaitingSlot>,
    /// Instances before their groups, which count them.
    pub(super) instances: VecDeque<InstanceId>,
    pub(super) groups: VecDeque<GroupSlot>,
    pub(super) queued: FastSet<Due>,
    pub(super) later: BTreeSet<(Timestamp, Due)>,
    pub(super) wakes_at: FastMap<Due, Timestamp>,
}

impl Rounds {
    pub(super) fn is_over(&self) -> bool {
        self.daemons.is_none() && self.replicas.is_none()
    }
}
