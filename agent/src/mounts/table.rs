//! The kernel's table of mounts (`/proc/self/mountinfo`, proc_pid_mountinfo(5)).
//!
//! Owns where a file is, said so that the same place is recognised through another mount: the
//! device's number and the path within the file system. Pure but for [`MountTable::read`].

use std::{
    ffi::OsString,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use rustix::mount::MountFlags;

const TABLE: &str = "/proc/self/mountinfo";
const FLAGS: [(&str, MountFlags); 8] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
    ("nosymfollow", MountFlags::NOSYMFOLLOW),
];

#[derive(Debug, Default)]
pub(super) struct MountTable(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    /// `8:1`.
    device: String,
    /// What of the file system is mounted.
    root: PathBuf,
    pub(super) at: PathBuf,
    /// Options of this mount: `rw,nosuid`.
    flags: String,
    /// Mounts and unmounts below appear in other namespaces too (shared propagation).
    pub(super) shared: bool,
    pub(super) file_system: String,
    pub(super) source: String,
    /// Options of the file system.
    pub(super) options: String,
}

/// A place in a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    device: String,
    path: PathBuf,
}

impl Location {
    pub(super) fn is_in(&self, other: &Location) -> bool {
        self.device == other.device && self.path.starts_with(&other.path)
    }
}

impl MountTable {
    pub(super) fn read() -> Result<Self, String> {
        fs_err::read(TABLE).map(|table| Self::parse(&table)).map_err(|error| error.to_string())
    }

    /// A line that is not understood is of no mount that anything is compared with.
    pub(super) fn parse(table: &[u8]) -> Self {
        MountTable(table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// The mount that an open file is on.
    pub(super) fn of(&self, file: &OwnedFd) -> Result<&Mount, String> {
        let info = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
        let text = fs_err::read_to_string(info).map_err(|error| error.to_string())?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let id = id.and_then(|id| id.trim().parse::<u64>().ok());
        let mount = self.0.iter().find(|mount| Some(mount.id) == id);
        mount.ok_or_else(|| "its mount is not among this host's".to_owned())
    }

    /// Where an open file is that the kernel knows by this path.
    pub(super) fn location(&self, file: &OwnedFd, canonical: &Path) -> Result<Location, String> {
        let mount = self.of(file)?;
        let inner = canonical.strip_prefix(&mount.at);
        let inner = inner.map_err(|_| format!("{} is not on its mount", canonical.display()))?;
        Ok(Location { device: mount.device.clone(), path: mount.root.join(inner) })
    }

    /// Mounts below a path, which come with it.
    pub(super) fn below(&self, path: &Path) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.at != path && mount.at.starts_with(path))
    }

    pub(super) fn is_mounted(&self, at: &Path) -> bool {
        self.top_at(at).is_some()
    }

    /// Where the mount is that a path as it is written leads to. No file is looked at.
    pub(super) fn deepest_above(&self, path: &Path) -> Option<&Path> {
        let above = self.0.iter().map(|mount| &*mount.at).filter(|at| path.starts_with(at));
        above.max_by_key(|at| at.as_os_str().len())
    }

    /// The mount that is seen at a place: of several, the last.
    pub(super) fn top_at(&self, at: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.at == at)
    }
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut next = || fields.next();
        let id = std::str::from_utf8(next()?).ok()?.parse().ok()?;
        next()?;
        let device = text(next()?);
        let (root, at) = (path(next()?), path(next()?));
        let flags = text(next()?);
        let mut rest = fields;
        let optional = rest.by_ref().take_while(|field| *field != b"-");
        let shared = optional.filter(|field| field.starts_with(b"shared:")).count() > 0;
        let file_system = text(rest.next()?);
        let source = text(rest.next()?);
        let options = rest.next().map(text).unwrap_or_default();
        Some(Mount { id, device, root, at, flags, shared, file_system, source, options })
    }

    pub(super) fn location(&self) -> Location {
        Location { device: self.device.clone(), path: self.root.clone() }
    }

    /// What a remount has to say again: it takes away what it does not name.
    pub(super) fn flags(&self) -> MountFlags {
        let known =
            |word: &str| FLAGS.iter().find(|(name, _)| *name == word).map(|(_, flag)| *flag);
        self.flags.split(',').filter_map(known).fold(MountFlags::empty(), |all, one| all | one)
    }
}

fn text(field: &[u8]) -> String {
    path(field).to_string_lossy().into_owned()
}

/// Blanks and their like are written in octal: `\040`.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 0:24 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1k\n\
        41 22 0:24 /netns /srv/a\\040b rw master:3 shared:7 - tmpfs tmpfs rw\n\
        odd\n\
        42 22 0:50 / /mnt/efs rw - nfs4 127.0.0.1:/ rw,port=20049\n";

    #[test]
    fn a_line_is_read_whatever_stands_between() {
        let table = MountTable::parse(TEXT);
        assert_eq!(table.0.len(), 4);
        let bound = &table.0[2];
        assert_eq!((bound.at.to_str(), bound.file_system.as_str()), (Some("/srv/a b"), "tmpfs"));
        assert_eq!(table.0[3].source, "127.0.0.1:/");
        assert!(table.is_mounted(Path::new("/run")) && !table.is_mounted(Path::new("/srv")));
    }

    #[test]
    fn a_place_is_recognised_through_another_mount_of_it() {
        let table = MountTable::parse(TEXT);
        let socket = Location { device: "0:24".into(), path: "/netns/a/docker.sock".into() };
        let below: Vec<&Mount> = table.below(Path::new("/srv")).collect();
        assert_eq!(below.len(), 1);
        assert!(socket.is_in(&below[0].location()));
        let elsewhere = Location { device: "8:1".into(), ..socket };
        assert!(!elsewhere.is_in(&below[0].location()));
    }
}
