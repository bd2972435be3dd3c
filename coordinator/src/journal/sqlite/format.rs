//! What a database must be before it is used as a journal: of Longshore, of a known format, with its own log.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

/// The database's name in the data directory.
pub const FILE_NAME: &str = "journal.db";
/// The checked copy of a restore. From the moment that it has this name, the restore is finished whatever
/// happens.
pub(super) const RESTORING: &str = "journal.db.restoring";
/// Format that this release writes (`PRAGMA user_version`).
pub(in crate::journal) const FORMAT: i64 = 5;
/// Id of Longshore's journals (`PRAGMA application_id`): "LSHR".
pub(super) const APPLICATION_ID: i64 = 0x4c53_4852;
/// Size in bytes that the write-ahead log is cut back to after it was moved (ours).
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;
/// Timeout of a connection's waiting for another's lock (ours); only readers and the log's mover
/// ever hold one.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Offset at which a database's header says how it is written to: 1, the rollback journal, as
/// `VACUUM INTO` leaves it; 2, the write-ahead log (<https://www.sqlite.org/fileformat.html>, 1.3).
const WRITE_VERSION_AT: u64 = 18;

/// What to do about a damaged journal.
pub(in crate::journal) const RESTORE_A_BACKUP: &str = "Stop the coordinator and put a backup in its place with \
    `longshore-coordinator restore --from FILE`, then see `longshore-coordinator recover --help`";

/// Why the journal cannot be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another coordinator uses {0}; stop it first, or give this one its own --data-dir")]
    InUse(PathBuf),
    #[error(
        "{path} has format {found}, which a newer release wrote; this one knows up to {FORMAT}. Start the newer release"
    )]
    Newer { path: PathBuf, found: i64 },
    #[error("{0} is not a Longshore journal; give an empty --data-dir or the right one")]
    NotAJournal(PathBuf),
    #[error(
        "only {free_mib} MiB are free at {path}, and the journal needs {needed_mib}; free some space"
    )]
    DiskFull { path: PathBuf, free_mib: u64, needed_mib: u64 },
    #[error("{0} is damaged: {1}. {RESTORE_A_BACKUP}")]
    Damaged(PathBuf, String),
    #[error(
        "{0} is a backup that was copied beside the write-ahead log of another journal: what the two \
         say together never was. Move both away and put the backup there with \
         `longshore-coordinator restore --from FILE`"
    )]
    ForeignLog(PathBuf),
    #[error("the backup {} cannot be written", .to.display())]
    Backup {
        to: PathBuf,
        #[source]
        why: anyhow::Error,
    },
    #[error(
        "a restore was broken off in {0}: start the coordinator, which finishes it, or restore again"
    )]
    RestoreUnderWay(PathBuf),
    #[error("cannot open {0}")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    #[error("cannot use the data directory {0}")]
    Io(PathBuf, #[source] std::io::Error),
}

pub(super) fn format_of(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses other programs' files and newer formats before anything is written.
pub(super) fn require_format(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotAJournal(path.to_owned()),
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged(path.to_owned(), error.to_string())
        }
        _ => OpenError::Sqlite(path.to_owned(), error),
    };
    let found = format_of(connection).map_err(sqlite)?;
    let application: i64 =
        connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(sqlite)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    match (application, found) {
        (APPLICATION_ID, found) if found > FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found })
        }
        (APPLICATION_ID, _) => Ok(()),
        (0, 0) if tables == 0 => Ok(()),
        _ => Err(OpenError::NotAJournal(path.to_owned())),
    }
}

/// Refuses a database that has never had a write-ahead log and lies beside one: SQLite would take
/// the other's pages for its own.
pub(super) fn require_own_log(path: &Path) -> Result<(), OpenError> {
    let [_, log, _] = with_log(path);
    let length = std::fs::metadata(&log).map_or(0, |log| log.len());
    let mut version = [0];
    let read = std::fs::File::open(path)
        .and_then(|file| file.read_exact_at(&mut version, WRITE_VERSION_AT));
    match read {
        Ok(()) if version == [1] && length > 0 => Err(OpenError::ForeignLog(path.to_owned())),
        // An empty file, and what cannot be read, are for SQLite to speak of.
        _ => Ok(()),
    }
}

/// Opens the journal for those who read while a coordinator may be writing.
pub(in crate::journal) fn beside_a_coordinator(directory: &Path) -> Result<Connection, OpenError> {
    let path = directory.join(FILE_NAME);
    if directory.join(RESTORING).exists() {
        return Err(OpenError::RestoreUnderWay(directory.to_owned()));
    }
    require_own_log(&path)?;
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    let connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    require_format(&connection, &path)?;
    Ok(connection)
}

pub(super) fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    // Small: rows are written once and read at a start.
    connection.pragma_update(None, "cache_size", -1024)
}

/// A database and what SQLite keeps beside it: its write-ahead log, and the index of that.
pub(super) fn with_log(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    })
}
