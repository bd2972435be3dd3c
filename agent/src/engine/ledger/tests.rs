//! What survives: a reopen, a kill in the middle, a file that is not what it should be.

use expect_test::{Expect, expect};
use longshore_common::{clock::Timestamp, protocol::Epoch, task::StopCode};

mod golden;

use super::*;
use crate::{
    engine::{
        images::ImageOrigin,
        plan::sample::{KEY, intent},
    },
    task::observed::{ContainerStage, record::ContainerRecord},
};

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
/// Of a ledger with few records.
const PAGES: usize = 3;
const OTHER: TaskKey = TaskKey { task: TaskId::new(0xbee), generation: 4 };

/// A folder with a ledger in it, which is closed.
struct Place(tempfile::TempDir);

/// A file of this name beside a ledger makes it as unwritable as a full disk does.
pub(crate) const FULL: &str = "full";

pub(super) fn room(connection: &Connection) -> Result<(), LedgerError> {
    let is_full =
        connection.path().is_some_and(|path| Path::new(path).with_file_name(FULL).exists());
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    match is_full {
        true => Err(LedgerError::Write(rusqlite::Error::SqliteFailure(full, None))),
        false => Ok(()),
    }
}

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("ledger")
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.path(), FLEET, HOST).unwrap().0
    }

    fn contents(&self) -> LedgerContents {
        Ledger::open(&self.path(), FLEET, HOST).unwrap().1
    }

    fn written(batches: &[Batch]) -> Self {
        let place = Place::new();
        let mut ledger = place.open();
        batches.iter().for_each(|batch| ledger.write(batch).unwrap());
        drop(ledger);
        place
    }

    fn sql(&self, statement: &str) {
        Connection::open(self.path()).unwrap().execute_batch(statement).unwrap();
    }

    /// Why the file is not opened; `PATH` stands for where it is.
    fn refusal(&self) -> String {
        let error = Ledger::open(&self.path(), FLEET, HOST).err().expect("it was opened");
        error.to_string().replace(&self.path().display().to_string(), "PATH")
    }
}

fn head(epoch: u64, order: u64) -> Head {
    let seen = Seen { epoch: Epoch { counter: epoch, incarnation: 7 }, order };
    Head { fleet: FLEET, host: HOST, seen }
}

fn stop() -> StopCause {
    StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() }
}

fn intent_for(key: TaskKey) -> Arc<Intent> {
    Arc::new(Intent { key, ..(*intent(&["app"])).clone() })
}

fn observed() -> TaskRecord {
    let app = ContainerRecord {
        state: ContainerStage::Running,
        id: Some("id-of-app".to_owned()),
        started_at: Some(Timestamp(5)),
        ..ContainerRecord::default()
    };
    TaskRecord { containers: vec![app], acknowledged: true, ..TaskRecord::default() }
}

/// Orders as one poll brings them: a task to run, and another that is to run and to stop.
fn orders() -> Batch {
    Batch {
        head: Some(head(3, 12)),
        intents: vec![intent_for(KEY), intent_for(OTHER)],
        stops: [(OTHER, stop())].into(),
        ..Batch::default()
    }
}

fn observation(key: TaskKey) -> Batch {
    Batch { observations: [(key, observed())].into(), ..Batch::default() }
}

/// What a ledger with [`orders`] and an observation holds.
fn assert_whole(contents: &LedgerContents) {
    assert_eq!(contents.head, Some(head(3, 12)));
    let mut intents = contents.intents.clone();
    intents.sort_by_key(|intent| std::cmp::Reverse(intent.key));
    assert_eq!(intents, [intent_for(KEY), intent_for(OTHER)]);
    assert_eq!(contents.stops, [(OTHER, stop())].into());
    assert_eq!(contents.observations, [(KEY, observed())].into());
}

