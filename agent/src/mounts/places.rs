//! The verbs `bind`, `release` and `list`: mounts at places that the helper itself names.
//!
//! A place is `mounts/<host>/<task>_<generation>/<volume>`, of ids alone. The clone of a source is
//! downstream of it: what the host mounts or unmounts there is seen, and nothing goes the other way,
//! so that an unmount here takes nothing from the host.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{MutexGuard, PoisonError},
};

use longshore_common::{id::HostId, task_policy::Forbidden};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        mount_change, mount_remount, move_mount, open_tree, unmount,
    },
};

use super::{
    Helper, files, ground,
    protocol::{BindRequest, LISTED_MAX, MountSource, TaskMounts},
    resolve::beneath,
    source_check::OpenedPath,
    table::{Mount, MountTable},
};

/// Where device nodes are all there is.
const OF_DEVICES: [&str; 2] = ["devtmpfs", "devpts"];
/// Maximum of mounts over one another at one place: more than one only after a crash between two
/// calls.
const STACKED_MAX: u32 = 16;
/// Names from the helper's folder to a place: host, task and volume.
const PLACE_DEPTH: usize = 3;

impl Helper {
    /// The place where the source now is mounted. `is_awaited` tells whether somebody still asks.
    pub(super) fn bind_while(
        &self,
        request: &BindRequest,
        is_awaited: impl Fn() -> bool,
    ) -> Result<PathBuf, String> {
        // A file system of the network may let this wait.
        let opened = self.open(&request.source)?;
        let is_directory = files::kind(&files::stat(&opened.file)?) == FileType::Directory;

        // Nothing from here on asks it: all other mounts wait for these.
        let _places = self.places();
        if !is_awaited() {
            // The task may have been released meanwhile, and nobody would do so again.
            return Err("nobody waits for this mount any more".to_owned());
        }
        let mut table = MountTable::read()?;
        if !ground::is_laid(&self.folder, &table) {
            if !table.is_mounted(&self.folder) {
                self.take_down_all(&table)?;
            }
            ground::lay(&self.folder, &table)?;
            table = MountTable::read()?;
        }
        if opened.path.starts_with(&self.folder) {
            return Err(format!("{} holds the mounts of this host's tasks", self.folder.display()));
        }
        let folder = self.place_of(&request.task);
        let place = folder.join(request.volume.to_string());
        if let Some(mounted) = table.top_at(&place) {
            if opened.is_at(mounted, &table) {
                // An earlier life of the helper may have ended before it was whole.
                complete(&place, |mount| self.flags(request, mount))?;
                return Ok(place);
            }
            // The source was replaced since; containers that run keep what they have.
            take_down(&place)?;
        }
        self.check_number(&opened, &table)?;
        let target = make_place(&folder, &place, is_directory)?;
        let flags = |mount: &Mount| self.flags(request, mount);
        let recursive = !request.options.alone;
        mount(&opened, &target, &place, recursive, flags).inspect_err(|_| {
            let _ = take_down(&place);
        })?;
        tracing::info!(
            host = %request.task.host, task = %request.task.task, volume = request.volume,
            source = %opened.path.display(), place = %place.display(), "mounted",
        );
        Ok(place)
    }

    /// From a source to an opened file that may be mounted.
    pub(super) fn open(&self, source: &MountSource) -> Result<OpenedPath, String> {
        if let MountSource::AccessPoint { file_system, id, .. } = source {
            self.make_access_point(file_system, id)?;
        }
        self.resolve(source)
    }

    /// Another thread that panicked changed nothing but mounts, which are read anew.
    fn places(&self) -> MutexGuard<'_, ()> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Helpers before this one mounted without a ground. Once it is laid nobody sees those places, and
    /// what they hold of a file system would keep it busy until the host restarts. Containers that run
    /// keep what they have; one that starts again asks for its mounts again.
    fn take_down_all(&self, table: &MountTable) -> Result<(), String> {
        let is_place = |mount: &&Mount| {
            let inner = mount.at.strip_prefix(&self.folder);
            inner.is_ok_and(|inner| inner.components().count() == PLACE_DEPTH)
        };
        for mount in table.below(&self.folder).filter(is_place) {
            take_down(&mount.at)?;
            tracing::info!(place = %mount.at.display(), "unmounted what an earlier version mounted");
        }
        Ok(())
    }

