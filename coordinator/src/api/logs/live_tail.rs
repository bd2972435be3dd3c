//! StartLiveTail: what groups are told of, each second, for as long as the client listens.
//!
//! A session continues at each host after the last event of that host that it told, so that a host
//! that does not answer for a while is late and nothing is left out. Never: a session that outlives
//! its client by more than a minute.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use longshore_common::{
    clock::Timestamp,
    logs::{
        pattern::Pattern,
        query::{AskEvents, EventPlace, HeldEvents, LogAsk, LogReply, StreamChoice},
    },
};
use longshore_core::model::log_group::LogGroupName;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{fan_out, input, invalid, no_such_group, no_such_stream};
use crate::{
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
        event_stream::{self, EventStream},
        protocol::tree::Tree,
    },
    fleet::logs::Source,
};

/// Maximum number of groups of one session (CloudWatch Logs' model:
/// StartLiveTailLogGroupIdentifiers).
const GROUPS_MAX: usize = 10;
/// Maximum number of streams of one session (CloudWatch Logs' model: InputLogStreamNames).
const STREAMS_MAX: usize = 100;
/// Interval of updates (CloudWatch Logs' documentation of StartLiveTail).
const UPDATE_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of events in one update (CloudWatch Logs' documentation of StartLiveTail).
const UPDATE_EVENTS_MAX: usize = 500;
/// Maximum time of one session (CloudWatch Logs' documentation of StartLiveTail).
const SESSION_MAX: Duration = Duration::from_secs(3 * 60 * 60);
/// Maximum number of updates that wait for a slow client (ours). Events wait at their hosts from
/// then on.
const UPDATES_WAITING_MAX: usize = 10;
/// Timeout of a client that takes nothing (ours), which has gone then.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Minimum age of an event that is told (ours). A container's line may be stored after a later one
/// of another container, and would be passed over.
const HELD_BACK: Duration = Duration::from_millis(500);
/// Maximum number of updates in a row in which a host or the coordinator did not answer, until the
/// session ends (ours).
const FAILURES_MAX: u32 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartLiveTailInput {
    log_group_identifiers: Vec<String>,
    #[serde(default)]
    log_stream_names: Vec<String>,
    #[serde(default)]
    log_stream_name_prefixes: Vec<String>,
    log_event_filter_pattern: Option<String>,
}

pub(super) async fn start(api: &Api, input: StartLiveTailInput) -> Result<EventStream, ApiError> {
    let groups = groups(api, &input.log_group_identifiers)?;
    let choices = choices(&input, groups.len())?;
    let pattern = input.log_event_filter_pattern.clone().unwrap_or_default();
    Pattern::parse(&pattern).map_err(|error| invalid(error.to_string()))?;
    let began = api.clock.wall();
    let mut parts = Vec::new();
    for group in &groups {
        for streams in &choices {
            let part = Part {
                group: group.clone(),
                streams: streams.clone(),
                pattern: pattern.clone(),
                began,
                told: BTreeMap::new(),
            };
            part.check_known(api).await?;
            parts.push(part);
        }
    }
    let permit = api.logs.begin_live_tail().ok_or_else(|| {
        ApiError::new(
            ErrorCode::LimitExceeded,
            "There are as many Live Tail sessions as there may be. End one, or use FilterLogEvents.",
        )
    })?;
    // Without entropy ids repeat, which hurts only who compares sessions by them.
    let bits = || api.random.number().unwrap_or_default();
    let id = format!("{:016x}{:016x}", bits(), bits());
    let names = |names: &[String]| Tree::List(names.iter().map(Tree::from).collect());
    let start = Tree::object()
        .with("requestId", &id)
        .with("sessionId", &id)
        .with("logGroupIdentifiers", names(&input.log_group_identifiers))
        .with("logStreamNames", names(&input.log_stream_names))
        .with("logStreamNamePrefixes", names(&input.log_stream_name_prefixes))
        .with("logEventFilterPattern", &pattern);
    let (told, stream) = EventStream::new(UPDATES_WAITING_MAX);
    let session = Session { api: api.clone(), parts, told, _permit: permit };
    tokio::spawn(session.run(start));
    Ok(stream)
}

fn groups(api: &Api, identifiers: &[String]) -> Result<Vec<LogGroupName>, ApiError> {
    let count = identifiers.len();
    if !(1..=GROUPS_MAX).contains(&count) {
        return Err(invalid(format!(
            "logGroupIdentifiers has {count} entries; give 1 to {GROUPS_MAX}."
        )));
    }
    let mut groups = Vec::new();
    for identifier in identifiers {
        if identifier.ends_with('*') {
            return Err(invalid(format!(
                "logGroupIdentifiers: `{identifier}` ends with an asterisk; leave `:*` out."
            )));
        }
        let group = input::group(api, None, Some(identifier))?;
        if groups.contains(&group) {
            return Err(invalid(format!("logGroupIdentifiers names {identifier} twice.")));
        }
        groups.push(group);
    }
    Ok(groups)
}

fn choices(input: &StartLiveTailInput, groups: usize) -> Result<Vec<StreamChoice>, ApiError> {
    let (names, prefixes) = (&input.log_stream_names, &input.log_stream_name_prefixes);
    if !names.is_empty() && !prefixes.is_empty() {
        return Err(invalid("logStreamNames and logStreamNamePrefixes cannot both be given."));
    }
    for (member, given) in [("logStreamNames", names), ("logStreamNamePrefixes", prefixes)] {
        if given.len() > STREAMS_MAX {
            return Err(invalid(format!(
                "{member} has {} entries; it may have {STREAMS_MAX}.",
                given.len()
            )));
        }
        if !given.is_empty() && groups > 1 {
            return Err(invalid(format!("{member} can be given for a single log group only.")));
        }
        for name in given {
            input::stream_name(member, name)?;
        }
    }
    if !names.is_empty() {
        return Ok(vec![StreamChoice::Named(names.clone())]);
    }
    // One that another one begins would have its streams told of twice.
    let mut fewest: Vec<&String> = Vec::new();
    let mut sorted: Vec<&String> = prefixes.iter().collect();
    sorted.sort_unstable();
    for prefix in sorted {
        if fewest.last().is_none_or(|last| !prefix.starts_with(last.as_str())) {
            fewest.push(prefix);
        }
    }
    if fewest.is_empty() {
        return Ok(vec![StreamChoice::Prefixed(String::new())]);
    }
    Ok(fewest.into_iter().map(|prefix| StreamChoice::Prefixed(prefix.clone())).collect())
}

/// Some streams of one group.
struct Part {
    group: LogGroupName,
    streams: StreamChoice,
    pattern: String,
    began: Timestamp,
    /// The last event of each source that was told.
    told: BTreeMap<Source, EventPlace>,
}

/// What is new of a part.
struct News {
    events: Vec<LiveEvent>,
    /// True when there was more than an update may have.
    passed_over: bool,
    /// [`Part::told`] once this was told.
    told: BTreeMap<Source, EventPlace>,
}

struct LiveEvent {
    at: Timestamp,
    told: Tree,
}

impl Part {
    async fn check_known(&self, api: &Api) -> Result<(), ApiError> {
        let heard = self.ask(api, self.began, 1).await?;
        let events = || {
            heard.replies.iter().filter_map(|(_, reply)| match reply {
                LogReply::Events(events) => Some(events),
                _ => None,
            })
        };
        let made = api.read(|state| state.log_group(self.group.as_str()).is_some()).await?;
        if !made && !events().any(|events| events.group_known) {
            return Err(heard.not_found(no_such_group()));
        }
        let named = matches!(self.streams, StreamChoice::Named(_));
        if named && !events().any(|events| events.stream_known) {
            return Err(heard.not_found(no_such_stream()));
        }
        Ok(())
    }

    async fn ask(
        &self,
        api: &Api,
        until: Timestamp,
        limit: usize,
    ) -> Result<fan_out::Heard, ApiError> {
        let only = match &self.streams {
            StreamChoice::Named(names) => fan_out::hosts_of(api, names).await?,
            StreamChoice::Prefixed(_) => None,
        };
        fan_out::ask(api, only, |source| {
            LogAsk::Events(AskEvents {
                group: self.group.as_str().to_owned(),
                // What was written since the session began is kept for longer than a session lasts.
                retention_days: None,
                streams: self.streams.clone(),
                from: self.began,
                until,
                beyond: self.told.get(&source).copied(),
                backward: false,
                limit: limit as u32,
                pattern: self.pattern.clone(),
            })
        })
        .await
    }

    async fn news(&self, api: &Api, until: Timestamp) -> Result<News, ApiError> {
        let heard = self.ask(api, until, UPDATE_EVENTS_MAX).await?;
        let mut news = News { events: Vec::new(), passed_over: false, told: self.told.clone() };
        for (source, reply) in heard.replies {
            let LogReply::Events(HeldEvents { streams, events, reached, .. }) = reply else {
                continue;
            };
            let last = match reached {
                // What does not fit is passed over, as CloudWatch Logs does.
                Some(_) => Some(EventPlace { at: until, seq: 0 }),
                None => events.last().map(|event| event.place),
            };
            news.passed_over |= reached.is_some();
            news.told.extend(last.map(|last| (source, last)));
            news.events.extend(events.into_iter().map(|event| {
                LiveEvent {
                    at: event.place.at,
                    told: Tree::object()
                        .with_some("logStreamName", streams.get(event.stream as usize))
                        .with("logGroupIdentifier", self.group.as_str())
                        .with("message", event.message)
                        .with("timestamp", Tree::Whole(event.place.at.0))
                        .with("ingestionTime", Tree::Whole(event.ingested_at.0)),
                }
            }));
        }
        Ok(news)
    }
}

struct Session {
    api: Api,
    parts: Vec<Part>,
    told: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    async fn run(mut self, start: Tree) {
        let began = Instant::now();
        let mut updates = interval(UPDATE_EVERY);
        updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0;
        let first = [event_stream::initial_response(), event_stream::event("sessionStart", &start)];
        for message in first {
            if !self.tell(message).await {
                return;
            }
        }
        loop {
            // Whoever has gone costs no update.
            tokio::select! { biased;
                () = self.told.closed() => return,
                _ = updates.tick() => {}
            }
            if began.elapsed() >= SESSION_MAX {
                let why = "The session was open for three hours. Start another one.";
                self.tell(event_stream::exception("SessionTimeoutException", why)).await;
                return;
            }
            let update = match self.update().await {
                Ok(update) => {
                    failures = 0;
                    update
                }
                // Nothing is lost by the failure: the next update continues where the last one was.
                Err(refusal) if failures < FAILURES_MAX => {
                    tracing::debug!(%refusal, failures, "a live tail's update is late");
                    failures += 1;
                    continue;
                }
                Err(refusal) => {
                    let why = refusal.message;
                    self.tell(event_stream::exception("SessionStreamingException", &why)).await;
                    return;
                }
            };
            if !self.tell(update).await {
                return;
            }
        }
    }

    async fn update(&mut self) -> Result<Bytes, ApiError> {
        let held_back = HELD_BACK.as_millis() as u64;
        let until = Timestamp(self.api.clock.wall().0.saturating_sub(held_back));
        let mut found = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            found.push(part.news(&self.api, until).await?);
        }
        // Every part answered: only now is anything told.
        let (mut events, mut sampled) = (Vec::new(), false);
        for (part, news) in self.parts.iter_mut().zip(found) {
            part.told = news.told;
            events.extend(news.events);
            sampled |= news.passed_over;
        }
        sampled |= events.len() > UPDATE_EVENTS_MAX;
        events.sort_by_key(|event| event.at);
        let results = sample(events, UPDATE_EVENTS_MAX).into_iter().map(|event| event.told);
        let update = Tree::object()
            .with("sessionMetadata", Tree::object().with("sampled", sampled))
            .with("sessionResults", Tree::List(results.collect()));
        Ok(event_stream::event("sessionUpdate", &update))
    }

    /// Whether the client is still there.
    async fn tell(&self, message: Bytes) -> bool {
        self.told.send_timeout(message, TAKEN_WITHIN).await.is_ok()
    }
}

/// At most `most` of these, evenly.
fn sample<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    if count <= most {
        return all;
    }
    let chosen = all.into_iter().enumerate();
    // The n-th is taken when it completes another whole share.
    chosen.filter(|(n, _)| (n + 1) * most / count > n * most / count).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_even_and_as_large_as_it_may_be() {
        assert_eq!(sample(vec![1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(sample((1..=10).collect(), 5), [2, 4, 6, 8, 10]);
        assert_eq!(sample((0..1234).collect::<Vec<_>>(), 500).len(), 500);
    }
}
