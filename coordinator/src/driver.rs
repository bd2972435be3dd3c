//! The one writer: takes commands, decides and applies them in batches, and lets nobody hear of a
//! batch before it is durable.
//!
//! Two threads: the *driver* holds the state's write lock for one short step at a time; the *flush*
//! thread makes steps durable in their order, many at once when it falls behind, and only then
//! sends replies, wakes pollers and writes the log. Deciding goes on meanwhile. An error of the
//! journal ends the process without a further reply.

mod checkpoint;
mod flush;
mod handle;
mod signals;
pub mod simulated;
pub mod step;

use std::sync::{Arc, RwLock};

use longshore_common::clock::Clock;
use tokio::sync::{mpsc, watch};

#[cfg(test)]
pub(crate) use checkpoint::EVENTS_PER_CHECKPOINT;
pub use handle::{Handle, JournalWentBack, Refused, Unavailable};
pub use signals::{Signal, Signals};

use self::{checkpoint::Checkpoints, flush::FlushItem, step::Request};
use crate::{journal::Journal, state_machine::State};

/// Requests that wait for the driver; a full queue makes callers wait.
const REQUESTS_QUEUED_MAX: usize = 4_096;
/// Commands in one step: bounds the time under the write lock and the size of a journal row.
const COMMANDS_PER_STEP_MAX: usize = 32;
/// Steps that wait for the flush thread; a full queue makes the driver wait.
const STEPS_QUEUED_MAX: usize = 256;

/// Random bits for new ids, from the operating system or from a simulation's seed.
pub type Entropy = Box<dyn FnMut() -> u128 + Send>;

/// Starts both threads. `failed` becomes true when the journal has failed: the process must end.
pub fn start(
    state: State,
    journal: impl Journal,
    clock: impl Clock,
    entropy: Entropy,
) -> (Handle, watch::Receiver<bool>) {
    let seq = state.seq();
    let state = Arc::new(RwLock::new(state));
    let history: Arc<dyn crate::journal::History> = journal.history().into();
    let (requests, incoming) = mpsc::channel(REQUESTS_QUEUED_MAX);
    let (steps, flushing) = std::sync::mpsc::sync_channel(STEPS_QUEUED_MAX);
    let (durable_sender, durable) = watch::channel(seq);
    let (failed_sender, failed) = watch::channel(false);
    let signals = Arc::new(Signals::default());
    let flush = flush::Flush {
        journal,
        durable: durable_sender,
        failed: failed_sender,
        signals: signals.clone(),
    };
    spawn("flush", move || flush.run(flushing));
    let driver = Driver {
        state: state.clone(),
        incoming,
        steps,
        clock,
        entropy,
        checkpoints: Checkpoints::default(),
    };
    spawn("driver", move || driver.run());
    let handle = Handle::new(state, requests, durable, failed.clone(), history, signals);
    (handle, failed)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.expect("a thread can be started at start-up");
}

struct Driver<C> {
    state: Arc<RwLock<State>>,
    incoming: mpsc::Receiver<Request>,
    steps: std::sync::mpsc::SyncSender<FlushItem>,
    clock: C,
    entropy: Entropy,
    checkpoints: Checkpoints,
}

impl<C: Clock> Driver<C> {
    /// Until every handle is gone or the flush thread has ended.
    fn run(mut self) {
        loop {
            let first = if self.checkpoints.capturing() {
                // Between two slices of a checkpoint, whoever waits goes first.
                self.incoming.try_recv().ok()
            } else {
                match self.incoming.blocking_recv() {
                    Some(request) => Some(request),
                    None => return,
                }
            };
            if let Some(first) = first {
                let batch = self.batch(first);
                let flush = {
                    let mut state =
                        self.state.write().expect("a panic in the state ends the process");
                    step::step(&mut state, batch, self.clock.wall(), &mut self.entropy)
                };
                self.checkpoints.count(&flush);
                if self.steps.send(FlushItem::Step(flush)).is_err() {
                    return;
                }
            }
            if self.checkpoints.due() {
                let mut state = self.state.write().expect("a panic in the state ends the process");
                let finished = self.checkpoints.advance(&mut state);
                drop(state);
                if let Some(checkpoint) = finished
                    && self.steps.send(FlushItem::Checkpoint(checkpoint)).is_err()
                {
                    return;
                }
            }
        }
    }

    fn batch(&mut self, first: Request) -> Vec<Request> {
        let mut batch = vec![first];
        while batch.len() < COMMANDS_PER_STEP_MAX
            && let Ok(request) = self.incoming.try_recv()
        {
            batch.push(request);
        }
        batch
    }
}
