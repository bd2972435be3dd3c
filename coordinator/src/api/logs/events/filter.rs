//! FilterLogEvents: a group, or some of its streams, by time and pattern.

use longshore_common::{
    clock::Timestamp,
    logs::{pattern::Pattern, query::StreamChoice},
};
use serde::Deserialize;

use super::{Found, Wanted};
use crate::{
    api::logs::{
        input, invalid,
        merge::{Beyond, Direction, MergedEvent},
        no_such_group, no_such_stream,
    },
    edge::{context::Api, error::ApiError, protocol::tree::Tree},
};

/// Maximum number of streams that one request names (CloudWatch Logs' model: InputLogStreamNames).
const STREAMS_NAMED_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::logs) struct FilterLogEventsInput {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    #[serde(default)]
    log_stream_names: Vec<String>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<u32>,
    start_from_head: Option<bool>,
    /// Ignored, as in CloudWatch Logs since 2019: events are always interleaved.
    #[serde(rename = "interleaved")]
    _interleaved: Option<bool>,
    /// Nothing is ever masked here, so that both values are honoured.
    #[serde(rename = "unmask")]
    _unmask: Option<bool>,
}

pub(in crate::api::logs) async fn filter(
    api: &Api,
    input: FilterLogEventsInput,
) -> Result<Tree, ApiError> {
    let group =
        input::group(api, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let names = input.log_stream_names;
    let is_named = !names.is_empty();
    if names.len() > STREAMS_NAMED_MAX {
        return Err(invalid(format!(
            "logStreamNames has {} entries; it may have {STREAMS_NAMED_MAX}.",
            names.len()
        )));
    }
    for name in &names {
        input::stream_name("logStreamNames", name)?;
    }
    let streams = match input.log_stream_name_prefix {
        Some(_) if is_named => {
            return Err(invalid("logStreamNames and logStreamNamePrefix cannot both be given."));
        }
        Some(prefix) => StreamChoice::Prefixed(prefix),
        None if is_named => StreamChoice::Named(names),
        None => StreamChoice::Prefixed(String::new()),
    };
    let beyond = match input.next_token.as_deref() {
        None => None,
        Some(token) => Some(input::beyond(api, token)?),
    };
    let direction = match (beyond, input.start_from_head.unwrap_or(true)) {
        (Some(beyond), _) => beyond.direction,
        (None, true) => Direction::Forward,
        (None, false) => Direction::Backward,
    };
    let pattern = input.filter_pattern.unwrap_or_default();
    Pattern::parse(&pattern).map_err(|error| invalid(error.to_string()))?;
    let wanted = Wanted {
        group,
        streams,
        from: Timestamp(input.start_time.unwrap_or_default()),
        // Here the end is inclusive.
        until: Timestamp(input.end_time.unwrap_or(u64::MAX).saturating_add(1)),
        beyond,
        direction,
        limit: input::events_limit(input.limit)?,
        pattern,
    };
    let Found { merged, group_known, stream_known, heard } = wanted.find(api).await?;
    if !group_known {
        return Err(heard.not_found(no_such_group()));
    }
    if is_named && !stream_known {
        return Err(heard.not_found(no_such_stream()));
    }
    let next_token = merged
        .next
        .map(|position| api.page_scope.token(&Beyond { direction, position }.to_string()));
    let missing = heard.away.iter().map(|host| {
        let name = format!("(all of container instance {host}, which is disconnected)");
        Tree::object().with("logStreamName", name).with("searchedCompletely", false)
    });
    Ok(Tree::object()
        .with("events", Tree::List(merged.events.iter().map(view).collect()))
        .with("searchedLogStreams", Tree::List(missing.collect()))
        .with_some("nextToken", next_token))
}

fn view(event: &MergedEvent) -> Tree {
    Tree::object()
        .with("logStreamName", &event.stream)
        .with("timestamp", Tree::Whole(event.position.at.0))
        .with("message", &event.message)
        .with("ingestionTime", Tree::Whole(event.ingested_at.0))
        .with("eventId", event_id(event))
}

/// 56 digits, as CloudWatch Logs' have: the same for one event at each question, and for no other.
fn event_id(event: &MergedEvent) -> String {
    let position = event.position;
    let source = (position.source >> 64) as u64 ^ position.source as u64;
    format!("{:014}{source:020}{:022}", position.at.0, position.seq)
}
