//! The container engine as the agent sees it: about ten verbs, their answers, their errors.
//!
//! Owns the words in which the rest of the agent talks of containers. Never: a type of a client
//! library (those stay in [`docker`]), or a decision. An error says how much is known: everything
//! in [`Unknown`] means that the call may or may not have happened, and nothing may be concluded
//! from it about a container.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use longshore_common::{
    clock::Timestamp,
    limits::REASON_CHARS_KEPT,
    protocol::NetworkBinding,
    resources::Transport,
    task::HealthStatus,
    task_definition::{HostEntry, Ulimit},
};

use crate::settings::PortBounds;

pub(crate) mod local_log;
pub mod docker;
pub mod fake;

/// Docker itself, or the in-memory engine of tests and simulations.
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Which engine answers, and what it has. Also where the version of its API is agreed on anew.
    fn version(&self) -> impl Future<Output = Result<RuntimeVersion, RuntimeError>> + Send;

    /// What the host has under this reference, [`RuntimeError::NotFound`] if nothing.
    fn image(&self, reference: &str) -> impl Future<Output = Result<Image, RuntimeError>> + Send;

    /// Fetches an image; `progress` is called with each message of the engine.
    fn pull(
        &self,
        source: &ImageSource,
        progress: impl FnMut(PullProgress) + Send,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Every image on the host that is more than a part of another one.
    fn images(&self) -> impl Future<Output = Result<Vec<ImageSummary>, RuntimeError>> + Send;

    /// Ids of the images of all containers on the host, whoever made them and whatever their state.
    fn images_in_use(&self) -> impl Future<Output = Result<BTreeSet<String>, RuntimeError>> + Send;

    /// Takes a tag from an image, or removes one by its id; the last of its tags takes the image
    /// along. [`RuntimeError::Conflict`] when a container needs it.
    fn remove_image(&self, name: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Takes an image from an archive in the form of `docker save`, which names it `reference`.
    fn load(
        &self,
        reference: &str,
        archive: Bytes,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Makes a container and answers its id. [`RuntimeError::ImageNotFound`] when the image is not
    /// on the host, [`RuntimeError::Conflict`] when the name is taken.
    fn create(
        &self,
        name: &str,
        config: &ContainerConfig,
    ) -> impl Future<Output = Result<String, RuntimeError>> + Send;

    /// `Ok` too when it already runs. `group` is the one that it was made in, if any: it is there,
    /// with its limits, before a process is in it.
    fn start(
        &self,
        container: &str,
        group: Option<&TaskGroup>,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// The image's stop signal, then after `grace` the kill signal. `Ok` too when it had stopped.
    fn stop(
        &self,
        container: &str,
        grace: Duration,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    fn kill(&self, container: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a stopped container and its anonymous volumes.
    fn remove(&self, container: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a volume that no container uses. `Ok` too when there is none.
    fn remove_volume(&self, volume: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a task's control group, by [`TaskGroup::name`]. `Ok` too when there is none.
    fn remove_group(&self, group: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// By id or by name.
    fn inspect(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<ContainerDetails, RuntimeError>> + Send;

    /// Resolves once the process of a running container has ended, as soon as this host's kernel
    /// knows. That is earlier than the engine's event, and says less: with which code it ended is the
    /// engine's to tell. An error, or no answer at all, where the host cannot tell; `pid` as an inspect
    /// showed it, if one did.
    fn process_ends(
        &self,
        container: &str,
        pid: Option<u32>,
    ) -> impl Future<Output = Result<ProcessEnd, RuntimeError>> + Send;

    /// The last lines that a container wrote, oldest first, whatever its log driver keeps of them.
    fn last_lines(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<Vec<String>, RuntimeError>> + Send;

    /// Every container, running or not, that carries `owner`.
    fn list(
        &self,
        owner: &OwnerLabel,
    ) -> impl Future<Output = Result<Vec<ContainerSummary>, RuntimeError>> + Send;

    /// Every container, running or not, that carries a label of this name, whatever its value.
    fn list_labelled(
        &self,
        label: &str,
    ) -> impl Future<Output = Result<Vec<ContainerSummary>, RuntimeError>> + Send;

    /// What happens to containers that carry `owner` and to images, from `since` on. The stream
    /// ends, or yields an error and ends, when the engine goes away.
    fn events(
        &self,
        owner: &OwnerLabel,
        since: Timestamp,
    ) -> impl Future<Output = Result<EventStream, RuntimeError>> + Send;
}

pub type EventStream = BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;

/// The label that tells this agent's containers from everything else on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerLabel {
    pub name: String,
    pub value: String,
}

impl OwnerLabel {
    pub fn is_on(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.name) == Some(&self.value)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// For example `20.10.24`.
    pub version: String,
    /// For example `1.41`.
    pub api_version: String,
    /// Names of its log drivers (`Plugins.Log` of Docker's `/info`): they become attributes.
    pub log_drivers: Vec<String>,
    /// Names of its volume drivers (`Plugins.Volume`), as far as the engine tells them.
    pub volume_drivers: Vec<String>,
    /// `apparmor`, `selinux` and others (`SecurityOptions`), as far as the engine tells them.
    pub security_options: Vec<String>,
    /// Where it keeps images and containers (`DockerRootDir`), if it tells.
    pub data_root: Option<PathBuf>,
    /// The engine keeps images in containerd's store, which gives each image a digest, whether or not a
    /// registry has it.
    pub containerd_images: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    /// `sha256:…` of the manifest. An engine may give one also to what no registry has.
    pub digest: Option<String>,
}

/// An image as a listing shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSummary {
    pub id: String,
    /// `web:1`; none when all of them mean other images now.
    pub tags: Vec<String>,
    /// `web@sha256:…`; see [`Image::digest`].
    pub digests: Vec<String>,
    pub bytes: u64,
}

/// What is pulled, and what with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageSource {
    pub reference: Arc<str>,
    /// A file with the login that its definition names. Absent: what the host has for the registry.
    pub login: Option<Arc<Path>>,
}

/// What Docker's configuration calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl ImageSource {
    /// The registry, as Docker's configuration names it.
    pub(crate) fn registry(&self) -> &str {
        match self.reference.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
                if host == "docker.io" || host == "index.docker.io" { DOCKER_HUB } else { host }
            }
            _ => DOCKER_HUB,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer, when the line is about one.
    pub layer: Option<String>,
    pub status: String,
    pub current_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
}

/// Everything that a container may be given: what is not here cannot be asked of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerConfig {
    pub image: String,
    /// Empty: the image's own.
    pub entry_point: Vec<String>,
    /// Empty: the image's own.
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Variables that are set unless [`Self::environment`] sets them, which environment files add to.
    pub environment_defaults: Vec<(String, String)>,
    pub labels: BTreeMap<String, String>,
    pub user: Option<String>,
    pub working_directory: Option<String>,
    pub hostname: Option<String>,
    pub cpu_shares: u32,
    pub cpu_quota: Option<CpuQuota>,
    /// With their threads.
    pub processes: Option<u32>,
    pub memory_bytes: Option<u64>,
    /// [`TaskGroup::name`] of the control group that its own lies in.
    pub group: Option<String>,
    pub memory_reservation_bytes: Option<u64>,
    /// Ids of NVIDIA's GPUs that it sees.
    pub gpus: Vec<String>,
    /// Which of the engine's runtimes gives it these; absent: the engine does, by device requests.
    pub gpu_runtime: Option<String>,
    pub network: Network,
    pub ports: Vec<PublishedPort>,
    /// Where a port's host port is picked that names none; absent: as the engine does.
    pub dynamic_ports: Option<PortBounds>,
    /// `container:alias`, by the engine's names.
    pub links: Vec<String>,
    pub dns_servers: Vec<String>,
    pub dns_search_domains: Vec<String>,
    pub extra_hosts: Vec<HostEntry>,
    pub network_disabled: bool,
    pub binds: Vec<Bind>,
    pub volumes: Vec<VolumeMount>,
    /// `container` or `container:ro`, by the engine's names.
    pub volumes_from: Vec<String>,
    /// The container's standard input stays open.
    pub interactive: bool,
    /// The container has a pseudo-terminal.
    pub terminal: bool,
    pub linux: LinuxConfig,
    /// Absent: the engine's default.
    pub log: Option<LogTarget>,
    pub health: Option<HealthProbe>,
    pub privileged: bool,
    pub readonly_root: bool,
}

/// A control group around the containers of one task: what they may use together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskGroup {
    /// Unique on the host; without a dash, which systemd takes for a parent.
    pub name: String,
    pub cpu_shares: u32,
    pub cpu_quota: Option<CpuQuota>,
    pub memory_bytes: Option<u64>,
    /// With their threads.
    pub processes: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Bridge,
    Host,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    pub container_port: u16,
    pub transport: Transport,
    /// Absent: the engine picks a free one.
    pub host_port: Option<u16>,
}

/// CPU time in each period, both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuQuota {
    pub us: u64,
    pub period_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub source: String,
    pub target: String,
    pub read_only: bool,
    pub from: BindSource,
}

/// Who has made what is bound. Nothing else of the host reaches a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindSource {
    /// Files of this agent for one container, labelled for it where SELinux asks.
    Agent,
    /// A mount by the helper; it must be there.
    Helper,
}

/// A volume that the engine keeps, made when the first container that mounts it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    pub name: String,
    pub target: String,
    pub read_only: bool,
    /// Absent: `local`.
    pub driver: Option<String>,
    pub driver_options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// The volume is not made for this container: without the volume there is no container.
    pub must_exist: bool,
}

/// What the kernel gives and takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxConfig {
    pub capabilities_added: Vec<String>,
    pub capabilities_dropped: Vec<String>,
    pub devices: Vec<DeviceMapping>,
    /// A small init reaps orphans and passes signals on.
    pub init: bool,
    pub shared_memory_bytes: Option<u64>,
    /// Mount options by path.
    pub tmpfs: BTreeMap<String, String>,
    pub memory_and_swap_bytes: Option<u64>,
    /// 0 to 100.
    pub swappiness: Option<u32>,
    pub ulimits: Vec<Ulimit>,
    /// sysctl(8).
    pub kernel_settings: BTreeMap<String, String>,
    pub security_options: Vec<String>,
    pub processes: PidNamespace,
    pub ipc: IpcNamespace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceMapping {
    pub host_path: String,
    pub container_path: String,
    /// Letters of `r`, `w` and `m`.
    pub permissions: String,
}

/// Which processes it sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PidNamespace {
    #[default]
    EngineDefault,
    Host,
    /// The namespace of this container, by the engine's name.
    Container(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IpcNamespace {
    #[default]
    EngineDefault,
    Host,
    /// The container's own namespace, without /dev/shm.
    None,
    /// The container's own namespace, which others may join.
    Shareable,
    /// The namespace of this container, by the engine's name.
    Container(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthProbe {
    /// Begins with `CMD` or `CMD-SHELL`.
    pub test: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: u32,
    pub start_period: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunState {
    /// Made, never started; or a start that failed before the process ran.
    #[default]
    Created,
    /// Also paused, and restarting by the engine.
    Running,
    /// The container's process ended.
    Exited,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerDetails {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub state: RunState,
    /// Id of the first process, in the engine's process namespace, while the container runs.
    pub pid: Option<u32>,
    /// Given when it exited.
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    /// What the engine says of a failed start.
    pub error: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Absent when the container has no health check at all.
    pub health: Option<HealthStatus>,
    pub bindings: Vec<NetworkBinding>,
    /// The file that its log is written to, when the engine has one.
    pub log_path: Option<String>,
    pub created_at: Option<Timestamp>,
    pub image_id: Option<String>,
    /// On the engine's networks, while it runs. None with the host's network.
    pub addresses: Vec<IpAddr>,
    pub mounts: Vec<MountPoint>,
}

/// What the kernel tells of the end of a container's first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessEnd {
    /// The kernel killed a process of the container for its memory, perhaps this one.
    pub memory_kill: bool,
}

/// What a container has mounted, as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The volume's name; empty for a path of the host.
    pub volume: String,
    pub source: String,
    pub target: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub state: RunState,
    /// See [`ContainerDetails::addresses`].
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    pub at: Timestamp,
    pub subject: EventSubject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventSubject {
    Container {
        id: String,
        change: ContainerChange,
    },
    /// Some reference or image id now means something else, or nothing.
    Image,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerChange {
    Started,
    OutOfMemory,
    Exited {
        exit_code: Option<i32>,
    },
    Health(HealthStatus),
    /// The container was taken from a network, or stopped.
    LeftNetwork,
    JoinedNetwork,
    /// Somebody did this to it, by the engine's word: it runs on, or is as it was.
    ByOthers(ByOthers),
    Removed,
}

/// What leaves a container as it is for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByOthers {
    Paused,
    Unpaused,
    Renamed,
    Updated,
    Committed,
}

/// What a call came to when it was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// 404: no such container, or no such image when an image was asked for.
    #[error("{message}")]
    NotFound { message: String },
    /// 404 of a create whose image is not on the host.
    #[error("{message}")]
    ImageNotFound { message: String },
    /// 409: the name is taken, or the container is in another state than the verb needs.
    #[error("{message}")]
    Conflict { message: String },
    /// The engine will not do this, now or later.
    #[error("{message}")]
    Rejected { message: String },
    /// Not asked of the engine: what it needs before could not be had.
    #[error("{message}")]
    NotPrepared { message: String },
    /// A login for the registry could not be had.
    #[error("{message}")]
    NoLogin { message: String },
    /// The registry does not answer, and the host has the image: the engine was not asked to try on.
    #[error("{message}")]
    NotAsked { message: String },
    /// The call may have been done or not. Unknown is not dead.
    #[error(transparent)]
    Unknown(#[from] Unknown),
}

/// Why nothing is known of a call's outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unknown {
    #[error("timed out after waiting {}", go_duration(*after))]
    Timeout { after: Duration },
    /// The engine is not there, or the connection broke.
    #[error("the container engine did not answer: {message}")]
    Transport { message: String },
    /// The engine answers, and the registry that it asked does not.
    #[error("{message}")]
    Registry { message: String },
    /// 5xx, or an error in the middle of an answer.
    #[error("{message}")]
    Engine { message: String },
    #[error("the container engine's answer was not understood: {message}")]
    Unreadable { message: String },
}

impl RuntimeError {
    pub fn transport(message: impl ToString) -> Self {
        Unknown::Transport { message: message.to_string() }.into()
    }
}

/// What a failed call was to bring about: the second half of ECS's error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Pull,
    Create,
    Start,
    Stop,
    Inspect,
}

/// `<ErrorName>: <message>` as ECS puts it into a container's `reason` (ecs-behaviour 1.6).
pub fn ecs_reason(aim: Aim, error: &RuntimeError) -> String {
    let (name, became) = match aim {
        Aim::Pull => ("CannotPullContainerError", "pulled"),
        Aim::Create => ("CannotCreateContainerError", "created"),
        Aim::Start => ("CannotStartContainerError", "started"),
        Aim::Stop => ("CannotStopContainerError", "stopped"),
        Aim::Inspect => ("CannotInspectContainerError", "inspected"),
    };
    let text = match error {
        RuntimeError::Unknown(Unknown::Timeout { after }) => format!(
            "DockerTimeoutError: Could not transition to {became}; timed out after waiting {}",
            go_duration(*after)
        ),
        RuntimeError::NotPrepared { message } => {
            format!("ResourceInitializationError: {message}")
        }
        RuntimeError::NoLogin { message } => format!("CannotPullContainerAuthError: {message}"),
        RuntimeError::Unknown(
            Unknown::Transport { .. }
            | Unknown::Registry { .. }
            | Unknown::Engine { .. }
            | Unknown::Unreadable { .. },
        )
        | RuntimeError::NotAsked { .. }
        | RuntimeError::NotFound { .. }
        | RuntimeError::ImageNotFound { .. }
        | RuntimeError::Conflict { .. }
        | RuntimeError::Rejected { .. } => format!("{name}: {error}"),
    };
    shorten(&text)
}

/// Cuts a reason to the length that is kept of it.
pub fn shorten(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_KEPT).collect()
}

/// A duration as the ECS agent prints it: `4m0s`, `30s`, `500ms`.
fn go_duration(duration: Duration) -> String {
    let (seconds, ms) = (duration.as_secs(), duration.subsec_millis());
    let fraction = |ms: u32| format!("{:03}", ms).trim_end_matches('0').to_owned();
    let seconds_text = |s: u64| match ms {
        0 => format!("{s}s"),
        ms => format!("{s}.{}s", fraction(ms)),
    };
    match seconds {
        0 if ms > 0 => format!("{ms}ms"),
        s @ 0..60 => seconds_text(s),
        s @ 60..3600 => format!("{}m{}", s / 60, seconds_text(s % 60)),
        s => format!("{}h{}m{}", s / 3600, s / 60 % 60, seconds_text(s % 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_the_ecs_agent_prints_them() {
        let shown = |ms| go_duration(Duration::from_millis(ms));
        assert_eq!(shown(240_000), "4m0s");
        assert_eq!(shown(30_000), "30s");
        assert_eq!(shown(7_261_500), "2h1m1.5s");
        assert_eq!(shown(50), "50ms");
    }

    #[test]
    fn errors_carry_the_names_that_ecs_gives_them() {
        let timeout = Unknown::Timeout { after: Duration::from_secs(180) }.into();
        assert_eq!(
            ecs_reason(Aim::Start, &timeout),
            "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
        );
        let missing = RuntimeError::NotFound { message: "manifest unknown".into() };
        assert_eq!(ecs_reason(Aim::Pull, &missing), "CannotPullContainerError: manifest unknown");
    }

    #[test]
    fn a_reason_is_at_most_as_long_as_is_kept_of_it() {
        let error = RuntimeError::Rejected { message: "é".repeat(5000) };
        assert_eq!(ecs_reason(Aim::Create, &error).chars().count(), REASON_CHARS_KEPT);
    }
}
