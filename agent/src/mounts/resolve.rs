//! From a source to an opened file, by the kernel's own resolving.
//!
//! Owns which links are followed: none of `/proc`; an operator's, where no `bind_roots` fence the
//! host in; none below such a root or in a file system of the setting `efs`, where tasks may write.

use std::{
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use longshore_common::task_policy::not_below;
use rustix::{
    fs::{CWD, Mode, ResolveFlags, mkdirat},
    io::Errno,
};

use super::{
    Helper, files,
    protocol::MountSource,
    source_check::OpenedPath,
    table::{Mount, MountTable},
};

/// As Docker makes a directory that is not there.
const MADE_MODE: Mode = Mode::from_raw_mode(0o755);

/// For paths in which somebody else may have renamed or linked something.
pub(super) fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

impl Helper {
    /// The path of the file that would be mounted. `Err` says why none would.
    pub(crate) fn path_of(&self, source: &MountSource) -> Result<PathBuf, String> {
        self.open(source).map(|opened| opened.path)
    }

    pub(super) fn resolve(&self, source: &MountSource) -> Result<OpenedPath, String> {
        match source {
            MountSource::Host { path } => {
                let opened = self.host_path(path)?;
                let refused = |why: String| format!("{} ({why})", path.display());
                // Read now: it may have been mounted by being opened.
                self.rules.check(&opened, &MountTable::read()?).map_err(refused)?;
                Ok(opened)
            }
            MountSource::FileSystem { id, root_directory, encrypted } => {
                self.in_file_system(id, root_directory, *encrypted)
            }
            MountSource::AccessPoint { file_system, id, encrypted } => {
                let (_, point) = self.access_point(file_system, id)?;
                self.in_file_system(file_system, &point.path.clone(), *encrypted)
            }
        }
    }

    fn host_path(&self, path: &Path) -> Result<OpenedPath, String> {
        if !path.is_absolute() {
            return Err(format!("{} is not an absolute path", path.display()));
        }
        match files::open(CWD, path, ResolveFlags::NO_MAGICLINKS) {
            Ok(file) => self.below_a_root(OpenedPath::new(file)?),
            Err(Errno::NOENT) => self.make(path),
            Err(error) => Err(explained(path, error)),
        }
    }

    /// Opens it anew from the root that it is below, so that no name on the way can be another's.
    fn below_a_root(&self, opened: OpenedPath) -> Result<OpenedPath, String> {
        let Some(roots) = &self.rules.policy.bind_roots else { return Ok(opened) };
        for root in roots {
            let Ok(root) = files::open_own(root) else { continue };
            let at = files::canonical(&root)?;
            let Ok(inner) = opened.path.strip_prefix(&at) else { continue };
            if inner.as_os_str().is_empty() {
                // Which may be a file.
                return OpenedPath::new(root);
            }
            let file = files::open(&root, inner, beneath());
            return OpenedPath::new(file.map_err(|error| explained(&opened.path, error))?);
        }
        Err(format!("{} ({})", opened.path.display(), not_below(roots)))
    }

    /// Makes what is missing of a directory, below what is there of it.
    fn make(&self, path: &Path) -> Result<OpenedPath, String> {
        let mut there = path.to_owned();
        let mut missing = Vec::new();
        let parent = loop {
            let name = there.file_name().map(OsStr::to_owned);
            let name = name.ok_or_else(|| {
                format!("{} is not there, and `..` is in what is missing", path.display())
            })?;
            missing.push(name);
            there.pop();
            match files::open_directory(CWD, &there, ResolveFlags::NO_MAGICLINKS) {
                Ok(parent) => break parent,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(explained(&there, error)),
            }
        };
        let mut parent = self.below_a_root(OpenedPath::new(parent)?)?;
        let refused = |why: String| format!("{} ({why})", path.display());
        self.rules.check_parent(&parent, &MountTable::read()?).map_err(refused)?;
        while let Some(name) = missing.pop() {
            match mkdirat(&parent.file, &name, MADE_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => {
                    let at = parent.path.join(&name);
                    return Err(format!("mkdir {}: {error}", at.display()));
                }
            }
            let made = files::open_directory(&parent.file, Path::new(&name), beneath());
            let made = made.map_err(|error| explained(&parent.path.join(&name), error))?;
            parent = OpenedPath::new(made)?;
        }
        Ok(parent)
    }

    /// The file system's root, which must be mounted, and the path below it.
    pub(super) fn file_system(&self, id: &str) -> Result<(OwnedFd, PathBuf), String> {
        let at = self.rules.file_systems.mounted_at(id).ok_or_else(|| {
            format!("file system {id} is not mounted here by the setting efs of this host's helper")
        })?;
        let root = files::open_directory(CWD, at, ResolveFlags::empty());
        let root = root.map_err(|error| {
            format!("openat2 {}, where file system {id} should be: {error}", at.display())
        })?;
        Ok((root, at.to_owned()))
    }

    fn in_file_system(&self, id: &str, path: &Path, encrypted: bool) -> Result<OpenedPath, String> {
        let (root, at) = self.file_system(id)?;
        let inner: PathBuf =
            path.components().filter(|part| !matches!(part, Component::RootDir)).collect();
        let file = files::open_directory(&root, &or_itself(&inner), beneath());
        let opened = OpenedPath::new(file.map_err(|error| explained(&at.join(&inner), error))?)?;
        // Read now: the root may have been mounted by being opened.
        let table = MountTable::read()?;
        let refused = |why: String| format!("{} ({why})", opened.path.display());
        self.rules.check(&opened, &table).map_err(refused)?;
        if encrypted && let Some(how) = unencrypted(table.of(&opened.file)?) {
            return Err(format!(
                "transitEncryption of file system {id}: {} is mounted by {how}; mount it with \
                 `-t efs -o tls` (amazon-efs-utils) or `-o xprtsec=tls`",
                at.display()
            ));
        }
        Ok(opened)
    }
}

/// openat2 takes no empty path.
pub(super) fn or_itself(path: &Path) -> PathBuf {
    match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_owned(),
    }
}

