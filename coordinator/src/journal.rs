//! What survives: batches of events, checkpoints of the state, and the history of what has ended.
//!
//! A [`Journal`] is written by one thread; nothing is acknowledged before `append` has returned.
//! It knows bytes and sequences, never what an event means. An error of it ends the process:
//! nobody retries an fsync.

mod lock;
pub mod memory;
pub mod sqlite;
pub mod recovery;
#[cfg(test)]
pub(crate) mod tests;

use longshore_common::{clock::Timestamp, id::TaskId};
use longshore_core::{
    batch::Batch,
    model::{
        deployment::DeploymentRecord,
        revision::RevisionRecord,
        service::{DeploymentId, RevisionId, ServiceId},
        task::TaskRecord,
    },
    state::Row,
};

/// Maximum number of stopped tasks that are kept (ours): the newest.
pub const HISTORY_TASKS_MAX: u64 = 100_000;
/// Time for which deployments and revisions are kept (ecs-behaviour 1.2).
pub const HISTORY_DEPLOYMENTS_KEPT: std::time::Duration =
    std::time::Duration::from_secs(90 * 24 * 3600);
/// Maximum number of messages of each service that are kept (ecs-behaviour 1.8, events list): the
/// newest.
pub const SERVICE_EVENTS_MAX: u64 = 100;

/// The state as of `seq`: rows that changed since the checkpoint before.
pub struct Checkpoint {
    pub seq: u64,
    pub rows: Vec<Row>,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal could not be written")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the journal could not be written")]
    Io(#[from] std::io::Error),
}

pub trait Journal: Send + 'static {
    /// Makes batches durable, all or none. They follow each other without a gap.
    fn append(&mut self, batches: &[Batch]) -> Result<(), JournalError>;

    /// Replaces the rows of a checkpoint and drops the batches that it covers, all or none.
    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), JournalError>;

    /// A reader of the history, for any thread.
    fn history(&self) -> Box<dyn History>;
}

/// Reads tasks that have stopped.
pub trait History: Send + Sync {
    /// Those of `ids` that are known, in no order.
    fn tasks(&self, ids: &[TaskId]) -> Result<Vec<TaskRecord>, JournalError>;

    /// Ids of a cluster's stopped tasks, the latest first.
    fn list(&self, filter: &StoppedFilter) -> Result<Vec<StoppedEntry>, JournalError>;

    /// The newest messages of a service that it had said at the end of the batch `until`, the
    /// latest first.
    fn service_events(
        &self,
        service: ServiceId,
        until: u64,
        limit: usize,
    ) -> Result<Vec<ServiceEvent>, JournalError>;

    /// Deployments of a service, the latest first.
    fn deployments(&self, filter: &DeploymentFilter) -> Result<Vec<DeploymentEntry>, JournalError>;

    /// Those of `ids` that are known, each with its service.
    fn deployments_by_id(
        &self,
        ids: &[DeploymentId],
    ) -> Result<Vec<(ServiceId, DeploymentRecord)>, JournalError>;

    /// Those of `ids` that are known, each with its service.
    fn revisions(
        &self,
        ids: &[RevisionId],
    ) -> Result<Vec<(ServiceId, RevisionRecord)>, JournalError>;
}

/// Which stopped tasks; absent members do not restrict.
#[derive(Clone, Debug, Default)]
pub struct StoppedFilter {
    pub cluster: String,
    pub host: Option<longshore_common::id::HostId>,
    pub family: Option<String>,
    pub group: Option<String>,
    pub started_by: Option<String>,
    /// Only what stopped before this entry.
    pub before: Option<StoppedEntry>,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoppedEntry {
    /// Counts up with every task that stops.
    pub number: u64,
    pub task: TaskId,
}

/// A message of a service's `events[]`; `number` names it for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    pub number: u64,
    pub message: String,
    pub at: Timestamp,
}

/// Which deployments of one service; absent members do not restrict.
#[derive(Clone, Debug)]
pub struct DeploymentFilter {
    pub service: ServiceId,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// Only what was begun before this entry.
    pub before: Option<u64>,
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentEntry {
    /// Counts up with every deployment that begins.
    pub number: u64,
    pub deployment: DeploymentRecord,
}
