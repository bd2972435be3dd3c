//! What the agent must not forget: the highest order it has taken, the tasks it was ordered to run and
//! to stop, and what was last observed of them.
//!
//! One SQLite file. Orders are flushed to the disk before the first call that serves them
//! (design.md rule 3); observations are written without a flush, because a process that is killed
//! leaves them in the page cache and a machine that loses power has no running container left.
//! Never: a decision, a Docker call, or a guess about a damaged file.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    data_directory,
    id::{FleetId, HostId, TaskId},
    protocol::Seen,
    task::StopCause,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    engine::images::UsedImage,
    task::{intent::Intent, key::TaskKey, observed::record::TaskRecord},
};

#[cfg(test)]
pub(crate) mod tests;

/// Version of the format, raised when an older agent could misread the file.
const FORMAT: i64 = 1;
/// "LSLG": tells our files from other SQLite files.
const APPLICATION_ID: i64 = 0x4c53_4c47;
/// SQLite's cache in KiB, negated as `cache_size` has it: the agent is to stay small.
const CACHE_KIB: i64 = -256;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The open ledger. One process holds it at a time.
pub(crate) struct Ledger {
    connection: Connection,
    /// Kept for its lock.
    _lock: File,
}

/// Everything that the file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct LedgerContents {
    /// Absent in a new ledger: orders may have been taken that nobody here knows of.
    pub(crate) head: Option<Head>,
    pub(crate) intents: Vec<Arc<Intent>>,
    pub(crate) stops: BTreeMap<TaskKey, StopCause>,
    pub(crate) observations: BTreeMap<TaskKey, TaskRecord>,
    /// Images that tasks have used, by their ids.
    pub(crate) images: BTreeMap<String, UsedImage>,
}

/// Whose ledger it is and what it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) fleet: FleetId,
    pub(crate) host: HostId,
    pub(crate) seen: Seen,
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Given when orders were taken: then the batch is flushed before it counts as written.
    pub(crate) head: Option<Head>,
    pub(crate) intents: Vec<Arc<Intent>>,
    pub(crate) stops: BTreeMap<TaskKey, StopCause>,
    pub(crate) observations: BTreeMap<TaskKey, TaskRecord>,
    /// Removed with all that is known of them.
    pub(crate) forgotten: Vec<TaskKey>,
    /// Absent: the image is gone.
    pub(crate) images: BTreeMap<String, Option<UsedImage>>,
}

impl Batch {
    /// What is known of tasks and images alone.
    pub(crate) fn without_orders(self) -> Self {
        Batch { head: None, intents: Vec::new(), stops: BTreeMap::new(), ..self }
    }

    /// One batch for what this one and then a later one would have written.
    pub(crate) fn then(mut self, later: Batch) -> Self {
        for key in &later.forgotten {
            self.observations.remove(key);
        }
        self.forgotten.extend(later.forgotten);
        self.head = later.head.or(self.head);
        self.intents.extend(later.intents);
        self.stops.extend(later.stops);
        self.observations.extend(later.observations);
        self.images.extend(later.images);
        self
    }

    /// Nothing that should be written before long. Images wait for the next batch: what a task is
    /// reported to be must not wait for them.
    pub(crate) fn can_wait(&self) -> bool {
        self.head.is_none()
            && self.intents.is_empty()
            && self.stops.is_empty()
            && self.observations.is_empty()
            && self.forgotten.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("another agent holds the ledger {}; stop it, or give this one its own --data-dir", .0.display())]
    Held(PathBuf),
    #[error("the ledger's lock file {} cannot be opened", .path.display())]
    Lock { path: PathBuf, source: std::io::Error },
    #[error(
        "the ledger {} was written by a newer agent (format {found}, this one reads {FORMAT}); \
         start that agent again, or move the file away: containers are then adopted by their labels",
        .path.display()
    )]
    Newer { path: PathBuf, found: i64 },
    #[error("{} is a SQLite file, but not a ledger of this agent", .0.display())]
    Foreign(PathBuf),
    #[error(
        "the ledger {} is damaged ({what}); move it away and start again: containers are then \
         adopted by their labels, and nothing is stopped",
        .path.display()
    )]
    Damaged { path: PathBuf, what: String },
    #[error(
        "the ledger {} is of another host or fleet than this agent's identity; move the one that \
         is wrong away",
        .0.display()
    )]
    OtherHost(PathBuf),
    #[error("the ledger {} cannot be opened", .path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the ledger cannot be written")]
    Write(#[source] rusqlite::Error),
    #[error("a record for the ledger cannot be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
}

