//! The one writer: takes commands, decides and applies them in batches, and lets nobody hear of a
//! batch before it is durable.
//!
//! Two threads: the *driver* holds the state's write lock for one short step at a time; the *flush*
//! thread makes steps durable in their order, many at once when it falls behind, and only then
//! sends replies, wakes pollers and writes the log. Deciding continues meanwhile. An error of the
//! journal ends the process without a further reply.

mod checkpoint;
mod hearing;
mod signals;
mod flush;
mod handle;
mod writer;
pub mod simulated;
pub mod stepped;
mod time;

use std::sync::{Arc, RwLock, atomic::AtomicU64};

use longshore_common::clock::Clock;
use longshore_core::{
    State,
    step::{Entropy, RULES, Request},
};
use tokio::sync::{mpsc, mpsc::error::TryRecvError, watch};

pub use checkpoint::CheckpointPace;
#[cfg(test)]
pub(crate) use checkpoint::EVENTS_PER_CHECKPOINT;
pub(crate) use flush::{APPEND_SECONDS, CHECKPOINT_SECONDS, TASKS_STOPPED};
pub use handle::{Handle, JournalWentBack, Proof, Refused, Unavailable};
pub use signals::{Signal, Signals};
pub use time::keep_time;

use self::{
    flush::{Flush, FlushItem},
    writer::Writer,
};
use crate::{blocking::Blocking, journal::Journal};

/// Maximum number of requests that wait for the driver (ours); a full queue makes callers wait.
const REQUESTS_QUEUED_MAX: usize = 4_096;
/// Maximum number of commands in one step (ours), which bounds the time under the write lock and
/// the size of a journal row.
const COMMANDS_PER_STEP_MAX: usize = 32;
/// Maximum number of steps that wait for the flush thread (ours); a full queue makes the driver
/// wait.
const STEPS_QUEUED_MAX: usize = 256;

/// Starts both threads. `failed` becomes true when the journal has failed: the process must end.
pub fn start(
    state: State,
    journal: impl Journal,
    clock: impl Clock,
    entropy: Entropy,
) -> (Handle, watch::Receiver<bool>) {
    let Parts { handle, writer, flush, incoming } =
        Parts::new(state, journal, entropy, CheckpointPace::default());
    let (steps, flushing) = std::sync::mpsc::sync_channel(STEPS_QUEUED_MAX);
    spawn("flush", move || flush.run(flushing));
    let driver = Driver { writer, incoming, steps, clock };
    spawn("driver", move || driver.run());
    let failed = handle.failed.clone();
    (handle, failed)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.expect("a thread can be started at start-up");
}

/// A driver before anybody gives it time: threads, the tasks of a simulation, or a test's hand.
struct Parts<J> {
    handle: Handle,
    writer: Writer,
    flush: Flush<J>,
    incoming: mpsc::Receiver<Request>,
}

impl<J: Journal> Parts<J> {
    fn new(state: State, journal: J, entropy: Entropy, pace: CheckpointPace) -> Self {
        let (durable_sender, durable) = watch::channel(state.seq());
        let (failed_sender, failed) = watch::channel(false);
        let (requests, incoming) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let (wake, wakes) = watch::channel(None);
        let restored = state.awaits_recover().then_some(JournalWentBack::Restored { proof: None });
        if let Some(restored) = &restored {
            tracing::error!("ALARM: {restored}");
        }
        let went_back = Arc::new(watch::channel(restored).0);
        let signals = Arc::new(Signals::default());
        let checkpoints = Arc::<AtomicU64>::default();
        let state = Arc::new(RwLock::new(state));
        let history: Arc<dyn crate::journal::History> = journal.history().into();
        let writer = Writer::new(state.clone(), entropy, pace, wake, went_back.subscribe());
        let flush = Flush {
            journal,
            durable: durable_sender,
            failed: failed_sender,
            signals: signals.clone(),
            checkpoints: checkpoints.clone(),
        };
        let handle = Handle {
            state,
            requests,
            durable,
            failed,
            history,
            signals,
            went_back,
            hearing: Arc::default(),
            wakes,
            checkpoints,
            blocking: Blocking::Aside,
        };
        Parts { handle, writer, flush, incoming }
    }
}

/// The next requests without waiting, `first` among them.
fn batch(first: Option<Request>, incoming: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut batch: Vec<Request> = first.into_iter().collect();
    while batch.len() < COMMANDS_PER_STEP_MAX
        && let Ok(request) = incoming.try_recv()
    {
        batch.push(request);
    }
    batch
}

struct Driver<C> {
    writer: Writer,
    incoming: mpsc::Receiver<Request>,
    steps: std::sync::mpsc::SyncSender<FlushItem>,
    clock: C,
}

impl<C: Clock> Driver<C> {
    /// Takes requests until every handle is gone or the flush thread has ended.
    fn run(mut self) {
        loop {
            let first = if self.writer.has_work() {
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
            let requests = match first {
                Some(first) => batch(Some(first), &mut self.incoming),
                None => Vec::new(),
            };
            for item in self.writer.turn(&RULES, requests, self.clock.wall()) {
                if self.steps.send(item).is_err() {
                    return;
                }
            }
        }
    }
}
