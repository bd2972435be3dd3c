//! The journal on SQLite: write-ahead log, synchronous=FULL, one row a batch (design.md rule 2).
//!
//! SQLite's own automatic checkpoints are off: a thread of ours moves the log into the database
//! file, so that no commit waits for it.

#[cfg(test)]
use std::sync::mpsc;
use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use anyhow::Context as _;
use longshore_common::{
    data_directory::{private_database, private_file},
    id::FleetId,
};
use longshore_core::{batch::Batch, checkpoint::record};
use rusqlite::{Connection, params, types::Value};

mod format;
mod history_rows;
mod schema;
mod integrity;
mod rebuild;
mod restore;
mod wal_mover;
pub(super) mod service_history;
mod history;

pub(super) use self::{format::beside_a_coordinator, history::EXPIRE_TASKS, rebuild::recover_from};
pub use self::{
    format::{FILE_NAME, OpenError},
    history_rows::DamagedRow,
    integrity::{history_check, integrity_check},
    rebuild::{Recovered, RecoveryError},
    restore::{DamagedHistory, RestoreError, Restored, restore},
};
use self::{
    format::{configure, format_of, require_format, require_own_log},
    history::{SqliteHistory, append_history},
    history_rows::damaged_meta,
    rebuild::{batch_crc, row_crc},
    schema::{create, from_format, put_meta},
    wal_mover::WalMover,
};
use super::{Checkpoint, HISTORY_TASKS_MAX, History, Journal, JournalError, lock::DirectoryLock};

/// Number of commits between two moves of the write-ahead log (ours): each commit writes some pages
/// of 4 KiB, and all of them together stay below what is kept of the log.
const COMMITS_PER_WAL_MOVE: u32 = 500;
/// Number of bytes of batches and rows between two moves, when they are large (ours).
const BYTES_PER_WAL_MOVE: usize = 4 * 1024 * 1024;
/// Interval of moving the write-ahead log of a quiet coordinator (ours).
const WAL_MOVED_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// The journal of one data directory, which nobody else can open meanwhile.
pub struct SqliteJournal {
    connection: Connection,
    path: PathBuf,
    /// Number of commits since the write-ahead log was told to move.
    commits: u32,
    bytes: usize,
    wal_mover: WalMover,
    /// Dropped last: nobody else may open the journal before the connection is closed.
    _lock: DirectoryLock,
}

/// Minimum free space in bytes, without which the coordinator does not start (ours).
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

/// Copies the journal as of one moment while a coordinator may be writing it.
pub fn backup(directory: &Path, to: &Path) -> Result<(), OpenError> {
    let connection = beside_a_coordinator(directory)?;
    let failed = |why: anyhow::Error| OpenError::Backup { to: to.to_owned(), why };
    // Only what is whole has the name that was asked for.
    let mut copying = to.as_os_str().to_owned();
    copying.push(".copying");
    let copying = PathBuf::from(copying);
    // What a backup left that was broken off.
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
        Box::new(SqliteHistory::of(self.path.clone()))
    }
}