impl LedgerError {
    /// The file is not what was written: nothing that is in it can be relied on.
    pub(crate) fn is_damage(&self) -> bool {
        let damaged = [Some(ErrorCode::NotADatabase), Some(ErrorCode::DatabaseCorrupt)];
        match self {
            LedgerError::Write(error) => damaged.contains(&error.sqlite_error_code()),
            LedgerError::Encode(_) => true,
            LedgerError::Held(_)
            | LedgerError::Lock { .. }
            | LedgerError::Newer { .. }
            | LedgerError::Foreign(_)
            | LedgerError::Damaged { .. }
            | LedgerError::OtherHost(_)
            | LedgerError::Open { .. } => false,
        }
    }

    pub(crate) fn is_for_want_of_room(&self) -> bool {
        let LedgerError::Write(error) = self else { return false };
        error.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }
}

/// Kind of a row. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum RecordKind {
    Head = 0,
    Intent = 1,
    Stop = 2,
    Observation = 3,
}

const KINDS: [RecordKind; 4] =
    [RecordKind::Head, RecordKind::Intent, RecordKind::Stop, RecordKind::Observation];
/// The key of rows that belong to no task.
const NO_TASK: TaskKey = TaskKey { task: TaskId::new(0), generation: 0 };

impl Ledger {
    /// Opens or makes the file, checks all of it, and returns what it holds.
    pub(crate) fn open(
        path: &Path,
        fleet: FleetId,
        host: HostId,
    ) -> Result<(Self, LedgerContents), LedgerError> {
        let lock = lock(path)?;
        let damaged = |what: String| LedgerError::Damaged { path: path.to_owned(), what };
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                damaged(source.to_string())
            }
            _ => LedgerError::Open { path: path.to_owned(), source },
        };
        data_directory::private_database(path)
            .map_err(|source| LedgerError::Lock { path: path.to_owned(), source })?;
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // Before the first look at it: then SQLite keeps the index of the WAL in memory. Else it makes a
        // file for that, which a full disk refuses, and without which a killed agent's WAL is not read.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
        let number = |name: &str| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed)
        };
        let mut is_new = false;
        match (number("application_id")?, number("user_version")?) {
            (0, 0) if is_empty(&connection).map_err(failed)? => is_new = true,
            (APPLICATION_ID, FORMAT) => {}
            (APPLICATION_ID, found) => {
                return Err(LedgerError::Newer { path: path.to_owned(), found });
            }
            _ => return Err(LedgerError::Foreign(path.to_owned())),
        }
        prepare(&mut connection, is_new).map_err(failed)?;
        let contents = read(&connection).map_err(damaged)?;
        if let Some(head) = &contents.head
            && (head.fleet != fleet || head.host != host)
        {
            return Err(LedgerError::OtherHost(path.to_owned()));
        }
        Ok((Ledger { connection, _lock: lock }, contents))
    }

    /// Writes one batch. With a head it is on the disk when this returns.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<(), LedgerError> {
        #[cfg(test)]
        tests::room(&self.connection)?;
        let flush = if batch.head.is_some() { "FULL" } else { "NORMAL" };
        self.connection.pragma_update(None, "synchronous", flush).map_err(LedgerError::Write)?;
        let transaction = self.connection.transaction().map_err(LedgerError::Write)?;
        for key in &batch.forgotten {
            transaction
                .prepare_cached("DELETE FROM records WHERE task = ?1 AND generation = ?2")
                .and_then(|mut delete| delete.execute(params![task_bytes(*key), key.generation]))
                .map_err(LedgerError::Write)?;
        }
        if let Some(head) = &batch.head {
            put(&transaction, RecordKind::Head, NO_TASK, head)?;
        }
        for intent in &batch.intents {
            put(&transaction, RecordKind::Intent, intent.key, intent)?;
        }
        for (key, cause) in &batch.stops {
            put(&transaction, RecordKind::Stop, *key, cause)?;
        }
        for (key, observed) in &batch.observations {
            put(&transaction, RecordKind::Observation, *key, observed)?;
        }
        for (id, image) in &batch.images {
            put_image(&transaction, id, image.as_ref())?;
        }
        transaction.commit().map_err(LedgerError::Write)
    }
}

