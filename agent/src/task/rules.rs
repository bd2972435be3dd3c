//! The agent's settings that planning depends on.

use std::{path::PathBuf, time::Duration};

use longshore_common::{
    id::{FleetId, HostId},
    task_policy::TaskPolicy,
};

use super::endpoint_names::Names;
use crate::settings::{FileSystems, LimitRules, PortBounds, PullPolicy, RepositoryCredentials};

/// The agent's settings that planning depends on.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) fleet: FleetId,
    pub(crate) host: HostId,
    pub(crate) region: String,
    pub(crate) stop_timeout: Duration,
    pub(crate) pull: PullPolicy,
    /// Containers that wait for others have their images pulled meanwhile.
    pub(crate) pull_upfront: bool,
    /// For containers with GPUs; absent: device requests.
    pub(crate) gpu_runtime: Option<String>,
    /// Absent: the container engine's own.
    pub(crate) dynamic_ports: Option<PortBounds>,
    pub(crate) limits: LimitRules,
    pub(crate) policy: TaskPolicy,
    pub(crate) efs: FileSystems,
    pub(crate) repository_credentials: RepositoryCredentials,
    /// Directory with one for each task that needs files.
    pub(crate) task_files: PathBuf,
    /// Containers are given files about themselves.
    pub(crate) metadata_files: Option<MetadataFiles>,
    /// There is a store to read objects from.
    pub(crate) has_objects: bool,
    /// Absent: containers are told of no endpoints.
    pub(crate) endpoints: Option<Names>,
}

/// What this host says of itself in every such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFiles {
    pub container_instance_arn: String,
    pub availability_zone: Option<String>,
    /// IPv4 address of the host.
    pub host_address: Option<String>,
}

impl Rules {
    /// As ECS's agent takes `stopTimeout`: 0 is the host's, as when none is given.
    pub(crate) fn stop_grace(&self, stop_timeout_s: u32) -> Duration {
        match stop_timeout_s {
            0 => self.stop_timeout,
            seconds => Duration::from_secs(seconds.into()),
        }
    }
}
