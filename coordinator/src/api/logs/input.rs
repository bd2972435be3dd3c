//! What several operations of CloudWatch Logs have in their inputs.

use std::time::Duration;

use longshore_common::{clock::Timestamp, logs::options::check_stream_name};
use longshore_core::model::log_group::LogGroupName;

use super::{invalid, merge::Beyond};
use crate::edge::{context::Api, error::ApiError, page::Page};

/// Maximum size of a page of groups or streams, and its default (CloudWatch Logs').
const DESCRIBED_MAX: usize = 50;
/// Maximum size of a page of events, and its default (CloudWatch Logs').
const EVENTS_MAX: u32 = 10_000;
/// Time of one day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn group_name(member: &str, given: &str) -> Result<LogGroupName, ApiError> {
    given.parse().map_err(|error| invalid(format!("{member}: {error}.")))
}

/// The group that `logGroupName` names, or `logGroupIdentifier`, which is a name or an ARN.
pub(super) fn group(
    api: &Api,
    name: Option<&str>,
    identifier: Option<&str>,
) -> Result<LogGroupName, ApiError> {
    match (name, identifier) {
        (Some(name), None) => group_name("logGroupName", name),
        (None, Some(identifier)) => {
            let prefix = api.identity.log_group("");
            let name = identifier.strip_prefix(prefix.as_str()).unwrap_or(identifier);
            group_name("logGroupIdentifier", name.strip_suffix(":*").unwrap_or(name))
        }
        _ => Err(invalid("Give either logGroupName or logGroupIdentifier.")),
    }
}

pub(super) fn stream_name(member: &str, given: &str) -> Result<(), ApiError> {
    check_stream_name(given).map_err(|error| invalid(format!("{member}: {error}.")))
}

pub(super) fn page(api: &Api, limit: Option<i64>, token: Option<&str>) -> Result<Page, ApiError> {
    if let Some(limit) = limit
        && !(1..=DESCRIBED_MAX as i64).contains(&limit)
    {
        return Err(invalid(format!(
            "limit is {limit}; it must be between 1 and {DESCRIBED_MAX}."
        )));
    }
    let page = Page::parse_with(&api.page_scope, limit, token, DESCRIBED_MAX, DESCRIBED_MAX);
    page.map_err(|_| invalid("The specified nextToken is invalid."))
}

/// Where a page of events continues.
pub(super) fn beyond(api: &Api, token: &str) -> Result<Beyond, ApiError> {
    let after = api.page_scope.after(token).and_then(|after| Beyond::parse(&after));
    after.ok_or_else(|| invalid("The specified nextToken is invalid."))
}

pub(super) fn events_limit(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(EVENTS_MAX) {
        limit @ 1..=EVENTS_MAX => Ok(limit),
        limit => Err(invalid(format!("limit is {limit}; it must be between 1 and {EVENTS_MAX}."))),
    }
}

/// What is older is not shown, whether or not its host has removed it yet.
pub(super) fn retained_from(api: &Api, days: Option<u32>) -> Timestamp {
    let Some(days) = days else { return Timestamp::default() };
    let kept = (DAY * days).as_millis() as u64;
    Timestamp(api.clock.wall().0.saturating_sub(kept))
}
