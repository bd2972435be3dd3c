//! The ground that places stand on: a small file system of the helper's own, which no other mount of
//! the host takes along.
//!
//! A task that mounts `/` or `/run` takes all that is mounted below. With the places among that, each
//! such task would hold the mounts of all before it, and their number would double with each one
//! (mount_namespaces(7), MS_UNBINDABLE). And an engine in a mount namespace of its own, which sees
//! nothing of what is mounted here, must find no directory where a place is: it would give the
//! container that empty directory.
//!
//! A service with a mount namespace of its own (PrivateTmp=, ProtectSystem=) begins with a copy of every
//! mount there is, unbindable ones too. A release removes the place's directory, which ends its copies as
//! well; an unmount alone, as a shutdown of the host makes, does not. So the ground itself is shared, and such
//! a namespace downstream of it: else the service would keep what a task had of the network in use until
//! the network is gone, and its end would wait for a server that cannot answer.

use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use super::table::MountTable;

const SOURCE: &str = "longshore-volumes";
const FILE_SYSTEM: &str = "tmpfs";
/// Directories and empty files alone: two for each mount, and one for each task and host.
const OPTIONS: &str = "mode=0700,size=4m,nr_inodes=40k";

/// Lays the ground for places in `folder`, unless it is there.
pub(super) fn lay(folder: &Path, table: &MountTable) -> Result<(), String> {
    let failed = |call: &str, at: &Path, error: rustix::io::Errno| {
        format!("{call} {}: {error}; run longshore-agent-volumes.service as root", at.display())
    };
    let above = folder.parent().unwrap_or(folder);
    // Another run of the helper may have ended between any two of these.
    if !table.is_mounted(above) {
        mount_bind(above, above).map_err(|error| failed("mount (bind)", above, error))?;
    }
    seclude(above).map_err(|error| failed("mount (unbindable)", above, error))?;
    if !table.is_mounted(folder) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let options = std::ffi::CString::new(OPTIONS).unwrap_or_default();
        mount(SOURCE, folder, FILE_SYSTEM, flags, options.as_c_str())
            .map_err(|error| failed("mount (tmpfs)", folder, error))?;
    }
    mount_change(folder, MountPropagationFlags::SHARED)
        .map_err(|error| failed("mount (shared)", folder, error))
}

/// Whether nothing is missing. Helpers of earlier versions did not share the ground.
pub(super) fn is_laid(folder: &Path, table: &MountTable) -> bool {
    table.top_at(folder).is_some_and(|ground| ground.shared)
}

/// No recursive bind takes it, or what is mounted below, along.
fn seclude(at: &Path) -> rustix::io::Result<()> {
    mount_change(at, MountPropagationFlags::UNBINDABLE)
}