#[test]
fn a_new_ledger_holds_nothing_and_says_so() {
    let place = Place::new();
    for _ in 0..2 {
        let contents = place.contents();
        assert_eq!(contents.head, None);
        assert!(contents.intents.is_empty() && contents.stops.is_empty());
        assert!(contents.observations.is_empty());
    }
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    assert_whole(&Place::written(&[orders(), observation(KEY)]).contents());
}

#[test]
fn what_was_written_is_in_the_files_although_nothing_was_closed() {
    let place = Place::new();
    let mut ledger = place.open();
    ledger.write(&orders()).unwrap();
    ledger.write(&observation(KEY)).unwrap();
    // As a kill leaves them.
    let killed = Place::new();
    for name in ["ledger", "ledger-wal"] {
        fs_err::copy(place.0.path().join(name), killed.0.path().join(name)).unwrap();
    }
    assert_whole(&killed.contents());
}

#[test]
fn orders_are_flushed_and_observations_are_not() {
    let mut ledger = Place::new().open();
    let mut flush_of = |batch: &Batch| {
        ledger.write(batch).unwrap();
        let level = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        ledger.connection.pragma_query_value(None, "synchronous", level).unwrap()
    };
    let (full, normal) = (2, 1);
    assert_eq!(flush_of(&orders()), full);
    assert_eq!(flush_of(&observation(KEY)), normal);
    assert_eq!(flush_of(&Batch { head: Some(head(3, 13)), ..Batch::default() }), full);
}

#[test]
fn the_last_epoch_and_order_that_were_seen_are_kept() {
    let only = |head| Batch { head: Some(head), ..Batch::default() };
    let place = Place::written(&[only(head(3, 12)), only(head(3, 14)), only(head(5, 14))]);
    assert_eq!(place.contents().head, Some(head(5, 14)));
    // Observations leave them alone.
    place.open().write(&observation(KEY)).unwrap();
    assert_eq!(place.contents().head, Some(head(5, 14)));
}

#[test]
fn forgotten_task_leaves_nothing_but_its_other_generations() {
    let newer = TaskKey { generation: OTHER.generation + 1, ..OTHER };
    let newer = Batch { intents: vec![intent_for(newer)], ..observation(newer) };
    let forgotten = Batch { forgotten: vec![OTHER], ..Batch::default() };
    let contents = Place::written(&[orders(), observation(OTHER), newer, forgotten]).contents();
    assert_eq!(contents.head, Some(head(3, 12)));
    let generations: Vec<_> = contents.intents.iter().map(|i| i.key.generation).collect();
    assert_eq!(generations, [5, 1]);
    assert_eq!(contents.stops, BTreeMap::new());
    assert_eq!(contents.observations.into_keys().map(|k| k.generation).collect::<Vec<_>>(), [5]);
}

#[test]
fn what_a_batch_forgets_and_names_is_kept_as_named() {
    let anew = Batch { forgotten: vec![KEY], ..orders() };
    let contents = Place::written(&[orders(), observation(KEY), anew]).contents();
    assert_eq!(contents.intents.len(), 2);
    assert_eq!(contents.observations, BTreeMap::new());
}

#[test]
fn a_ledger_on_a_full_disk_is_opened_and_writable_once_there_is_room() {
    let place = Place::written(&[orders(), observation(KEY)]);
    let (mut ledger, contents) = Ledger::open(&place.path(), FLEET, HOST).unwrap();
    assert_whole(&contents);
    // As many pages as there are, and no more.
    ledger.connection.pragma_update(None, "max_page_count", 1).unwrap();
    let more = |number| {
        let big = StopCause { reason: "x".repeat(1 << 16), ..stop() };
        let stops = [(TaskKey { task: TaskId::new(number), generation: 1 }, big)].into();
        Batch { head: Some(head(4, 13)), stops, ..Batch::default() }
    };
    for number in 1..4 {
        let error = ledger.write(&more(number)).unwrap_err();
        assert!(error.is_for_want_of_room() && !error.is_damage(), "{error:?}");
    }
    ledger.connection.pragma_update(None, "max_page_count", 1 << 20).unwrap();
    ledger.write(&more(9)).unwrap();
    drop(ledger);
    assert_eq!(place.contents().head, Some(head(4, 13)));
    assert_eq!(place.contents().stops.len(), 2);
}

