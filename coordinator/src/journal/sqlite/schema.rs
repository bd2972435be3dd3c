//! The tables of the journal and their formats.
//!
//! Never: a change of what an earlier format holds.

use longshore_common::id::FleetId;
use rusqlite::{Connection, params, types::Value};

use super::{
    format::{APPLICATION_ID, FORMAT},
    history_rows::meta_sum,
};

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

/// One transaction, so that a crash leaves either nothing or a whole empty journal.
pub(super) fn create(connection: &Connection, fleet: FleetId) -> Result<(), rusqlite::Error> {
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

pub(super) fn put_meta(
    connection: &Connection,
    key: &str,
    value: Value,
) -> Result<(), rusqlite::Error> {
    let crc = meta_sum(key, (&value).into());
    let put = "INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?1, ?2, ?3)";
    connection.execute(put, params![key, value, crc]).map(drop)
}

/// A journal of an earlier release: nothing that it holds changes.
pub(super) fn from_format(connection: &Connection, found: i64) -> Result<(), rusqlite::Error> {
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
