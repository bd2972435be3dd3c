//! Log stores that released agents have written are read whole, and logs go on where they were.

use longshore_common::logs::query::LogAsk;
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Map, Value, json};

use super::*;
use crate::golden;

const STORE: &str = "agent-logs.sqlite";
const TABLES: [&str; 6] = ["groups", "streams", "events", "deleted", "cursors", "counter"];

#[test]
fn log_stores_of_earlier_agents_are_read_in_every_field() {
    for (file, expected) in golden::files(STORE) {
        let (_folder, copy) = golden::copy(&file);
        drop(LogStore::open(&copy, Durability::WithItsSource).unwrap());
        golden::assert_contains(&held(&copy), &expected, &file.display().to_string());
    }
}

#[test]
#[ignore = "writes a log store for later agents to read: see golden"]
fn golden_log_store_of_this_agent_is_written() {
    let file = golden::next(STORE);
    let mut world = World::new();
    for container in ["whole", "half", "open", "ended", "gone"] {
        world.write(container, "first\n");
    }
    world.write("half", "no end of this");
    world.write("open", "2023-11-14 an event\n");
    world.write("open", " that goes on\n");
    world.write("ended", "last, without its end");
    for (container, start, ended) in [
        ("whole", None, false),
        ("half", None, false),
        ("open", Some(r"^\d{4}"), false),
        ("ended", None, true),
        ("gone", None, true),
    ] {
        world.follow(container, start, ended);
    }
    world.settle();
    world.tell(Command::Forget { id: "gone".to_owned() });
    let store = world.store();
    store.answer(&LogAsk::SetRetention { group: "g".to_owned(), days: Some(14) }).unwrap();
    store.create_stream("empty", "silent", START).unwrap();
    store.create_stream("deleted", "s", START).unwrap();
    let event = NewEvent { at: START, message: "ß".repeat(100) };
    let append = Append { group: "deleted", stream: "s", events: &[event], cursor: None };
    store.append(&[append], START).unwrap();
    store.answer(&LogAsk::DeleteGroup { group: "deleted".to_owned() }).unwrap();
    let World { folder, follower, .. } = world;
    // Closed, so that all of it is in the one file.
    drop(follower);
    fs_err::copy(folder.path().join("logs.sqlite"), &file).unwrap();
    golden::describe(&file, &held(&file));
}

/// Every row of every table, with cursors as the follower reads them.
fn held(file: &Path) -> Value {
    let connection = Connection::open(file).unwrap();
    let tables = TABLES.map(|table| {
        let mut select = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .or_else(|_| connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")));
        let select = select.as_mut().unwrap();
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let rows = select.query_map([], |row| {
            let cells = columns.iter().enumerate();
            Ok(cells.map(|(i, name)| (name.clone(), cell(row.get_ref_unwrap(i)))).collect())
        });
        let rows: Vec<Map<String, Value>> = rows.unwrap().map(Result::unwrap).collect();
        (table.to_owned(), json!(rows))
    });
    Value::Object(tables.into_iter().collect())
}

fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(std::str::from_utf8(text).unwrap()),
        ValueRef::Blob(cursor) => json!(rmp_serde::from_slice::<Cursor>(cursor).unwrap()),
    }
}