/// A disk without one free byte has no room for another file.
#[test]
fn a_killed_agents_ledger_is_opened_without_another_file() {
    let place = Place::new();
    let mut ledger = place.open();
    for batch in [orders(), observation(KEY)] {
        ledger.write(&batch).unwrap();
    }
    // As a kill leaves it: what was written last is in the WAL alone.
    let killed = Place::new();
    for file in ["ledger", "ledger-wal"] {
        fs_err::copy(place.0.path().join(file), killed.0.path().join(file)).unwrap();
    }
    assert!(fs_err::metadata(killed.0.path().join("ledger-wal")).unwrap().len() > 0);
    let (opened, contents) = Ledger::open(&killed.path(), FLEET, HOST).unwrap();
    assert_whole(&contents);
    assert!(!killed.0.path().join("ledger-shm").exists());
    drop(opened);
    let again = killed.open();
    assert!(!killed.0.path().join("ledger-shm").exists());
    drop(again);
}

#[test]
fn opening_a_ledger_that_is_there_writes_nothing() {
    let place = Place::written(&[orders()]);
    let before = fs_err::read(place.path()).unwrap();
    for _ in 0..3 {
        let ledger = place.open();
        let wal = place.0.path().join("ledger-wal");
        assert!(!wal.exists() || fs_err::metadata(&wal).unwrap().len() == 0);
        drop(ledger);
    }
    assert_eq!(fs_err::read(place.path()).unwrap(), before);
}

#[test]
fn batches_that_were_not_written_are_written_as_one() {
    let gone = Batch { forgotten: vec![KEY], ..Batch::default() };
    let image = |at| UsedImage {
        references: ["a".to_owned()].into(),
        used_at: Timestamp(at),
        origin: ImageOrigin::Pulled,
    };
    let images =
        |at| Batch { images: [("a".to_owned(), Some(image(at)))].into(), ..Batch::default() };
    let one = orders().without_orders();
    assert_eq!((one.head.is_none(), one.intents.len(), one.stops.len()), (true, 0, 0));
    let all = observation(KEY).then(observation(OTHER)).then(gone).then(images(1)).then(images(2));
    assert_eq!(all.forgotten, [KEY]);
    assert_eq!(all.observations.keys().collect::<Vec<_>>(), [&OTHER]);
    assert_eq!(all.images["a"], Some(image(2)));
}

#[test]
fn a_ledger_of_the_first_format_is_read() {
    let place = Place::new();
    place.sql(include_str!("tests/format-1.sql"));
    assert_whole(&place.contents());
}

#[test]
fn ledger_remembers_images_until_they_are_gone_in_every_format() {
    let place = Place::new();
    place.sql(include_str!("tests/format-1.sql"));
    let image = |used_at| UsedImage {
        references: ["web:1".to_owned()].into(),
        used_at: Timestamp(used_at),
        origin: ImageOrigin::Local,
    };
    let write = |images: [(&str, Option<UsedImage>); 2]| {
        let images = images.map(|(id, image)| (id.to_owned(), image)).into();
        place.open().write(&Batch { images, ..Batch::default() }).unwrap();
    };
    assert_eq!(place.contents().images, BTreeMap::new());
    write([("a", Some(image(1))), ("b", Some(image(2)))]);
    write([("a", Some(image(3))), ("b", None)]);
    assert_eq!(place.contents().images, [("a".to_owned(), image(3))].into());
    assert_whole(&place.contents());
    place.sql("UPDATE images SET record = zeroblob(4)");
    assert!(place.refusal().contains("the record of image a has a wrong checksum"));
}

