//! The folder in which a program keeps what is its own: keys, and what users put into
//! environments. Whose it must be and how it may be reached, and files in it that only their owner
//! may read, whatever the umask.
//!
//! Never: what is in the files.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;
/// Bits that let group or others make files.
const OTHERS_WRITE: u32 = 0o022;
/// Lets everybody make files.
const ALL_WRITE: u32 = 0o002;
/// Nobody may remove or replace what is another's.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// Why a folder is not used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    #[error(
        "{} belongs to user {owner}, and this program runs as user {ours}: run it as that user, \
         give the folder to it with `chown -R {ours}`, or name another with --data-dir",
        path.display()
    )]
    OtherOwner { path: PathBuf, owner: u32, ours: u32 },
    #[error(
        "{} may be written by others (mode {mode:o}), who could put files into it: look at what is \
         in it, then run `chmod go-w` on it, or name another with --data-dir",
        path.display()
    )]
    WritableByOthers { path: PathBuf, mode: u32 },
    #[error(
        "{} is a link that user {owner} made, who is neither root nor the user of this program: \
         remove it, or name the folder itself with --data-dir",
        path.display()
    )]
    Link { path: PathBuf, owner: u32 },
    #[error("cannot look at {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Whether a folder that exists is this program's own: it belongs to the user who runs the program,
/// nobody else may write there, no link of another user leads to it, and nothing in it is another
/// user's. Root's links are fine: systemd makes one for a DynamicUser.
pub fn check(path: &Path) -> Result<(), NotOurs> {
    check_as(path, rustix::process::geteuid().as_raw())
}

fn check_as(path: &Path, ours: u32) -> Result<(), NotOurs> {
    let absolute = std::path::absolute(path).map_err(|source| failed(path, source))?;
    for above in absolute.ancestors() {
        let found = fs::symlink_metadata(above).map_err(|source| failed(above, source))?;
        if found.is_symlink() {
            link(above, &found, ours)?;
        } else if above != absolute && found.mode() & ALL_WRITE != 0 && found.mode() & STICKY == 0 {
            return Err(writable(above, &found));
        }
    }
    let folder = fs::metadata(&absolute).map_err(|source| failed(path, source))?;
    if folder.uid() != ours {
        return Err(NotOurs::OtherOwner { path: absolute, owner: folder.uid(), ours });
    }
    if folder.mode() & OTHERS_WRITE != 0 {
        return Err(writable(&absolute, &folder));
    }
    for entry in fs::read_dir(&absolute).map_err(|source| failed(path, source))? {
        let entry = entry.map_err(|source| failed(path, source))?.path();
        let found = match fs::symlink_metadata(&entry) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(&entry, source)),
        };
        if found.is_symlink() {
            link(&entry, &found, ours)?;
        } else if found.uid() != ours && found.uid() != ROOT {
            return Err(NotOurs::OtherOwner { path: entry, owner: found.uid(), ours });
        }
    }
    Ok(())
}

fn link(path: &Path, found: &Metadata, ours: u32) -> Result<(), NotOurs> {
    match found.uid() {
        owner if owner == ROOT || owner == ours => Ok(()),
        owner => Err(NotOurs::Link { path: path.to_owned(), owner }),
    }
}

fn writable(path: &Path, found: &Metadata) -> NotOurs {
    NotOurs::WritableByOthers { path: path.to_owned(), mode: found.mode() & 0o7777 }
}

fn failed(path: &Path, source: io::Error) -> NotOurs {
    NotOurs::Io { path: path.to_owned(), source }
}

/// A file that this program may not use, though its folder is the program's own.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} belongs to user {owner} (mode {mode:o}), and this program runs as user {ours}: give it to that \
     user with `chown {ours} {}`",
    path.display(), path.display()
)]
struct FileOfAnother {
    path: PathBuf,
    owner: u32,
    mode: u32,
    ours: u32,
}

/// Says of a file that may not be used whose it is and what to do.
pub fn with_owner(path: &Path, error: io::Error) -> io::Error {
    let ours = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(path) {
        Ok(found) if error.kind() == io::ErrorKind::PermissionDenied && found.uid() != ours => {
            let (owner, mode) = (found.uid(), found.mode() & 0o7777);
            let path = path.to_owned();
            io::Error::new(error.kind(), FileOfAnother { path, owner, mode, ours })
        }
        _ => error,
    }
}

