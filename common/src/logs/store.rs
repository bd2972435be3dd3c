//! Where log events lie: one SQLite file of groups, streams and events, and, in the same transactions,
//! how far each source of events was read.
//!
//! That events and cursor are one transaction is what makes a crash lose and repeat nothing: both are
//! there or neither, and the source is read on from the cursor. Never: an event without its stream, or
//! a bound that is not named here.

mod column;
mod error;
mod read;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use self::column::{as_i64, ms};
pub use self::error::StoreError;
use super::query::{AskEvents, LOG_EVENT_OVERHEAD_BYTES, LogAsk, LogReply};
use crate::{clock::Timestamp, data_directory::private_database};

/// Version of the format, raised when an older program could misread the file.
const FORMAT: i64 = 1;
/// "LSLE": tells our files from other SQLite files.
const APPLICATION_ID: i64 = 0x4c53_4c45;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite's cache in KiB, negated as `cache_size` has it: the agent is to stay small.
const CACHE_KIB: i64 = -512;
/// Maximum of events deleted in one transaction, so that writers never wait long.
const DELETED_AT_ONCE: u32 = 2000;
/// Maximum of pages given back to the file system after a deletion.
const FREED_PAGES_AT_ONCE: u32 = 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One connection to the file. Several may be open, in one process or more.
pub struct LogStore {
    connection: Connection,
}

/// What a crash of the machine may undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The last moments, events and cursors alike: what is read again from its source.
    WithItsSource,
    /// Nothing: what was appended is on the disk.
    Acknowledged,
}

/// Events of one source, and how far it was read with them.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    pub group: &'a str,
    pub stream: &'a str,
    pub events: &'a [NewEvent],
    /// The source's name and its cursor, when there is a source to read on from.
    pub cursor: Option<(&'a str, &'a [u8])>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub at: Timestamp,
    /// Not empty.
    pub message: String,
}

/// How long and how much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// For groups without a retention of their own.
    pub age: Duration,
    /// Maximum of bytes of all events together, counted as CloudWatch Logs does. The oldest go first.
    pub bytes: u64,
}

