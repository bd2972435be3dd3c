//! Events: PutLogEvents, GetLogEvents, FilterLogEvents.

pub(super) mod put;
pub(super) mod get;
pub(super) mod filter;

use std::collections::BTreeSet;

use longshore_common::{
    clock::Timestamp,
    id::HostId,
    logs::query::{AskEvents, HeldEvents, LogAsk, LogReply, StreamChoice},
};
use longshore_core::model::log_group::LogGroupName;

use super::{
    fan_out, input,
    merge::{Beyond, Direction, Merged, merge},
};
use crate::{
    edge::{context::Api, error::ApiError},
    fleet::logs::Source,
};

/// Which events are wanted.
struct Wanted {
    group: LogGroupName,
    streams: StreamChoice,
    from: Timestamp,
    /// End of the time asked for, exclusive.
    until: Timestamp,
    beyond: Option<Beyond>,
    direction: Direction,
    limit: u32,
    pattern: String,
}

struct Found {
    merged: Merged,
    group_known: bool,
    stream_known: bool,
    heard: fan_out::Heard,
}

impl Wanted {
    async fn find(self, api: &Api) -> Result<Found, ApiError> {
        let only = match &self.streams {
            StreamChoice::Named(names) => fan_out::hosts_of(api, names).await?,
            StreamChoice::Prefixed(_) => None,
        };
        let made = api.read(|state| state.log_group(self.group.as_str()).cloned()).await?;
        let retention_days = made.as_ref().and_then(|group| group.retention_days);
        let from = self.from.max(input::retained_from(api, retention_days));
        let mut heard = self.ask(api, only, from, retention_days).await?;
        let mut held: Vec<(Source, HeldEvents)> = Vec::new();
        for (source, reply) in std::mem::take(&mut heard.replies) {
            if let LogReply::Events(events) = reply {
                held.push((source, events));
            }
        }
        let group_known = made.is_some() || held.iter().any(|(_, events)| events.group_known);
        let stream_known = held.iter().any(|(_, events)| events.stream_known);
        let merged = merge(held, self.direction, self.limit as usize);
        Ok(Found { merged, group_known, stream_known, heard })
    }

    async fn ask(
        &self,
        api: &Api,
        only: Option<BTreeSet<HostId>>,
        from: Timestamp,
        retention_days: Option<u32>,
    ) -> Result<fan_out::Heard, ApiError> {
        fan_out::ask(api, only, |source| {
            LogAsk::Events(AskEvents {
                group: self.group.as_str().to_owned(),
                retention_days,
                streams: self.streams.clone(),
                from,
                until: self.until,
                beyond: self.beyond.map(|beyond| beyond.at(source)),
                backward: self.direction == Direction::Backward,
                limit: self.limit,
                pattern: self.pattern.clone(),
            })
        })
        .await
    }
}
