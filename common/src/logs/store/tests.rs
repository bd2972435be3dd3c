//! The store: what is found, in which order, how far; what is kept.

use std::time::Duration;

use super::*;
use crate::logs::query::{
    AskEvents, AskStreams, EventPlace, HeldEvents, HeldStream, LOG_EVENTS_BYTES_MAX, StreamChoice,
    StreamOrder,
};

const NOW: Timestamp = Timestamp(1_000_000);
const FOREVER: Keep = Keep { age: Duration::from_secs(1 << 30), bytes: 1 << 40 };

struct Stored {
    folder: tempfile::TempDir,
    store: LogStore,
}

fn open(folder: &tempfile::TempDir) -> LogStore {
    LogStore::open(&folder.path().join("logs.sqlite"), Durability::Acknowledged).unwrap()
}

impl Stored {
    /// Events `stream at message` of group `g`.
    fn of(events: &[(&str, u64, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stored = Stored { store: open(&folder), folder };
        for (stream, at, message) in events {
            stored.append("g", stream, *at, message);
        }
        stored
    }

    fn append(&mut self, group: &str, stream: &str, at: u64, message: &str) {
        let events = [NewEvent { at: Timestamp(at), message: message.to_owned() }];
        let append = Append { group, stream, events: &events, cursor: None };
        self.store.append(&[append], NOW).unwrap();
    }

    /// An event of four bytes at each of these times.
    fn append_all(&mut self, stream: &str, times: impl IntoIterator<Item = u64>) {
        let event = |at| NewEvent { at: Timestamp(at), message: format!("{at:04}") };
        let events: Vec<NewEvent> = times.into_iter().map(event).collect();
        let append = Append { group: "g", stream, events: &events, cursor: None };
        self.store.append(&[append], NOW).unwrap();
    }

    fn held(&mut self, ask: AskEvents) -> HeldEvents {
        match self.store.answer(&LogAsk::Events(ask)).unwrap() {
            LogReply::Events(held) => held,
            other => panic!("{other:?}"),
        }
    }

    fn found(&mut self, ask: AskEvents) -> String {
        let held = self.held(ask);
        let stream = |index: u32| held.streams[index as usize].as_str();
        let mut shown: Vec<String> = held
            .events
            .iter()
            .map(|e| format!("{}@{}:{}", stream(e.stream), e.place.at.0, e.message))
            .collect();
        shown.extend(held.reached.map(|place| format!("…{}", place.at.0)));
        shown.join(" ")
    }

    fn streams(&mut self, ask: AskStreams) -> Option<Vec<HeldStream>> {
        match self.store.answer(&LogAsk::Streams(ask)).unwrap() {
            LogReply::Streams(streams) => streams,
            other => panic!("{other:?}"),
        }
    }

    fn keep(&mut self, keep: Keep, now: u64) -> String {
        while self.store.keep(keep, Some(Timestamp(now))).unwrap() {}
        self.found(all())
    }
}

fn all() -> AskEvents {
    AskEvents {
        group: "g".to_owned(),
        retention_days: None,
        streams: StreamChoice::Prefixed(String::new()),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
        beyond: None,
        backward: false,
        limit: 100,
        pattern: String::new(),
    }
}

fn streams_of(order: StreamOrder, descending: bool) -> AskStreams {
    AskStreams {
        group: "g".to_owned(),
        prefix: String::new(),
        order,
        descending,
        after: None,
        limit: 2,
    }
}

const THREE: [(&str, u64, &str); 5] =
    [("a", 10, "1"), ("b", 11, "2"), ("a", 12, "3"), ("ab", 12, "4"), ("b", 13, "5")];

#[test]
fn events_of_all_streams_come_in_the_order_of_their_times() {
    let mut stored = Stored::of(&THREE);
    assert_eq!(stored.found(all()), "a@10:1 b@11:2 a@12:3 ab@12:4 b@13:5");
    assert_eq!(
        stored.found(AskEvents { backward: true, ..all() }),
        "b@13:5 ab@12:4 a@12:3 b@11:2 a@10:1"
    );
}

#[test]
fn times_streams_and_patterns_narrow_what_is_found() {
    let mut stored = Stored::of(&THREE);
    let between = AskEvents { from: Timestamp(11), until: Timestamp(13), ..all() };
    assert_eq!(stored.found(between.clone()), "b@11:2 a@12:3 ab@12:4");
    assert_eq!(stored.found(AskEvents { backward: true, ..between }), "ab@12:4 a@12:3 b@11:2");
    let prefixed = StreamChoice::Prefixed("a".to_owned());
    assert_eq!(stored.found(AskEvents { streams: prefixed, ..all() }), "a@10:1 a@12:3 ab@12:4");
    let named = StreamChoice::Named(vec!["ab".to_owned(), "zz".to_owned()]);
    assert_eq!(stored.found(AskEvents { streams: named, ..all() }), "ab@12:4");
    assert_eq!(stored.found(AskEvents { pattern: "?2 ?4".to_owned(), ..all() }), "b@11:2 ab@12:4");
    let bad = LogAsk::Events(AskEvents { pattern: "{".to_owned(), ..all() });
    assert!(matches!(stored.store.answer(&bad), Err(StoreError::Pattern(_))));
}

#[test]
fn an_answer_says_how_far_it_reached_and_the_next_one_goes_on_there() {
    let mut stored = Stored::of(&THREE);
    for backward in [false, true] {
        let (mut seen, mut beyond) = (Vec::new(), None);
        loop {
            let held = stored.held(AskEvents { limit: 2, beyond, backward, ..all() });
            assert!(held.events.len() <= 2);
            seen.extend(held.events.iter().map(|event| event.message.clone()));
            beyond = held.reached;
            if beyond.is_none() {
                break;
            }
        }
        if backward {
            seen.reverse();
        }
        assert_eq!(seen, ["1", "2", "3", "4", "5"]);
    }
}

#[test]
fn a_place_is_exclusive_in_both_directions() {
    let mut stored = Stored::of(&[("a", 10, "1"), ("a", 10, "2"), ("a", 10, "3")]);
    let second = EventPlace { at: Timestamp(10), seq: 2 };
    assert_eq!(stored.found(AskEvents { beyond: Some(second), ..all() }), "a@10:3");
    let backward = AskEvents { beyond: Some(second), backward: true, ..all() };
    assert_eq!(stored.found(backward), "a@10:1");
}

#[test]
fn an_answer_is_bounded_in_bytes_and_holds_one_event_at_least() {
    let large = "x".repeat(LOG_EVENTS_BYTES_MAX);
    let mut stored = Stored::of(&[("a", 1, &large), ("a", 2, "small")]);
    let held = stored.held(all());
    assert_eq!(held.events.len(), 1);
    assert_eq!(held.reached, Some(EventPlace { at: Timestamp(1), seq: 1 }));
}

#[test]
fn many_events_of_many_streams_are_merged_across_what_is_read_ahead() {
    let mut stored = Stored::of(&[]);
    let (rare, often): (Vec<u64>, Vec<u64>) = (0..1000).partition(|at| at % 7 == 0);
    stored.append_all("rare", rare);
    stored.append_all("often", often);
    let held = stored.held(AskEvents { limit: 10_000, ..all() });
    let seen: Vec<u64> = held.events.iter().map(|event| event.place.at.0).collect();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    assert_eq!(held.reached, None);
}

#[test]
fn a_search_that_finds_nothing_stops_and_says_where() {
    let mut stored = Stored::of(&[]);
    let events: Vec<NewEvent> =
        (0..60_000).map(|at| NewEvent { at: Timestamp(at), message: "x".to_owned() }).collect();
    let append = Append { group: "g", stream: "a", events: &events, cursor: None };
    stored.store.append(&[append], NOW).unwrap();
    let first = stored.held(AskEvents { pattern: "y".to_owned(), ..all() });
    let reached = first.reached.unwrap();
    assert_eq!((first.events.len(), reached.at), (0, Timestamp(49_999)));
    let rest = AskEvents { pattern: "y".to_owned(), beyond: Some(reached), ..all() };
    assert_eq!(stored.held(rest).reached, None);
}

#[test]
fn groups_and_streams_that_are_not_there_are_told_from_empty_ones() {
    let mut stored = Stored::of(&[]);
    let known = |held: HeldEvents| (held.group_known, held.stream_known);
    assert_eq!(known(stored.held(all())), (false, false));
    assert_eq!(stored.streams(streams_of(StreamOrder::Name, false)), None);
    assert!(stored.store.create_stream("g", "empty", NOW).unwrap());
    assert!(!stored.store.create_stream("g", "empty", NOW).unwrap());
    let named = |name: &str| AskEvents { streams: StreamChoice::Named(vec![name.into()]), ..all() };
    assert_eq!(known(stored.held(named("empty"))), (true, true));
    assert_eq!(known(stored.held(named("other"))), (true, false));
}

#[test]
fn streams_are_listed_by_name_or_by_their_last_event_in_pages() {
    let mut stored = Stored::of(&[("a", 30, "1"), ("b", 10, "1"), ("c", 20, "1")]);
    stored.store.create_stream("g", "new", NOW).unwrap();
    let table = [
        (StreamOrder::Name, false, "a b c new"),
        (StreamOrder::Name, true, "new c b a"),
        (StreamOrder::LastEvent, false, "new b c a"),
        (StreamOrder::LastEvent, true, "a c b new"),
    ];
    for (order, descending, expected) in table {
        let (mut names, mut ask) = (Vec::new(), streams_of(order, descending));
        loop {
            let page = stored.streams(ask.clone()).unwrap();
            let Some(last) = page.last() else { break };
            ask.after = Some(last.place(order));
            names.extend(page.into_iter().map(|stream| stream.name));
        }
        assert_eq!(names.join(" "), expected, "{order:?} {descending}");
    }
}

#[test]
fn groups_are_listed_with_their_bytes() {
    let mut stored = Stored::of(&[("a", 1, "four")]);
    stored.append("h", "a", 1, "x");
    let ask = |prefix: &str, after: Option<&str>| LogAsk::Groups {
        prefix: prefix.to_owned(),
        part: String::new(),
        after: after.map(str::to_owned),
        limit: 10,
    };
    let mut groups = |ask| match stored.store.answer(&ask).unwrap() {
        LogReply::Groups(groups) => {
            groups.into_iter().map(|g| (g.name, g.bytes)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(groups(ask("", None)), [("g".to_owned(), 30), ("h".to_owned(), 27)]);
    assert_eq!(groups(ask("", Some("g"))).len(), 1);
    assert_eq!(groups(ask("h", None)).len(), 1);
}

#[test]
fn old_events_go_by_the_groups_retention_else_by_the_hosts() {
    let day = DAY.as_millis() as u64;
    let mut stored = Stored::of(&[("a", day, "1"), ("a", 2 * day, "2"), ("b", 3 * day, "3")]);
    let keep = Keep { age: Duration::from_secs(86_400) * 5, ..FOREVER };
    assert_eq!(stored.keep(keep, 4 * day), format!("a@{day}:1 a@{}:2 b@{}:3", 2 * day, 3 * day));
    let set = |days| LogAsk::SetRetention { group: "g".to_owned(), days };
    stored.store.answer(&set(Some(2))).unwrap();
    stored.keep(keep, 4 * day);
    let kept = AskEvents { retention_days: Some(2), ..all() };
    assert_eq!(stored.found(kept), format!("a@{}:2 b@{}:3", 2 * day, 3 * day));
    stored.store.answer(&set(None)).unwrap();
    assert_eq!(stored.keep(keep, 8 * day), format!("b@{}:3", 3 * day));
}

#[test]
fn when_there_is_too_much_the_oldest_events_go() {
    let mut stored = Stored::of(&[]);
    stored.append_all("old", 0..3000);
    stored.append_all("new", 3000..9000);
    let keep = Keep { bytes: 30 * 4500, ..FOREVER };
    while stored.store.keep(keep, Some(NOW)).unwrap() {}
    let held = stored.held(AskEvents { limit: 10_000, ..all() });
    assert!(held.events.len() <= 4500 && held.events.len() > 2000, "{}", held.events.len());
    assert_eq!(held.events.last().unwrap().place.at, Timestamp(8999));
}

#[test]
fn a_deleted_group_takes_its_events_with_it_and_may_come_again() {
    let mut stored = Stored::of(&THREE);
    stored.append("other", "a", 1, "stays");
    stored.store.answer(&LogAsk::DeleteGroup { group: "g".to_owned() }).unwrap();
    assert!(!stored.held(all()).group_known);
    assert_eq!(stored.found(AskEvents { group: "other".to_owned(), ..all() }), "a@1:stays");
    stored.append("g", "a", 50, "again");
    assert_eq!(stored.found(all()), "a@50:again");
    let rows = |stored: &Stored| {
        let count = "SELECT count(*) FROM events";
        stored.store.connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows(&stored), 7);
    assert_eq!(stored.keep(FOREVER, NOW.0), "a@50:again");
    assert_eq!(rows(&stored), 2);
}

#[test]
fn events_and_cursors_are_there_after_a_restart_and_no_place_comes_twice() {
    let mut stored = Stored::of(&THREE);
    let append = Append { group: "g", stream: "a", events: &[], cursor: Some(("c1", b"place")) };
    stored.store.append(&[append], NOW).unwrap();
    stored.store = open(&stored.folder);
    assert_eq!(stored.store.cursor("c1").unwrap().unwrap(), b"place");
    stored.append("g", "a", 13, "6");
    let mut seqs: Vec<u64> =
        stored.held(all()).events.iter().map(|event| event.place.seq).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 6);
    stored.store.forget_source("c1").unwrap();
    assert_eq!(stored.store.sources().unwrap(), [""; 0]);
}

#[test]
fn files_of_others_and_of_newer_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.sqlite");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(
        LogStore::open(&path, Durability::WithItsSource),
        Err(StoreError::Foreign(_))
    ));
    drop(other);
    std::fs::remove_file(&path).unwrap();
    drop(open(&folder));
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    drop(newer);
    assert!(matches!(
        LogStore::open(&path, Durability::WithItsSource),
        Err(StoreError::Newer { found: 2, .. })
    ));
}
