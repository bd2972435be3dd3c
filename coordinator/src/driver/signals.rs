//! Wakes whoever polls a host when that host's next poll has something new.

use std::sync::{Arc, Mutex, PoisonError};

use longshore_common::{id::HostId, index::FastMap};
use tokio::{sync::Notify, time::Instant};

/// The signal of one host, for its one poller.
#[derive(Default)]
pub struct Signal {
    changed: Notify,
    /// When the oldest change that no poll has shown yet became durable.
    since: Mutex<Option<Instant>>,
}

impl Signal {
    /// Waits for a change; one that came before is not missed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the oldest change since the last call became durable.
    pub fn take_since(&self) -> Option<Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Wakes the poller for something that is no change of its host.
    pub fn nudge(&self) {
        self.changed.notify_one();
    }

    fn wake(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
        drop(since);
        self.changed.notify_one();
    }
}

#[derive(Default)]
pub struct Signals {
    hosts: Mutex<FastMap<HostId, Arc<Signal>>>,
    /// A host changed that nobody listens for: it may be new.
    unclaimed: Mutex<Vec<HostId>>,
    any_unclaimed: Notify,
    effects: Notify,
    launches: Notify,
}

impl Signals {
    /// Makes this host's changes wake the returned signal from now on.
    pub fn listen(&self, host: HostId) -> Arc<Signal> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host).or_default().clone()
    }

    pub fn forget(&self, host: HostId) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
    }

    /// Waits until hosts changed for which nobody listened, and takes their ids.
    pub async fn unclaimed(&self) -> Vec<HostId> {
        loop {
            let taken = {
                let mut waiting = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *waiting)
            };
            if !taken.is_empty() {
                return taken;
            }
            self.any_unclaimed.notified().await;
        }
    }

    /// Waits until the state asks for something outside that it did not ask for before.
    pub async fn effects(&self) {
        self.effects.notified().await;
    }

    /// The same, for whoever calls launchers.
    pub async fn launches(&self) {
        self.launches.notified().await;
    }

    pub(super) fn wake_effects(&self) {
        self.effects.notify_one();
        self.launches.notify_one();
    }

    pub(super) fn wake(&self, changed: &[HostId]) {
        if changed.is_empty() {
            return;
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unclaimed = Vec::new();
        for host in changed {
            match hosts.get(host) {
                Some(signal) => signal.wake(),
                None => unclaimed.push(*host),
            }
        }
        drop(hosts);
        if !unclaimed.is_empty() {
            self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).extend(unclaimed);
            self.any_unclaimed.notify_one();
        }
    }
}