    fn check_number(&self, opened: &OpenedPath, table: &MountTable) -> Result<(), String> {
        let held = table.below(&self.folder).count();
        // The ground does not come along.
        let more = table.below(&opened.path).filter(|mount| !mount.at.starts_with(&self.folder));
        let more = 1 + more.count();
        match held + more <= self.mounts_max {
            true => Ok(()),
            false => Err(format!(
                "{} brings {more} mounts, and tasks of this host have {held} of at most {}: stop \
                 tasks, or mount a directory with fewer mounts below it",
                opened.path.display(),
                self.mounts_max
            )),
        }
    }

    /// `Ok` too when nothing is bound.
    pub(super) fn release(&self, task: &TaskMounts) -> Result<(), String> {
        let folder = self.place_of(task);
        let _places = self.places();
        let Ok(entries) = fs_err::read_dir(&folder) else { return Ok(()) };
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            let name = entry.file_name();
            // All that is made here has such a name.
            if name.to_str().is_none_or(|name| name.parse::<u16>().is_err()) {
                continue;
            }
            take_down(&folder.join(name))?;
        }
        fs_err::remove_dir(&folder).map_err(|error| error.to_string())?;
        tracing::info!(host = %task.host, task = %task.task, "unmounted what the task had");
        Ok(())
    }

    /// At most `LISTED_MAX` tasks, those after the given one.
    pub(super) fn list(
        &self,
        host: HostId,
        after: Option<TaskMounts>,
    ) -> Result<Vec<TaskMounts>, String> {
        let Ok(entries) = fs_err::read_dir(self.folder.join(host.to_string())) else {
            return Ok(Vec::new());
        };
        let mut tasks = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            let ids = name.to_str().and_then(|name| name.split_once('_'));
            let ids = ids.and_then(|(task, generation)| {
                Some((task.parse().ok()?, generation.parse().ok()?))
            });
            tasks.extend(ids.map(|(task, generation)| TaskMounts { host, task, generation }));
        }
        tasks.retain(|task| Some(*task) > after);
        tasks.sort_unstable();
        tasks.truncate(LISTED_MAX);
        Ok(tasks)
    }

    pub(super) fn place_of(&self, task: &TaskMounts) -> PathBuf {
        let TaskMounts { host, task, generation } = task;
        self.folder.join(host.to_string()).join(TaskMounts::folder_name(*task, *generation))
    }

    /// Set-user-id files and devices have no effect where several tasks write; devices only where
    /// containers were given some and no policy keeps them away.
    fn flags(&self, request: &BindRequest, mount: &Mount) -> MountFlags {
        let shared = match &request.source {
            MountSource::Host { .. } => false,
            MountSource::FileSystem { .. } | MountSource::AccessPoint { .. } => true,
        };
        let devices = request.devices && !self.rules.policy.forbids(Forbidden::Devices);
        let of_devices = OF_DEVICES.contains(&mount.file_system.as_str());
        let mut flags = MountFlags::empty();
        let options = request.options;
        flags.set(MountFlags::NOSUID, shared || options.nosuid);
        flags.set(MountFlags::NOEXEC, options.noexec);
        let no_devices = shared || options.nodev;
        flags.set(MountFlags::NODEV, no_devices || !(devices || of_devices));
        flags
    }
}

