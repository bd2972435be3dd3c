//! CreateLogStream and DescribeLogStreams.

use std::{cmp::Reverse, collections::BTreeMap};

use longshore_common::{
    clock::Timestamp,
    logs::query::{AskStreams, HeldStream, LogAsk, LogReply, StreamOrder, StreamPlace},
};
use serde::Deserialize;

use super::{fan_out, input, invalid, no_such_group};
use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    protocol::tree::Tree,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateLogStreamInput {
    log_group_name: String,
    log_stream_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogStreamsInput {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<OrderBy>,
    descending: Option<bool>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum OrderBy {
    LogStreamName,
    LastEventTime,
}

/// Makes a stream for PutLogEvents; the streams of tasks are there when something is written.
pub(super) async fn create(api: &Api, input: CreateLogStreamInput) -> Result<Tree, ApiError> {
    let group = input::group_name("logGroupName", &input.log_group_name)?;
    input::stream_name("logStreamName", &input.log_stream_name)?;
    if api.read(|state| state.log_group(group.as_str()).is_none()).await? {
        return Err(no_such_group());
    }
    let made = api
        .logs
        .create_stream(group.into(), input.log_stream_name, api.clock.wall())
        .await
        .map_err(ApiError::server)?;
    match made {
        true => Ok(Tree::object()),
        false => Err(ApiError::new(
            ErrorCode::ResourceAlreadyExists,
            "The specified log stream already exists",
        )),
    }
}

pub(super) async fn describe(api: &Api, input: DescribeLogStreamsInput) -> Result<Tree, ApiError> {
    let group =
        input::group(api, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let order = match input.order_by {
        None | Some(OrderBy::LogStreamName) => StreamOrder::Name,
        Some(OrderBy::LastEventTime) => StreamOrder::LastEvent,
    };
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    if order == StreamOrder::LastEvent && !prefix.is_empty() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let descending = input.descending.unwrap_or(false);
    let page = input::page(api, input.limit, input.next_token.as_deref())?;
    let after = match &page.after {
        None => None,
        Some(after) => Some(
            after
                .split_once(' ')
                .and_then(|(at, name)| {
                    let last_event = Timestamp(at.parse().ok()?);
                    Some(StreamPlace { last_event, name: name.to_owned() })
                })
                .ok_or_else(|| invalid("The specified nextToken is invalid."))?,
        ),
    };
    let made = api.read(|state| state.log_group(group.as_str()).is_some()).await?;
    let ask = AskStreams {
        group: group.as_str().to_owned(),
        prefix,
        order,
        descending,
        after,
        limit: page.size as u32 + 1,
    };
    let heard = fan_out::ask(api, None, |_| LogAsk::Streams(ask.clone())).await?;
    let mut known = made;
    let mut streams: BTreeMap<String, HeldStream> = BTreeMap::new();
    for (_, reply) in &heard.replies {
        let LogReply::Streams(Some(held)) = reply else { continue };
        known = true;
        for stream in held {
            // A task's stream is on one host; the same name twice was put by a client as well.
            let entry = streams.entry(stream.name.clone()).or_insert_with(|| stream.clone());
            entry.created_at = entry.created_at.min(stream.created_at);
            entry.first_event = match (entry.first_event, stream.first_event) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            entry.last_event = entry.last_event.max(stream.last_event);
            entry.last_ingestion = entry.last_ingestion.max(stream.last_ingestion);
        }
    }
    if !known {
        return Err(heard.not_found(no_such_group()));
    }
    let mut streams: Vec<HeldStream> = streams.into_values().collect();
    match descending {
        false => streams.sort_by_cached_key(|stream| stream.place(order)),
        true => streams.sort_by_cached_key(|stream| Reverse(stream.place(order))),
    }
    let (shown, next_token) = page.take(streams.into_iter(), |stream| {
        let StreamPlace { last_event, name } = stream.place(order);
        format!("{} {name}", last_event.0)
    });
    let arn = api.identity.log_group(group.as_str());
    let views = shown.iter().map(|stream| view(&arn, stream)).collect();
    Ok(Tree::object().with("logStreams", Tree::List(views)).with_some("nextToken", next_token))
}

fn view(group: &str, stream: &HeldStream) -> Tree {
    let moment = |at: Option<Timestamp>| at.map(|at| Tree::Whole(at.0));
    Tree::object()
        .with("logStreamName", &stream.name)
        .with("creationTime", Tree::Whole(stream.created_at.0))
        .with_some("firstEventTimestamp", moment(stream.first_event))
        .with_some("lastEventTimestamp", moment(stream.last_event))
        .with_some("lastIngestionTime", moment(stream.last_ingestion))
        .with("arn", format!("{group}:log-stream:{}", stream.name))
        // As CloudWatch Logs since 2019.
        .with("storedBytes", 0)
}
