//! The one writer, without a thread or a clock: one turn after another.

use std::sync::{Arc, RwLock};

use longshore_common::clock::Timestamp;
use longshore_core::{
    State,
    step::{self, Entropy, Request, Rules},
};
use tokio::sync::watch;

use super::{
    JournalWentBack,
    checkpoint::{CheckpointPace, Checkpoints},
    flush::FlushItem,
};

pub(super) struct Writer {
    state: Arc<RwLock<State>>,
    entropy: Entropy,
    checkpoints: Checkpoints,
    wake: watch::Sender<Option<Timestamp>>,
    /// While the journal is known to have gone back, the scheduler does nothing.
    went_back: watch::Receiver<Option<JournalWentBack>>,
    /// The scheduler has work left.
    more: bool,
}

impl Writer {
    pub(super) fn new(
        state: Arc<RwLock<State>>,
        entropy: Entropy,
        pace: CheckpointPace,
        wake: watch::Sender<Option<Timestamp>>,
        went_back: watch::Receiver<Option<JournalWentBack>>,
    ) -> Self {
        let checkpoints = Checkpoints::at(pace);
        Writer { state, entropy, checkpoints, wake, went_back, more: true }
    }

    /// Whether another turn is due though nobody asks for anything.
    pub(super) fn has_work(&self) -> bool {
        self.more || self.checkpoints.capturing()
    }

    /// A step, when somebody asks or the scheduler has work left, and a slice of a checkpoint that
    /// is due. What is returned is to be flushed in this order.
    pub(super) fn turn(
        &mut self,
        rules: &Rules<'_>,
        requests: Vec<Request>,
        at: Timestamp,
    ) -> Vec<FlushItem> {
        let mut items = Vec::new();
        if self.more || !requests.is_empty() {
            let flush = {
                let mut state = self.state.write().expect("a panic in the state ends the process");
                state.hold_scheduling(self.went_back.borrow().is_some());
                step::step_with(rules, &mut state, requests, at, &mut self.entropy)
            };
            self.checkpoints.count(&flush);
            self.more = flush.more;
            let wake = flush.wake;
            self.wake.send_if_modified(|at| std::mem::replace(at, wake) != wake);
            items.push(FlushItem::Step(Box::new(flush)));
        }
        if self.checkpoints.due() {
            let mut state = self.state.write().expect("a panic in the state ends the process");
            items.extend(self.checkpoints.advance(&mut state).map(FlushItem::Checkpoint));
        }
        items
    }
}
