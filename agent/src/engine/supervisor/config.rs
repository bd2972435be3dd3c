//! What the engine must be told at its start.

use std::{path::PathBuf, sync::Arc, time::Duration};

use longshore_common::{
    id::{FleetId, HostId},
    machine::MachineMarks,
    task_policy::TaskPolicy,
};

use super::health::{LeaveWatch, ReachWatch};
use crate::{
    engine::topics::Topics,
    host::disk::DiskWatch,
    mounts::MountHelper,
    runtime::OwnerLabel,
    settings::{
        FileSystems, ImageCleanup, LimitRules, Objects, PortBounds, PullPolicy,
        RepositoryCredentials,
    },
    task::{endpoint_names::Names, labels, rules::MetadataFiles, shown::ShowsTasks},
};

/// Default maximum of stopped tasks that keep their containers: a task that fails every few seconds
/// fills no disk in the hours that ECS keeps them.
const STOPPED_TASKS_KEPT: usize = 200;

/// What the engine must be told at its start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub fleet: FleetId,
    pub host: HostId,
    /// Names one boot of the host's kernel.
    pub boot_id: String,
    /// Marks of the machine that this agent runs on.
    pub machine: MachineMarks,
    /// Random, new at each start of the agent.
    pub session: u64,
    /// For `AWS_REGION` in containers.
    pub region: String,
    /// SQLite file; made if absent.
    pub ledger: PathBuf,
    /// How long a stopped container stays for its logs to be read: ECS's
    /// `ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`.
    pub cleanup_wait: Duration,
    /// Maximum of stopped tasks that wait for their clean-up; the oldest go first.
    pub stopped_tasks_kept: usize,
    /// `ECS_CONTAINER_STOP_TIMEOUT`, for containers without a `stopTimeout`.
    pub stop_timeout: Duration,
    pub pull: PullPolicy,
    /// Containers that wait for others have their images pulled meanwhile.
    pub pull_upfront: bool,
    /// The container engine's runtime for containers with GPUs; absent: device requests.
    pub gpu_runtime: Option<String>,
    /// Host ports for tasks that ask for any; absent: the container engine's own.
    pub dynamic_ports: Option<PortBounds>,
    pub limits: LimitRules,
    pub images: ImageCleanup,
    /// What file systems are like; absent: nobody looks.
    pub disk: Option<DiskWatch>,
    /// Whether Docker answers those who ask it from time to time; absent: nobody asks.
    pub reach: Option<ReachWatch>,
    /// Whether the machine is about to be taken away; absent: nobody asks.
    pub leaving: Option<LeaveWatch>,
    /// What no task may have here.
    pub policy: TaskPolicy,
    /// EFS file systems of this host.
    pub efs: FileSystems,
    /// Files with logins for private registries.
    pub repository_credentials: RepositoryCredentials,
    /// Where objects that definitions name are read from.
    pub objects: Option<Objects>,
    /// Who makes the mounts of what tasks have of the host.
    pub mounts: MountHelper,
    /// Directory of the tasks' files; made when first needed.
    pub task_files: PathBuf,
    /// Containers are given files about themselves, which say this of the host.
    pub metadata_files: Option<MetadataFiles>,
    /// Containers that may be in create or start at once; more only adds latency.
    pub launches_at_once: usize,
    pub pulls_at_once: usize,
    /// How often everything is compared with the container engine although no event said so.
    pub resync: Duration,
    /// Where tasks find their host's endpoints; absent: they are not told of any.
    pub endpoints: Option<TaskEndpoints>,
    /// What this host follows of what the coordinator publishes.
    pub topics: Topics,
}

/// What the engine needs of the task endpoints: it names them to containers, and says what there is.
#[derive(Clone, Debug)]
pub struct TaskEndpoints {
    pub(crate) names: Names,
    pub(crate) directory: Arc<dyn ShowsTasks>,
}

impl EngineConfig {
    /// ECS's values for everything that is not an identity.
    pub fn new(fleet: FleetId, host: HostId, ledger: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        EngineConfig {
            fleet,
            host,
            boot_id: String::new(),
            machine: MachineMarks::default(),
            session: 0,
            region: "us-east-1".to_owned(),
            task_files: ledger.with_file_name("tasks"),
            ledger,
            cleanup_wait: Duration::from_secs(3 * 60 * 60),
            stopped_tasks_kept: STOPPED_TASKS_KEPT,
            stop_timeout: Duration::from_secs(30),
            pull: PullPolicy::default(),
            pull_upfront: false,
            gpu_runtime: None,
            dynamic_ports: None,
            limits: LimitRules::default(),
            images: ImageCleanup::default(),
            disk: None,
            reach: None,
            leaving: None,
            policy: TaskPolicy::default(),
            efs: FileSystems::default(),
            repository_credentials: RepositoryCredentials::default(),
            objects: None,
            mounts: MountHelper::default(),
            metadata_files: None,
            launches_at_once: 2 * cores,
            pulls_at_once: 3,
            resync: Duration::from_secs(5 * 60),
            endpoints: None,
            topics: Topics::default(),
        }
    }

    /// What every container of this agent carries and nothing else does.
    pub(crate) fn owner(&self) -> OwnerLabel {
        labels::owner(self.host)
    }
}
