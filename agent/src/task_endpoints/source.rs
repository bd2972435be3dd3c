//! Whether a request comes from the container that it names.
//!
//! An id in a path is not enough: it is in the container's environment, where more can read it than
//! should. On the bridge the peer's address is the container's own; on the host's network the kernel
//! tells whose socket it is. What cannot be told is refused, with the reason. Never: an answer for a
//! source that is not on this host.

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

use super::{
    control_group::ControlGroup,
    directory::{Directory, Entry, Seen},
    host_socket,
};
use crate::{plain_http::Ends, runtime::ContainerRuntime};

/// What was seen of a container is believed so long when a request does not fit it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Sockets whose owner is searched for at once: each takes a thread.
const SEARCHES_MAX: usize = 4;

/// Who speaks on one connection, as far as it was found out.
pub(crate) struct Connection {
    ends: Ends,
    /// Docker's ids of containers on the host's network that were asked about.
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
pub(crate) struct Sources<R> {
    runtime: Arc<R>,
    directory: Arc<Directory>,
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

impl<R: ContainerRuntime> Sources<R> {
    pub(crate) fn new(runtime: Arc<R>, directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Self {
        Sources {
            runtime,
            directory,
            clock,
            searches: Semaphore::new(SEARCHES_MAX),
            warned: AtomicBool::new(false),
        }
    }

    /// `Ok` when the connection is one of this container's.
    pub(crate) async fn is_container(
        &self,
        connection: &Connection,
        entry: &Entry,
        index: usize,
    ) -> Result<(), NotFrom> {
        let mode = entry.task.intent.as_ref().map(|intent| intent.definition.spec.network_mode());
        let is = match mode {
            Some(NetworkMode::Host) => self.owns_socket(connection, entry, index).await?,
            Some(NetworkMode::Bridge) => self.has_address(connection, entry, index).await,
            // Nothing but its loopback can be reached from such a container.
            Some(NetworkMode::None | NetworkMode::Awsvpc) => false,
            // Only labels tell of it; what the engine shows has to do.
            None => match self.look(entry, index, false).await {
                Some(seen) if seen.addresses.is_empty() => {
                    self.owns_socket(connection, entry, index).await?
                }
                Some(_) | None => self.has_address(connection, entry, index).await,
            },
        };
        if is { Ok(()) } else { Err(NotFrom::Another) }
    }

    /// `Ok` when the connection is one of any container of this task.
    pub(crate) async fn is_task(
        &self,
        connection: &Connection,
        entry: &Entry,
        first: usize,
    ) -> Result<(), NotFrom> {
        let mut refusal = match self.is_container(connection, entry, first).await {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        for index in (0..entry.slots.len()).filter(|index| *index != first) {
            match self.is_container(connection, entry, index).await {
                Ok(()) => return Ok(()),
                Err(NotFrom::Another) => {}
                Err(undeterminable) => refusal = undeterminable,
            }
        }
        Err(refusal)
    }

    /// What the engine shows of a container: asked for once, and once more if that is `again`
    /// wanted and a while has passed. However many ask at once, the engine is asked once.
    pub(crate) async fn look(&self, entry: &Entry, index: usize, again: bool) -> Option<Arc<Seen>> {
        let recent =
            |seen: &Arc<Seen>| !again || self.clock.monotonic().since(seen.at) < LOOK_AGAIN_AFTER;
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

    async fn has_address(&self, connection: &Connection, entry: &Entry, index: usize) -> bool {
        let peer = connection.ends.peer.ip().to_canonical();
        for again in [false, true] {
            let seen = self.look(entry, index, again).await;
            if seen.is_some_and(|seen| seen.addresses.contains(&peer)) {
                return true;
            }
        }
        false
    }

    /// For containers on the host's network. The kernel's answer holds for the connection's life.
    async fn owns_socket(
        &self,
        connection: &Connection,
        entry: &Entry,
        index: usize,
    ) -> Result<bool, NotFrom> {
        let undeterminable = |reason: String| NotFrom::Undeterminable(reason);
        let Some(docker_id) = entry.task.containers[index].docker_id.clone() else {
            return Ok(false);
        };
        if let Some(known) = connection.verdict(&docker_id) {
            return Ok(known);
        }
        let mut pid = None;
        for again in [false, true] {
            pid = self.look(entry, index, again).await.and_then(|seen| seen.pid);
            if pid.is_some() {
                break;
            }
        }
        let Some(pid) = pid else {
            return Err(undeterminable("the container shows no process".to_owned()));
        };
        let ends = connection.ends;
        let _permit = self.searches.acquire().await;
        let searched = {
            let docker_id = docker_id.clone();
            tokio::task::spawn_blocking(move || owns(ends, pid, &docker_id)).await
        };
        let owned = match searched {
            Ok(owned) => owned,
            Err(broken) => Err(io::Error::other(broken)),
        };
        match owned {
            Ok(owned) => {
                connection.judge(docker_id, owned);
                Ok(owned)
            }
            Err(error) => {
                if self.warned.swap(true, Ordering::Relaxed) {
                    debug!(container = docker_id, %error, "a request's container cannot be told");
                } else {
                    warn!(
                        container = docker_id, %error,
                        "requests of tasks on the host's network are refused, since it cannot be \
                         told which container they come from: the host needs cgroup v2, or the \
                         agent CAP_SYS_PTRACE",
                    );
                }
                Err(undeterminable(error.to_string()))
            }
        }
    }
}

fn owns(ends: Ends, pid: u32, docker_id: &str) -> io::Result<bool> {
    match host_socket::find(ends.peer, ends.local)? {
        Some(socket) => ControlGroup::of(pid, docker_id)?.holds(&socket),
        None => Ok(false),
    }
}
