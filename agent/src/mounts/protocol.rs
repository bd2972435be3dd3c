//! What the agent and the helper say to each other: one request and one reply for each connection,
//! JSON behind its length.
//!
//! Typed, and small: a request names file systems and access points by their ids and tasks by
//! theirs, so that no path of the helper's own is ever made of somebody's text.

use std::path::PathBuf;

use longshore_common::id::{HostId, TaskId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Maximum length of a message in bytes: a path of Linux has at most 4,096.
pub(super) const MESSAGE_BYTES_MAX: u32 = 64 * 1024;
pub(super) const LENGTH_BYTES: usize = 4;
/// Maximum number of tasks in one reply: each is some 130 bytes.
pub(super) const LISTED_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum HelperRequest {
    /// Makes an access point's directory, if it is not there.
    Directory {
        file_system: String,
        access_point: String,
    },
    Bind(BindRequest),
    /// Unmounts what was bound for a task of which no container is left.
    Release(TaskMounts),
    /// Tasks for which something is bound, in their order.
    List {
        host: HostId,
        /// The task after which the list begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<TaskMounts>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) struct BindRequest {
    pub(crate) task: TaskMounts,
    /// Which of the task's volumes.
    pub(crate) volume: u16,
    pub(crate) source: MountSource,
    /// Device nodes in it are for the containers.
    pub(crate) devices: bool,
    /// Left out where it asks for nothing: a helper of an earlier release does not know it.
    #[serde(default, skip_serializing_if = "BindOptions::are_none")]
    pub(crate) options: BindOptions,
}

/// What a mount is to be without although its source has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, default)]
pub(crate) struct BindOptions {
    pub(crate) nosuid: bool,
    pub(crate) nodev: bool,
    pub(crate) noexec: bool,
    /// What is mounted below.
    pub(crate) alone: bool,
}

impl BindOptions {
    fn are_none(&self) -> bool {
        *self == BindOptions::default()
    }
}

/// Whose mounts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) struct TaskMounts {
    pub(crate) host: HostId,
    pub(crate) task: TaskId,
    pub(crate) generation: u32,
}

impl TaskMounts {
    /// Name of the task's folder in its host's folder.
    pub(crate) fn folder_name(task: TaskId, generation: u32) -> String {
        format!("{task}_{generation}")
    }
}

/// What is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum MountSource {
    /// A path of the host; a directory that is not there is made, as Docker does.
    Host {
        path: PathBuf,
    },
    /// A directory of a file system in the setting `efs`.
    FileSystem {
        id: String,
        root_directory: PathBuf,
        encrypted: bool,
    },
    AccessPoint {
        file_system: String,
        id: String,
        encrypted: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum HelperReply {
    Done,
    /// What the container engine is to mount.
    Bound {
        path: PathBuf,
    },
    Tasks(Vec<TaskMounts>),
    /// A sentence: what failed, on what, and what to do.
    Failed {
        why: String,
    },
}

/// With its length before it.
pub(super) fn framed<T: Serialize>(message: &T) -> Result<Vec<u8>, String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| format!("a message of {} bytes is too long", body.len()))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(body);
    Ok(framed)
}

/// How long the body is that follows.
pub(super) fn body_length(head: [u8; LENGTH_BYTES]) -> Result<usize, String> {
    let length = u32::from_be_bytes(head);
    match length <= MESSAGE_BYTES_MAX {
        true => Ok(length as usize),
        false => Err(format!("a message of {length} bytes is too long")),
    }
}

pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("a message is not understood: {error}"))
}
