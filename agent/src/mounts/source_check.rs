//! Whether an opened file may be mounted: the file decides, not the path that led to it.
//!
//! Sockets of engines are compared by device and inode; a folder is refused that holds one, also by
//! a mount below it. Never: a file that is opened for more than being named.

use std::{os::fd::OwnedFd, path::Path};

use longshore_common::task_policy::{ENGINE_FOLDERS, ENGINE_SOCKETS, Forbidden};
use rustix::fs::FileType;

use super::{
    MountRules,
    files::{self, FileIdentity},
    table::{Location, Mount, MountTable},
};

/// File systems whose files are the host's devices, or by which its kernel is read and set.
const OF_DEVICES: [&str; 10] = [
    "devtmpfs",
    "devpts",
    "proc",
    "sysfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "cgroup",
    "cgroup2",
];
/// Every process's root is a file of it, and so is all that is below, engines' sockets too.
const OF_PROCESSES: &str = "proc";
const IS_A_DEVICE: &str = "it shows devices or the kernel of the host, which `forbid` names";
const IS_AN_ENGINES: &str = "a container engine's socket is there, which `forbid` names";
const IS_OWN: &str = "the agent's own files are there";

/// Opened, and known by this path.
pub(super) struct OpenedPath {
    pub(super) file: OwnedFd,
    pub(super) path: std::path::PathBuf,
}

impl OpenedPath {
    pub(super) fn new(file: OwnedFd) -> Result<Self, String> {
        let path = files::canonical(&file)?;
        Ok(OpenedPath { file, path })
    }

    /// Whether a mount shows this file. By the table alone: the file system may not answer.
    pub(super) fn is_at(&self, mounted: &Mount, table: &MountTable) -> bool {
        table.location(&self.file, &self.path).is_ok_and(|own| own == mounted.location())
    }
}

/// A file that no task is to see, and every directory that leads to it.
struct HiddenFile {
    identity: FileIdentity,
    ancestors: Vec<FileIdentity>,
    location: Location,
    /// What is below it is hidden too.
    folder: bool,
    why: &'static str,
}

impl HiddenFile {
    /// Absent where there is no such file: nothing has to be hidden then.
    fn find(path: &Path, table: &MountTable, folder: bool, why: &'static str) -> Option<Self> {
        let opened = OpenedPath::new(files::open_own(path).ok()?).ok()?;
        let location = table.location(&opened.file, &opened.path).ok()?;
        let identity = files::identity(&files::stat(&opened.file).ok()?);
        let above = files::open_own(opened.path.parent()?).ok()?;
        let ancestors = files::ancestors(&above).ok()?;
        Some(HiddenFile { identity, ancestors, location, folder, why })
    }

    fn is_shown_by(&self, source: &BoundSource<'_>) -> bool {
        let same = self.identity == source.identity;
        let above = self.ancestors.contains(&source.identity);
        let below = self.folder && source.location.is_in(&self.location);
        let by_mount = source.mounts.iter().any(|mount| {
            let mounted = mount.location();
            self.location.is_in(&mounted) || (self.folder && mounted.is_in(&self.location))
        });
        same || above || below || by_mount
    }
}

/// What is to be mounted, with all that comes with it.
struct BoundSource<'a> {
    identity: FileIdentity,
    location: Location,
    mounts: Vec<&'a Mount>,
}

impl MountRules {
    /// `Err` says why this file may not be mounted.
    pub(super) fn check(&self, opened: &OpenedPath, table: &MountTable) -> Result<(), String> {
        if !self.policy.fences_host() {
            return Ok(());
        }
        let stat = files::stat(&opened.file)?;
        let source = BoundSource {
            identity: files::identity(&stat),
            location: table.location(&opened.file, &opened.path)?,
            mounts: table.below(&opened.path).collect(),
        };
        let on = table.of(&opened.file)?;
        let shows_processes = |mount: &&Mount| mount.file_system == OF_PROCESSES;
        if self.policy.forbids(Forbidden::DockerSocket)
            && (shows_processes(&on) || source.mounts.iter().any(shows_processes))
        {
            return Err(IS_AN_ENGINES.to_owned());
        }
        if self.policy.forbids(Forbidden::Devices) {
            let is_device =
                matches!(files::kind(&stat), FileType::BlockDevice | FileType::CharacterDevice);
            let shows = |mount: &&Mount| OF_DEVICES.contains(&mount.file_system.as_str());
            if is_device || shows(&on) || source.mounts.iter().any(shows) {
                return Err(IS_A_DEVICE.to_owned());
            }
        }
        match self.hidden(table).find(|hidden| hidden.is_shown_by(&source)) {
            Some(hidden) => Err(hidden.why.to_owned()),
            None => Ok(()),
        }
    }

    /// Whether something may be made below this directory.
    pub(super) fn check_parent(
        &self,
        parent: &OpenedPath,
        table: &MountTable,
    ) -> Result<(), String> {
        if !self.policy.fences_host() {
            return Ok(());
        }
        let location = table.location(&parent.file, &parent.path)?;
        let inside = |hidden: &HiddenFile| hidden.folder && location.is_in(&hidden.location);
        match self.hidden(table).find(inside) {
            Some(hidden) => Err(hidden.why.to_owned()),
            None => Ok(()),
        }
    }

    fn hidden<'a>(&'a self, table: &'a MountTable) -> impl Iterator<Item = HiddenFile> + 'a {
        let engines = self.policy.forbids(Forbidden::DockerSocket);
        let known = ENGINE_SOCKETS.iter().map(|path| (Path::new(path), false));
        let given = self.engine_sockets.iter().map(|path| (path.as_path(), false));
        let folders = ENGINE_FOLDERS.iter().map(|path| (Path::new(path), true));
        let of_engines = known.chain(given).chain(folders).filter(move |_| engines);
        let of_engines = of_engines.map(|(path, folder)| (path, folder, IS_AN_ENGINES));
        let own = self.own_folders.iter().map(|path| (path.as_path(), true, IS_OWN));
        of_engines
            .chain(own)
            .filter_map(|(path, folder, why)| HiddenFile::find(path, table, folder, why))
    }
}
