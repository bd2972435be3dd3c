//! The journal on SQLite: write-ahead log, synchronous=FULL, one row a batch (design.md rule 2).
//!
//! SQLite's own automatic checkpoints are off: a thread of ours moves the log into the database
//! file, so that no commit waits for it.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
};

use anyhow::Context as _;
use longshore_common::{
    data_directory::{private_database, private_file},
    id::{FleetId, TaskId},
};
use longshore_core::{
    batch::Batch,
    checkpoint::record,
    model::{
        deployment::DeploymentRecord,
        revision::RevisionRecord,
        service::{DeploymentId, RevisionId, ServiceId},
        task::TaskRecord,
    },
};
use rusqlite::{Connection, OpenFlags, ToSql, params, types::Value};

mod history_rows;
mod restore;
pub(super) mod service_history;

use self::history_rows::{Reader, STOPPED_TASKS, Told, meta_sum, record_in};
pub use self::{
    history_rows::DamagedRow,
    restore::{DamagedHistory, RestoreError, Restored, restore},
};
pub(super) use self::{history_rows::damaged_meta, restore::restored_up_to};
use super::{
    Checkpoint, DeploymentEntry, DeploymentFilter, HISTORY_TASKS_MAX, History, Journal,
    JournalError, ServiceEvent, StoppedEntry, StoppedFilter, lock::DirectoryLock,
};

/// The database's name in the data directory.
pub const FILE_NAME: &str = "journal.db";
/// `PRAGMA user_version` of what this release writes.
pub(super) const FORMAT: i64 = 5;
/// `PRAGMA application_id`: "LSHR".
const APPLICATION_ID: i64 = 0x4c53_4852;
/// The write-ahead log is cut back to this after it was moved.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;
/// Commits between two moves of the write-ahead log: each writes some pages of 4 KiB, and so many
/// stay below what is kept of the log.
const COMMITS_PER_WAL_MOVE: u32 = 500;
/// Bytes of batches and rows between two moves, when they are large.
const BYTES_PER_WAL_MOVE: usize = 4 * 1024 * 1024;
/// The write-ahead log of a quiet coordinator is moved after so long.
const WAL_MOVED_EVERY: std::time::Duration = std::time::Duration::from_secs(30);
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

/// What format 3 added: as of which batch a service said a message, and lists of stopped tasks by
/// what users ask them for.
const SCHEMA_3: &str = "
    ALTER TABLE service_events ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX stopped_tasks_of_host ON stopped_tasks (cluster, host, number);
    CREATE INDEX stopped_tasks_of_family ON stopped_tasks (cluster, family, number);
    CREATE INDEX stopped_tasks_of_group ON stopped_tasks (cluster, task_group, number);
    CREATE INDEX stopped_tasks_started_by ON stopped_tasks (cluster, started_by, number);
";

/// What format 4 added: messages by their age, which a checkpoint asks for.
const SCHEMA_4: &str = "
    CREATE INDEX events_by_age ON service_events (at);
";

/// What format 5 added: sums. What was written before has none.
const SCHEMA_5: &str = "
    ALTER TABLE meta ADD COLUMN crc INTEGER;
    ALTER TABLE stopped_tasks ADD COLUMN crc INTEGER;
    ALTER TABLE service_deployments ADD COLUMN crc INTEGER;
    ALTER TABLE service_revisions ADD COLUMN crc INTEGER;
    ALTER TABLE service_events ADD COLUMN crc INTEGER;
";

/// Drops all but the newest stopped tasks.
pub(super) const EXPIRE_TASKS: &str = "DELETE FROM stopped_tasks WHERE number <=
    (SELECT coalesce(max(number), 0) FROM stopped_tasks) - ?1";

