//! The journal on SQLite: write-ahead log, synchronous=FULL, one row a batch (design.md rule 2).
//!
//! SQLite's own automatic checkpoints are off: a thread of ours moves the log into the database
//! file, so that no commit waits for it.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
};

use longshore_common::id::{FleetId, HostId, TaskId};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

mod service_history;

use super::{
    Batch, Checkpoint, DeploymentEntry, DeploymentFilter, HISTORY_TASKS_MAX, History, Journal,
    JournalError, ServiceEvent, StoppedEntry, StoppedFilter, lock::DirectoryLock,
};
use crate::state_machine::{
    record::{self, DeploymentRecord, RevisionRecord, TaskRecord},
    service::{DeploymentId, RevisionId, ServiceId},
};

/// The database's name in the data directory.
pub const FILE_NAME: &str = "journal.db";
/// `PRAGMA user_version` of what this release writes.
pub(super) const FORMAT: i64 = 2;
/// `PRAGMA application_id`: "LSHR".
const APPLICATION_ID: i64 = 0x4c53_4852;
/// The write-ahead log is cut back to this after it was moved.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;
/// Commits between two moves of the write-ahead log.
const COMMITS_PER_WAL_MOVE: u32 = 1_000;
/// How long a connection waits for another's lock; only readers and the log's mover ever hold one.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// `state` has a rowid: new rows then follow each other, where a tree of random task ids would
/// have each of them rewrite a page of its own.
const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, crc INTEGER NOT NULL, events BLOB NOT NULL
    );
    CREATE TABLE state (
        kind INTEGER NOT NULL, id BLOB NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    );
    CREATE TABLE stopped_tasks (
        number INTEGER PRIMARY KEY AUTOINCREMENT, task BLOB NOT NULL UNIQUE, cluster TEXT NOT NULL,
        host BLOB NOT NULL, family TEXT NOT NULL, task_group TEXT NOT NULL, started_by TEXT,
        record BLOB NOT NULL
    );
    CREATE INDEX stopped_tasks_of_cluster ON stopped_tasks (cluster, number);
";

/// What format 2 added: the history of services.
const SCHEMA_2: &str = "
    CREATE TABLE service_deployments (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, service BLOB NOT NULL,
        created_at INTEGER NOT NULL, record BLOB NOT NULL
    );
    CREATE INDEX deployments_of_service ON service_deployments (service, number);
    CREATE INDEX deployments_by_age ON service_deployments (created_at);
    CREATE TABLE service_revisions (
        id INTEGER PRIMARY KEY, service BLOB NOT NULL, created_at INTEGER NOT NULL,
        record BLOB NOT NULL
    );
    CREATE INDEX revisions_by_age ON service_revisions (created_at);
    CREATE TABLE service_events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, service BLOB NOT NULL, at INTEGER NOT NULL,
        message TEXT NOT NULL
    );
    CREATE INDEX events_of_service ON service_events (service, number);
";

pub struct SqliteJournal {
    connection: Connection,
    path: PathBuf,
    commits: u32,
    wal_mover: WalMover,
    /// Dropped last: nobody else may open the journal before the connection is closed.
    _lock: DirectoryLock,
}

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
    #[error(
        "{0} is damaged: {1}. Restore a backup, then see `longshore-coordinator recover --help`"
    )]
    Damaged(PathBuf, String),
    #[error("cannot open {0}")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
    #[error("cannot use the data directory {0}")]
    Io(PathBuf, #[source] std::io::Error),
}

/// Free space without which the coordinator does not start.
pub const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

