//! Why a log store cannot be used.

use std::path::PathBuf;

use crate::logs::pattern::InvalidPattern;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the log store {} was written by a newer version (format {found})", .path.display())]
    Newer { path: PathBuf, found: i64 },
    #[error("{} is a SQLite file, but not a log store", .0.display())]
    Foreign(PathBuf),
    #[error("the log store {} cannot be kept from other users", .path.display())]
    Exposed { path: PathBuf, source: std::io::Error },
    #[error("the log store cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl StoreError {
    pub fn is_for_want_of_room(&self) -> bool {
        let StoreError::Sqlite(error) = self else { return false };
        let code = error.sqlite_error().map(|error| error.extended_code);
        // The file that the connections of a WAL share needs room as well.
        code.is_some_and(|code| {
            code & 0xff == rusqlite::ffi::SQLITE_FULL || code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        })
    }
}
