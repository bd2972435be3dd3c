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

use std::path::{Path, PathBuf};

use rustix::{
    fs::Mode,
    process::umask,
    thread::{CapabilitySet, capabilities},
};
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

mod client;
mod directory;
mod source_check;
mod files;
mod ground;
mod helper;
mod places;
pub(crate) mod protocol;
mod resolve;
mod server;
mod table;
mod request_slots;
#[cfg(test)]
mod tests;

pub use client::MountHelper;
pub(crate) use helper::{Helper, HelperError, MountRules};

/// Where the helper's unit listens.
pub(crate) const DEFAULT_SOCKET: &str = "/run/longshore/volumes/socket";
/// The usual umask, as dockerd has it.
const MADE_FOR_TASKS: u32 = 0o022;

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
    let helper = Helper::new(folder, MountRules::of(settings))?;
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
        None if may_mount() => {
            Ok(MountHelper::own(Helper::new(own_folder, MountRules::of(settings))?))
        }
        None => Ok(MountHelper::at(PathBuf::from(DEFAULT_SOCKET))),
    }
}

fn may_mount() -> bool {
    capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}