/// How a mount of a network file system sends everything in the clear, if it does.
fn unencrypted(mount: &Mount) -> Option<String> {
    let options: Vec<&str> = mount.options.split(',').collect();
    let has = |names: &[&str]| options.iter().any(|option| names.contains(option));
    // The EFS mount helper talks to a TLS tunnel on this host.
    let local = has(&["addr=127.0.0.1", "addr=::1"]) || mount.source.starts_with("127.0.0.1:");
    let clear = match mount.file_system.as_str() {
        "nfs" | "nfs4" => !local && !has(&["xprtsec=tls", "xprtsec=mtls", "sec=krb5p"]),
        "cifs" | "smb3" => !has(&["seal"]),
        "ceph" => !has(&["ms_mode=secure"]),
        "9p" | "glusterfs" | "afs" => true,
        _ => false,
    };
    clear.then(|| format!("{} from {} without encryption", mount.file_system, mount.source))
}

fn explained(path: &Path, error: Errno) -> String {
    let why = match error {
        Errno::LOOP => {
            "a link is on the way, which is not followed: name the directory that it leads to"
        }
        Errno::XDEV => "it leads out of the directory that it must be in",
        Errno::NOENT => "it is not there",
        Errno::NOSYS => "this helper needs Linux 5.6 or later",
        _ => return format!("openat2 {}: {error}", path.display()),
    };
    format!("openat2 {}: {error} ({why})", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_mount_is_encrypted_or_told_apart() {
        let said = |line: &str| {
            let text = format!("1 0 0:5 / /mnt rw - {line}\n");
            let table = MountTable::parse(text.as_bytes());
            unencrypted(table.below(Path::new("/")).next().unwrap())
        };
        for clear in
            ["nfs4 10.0.0.9:/ rw,addr=10.0.0.9", "cifs //h/s rw", "9p tag rw", "ceph m:/ rw"]
        {
            assert!(said(clear).is_some(), "{clear}");
        }
        for kept in [
            "nfs4 127.0.0.1:/ rw,port=20049,addr=127.0.0.1",
            "nfs4 h:/ rw,xprtsec=mtls,addr=10.0.0.9",
            "cifs //h/s rw,seal",
            "ext4 /dev/sda1 rw",
        ] {
            assert_eq!(said(kept), None, "{kept}");
        }
    }
}
