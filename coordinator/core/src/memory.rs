//! What a journal holds of the state, in memory: the rows of its checkpoint and the batches after it.
//! For tests and simulations: these rows and batches survive a simulated crash.
//!
//! Never: the history of what has ended. That is the journal's own.

use std::collections::BTreeMap;

use crate::{
    Event, State,
    batch::Batch,
    checkpoint::record::{self, Record},
    state::Row,
};

/// Written and read as bytes, as a journal on a disk is.
#[derive(Default)]
pub struct KeptState {
    batches: BTreeMap<u64, Vec<u8>>,
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    checkpoint_seq: u64,
}

impl KeptState {
    pub fn append(&mut self, batch: &Batch) {
        self.batches.insert(batch.seq, record::encode(&batch.events));
    }

    /// Replaces the rows of a checkpoint and drops the batches that it covers.
    pub fn checkpoint(&mut self, seq: u64, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => self.rows.insert((row.kind, row.key), value),
                None => self.rows.remove(&(row.kind, row.key)),
            };
        }
        self.checkpoint_seq = seq;
        self.batches = self.batches.split_off(&(seq + 1));
    }

    /// The state that a coordinator starts with.
    pub fn recover(&self) -> State {
        let mut state = State::to_recover();
        for kind in record::RESTORE_ORDER {
            let of_kind = self.rows.range((kind, Vec::new())..(kind + 1, Vec::new()));
            for (_, row) in of_kind {
                let record: Record = record::decode(row).expect("rows of this process");
                state.restore(record);
            }
        }
        let mut seq = self.checkpoint_seq;
        for (&batch, events) in &self.batches {
            let events: Vec<Event> = record::decode(events).expect("batches of this process");
            events.iter().for_each(|event| state.apply(event, batch));
            seq = batch;
        }
        state.recovered_at(seq);
        state
    }
}
