//! The poll that is kept for an answer, and the poll whose orders are being written into the ledger.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    index::FastSet,
    protocol::{PollAnswer, PollRequest, ReportPosition},
    task::StopCause,
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    engine::ledger::Head,
    task::{intent::Intent, key::TaskKey},
};

pub(super) struct ParkedPoll {
    pub(super) reply: oneshot::Sender<PollAnswer>,
    pub(super) told: PollKnowledge,
    pub(super) until: Instant,
}

/// What the coordinator knows already, as its poll shows.
#[derive(Clone, Copy)]
pub(super) struct PollKnowledge {
    pub(super) images: Option<ReportPosition>,
    pub(super) subscriptions: bool,
}

impl PollKnowledge {
    pub(super) fn by(request: &PollRequest) -> Self {
        PollKnowledge { images: request.images, subscriptions: request.knows_subscriptions }
    }
}

/// A poll whose orders are not in the ledger yet.
pub(super) struct UnwrittenPoll {
    pub(super) head: Head,
    pub(super) being_written: bool,
    pub(super) orders: Vec<TakenOrder>,
    /// What a manifest named; absent without one.
    pub(super) named: Option<FastSet<TaskKey>>,
    pub(super) request: Box<PollRequest>,
    pub(super) reply: oneshot::Sender<PollAnswer>,
}

pub(super) enum TakenOrder {
    Run(Arc<Intent>),
    Stop(TaskKey, StopCause),
}

impl UnwrittenPoll {
    pub(super) fn intents(&self) -> Vec<Arc<Intent>> {
        let run = |taken: &TakenOrder| match taken {
            TakenOrder::Run(intent) => Some(intent.clone()),
            TakenOrder::Stop(..) => None,
        };
        self.orders.iter().filter_map(run).collect()
    }

    pub(super) fn stops(&self) -> BTreeMap<TaskKey, StopCause> {
        let stop = |taken: &TakenOrder| match taken {
            TakenOrder::Stop(key, cause) => Some((*key, cause.clone())),
            TakenOrder::Run(_) => None,
        };
        self.orders.iter().filter_map(stop).collect()
    }
}
