//! The verb `directory`: makes an access point's directory, as EFS does at its first use.
//!
//! It is made under another name, given its owner and mode, and only then renamed: one that is not
//! whole is never used. One that is there stays as it is, whoever owns it, as EFS leaves it.

use std::{
    os::fd::OwnedFd,
    path::{Component, Path},
};

use rustix::{
    fs::{
        AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, fchmod, fchown, mkdirat, openat2,
        renameat_with,
    },
    io::Errno,
    process::{Gid, Uid},
};

use super::{Helper, files, resolve::beneath};
use crate::plan::efs::AccessPoint;

/// Of directories above an access point.
const PARENT_MODE: Mode = Mode::from_raw_mode(0o755);
/// Until it has its owner.
const HALF_MODE: Mode = Mode::from_raw_mode(0o700);

impl Helper {
    pub(super) fn access_point(
        &self,
        file_system: &str,
        id: &str,
    ) -> Result<(OwnedFd, &AccessPoint), String> {
        let (root, _) = self.file_system(file_system)?;
        let point = self.fences.file_systems.access_point(file_system, id).ok_or_else(|| {
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
            let made = match names.peek() {
                Some(_) => make_parent(&at, name, &path),
                None => make_whole(&at, name, point, &path),
            };
            made?;
            at = files::open_directory(&at, name, beneath()).map_err(|error| {
                format!("openat2 {}: {error} (it must be a directory, and no link)", path.display())
            })?;
        }
        Ok(())
    }
}

fn make_parent(at: &OwnedFd, name: &Path, path: &Path) -> Result<(), String> {
    match mkdirat(at, name, PARENT_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed("mkdir", path, error)),
    }
}

fn make_whole(at: &OwnedFd, name: &Path, point: &AccessPoint, path: &Path) -> Result<(), String> {
    match files::open(at, name, beneath()) {
        Err(Errno::NOENT) => {}
        // What it is shows when it is opened as a directory.
        Ok(_) | Err(_) => return Ok(()),
    }
    let chance = getrandom::u64().map_err(|error| format!("no random name: {error}"))?;
    let half = format!(".longshore-{chance:016x}");
    mkdirat(at, half.as_str(), HALF_MODE).map_err(|error| failed("mkdir", path, error))?;
    let renamed = complete(at, &half, point, path).and_then(|()| {
        match renameat_with(at, half.as_str(), at, name, RenameFlags::NOREPLACE) {
            // Another container of it was quicker.
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(failed("rename", path, error)),
            Ok(()) => Ok(true),
        }
    });
    if !matches!(renamed, Ok(true))
        && let Err(error) = files::remove(at, &half, AtFlags::REMOVEDIR)
    {
        tracing::warn!(%error, half, path = %path.display(), "half a directory is left: remove it");
    }
    renamed.map(drop)
}

fn complete(at: &OwnedFd, half: &str, point: &AccessPoint, path: &Path) -> Result<(), String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let made = openat2(at, half, flags, Mode::empty(), resolve)
        .map_err(|error| failed("open", path, error))?;
    let (user, group) = point.owner;
    fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
        .map_err(|error| failed("chown", path, error))?;
    fchmod(&made, Mode::from_raw_mode(point.mode)).map_err(|error| failed("chmod", path, error))
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
