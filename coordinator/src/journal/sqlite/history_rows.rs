//! The rows of the history's tables, each with the sum of what it says.
//!
//! A sum covers the values of a row in the order of its columns; rows of formats before 5 have none.
//! A row that is damaged is told in the log and left out of answers, as one that has expired is: one
//! bad message must not keep a service from being described, nor one task that stopped keep all
//! others from being listed.
//!
//! Never: a row that is changed or removed because of its sum while a coordinator serves it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use longshore_core::{
    checkpoint::record,
    model::{deployment::DeploymentRecord, revision::RevisionRecord, task::TaskRecord},
};
use rusqlite::{
    Connection, Row, ToSql, params_from_iter,
    types::{Value, ValueRef},
};

use super::format::format_of;

/// First format whose rows have sums.
const SUMS_SINCE: i64 = 5;
/// Maximum number of damaged rows that the log names in one run of the coordinator (ours).
const TOLD_MAX: usize = 1_000;

pub(super) const STOPPED_TASKS: Table = Table {
    name: "stopped_tasks",
    columns: &["task", "cluster", "host", "family", "task_group", "started_by", "record"],
    // The task is the latest to stop then.
    put: "INSERT OR REPLACE INTO",
    or_else: "",
    since: 1,
    decode: |row| record_in::<TaskRecord>(row).map(drop),
};
pub(super) const DEPLOYMENTS: Table = Table {
    name: "service_deployments",
    columns: &["id", "service", "created_at", "record"],
    put: "INSERT INTO",
    // It keeps its number.
    or_else: "ON CONFLICT (id) DO UPDATE SET service = excluded.service,
        created_at = excluded.created_at, record = excluded.record, crc = excluded.crc",
    since: 2,
    decode: |row| record_in::<DeploymentRecord>(row).map(drop),
};
pub(super) const REVISIONS: Table = Table {
    name: "service_revisions",
    columns: &["id", "service", "created_at", "record"],
    put: "INSERT OR REPLACE INTO",
    or_else: "",
    since: 2,
    decode: |row| record_in::<RevisionRecord>(row).map(drop),
};
pub(super) const EVENTS: Table = Table {
    name: "service_events",
    columns: &["service", "at", "message", "seq"],
    put: "INSERT INTO",
    or_else: "",
    since: 3,
    decode: |row| row.get::<_, String>("message").map(drop),
};
const TABLES: [Table; 4] = [STOPPED_TASKS, DEPLOYMENTS, REVISIONS, EVENTS];

/// A table of the history. Every row has a `rowid`, which answers call its number.
pub(super) struct Table {
    name: &'static str,
    /// What a row says: everything but its number and its sum.
    columns: &'static [&'static str],
    put: &'static str,
    or_else: &'static str,
    /// The format since which it has these columns.
    since: i64,
    decode: fn(&Row<'_>) -> Result<(), rusqlite::Error>,
}

/// A row that does not say what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRow {
    table: &'static str,
    number: i64,
    what: String,
}

impl fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of {}: {}", self.number, self.table, self.what)
    }
}

impl Table {
    /// Writes a row with its sum. `values` in the order of the columns.
    pub(super) fn put(
        &self,
        connection: &Connection,
        mut values: Vec<Value>,
    ) -> Result<(), rusqlite::Error> {
        values.push(sum(self.name, values.iter().map(ValueRef::from)).into());
        let places: Vec<String> = (1..=values.len()).map(|place| format!("?{place}")).collect();
        let sql = format!(
            "{} {} ({}, crc) VALUES ({}) {}",
            self.put,
            self.name,
            self.columns.join(", "),
            places.join(", "),
            self.or_else
        );
        connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
    }

    fn select(&self, sum: &str, clause: &str) -> String {
        let columns = self.columns.join(", ");
        format!("SELECT rowid AS number, {sum} AS crc, {columns} FROM {} {clause}", self.name)
    }

    /// What `read` makes of the row, if that says what was written.
    fn checked<T>(
        &self,
        row: &Row<'_>,
        read: impl Fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Result<T, DamagedRow>, rusqlite::Error> {
        let number = row.get("number")?;
        let damaged = |what: String| DamagedRow { table: self.name, number, what };
        let values: Result<Vec<_>, _> =
            self.columns.iter().map(|column| row.get_ref(*column)).collect();
        let found = sum(self.name, values?.into_iter());
        let intact = match row.get::<_, Option<i64>>("crc") {
            Ok(written) => written.is_none_or(|written| written == i64::from(found)),
            Err(_) => false,
        };
        if !intact {
            return Ok(Err(damaged("its sum does not match".to_owned())));
        }
        Ok(read(row).map_err(|error| damaged(format!("it cannot be read: {error}"))))
    }
}

/// Reads for answers.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) told: &'a Told,
}

