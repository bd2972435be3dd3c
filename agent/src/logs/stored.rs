//! For tests: what the store holds.

use longshore_common::{
    clock::Timestamp,
    logs::{
        query::{AskEvents, LogAsk, LogReply, StreamChoice},
        store::LogStore,
    },
};

/// More than any of these tests writes.
const LIMIT: u32 = 10_000;

/// The messages of all streams of the group `g`, by their times.
pub(super) fn messages(store: &mut LogStore) -> Vec<String> {
    let ask = LogAsk::Events(AskEvents {
        group: "g".to_owned(),
        retention_days: None,
        streams: StreamChoice::Prefixed(String::new()),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
        beyond: None,
        backward: false,
        limit: LIMIT,
        pattern: String::new(),
    });
    let LogReply::Events(held) = store.answer(&ask).unwrap() else { panic!("no events") };
    held.events.into_iter().map(|event| event.message).collect()
}
