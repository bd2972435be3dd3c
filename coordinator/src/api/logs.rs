//! CloudWatch Logs, as far as container logs need it: groups, streams and events, read from the hosts
//! that hold them (ecs-behaviour 1.22).
//!
//! A group made by CreateLogGroup and its retention are state; everything else is asked of the hosts
//! and of the coordinator's own store, where PutLogEvents writes. Never: an answer that leaves out a
//! host that should have answered and does not say so (see [`fan_out`]).

mod input;
mod fan_out;
mod merge;
mod groups;
mod tags;
mod streams;
mod events;
mod live_tail;
#[cfg(test)]
mod tests;

use crate::edge::{
    error::{ApiError, ErrorCode},
    service::{Service, ServiceOperation},
};

/// Before the names of CloudWatch Logs' operations.
pub(crate) const TARGET: &str = "Logs_20140328";
pub(crate) const SIGNING_NAME: &str = "logs";

pub(crate) fn service() -> Service {
    let invalid = ErrorCode::InvalidParameter;
    Service {
        name: SIGNING_NAME,
        target: Some(TARGET),
        version: "2014-03-28",
        namespace: "http://logs.amazonaws.com/doc/2014-03-28/",
        operations: vec![
            ServiceOperation::new("CreateLogGroup", invalid, groups::create),
            ServiceOperation::new("DeleteLogGroup", invalid, groups::delete),
            ServiceOperation::new("DescribeLogGroups", invalid, groups::describe),
            ServiceOperation::new("PutRetentionPolicy", invalid, groups::put_retention),
            ServiceOperation::new("DeleteRetentionPolicy", invalid, groups::delete_retention),
            ServiceOperation::new("TagLogGroup", invalid, tags::tag_group),
            ServiceOperation::new("UntagLogGroup", invalid, tags::untag_group),
            ServiceOperation::new("ListTagsLogGroup", invalid, tags::list_of_group),
            ServiceOperation::new("TagResource", invalid, tags::tag_resource),
            ServiceOperation::new("UntagResource", invalid, tags::untag_resource),
            ServiceOperation::new("ListTagsForResource", invalid, tags::list_of_resource),
            ServiceOperation::new("CreateLogStream", invalid, streams::create),
            ServiceOperation::new("DescribeLogStreams", invalid, streams::describe),
            ServiceOperation::new("PutLogEvents", invalid, events::put::put),
            ServiceOperation::new("GetLogEvents", invalid, events::get::get)
                // A token says the direction itself, and is of one stream.
                .with_pages_for_any(&["startTime", "endTime", "startFromHead", "unmask"]),
            ServiceOperation::new("FilterLogEvents", invalid, events::filter::filter)
                .with_pages_for_any(&["startFromHead", "interleaved", "unmask"]),
            ServiceOperation::streaming("StartLiveTail", invalid, live_tail::start),
        ],
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid_parameter(message)
}

fn no_such_group() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, "The specified log group does not exist.")
}

fn no_such_stream() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, "The specified log stream does not exist.")
}

fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::ServiceUnavailable, message)
}
