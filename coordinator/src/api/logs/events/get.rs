//! GetLogEvents: one stream, page by page in both directions.

use longshore_common::{clock::Timestamp, logs::query::StreamChoice};
use serde::Deserialize;

use super::{Found, Wanted};
use crate::{
    api::logs::{
        input,
        merge::{Beyond, Direction, MergedEvent, Position},
        no_such_group, no_such_stream,
    },
    edge::{context::Api, error::ApiError, protocol::tree::Tree},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::logs) struct GetLogEventsInput {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<u64>,
    end_time: Option<u64>,
    next_token: Option<String>,
    limit: Option<u32>,
    start_from_head: Option<bool>,
    /// Nothing is ever masked here, so that both values are honoured.
    #[serde(rename = "unmask")]
    _unmask: Option<bool>,
}

pub(in crate::api::logs) async fn get(
    api: &Api,
    input: GetLogEventsInput,
) -> Result<Tree, ApiError> {
    let group =
        input::group(api, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    input::stream_name("logStreamName", &input.log_stream_name)?;
    let beyond = match input.next_token.as_deref() {
        None => None,
        Some(token) => Some(input::beyond(api, token)?),
    };
    let direction = match (beyond, input.start_from_head.unwrap_or(false)) {
        (Some(beyond), _) => beyond.direction,
        (None, true) => Direction::Forward,
        (None, false) => Direction::Backward,
    };
    let from = Timestamp(input.start_time.unwrap_or_default());
    let until = Timestamp(input.end_time.unwrap_or(u64::MAX));
    let wanted = Wanted {
        group,
        streams: StreamChoice::Named(vec![input.log_stream_name]),
        from,
        until,
        beyond,
        direction,
        limit: input::events_limit(input.limit)?,
        pattern: String::new(),
    };
    let Found { merged, group_known, stream_known, heard } = wanted.find(api).await?;
    if !group_known {
        return Err(heard.not_found(no_such_group()));
    }
    if !stream_known {
        return Err(heard.not_found(no_such_stream()));
    }
    let mut events = merged.events;
    if direction == Direction::Backward {
        events.reverse();
    }
    let (backward, forward) = tokens(&events, beyond, from);
    let views = events.iter().map(view).collect();
    Ok(Tree::object()
        .with("events", Tree::List(views))
        .with("nextForwardToken", api.page_scope.token(&forward.to_string()))
        .with("nextBackwardToken", api.page_scope.token(&backward.to_string())))
}

/// The tokens of a page. At the end of a stream a client gets the token that it gave.
fn tokens(events: &[MergedEvent], given: Option<Beyond>, from: Timestamp) -> (Beyond, Beyond) {
    let backward = |position| Beyond { direction: Direction::Backward, position };
    let forward = |position| Beyond { direction: Direction::Forward, position };
    if let (Some(first), Some(last)) = (events.first(), events.last()) {
        return (backward(first.position), forward(last.position));
    }
    match given {
        Some(given) => match given.direction {
            Direction::Forward => (given.back(), given),
            Direction::Backward => (given, given.back()),
        },
        None => {
            let beginning = Position { at: from, source: 0, seq: 0 };
            (backward(beginning), forward(beginning))
        }
    }
}

fn view(event: &MergedEvent) -> Tree {
    Tree::object()
        .with("timestamp", Tree::Whole(event.position.at.0))
        .with("message", &event.message)
        .with("ingestionTime", Tree::Whole(event.ingested_at.0))
}
