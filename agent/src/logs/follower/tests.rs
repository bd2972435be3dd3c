//! The follower on real files and a real store, written to as Docker writes; killed at any moment.

mod golden;

use std::{fs, io::Write, path::Path};

use longshore_common::clock::{SteppedClock, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::logs::stored;

const START: Timestamp = Timestamp(1_700_000_000_000);
const KEEP: Keep = Keep { age: Duration::from_secs(3600), bytes: 1 << 30 };

struct World {
    folder: tempfile::TempDir,
    clock: Arc<SteppedClock>,
    follower: Follower,
    written: u64,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = SteppedClock::at(START);
        let follower = Self::follower(&folder, &clock);
        World { folder, clock, follower, written: 0 }
    }

    fn follower(folder: &tempfile::TempDir, clock: &Arc<SteppedClock>) -> Follower {
        Follower::new(folder.path().join("logs.sqlite"), KEEP, clock.clone())
    }

    fn store(&mut self) -> &mut LogStore {
        self.follower.store.as_mut().unwrap()
    }

    fn path(&self, container: &str) -> PathBuf {
        self.folder.path().join(format!("{container}-json.log"))
    }

    /// A record of Docker's; without a newline in `text` a part of a line.
    fn write(&mut self, container: &str, text: &str) {
        self.written += 1;
        let time = START.saturating_add(Duration::from_millis(self.written)).to_string();
        let record = serde_json::json!({ "log": text, "stream": "stdout", "time": time });
        let path = self.path(container);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{record}").unwrap();
    }

    fn rotate(&self, container: &str) {
        let path = |number: usize| match number {
            0 => self.path(container),
            number => self.folder.path().join(format!("{container}-json.log.{number}")),
        };
        for number in (1..5).rev() {
            let _ = fs::rename(path(number - 1), path(number));
        }
        fs::write(path(0), "").unwrap();
    }

    fn follow(&mut self, container: &str, start: Option<&str>, ended: bool) -> DueLogs {
        let destination = LogDestination {
            group: "g".to_owned(),
            stream: Some(format!("s/{container}")),
            event_start: start.map(str::to_owned),
        };
        self.tell(Command::Follow {
            id: container.to_owned(),
            destination,
            path: self.path(container),
            ended,
            before: FollowCount(0),
        })
    }

    fn tell(&mut self, command: Command) -> DueLogs {
        let mut due = DueLogs::default();
        self.follower.take(command, &mut None, &mut due);
        due
    }

    /// Until there is nothing more to read.
    fn settle(&mut self) {
        let mut due = DueLogs { all: true, ..DueLogs::default() };
        while let NextLook::More(more) = self.follower.round(due) {
            due = more;
        }
    }

    /// The agent is killed and another one starts.
    fn restart(&mut self) {
        self.follower = Self::follower(&self.folder, &self.clock);
    }

    fn events(&mut self) -> Vec<String> {
        stored::messages(self.store())
    }
}

#[test]
fn lines_are_stored_once_over_restarts_and_rotations() {
    let mut world = World::new();
    world.write("a", "one\n");
    world.follow("a", None, false);
    world.settle();
    world.write("a", "two, a part ");
    world.settle();
    world.restart();
    world.rotate("a");
    world.write("a", "and the rest\n");
    world.follow("a", None, false);
    world.settle();
    world.settle();
    world.write("a", "open");
    assert_eq!(world.events(), ["one", "two, a part and the rest"]);
    world.tell(Command::Ended { id: "a".to_owned() });
    world.settle();
    assert_eq!(world.events(), ["one", "two, a part and the rest", "open"]);
    world.restart();
    world.follow("a", None, true);
    world.settle();
    assert_eq!(world.events().len(), 3);
}

#[test]
fn an_event_of_several_lines_ends_when_nothing_follows() {
    let mut world = World::new();
    world.follow("a", Some("^A"), false);
    world.write("a", "A 1\n");
    world.write("a", " more\n");
    world.settle();
    assert_eq!(world.events(), [""; 0]);
    world.restart();
    world.follow("a", Some("^A"), false);
    world.clock.advance(EVENT_QUIET);
    world.settle();
    assert_eq!(world.events(), ["A 1\n more"]);
}

