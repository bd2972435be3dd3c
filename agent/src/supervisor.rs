//! The agent's engine: the one owner of what is desired and observed of every task on this host.
//!
//! Everything reaches it as a message: polls, the engine's events, the outcomes of its own calls.
//! Never: a stop that nobody ordered, a conclusion from an unknown outcome, a Docker call before
//! the order it serves is in the ledger.

use std::{path::PathBuf, time::Duration};

use longshore_common::{
    id::{FleetId, HostId, TaskId},
    protocol::{ContainerStatus, NetworkBinding, PollAnswer, PollRequest},
};
use tokio::sync::{mpsc, oneshot};

/// What the engine must be told at its start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub fleet: FleetId,
    pub host: HostId,
    /// Names one boot of the host's kernel.
    pub boot_id: String,
    /// Random, new at each start of the agent.
    pub session: u64,
    /// For `AWS_REGION` in containers.
    pub region: String,
    /// SQLite file; made if absent.
    pub ledger: PathBuf,
    /// How long a stopped container stays for its logs to be read: ECS's
    /// `ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`.
    pub cleanup_wait: Duration,
    /// `ECS_CONTAINER_STOP_TIMEOUT`, for containers without a `stopTimeout`.
    pub stop_timeout: Duration,
    pub pull: PullPolicy,
    /// Containers that may be in create or start at once; more only adds latency.
    pub launches_at_once: usize,
    pub pulls_at_once: usize,
    /// How often everything is compared with the container engine although no event said so.
    pub resync: Duration,
}

/// `ECS_IMAGE_PULL_BEHAVIOR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// `default`: pull; use what the host has if that fails.
    PullFirst,
    /// `always`: pull; a failure fails the container.
    Always,
    /// `prefer-cached`: pull only what the host has not.
    #[default]
    PreferCached,
}

impl EngineConfig {
    /// ECS's values for everything that is not an identity.
    pub fn new(fleet: FleetId, host: HostId, ledger: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        EngineConfig {
            fleet,
            host,
            boot_id: String::new(),
            session: 0,
            region: "us-east-1".to_owned(),
            ledger,
            cleanup_wait: Duration::from_secs(3 * 60 * 60),
            stop_timeout: Duration::from_secs(30),
            pull: PullPolicy::default(),
            launches_at_once: 2 * cores,
            pulls_at_once: 3,
            resync: Duration::from_secs(5 * 60),
        }
    }
}

/// Talks to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// The engine has stopped, because the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct EngineStopped;

#[expect(dead_code, reason = "the engine that reads these follows")]
pub(crate) enum Request {
    Poll(Box<PollRequest>, oneshot::Sender<PollAnswer>),
    Tasks(oneshot::Sender<Vec<TaskView>>),
}

impl Handle {
    /// Answers one long poll: fences it, takes its orders into the ledger, and returns once there
    /// are reports, a newer poll arrived, or the request's `hold_ms` have passed.
    pub async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.ask(|reply| Request::Poll(Box::new(request), reply)).await
    }

    /// Every task that the agent knows, those stopped but not yet cleaned up too.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, EngineStopped> {
        self.ask(Request::Tasks).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
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
