//! What an operator may set, parsed.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use longshore_common::{
    id::HostId,
    join_token::JoinToken,
    protocol::Attribute,
    resources::{CpuUnits, HostPort, MemoryMib},
    task_policy::TaskPolicy,
    telemetry::LogFormat,
};

use super::{
    DiskRules, FileSystems, ImageCleanup, LimitRules, Objects, PortBounds, PullPolicy, Registries,
    RepositoryCredentials, RequestRate, Timeouts,
};

/// What an operator may set, parsed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host and port of the joining port.
    pub coordinator: String,
    pub join_token: Option<TokenSource>,
    /// A container instance that the API made, to be this host.
    pub container_instance: Option<HostId>,
    pub cluster: String,
    pub data_dir: PathBuf,
    pub advertise: Option<String>,
    pub poll_listen: SocketAddr,
    pub introspection_listen: SocketAddr,
    /// Absent: tasks are told of no endpoints.
    pub task_endpoints_listen: Option<SocketAddr>,
    pub task_endpoints_rate: RequestRate,
    /// Whether tasks on the bridge may reach EC2's instance metadata.
    pub allow_instance_metadata: bool,
    /// Docker's unix socket.
    pub docker: PathBuf,
    pub cpu: Option<CpuUnits>,
    pub memory: Option<MemoryMib>,
    pub reserved_memory: MemoryMib,
    pub gpus: Gpus,
    /// Docker's runtime for containers with GPUs; absent: device requests.
    pub gpu_runtime: Option<String>,
    /// Containers are given files about themselves.
    pub container_metadata: bool,
    /// Besides ECS's defaults and the agent's own.
    pub reserved_ports: Vec<HostPort>,
    /// For tasks that ask for any; absent: the kernel's.
    pub dynamic_host_ports: Option<PortBounds>,
    pub task_limits: LimitRules,
    pub attributes: Vec<Attribute>,
    pub tags: Vec<(String, String)>,
    pub instance_type: Option<String>,
    pub availability_zone: Option<String>,
    pub instance_id: Option<String>,
    pub ec2_metadata: Ec2Metadata,
    /// The host is drained when EC2 is about to take it away.
    pub drain_on_spot_interruption: bool,
    /// Base URL of the metadata service.
    pub ec2_metadata_endpoint: String,
    /// Absent: whatever Docker has.
    pub logging_drivers: Option<Vec<String>>,
    pub privileged: bool,
    /// What no task may have on this host, besides what `privileged` says.
    pub task_policy: TaskPolicy,
    /// Engines' sockets besides the ones that are known by name.
    pub engine_sockets: Vec<PathBuf>,
    /// Where the helper that makes mounts listens; absent: the agent itself where it may, else the
    /// usual place.
    pub volumes_socket: Option<PathBuf>,
    /// Where objects that definitions name are read from.
    pub objects: Option<Objects>,
    pub efs: FileSystems,
    pub repository_credentials: RepositoryCredentials,
    pub registries: Registries,
    pub image_pull: PullPolicy,
    /// True when the image of a container that waits for others is pulled at once.
    pub pull_dependent_upfront: bool,
    pub image_cleanup: ImageCleanup,
    /// Timeouts of calls to Docker.
    pub timeouts: Timeouts,
    pub container_stop_timeout: Duration,
    pub task_cleanup_wait: Duration,
    pub stopped_tasks_kept: usize,
    pub disk: DiskRules,
    /// How long and how much of the lines of the `awslogs` driver is kept.
    pub log_store_age: Duration,
    pub log_store_size: MemoryMib,
    /// A `tracing` filter.
    pub log: String,
    pub log_format: LogFormat,
    /// What was asked for and has no effect; for the log, once it is started.
    pub warnings: Vec<String>,
}

/// Where the secret for the first start comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    Given(JoinToken),
    File(PathBuf),
}

/// Which GPUs are offered to tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    None,
    /// All that NVIDIA's driver shows.
    Auto,
    /// By id, in the order in which they are given away.
    Named(Vec<String>),
}

/// Whether to ask EC2's instance metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ec2Metadata {
    /// When the firmware says that this is an EC2 machine.
    Auto,
    On,
    Off,
}