/// A directory to mount a directory on, a file for everything else.
fn make_place(folder: &Path, place: &Path, is_directory: bool) -> Result<OwnedFd, String> {
    let failed = |error: std::io::Error| error.to_string();
    fs_err::create_dir_all(folder).map_err(failed)?;
    let found = place.symlink_metadata().ok();
    if let Some(found) = found.as_ref().filter(|found| found.is_dir() != is_directory) {
        match found.is_dir() {
            true => fs_err::remove_dir(place).map_err(failed)?,
            false => fs_err::remove_file(place).map_err(failed)?,
        }
    }
    if is_directory {
        fs_err::create_dir_all(place).map_err(failed)?;
    } else {
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(CWD, place, flags, Mode::RUSR)
            .map_err(|error| format!("open {}: {error}", place.display()))?;
    }
    files::open(CWD, place, ResolveFlags::NO_SYMLINKS)
        .map_err(|error| format!("openat2 {}: {error}", place.display()))
}

fn mount(
    opened: &OpenedPath,
    target: &OwnedFd,
    place: &Path,
    recursive: bool,
    flags: impl Fn(&Mount) -> MountFlags,
) -> Result<(), String> {
    let mut clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    clone.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let from = &opened.path;
    let tree =
        open_tree(&opened.file, "", clone).map_err(|error| failed("open_tree", from, error))?;
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", target, "", onto).map_err(|error| failed("move_mount", from, error))?;
    complete(place, flags)
}

/// Makes what is mounted at a place, with all mounts below it, downstream of its source and gives it
/// its flags. Twice is the same as once, and where nothing is missing no file system is asked.
/// Nobody is told of a place before.
fn complete(place: &Path, flags: impl Fn(&Mount) -> MountFlags) -> Result<(), String> {
    let table = MountTable::read()?;
    let top = table.top_at(place).ok_or_else(|| format!("{} is not mounted", place.display()))?;
    let mounts = || std::iter::once(top).chain(table.below(place));
    if mounts().any(|mount| mount.shared) {
        separate(place).map_err(|error| failed("mount (slave)", place, error))?;
    }
    for mount in mounts() {
        let (wanted, kept) = (flags(mount), mount.flags());
        if kept.contains(wanted) {
            continue;
        }
        // By an opened file: a task may rename what is on the way.
        let failed = |error| failed("mount (remount)", &mount.at, error);
        let opened = files::open(CWD, &mount.at, ResolveFlags::NO_SYMLINKS).map_err(failed)?;
        let opened = format!("/proc/self/fd/{}", opened.as_raw_fd());
        mount_remount(opened.as_str(), MountFlags::BIND | kept | wanted, "").map_err(failed)?;
    }
    Ok(())
}

/// What the host mounts or unmounts is seen at the place, and nothing the other way.
fn separate(place: &Path) -> rustix::io::Result<()> {
    mount_change(place, MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

fn failed(call: &str, path: &Path, error: Errno) -> String {
    let cure = match error {
        Errno::PERM => ": the helper lacks CAP_SYS_ADMIN; run it by its unit",
        Errno::NOSYS => ": this helper needs Linux 5.6 or later",
        Errno::INVAL => ": it may be mounted as unbindable",
        Errno::NOSPC => ": the host has too many mounts (sysctl fs.mount-max)",
        _ => "",
    };
    format!("{call} {}: {error}{cure}", path.display())
}

/// Unmounts and removes a place of ours.
fn take_down(place: &Path) -> Result<(), String> {
    for _ in 0..STACKED_MAX {
        let table = MountTable::read()?;
        if table.top_at(place).into_iter().chain(table.below(place)).any(|mount| mount.shared) {
            // It is not whole: an unmount of what is below would be one on the host too.
            separate(place).map_err(|error| failed("mount (slave)", place, error))?;
        }
        match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there.
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(error) => return Err(format!("umount {}: {error}", place.display())),
        }
    }
    let Some((folder, name)) = place.parent().zip(place.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(());
    };
    let folder = match files::open_directory(CWD, folder, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.map_err(|error| format!("openat2 {}: {error}", folder.display()))?,
    };
    let flags = match files::open_directory(&folder, Path::new(name), beneath()) {
        Ok(_) => AtFlags::REMOVEDIR,
        Err(_) => AtFlags::empty(),
    };
    files::remove(&folder, name, flags)
        .map_err(|error| format!("unlink {}: {error}", place.display()))
}
