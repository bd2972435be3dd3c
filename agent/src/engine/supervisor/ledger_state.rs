//! How the last write of the ledger went, and the one under way.

use tokio::task::JoinHandle;

use crate::engine::ledger::{Batch, Ledger, LedgerError};

/// A transaction under way, with what it holds.
pub(super) type Writing = JoinHandle<(Ledger, Batch, Result<(), LedgerError>)>;

/// How the last write went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LedgerState {
    #[default]
    Written,
    /// What can wait is kept until the next attempt.
    Failing,
    /// The same, and the next attempt is due.
    Retrying,
}
