//! A poll that is kept, and one whose orders are on their way into the ledger.

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

pub(super) struct Parked {
    pub(super) reply: oneshot::Sender<PollAnswer>,
    pub(super) told: Told,
    pub(super) until: Instant,
}

/// What a poll shows that the coordinator knows already.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) images: Option<ReportPosition>,
    pub(super) subscriptions: bool,
}

impl Told {
    pub(super) fn by(request: &PollRequest) -> Self {
        Told { images: request.images, subscriptions: request.knows_subscriptions }
    }
}

/// A poll whose orders are on their way into the ledger.
pub(super) struct Taking {
    pub(super) head: Head,
    pub(super) being_written: bool,
    pub(super) orders: Vec<Taken>,
    /// What a manifest named; absent without one.
    pub(super) named: Option<FastSet<TaskKey>>,
    pub(super) request: Box<PollRequest>,
    pub(super) reply: oneshot::Sender<PollAnswer>,
}

pub(super) enum Taken {
    Run(Arc<Intent>),
    Stop(TaskKey, StopCause),
}

impl Taking {
    pub(super) fn intents(&self) -> Vec<Arc<Intent>> {
        let run = |taken: &Taken| match taken {
            Taken::Run(intent) => Some(intent.clone()),
            Taken::Stop(..) => None,
        };
        self.orders.iter().filter_map(run).collect()
    }

    pub(super) fn stops(&self) -> BTreeMap<TaskKey, StopCause> {
        let stop = |taken: &Taken| match taken {
            Taken::Stop(key, cause) => Some((*key, cause.clone())),
            Taken::Run(_) => None,
        };
        self.orders.iter().filter_map(stop).collect()
    }
}
