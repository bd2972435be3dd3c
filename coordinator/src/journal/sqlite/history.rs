//! Stopped tasks, and the readers of all history.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use longshore_common::id::TaskId;
use longshore_core::{
    checkpoint::record,
    model::{
        deployment::DeploymentRecord,
        revision::RevisionRecord,
        service::{DeploymentId, RevisionId, ServiceId},
        task::TaskRecord,
    },
};
use rusqlite::{Connection, ToSql};

use super::{
    format::configure,
    history_rows::{Reader, STOPPED_TASKS, Told, record_in},
    service_history,
};
use crate::journal::{
    DeploymentEntry, DeploymentFilter, History, JournalError, ServiceEvent, StoppedEntry,
    StoppedFilter,
};

/// Drops all but the newest stopped tasks.
pub(in crate::journal) const EXPIRE_TASKS: &str = "DELETE FROM stopped_tasks WHERE number <=
    (SELECT coalesce(max(number), 0) FROM stopped_tasks) - ?1";

pub(super) fn append_history<'a>(
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

/// Maximum number of connections that wait for the next reader (ours); more are opened when more
/// read at once.
const IDLE_READERS_MAX: usize = 4;

/// A connection for each that reads, so that none waits for another.
pub(super) struct SqliteHistory {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    told: Told,
}

impl SqliteHistory {
    pub(super) fn of(path: PathBuf) -> Self {
        SqliteHistory { path, idle: Mutex::default(), told: Told::default() }
    }

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
