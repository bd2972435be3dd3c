//! The container at an address, for those who show no id (version 2 of the metadata).
//!
//! One listing tells the addresses of all, and is asked for when an address is not known: at most
//! once a second, however many ask. Never: a conclusion from it alone; [`super::source`] looks at the
//! container itself.

use std::{net::IpAddr, sync::Arc, time::Duration};

use longshore_common::clock::{Clock, Monotonic};
use tokio::sync::Mutex;
use tracing::debug;

use super::directory::{DirectoryEntry, EndpointDirectory};
use crate::runtime::{ContainerRuntime, OwnerLabel};

/// Minimum time between two listings of containers for an address that nobody is known to have.
const LIST_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Addresses<R> {
    runtime: Arc<R>,
    directory: Arc<EndpointDirectory>,
    owner: OwnerLabel,
    clock: Arc<dyn Clock>,
    listed: Mutex<Option<Monotonic>>,
}

impl<R: ContainerRuntime> Addresses<R> {
    pub(crate) fn new(
        runtime: Arc<R>,
        directory: Arc<EndpointDirectory>,
        owner: OwnerLabel,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Addresses { runtime, directory, owner, clock, listed: Mutex::default() }
    }

    pub(crate) async fn find(&self, address: IpAddr) -> Option<(Arc<DirectoryEntry>, usize)> {
        if let Some(found) = self.directory.by_address(address) {
            return Some(found);
        }
        let mut listed = self.listed.lock().await;
        let now = self.clock.monotonic();
        if listed.is_none_or(|at| now.since(at) >= LIST_AGAIN_AFTER) {
            *listed = Some(now);
            match self.runtime.list(&self.owner).await {
                Ok(listing) => self.directory.listed(&listing),
                Err(error) => debug!(%error, "the addresses of containers could not be listed"),
            }
        }
        drop(listed);
        self.directory.by_address(address)
    }
}
