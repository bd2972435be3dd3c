//! PutLogEvents: what clients write themselves, into the coordinator's own store.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    logs::{
        query::{
            AskEvents, LOG_EVENT_OVERHEAD_BYTES, LOG_MESSAGE_BYTES_MAX, LogAsk, LogReply,
            StreamChoice,
        },
        store::NewEvent,
    },
};
use serde::Deserialize;

use crate::{
    api::logs::{input, invalid, no_such_group, no_such_stream},
    edge::{context::Api, error::ApiError, protocol::tree::Tree},
};

/// Maximum number of events in one batch (CloudWatch Logs' limit).
const EVENTS_MAX: usize = 10_000;
/// Maximum size of one batch in bytes (CloudWatch Logs' limit).
const BATCH_BYTES_MAX: usize = 1_048_576;
/// Maximum time between the first and the last event of one batch (CloudWatch Logs' limit).
const BATCH_SPAN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum age of an event (CloudWatch Logs' limit).
const AGE_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Maximum time that an event may be ahead of the coordinator's clock (CloudWatch Logs' limit).
const AHEAD_MAX: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::logs) struct PutLogEventsInput {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputLogEvent>,
    /// Ignored, as in CloudWatch Logs since 2023: every token is accepted.
    #[serde(rename = "sequenceToken")]
    _sequence_token: Option<String>,
    entity: Option<Entity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputLogEvent {
    timestamp: u64,
    message: String,
}

/// Refused: there is nothing that it could be related to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entity {
    #[serde(rename = "keyAttributes", default)]
    _key_attributes: std::collections::BTreeMap<String, String>,
    #[serde(rename = "attributes", default)]
    _attributes: std::collections::BTreeMap<String, String>,
}

pub(in crate::api::logs) async fn put(
    api: &Api,
    input: PutLogEventsInput,
) -> Result<Tree, ApiError> {
    let group = input::group_name("logGroupName", &input.log_group_name)?;
    let stream = input.log_stream_name;
    input::stream_name("logStreamName", &stream)?;
    if input.entity.is_some() {
        return Err(invalid("This version of Longshore does not honour entity. Leave it out."));
    }
    check(&input.log_events)?;
    let known = api.read(|state| state.log_group(group.as_str()).cloned()).await?;
    let known = known.ok_or_else(no_such_group)?;
    if !has_stream(api, group.as_str(), known.retention_days, &stream).await? {
        return Err(no_such_stream());
    }
    let now = api.clock.wall();
    let too_old = Timestamp(now.0.saturating_sub(AGE_MAX.as_millis() as u64));
    let expired = input::retained_from(api, known.retention_days);
    let too_new = now.saturating_add(AHEAD_MAX);
    let events = input.log_events;
    let before = |at: Timestamp| events.iter().take_while(|event| event.timestamp < at.0).count();
    let (old, gone, end) = (before(too_old), before(expired), before(Timestamp(too_new.0 + 1)));
    let count = events.len();
    let accepted: Vec<NewEvent> = events
        .into_iter()
        .take(end)
        .skip(old.max(gone))
        .map(|event| NewEvent { at: Timestamp(event.timestamp), message: event.message })
        .collect();
    if !accepted.is_empty() {
        api.logs.put(group.into(), stream, accepted, now).await.map_err(ApiError::server)?;
    }
    let index = |index: usize| Tree::Whole(index as u64);
    let rejected = Tree::object()
        .with_some("tooNewLogEventStartIndex", (end < count).then(|| index(end)))
        .with_some("tooOldLogEventEndIndex", (old > 0).then(|| index(old)))
        .with_some("expiredLogEventEndIndex", (gone > old).then(|| index(gone)));
    let any = end < count || old > 0 || gone > 0;
    Ok(Tree::object().with_some("rejectedLogEventsInfo", any.then_some(rejected)))
}

fn check(events: &[InputLogEvent]) -> Result<(), ApiError> {
    if events.is_empty() || events.len() > EVENTS_MAX {
        return Err(invalid(format!(
            "logEvents has {} entries; it must have 1 to {EVENTS_MAX}.",
            events.len()
        )));
    }
    if events.iter().any(|event| event.message.is_empty()) {
        return Err(invalid("Log event message is empty; it must have at least 1 character."));
    }
    if events.iter().any(|event| event.message.len() > LOG_MESSAGE_BYTES_MAX) {
        return Err(invalid(format!(
            "Log event too large: it may have {LOG_MESSAGE_BYTES_MAX} bytes."
        )));
    }
    let bytes: usize =
        events.iter().map(|event| event.message.len() + LOG_EVENT_OVERHEAD_BYTES).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}"
        )));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let span = match (events.first(), events.last()) {
        (Some(first), Some(last)) => last.timestamp - first.timestamp,
        _ => 0,
    };
    if u128::from(span) > BATCH_SPAN_MAX.as_millis() {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 \
             hours.",
        ));
    }
    Ok(())
}

/// Whether CreateLogStream made it, here: streams of tasks take nothing from clients.
async fn has_stream(
    api: &Api,
    group: &str,
    retention_days: Option<u32>,
    stream: &str,
) -> Result<bool, ApiError> {
    let ask = LogAsk::Events(AskEvents {
        group: group.to_owned(),
        retention_days,
        streams: StreamChoice::Named(vec![stream.to_owned()]),
        from: Timestamp(0),
        until: Timestamp(0),
        beyond: None,
        backward: false,
        limit: 1,
        pattern: String::new(),
    });
    match api.logs.ask_own(ask).await.map_err(ApiError::server)? {
        LogReply::Events(held) => Ok(held.stream_known),
        LogReply::Groups(_) | LogReply::Streams(_) | LogReply::Done => Ok(false),
    }
}
