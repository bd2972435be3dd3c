//! What changed since the last checkpoint, and the log lines of a batch.
//!
//! A checkpoint is incremental and of one moment: `begin_capture` fixes the moment, slices encode
//! what had changed until then, and an entity that is about to change first is encoded as it was.

use longshore_common::index::FastSet;

use crate::checkpoint::entity::EntityKey;

/// A row to write; without a value, one to delete.
pub struct Row {
    pub kind: u8,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Dirty {
    pub(super) changed: FastSet<EntityKey>,
    pub(super) capture: Option<Capture>,
}

pub(super) struct Capture {
    pub(super) pending: FastSet<EntityKey>,
    /// The same, to be worked off; those encoded early are no longer pending.
    pub(super) queue: Vec<EntityKey>,
    pub(super) rows: Vec<Row>,
}