/// Makes the file if there is none, and lets only its owner read it from now on. A link is refused.
pub fn private_file(path: &Path) -> io::Result<()> {
    make_private(path).map_err(|error| with_owner(path, error))
}

fn make_private(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(OWNER_ONLY))?;
    if fs::File::from(file).metadata()?.mode() & 0o777 == OWNER_ONLY {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))
}

/// The same for a SQLite database and the files that SQLite keeps beside it, which it makes with
/// the database's own mode.
pub fn private_database(path: &Path) -> io::Result<()> {
    private_file(path)?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        if fs::symlink_metadata(&beside).is_ok() {
            private_file(Path::new(&beside))?;
        }
    }
    Ok(())
}

/// Gives a new file to the owner of its folder, if it is not theirs already. Only then: the shipped units
/// forbid the call to services, which own what they make.
pub fn give_to_owner_of(folder: &Metadata, file: &Path) -> io::Result<()> {
    let made = std::fs::symlink_metadata(file)?;
    match (made.uid(), made.gid()) == (folder.uid(), folder.gid()) {
        true => Ok(()),
        false => std::os::unix::fs::lchown(file, Some(folder.uid()), Some(folder.gid())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    const OTHER: u32 = 65_534;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn us() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_folder_of_another_user_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path()).unwrap();
        let refused = check_as(folder.path(), us() + 1).unwrap_err();
        assert!(matches!(refused, NotOurs::OtherOwner { .. }), "{refused}");
        assert!(refused.to_string().contains("chown -R"), "{refused}");
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, fine) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, false)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(folder.path()).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_that_others_could_replace_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("data");
        fs::create_dir(&folder).unwrap();
        for (mode, fine) in [(0o755, true), (0o777, false), (0o1777, true)] {
            fs::set_permissions(above.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(&folder).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        if us() != ROOT {
            // Only root can make a file of another user.
            return;
        }
        let above = tempfile::tempdir().unwrap();
        let (folder, linked) = (above.path().join("data"), above.path().join("linked"));
        fs::create_dir(&folder).unwrap();
        symlink(&folder, &linked).unwrap();
        check(&linked).unwrap();
        std::os::unix::fs::lchown(&linked, Some(OTHER), None).unwrap();
        assert!(matches!(check(&linked), Err(NotOurs::Link { owner: OTHER, .. })));
        let (inside, file) = (folder.join("journal.db"), folder.join("old"));
        symlink("/etc/passwd", &inside).unwrap();
        check(&folder).unwrap();
        std::os::unix::fs::lchown(&inside, Some(OTHER), None).unwrap();
        assert!(matches!(check(&folder), Err(NotOurs::Link { owner: OTHER, .. })));
        fs::remove_file(&inside).unwrap();
        fs::write(&file, "x").unwrap();
        chown(&file, Some(OTHER), None).unwrap();
        assert!(matches!(check(&folder), Err(NotOurs::OtherOwner { owner: OTHER, .. })));
    }

    /// As a service of its own user finds what root has put into its folder.
    #[test]
    fn a_file_of_another_user_is_named_with_its_owner() {
        if us() != ROOT {
            // Only root can make a file of another user.
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(OTHER), None).unwrap();
        let path = folder.path().join("journal.db");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let tried = path.clone();
        let refused = std::thread::spawn(move || {
            // Of this thread alone.
            let other = rustix::process::Uid::from_raw(OTHER);
            rustix::thread::set_thread_res_uid(other, other, other).unwrap();
            let secret = crate::secret_file::read(&tried).unwrap_err();
            let secret = std::error::Error::source(&secret).unwrap().to_string();
            [private_database(&tried).unwrap_err().to_string(), secret]
        });
        for refused in refused.join().unwrap() {
            assert_eq!(
                refused,
                format!(
                    "{0} belongs to user 0 (mode 600), and this program runs as user {OTHER}: give it \
                     to that user with `chown {OTHER} {0}`",
                    path.display()
                )
            );
        }
    }

    #[test]
    fn a_private_file_is_its_owners_only_whatever_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, wal) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        private_database(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(!wal.exists());
        for path in [&path, &wal] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        private_database(&path).unwrap();
        assert_eq!((mode(&path), mode(&wal)), (0o600, 0o600));
        let linked = folder.path().join("b.db");
        symlink(&path, &linked).unwrap();
        assert!(private_file(&linked).is_err());
    }
}