impl SqliteJournal {
    /// Opens or makes the journal in `directory`. `new_fleet` names the fleet of a new one.
    pub fn open(directory: &Path, new_fleet: FleetId) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io(directory.to_owned(), error);
        let lock = DirectoryLock::take(directory).map_err(io)?;
        let lock = lock.ok_or_else(|| OpenError::InUse(directory.to_owned()))?;
        require_free_space(directory)?;
        let path = directory.join(FILE_NAME);
        let sqlite = |error| OpenError::Sqlite(path.clone(), error);
        let connection = Connection::open(&path).map_err(sqlite)?;
        require_format(&connection, &path)?;
        configure(&connection).map_err(sqlite)?;
        match format_of(&connection).map_err(sqlite)? {
            0 => create(&connection, new_fleet).map_err(sqlite)?,
            1 => from_format_1(&connection).map_err(sqlite)?,
            _ => {}
        }
        let checked: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
        if checked != "ok" {
            return Err(OpenError::Damaged(path, checked));
        }
        let wal_mover = WalMover::start(&path).map_err(sqlite)?;
        Ok(SqliteJournal { connection, path, commits: 0, wal_mover, _lock: lock })
    }

    pub fn fleet(&self) -> Result<FleetId, rusqlite::Error> {
        let bytes: [u8; 16] =
            self.connection
                .query_row("SELECT value FROM meta WHERE key = 'fleet'", [], |row| row.get(0))?;
        Ok(FleetId::new(u128::from_be_bytes(bytes)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn committed(&mut self) {
        self.commits += 1;
        if self.commits >= COMMITS_PER_WAL_MOVE {
            self.commits = 0;
            // Full means that a move is due already.
            self.wal_mover.wake();
        }
    }
}

/// What the journal's files take, its write-ahead log with them.
pub fn bytes_on_disk(directory: &Path) -> u64 {
    let files = [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")];
    let sizes = files.iter().map(|file| fs_err::metadata(directory.join(file)));
    sizes.filter_map(Result::ok).map(|file| file.len()).sum()
}

/// Copies the journal as of one moment while a coordinator may be writing it.
pub fn backup(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let path = directory.join(FILE_NAME);
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    let connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    require_format(&connection, &path)?;
    let target = to.to_str().ok_or_else(|| OpenError::NotAJournal(to.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [target]).map_err(sqlite)?;
    let copy = fs_err::File::open(to).map_err(|error| OpenError::Io(to.to_owned(), error))?;
    copy.sync_all().map_err(|error| OpenError::Io(to.to_owned(), error))
}

/// Reads every page and row: what `check` prints.
pub fn integrity_check(directory: &Path) -> Result<Vec<String>, OpenError> {
    let path = directory.join(FILE_NAME);
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    let connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    require_format(&connection, &path)?;
    let mut statement = connection.prepare("PRAGMA integrity_check").map_err(sqlite)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0)).map_err(sqlite)?;
    let mut problems: Vec<String> = lines.collect::<Result<Vec<_>, _>>().map_err(sqlite)?;
    problems.retain(|line| line != "ok");
    Ok(problems)
}

fn require_free_space(directory: &Path) -> Result<(), OpenError> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(|errno| OpenError::Io(directory.to_owned(), errno.into()))?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < FREE_BYTES_MIN {
        let (free_mib, needed_mib) = (free >> 20, FREE_BYTES_MIN >> 20);
        return Err(OpenError::DiskFull { path: directory.to_owned(), free_mib, needed_mib });
    }
    Ok(())
}

fn format_of(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses other programs' files and newer formats before anything is written.
fn require_format(connection: &Connection, path: &Path) -> Result<(), OpenError> {
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

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    // Small: rows are written once and read at a start.
    connection.pragma_update(None, "cache_size", -1024)
}

/// One transaction, so that a crash leaves either nothing or a whole empty journal.
fn create(connection: &Connection, fleet: FleetId) -> Result<(), rusqlite::Error> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(SCHEMA_2)?;
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('fleet', ?1)",
        [fleet.value().to_be_bytes()],
    )?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('checkpoint', 0)", [])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// A journal of the release before: nothing that it holds changes.
fn from_format_1(connection: &Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA_2)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Moves the write-ahead log into the database file when told to, on its own connection. That is
/// closed when this is dropped: nothing changes the file once the directory's lock is given back.
struct WalMover {
    /// Absent while this is dropped.
    wake: Option<mpsc::SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WalMover {
    fn start(path: &Path) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let work = move || {
            while woken.recv().is_ok() {
                let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                if let Err(error) = moved {
                    tracing::warn!(%error, "the write-ahead log could not be moved; trying later");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("wal-mover".to_owned())
            .spawn(work)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(WalMover { wake: Some(wake), thread: Some(thread) })
    }

    /// Once for all that was committed meanwhile.
    fn wake(&self) {
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }
}

impl Drop for WalMover {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but that it panicked, which its own message said.
            let _ = thread.join();
        }
    }
}

/// Covers what a row says and where it stands.
pub(super) fn batch_crc(seq: u64, epoch: u64, events: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_be_bytes());
    hasher.update(&epoch.to_be_bytes());
    hasher.update(events);
    hasher.finalize()
}

pub(super) fn row_crc(kind: u8, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

impl Journal for SqliteJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        let transaction = self.connection.unchecked_transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO journal (seq, epoch, crc, events) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for batch in batches {
                let events = record::encode(&batch.events);
                let crc = batch_crc(batch.seq, batch.epoch, &events);
                insert.execute(params![batch.seq, batch.epoch, crc, events])?;
            }
            let stopped = batches.iter().flat_map(|batch| &batch.history.stopped);
            append_history(&transaction, stopped)?;
            for batch in batches {
                service_history::append(&transaction, &batch.history)?;
            }
        }
        transaction.commit()?;
        self.committed();
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), JournalError> {
        let transaction = self.connection.unchecked_transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT OR REPLACE INTO state (kind, id, crc, value) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let mut delete =
                transaction.prepare_cached("DELETE FROM state WHERE kind = ?1 AND id = ?2")?;
            for row in &checkpoint.rows {
                match &row.value {
                    Some(value) => {
                        let crc = row_crc(row.kind, &row.key, value);
                        put.execute(params![row.kind, row.key, crc, value])?
                    }
                    None => delete.execute(params![row.kind, row.key])?,
                };
            }
            transaction
                .execute("UPDATE meta SET value = ?1 WHERE key = 'checkpoint'", [checkpoint.seq])?;
            transaction.execute("DELETE FROM journal WHERE seq <= ?1", [checkpoint.seq])?;
            transaction.execute(
                "DELETE FROM stopped_tasks WHERE number <=
                     (SELECT coalesce(max(number), 0) FROM stopped_tasks) - ?1",
                [HISTORY_TASKS_MAX],
            )?;
            service_history::expire(&transaction)?;
        }
        transaction.commit()?;
        self.commits = COMMITS_PER_WAL_MOVE;
        self.committed();
        Ok(())
    }

    fn history(&self) -> Box<dyn History> {
        Box::new(SqliteHistory { path: self.path.clone(), connection: Mutex::new(None) })
    }
}

