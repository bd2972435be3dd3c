//! How many of each there are, by cluster, for whoever watches from outside.
//!
//! Derived, not counted by hand: an entity that is about to change is looked at before, and again when the
//! step has ended. What there is to look at is what changed. Volatile: a start looks at everything once.
//! Never: anything that a decision depends on.

use std::collections::BTreeMap;

use longshore_common::index::FastMap;

use super::{ClusterSlot, EntityKey, task::TaskCounter};
use crate::model::{deployment::DeploymentStatus, name::ClusterName, service::DeploymentId};

/// What one cluster has of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub hosts_connected: i64,
    /// Registered container instances whose agent is not heard, lost ones among them.
    pub hosts_disconnected: i64,
    pub hosts_draining: i64,
    /// Tasks with a host that have not stopped, by what they do.
    pub tasks: BTreeMap<&'static str, i64>,
    /// Services that are ACTIVE or DRAINING.
    pub services: i64,
    pub services_desired: i64,
    /// Tasks of services that run; the next field counts those that are to run.
    pub services_running: i64,
    pub services_pending: i64,
    /// Deployments under way.
    pub deployments: BTreeMap<&'static str, i64>,
    pub fargate: Fargate,
}

/// Tasks and services of the providers FARGATE and FARGATE_SPOT, as DescribeClusters counts them; all
/// others count for EC2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fargate {
    pub running: i64,
    /// Those that have no host yet among them.
    pub pending: i64,
    pub services: i64,
    pub services_draining: i64,
}

impl Fargate {
    pub(super) fn add(&mut self, other: &Fargate, by: i64) {
        self.running += by * other.running;
        self.pending += by * other.pending;
        self.services += by * other.services;
        self.services_draining += by * other.services_draining;
    }
}

/// Deployments that ended since the start, by cluster and how they ended.
pub type Ended = BTreeMap<(ClusterName, &'static str), u64>;

#[derive(Default)]
pub(super) struct Tallies {
    pub(super) by_cluster: FastMap<ClusterSlot, Tally>,
    pub(super) ended: Ended,
    /// What was counted for entities that changed in this step, before they did.
    pub(super) changing: FastMap<EntityKey, Counted>,
}

impl Tallies {
    pub(super) fn forget(&mut self, cluster: &ClusterName) {
        self.ended.retain(|(of, _), _| of != cluster);
    }
}

/// What an entity adds to its cluster's tally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Counted {
    #[default]
    Nothing,
    Host {
        cluster: ClusterSlot,
        connected: bool,
        draining: bool,
    },
    Task {
        cluster: ClusterSlot,
        status: &'static str,
        /// ECS's counter that the task is in, when it is a task of a service on a host that is not
        /// lost.
        of_service: Option<TaskCounter>,
        fargate: Fargate,
    },
    /// A launch whose tasks have no host yet.
    Waiting {
        cluster: ClusterSlot,
        fargate: Fargate,
    },
    Service {
        cluster: ClusterSlot,
        desired: i64,
        deployment: Option<(DeploymentId, DeploymentStatus)>,
        fargate: Fargate,
    },
}

pub(super) fn add(counts: &mut BTreeMap<&'static str, i64>, name: &'static str, by: i64) {
    let count = counts.entry(name).or_default();
    *count += by;
    if *count == 0 {
        counts.remove(name);
    }
}
