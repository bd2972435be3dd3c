//! Which hosts have said what they have seen since this start: `recover` goes beyond that, and names
//! those whose word is missing.
//!
//! Never: whether a host is alive. One that spoke and fell silent has nothing newer to say while no
//! orders are given.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use longshore_common::id::HostId;
use tokio::sync::watch;

pub struct Hearing {
    /// Whether every host had the time to speak.
    over: watch::Sender<bool>,
    heard: Mutex<BTreeSet<HostId>>,
}

impl Default for Hearing {
    /// Nobody polls hosts: there is nobody to wait for.
    fn default() -> Self {
        Hearing { over: watch::channel(true).0, heard: Mutex::default() }
    }
}

impl Hearing {
    /// Makes [`Hearing::over`] wait from now on.
    pub fn begin(&self) {
        self.over.send_replace(false);
    }

    pub fn end(&self) {
        self.over.send_replace(true);
    }

    /// Waits until hosts had the time to speak: a few seconds after a start at the most.
    pub async fn over(&self) {
        // The sender lives as long as this.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub fn heard(&self, host: HostId) {
        self.hosts().insert(host);
    }

    /// The host has no agent any more.
    pub fn forget(&self, host: HostId) {
        self.hosts().remove(&host);
    }

    pub fn has_heard(&self, host: HostId) -> bool {
        self.hosts().contains(&host)
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeSet<HostId>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
