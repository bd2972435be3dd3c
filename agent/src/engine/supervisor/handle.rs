//! The engine's handle, by which others ask it, and the tasks as it shows them.

use longshore_common::{
    id::TaskId,
    protocol::{ContainerStatus, NetworkBinding, PollAnswer, PollRequest, StorageHealth},
};
use tokio::sync::{mpsc, oneshot};

/// Talks to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) requests: mpsc::Sender<EngineRequest>,
    pub(super) storage: tokio::sync::watch::Receiver<StorageHealth>,
}

/// The engine has stopped, because the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct EngineStopped;

pub(crate) enum EngineRequest {
    Poll(Box<PollRequest>, oneshot::Sender<PollAnswer>),
    Tasks(oneshot::Sender<Vec<TaskView>>),
}

impl EngineHandle {
    /// Answers one long poll: rules it, takes its orders into the ledger, and returns once there
    /// are reports, a newer poll arrived, or the request's `hold_ms` have passed; at once when it
    /// left orders for the next poll.
    pub async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.ask(|reply| EngineRequest::Poll(Box::new(request), reply)).await
    }

    /// Every task that the agent knows, those stopped but not yet cleaned up too.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, EngineStopped> {
        self.ask(EngineRequest::Tasks).await
    }

    /// Whether the disks let new tasks be taken, as the coordinator was told last.
    pub fn storage(&self) -> StorageHealth {
        *self.storage.borrow()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> EngineRequest,
    ) -> Result<T, EngineStopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| EngineStopped)?;
        answer.await.map_err(|_| EngineStopped)
    }
}

/// A task as ECS's introspection shows it (`/v1/tasks`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    pub task: TaskId,
    pub arn: String,
    pub cluster: String,
    pub family: String,
    pub revision: u32,
    /// `RUNNING` or `STOPPED`.
    pub desired_status: &'static str,
    /// `PENDING`, `ACTIVATING`, `RUNNING`, `STOPPING` or `STOPPED`.
    pub known_status: &'static str,
    pub containers: Vec<ContainerView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    pub name: String,
    pub docker_id: Option<String>,
    pub docker_name: String,
    pub status: ContainerStatus,
    pub ports: Vec<NetworkBinding>,
}
