//! Journals that earlier programs wrote must open, and give the state that they gave then.
//!
//! Each folder of `tests/golden/journals` is named after the commit or release whose programs wrote
//! it. It holds two journals and, in `state.txt`, the state to which both must recover: `tail.db`
//! has its second half in events after a checkpoint, `checkpointed.db` has everything in rows.
//! `make golden NAME=…` writes a further folder with the programs as they are now; a journal is
//! never written anew. When a later program shows a state in other words than an earlier one did,
//! `make golden-words` changes `state.txt` alone: read its difference before you commit it.

#![allow(clippy::print_stdout, reason = "a generator that says what it wrote")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use longshore_common::id::FleetId;
use longshore_core::{
    Event, State, batch::Batch, checkpoint::record, state::Picture, test_kit::scenario,
};

use crate::journal::{
    Checkpoint, DeploymentFilter, History, Journal, StoppedFilter,
    recovery::recover,
    sqlite::{FILE_NAME, SqliteJournal},
};

/// Set when this is compiled: the name of the folder to write.
const WRITE: Option<&str> = option_env!("LONGSHORE_GOLDEN");
/// Set when this is compiled: write the words of every folder anew.
const REWORD: Option<&str> = option_env!("LONGSHORE_GOLDEN_WORDS");
const JOURNALS: [&str; 2] = ["tail.db", "checkpointed.db"];
const WORDS: &str = "state.txt";
/// Events that nothing decides any more, so that no new journal holds any.
const NEVER_DECIDED: [&str; 1] = ["AttributesDeleted"];

pub(super) fn folders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/journals")
}

/// What a journal recovers to: the state, its picture, and that with the history in words.
fn opened(file: &Path) -> (State, Picture, String) {
    let directory = tempfile::tempdir().unwrap();
    fs_err::copy(file, directory.path().join(FILE_NAME)).unwrap();
    let journal = SqliteJournal::open(directory.path(), FleetId::new(1)).unwrap();
    let (mut state, _) = recover(&journal).unwrap();
    state.set_capacity_policy(scenario::policy());
    let picture = state.picture();
    let words = format!("{picture}{}", history_in_words(&state, &*journal.history()));
    let words = without_numbers_of_batches(&words);
    (state, picture, words)
}

/// Which batch or start a thing came by is kept in rows of later programs alone, and read from what is
/// left of the batches: the two journals of an earlier program do not say the same of it.
fn without_numbers_of_batches(words: &str) -> String {
    let lines = r"^(recovered_seq|skipped_seq|placed_seq|starts|orders_at_starts|recoveries|word_awaited_until): .*\n";
    let numbers =
        regex::Regex::new(&format!("(?m){lines}|, placed_seq: [0-9]+|asked_seq: [0-9]+, "));
    numbers.unwrap().replace_all(words, "").into_owned()
}

/// Everything that the history knows of the clusters and services that the state has.
fn history_in_words(state: &State, history: &dyn History) -> String {
    let limit = 10_000;
    let mut words = String::new();
    for cluster in state.clusters_after(None) {
        let name = cluster.name.to_string();
        let filter = StoppedFilter { cluster: name, limit, ..StoppedFilter::default() };
        for entry in history.list(&filter).unwrap() {
            let stopped = history.tasks(&[entry.task]).unwrap();
            writeln!(words, "== stopped {}\n{stopped:?}", entry.number).unwrap();
        }
        let services = cluster.services.values().chain(cluster.inactive_services.values());
        for service in services.map(|slot| state.service_at(*slot)) {
            let (created_after, created_before, before) = (None, None, None);
            let service_id = service.id;
            let filter = DeploymentFilter {
                service: service_id,
                created_after,
                created_before,
                before,
                limit,
            };
            let deployments = history.deployments(&filter).unwrap();
            let revisions: Vec<_> = service.revisions.iter().map(|one| one.record.id).collect();
            let revisions = history.revisions(&revisions).unwrap();
            let events = history.service_events(service_id, u64::MAX >> 1, limit).unwrap();
            writeln!(words, "== history of service {service_id}").unwrap();
            deployments.iter().for_each(|one| writeln!(words, "{one:?}").unwrap());
            revisions.iter().for_each(|one| writeln!(words, "{one:?}").unwrap());
            events.iter().for_each(|one| writeln!(words, "{one:?}").unwrap());
        }
    }
    words
}