pub struct SqliteJournal {
    connection: Connection,
    path: PathBuf,
    /// Since the write-ahead log was told to move.
    commits: u32,
    bytes: usize,
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

/// What to do about a damaged journal.
pub(super) const RESTORE_A_BACKUP: &str = "Stop the coordinator and put a backup in its place with \
    `longshore-coordinator restore --from FILE`, then see `longshore-coordinator recover --help`";
/// Where a database's header says how it is written to: 1, the rollback journal, as `VACUUM INTO`
/// leaves it; 2, the write-ahead log (<https://www.sqlite.org/fileformat.html>, 1.3).
const WRITE_VERSION_AT: u64 = 18;
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
        restore::finish(directory).map_err(io)?;
        private_database(&path).map_err(io)?;
        require_own_log(&path)?;
        let sqlite = |error| OpenError::Sqlite(path.clone(), error);
        let connection = Connection::open(&path).map_err(sqlite)?;
        require_format(&connection, &path)?;
        configure(&connection).map_err(sqlite)?;
        match format_of(&connection).map_err(sqlite)? {
            0 => create(&connection, new_fleet).map_err(sqlite)?,
            found => from_format(&connection, found).map_err(sqlite)?,
        }
        let checked: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
        if checked != "ok" {
            return Err(OpenError::Damaged(path, checked));
        }
        let wal_mover = WalMover::start(&path, WAL_MOVED_EVERY).map_err(sqlite)?;
        Ok(SqliteJournal { connection, path, commits: 0, bytes: 0, wal_mover, _lock: lock })
    }

    pub fn fleet(&self) -> Result<FleetId, rusqlite::Error> {
        fleet_in(&self.connection)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the write-ahead log at another pace, and tells of each look.
    #[cfg(test)]
    pub(super) fn move_wal_every(
        &mut self,
        every: std::time::Duration,
        looked: mpsc::Sender<()>,
    ) -> Result<(), rusqlite::Error> {
        self.wal_mover = WalMover::start_with(&self.path, every, move || {
            let _ = looked.send(());
        })?;
        Ok(())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn committed(&mut self, bytes: usize) {
        self.commits += 1;
        self.bytes += bytes;
        self.wal_mover.written.store(true, Ordering::Relaxed);
        if self.commits >= COMMITS_PER_WAL_MOVE || self.bytes >= BYTES_PER_WAL_MOVE {
            (self.commits, self.bytes) = (0, 0);
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

/// For those who read while a coordinator may be writing.
pub(super) fn beside_a_coordinator(directory: &Path) -> Result<Connection, OpenError> {
    let path = directory.join(FILE_NAME);
    if directory.join(restore::RESTORING).exists() {
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

/// Copies the journal as of one moment while a coordinator may be writing it.
pub fn backup(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let connection = beside_a_coordinator(directory)?;
    let failed = |why: anyhow::Error| OpenError::Backup { to: to.to_owned(), why };
    // Only what is whole has the name that was asked for.
    let mut copying = to.as_os_str().to_owned();
    copying.push(".copying");
    let copying = PathBuf::from(copying);
    // Of one that was broken off.
    restore::remove_with_log(&copying).map_err(|error| failed(error.into()))?;
    let copied = copy_to(&connection, &copying).and_then(|()| {
        fs_err::rename(&copying, to)?;
        // A name without a folder is one in the folder of this process.
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        Ok(restore::sync(folder.unwrap_or(Path::new(".")))?)
    });
    if copied.is_err() {
        // Why the copy failed says more than why it cannot be removed.
        let _ = restore::remove_with_log(&copying);
    }
    copied.map_err(failed)
}

fn copy_to(connection: &Connection, copying: &Path) -> anyhow::Result<()> {
    let target = copying.to_str().context("its name is not in UTF-8")?;
    // SQLite writes into an empty file, whose mode stays: the copy holds what the journal holds.
    private_file(copying)?;
    connection.execute("VACUUM INTO ?1", [target])?;
    Ok(fs_err::File::open(copying)?.sync_all()?)
}

/// The fleet of a journal that no coordinator serves.
pub fn fleet_of(directory: &Path) -> Result<FleetId, OpenError> {
    let path = directory.join(FILE_NAME);
    let lock = DirectoryLock::take(directory)
        .map_err(|error| OpenError::Io(directory.to_owned(), error))?;
    let _lock = lock.ok_or_else(|| OpenError::InUse(directory.to_owned()))?;
    let connection = beside_a_coordinator(directory)?;
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    if let Some(key) = damaged_meta(&connection).map_err(sqlite)? {
        return Err(OpenError::Damaged(path, format!("the sum of {key} does not match")));
    }
    fleet_in(&connection).map_err(sqlite)
}

fn fleet_in(connection: &Connection) -> Result<FleetId, rusqlite::Error> {
    let bytes: [u8; 16] =
        connection.query_row("SELECT value FROM meta WHERE key = 'fleet'", [], |row| row.get(0))?;
    Ok(FleetId::new(u128::from_be_bytes(bytes)))
}

/// Reads every page and index. What the rows mean is for [`recovery::check`].
///
/// [`recovery::check`]: super::recovery::check
pub fn integrity_check(directory: &Path) -> Result<Vec<String>, OpenError> {
    let path = directory.join(FILE_NAME);
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    integrity_of(&beside_a_coordinator(directory)?).map_err(sqlite)
}

/// Reads the whole history. A start does not: what runs does not depend on it.
pub fn history_check(directory: &Path) -> Result<Vec<DamagedRow>, OpenError> {
    let path = directory.join(FILE_NAME);
    let sqlite = |error| OpenError::Sqlite(path.clone(), error);
    damaged_history(&beside_a_coordinator(directory)?).map_err(sqlite)
}

fn damaged_history(connection: &Connection) -> Result<Vec<DamagedRow>, rusqlite::Error> {
    history_rows::damaged_rows(connection, format_of(connection)?)
}

fn integrity_of(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut problems = lines.collect::<Result<Vec<_>, _>>()?;
    problems.retain(|line| line != "ok");
    Ok(problems)
}

/// Refuses a database that has never had a write-ahead log and lies beside one: SQLite would take
/// the other's pages for its own.
fn require_own_log(path: &Path) -> Result<(), OpenError> {
    let [_, log, _] = restore::with_log(path);
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
    transaction.execute_batch(SCHEMA_3)?;
    transaction.execute_batch(SCHEMA_4)?;
    transaction.execute_batch(SCHEMA_5)?;
    put_meta(&transaction, "fleet", fleet.value().to_be_bytes().to_vec().into())?;
    put_meta(&transaction, "checkpoint", Value::Integer(0))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn put_meta(connection: &Connection, key: &str, value: Value) -> Result<(), rusqlite::Error> {
    let crc = meta_sum(key, (&value).into());
    let put = "INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?1, ?2, ?3)";
    connection.execute(put, params![key, value, crc]).map(drop)
}

/// A journal of an earlier release: nothing that it holds changes.
fn from_format(connection: &Connection, found: i64) -> Result<(), rusqlite::Error> {
    if found == FORMAT {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    if found < 2 {
        transaction.execute_batch(SCHEMA_2)?;
    }
    if found < 3 {
        transaction.execute_batch(SCHEMA_3)?;
    }
    if found < 4 {
        transaction.execute_batch(SCHEMA_4)?;
    }
    transaction.execute_batch(SCHEMA_5)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Moves the write-ahead log into the database file when told to, and after a while of its own
/// accord when anything was written, on its own connection. That is
/// closed when this is dropped: nothing changes the file once the directory's lock is given back.
struct WalMover {
    /// Absent while this is dropped.
    wake: Option<mpsc::SyncSender<()>>,
    /// Something was committed since the last move.
    written: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WalMover {
    fn start(path: &Path, every: std::time::Duration) -> Result<Self, rusqlite::Error> {
        Self::start_with(path, every, || ())
    }

    /// Calls `looked` after each time that it looked whether there is anything to move.
    fn start_with(
        path: &Path,
        every: std::time::Duration,
        looked: impl Fn() + Send + 'static,
    ) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let written = Arc::new(AtomicBool::new(true));
        let since_last = written.clone();
        let work = move || {
            loop {
                match woken.recv_timeout(every) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if since_last.swap(false, Ordering::Relaxed) {
                    let moved =
                        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                    if let Err(error) = moved {
                        tracing::warn!(%error, "the write-ahead log could not be moved; trying later");
                    }
                }
                looked();
            }
        };
        let thread = std::thread::Builder::new()
            .name("wal-mover".to_owned())
            .spawn(work)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(WalMover { wake: Some(wake), written, thread: Some(thread) })
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
        let mut bytes = 0;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO journal (seq, epoch, crc, events) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for batch in batches {
                let events = record::encode(&batch.events);
                let crc = batch_crc(batch.seq, batch.epoch, &events);
                bytes += events.len();
                insert.execute(params![batch.seq, batch.epoch, crc, events])?;
            }
            let stopped = batches.iter().flat_map(|batch| &batch.history.stopped);
            append_history(&transaction, stopped)?;
            for batch in batches {
                service_history::append(&transaction, &batch.history, batch.seq)?;
            }
        }
        transaction.commit()?;
        self.committed(bytes);
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
            put_meta(&transaction, "checkpoint", Value::Integer(checkpoint.seq as i64))?;
            transaction.execute("DELETE FROM journal WHERE seq <= ?1", [checkpoint.seq])?;
            transaction.execute(EXPIRE_TASKS, [HISTORY_TASKS_MAX])?;
            service_history::expire(&transaction)?;
        }
        transaction.commit()?;
        self.committed(BYTES_PER_WAL_MOVE);
        Ok(())
    }

    fn history(&self) -> Box<dyn History> {
        Box::new(SqliteHistory {
            path: self.path.clone(),
            idle: Mutex::default(),
            told: Told::default(),
        })
    }
}

fn append_history<'a>(
    transaction: &Connection,
    stopped: impl Iterator<Item = &'a TaskRecord>,
) -> Result<(), rusqlite::Error> {
    for task in stopped {
        let values = vec![
            task.id.value().to_be_bytes().to_vec().into(),
            task.cluster.as_str().to_owned().into(),
            // No bytes for one that never had a host.
            task.host.map(|host| host.value().to_be_bytes().to_vec()).unwrap_or_default().into(),
            task.family.as_str().to_owned().into(),
            task.group.clone().into(),
            task.started_by.clone().into(),
            record::encode(task).into(),
        ];
        STOPPED_TASKS.put(transaction, values)?;
    }
    Ok(())
}

/// Connections that wait for the next reader; more are opened when more read at once.
const IDLE_READERS_MAX: usize = 4;

/// A connection for each that reads, so that none waits for another.
struct SqliteHistory {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    told: Told,
}

impl SqliteHistory {
    fn with<T>(
        &self,
        f: impl FnOnce(&Reader<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, JournalError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(&self.path)?;
                configure(&connection)?;
                connection
            }
        };
        let result = f(&Reader { connection: &connection, told: &self.told });
        let mut idle = self.idle();
        if idle.len() < IDLE_READERS_MAX {
            idle.push(connection);
        }
        Ok(result?)
    }

    /// Held for a moment, never while anybody reads.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for SqliteHistory {
    fn tasks(&self, ids: &[TaskId]) -> Result<Vec<TaskRecord>, JournalError> {
        self.with(|reader| {
            let mut found = Vec::new();
            for id in ids {
                let id = id.value().to_be_bytes();
                found.extend(reader.rows(
                    &STOPPED_TASKS,
                    "WHERE task = ?1",
                    &[&id],
                    1,
                    record_in,
                )?);
            }
            Ok(found)
        })
    }

    fn list(&self, filter: &StoppedFilter) -> Result<Vec<StoppedEntry>, JournalError> {
        let host = filter.host.map(|host| host.value().to_be_bytes());
        let before = filter.before.map_or(i64::MAX as u64, |entry| entry.number);
        // Only what is asked for is in the statement, so that the index for it is used.
        let asked: [(&str, Option<&dyn ToSql>); 4] = [
            ("host", host.as_ref().map(|host| host as _)),
            ("started_by", filter.started_by.as_ref().map(|started_by| started_by as _)),
            ("task_group", filter.group.as_ref().map(|group| group as _)),
            ("family", filter.family.as_ref().map(|family| family as _)),
        ];
        let mut clause = "WHERE cluster = ?1 AND number < ?2".to_owned();
        let mut values: Vec<&dyn ToSql> = vec![&filter.cluster, &before];
        for (column, value) in asked {
            let Some(value) = value else { continue };
            values.push(value);
            clause += &format!(" AND {column} = ?{}", values.len());
        }
        clause += " ORDER BY number DESC";
        let entry = |row: &rusqlite::Row<'_>| {
            let task: [u8; 16] = row.get("task")?;
            let task = TaskId::new(u128::from_be_bytes(task));
            Ok(StoppedEntry { number: row.get("number")?, task })
        };
        self.with(|reader| reader.rows(&STOPPED_TASKS, &clause, &values, filter.limit, entry))
    }

    fn service_events(
        &self,
        service: ServiceId,
        until: u64,
        limit: usize,
    ) -> Result<Vec<ServiceEvent>, JournalError> {
        self.with(|reader| service_history::events(reader, service, until, limit))
    }

    fn deployments(&self, filter: &DeploymentFilter) -> Result<Vec<DeploymentEntry>, JournalError> {
        self.with(|reader| service_history::deployments(reader, filter))
    }

    fn deployments_by_id(
        &self,
        ids: &[DeploymentId],
    ) -> Result<Vec<(ServiceId, DeploymentRecord)>, JournalError> {
        self.with(|reader| service_history::deployments_by_id(reader, ids))
    }

    fn revisions(
        &self,
        ids: &[RevisionId],
    ) -> Result<Vec<(ServiceId, RevisionRecord)>, JournalError> {
        self.with(|reader| service_history::revisions(reader, ids))
    }
}

pub(super) fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
}
