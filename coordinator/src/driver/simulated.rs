//! The driver as two tasks of the current runtime, for simulations under a paused clock: the same
//! turns and the same flush, with a disk that takes a while and a crash at any instant.

use std::time::Duration;

use longshore_common::clock::Clock;
use longshore_core::{
    State,
    step::{Entropy, RULES},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CheckpointPace, Parts, STEPS_QUEUED_MAX, batch, handle::Handle};
use crate::journal::Journal;

/// Runs until `crash`, after which nothing that was not flushed is on the journal's disk.
pub fn start(
    state: State,
    journal: impl Journal,
    clock: impl Clock,
    entropy: Entropy,
    flush_takes: Duration,
    crash: CancellationToken,
) -> Handle {
    let Parts { handle, mut writer, mut flush, mut incoming } =
        Parts::new(state, journal, entropy, CheckpointPace::default());
    let (steps, mut flushing) = mpsc::channel(STEPS_QUEUED_MAX);
    let flush_until_crash = async move {
        while let Some(item) = flushing.recv().await {
            tokio::time::sleep(flush_takes).await;
            flush.take(vec![item]).expect("a journal in memory does not fail");
        }
    };
    let drive_until_crash = async move {
        loop {
            let first = match writer.has_work() {
                true => None,
                false => match incoming.recv().await {
                    Some(request) => Some(request),
                    None => return,
                },
            };
            let requests = batch(first, &mut incoming);
            for item in writer.turn(&RULES, requests, clock.wall()) {
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
