//! A journal in memory, for tests and simulations: what it holds survives a simulated crash.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_common::id::TaskId;

use super::{Batch, Checkpoint, History, Journal, JournalError, StoppedEntry, StoppedFilter};
use crate::state_machine::{
    Event, State,
    record::{self, Record, TaskRecord},
};

/// The "disk": shared by every journal that is opened on it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    batches: BTreeMap<u64, Vec<u8>>,
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    checkpoint_seq: u64,
    stopped: BTreeMap<u64, TaskRecord>,
    numbers: BTreeMap<TaskId, u64>,
}

pub struct MemoryJournal {
    disk: MemoryDisk,
}

impl MemoryDisk {
    pub fn journal(&self) -> MemoryJournal {
        MemoryJournal { disk: self.clone() }
    }

    /// The state that a coordinator starts with on this disk.
    pub fn recover(&self) -> State {
        self.with(|contents| {
            let mut state = State::to_recover();
            for row in contents.rows.values() {
                let record: Record = record::decode(row).expect("rows of this process");
                state.restore(record);
            }
            let mut seq = contents.checkpoint_seq;
            for (&batch, events) in &contents.batches {
                let events: Vec<Event> = record::decode(events).expect("batches of this process");
                events.iter().for_each(|event| state.apply(event, batch));
                seq = batch;
            }
            state.recovered_at(seq);
            state
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Contents) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        self.disk.with(|contents| {
            for batch in batches {
                contents.batches.insert(batch.seq, record::encode(&batch.events));
                for task in &batch.stopped {
                    let number = contents.stopped.last_key_value().map_or(1, |(last, _)| last + 1);
                    contents.stopped.insert(number, task.clone());
                    contents.numbers.insert(task.id, number);
                }
            }
        });
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), JournalError> {
        self.disk.with(|contents| {
            for row in checkpoint.rows {
                match row.value {
                    Some(value) => contents.rows.insert((row.kind, row.key), value),
                    None => contents.rows.remove(&(row.kind, row.key)),
                };
            }
            contents.checkpoint_seq = checkpoint.seq;
            contents.batches = contents.batches.split_off(&(checkpoint.seq + 1));
        });
        Ok(())
    }

    fn history(&self) -> Box<dyn History> {
        Box::new(self.disk.clone())
    }
}

impl History for MemoryDisk {
    fn tasks(&self, ids: &[TaskId]) -> Result<Vec<TaskRecord>, JournalError> {
        Ok(self.with(|contents| {
            let known = ids.iter().filter_map(|id| contents.numbers.get(id));
            known.filter_map(|number| contents.stopped.get(number)).cloned().collect()
        }))
    }

    fn list(&self, filter: &StoppedFilter) -> Result<Vec<StoppedEntry>, JournalError> {
        let before = filter.before.map_or(u64::MAX, |entry| entry.number);
        let fits = |task: &TaskRecord| {
            task.cluster.as_str() == filter.cluster
                && filter.host.is_none_or(|host| task.host == host)
                && filter.family.as_deref().is_none_or(|f| task.family.as_str() == f)
                && filter.group.as_deref().is_none_or(|g| task.group == g)
                && filter
                    .started_by
                    .as_deref()
                    .is_none_or(|s| task.started_by.as_deref() == Some(s))
        };
        Ok(self.with(|contents| {
            let newest_first = contents.stopped.range(..before).rev();
            let entries = newest_first.filter(|(_, task)| fits(task));
            let entry =
                |(&number, task): (&u64, &TaskRecord)| StoppedEntry { number, task: task.id };
            entries.map(entry).take(filter.limit).collect()
        }))
    }
}
