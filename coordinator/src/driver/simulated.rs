//! The driver as two tasks of the current runtime, for simulations under a paused clock: the same
//! step and the same flush, with a disk that takes a while and a crash at any instant.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use longshore_common::clock::Clock;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    COMMANDS_PER_STEP_MAX, Entropy, REQUESTS_QUEUED_MAX, STEPS_QUEUED_MAX,
    checkpoint::Checkpoints,
    flush::{Flush, FlushItem},
    handle::Handle,
    signals::Signals,
    step::{self, Request},
};
use crate::{journal::Journal, state_machine::State};

/// Runs until `crash`, after which nothing that was not flushed is on the journal's disk.
pub fn start(
    state: State,
    journal: impl Journal,
    clock: impl Clock,
    mut entropy: Entropy,
    flush_takes: Duration,
    crash: CancellationToken,
) -> Handle {
    let (durable_sender, durable) = watch::channel(state.seq());
    let state = Arc::new(RwLock::new(state));
    let history = journal.history().into();
    let (requests, mut incoming) = mpsc::channel::<Request>(REQUESTS_QUEUED_MAX);
    let (steps, mut flushing) = mpsc::channel(STEPS_QUEUED_MAX);
    let (failed_sender, failed) = watch::channel(false);
    let signals = Arc::new(Signals::default());
    let (wake, wakes) = watch::channel(None);
    let went_back = Arc::new(watch::channel(None).0);
    let held = went_back.subscribe();
    let handle = Handle {
        state: state.clone(),
        requests,
        durable,
        failed,
        history,
        signals: signals.clone(),
        went_back,
        wakes,
    };

    let mut flush = Flush { journal, durable: durable_sender, failed: failed_sender, signals };
    let flush_until_crash = async move {
        while let Some(item) = flushing.recv().await {
            tokio::time::sleep(flush_takes).await;
            flush.take(vec![item]).expect("a journal in memory does not fail");
        }
    };
    let drive_until_crash = async move {
        let mut checkpoints = Checkpoints::default();
        let mut batch = Vec::new();
        let mut more = true;
        while more || incoming.recv_many(&mut batch, COMMANDS_PER_STEP_MAX).await > 0 {
            if more {
                while batch.len() < COMMANDS_PER_STEP_MAX
                    && let Ok(request) = incoming.try_recv()
                {
                    batch.push(request);
                }
            }
            let mut items = Vec::new();
            {
                let mut state = state.write().expect("a panic in the state ends the simulation");
                let requests = std::mem::take(&mut batch);
                state.hold_scheduling(held.borrow().is_some());
                let flush = step::step(&mut state, requests, clock.wall(), &mut entropy);
                checkpoints.count(&flush);
                more = flush.more;
                wake.send_replace(flush.wake);
                items.push(FlushItem::Step(Box::new(flush)));
                while checkpoints.due() {
                    items.extend(checkpoints.advance(&mut state).map(FlushItem::Checkpoint));
                }
            }
            for item in items {
                if steps.send(item).await.is_err() {
                    return;
                }
            }
        }
    };
    let crashed = crash.clone();
    tokio::spawn(async move {
        tokio::select! { biased; () = crashed.cancelled() => {} () = flush_until_crash => {} }
    });
    tokio::spawn(async move {
        tokio::select! { biased; () = crash.cancelled() => {} () = drive_until_crash => {} }
    });
    handle
}