#[test]
fn every_golden_journal_recovers_to_the_state_it_held() {
    let mut opened_count = 0;
    for folder in fs_err::read_dir(folders()).unwrap() {
        let folder = folder.unwrap().path();
        let words = folder.join(WORDS);
        for name in JOURNALS {
            let (state, _, found) = opened(&folder.join(name));
            if REWORD.is_some() {
                fs_err::write(&words, &found).unwrap();
            }
            let expected = fs_err::read_to_string(&words).unwrap();
            for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
                assert_eq!(found, expected, "{name} is not {}:{}", words.display(), line + 1);
            }
            assert_eq!(found.lines().count(), expected.lines().count(), "{}", words.display());
            assert_eq!(state.check(), Vec::<String>::new(), "{}", words.display());
            opened_count += 1;
        }
    }
    assert!(opened_count >= 2, "there are golden journals");
}

/// What a new golden journal would hold; written when that is asked for.
#[test]
fn a_golden_journal_holds_every_event_and_every_kind_of_row() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(directory.path(), FleetId::new(7)).unwrap();
    let mut world = scenario::world();
    scenario::play(&mut world, "a");
    journal.append(&world.take_batches()).unwrap();
    journal.checkpoint(checkpoint(&mut world.state)).unwrap();
    scenario::play(&mut world, "b");
    let batches = world.take_batches();
    holds_every_event(&batches);
    journal.append(&batches).unwrap();
    let kinds: BTreeSet<u8> = world.state.all_rows().iter().map(|row| row.kind).collect();
    assert_eq!(kinds, record::RESTORE_ORDER.into_iter().collect(), "a kind of row is missing");
    assert_eq!(world.state.check(), Vec::<String>::new());
    let [tail, checkpointed] = JOURNALS.map(|name| directory.path().join(name));
    crate::journal::sqlite::backup(directory.path(), &tail).unwrap();
    journal.checkpoint(checkpoint(&mut world.state)).unwrap();
    crate::journal::sqlite::backup(directory.path(), &checkpointed).unwrap();
    for file in [&tail, &checkpointed] {
        let (state, picture, _) = opened(file);
        assert_eq!(world.state.picture().differences(&picture), Vec::<String>::new());
        assert_eq!(state.check(), Vec::<String>::new());
    }
    let Some(name) = WRITE else { return };
    let folder = folders().join(name);
    assert!(!folder.exists(), "{} is there already and is never written anew", folder.display());
    fs_err::create_dir_all(&folder).unwrap();
    for (name, file) in JOURNALS.iter().zip([&tail, &checkpointed]) {
        fs_err::copy(file, folder.join(name)).unwrap();
    }
    fs_err::write(folder.join(WORDS), opened(&tail).2).unwrap();
    println!("written: {}", folder.display());
}

fn checkpoint(state: &mut State) -> Checkpoint {
    let seq = state.seq();
    state.begin_capture();
    let rows = state.capture_slice(usize::MAX).expect("all is captured at once");
    Checkpoint { seq, rows }
}

fn holds_every_event(batches: &[Batch]) {
    let held: BTreeSet<String> =
        batches.iter().flat_map(|batch| &batch.events).map(variant_of).collect();
    let missing: Vec<String> = variants()
        .into_iter()
        .filter(|name| !held.contains(name) && !NEVER_DECIDED.contains(&name.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "the scenario never leads to these events");
}

fn variant_of(event: &Event) -> String {
    let text = format!("{event:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_owned()
}

/// Names of the variants of [`Event`], as its reader lists them when it is given none of them.
fn variants() -> Vec<String> {
    let refused = serde_json::from_str::<Event>("\"none of them\"").unwrap_err().to_string();
    let names: Vec<String> = refused.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 70, "{refused}");
    names
}