fn lock(path: &Path) -> Result<File, LedgerError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let failed = |source| LedgerError::Lock { path: lock_path.clone(), source };
    let file = File::create(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Held(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A file without a name of its own is ours to name only as long as nobody keeps anything in it.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Nothing is written where all is there already: the disk may be full.
fn prepare(connection: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    let tables = "SELECT count(*) = 2 FROM sqlite_schema WHERE name IN ('records', 'images')";
    if !is_new && connection.query_row(tables, [], |row| row.get(0))? {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS records (
             kind INTEGER NOT NULL,
             task BLOB NOT NULL,
             generation INTEGER NOT NULL,
             crc INTEGER NOT NULL,
             record BLOB NOT NULL,
             PRIMARY KEY (task, generation, kind)
         ) WITHOUT ROWID;
         -- Not in ledgers of the first agents, which leave it alone.
         CREATE TABLE IF NOT EXISTS images (
             id TEXT NOT NULL PRIMARY KEY,
             crc INTEGER NOT NULL,
             record BLOB NOT NULL
         ) WITHOUT ROWID",
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Whose orders this file holds; nothing where there is none, or it holds none. What is wrong with a
/// file that cannot be read is told when it is opened.
pub(crate) fn owner(path: &Path) -> Option<(FleetId, HostId)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    connection.busy_timeout(BUSY_TIMEOUT).ok()?;
    let ours = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    if ours.ok()? != APPLICATION_ID {
        return None;
    }
    let record: Vec<u8> = connection
        .query_row("SELECT record FROM records WHERE kind = ?1", [RecordKind::Head as i64], |row| {
            row.get(0)
        })
        .ok()?;
    let head: Head = decode(&record).ok()?;
    Some((head.fleet, head.host))
}

fn read(connection: &Connection) -> Result<LedgerContents, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(text)?;
    if check != "ok" {
        return Err(check);
    }
    let mut contents = LedgerContents::default();
    let mut select = connection
        .prepare("SELECT kind, task, generation, crc, record FROM records")
        .map_err(text)?;
    let mut rows = select.query([]).map_err(text)?;
    while let Some(row) = rows.next().map_err(text)? {
        let column = |index| row.get::<_, i64>(index).map_err(text);
        let (kind, generation, crc) = (column(0)?, column(2)?, column(3)?);
        let task: Vec<u8> = row.get(1).map_err(text)?;
        let record: Vec<u8> = row.get(4).map_err(text)?;
        let kind = KINDS
            .into_iter()
            .find(|known| *known as i64 == kind)
            .ok_or_else(|| format!("a row of unknown kind {kind}"))?;
        let task =
            <[u8; 16]>::try_from(task.as_slice()).map_err(|_| "a task id of wrong length")?;
        let key = TaskKey {
            task: TaskId::new(u128::from_be_bytes(task)),
            generation: u32::try_from(generation).map_err(|_| "a generation out of range")?,
        };
        if i64::from(checksum(kind, key, &record)) != crc {
            return Err(format!("a record of task {} has a wrong checksum", key.task));
        }
        match kind {
            RecordKind::Head => contents.head = Some(decode(&record)?),
            RecordKind::Intent => contents.intents.push(decode(&record)?),
            RecordKind::Stop => drop(contents.stops.insert(key, decode(&record)?)),
            RecordKind::Observation => drop(contents.observations.insert(key, decode(&record)?)),
        }
    }
    read_images(connection, &mut contents)?;
    Ok(contents)
}

fn read_images(connection: &Connection, contents: &mut LedgerContents) -> Result<(), String> {
    let text = |error: rusqlite::Error| error.to_string();
    let mut select = connection.prepare("SELECT id, crc, record FROM images").map_err(text)?;
    let mut rows = select.query([]).map_err(text)?;
    while let Some(row) = rows.next().map_err(text)? {
        let (id, crc): (String, i64) = (row.get(0).map_err(text)?, row.get(1).map_err(text)?);
        let record: Vec<u8> = row.get(2).map_err(text)?;
        if i64::from(image_checksum(&id, &record)) != crc {
            return Err(format!("the record of image {id} has a wrong checksum"));
        }
        contents.images.insert(id, decode(&record)?);
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(record).map_err(|error| format!("a record is not understood: {error}"))
}

fn put(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    key: TaskKey,
    record: &impl Serialize,
) -> Result<(), LedgerError> {
    let record = rmp_serde::to_vec_named(record).map_err(LedgerError::Encode)?;
    let crc = checksum(kind, key, &record);
    transaction
        .prepare_cached("REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut replace| {
            replace.execute(params![kind as i64, task_bytes(key), key.generation, crc, record])
        })
        .map_err(LedgerError::Write)?;
    Ok(())
}

fn put_image(
    transaction: &Transaction<'_>,
    id: &str,
    image: Option<&UsedImage>,
) -> Result<(), LedgerError> {
    let written = match image {
        None => transaction
            .prepare_cached("DELETE FROM images WHERE id = ?1")
            .and_then(|mut delete| delete.execute(params![id])),
        Some(image) => {
            let record = rmp_serde::to_vec_named(image).map_err(LedgerError::Encode)?;
            let crc = image_checksum(id, &record);
            transaction
                .prepare_cached("REPLACE INTO images VALUES (?1, ?2, ?3)")
                .and_then(|mut replace| replace.execute(params![id, crc, record]))
        }
    };
    written.map(drop).map_err(LedgerError::Write)
}

fn image_checksum(id: &str, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id.as_bytes());
    hasher.update(record);
    hasher.finalize()
}

fn task_bytes(key: TaskKey) -> [u8; 16] {
    key.task.value().to_be_bytes()
}

fn checksum(kind: RecordKind, key: TaskKey, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind as u8]);
    hasher.update(&task_bytes(key));
    hasher.update(&key.generation.to_be_bytes());
    hasher.update(record);
    hasher.finalize()
}
