//! Files that hold secrets: readable by their owner only, replaced whole or not at all.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::data_directory::with_owner;

/// The mode of a file that only its owner may read and write.
const OWNER_ONLY: u32 = 0o600;
/// Bits that let group or others in.
const OTHERS: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error(
        "{} holds a secret and may be read by others (mode {mode:o}): run `chmod 600` on it, and \
         think of the secret as known",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
}

/// Reads a secret, or nothing where there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretFileError> {
    let failed = |error| SecretFileError::Read(path.to_owned(), with_owner(path, error));
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if mode & OTHERS != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    fs::read(path).map(Some).map_err(failed)
}

/// Puts `content` in the place of what `path` held. Returns once it would survive a power cut; a
/// crash before leaves the old content whole.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), SecretFileError> {
    write(path, content).map_err(|error| SecretFileError::Write(path.to_owned(), error))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut temporary = name.to_owned();
    temporary.push(".new");
    let temporary = directory.join(temporary);
    // A left-over of a crash might have another mode, so the file is always made anew.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_only_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        assert!(read(&path).unwrap().is_none());
        // What a crash may have left behind, open to others.
        fs::write(directory.path().join("secret.new"), "half").unwrap();
        for content in ["first, and longer", "second"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), content.as_bytes());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("640"), "{error}");
    }
}