/// Damaged rows that the log has named.
#[derive(Default)]
pub(super) struct Told(Mutex<BTreeSet<(&'static str, i64)>>);

impl Reader<'_> {
    /// The first `limit` whole rows of those that `clause` selects.
    pub(super) fn rows<T>(
        &self,
        table: &Table,
        clause: &str,
        values: &[&dyn ToSql],
        limit: usize,
        read: impl Fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<T>, rusqlite::Error> {
        let mut select = self.connection.prepare_cached(&table.select("crc", clause))?;
        let mut rows = select.query(values)?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match table.checked(row, &read)? {
                Ok(one) => found.push(one),
                Err(damaged) => self.told.tell(&damaged),
            }
        }
        Ok(found)
    }
}

impl Told {
    fn tell(&self, damaged: &DamagedRow) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX && told.insert((damaged.table, damaged.number)) {
            tracing::error!(
                "the history in the journal is damaged, which is left out of answers ({damaged}). What \
                 runs does not depend on it; doubt the disk, and run `longshore-coordinator check`"
            );
        }
    }
}

/// Reads the whole history of a journal of whatever format.
pub(super) fn damaged_rows(
    connection: &Connection,
    format: i64,
) -> Result<Vec<DamagedRow>, rusqlite::Error> {
    let sum = if format < SUMS_SINCE { "NULL" } else { "crc" };
    let mut found = Vec::new();
    for table in TABLES.iter().filter(|table| table.since <= format) {
        let mut select = connection.prepare(&table.select(sum, "ORDER BY number"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            found.extend(table.checked(row, table.decode)?.err());
        }
    }
    Ok(found)
}

pub(super) fn remove(
    connection: &Connection,
    damaged: &[DamagedRow],
) -> Result<(), rusqlite::Error> {
    let transaction = connection.unchecked_transaction()?;
    for row in damaged {
        let sql = format!("DELETE FROM {} WHERE rowid = ?1", row.table);
        transaction.prepare_cached(&sql)?.execute([row.number])?;
    }
    transaction.commit()
}

/// The sum of a row of `meta`, which says whose journal this is and from where it is replayed.
pub(super) fn meta_sum(key: &str, value: ValueRef<'_>) -> u32 {
    sum("meta", [ValueRef::Text(key.as_bytes()), value].into_iter())
}

/// The key of a row of `meta` that does not say what was written.
pub(in crate::journal) fn damaged_meta(
    connection: &Connection,
) -> Result<Option<String>, rusqlite::Error> {
    if format_of(connection)? < SUMS_SINCE {
        return Ok(None);
    }
    let mut select = connection.prepare("SELECT key, value, crc FROM meta")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?;
        let key = String::from_utf8_lossy(key.as_bytes()?).into_owned();
        let found = meta_sum(&key, row.get_ref(1)?);
        match row.get::<_, Option<i64>>(2) {
            Ok(written) if written.is_none_or(|written| written == i64::from(found)) => {}
            Ok(_) | Err(_) => return Ok(Some(key)),
        }
    }
    Ok(None)
}

/// Each value with its kind and length: no byte passes unseen from one to its neighbour.
fn sum<'a>(table: &str, values: impl Iterator<Item = ValueRef<'a>>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.as_bytes());
    for value in values {
        let number;
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(value) => {
                number = value.to_be_bytes();
                (1, &number)
            }
            ValueRef::Real(value) => {
                number = value.to_be_bytes();
                (2, &number)
            }
            ValueRef::Text(value) => (3, value),
            ValueRef::Blob(value) => (4, value),
        };
        hasher.update(&[kind]);
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    hasher.finalize()
}

pub(super) fn record_in<T: for<'de> serde::Deserialize<'de>>(
    row: &Row<'_>,
) -> Result<T, rusqlite::Error> {
    let bytes = row.get_ref("record")?.as_blob()?;
    record::decode(bytes).map_err(|error| unreadable(Box::new(error)))
}

pub(super) fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
}
