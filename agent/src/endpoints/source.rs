//! Whether a request comes from the container that it names.
//!
//! An id in a path is not enough: it is in the container's environment, where more can read it than
//! should. Nor is an address, which a neighbour on the bridge can take. The kernel decides: on the
//! bridge, whether the connection's other end is in the container's own network; on the host's
//! network, whose socket it is. What cannot be told is refused, with the reason. Never: an answer for
//! a source that is not on this host.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_common::{clock::Clock, task_definition::NetworkMode};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::directory::{DirectoryEntry, EndpointDirectory, InspectedContainer};
use crate::{plain_http::Ends, runtime::ContainerRuntime};

/// Minimum age of what was seen of a container before a request that does not fit it leads to
/// another inspection.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Maximum of connections whose other end is searched for at once: each takes a thread.
const SEARCHES_MAX: usize = 4;

/// Where a container's sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerNetwork {
    Own,
    Host,
}

/// Knows the other ends of connections: the kernel, or a test. Its answers may block.
pub(crate) trait Witness: Send + Sync + 'static {
    /// Whether a process of this container holds the other end. `pid` is its first process, as the
    /// engine shows it.
    fn holds_other_end(
        &self,
        ends: Ends,
        network: ContainerNetwork,
        pid: Option<u32>,
        docker_id: &str,
    ) -> io::Result<bool>;
}

/// Who speaks on one connection, as far as it was found out.
pub(crate) struct Connection {
    ends: Ends,
    /// Docker's ids of containers that it could be of, and whether it is.
    judged: Mutex<Vec<(String, bool)>>,
}

/// Why a request is not answered although its id is one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFrom {
    #[error("the request does not come from the container that it names")]
    Another,
    #[error("it cannot be told which container the request comes from: {0}")]
    Undeterminable(String),
}

/// Finds out where requests come from.
pub(crate) struct Sources<R, W> {
    runtime: Arc<R>,
    witness: Arc<W>,
    directory: Arc<EndpointDirectory>,
    clock: Arc<dyn Clock>,
    searches: Semaphore,
    /// Once is enough for the log.
    warned: AtomicBool,
}

impl Connection {
    pub(crate) fn new(ends: Ends) -> Self {
        Connection { ends, judged: Mutex::default() }
    }

    fn verdict(&self, docker_id: &str) -> Option<bool> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.iter().find(|(known, _)| known == docker_id).map(|(_, verdict)| *verdict)
    }

    fn judge(&self, docker_id: String, verdict: bool) {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).push((docker_id, verdict));
    }
}

impl<R: ContainerRuntime, W: Witness> Sources<R, W> {
    pub(crate) fn new(
        runtime: Arc<R>,
        witness: W,
        directory: Arc<EndpointDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Sources {
            runtime,
            witness: Arc::new(witness),
            directory,
            clock,
            searches: Semaphore::new(SEARCHES_MAX),
            warned: AtomicBool::new(false),
        }
    }

    /// The containers among these from which the connection may come, by its address. Cheap.
    pub(crate) async fn plausible(
        &self,
        connection: &Connection,
        entry: &DirectoryEntry,
        containers: impl Iterator<Item = usize>,
    ) -> Vec<(usize, ContainerNetwork)> {
        let mut plausible = Vec::new();
        for index in containers {
            let network = match self.network(entry, index).await {
                Some(ContainerNetwork::Own)
                    if !self.has_address(connection, entry, index).await =>
                {
                    continue;
                }
                Some(network) => network,
                None => continue,
            };
            plausible.push((index, network));
        }
        plausible
    }

