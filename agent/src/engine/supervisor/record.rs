//! What the engine writes into its ledger, and what it does while the ledger cannot be written.
//!
//! Orders that were not written were not taken, and the coordinator is not told otherwise; those that
//! stop a task are carried out nevertheless. All else
//! is best effort: the engine goes on from memory, makes room first, for which nothing needs to be
//! written, and tries again. Never: an end of the agent for want of room.

use std::time::Duration;

use longshore_common::telemetry::chain;
use tracing::{debug, info, warn};

use super::{
    ledger_state::{LedgerState, Writing},
    state::{Engine, EngineError},
    timer::Timer,
};
use crate::{
    engine::ledger::{Batch, Ledger, LedgerError},
    runtime::ContainerRuntime,
};

/// Pause between two attempts at a ledger that could not be written; also the time that a poll
/// waits for it.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<R: ContainerRuntime> Engine<R> {
    /// Sends what is open to the ledger, one transaction at a time.
    pub(super) fn write_what_is_open(&mut self) {
        if !self.has_something_to_write() {
            return;
        }
        let Some(mut ledger) = self.ledger.take() else { return };
        let batch = self.open_batch();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let result = ledger.write(&batch);
            (ledger, batch, result)
        }));
    }

    fn has_something_to_write(&self) -> bool {
        let waits = self.ledger_state == LedgerState::Failing;
        let orders = self.unwritten_poll.as_ref().is_some_and(|taking| !taking.being_written);
        let is_tried = self.ledger_state == LedgerState::Retrying && self.head.is_some();
        orders || is_tried || !self.unwritten.can_wait() && !waits
    }

    fn open_batch(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.unwritten);
        if self.ledger_state != LedgerState::Written {
            // Says nothing new, and shows whether the ledger can be written again.
            batch.head.clone_from(&self.head);
        }
        if let Some(taking) = &mut self.unwritten_poll {
            taking.being_written = true;
            batch.head = Some(taking.head.clone());
            batch.intents = taking.intents();
            batch.stops = taking.stops();
        }
        batch
    }

    pub(super) fn written(
        &mut self,
        ledger: Ledger,
        batch: Batch,
        result: Result<(), LedgerError>,
    ) -> Result<(), EngineError> {
        (self.ledger, self.writing) = (Some(ledger), None);
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.ledger_state) != LedgerState::Written {
                    info!(host = %self.config.host, "the ledger is written again");
                }
                self.orders_written();
            }
            Err(error) if error.is_damage() => return Err(error.into()),
            Err(error) => self.not_written(batch, &error),
        }
        Ok(())
    }

    fn not_written(&mut self, batch: Batch, error: &LedgerError) {
        let (host, cause) = (self.config.host, chain(error));
        if self.ledger_state == LedgerState::Written {
            warn!(
                %host, error = cause,
                "the ledger cannot be written: what runs goes on, is reported and is stopped as ordered, \
                 no new task is taken, and the write is tried again",
            );
        } else {
            debug!(%host, error = cause, "the ledger still cannot be written");
        }
        if self.ledger_state != LedgerState::Failing {
            self.set_timer(RETRY_AFTER, Timer::Ledger);
        }
        self.ledger_state = LedgerState::Failing;
        self.unwritten = batch.without_orders().then(std::mem::take(&mut self.unwritten));
        if error.is_for_want_of_room() {
            self.clean_up_disks();
        }
        self.orders_not_taken();
    }

    pub(super) fn ledger_due(&mut self) {
        if self.ledger_state == LedgerState::Failing {
            self.ledger_state = LedgerState::Retrying;
        }
    }

    /// What is not in the ledger by now, the next start learns from the container engine.
    pub(super) async fn write_at_the_end(&mut self) -> Result<(), EngineError> {
        let mut unwritten = std::mem::take(&mut self.unwritten);
        if let Some(writing) = self.writing.take() {
            let (ledger, batch, result) = joined(writing.await);
            if result.is_err() {
                unwritten = batch.without_orders().then(unwritten);
            }
            self.ledger = Some(ledger);
        }
        // Orders that were not written were not taken: nobody was told that they are.
        self.unwritten_poll = None;
        match self.ledger.as_mut().map(|ledger| ledger.write(&unwritten)) {
            Some(Err(error)) if error.is_damage() => Err(error.into()),
            Some(Err(error)) => {
                let error = chain(&error);
                warn!(host = %self.config.host, error, "the ledger cannot be written at the end");
                Ok(())
            }
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// Waits for the write under way; for ever when there is none.
pub(super) async fn written(
    writing: &mut Option<Writing>,
) -> (Ledger, Batch, Result<(), LedgerError>) {
    match writing {
        Some(writing) => joined(writing.await),
        None => std::future::pending().await,
    }
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
