//! One coordinator per data directory.

use std::{fs::File, io, path::Path};

use rustix::fs::{FlockOperation, flock};

/// Held as long as the process lives; the kernel lets go of it when the process ends, however.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// `Ok(None)` when another process holds the lock.
    pub(super) fn take(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join("lock");
        longshore_common::data_directory::private_file(&path)?;
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?
            .into_parts()
            .0;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DirectoryLock { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Its file's owner, when somebody else has taken it for them.
    pub(super) fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        std::os::unix::fs::fchown(&self.file, Some(user), Some(group))
    }
}