#[tokio::test]
async fn who_waits_for_the_end_of_a_log_hears_when_it_is_stored() {
    let mut world = World::new();
    world.write("a", "last");
    world.follow("a", None, false);
    let (done, mut stored) = oneshot::channel();
    world.tell(Command::Drain { id: "a".to_owned(), done });
    assert!(stored.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    world.settle();
    assert!(stored.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(world.events(), ["last"]);
    world.tell(Command::Forget { id: "a".to_owned() });
    assert_eq!(world.store().sources().unwrap(), [""; 0]);
}

#[test]
fn a_log_that_is_gone_holds_nobody_up() {
    let mut world = World::new();
    world.follow("a", None, true);
    let (done, mut stored) = oneshot::channel();
    world.tell(Command::Drain { id: "a".to_owned(), done });
    world.settle();
    assert!(stored.try_recv() == Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn cursors_of_containers_that_others_removed_are_forgotten() {
    let mut world = World::new();
    for container in ["a", "b"] {
        world.write(container, "x\n");
        world.follow(container, None, false);
    }
    world.settle();
    // One that never wrote anything has no cursor.
    world.follow("c", None, false);
    world.tell(Command::Present { ids: ["b".to_owned()].into(), since: FollowCount(0) });
    assert_eq!(world.store().sources().unwrap(), ["a", "b"]);
    world.tell(Command::Present { ids: ["b".to_owned()].into(), since: FollowCount(3) });
    assert_eq!(world.store().sources().unwrap(), ["b"]);
    assert!(world.follower.containers.keys().eq(["b"]));
    assert_eq!(world.events(), ["x", "x"]);
}

#[test]
fn a_container_that_is_started_again_is_followed_on() {
    let mut world = World::new();
    world.write("a", "first life\n");
    world.follow("a", None, false);
    world.tell(Command::Ended { id: "a".to_owned() });
    world.settle();
    world.write("a", "second life\n");
    world.follow("a", None, false);
    world.write("a", "goes on");
    world.settle();
    assert_eq!(world.events(), ["first life", "second life"]);
    world.tell(Command::Ended { id: "a".to_owned() });
    world.settle();
    assert_eq!(world.events(), ["first life", "second life", "goes on"]);
}

#[test]
fn an_end_that_is_heard_of_before_its_container_counts() {
    let mut world = World::new();
    world.write("a", "open");
    world.tell(Command::Ended { id: "a".to_owned() });
    world.follow("a", None, false);
    world.settle();
    assert_eq!(world.events(), ["open"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever happens in whatever order: each line is stored once, in order.
    #[test]
    fn no_line_is_lost_or_repeated(steps in prop::collection::vec(0_u8..6, 1..60)) {
        let mut world = World::new();
        world.write("a", "first\n");
        world.follow("a", None, false);
        let mut expected = vec!["first".to_owned()];
        let (mut part, mut rotations) = (String::new(), 0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                0 | 1 => {
                    world.write("a", &format!("{number}\n"));
                    expected.push(std::mem::take(&mut part) + &number.to_string());
                }
                2 => {
                    world.write("a", "part ");
                    part.push_str("part ");
                }
                3 if rotations < 3 => {
                    rotations += 1;
                    world.rotate("a");
                }
                4 => {
                    world.restart();
                    world.follow("a", None, false);
                }
                _ => {
                    world.settle();
                    rotations = 0;
                }
            }
        }
        world.settle();
        prop_assert_eq!(world.events(), expected);
    }
}

/// What a disk without room does to the store.
fn fill(world: &mut World, full: bool) {
    let store = world.follower.store.take();
    drop(store);
    let path = world.folder.path().join("logs.sqlite");
    // A directory in its place cannot be opened.
    match full {
        true => {
            fs::rename(&path, path.with_extension("away")).unwrap();
            fs::create_dir(&path).unwrap();
        }
        false => {
            fs::remove_dir(&path).unwrap();
            fs::rename(path.with_extension("away"), &path).unwrap();
        }
    }
}

#[tokio::test]
async fn store_that_fails_loses_no_line_and_holds_removals_shortly() {
    let mut world = World::new();
    world.write("a", "one\n");
    world.follow("a", None, false);
    world.settle();
    fill(&mut world, true);
    world.write("a", "two\n");
    world.write("b", "three\n");
    world.follow("b", None, true);
    world.settle();
    // A moment's trouble is waited out, a longer one is not.
    let (done, mut stored) = oneshot::channel();
    world.tell(Command::Drain { id: "a".to_owned(), done });
    world.settle();
    assert!(stored.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    world.clock.advance(REMOVALS_WAIT);
    world.settle();
    assert!(stored.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    for id in ["a", "b"] {
        let (done, stored) = oneshot::channel();
        world.tell(Command::Drain { id: id.to_owned(), done });
        assert!(stored.await.is_err());
    }
    fill(&mut world, false);
    world.settle();
    assert_eq!(world.events(), ["one", "two", "three"]);
    assert_eq!(world.follower.storing, Storing::Works);
}

#[test]
fn a_full_store_lets_removals_go_at_once() {
    let mut world = World::new();
    world.follow("a", None, false);
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    let full = StoreError::Sqlite(rusqlite::Error::SqliteFailure(full, None));
    assert!(!world.follower.lets_removals_go());
    world.follower.failed(&full);
    assert!(world.follower.lets_removals_go());
    world.follower.works();
    assert!(!world.follower.lets_removals_go());
}

#[test]
fn a_clock_that_jumps_ahead_makes_no_event_old() {
    let mut world = World::new();
    world.follow("a", None, false);
    world.write("a", "one\n");
    world.settle();
    let sweep = |world: &mut World| {
        world.clock.advance(KEEP_EVERY);
        world.settle();
        world.events().len()
    };
    world.clock.jump(7 * 24 * 60 * 60 * 1000);
    assert_eq!(sweep(&mut world), 1);
    // Nor does a start while it is wrong.
    world.restart();
    world.follow("a", None, false);
    assert_eq!(sweep(&mut world), 1);
    // One that goes on for a day is right.
    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(sweep(&mut world), 0);
}
