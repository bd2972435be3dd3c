//! Whether a journal's pages, indexes and history are whole. A start does not read all of them.

use std::path::Path;

use rusqlite::Connection;

use super::{
    format::{FILE_NAME, OpenError, beside_a_coordinator, format_of},
    history_rows::{self, DamagedRow},
};

/// Reads every page and index. What the rows mean is for `recovery::check`.
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

pub(super) fn damaged_history(connection: &Connection) -> Result<Vec<DamagedRow>, rusqlite::Error> {
    history_rows::damaged_rows(connection, format_of(connection)?)
}

pub(super) fn integrity_of(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut problems = lines.collect::<Result<Vec<_>, _>>()?;
    problems.retain(|line| line != "ok");
    Ok(problems)
}
