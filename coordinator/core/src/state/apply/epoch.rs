//! Starts of the coordinator, and the journal that a recovery continued from.

use longshore_common::{clock::Timestamp, protocol::Epoch};

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::MetaRecord,
    },
    event::EpochEvent,
    model::task::Phase,
    state::{RECOVERIES_KEPT_MAX, STARTS_KEPT_MAX, State, Task, TaskSlot, WORD_AWAITED},
};

impl State {
    pub(super) fn apply_epoch(&mut self, event: &EpochEvent, seq: u64) {
        match event {
            EpochEvent::EpochStarted { epoch, at } => self.epoch_started(*epoch, *at, seq),
            EpochEvent::Recovered { epoch, at, unsure_before, unsure_below } => {
                self.journal_recovered(*epoch, *at, *unsure_before, *unsure_below, seq);
            }
            EpochEvent::WordAwaited => self.word_awaited(),
        }
    }

    pub(super) fn epoch_started(&mut self, epoch: Epoch, at: Timestamp, seq: u64) {
        self.touch(EntityKey::Meta(()));
        self.epoch_started_at = at;
        let awaits_on = self.word_awaited_until.is_some();
        self.word_awaited_until = awaits_on.then(|| at.saturating_add(WORD_AWAITED));
        self.nobody_is_heard(epoch.counter);
        self.attachments_have_their_time_anew(at);
        self.all_are_due();
        self.epoch = epoch;
        self.epochs.insert(epoch.counter, epoch.incarnation);
        self.starts.insert(epoch.counter, seq);
        // A journal of an earlier program may hold more.
        while self.epochs.len() > STARTS_KEPT_MAX {
            self.epochs.pop_first();
        }
        while self.starts.len() > STARTS_KEPT_MAX {
            self.starts.pop_first();
        }
    }

    pub(super) fn journal_recovered(
        &mut self,
        epoch: Epoch,
        at: Timestamp,
        unsure_before: Option<Timestamp>,
        unsure_below: Option<u64>,
        seq: u64,
    ) {
        self.epoch_started(epoch, at, seq);
        self.word_awaited_until = Some(at.saturating_add(WORD_AWAITED));
        (self.recovered, self.recovered_seq) = (Some(epoch), seq);
        let provisioning = |task: &&Task| task.phase == Phase::Provisioning;
        let ids = self.tasks.iter().filter(provisioning).map(|task| task.id);
        let slots: Vec<TaskSlot> = ids.map(|id| self.tasks_by_id[&id]).collect();
        slots.iter().for_each(|slot| self.set_deadlines(*slot, false));
        (self.unsure_before, self.unsure_below) = (unsure_before, unsure_below);
        slots.iter().for_each(|slot| self.set_deadlines(*slot, true));
        self.recoveries.extend(unsure_below.map(|below| (epoch.counter, below)));
        if self.recoveries.len() > RECOVERIES_KEPT_MAX {
            self.recoveries.pop_first();
        }
        self.unsure_launches_keep_no_deadline();
    }

    pub(super) fn word_awaited(&mut self) {
        self.touch(EntityKey::Meta(()));
        self.word_awaited_until = None;
    }
}

impl Entity for kind::Meta {
    fn keys(_: &State) -> Vec<()> {
        vec![()]
    }

    fn row(state: &State, (): &()) -> Option<MetaRecord> {
        let (epoch, epochs, recovered) = (state.epoch, state.epochs.clone(), state.recovered);
        Some(MetaRecord {
            epoch,
            epochs,
            recovered,
            recovered_seq: state.recovered_seq,
            starts: state.starts.clone(),
            unsure_before: state.unsure_before,
            unsure_below: state.unsure_below,
            recoveries: state.recoveries.clone(),
            word_awaited_until: state.word_awaited_until,
        })
    }

    fn restore(state: &mut State, row: MetaRecord) {
        state.epoch = row.epoch;
        state.epochs = row.epochs;
        state.recovered = row.recovered;
        state.recovered_seq = row.recovered_seq;
        state.starts = row.starts;
        state.unsure_before = row.unsure_before;
        state.unsure_below = row.unsure_below;
        state.recoveries = row.recoveries;
        // Rows of earlier programs hold the last one alone.
        let last = row.recovered.zip(row.unsure_below);
        state.recoveries.extend(last.map(|(epoch, below)| (epoch.counter, below)));
        state.word_awaited_until = row.word_awaited_until;
    }
}
