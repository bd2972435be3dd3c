//! Mounts for containers, made by a helper that may: what was checked is what is mounted.
//!
//! A path that is checked and then handed to the container engine is resolved a second time, and
//! whoever can rename a directory or plant a link in between chooses what is mounted. Here a path is
//! resolved once, by the kernel, to an open file; that file is compared with the policy and cloned
//! as a mount to a place that the helper names, and the engine is given that place.
//!
//! The agent has no capability, so the helper is a process of its own (`longshore-agent volumes`,
//! with its own unit and socket). An agent that was started with all rights serves itself, by the
//! same code. Owns the folder of its socket and everything below; its only state is the kernel's
//! table of mounts, so that a restart adopts what it finds. Never: a path in a request that its own
//! settings do not allow, a mount that is not below its folder, a word about what a container is.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::{
    fs::Mode,
    process::umask,
    thread::{CapabilitySet, capabilities},
};
use tokio_util::sync::CancellationToken;

use crate::{engine::plan::efs::FileSystems, settings::Settings};
use longshore_common::task_policy::TaskPolicy;

mod client;
mod directory;
mod fence;
mod files;
mod ground;
mod places;
pub(crate) mod protocol;
mod resolve;
mod server;
mod table;
mod turns;
#[cfg(test)]
mod tests;

pub use client::MountHelper;

/// Where the helper's unit listens.
pub(crate) const DEFAULT_SOCKET: &str = "/run/longshore/volumes/socket";
const MOUNTS: &str = "mounts";
/// The usual umask, as dockerd has it.
const MADE_FOR_TASKS: u32 = 0o022;

/// What the helper needs of the agent's settings, which it reads for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fences {
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
    fences: Fences,
    /// Holds the mounts.
    folder: PathBuf,
    /// Held while places are made or taken down. No call under it waits for a file system that is
    /// not the helper's own.
    places: Mutex<()>,
    turns: turns::Turns,
    mounts_max: usize,
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
    pub(crate) fn new(folder: &Path, mut fences: Fences) -> Result<Self, HelperError> {
        let unusable = |error| HelperError::Folder(folder.to_owned(), error);
        let mounts = folder.join(MOUNTS);
        files::make_private(folder)
            .and_then(|()| files::make_private(&mounts))
            .map_err(unusable)?;
        // As the kernel's table of mounts shows it.
        let mounts = fs_err::canonicalize(mounts).map_err(unusable)?;
        fences.own_folders.push(folder.to_owned());
        Ok(Helper {
            fences,
            folder: mounts,
            places: Mutex::default(),
            turns: turns::Turns::default(),
            mounts_max: places::MOUNTS_MAX,
        })
    }

    /// The path of the file that would be mounted. `Err` says why none would.
    pub(crate) fn path_of(&self, source: &protocol::Source) -> Result<PathBuf, String> {
        self.open(source).map(|opened| opened.path)
    }
}

impl Fences {
    pub(crate) fn of(settings: &Settings) -> Self {
        let mut engine_sockets = settings.engine_sockets.clone();
        engine_sockets.push(settings.docker.clone());
        Fences {
            policy: settings.task_policy.clone(),
            file_systems: settings.efs.clone(),
            engine_sockets,
            own_folders: vec![settings.data_dir.clone()],
        }
    }
}

/// Serves as the helper of this host's agent until `shutdown`.
pub(crate) async fn serve(
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<(), HelperError> {
    let default = || PathBuf::from(DEFAULT_SOCKET);
    let socket = settings.volumes_socket.clone().unwrap_or_else(default);
    let folder = socket.parent().unwrap_or(Path::new("/"));
    // A directory that is made for a task is for any user of its containers, whatever the unit says.
    umask(Mode::from_raw_mode(MADE_FOR_TASKS));
    let helper = Helper::new(folder, Fences::of(settings))?;
    tracing::info!(socket = %socket.display(), "longshore-agent volumes starts");
    server::serve(helper, &socket, shutdown).await
}

/// Who makes the mounts for this agent: the helper whose socket the settings name; the agent itself
/// where it has the right to; else the helper at its usual place.
pub(crate) fn helper_of(
    settings: &Settings,
    own_folder: &Path,
) -> Result<MountHelper, HelperError> {
    match &settings.volumes_socket {
        Some(socket) => Ok(MountHelper::at(socket.clone())),
        None if may_mount() => Ok(MountHelper::own(Helper::new(own_folder, Fences::of(settings))?)),
        None => Ok(MountHelper::at(PathBuf::from(DEFAULT_SOCKET))),
    }
}

fn may_mount() -> bool {
    capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}
