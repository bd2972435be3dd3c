//! What a container needs before it is made, beyond what the container engine brings.

use std::path::PathBuf;

use longshore_common::resources::Transport;

use crate::mounts::protocol::BindRequest;

pub(crate) const SEARCHABLE: u32 = 0o755;

/// Mode of a directory into which one container of any user writes. Nobody else gets there: it is below
/// the data directory, which is closed.
pub(crate) const WRITABLE: u32 = 0o777;

/// The needs of one container; empty for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// ARNs of environment files; of two that set a variable, the first wins (ecs-behaviour 1.3).
    pub(crate) environment_files: Vec<String>,
    /// Container ports that are to be published on host ports in a row.
    pub(crate) port_ranges: Vec<PortRange>,
    pub(crate) directories: Vec<NeededDirectory>,
    pub(crate) files: Vec<NeededFile>,
    pub(crate) of_host: Vec<HostMount>,
}

/// What the container mounts of the host, by way of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostMount {
    pub(crate) request: BindRequest,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) transport: Transport,
}

/// One of the agent's own, below its data directory: made with its parents if it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeededDirectory {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
}

/// Written anew for each container that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeededFile {
    pub(crate) path: PathBuf,
    pub(crate) contents: FileContents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileContents {
    Text(String),
    /// The ARN of an object.
    Object(String),
}
