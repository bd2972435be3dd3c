//! The verb `directory`: makes an access point's directory, as EFS does at its first use.
//!
//! It is made with no mode at all, given its owner, and its mode last: a directory without a mode is
//! not whole, and whoever finds one completes it. No rename: clients of NFS refuse its flags
//! (renameat2(2)). A directory that is whole stays as it is, whoever owns it, as EFS leaves it.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, Stat, chmodat, chownat, mkdirat},
    io::Errno,
    process::{Gid, Uid, geteuid},
};

use super::{Helper, files, resolve::beneath};
use crate::settings::AccessPoint;

/// Mode of directories above an access point.
const PARENT_MODE: Mode = Mode::from_raw_mode(0o755);
/// Mode of a directory that is not whole.
const UNFINISHED: Mode = Mode::empty();
const PERMISSIONS: u32 = 0o7777;

impl Helper {
    pub(super) fn access_point(
        &self,
        file_system: &str,
        id: &str,
    ) -> Result<(OwnedFd, &AccessPoint), String> {
        let (root, _) = self.file_system(file_system)?;
        let point = self.rules.file_systems.access_point(file_system, id).ok_or_else(|| {
            format!("access point {id}, which the setting efs of this host's helper does not name")
        })?;
        Ok((root, point))
    }

    pub(super) fn make_access_point(&self, file_system: &str, id: &str) -> Result<(), String> {
        let (mut at, point) = self.access_point(file_system, id)?;
        let mut path = files::canonical(&at)?;
        let mut names = point.path.components().peekable();
        while let Some(part) = names.next() {
            let Component::Normal(name) = part else { continue };
            path.push(name);
            let name = Path::new(name);
            at = match names.peek() {
                Some(_) => {
                    make_parent(&at, name, &path)?;
                    open(&at, name, &path)?
                }
                None => make_whole(&at, name, point, &path)?,
            };
        }
        Ok(())
    }
}

fn open(at: &OwnedFd, name: &Path, path: &Path) -> Result<OwnedFd, String> {
    files::open_directory(at, name, beneath()).map_err(|error| {
        format!("openat2 {}: {error} (it must be a directory, and no link)", path.display())
    })
}

fn make_parent(at: &OwnedFd, name: &Path, path: &Path) -> Result<(), String> {
    match mkdirat(at, name, PARENT_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed("mkdir", path, error)),
    }
}

fn make_whole(
    at: &OwnedFd,
    name: &Path,
    point: &AccessPoint,
    path: &Path,
) -> Result<OwnedFd, String> {
    let made = match mkdirat(at, name, UNFINISHED) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(failed("mkdir", path, error)),
    };
    let directory = open(at, name, path)?;
    let found = files::stat(&directory)?;
    if !is_unfinished(&found) || !(made || is_ours(&found, point)) {
        return Ok(directory);
    }
    let completed = complete(&directory, point, path);
    if completed.is_err()
        && made
        && let Err(error) = rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
    {
        tracing::warn!(%error, path = %path.display(), "half a directory is left: remove it");
    }
    completed.map(|()| directory)
}

fn is_unfinished(found: &Stat) -> bool {
    found.st_mode & PERMISSIONS == 0
}

/// Made by a helper that ended before it was whole.
fn is_ours(found: &Stat, point: &AccessPoint) -> bool {
    found.st_uid == geteuid().as_raw() || found.st_uid == point.owner.0
}

/// The opened directory, whatever its name leads to by now.
fn complete(directory: &OwnedFd, point: &AccessPoint, path: &Path) -> Result<(), String> {
    let (user, group) = (Uid::from_raw(point.owner.0), Gid::from_raw(point.owner.1));
    chownat(directory, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
        .map_err(|error| failed("chown", path, error))?;
    let opened = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let chmod = |mode: Mode| {
        chmodat(CWD, opened.as_str(), mode, AtFlags::empty())
            .map_err(|error| failed("chmod", path, error))
    };
    chmod(Mode::from_raw_mode(point.mode))?;
    let shown = files::stat(directory)?.st_mode & PERMISSIONS;
    if shown == point.mode {
        return Ok(());
    }
    chmod(UNFINISHED)?;
    Err(format!(
        "chmod {} to {:o} made it {shown:o}: the helper lacks CAP_FSETID; run it by its unit",
        path.display(),
        point.mode
    ))
}

fn failed(call: &str, path: &Path, error: Errno) -> String {
    let cure = match error {
        Errno::ROFS => {
            ": the file system is mounted read-only; mount it for writing, or make the \
                        directory by hand"
        }
        Errno::PERM | Errno::ACCESS => {
            ": run longshore-agent-volumes.service as it was installed; a server of NFS that \
             squashes root needs the directory made by hand"
        }
        Errno::NOSPC | Errno::DQUOT => ": free some room there",
        _ => "",
    };
    format!("{call} {}: {error}{cure}", path.display())
}
