//! A journal in which bits have flipped: every value of every row is covered by a sum, and a row of
//! the history that is damaged harms nothing but itself.

use std::path::Path;

use longshore_common::id::{FleetId, TaskId};
use longshore_core::{
    model::service::{DeploymentId, RevisionId, ServiceId},
    test_kit::scenario,
};
use rusqlite::{Connection, ToSql, params, types::Value};

use super::{golden, open};
use crate::journal::{
    Checkpoint, DeploymentFilter, History, Journal, StoppedFilter, recovery,
    sqlite::{self, DamagedHistory, SqliteJournal},
};

/// A journal with rows in every table, as a backup of it holds them.
fn backup(copy: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(directory.path(), FleetId::new(7)).unwrap();
    let mut world = scenario::world();
    scenario::play(&mut world, "a");
    journal.append(&world.take_batches()).unwrap();
    let seq = world.state.seq();
    world.state.begin_capture();
    let rows = world.state.capture_slice(usize::MAX).unwrap();
    journal.checkpoint(Checkpoint { seq, rows }).unwrap();
    scenario::play(&mut world, "b");
    journal.append(&world.take_batches()).unwrap();
    sqlite::backup(directory.path(), copy).unwrap();
}

fn column_names(connection: &Connection, table: &str) -> Vec<String> {
    let mut columns = connection.prepare(&format!("PRAGMA table_info({table})")).unwrap();
    let names = columns.query_map([], |row| row.get::<_, String>("name")).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// The value with one bit flipped.
fn flipped(value: Value) -> Value {
    let flip = |mut bytes: Vec<u8>| {
        match bytes.first_mut() {
            Some(first) => *first ^= 1,
            None => bytes.push(1),
        }
        bytes
    };
    match value {
        Value::Null => Value::Text("x".to_owned()),
        // Nobody else has such a key.
        Value::Integer(value) => Value::Integer(value ^ (1 << 20)),
        Value::Real(value) => Value::Real(-value),
        Value::Text(text) => Value::Text(String::from_utf8(flip(text.into_bytes())).unwrap()),
        Value::Blob(bytes) => Value::Blob(flip(bytes)),
    }
}

/// What `check` says of the journal in the folder.
fn found(directory: &Path) -> Vec<String> {
    let mut found = sqlite::integrity_check(directory).unwrap();
    match recovery::check(directory) {
        Ok(wrong) => found.extend(wrong),
        Err(error) => found.push(error.to_string()),
    }
    found.extend(sqlite::history_check(directory).unwrap().iter().map(|row| row.to_string()));
    found
}

/// SQLite changes its indexes along: nothing but a sum can tell.
#[test]
fn changed_value_of_any_row_is_found_by_check_and_restore() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("backup.db");
    backup(&copy);
    let connection = Connection::open(&copy).unwrap();
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let tables: Vec<String> = tables.collect::<Result<_, _>>().unwrap();
    let (mut tried, mut missed) = (0, Vec::new());
    for table in &tables {
        for column in column_names(&connection, table) {
            // SQLite's own: the place of a row in its tree, which every index names too.
            if column == "number" {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let journal = directory.path().join(sqlite::FILE_NAME);
            fs_err::copy(&copy, &journal).unwrap();
            assert_eq!(found(directory.path()), Vec::<String>::new());
            let changing = Connection::open(&journal).unwrap();
            let select = format!("SELECT {column} FROM {table} LIMIT 1");
            let value: Value = changing.query_row(&select, [], |row| row.get(0)).unwrap();
            let key = if table == "meta" { "key" } else { "rowid" };
            let update = format!(
                "UPDATE {table} SET {column} = ?1
                 WHERE {key} = (SELECT {key} FROM {table} WHERE {column} IS ?2 LIMIT 1)"
            );
            let changed = changing.execute(&update, params![flipped(value.clone()), value]);
            assert_eq!(changed.unwrap(), 1, "{table}.{column}");
            changing.close().unwrap();
            let target = tempfile::tempdir().unwrap();
            let refused = sqlite::restore(target.path(), &journal, DamagedHistory::Refused);
            if found(directory.path()).is_empty() || refused.is_ok() {
                missed.push(format!("{table}.{column}"));
            }
            tried += 1;
        }
    }
    assert_eq!(missed, Vec::<String>::new());
    assert!(tried > 25, "{tried} values of {tables:?}");
}

/// What is asked of the history: all that it has of one cluster and one service.
struct Questions {
    stopped: StoppedFilter,
    tasks: Vec<TaskId>,
    deployments: DeploymentFilter,
    deployment_ids: Vec<DeploymentId>,
    revisions: Vec<RevisionId>,
}

impl Questions {
    fn of(connection: &Connection, history: &dyn History) -> Questions {
        let most = |column: &str, table: &str| {
            format!("SELECT {column} FROM {table} GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
        };
        let cluster = most("cluster", "stopped_tasks");
        let cluster: String = connection.query_row(&cluster, [], |row| row.get(0)).unwrap();
        let service = most("service", "service_deployments");
        let service: [u8; 16] = connection.query_row(&service, [], |row| row.get(0)).unwrap();
        let service = ServiceId::new(u128::from_be_bytes(service));
        let limit = 1_000;
        let stopped = StoppedFilter { cluster, limit, ..StoppedFilter::default() };
        let (created_after, created_before, before) = (None, None, None);
        let deployments =
            DeploymentFilter { service, created_after, created_before, before, limit };
        let found = history.deployments(&deployments).unwrap();
        Questions {
            tasks: history.list(&stopped).unwrap().iter().map(|entry| entry.task).collect(),
            stopped,
            deployments,
            deployment_ids: found.iter().map(|entry| entry.deployment.id).collect(),
            revisions: found.iter().map(|entry| entry.deployment.target).collect(),
        }
    }

    /// How many answers there are to each.
    fn ask(&self, history: &dyn History) -> [usize; 6] {
        let DeploymentFilter { service, limit, .. } = self.deployments;
        [
            history.list(&self.stopped).unwrap().len(),
            history.tasks(&self.tasks).unwrap().len(),
            history.deployments(&self.deployments).unwrap().len(),
            history.deployments_by_id(&self.deployment_ids).unwrap().len(),
            history.revisions(&self.revisions).unwrap().len(),
            history.service_events(service, u64::MAX >> 1, limit).unwrap().len(),
        ]
    }
}

#[test]
fn damaged_row_is_left_out_of_answers_and_no_other_is() {
    let directory = tempfile::tempdir().unwrap();
    backup(&directory.path().join(sqlite::FILE_NAME));
    let journal = open(directory.path());
    let connection = Connection::open(directory.path().join(sqlite::FILE_NAME)).unwrap();
    let history = journal.history();
    let mut questions = Questions::of(&connection, &*history);
    let before = questions.ask(&*history);
    assert!(before.iter().all(|count| *count > 0) && before[0] > 2, "{before:?}");
    let service = questions.deployments.service.value().to_be_bytes();
    let damage = |table: &str, set: &str, of: &str, value: &dyn ToSql| {
        let newest = format!("SELECT max(rowid) FROM {table} WHERE {of} = ?1");
        let sql = format!("UPDATE {table} SET {set} WHERE rowid = ({newest})");
        assert_eq!(connection.execute(&sql, [value]).unwrap(), 1);
    };
    damage("stopped_tasks", "task_group = 'x'", "cluster", &questions.stopped.cluster);
    damage("service_deployments", "created_at = created_at + 1", "service", &service);
    damage("service_revisions", "record = X'00'", "service", &service);
    damage("service_events", "message = 'x' || message", "service", &service);
    assert_eq!(questions.ask(&*history), before.map(|count| count - 1));
    assert_eq!(sqlite::history_check(directory.path()).unwrap().len(), 4);
    // What is left out takes no room: a page that is not full would be the last one.
    questions.stopped.limit = before[0] - 2;
    assert_eq!(questions.ask(&*history)[0], before[0] - 2);
}

/// As a disk does it: SQLite's own check finds nothing.
#[test]
fn backup_with_a_flipped_bit_in_its_history_is_restored_only_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("backup.db");
    backup(&copy);
    let connection = Connection::open(&copy).unwrap();
    let all = "SELECT count(*) FROM stopped_tasks";
    let all: usize = connection.query_row(all, [], |row| row.get(0)).unwrap();
    let record = "SELECT record FROM stopped_tasks WHERE length(record) < 2000 LIMIT 1";
    let record: Vec<u8> = connection.query_row(record, [], |row| row.get(0)).unwrap();
    connection.close().unwrap();
    let mut bytes = fs_err::read(&copy).unwrap();
    let at = bytes.windows(record.len()).position(|window| window == record).unwrap();
    bytes[at + record.len() / 2] ^= 4;
    fs_err::write(&copy, bytes).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let refused = sqlite::restore(directory.path(), &copy, DamagedHistory::Refused);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("; 1 in all") && refused.contains("stopped_tasks"));
    assert!(refused.contains("--leave-out-damaged-history"), "{refused}");
    assert!(!directory.path().join(sqlite::FILE_NAME).exists());
    let restored = sqlite::restore(directory.path(), &copy, DamagedHistory::LeftOut).unwrap();
    assert_eq!(restored.left_out.len(), 1);
    assert_eq!(found(directory.path()), Vec::<String>::new());
    let connection = Connection::open(directory.path().join(sqlite::FILE_NAME)).unwrap();
    let left = "SELECT count(*) FROM stopped_tasks";
    assert_eq!(connection.query_row(left, [], |row| row.get::<_, usize>(0)).unwrap(), all - 1);
}

#[test]
fn backups_of_earlier_formats_have_no_sums_and_are_restored() {
    let mut restored = 0;
    for folder in fs_err::read_dir(golden::folders()).unwrap() {
        for name in ["tail.db", "checkpointed.db"] {
            let directory = tempfile::tempdir().unwrap();
            let golden = folder.as_ref().unwrap().path().join(name);
            sqlite::restore(directory.path(), &golden, DamagedHistory::Refused).unwrap();
            assert_eq!(found(directory.path()), Vec::<String>::new());
            restored += 1;
        }
    }
    assert!(restored >= 6, "{restored}");
}
