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
    operation::{Operation, stream, tree},
    service::{QueryModel, Service, ServiceModel},
};

/// What stands before the names of CloudWatch Logs' operations.
pub(crate) const TARGET: &str = "Logs_20140328";
pub(crate) const SIGNING_NAME: &str = "logs";

pub(crate) fn service() -> Service {
    let query = QueryModel {
        version: "2014-03-28",
        namespace: "http://logs.amazonaws.com/doc/2014-03-28/",
    };
    let model = ServiceModel {
        name: SIGNING_NAME,
        target: Some(TARGET),
        query: Some(query),
        invalid: ErrorCode::InvalidParameter,
        known: None,
    };
    Service::new(model, operations())
}

fn operations() -> Vec<Operation> {
    vec![
        Operation::write("CreateLogGroup", tree(groups::create)),
        Operation::write("DeleteLogGroup", tree(groups::delete)),
        Operation::read("DescribeLogGroups", tree(groups::describe)),
        Operation::write("PutRetentionPolicy", tree(groups::put_retention)),
        Operation::write("DeleteRetentionPolicy", tree(groups::delete_retention)),
        Operation::write("TagLogGroup", tree(tags::tag_group)),
        Operation::write("UntagLogGroup", tree(tags::untag_group)),
        Operation::read("ListTagsLogGroup", tree(tags::list_of_group)),
        Operation::write("TagResource", tree(tags::tag_resource)),
        Operation::write("UntagResource", tree(tags::untag_resource)),
        Operation::read("ListTagsForResource", tree(tags::list_of_resource)),
        Operation::write("CreateLogStream", tree(streams::create)),
        Operation::read("DescribeLogStreams", tree(streams::describe)),
        Operation::write("PutLogEvents", tree(events::put::put)),
        Operation::read("GetLogEvents", tree(events::get::get))
            // A token says the direction itself, and is of one stream.
            .with_pages_for_any(&["startTime", "endTime", "startFromHead", "unmask"]),
        Operation::read("FilterLogEvents", tree(events::filter::filter)).with_pages_for_any(&[
            "startFromHead",
            "interleaved",
            "unmask",
        ]),
        Operation::read("StartLiveTail", stream(live_tail::start)),
    ]
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