#[test]
fn one_agent_at_a_time_holds_a_ledger() {
    let place = Place::new();
    let _held = place.open();
    expect!["another agent holds the ledger PATH; stop it, or give this one its own --data-dir"]
        .assert_eq(&place.refusal());
}

#[test]
fn a_file_that_is_not_this_agents_ledger_is_not_touched() {
    let check = |place: Place, expected: Expect| {
        let before = fs_err::read(place.path()).unwrap();
        expected.assert_eq(&place.refusal());
        assert_eq!(fs_err::read(place.path()).unwrap(), before);
    };
    let text = Place::new();
    fs_err::write(text.path(), "not a database, but longer than its header would be ".repeat(9))
        .unwrap();
    check(
        text,
        expect![
            "the ledger PATH is damaged (file is not a database); move it away and start again: containers are then adopted by their labels, and nothing is stopped"
        ],
    );
    let foreign = Place::new();
    foreign.sql("PRAGMA application_id = 7; CREATE TABLE theirs (x)");
    check(foreign, expect!["PATH is a SQLite file, but not a ledger of this agent"]);
    let unnamed = Place::new();
    unnamed.sql("CREATE TABLE theirs (x)");
    check(unnamed, expect!["PATH is a SQLite file, but not a ledger of this agent"]);
    let newer = Place::written(&[orders()]);
    newer.sql("PRAGMA user_version = 2");
    check(
        newer,
        expect![
            "the ledger PATH was written by a newer agent (format 2, this one reads 1); start that agent again, or move the file away: containers are then adopted by their labels"
        ],
    );
}

#[test]
fn a_ledger_of_another_host_or_fleet_is_refused() {
    let other_host = Head { host: HostId::new(1), ..head(3, 12) };
    let other_fleet = Head { fleet: FleetId::new(1), ..head(3, 12) };
    for other in [other_host, other_fleet] {
        let batch = Batch { head: Some(other), ..Batch::default() };
        let refusal = Place::written(&[batch]).refusal();
        assert!(refusal.contains("of another host or fleet"), "{refusal}");
    }
}

#[test]
fn a_damaged_ledger_is_refused_and_says_what_to_do() {
    let what = |place: &Place| {
        let refusal = place.refusal();
        let what = refusal
            .strip_prefix("the ledger PATH is damaged (")
            .and_then(|rest| rest.split_once("); move it away and start again"));
        what.unwrap_or_else(|| panic!("{refusal}")).0.to_owned()
    };
    let whole = || Place::written(&[orders(), observation(KEY)]);
    let check = |statement: &str, expected: Expect| {
        let place = whole();
        place.sql(statement);
        expected.assert_eq(&what(&place));
    };
    check(
        "UPDATE records SET record = zeroblob(4) WHERE kind = 0",
        expect!["a record of task 00000000000000000000000000000000 has a wrong checksum"],
    );
    check(
        "UPDATE records SET generation = 9 WHERE kind = 2",
        expect!["a record of task 00000000000000000000000000000bee has a wrong checksum"],
    );
    check("UPDATE records SET task = x'00' WHERE kind = 2", expect!["a task id of wrong length"]);
    check("UPDATE records SET kind = 9 WHERE kind = 3", expect!["a row of unknown kind 9"]);

    let (cut, scratched) = (whole(), whole());
    let mut pages = fs_err::read(cut.path()).unwrap();
    // The first holds the schema, the second the records.
    let second_page = pages.len() / PAGES;
    fs_err::write(cut.path(), &pages[..second_page]).unwrap();
    expect!["database disk image is malformed"].assert_eq(&what(&cut));
    pages[second_page..second_page + 16].fill(0xff);
    fs_err::write(scratched.path(), pages).unwrap();
    expect![[r#"
        *** in database main ***
        Tree 2 page 2: btreeInitPage() returns error code 11"#]]
    .assert_eq(&what(&scratched));
}