fn append_history<'a>(
    transaction: &Connection,
    stopped: impl Iterator<Item = &'a TaskRecord>,
) -> Result<(), rusqlite::Error> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO stopped_tasks
             (task, cluster, host, family, task_group, started_by, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for task in stopped {
        insert.execute(params![
            task.id.value().to_be_bytes(),
            task.cluster.as_str(),
            // No bytes for one that never had a host.
            task.host.map(|host| host.value().to_be_bytes().to_vec()).unwrap_or_default(),
            task.family.as_str(),
            task.group,
            task.started_by,
            record::encode(task),
        ])?;
    }
    Ok(())
}

/// Its own connection, opened at the first use.
struct SqliteHistory {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl SqliteHistory {
    fn with<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, JournalError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(&self.path)?;
                configure(&connection)?;
                connection
            }
        };
        let result = f(&connection);
        *slot = Some(connection);
        Ok(result?)
    }
}

impl History for SqliteHistory {
    fn tasks(&self, ids: &[TaskId]) -> Result<Vec<TaskRecord>, JournalError> {
        self.with(|connection| {
            let mut select =
                connection.prepare_cached("SELECT record FROM stopped_tasks WHERE task = ?1")?;
            let mut found = Vec::new();
            for id in ids {
                let bytes: Option<Vec<u8>> =
                    select.query_row([id.value().to_be_bytes()], |row| row.get(0)).optional()?;
                let Some(bytes) = bytes else { continue };
                let decoded = record::decode(&bytes);
                found.push(decoded.map_err(|error| unreadable(Box::new(error)))?);
            }
            Ok(found)
        })
    }

    fn list(&self, filter: &StoppedFilter) -> Result<Vec<StoppedEntry>, JournalError> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT number, task FROM stopped_tasks
                 WHERE cluster = ?1 AND number < ?2
                   AND (?3 IS NULL OR host = ?3) AND (?4 IS NULL OR family = ?4)
                   AND (?5 IS NULL OR task_group = ?5) AND (?6 IS NULL OR started_by = ?6)
                 ORDER BY number DESC LIMIT ?7",
            )?;
            let host = |host: HostId| host.value().to_be_bytes();
            let rows = select.query_map(
                params![
                    filter.cluster,
                    filter.before.map_or(i64::MAX as u64, |entry| entry.number),
                    filter.host.map(host),
                    filter.family,
                    filter.group,
                    filter.started_by,
                    filter.limit,
                ],
                |row| {
                    let task: [u8; 16] = row.get(1)?;
                    let task = TaskId::new(u128::from_be_bytes(task));
                    Ok(StoppedEntry { number: row.get(0)?, task })
                },
            )?;
            rows.collect()
        })
    }

    fn service_events(
        &self,
        service: ServiceId,
        limit: usize,
    ) -> Result<Vec<ServiceEvent>, JournalError> {
        self.with(|connection| service_history::events(connection, service, limit))
    }

    fn deployments(&self, filter: &DeploymentFilter) -> Result<Vec<DeploymentEntry>, JournalError> {
        self.with(|connection| service_history::deployments(connection, filter))
    }

    fn deployments_by_id(
        &self,
        ids: &[DeploymentId],
    ) -> Result<Vec<(ServiceId, DeploymentRecord)>, JournalError> {
        self.with(|connection| service_history::deployments_by_id(connection, ids))
    }

    fn revisions(
        &self,
        ids: &[RevisionId],
    ) -> Result<Vec<(ServiceId, RevisionRecord)>, JournalError> {
        self.with(|connection| service_history::revisions(connection, ids))
    }
}

pub(super) fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
}
