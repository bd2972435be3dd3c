//! Services: what each is to be, and its revisions.
//!
//! How their tasks stand is in `service_task.rs`, their deployments in `deployment.rs`. What must be
//! looked at again is marked due (`due.rs`); deciding is the scheduler's.

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{clock::Timestamp, id::TaskId};

use super::{ClusterSlot, Counts, DefinitionSlot, ServiceSlot, TaskSlot, counter};
use crate::{
    managed_scaling::Group,
    model::{
        deployment::DeploymentRecord,
        name::{CapacityProviderName, ServiceName},
        revision::RevisionRecord,
        service::{Controller, RevisionId, Scheduling, ServiceConfig, ServiceId},
        service_status::{LaunchBackoff, Move, ServiceStatus},
        tags::Tags,
    },
};

pub struct Service {
    pub id: ServiceId,
    pub slot: ServiceSlot,
    pub cluster: ClusterSlot,
    pub name: ServiceName,
    pub status: ServiceStatus,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<(String, u64)>,
    /// Revisions in the order of their creation.
    pub revisions: Vec<Revision>,
    pub primary: Option<RevisionId>,
    /// The revision of the last deployment that completed: where a rollback goes.
    pub completed: Option<RevisionId>,
    /// The deployment under way, or the last one.
    pub deployment: Option<DeploymentRecord>,
    pub launch: LaunchBackoff,
    /// The steady state has been announced and nothing changed since.
    pub steady: bool,
    /// One task on its way to where there are fewer.
    pub moving: Option<Move>,
    /// Messages that are not said again before their time (ecs-behaviour 1.8); volatile.
    pub(crate) said: BTreeMap<u64, Timestamp>,
    /// Tasks that wait for hosts of their capacity providers; volatile.
    pub wanted: Vec<(CapacityProviderName, Group)>,
}

/// A revision with its tasks.
pub struct Revision {
    pub record: RevisionRecord,
    pub definition: DefinitionSlot,
    /// Every task of it that has not stopped.
    pub tasks: BTreeMap<TaskId, TaskSlot>,
    pub counts: Counts,
    /// Tasks without checks that run and are not settled yet, by when they began.
    pub settling: BTreeSet<(Timestamp, TaskId)>,
    /// Tasks whose health checks fail.
    pub unhealthy: BTreeSet<TaskId>,
    /// Tasks that were lost once and came back.
    pub returned: BTreeSet<TaskId>,
    /// Number of `tasks` that use each capacity provider and are not to be replaced: the provider's
    /// share.
    pub by_provider: BTreeMap<CapacityProviderName, u32>,
}

impl Revision {
    pub(super) fn count_of_provider(&mut self, provider: CapacityProviderName, by: i32) {
        let count = self.by_provider.entry(provider.clone()).or_default();
        counter::count(count, by);
        if *count == 0 {
            self.by_provider.remove(&provider);
        }
    }
}

impl Service {
    pub fn is_active(&self) -> bool {
        self.status == ServiceStatus::Active
    }

    pub fn revision(&self, id: RevisionId) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.record.id == id)
    }

    pub fn primary(&self) -> Option<&Revision> {
        self.primary.and_then(|id| self.revision(id))
    }

    /// The deployment under way.
    pub fn under_way(&self) -> Option<&DeploymentRecord> {
        self.deployment.as_ref().filter(|deployment| !deployment.status.is_over())
    }

    /// Whether a revision is where the deployment under way goes, or goes back to.
    pub fn is_target(&self, id: RevisionId) -> bool {
        self.under_way().is_some_and(|deployment| {
            deployment.target == id || deployment.rollback.as_ref().is_some_and(|r| r.to == id)
        })
    }

    pub fn is_daemon(&self) -> bool {
        self.config.scheduling == Scheduling::Daemon
    }

    pub fn is_external(&self) -> bool {
        self.config.controller == Controller::External
    }

    /// The group of its tasks, by which they are spread.
    pub fn group(&self) -> String {
        format!("service:{}", self.name)
    }

    pub fn running(&self) -> u32 {
        self.revisions.iter().map(|revision| revision.counts.running()).sum()
    }

    pub fn pending(&self) -> u32 {
        self.revisions.iter().map(|revision| revision.counts.pending()).sum()
    }

    pub fn has_tasks(&self) -> bool {
        self.revisions.iter().any(|revision| !revision.tasks.is_empty())
    }

    pub(super) fn position(&self, id: RevisionId) -> Option<usize> {
        self.revisions.iter().position(|revision| revision.record.id == id)
    }
}

/// FNV-1a: tells messages of one service apart; collisions only silence a message.
pub(crate) fn hash_of(message: &str) -> u64 {
    message.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