impl LogStore {
    /// Opens the file, and makes it if there is none.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        private_database(path)
            .map_err(|source| StoreError::Exposed { path: path.to_owned(), source })?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let number =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let is_empty = || {
            connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
                row.get::<_, bool>(0)
            })
        };
        let mut is_new = false;
        match (number("application_id")?, number("user_version")?) {
            (0, 0) if is_empty()? => {
                is_new = true;
                // Only before the first table.
                connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            }
            (APPLICATION_ID, FORMAT) => {}
            (APPLICATION_ID, found) => {
                return Err(StoreError::Newer { path: path.to_owned(), found });
            }
            _ => return Err(StoreError::Foreign(path.to_owned())),
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(
            None,
            "synchronous",
            match durability {
                Durability::WithItsSource => "NORMAL",
                Durability::Acknowledged => "FULL",
            },
        )?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        let mut store = LogStore { connection };
        // One that is there is not written to: the disk may be full.
        if is_new {
            let transaction = store.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        }
        Ok(store)
    }

    /// When the newest event was stored, if there is any.
    pub fn newest_stored(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut select = self.connection.prepare("SELECT max(last_ingested) FROM streams")?;
        let newest: Option<i64> = select.query_row([], |row| row.get(0))?;
        Ok(newest.and_then(|at| u64::try_from(at).ok()).map(Timestamp))
    }

    /// Stores events and cursors, all or none.
    pub fn append(&mut self, appends: &[Append<'_>], now: Timestamp) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        let events: usize = appends.iter().map(|append| append.events.len()).sum();
        let mut seq: i64 = transaction
            .prepare_cached("UPDATE counter SET seq = seq + ?1 RETURNING seq - ?1")?
            .query_row([as_i64(events as u64)], |row| row.get(0))?;
        for append in appends {
            if let (Some(first), Some(last)) = (
                append.events.iter().map(|event| event.at).min(),
                append.events.iter().map(|event| event.at).max(),
            ) {
                let stream = make_stream(&transaction, append.group, append.stream, now)?;
                let mut insert =
                    transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)")?;
                let mut bytes = 0;
                for event in append.events {
                    seq += 1;
                    insert.execute(params![stream, ms(event.at), seq, ms(now), event.message])?;
                    bytes += event.message.len() + LOG_EVENT_OVERHEAD_BYTES;
                }
                transaction
                    .prepare_cached(
                        "UPDATE streams SET bytes = bytes + ?2, last_ingested = ?5,
                             first_at = min(coalesce(first_at, ?3), ?3),
                             last_at = max(coalesce(last_at, ?4), ?4) WHERE id = ?1",
                    )?
                    .execute(params![stream, as_i64(bytes as u64), ms(first), ms(last), ms(now)])?;
            }
            if let Some((source, cursor)) = append.cursor {
                transaction
                    .prepare_cached("REPLACE INTO cursors VALUES (?1, ?2)")?
                    .execute(params![source, cursor])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Makes a stream without events; whether there was none of this name.
    pub fn create_stream(
        &mut self,
        group: &str,
        stream: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let transaction = self.transaction()?;
        let before: i64 =
            transaction.query_row("SELECT count(*) FROM streams", [], |row| row.get(0))?;
        make_stream(&transaction, group, stream, now)?;
        let after: i64 =
            transaction.query_row("SELECT count(*) FROM streams", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(after > before)
    }

    /// How far a source was read, if it ever was.
    pub fn cursor(&self, source: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select =
            self.connection.prepare_cached("SELECT cursor FROM cursors WHERE source = ?1")?;
        Ok(select.query_row([source], |row| row.get(0)).optional()?)
    }

    /// Every source that has a cursor.
    pub fn sources(&self) -> Result<Vec<String>, StoreError> {
        let mut select = self.connection.prepare_cached("SELECT source FROM cursors")?;
        let sources = select.query_map([], |row| row.get(0))?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    /// The source is gone and will not be read again.
    pub fn forget_source(&mut self, source: &str) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM cursors WHERE source = ?1", [source])?;
        Ok(())
    }

    /// Answers a question of the read channel.
    pub fn answer(&mut self, ask: &LogAsk) -> Result<LogReply, StoreError> {
        if let LogAsk::Events(AskEvents { group, retention_days, .. }) = ask {
            self.set_retention(group, *retention_days)?;
        }
        // Each answer shows one moment.
        let moment = self.connection.transaction()?;
        Ok(match ask {
            LogAsk::Groups { prefix, part, after, limit } => {
                let after = after.as_deref().unwrap_or_default();
                LogReply::Groups(read::groups(&moment, prefix, part, after, *limit)?)
            }
            LogAsk::Streams(ask) => LogReply::Streams(read::streams(&moment, ask)?),
            LogAsk::Events(ask) => LogReply::Events(read::events(&moment, ask)?),
            LogAsk::DeleteGroup { group } => {
                drop(moment);
                self.delete_group(group)?;
                LogReply::Done
            }
            LogAsk::SetRetention { group, days } => {
                drop(moment);
                self.set_retention(group, *days)?;
                LogReply::Done
            }
        })
    }

    fn set_retention(&mut self, group: &str, days: Option<u32>) -> Result<(), StoreError> {
        let differs = self
            .connection
            .prepare_cached("SELECT 1 FROM groups WHERE name = ?1 AND retention_days IS NOT ?2")?
            .exists(params![group, days])?;
        if differs {
            self.connection.execute(
                "UPDATE groups SET retention_days = ?2 WHERE name = ?1",
                params![group, days],
            )?;
        }
        Ok(())
    }

    /// The group is gone at once, its events bit by bit: see [`Self::keep`].
    fn delete_group(&mut self, group: &str) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        let of_group = "grp = (SELECT id FROM groups WHERE name = ?1)";
        transaction.execute(
            &format!("INSERT INTO deleted SELECT id FROM streams WHERE {of_group}"),
            [group],
        )?;
        transaction.execute(&format!("DELETE FROM streams WHERE {of_group}"), [group])?;
        transaction.execute("DELETE FROM groups WHERE name = ?1", [group])?;
        transaction.commit()?;
        Ok(())
    }

    /// Deletes some of what is deleted, too old or too much; whether there is more to delete. Nothing is
    /// too old while no time is known: see [`super::aging`].
    pub fn keep(&mut self, keep: Keep, now: Option<Timestamp>) -> Result<bool, StoreError> {
        let now = now.unwrap_or(Timestamp(0));
        let transaction = self.transaction()?;
        let of_deleted: Option<i64> = transaction
            .query_row("SELECT stream FROM deleted LIMIT 1", [], |row| row.get(0))
            .optional()?;
        if let Some(stream) = of_deleted {
            if !delete_events(&transaction, stream, i64::MAX)? {
                transaction.execute("DELETE FROM deleted WHERE stream = ?1", [stream])?;
            }
            transaction.commit()?;
            self.give_back()?;
            return Ok(true);
        }
        let default_cutoff = ms(before(now, keep.age));
        let day = as_i64(DAY.as_millis() as u64);
        let expired = transaction
            .query_row(
                "SELECT streams.id,
                        iif(retention_days IS NULL, ?1, ?2 - retention_days * ?3) AS cutoff
                 FROM streams JOIN groups ON groups.id = grp
                 WHERE first_at < cutoff LIMIT 1",
                params![default_cutoff, ms(now), day],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?;
        let deleted = if let Some((stream, cutoff)) = expired {
            delete_events(&transaction, stream, cutoff)?;
            true
        } else {
            let bytes: i64 = transaction.query_row(
                "SELECT coalesce(sum(bytes), 0) FROM streams",
                [],
                |row| row.get(0),
            )?;
            let oldest: Option<i64> = transaction
                .query_row(
                    "SELECT id FROM streams WHERE first_at IS NOT NULL ORDER BY first_at LIMIT 1",
                    [],
                    |row| row.get(0),
                )
                .optional()?;
            match oldest {
                Some(stream) if bytes > as_i64(keep.bytes) => {
                    delete_events(&transaction, stream, i64::MAX)?;
                    true
                }
                _ => false,
            }
        };
        // A stream whose events are gone is shown as long as one would be kept.
        transaction.execute(
            "DELETE FROM streams WHERE first_at IS NULL AND last_ingested < ?1",
            [default_cutoff],
        )?;
        transaction.commit()?;
        if deleted {
            self.give_back()?;
        }
        Ok(deleted)
    }

    fn give_back(&mut self) -> Result<(), StoreError> {
        let pragma = format!("PRAGMA incremental_vacuum({FREED_PAGES_AT_ONCE})");
        // Each freed page is a row of this pragma.
        let mut free = self.connection.prepare(&pragma)?;
        let mut rows = free.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Immediate, so that two writers wait for each other and neither fails half-way.
    fn transaction(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?)
    }
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS groups (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        retention_days INTEGER
    );
    CREATE TABLE IF NOT EXISTS streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        grp INTEGER NOT NULL,
        name TEXT NOT NULL,
        created INTEGER NOT NULL,
        first_at INTEGER,
        last_at INTEGER,
        last_ingested INTEGER,
        bytes INTEGER NOT NULL DEFAULT 0,
        UNIQUE (grp, name)
    );
    CREATE TABLE IF NOT EXISTS events (
        stream INTEGER NOT NULL,
        at INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        ingested INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (stream, at, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS deleted (stream INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS cursors (source TEXT PRIMARY KEY, cursor BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS counter (only INTEGER PRIMARY KEY CHECK (only = 0), seq INTEGER NOT NULL);
    INSERT OR IGNORE INTO counter VALUES (0, 0);
";

fn make_stream(
    transaction: &Transaction<'_>,
    group: &str,
    stream: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let found = transaction
        .prepare_cached(
            "SELECT streams.id FROM streams JOIN groups ON groups.id = grp
             WHERE groups.name = ?1 AND streams.name = ?2",
        )?
        .query_row([group, stream], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    transaction.execute(
        "INSERT OR IGNORE INTO groups (name, created) VALUES (?1, ?2)",
        params![group, ms(now)],
    )?;
    transaction.execute(
        "INSERT INTO streams (grp, name, created)
         SELECT id, ?2, ?3 FROM groups WHERE name = ?1",
        params![group, stream, ms(now)],
    )?;
    Ok(transaction.last_insert_rowid())
}

/// The oldest events of a stream, those before `cutoff`, so many and no more. Whether there were any.
fn delete_events(
    transaction: &Transaction<'_>,
    stream: i64,
    cutoff: i64,
) -> Result<bool, StoreError> {
    let last: Option<(i64, i64)> = transaction
        .query_row(
            "SELECT at, seq FROM (SELECT at, seq FROM events WHERE stream = ?1 AND at < ?2
                 ORDER BY at, seq LIMIT ?3) ORDER BY at DESC, seq DESC LIMIT 1",
            params![stream, cutoff, DELETED_AT_ONCE],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some((at, seq)) = last {
        let up_to = "stream = ?1 AND (at, seq) <= (?2, ?3)";
        let bytes: i64 = transaction.query_row(
            &format!(
                "SELECT coalesce(sum(length(CAST(message AS BLOB)) + {LOG_EVENT_OVERHEAD_BYTES}), 0)
                 FROM events WHERE {up_to}"
            ),
            params![stream, at, seq],
            |row| row.get(0),
        )?;
        transaction
            .execute(&format!("DELETE FROM events WHERE {up_to}"), params![stream, at, seq])?;
        transaction.execute(
            "UPDATE streams SET bytes = bytes - ?2 WHERE id = ?1",
            params![stream, bytes],
        )?;
    }
    transaction.execute(
        "UPDATE streams SET
             first_at = (SELECT at FROM events WHERE stream = ?1 ORDER BY at, seq LIMIT 1)
         WHERE id = ?1",
        [stream],
    )?;
    Ok(last.is_some())
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
