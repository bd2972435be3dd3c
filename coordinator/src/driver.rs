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
mod time;

use std::sync::{Arc, RwLock};

use longshore_common::clock::{Clock, Timestamp};
use tokio::sync::{mpsc, mpsc::error::TryRecvError, watch};

#[cfg(test)]
pub(crate) use checkpoint::EVENTS_PER_CHECKPOINT;
pub use handle::{Handle, JournalWentBack, Refused, Unavailable};
pub use signals::{Signal, Signals};
pub use time::keep_time;

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
    let (wake, wakes) = watch::channel(None);
    let went_back = Arc::new(watch::channel(None).0);
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
        wake,
        went_back: went_back.subscribe(),
        more: true,
    };
    spawn("driver", move || driver.run());
    let handle = Handle {
        state,
        requests,
        durable,
        failed: failed.clone(),
        history,
        signals,
        went_back,
        wakes,
    };
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
    wake: watch::Sender<Option<Timestamp>>,
    /// While an agent proves that the journal went back, the scheduler does nothing.
    went_back: watch::Receiver<Option<JournalWentBack>>,
    /// The scheduler has work left.
    more: bool,
}

impl<C: Clock> Driver<C> {
    /// Until every handle is gone or the flush thread has ended.
    fn run(mut self) {
        loop {
            let first = if self.more || self.checkpoints.capturing() {
                // Between two slices of a checkpoint or of a long schedule, whoever waits goes first.
                match self.incoming.try_recv() {
                    Ok(request) => Some(request),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match self.incoming.blocking_recv() {
                    Some(request) => Some(request),
                    None => return,
                }
            };
            if first.is_some() || self.more {
                let batch = first.map(|first| self.batch(first)).unwrap_or_default();
                let flush = {
                    let mut state =
                        self.state.write().expect("a panic in the state ends the process");
                    state.hold_scheduling(self.went_back.borrow().is_some());
                    step::step(&mut state, batch, self.clock.wall(), &mut self.entropy)
                };
                self.checkpoints.count(&flush);
                self.more = flush.more;
                let wake = flush.wake;
                self.wake.send_if_modified(|at| std::mem::replace(at, wake) != wake);
                if self.steps.send(FlushItem::Step(Box::new(flush))).is_err() {
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
