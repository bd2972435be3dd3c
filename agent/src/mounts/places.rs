//! The verbs `bind`, `release` and `list`: mounts at places that the helper itself names.
//!
//! A place is `mounts/<host>/<task>_<generation>/<volume>`, of ids alone. The clone of a source is
//! downstream of it: what the host mounts or unmounts there is seen, and nothing goes the other way,
//! so that an unmount here takes nothing from the host.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use longshore_common::id::HostId;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, openat, statvfs},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        mount_change, mount_remount, move_mount, open_tree, unmount,
    },
};

use super::{
    Helper,
    fence::Opened,
    files,
    protocol::{BindRequest, Source, TaskMounts},
    resolve::beneath,
    table::MountTable,
};

/// Where device nodes are all there is.
const OF_DEVICES: [&str; 2] = ["devtmpfs", "devpts"];
/// Mounts over one another at one place: more than one only after a crash between two calls.
const STACKED_MAX: u32 = 16;

impl Helper {
    /// The place where the source now is mounted.
    pub(super) fn bind(&self, request: &BindRequest) -> Result<PathBuf, String> {
        if let Source::AccessPoint { file_system, id, .. } = &request.source {
            self.make_access_point(file_system, id)?;
        }
        let table = MountTable::read()?;
        let opened = self.resolve(&request.source, &table)?;
        let folder = self.place_of(&request.task);
        let place = folder.join(request.volume.to_string());
        if table.is_mounted(&place) {
            if is_same(&opened, &place) {
                return Ok(place);
            }
            // The source was replaced since; containers that run keep what they have.
            take_down(&place)?;
        }
        let target = make_place(&folder, &place, &opened)?;
        let flags = self.flags(request, &opened)?;
        mount(&opened, &target, &place, flags).inspect_err(|_| {
            let _ = take_down(&place);
        })?;
        tracing::info!(
            host = %request.task.host, task = %request.task.task, volume = request.volume,
            source = %opened.path.display(), place = %place.display(), "mounted",
        );
        Ok(place)
    }

    /// `Ok` too when nothing is bound.
    pub(super) fn release(&self, task: &TaskMounts) -> Result<(), String> {
        let folder = self.place_of(task);
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

    pub(super) fn list(&self, host: HostId) -> Result<Vec<TaskMounts>, String> {
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
        Ok(tasks)
    }

    fn place_of(&self, task: &TaskMounts) -> PathBuf {
        let TaskMounts { host, task, generation } = task;
        self.folder.join(host.to_string()).join(format!("{task}_{generation}"))
    }

    /// Set-user-id files and devices have no effect where several tasks write; devices only where
    /// containers were given some.
    fn flags(&self, request: &BindRequest, opened: &Opened) -> Result<MountFlags, String> {
        let shared = match &request.source {
            Source::Host { .. } => false,
            Source::FileSystem { .. } | Source::AccessPoint { .. } => true,
        };
        let table = MountTable::read()?;
        let of_devices = OF_DEVICES.contains(&table.of(&opened.file)?.file_system.as_str());
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::NOSUID, shared);
        flags.set(MountFlags::NODEV, shared || !(request.devices || of_devices));
        Ok(flags)
    }
}

fn is_same(opened: &Opened, place: &Path) -> bool {
    let identity = |file: &OwnedFd| files::stat(file).map(|stat| files::identity(&stat));
    let mounted = files::open(CWD, place, ResolveFlags::NO_SYMLINKS);
    mounted.is_ok_and(|mounted| identity(&mounted).is_ok_and(|i| Ok(i) == identity(&opened.file)))
}

/// A directory to mount a directory on, a file for everything else.
fn make_place(folder: &Path, place: &Path, opened: &Opened) -> Result<OwnedFd, String> {
    let failed = |error: std::io::Error| error.to_string();
    fs_err::create_dir_all(folder).map_err(failed)?;
    let is_directory = files::kind(&files::stat(&opened.file)?) == FileType::Directory;
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

fn mount(opened: &Opened, target: &OwnedFd, place: &Path, flags: MountFlags) -> Result<(), String> {
    let failed = |call: &str, error: Errno| {
        let cure = match error {
            Errno::PERM => ": the helper lacks CAP_SYS_ADMIN; run it by its unit",
            Errno::NOSYS => ": this helper needs Linux 5.6 or later",
            Errno::INVAL => ": it may be mounted as unbindable",
            _ => "",
        };
        format!("{call} {}: {error}{cure}", opened.path.display())
    };
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(&opened.file, "", clone).map_err(|error| failed("open_tree", error))?;
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", target, "", onto).map_err(|error| failed("move_mount", error))?;
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change(place, downstream).map_err(|error| failed("mount (slave)", error))?;
    if flags.is_empty() {
        return Ok(());
    }
    let kept = statvfs(place).map_err(|error| failed("statvfs", error))?.f_flag;
    let flags = flags | MountFlags::BIND | as_mount_flags(kept);
    mount_remount(place, flags, "").map_err(|error| failed("mount (remount)", error))
}

/// A remount forgets what is not said again.
fn as_mount_flags(kept: StatVfsMountFlags) -> MountFlags {
    let both = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let set = both.into_iter().filter(|(one, _)| kept.contains(*one));
    set.fold(MountFlags::empty(), |all, (_, one)| all | one)
}

/// Unmounts and removes a place of ours.
fn take_down(place: &Path) -> Result<(), String> {
    for _ in 0..STACKED_MAX {
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
