//! The journal names an event by its variant alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;

use super::{Event, NAMES};
use crate::{checkpoint::record, test_kit::scenario};

fn names() -> Vec<&'static str> {
    NAMES.iter().flat_map(|(_, names)| names()).copied().collect()
}

#[test]
fn event_name_stands_for_one_resource() {
    let names = names();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(names.len() > 70, "an enum does not tell its names");
}

/// The name is what the journal holds, and the whole event comes back.
#[test]
fn every_event_reads_as_it_was_written() {
    let mut world = scenario::world();
    scenario::play(&mut world, "a");
    let events = world.take_batches().into_iter().flat_map(|batch| batch.events);
    let mut seen = BTreeSet::new();
    for event in events {
        let bytes = record::encode(&event);
        assert_eq!(record::decode::<Event>(&bytes).unwrap(), event);
        let named = record::decode::<BTreeMap<String, IgnoredAny>>(&bytes);
        seen.insert(match named {
            Ok(named) => named.into_keys().next().unwrap(),
            Err(_) => record::decode::<String>(&bytes).unwrap(),
        });
    }
    // Only journals of earlier releases hold the other one.
    let unseen: Vec<_> = names().into_iter().filter(|name| !seen.contains(*name)).collect();
    assert_eq!(unseen, ["AttributesDeleted"]);
}

#[test]
fn unknown_event_is_refused_by_its_name() {
    let bytes = record::encode(&BTreeMap::from([("TaskPainted", 1)]));
    let error = record::decode::<Event>(&bytes).unwrap_err().to_string();
    assert!(error.contains("TaskPainted"), "{error}");
}