    /// `Ok` when the kernel says that the connection is of one of these containers.
    pub(crate) async fn prove(
        &self,
        connection: &Connection,
        entry: &DirectoryEntry,
        plausible: Vec<(usize, ContainerNetwork)>,
    ) -> Result<(), NotFrom> {
        let mut refusal = NotFrom::Another;
        for (index, network) in plausible {
            match self.is_of(connection, entry, index, network).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(undeterminable) => refusal = undeterminable,
            }
        }
        Err(refusal)
    }

    async fn network(&self, entry: &DirectoryEntry, index: usize) -> Option<ContainerNetwork> {
        let mode = entry.task.intent.as_ref().map(|intent| intent.definition.spec.network_mode());
        match mode {
            Some(NetworkMode::Host) => Some(ContainerNetwork::Host),
            Some(NetworkMode::Bridge) => Some(ContainerNetwork::Own),
            // Nothing but its loopback can be reached from such a container.
            Some(NetworkMode::None | NetworkMode::Awsvpc) => None,
            // Only labels tell of it; what the engine shows has to do.
            None => {
                let seen = self.look(entry, index, false).await?;
                Some(if seen.addresses.is_empty() {
                    ContainerNetwork::Host
                } else {
                    ContainerNetwork::Own
                })
            }
        }
    }

    /// What the engine shows of a container: asked for once, and once more if that is `again`
    /// wanted and a while has passed. However many ask at once, the engine is asked once.
    pub(crate) async fn look(
        &self,
        entry: &DirectoryEntry,
        index: usize,
        again: bool,
    ) -> Option<Arc<InspectedContainer>> {
        let recent = |seen: &Arc<InspectedContainer>| {
            !again || self.clock.monotonic().since(seen.at) < LOOK_AGAIN_AFTER
        };
        if let Some(seen) = entry.seen(index).filter(recent) {
            return Some(seen);
        }
        let docker_id = entry.task.containers[index].docker_id.as_deref()?;
        let _asking = entry.slots[index].asking.lock().await;
        if let Some(seen) = entry.seen(index).filter(recent) {
            return Some(seen);
        }
        match self.runtime.inspect(docker_id).await {
            Ok(details) => {
                let now = self.clock.monotonic();
                Some(self.directory.inspected(entry, index, details, now))
            }
            Err(error) => {
                debug!(container = docker_id, %error, "a container that asks could not be looked at");
                entry.seen(index)
            }
        }
    }

    async fn has_address(
        &self,
        connection: &Connection,
        entry: &DirectoryEntry,
        index: usize,
    ) -> bool {
        let peer = connection.ends.peer.ip().to_canonical();
        for again in [false, true] {
            let seen = self.look(entry, index, again).await;
            if seen.is_some_and(|seen| seen.addresses.contains(&peer)) {
                return true;
            }
        }
        false
    }

    /// The kernel's answer holds for the connection's life.
    async fn is_of(
        &self,
        connection: &Connection,
        entry: &DirectoryEntry,
        index: usize,
        network: ContainerNetwork,
    ) -> Result<bool, NotFrom> {
        let Some(docker_id) = entry.task.containers[index].docker_id.clone() else {
            return Ok(false);
        };
        if let Some(known) = connection.verdict(&docker_id) {
            return Ok(known);
        }
        let seen = self.look(entry, index, false).await;
        let (ends, pid) = (connection.ends, seen.and_then(|seen| seen.pid));
        // Never closed.
        let _permit = self.searches.acquire().await;
        let searched = {
            let (witness, docker_id) = (self.witness.clone(), docker_id.clone());
            let search = move || witness.holds_other_end(ends, network, pid, &docker_id);
            tokio::task::spawn_blocking(search).await
        };
        match searched.unwrap_or_else(|broken| Err(io::Error::other(broken))) {
            Ok(holds) => {
                connection.judge(docker_id, holds);
                Ok(holds)
            }
            Err(error) => {
                self.say(&docker_id, &error);
                Err(NotFrom::Undeterminable(error.to_string()))
            }
        }
    }

    fn say(&self, docker_id: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::PermissionDenied
            || self.warned.swap(true, Ordering::Relaxed)
        {
            debug!(container = docker_id, %error, "a request's container cannot be told");
            return;
        }
        warn!(
            container = docker_id, %error,
            "requests of tasks on the host's network are refused, since it cannot be told which \
             container they come from: the host needs cgroup v2, or the agent CAP_SYS_PTRACE",
        );
    }
}
