//! Tasks of services: how each stands, counted by revision.
//!
//! Every change of a task of a service passes through `change_task`, which keeps the counts,
//! so that the scheduler never counts tasks itself, and marks as due (`due.rs`) what is to be looked
//! at again. What is to be done about it is the scheduler's.

use longshore_common::clock::Timestamp;

use super::{ServiceSlot, counter};
use crate::model::{
    service::RevisionId,
    task::{ServiceTaskRecord, StartedForService},
};

/// What a task of a service counts as. Healthy or not is said of tasks that are wanted only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Pending,
    /// Running, not known yet to be healthy.
    Settling,
    Healthy,
    Unhealthy,
    /// The task was told to stop before it ran.
    LeavingPending,
    /// The task was told to stop, and its agent has not said yet that it is stopping.
    LeavingRunning,
    Stopping,
    /// The task's containers have ended, and attachments are left.
    Deprovisioning,
    /// The task is on a host that was silent for too long.
    Lost,
    /// The task does not run, and it will not: a container that another one waits for is unhealthy.
    Blocked,
}

/// Number of variants of `Standing`.
const STANDINGS: usize = 10;

impl Standing {
    /// Standings of tasks that the service wants, on hosts that are heard.
    pub const WANTED: [Standing; 5] = [
        Standing::Pending,
        Standing::Blocked,
        Standing::Settling,
        Standing::Healthy,
        Standing::Unhealthy,
    ];

    pub fn is_wanted(self) -> bool {
        Standing::WANTED.contains(&self)
    }

    /// Whether nothing is to take the task's place.
    pub(super) fn stays(self) -> bool {
        match self {
            Standing::Pending | Standing::Settling | Standing::Healthy => true,
            Standing::Unhealthy
            | Standing::Blocked
            | Standing::LeavingPending
            | Standing::LeavingRunning
            | Standing::Stopping
            | Standing::Deprovisioning
            | Standing::Lost => false,
        }
    }
}

/// Tasks of one revision by how they stand, those on draining hosts apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([[u32; 2]; STANDINGS]);

impl Counts {
    pub fn of(&self, standing: Standing) -> u32 {
        self.0[standing as usize].iter().sum()
    }

    pub fn draining(&self, standing: Standing) -> u32 {
        self.0[standing as usize][1]
    }

    /// Number of tasks of this standing on hosts that do not drain.
    pub fn staying(&self, standing: Standing) -> u32 {
        self.0[standing as usize][0]
    }

    /// Number of the running and pending tasks on hosts that do not drain.
    pub fn shown_staying(&self) -> u32 {
        let shown = [Standing::LeavingPending, Standing::LeavingRunning];
        Standing::WANTED.iter().chain(&shown).map(|standing| self.staying(*standing)).sum()
    }

    /// ECS's runningCount.
    pub fn running(&self) -> u32 {
        self.of(Standing::Settling)
            + self.of(Standing::Healthy)
            + self.of(Standing::Unhealthy)
            + self.of(Standing::LeavingRunning)
    }

    /// ECS's pendingCount.
    pub fn pending(&self) -> u32 {
        self.of(Standing::Pending) + self.of(Standing::Blocked) + self.of(Standing::LeavingPending)
    }

    /// Tasks that are wanted, on draining hosts too.
    pub fn wanted(&self) -> u32 {
        Standing::WANTED.map(|standing| self.of(standing)).iter().sum()
    }

    /// Wanted tasks on hosts that drain.
    pub fn wanted_draining(&self) -> u32 {
        Standing::WANTED.map(|standing| self.draining(standing)).iter().sum()
    }

    /// Number of tasks told to stop, and not stopped yet.
    pub fn leaving(&self) -> u32 {
        self.of(Standing::LeavingPending)
            + self.of(Standing::LeavingRunning)
            + self.of(Standing::Stopping)
            + self.of(Standing::Deprovisioning)
    }

    pub(super) fn change(&mut self, standing: Standing, draining: bool, by: i32) {
        counter::count(&mut self.0[standing as usize][usize::from(draining)], by);
    }
}

/// What a task is to the service that started it.
pub struct ServiceTask {
    pub service: ServiceSlot,
    pub revision: RevisionId,
    pub settled: bool,
    pub lost: bool,
    pub returned: bool,
    pub protected_until: Option<Timestamp>,
}

impl ServiceTask {
    pub(super) fn of(service: ServiceSlot, record: &ServiceTaskRecord) -> Self {
        ServiceTask {
            service,
            revision: record.revision,
            settled: record.settled,
            lost: record.lost,
            returned: record.returned,
            protected_until: record.protected_until,
        }
    }

    pub(super) fn record_of_new(started: &StartedForService) -> ServiceTaskRecord {
        ServiceTaskRecord {
            service: started.service,
            revision: started.revision,
            settled: false,
            lost: false,
            returned: false,
            protected_until: None,
        }
    }

    pub fn is_protected(&self, at: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > at)
    }
}
