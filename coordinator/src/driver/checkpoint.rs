//! When a checkpoint is due, and its slices.

use longshore_core::{State, step::Flush};

use crate::journal::Checkpoint;

/// Number of changed entities after which a checkpoint begins (ours): bounds the one transaction
/// that writes their rows, for which replies wait.
pub(crate) const ENTITIES_PER_CHECKPOINT: usize = 5_000;
/// Number of events after which a checkpoint begins though they changed the same few entities
/// (ours): bounds the journal's tail, and so the time of a start.
pub(crate) const EVENTS_PER_CHECKPOINT: usize = 20_000;
/// Maximum number of entities encoded under one hold of the write lock (ours).
const ENTITIES_PER_SLICE: usize = 128;

/// How often, and in which pieces.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointPace {
    pub entities: usize,
    pub events: usize,
    pub slice: usize,
}

impl Default for CheckpointPace {
    fn default() -> Self {
        CheckpointPace {
            entities: ENTITIES_PER_CHECKPOINT,
            events: EVENTS_PER_CHECKPOINT,
            slice: ENTITIES_PER_SLICE,
        }
    }
}

#[derive(Default)]
pub(super) struct Checkpoints {
    pace: CheckpointPace,
    events: usize,
    changed: usize,
    /// The sequence as of which a capture is under way.
    capturing: Option<u64>,
}

impl Checkpoints {
    pub(super) fn at(pace: CheckpointPace) -> Self {
        Checkpoints { pace, ..Checkpoints::default() }
    }

    pub(super) fn count(&mut self, flush: &Flush) {
        self.events += flush.batch.as_ref().map_or(0, |batch| batch.events.len());
        self.changed = flush.changed;
    }

    pub(super) fn capturing(&self) -> bool {
        self.capturing.is_some()
    }

    pub(super) fn due(&self) -> bool {
        self.capturing() || self.events >= self.pace.events || self.changed >= self.pace.entities
    }

    /// Begins or continues the checkpoint, and returns it once it is whole.
    pub(super) fn advance(&mut self, state: &mut State) -> Option<Checkpoint> {
        let seq = match self.capturing {
            Some(seq) => seq,
            None => {
                (self.events, self.changed) = (0, 0);
                state.begin_capture();
                *self.capturing.insert(state.seq())
            }
        };
        let rows = state.capture_slice(self.pace.slice)?;
        self.capturing = None;
        Some(Checkpoint { seq, rows })
    }
}
