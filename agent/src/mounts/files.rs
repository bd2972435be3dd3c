//! Opened files of the host, and the few calls that the helper makes on them.
//!
//! Every error names the call and the path. Nothing here decides anything.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat},
    io::Errno,
};

/// Only root looks into the helper's folder.
const ROOT_ONLY: u32 = 0o700;
/// Maximum of tries at resolving a path: the kernel asks for another when names changed meanwhile.
const TRIES_MAX: u32 = 128;

/// A device and an inode: the same file by whatever path.
pub(super) type FileIdentity = (u64, u64);

/// Opens a path for being named, not for reading.
pub(super) fn open(
    at: impl AsFd + Copy,
    path: &Path,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // As a directory first: that mounts what is mounted on first use.
    match again(|| openat2(at, path, directory_flags(), Mode::empty(), resolve)) {
        Err(Errno::NOTDIR) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            again(|| openat2(at, path, flags, Mode::empty(), resolve))
        }
        result => result,
    }
}

pub(super) fn open_directory(
    at: impl AsFd + Copy,
    path: &Path,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    again(|| openat2(at, path, directory_flags(), Mode::empty(), resolve))
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn again<T>(call: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let mut tries = 0;
    loop {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
            result => return result,
        }
    }
}

/// By an operator's path: links in it are his.
pub(super) fn open_own(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(CWD, path, ResolveFlags::empty())
}

pub(super) fn identity(stat: &Stat) -> FileIdentity {
    (stat.st_dev, stat.st_ino)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn stat(file: impl AsFd) -> Result<Stat, String> {
    fstat(file).map_err(|error| format!("fstat: {error}"))
}

/// The path that the kernel knows the file by now, without links.
pub(super) fn canonical(file: &OwnedFd) -> Result<PathBuf, String> {
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = readlinkat(CWD, link.as_str(), Vec::new());
    let path = path.map_err(|error| format!("readlink of {link}: {error}"))?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()));
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("{} is not reachable from the host's root", path.display())),
    }
}

/// Makes a directory that is root's alone; one that is there must be so already.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(ROOT_ONLY).create(folder)?;
    let found = fs_err::symlink_metadata(folder)?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own {
        return Err(io::Error::other("it is a link, or belongs to somebody else: remove it"));
    }
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(ROOT_ONLY))
}

/// The directories from this one's up to the root.
pub(super) fn ancestors(of: &OwnedFd) -> Result<Vec<FileIdentity>, String> {
    let mut found = vec![identity(&stat(of)?)];
    let mut at = open_directory(of, Path::new(".."), ResolveFlags::empty())
        .map_err(|error| format!("openat2 of ..: {error}"))?;
    loop {
        let this = identity(&stat(&at)?);
        if found.last() == Some(&this) {
            return Ok(found);
        }
        found.push(this);
        at = open_directory(&at, Path::new(".."), ResolveFlags::empty())
            .map_err(|error| format!("openat2 of ..: {error}"))?;
    }
}

/// Removes an empty directory or a file; `Ok` too when there is none.
pub(super) fn remove(at: &OwnedFd, name: &str, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(at, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
