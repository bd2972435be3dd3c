//! What the follower of logs is told, and by whom.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::{
    logs::destination::LogDestination,
    runtime::{ContainerDetails, ContainerRuntime, RunState, RuntimeError},
    task::labels,
};

pub(super) enum Command {
    Follow {
        id: String,
        destination: LogDestination,
        path: PathBuf,
        ended: bool,
        /// How many were told of earlier.
        before: FollowCount,
    },
    /// The container runs no more: what it left open is complete.
    Ended { id: String },
    /// Tells when everything that an ended container wrote is stored, or cannot be read.
    Drain { id: String, done: oneshot::Sender<()> },
    /// The container is removed.
    Forget { id: String },
    /// All containers at some moment, and the number of containers that had been told of before.
    Present { ids: BTreeSet<String>, since: FollowCount },
}

/// Where the words to the follower go.
pub(super) type Commands = mpsc::Sender<Command>;

/// How many logs the follower had been told to follow at a moment. What it was told of since then
/// a listing that began at that moment may not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FollowCount(pub(super) u64);

/// Who is told what to follow.
#[derive(Clone)]
pub(crate) struct Follows {
    commands: Commands,
    told: Arc<AtomicU64>,
}

impl Follows {
    pub(super) fn new(commands: Commands) -> Self {
        Follows { commands, told: Arc::default() }
    }

    pub(super) async fn tell(&self, command: Command) {
        // Nobody listens at the agent's end: what was not read is read after its restart.
        let _ = self.commands.send(command).await;
    }

    pub(super) fn told(&self) -> FollowCount {
        FollowCount(self.told.load(Ordering::SeqCst))
    }

    /// Has a container's log followed as the engine shows it now.
    pub(super) async fn look<R: ContainerRuntime>(&self, engine: &R, id: String) {
        let ContainerDetails { name, labels, state, log_path, .. } = match engine.inspect(&id).await
        {
            Ok(details) => details,
            Err(RuntimeError::NotFound { .. }) => return,
            Err(error) => {
                // The next listing looks again.
                warn!(container = id, %error, "a container's log is not followed yet");
                return;
            }
        };
        // A label may be of the image that somebody has made a container of.
        let destination =
            LogDestination::of(&labels).filter(|_| labels::is_named_by(&labels, &name));
        let (Some(destination), Some(path)) = (destination, log_path) else {
            debug!(container = id, "a container has no log to follow");
            return;
        };
        let (path, ended) = (PathBuf::from(path), state == RunState::Exited);
        // Counted once the container was seen: a listing that begins later shows it.
        let before = FollowCount(self.told.fetch_add(1, Ordering::SeqCst));
        self.tell(Command::Follow { id, destination, path, ended, before }).await;
    }
}
