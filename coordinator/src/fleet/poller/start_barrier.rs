//! After a start, no host is given an order before every host that can be heard has said what it
//! has seen: one that has seen more than the journal holds stops the orders to all.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use longshore_common::id::HostId;
use tokio::{sync::watch, time::Instant};

/// Maximum time that hosts that do not answer may hold back the others (ours).
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct StartBarrier {
    awaited: Mutex<BTreeSet<HostId>>,
    open: watch::Sender<bool>,
    until: Instant,
}

impl StartBarrier {
    pub(super) fn new(hosts: impl Iterator<Item = HostId>) -> Self {
        let awaited: BTreeSet<HostId> = hosts.collect();
        let open = watch::channel(awaited.is_empty()).0;
        let until = Instant::now() + PATIENCE;
        StartBarrier { awaited: Mutex::new(awaited), open, until }
    }

    /// A host has said what it has seen, or cannot be heard.
    pub(super) fn arrived(&self, host: HostId) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(&host);
        if awaited.is_empty() {
            self.open.send_replace(true);
        }
    }

    /// Returns when orders may be given.
    pub(super) async fn passed(&self) {
        let mut open = self.open.subscribe();
        let opened = async {
            // The sender lives as long as the barrier.
            let _ = open.wait_for(|open| *open).await;
        };
        let _ = tokio::time::timeout_at(self.until, opened).await;
    }
}
