//! When a checkpoint is due, and its slices.

use super::step::Flush;
use crate::{journal::Checkpoint, state_machine::State};

/// Events after which a checkpoint begins: bounds the journal's tail and so the time of a start,
/// and the length of the one transaction that writes the rows.
pub(crate) const EVENTS_PER_CHECKPOINT: usize = 20_000;
/// Entities encoded under one hold of the write lock.
const ENTITIES_PER_SLICE: usize = 128;

#[derive(Default)]
pub(super) struct Checkpoints {
    events: usize,
    /// The sequence as of which a capture is under way.
    capturing: Option<u64>,
}

impl Checkpoints {
    pub(super) fn count(&mut self, flush: &Flush) {
        self.events += flush.batch.as_ref().map_or(0, |batch| batch.events.len());
    }

    pub(super) fn capturing(&self) -> bool {
        self.capturing.is_some()
    }

    pub(super) fn due(&self) -> bool {
        self.capturing() || self.events >= EVENTS_PER_CHECKPOINT
    }

    /// Begins or goes on; the checkpoint once it is whole.
    pub(super) fn advance(&mut self, state: &mut State) -> Option<Checkpoint> {
        let seq = match self.capturing {
            Some(seq) => seq,
            None => {
                self.events = 0;
                state.begin_capture();
                *self.capturing.insert(state.seq())
            }
        };
        let rows = state.capture_slice(ENTITIES_PER_SLICE)?;
        self.capturing = None;
        Some(Checkpoint { seq, rows })
    }
}
