//! A disk beside a world: every step is journaled and checkpoints are taken in slices while
//! everything continues, so that at any time a start from the disk can be compared with the world.

use crate::{State, batch::Batch, memory::KeptState};

/// Maximum number of entities that one step encodes: few, so that a checkpoint takes many steps.
const ENTITIES_PER_SLICE: usize = 2;
/// Number of steps from the end of one checkpoint to the begin of the next.
const STEPS_APART: u64 = 5;

#[derive(Default)]
pub struct Recorder {
    disk: KeptState,
    steps: u64,
    capturing: Option<u64>,
    checkpoints: u64,
}

impl Recorder {
    pub fn append(&mut self, batch: &Batch) {
        self.disk.append(batch);
    }

    pub fn step(&mut self, state: &mut State, batch: Option<&Batch>) {
        if let Some(batch) = batch {
            self.append(batch);
        }
        self.steps += 1;
        let seq = match self.capturing {
            Some(seq) => seq,
            None if self.steps.is_multiple_of(STEPS_APART) => {
                state.begin_capture();
                *self.capturing.insert(state.seq())
            }
            None => return,
        };
        if let Some(rows) = state.capture_slice(ENTITIES_PER_SLICE) {
            self.disk.checkpoint(seq, rows);
            self.capturing = None;
            self.checkpoints += 1;
        }
    }

    /// What a start from the disk has otherwise than the world; and whatever of the world's
    /// counters and indexes is not what its entities say.
    pub fn faults(&self, state: &State) -> Vec<String> {
        let recovered = self.disk.recover();
        let mut faults = state.picture().differences(&recovered.picture());
        faults.extend(state.check());
        faults
    }

    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }
}
