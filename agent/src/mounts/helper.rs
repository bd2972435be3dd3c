//! The helper: its folder, and what it compares requests with.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use longshore_common::task_policy::TaskPolicy;

use super::{files, request_slots::RequestSlots};
use crate::settings::{FileSystems, Settings};

/// Maximum number of mounts that tasks of this host hold together, with what is mounted below their
/// sources: a tenth of the kernel's own limit for a mount namespace (sysctl fs.mount-max).
pub(super) const MOUNTS_MAX: usize = 10_000;

const MOUNTS: &str = "mounts";

/// The agent's settings that bound what the helper mounts; the helper reads them for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountRules {
    pub(crate) policy: TaskPolicy,
    pub(crate) file_systems: FileSystems,
    /// Engines' sockets besides the ones that are known by name.
    pub(crate) engine_sockets: Vec<PathBuf>,
    /// Folders that no task needs: the helper's own, and the agent's.
    pub(crate) own_folders: Vec<PathBuf>,
}

/// Makes mounts below a folder of its own.
#[derive(Debug)]
pub(crate) struct Helper {
    pub(super) rules: MountRules,
    /// Holds the mounts.
    pub(super) folder: PathBuf,
    /// Held while places are made or taken down. No call under it waits for a file system that is
    /// not the helper's own.
    pub(super) places: Mutex<()>,
    pub(super) turns: RequestSlots,
    pub(super) mounts_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    #[error(
        "the helper's folder {} cannot be used: run it as root, by longshore-agent-volumes.service",
        .0.display()
    )]
    Folder(PathBuf, #[source] io::Error),
    #[error("the helper cannot listen at {}: is another one running?", .0.display())]
    Listen(PathBuf, #[source] io::Error),
    #[error("connections to the helper cannot be taken")]
    Accept(#[source] io::Error),
}

impl Helper {
    /// `folder` is made for root alone if it is not there.
    pub(crate) fn new(folder: &Path, mut rules: MountRules) -> Result<Self, HelperError> {
        let unusable = |error| HelperError::Folder(folder.to_owned(), error);
        let mounts = folder.join(MOUNTS);
        files::make_private(folder)
            .and_then(|()| files::make_private(&mounts))
            .map_err(unusable)?;
        // As the kernel's table of mounts shows it.
        let mounts = fs_err::canonicalize(mounts).map_err(unusable)?;
        rules.own_folders.push(folder.to_owned());
        Ok(Helper {
            rules,
            folder: mounts,
            places: Mutex::default(),
            turns: RequestSlots::default(),
            mounts_max: MOUNTS_MAX,
        })
    }
}

impl MountRules {
    pub(crate) fn of(settings: &Settings) -> Self {
        let mut engine_sockets = settings.engine_sockets.clone();
        engine_sockets.push(settings.docker.clone());
        MountRules {
            policy: settings.task_policy.clone(),
            file_systems: settings.efs.clone(),
            engine_sockets,
            own_folders: vec![settings.data_dir.clone()],
        }
    }
}
