//! The driver in the hand of a test: whoever holds it says when it steps, when what was decided
//! becomes durable, and when all of it is gone.

use std::collections::VecDeque;

use longshore_common::clock::Timestamp;
use longshore_core::{
    State,
    step::{self, Entropy, Request, Rules},
};
use tokio::sync::mpsc;

use super::{
    CheckpointPace, Handle, Parts, batch,
    flush::{Flush, FlushItem},
    writer::Writer,
};
use crate::{
    blocking::Blocking,
    journal::{Journal, JournalError},
};

pub struct Stepped<J> {
    writer: Writer,
    incoming: mpsc::Receiver<Request>,
    /// Taken from `incoming` while it was waited for.
    first: Option<Request>,
    flush: Flush<J>,
    unflushed: VecDeque<FlushItem>,
}

/// Nothing happens before the first [`turn`](Stepped::turn), and no other thread has a part in it.
pub fn start<J: Journal>(
    state: State,
    journal: J,
    entropy: Entropy,
    pace: CheckpointPace,
) -> (Handle, Stepped<J>) {
    let Parts { mut handle, writer, flush, incoming } = Parts::new(state, journal, entropy, pace);
    handle.blocking = Blocking::AtOnce;
    let unflushed = VecDeque::new();
    (handle, Stepped { writer, incoming, first: None, flush, unflushed })
}

impl<J: Journal> Stepped<J> {
    /// Waits until somebody asks for something. May be given up and called again.
    pub async fn requested(&mut self) {
        if self.first.is_none() {
            self.first = self.incoming.recv().await;
        }
    }

    /// Whether another turn is due though nobody asks for anything.
    pub fn has_work(&self) -> bool {
        self.first.is_some() || self.writer.has_work()
    }

    /// One turn of the driver with what was asked so far; `saw` is shown the step before it is
    /// durable.
    pub fn turn(&mut self, rules: &Rules<'_>, at: Timestamp, mut saw: impl FnMut(&step::Flush)) {
        let requests = batch(self.first.take(), &mut self.incoming);
        for item in self.writer.turn(rules, requests, at) {
            if let FlushItem::Step(step) = &item {
                saw(step);
            }
            self.unflushed.push_back(item);
        }
    }

    /// Steps and checkpoints that are not durable yet.
    pub fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    /// Makes everything durable that was decided, and tells whoever waits.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.flush_first(self.unflushed.len())
    }

    /// Flushes only the first `count` steps and checkpoints: what a crash leaves.
    pub fn flush_first(&mut self, count: usize) -> Result<(), JournalError> {
        self.flush.take(self.unflushed.drain(..count).collect())
    }
}
