//! Makes steps durable, in their order, then tells.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use longshore_core::{batch::Batch, model::task::TaskRecord, state::LogLine, step::Flush as Step};
use tokio::{sync::watch, time::Instant};

use super::signals::Signals;
use crate::journal::{Checkpoint, Journal, JournalError};

pub(crate) const TASKS_STOPPED: &str = "longshore_tasks_stopped_total";
pub(crate) const CHECKPOINT_SECONDS: &str = "longshore_journal_checkpoint_seconds";
pub(crate) const APPEND_SECONDS: &str = "longshore_journal_append_seconds";
/// Maximum number of steps that one transaction takes (ours).
const STEPS_PER_COMMIT_MAX: usize = 64;

pub(super) enum FlushItem {
    Step(Box<Step>),
    Checkpoint(Checkpoint),
}

pub(super) struct Flush<J> {
    pub(super) journal: J,
    pub(super) durable: watch::Sender<u64>,
    pub(super) failed: watch::Sender<bool>,
    pub(super) signals: Arc<Signals>,
    /// How many checkpoints were written.
    pub(super) checkpoints: Arc<AtomicU64>,
}

impl<J: Journal> Flush<J> {
    /// Makes steps durable until the driver has ended or the journal has failed.
    pub(super) fn run(mut self, items: mpsc::Receiver<FlushItem>) {
        while let Ok(first) = items.recv() {
            let mut taken = vec![first];
            while taken.len() < STEPS_PER_COMMIT_MAX
                && let Ok(item) = items.try_recv()
            {
                taken.push(item);
            }
            if let Err(error) = self.take(taken) {
                tracing::error!(
                    error = longshore_common::telemetry::chain(&error),
                    "the journal failed: nothing more is acknowledged, and the coordinator ends"
                );
                self.failed.send_replace(true);
                return;
            }
        }
    }

    /// Flushes steps together, and checkpoints where they stand among them.
    pub(super) fn take(&mut self, items: Vec<FlushItem>) -> Result<(), JournalError> {
        let mut steps = Vec::new();
        for item in items {
            match item {
                FlushItem::Step(step) => steps.push(*step),
                FlushItem::Checkpoint(checkpoint) => {
                    self.flush(std::mem::take(&mut steps))?;
                    let began = Instant::now();
                    self.journal.checkpoint(checkpoint)?;
                    metrics::histogram!(CHECKPOINT_SECONDS).record(began.elapsed());
                    self.checkpoints.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.flush(steps)
    }

    fn flush(&mut self, mut steps: Vec<Step>) -> Result<(), JournalError> {
        let batches: Vec<Batch> = steps.iter_mut().filter_map(|step| step.batch.take()).collect();
        if !batches.is_empty() {
            let began = Instant::now();
            self.journal.append(&batches)?;
            metrics::histogram!(APPEND_SECONDS).record(began.elapsed());
        }
        batches.iter().flat_map(|batch| &batch.history.stopped).for_each(count_stopped);
        let Some(seq) = steps.last().map(|step| step.seq) else { return Ok(()) };
        self.durable.send_if_modified(|durable| std::mem::replace(durable, seq) != seq);
        // Orders first: they wait for a host, replies for a client.
        for step in &steps {
            self.signals.wake(&step.hosts);
        }
        if steps.iter().any(|step| step.effects) {
            self.signals.wake_effects();
        }
        for step in &mut steps {
            step.replies.drain(..).for_each(|reply| reply());
        }
        steps.iter().flat_map(|step| &step.log).for_each(log);
        Ok(())
    }
}

fn count_stopped(task: &TaskRecord) {
    let cluster = task.cluster.to_string();
    let code = task.end.as_ref().map(|end| end.cause.code);
    // Its variants are named as ECS names them.
    let outcome = code.map_or_else(String::new, |code| format!("{code:?}"));
    metrics::counter!(TASKS_STOPPED, "cluster" => cluster, "outcome" => outcome).increment(1);
}

fn log(line: &LogLine) {
    let cluster = line.cluster.as_ref().map(|name| name.as_str());
    let host = line.host.map(tracing::field::display);
    let service = line.service.as_ref().map(|name| name.as_str());
    let task = line.task.map(tracing::field::display);
    tracing::info!(cluster, host, service, task, "{}", line.what);
}
