//! What the engine in memory holds, and what is scripted of it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use longshore_common::{clock::Timestamp, protocol::NetworkBinding, task::HealthStatus};
use tokio::sync::{Notify, oneshot};

use crate::runtime::{
    ContainerConfig, ContainerSummary, Image, Network, ProcessEnd, PublishedPort, RunState,
    RuntimeError, RuntimeEvent,
};

pub(super) const FIRST_DYNAMIC_PORT: u16 = 49_153;

/// 128 and the number of SIGTERM.
const TERMINATED: i32 = 143;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Version,
    Image,
    Images,
    ImagesInUse,
    RemoveImage,
    Pull,
    Load,
    Create,
    Start,
    Stop,
    Kill,
    Remove,
    RemoveVolume,
    RemoveGroup,
    LastLines,
    Inspect,
    List,
    Events,
}

/// What happens to a call instead of, or on top of, what it does.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not done, and this is the answer.
    Fails(RuntimeError),
    /// Done, but the reply is lost.
    ReplyLost,
    /// Done, but the reply comes when that is told of.
    ReplyHeld(Arc<Notify>),
    /// Not done, and no answer for this long; then a timeout.
    Hangs(Duration),
}

/// What an image's containers do when started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Absent: until stopped.
    pub runs_for: Option<Duration>,
    pub exit_code: i32,
    /// After the stop signal; longer than the grace means killed.
    pub stops_after: Duration,
    /// What it wrote.
    pub last_lines: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            runs_for: None,
            exit_code: TERMINATED,
            stops_after: Duration::ZERO,
            last_lines: Vec::new(),
        }
    }
}

/// One call, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeCall {
    pub verb: Verb,
    /// An id, a name or an image.
    pub target: String,
}

/// A container as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeContainer {
    pub id: String,
    pub name: String,
    pub config: ContainerConfig,
    pub state: RunState,
    /// How often it was started.
    pub starts: u32,
    pub exit_code: Option<i32>,
    pub(super) oom_killed: bool,
    pub(super) health: Option<HealthStatus>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub(super) bindings: Vec<NetworkBinding>,
    pub(super) created_at: Timestamp,
    pub(super) image_id: Option<String>,
    /// While it runs on the bridge.
    pub address: Option<IpAddr>,
}

#[derive(Clone)]
pub(super) struct FakeEvent {
    pub(super) event: RuntimeEvent,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Default)]
pub(super) struct FakeEngine {
    pub(super) images: BTreeMap<String, Image>,
    /// Pulled once, and without a name since.
    pub(super) unnamed: Vec<Image>,
    pub(super) registry: BTreeMap<String, Image>,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    pub(super) containers: BTreeMap<String, FakeContainer>,
    pub(super) made: u64,
    pub(super) started: u16,
    pub(super) next_port: u16,
    pub(super) faults: BTreeMap<Verb, VecDeque<Fault>>,
    pub(super) latencies: BTreeMap<Verb, Duration>,
    pub(super) calls: Vec<FakeCall>,
    pub(super) said: VecDeque<FakeEvent>,
    /// Every image has a digest.
    pub(super) containerd_images: bool,
    /// Where the log of each container is, if anywhere.
    pub(super) logs: Option<PathBuf>,
    /// Who waits for the end of a container's process.
    pub(super) processes: BTreeMap<String, Vec<oneshot::Sender<ProcessEnd>>>,
}

impl FakeEngine {
    pub(super) fn listed(&self, wanted: impl Fn(&FakeContainer) -> bool) -> Vec<ContainerSummary> {
        let summary = |c: &FakeContainer| ContainerSummary {
            id: c.id.clone(),
            name: c.name.clone(),
            labels: c.config.labels.clone(),
            state: c.state,
            addresses: c.address.into_iter().collect(),
        };
        self.containers.values().filter(|c| wanted(c)).map(summary).collect()
    }

    pub(super) fn find(&self, name: &str) -> Option<String> {
        let is = |c: &&FakeContainer| {
            let label = c.config.labels.get("com.amazonaws.ecs.container-name");
            c.id == name || c.name == name || label.is_some_and(|label| label == name)
        };
        self.containers.values().find(is).map(|container| container.id.clone())
    }

    pub(super) fn container(
        &mut self,
        id_or_name: &str,
    ) -> Result<&mut FakeContainer, RuntimeError> {
        let missing =
            || RuntimeError::NotFound { message: format!("No such container: {id_or_name}") };
        self.containers
            .values_mut()
            .find(|c| c.id == id_or_name || c.name == id_or_name)
            .ok_or_else(missing)
    }

    pub(super) fn behaviour(&self, image: &str) -> Behaviour {
        self.behaviours.get(image).cloned().unwrap_or_default()
    }

    pub(super) fn bindings(&mut self, config: &ContainerConfig) -> Vec<NetworkBinding> {
        if config.network != Network::Bridge {
            return Vec::new();
        }
        let mut bind = |port: &PublishedPort| {
            let host_port = port.host_port.unwrap_or_else(|| {
                let free = self.next_port;
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
                free
            });
            NetworkBinding {
                bind_ip: "0.0.0.0".to_owned(),
                container_port: port.container_port,
                host_port,
                protocol: port.transport,
            }
        };
        config.ports.iter().map(&mut bind).collect()
    }
}
