//! What survives: batches of events, checkpoints of the state, and the history of what has ended.
//!
//! A [`Journal`] is written by one thread; nothing is acknowledged before `append` has returned.
//! It knows bytes and sequences, never what an event means. An error of it ends the process:
//! nobody retries an fsync.

mod lock;
pub mod memory;
pub mod recovery;
pub mod sqlite;
#[cfg(test)]
mod tests;

use longshore_common::id::TaskId;

use crate::state_machine::{Event, record::TaskRecord, state::Row};

/// Stopped tasks that are kept, the newest.
pub const HISTORY_TASKS_MAX: u64 = 100_000;

/// The events of one step of the driver.
pub struct Batch {
    pub seq: u64,
    pub epoch: u64,
    pub events: Vec<Event>,
    /// Tasks that these events ended, for the history.
    pub stopped: Vec<TaskRecord>,
}

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
