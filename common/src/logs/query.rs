//! What a coordinator asks of logs that lie on a host, and what it is told.
//!
//! MessagePack with field names, on [`LOGS_PATH`] of the poll endpoint. Every answer is bounded in
//! count and in bytes, and says how far it reached, so that the next question goes on there.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::{FleetId, HostId},
};

/// Path of the agent's poll endpoint (mutual TLS, HTTP/2).
pub const LOGS_PATH: &str = "/v1/logs";
/// Maximum of bytes of a question: a hundred names of streams.
pub const LOG_REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Maximum of bytes of an answer.
pub const LOG_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum of events in one answer: CloudWatch Logs' largest page.
pub const LOG_EVENTS_MAX: u32 = 10_000;
/// Maximum of bytes of events in one answer, counted as CloudWatch Logs counts them: its largest
/// page.
pub const LOG_EVENTS_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that CloudWatch Logs counts for an event beside its message.
pub const LOG_EVENT_OVERHEAD_BYTES: usize = 26;
/// Maximum of bytes of a message: what Docker's driver cuts events to. A longer line becomes
/// several.
pub const LOG_MESSAGE_BYTES_MAX: usize = 262_144 - LOG_EVENT_OVERHEAD_BYTES;
/// Maximum of groups or streams in one answer.
pub const LOG_NAMES_MAX: u32 = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRequest {
    pub protocol: u32,
    pub fleet: FleetId,
    pub host: HostId,
    pub ask: LogAsk,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogAsk {
    Groups {
        prefix: String,
        /// Somewhere in the name.
        part: String,
        /// The last name that is known already.
        after: Option<String>,
        limit: u32,
    },
    Streams(AskStreams),
    Events(AskEvents),
    /// Done at once, and for all that was written until then.
    DeleteGroup {
        group: String,
    },
    /// How long events of a group are kept at most; absent: as long as the host keeps any.
    SetRetention {
        group: String,
        days: Option<u32>,
    },
}

impl LogAsk {
    /// What somebody says who holds no logs at all.
    pub fn nothing(&self) -> LogReply {
        match self {
            LogAsk::Groups { .. } => LogReply::Groups(Vec::new()),
            LogAsk::Streams(_) => LogReply::Streams(None),
            LogAsk::Events(_) => LogReply::Events(HeldEvents::default()),
            LogAsk::DeleteGroup { .. } | LogAsk::SetRetention { .. } => LogReply::Done,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskStreams {
    pub group: String,
    pub prefix: String,
    pub order: StreamOrder,
    pub descending: bool,
    /// The last stream that is known already.
    pub after: Option<StreamPlace>,
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamOrder {
    Name,
    /// Then by name. A stream without events comes before all others.
    LastEvent,
}

/// Where a stream stands among others, in either order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamPlace {
    /// Zero when the order is by name, or without events.
    pub last_event: Timestamp,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskEvents {
    pub group: String,
    /// What the coordinator holds of [`LogAsk::SetRetention`], for a host that did not hear it.
    pub retention_days: Option<u32>,
    pub streams: StreamChoice,
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub until: Timestamp,
    /// Beyond this place only: later ones, or earlier ones when backward.
    pub beyond: Option<EventPlace>,
    /// The latest events first.
    pub backward: bool,
    pub limit: u32,
    /// CloudWatch Logs' filter pattern; empty: everything.
    pub pattern: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StreamChoice {
    Named(Vec<String>),
    /// Empty: all.
    Prefixed(String),
}

/// Where an event stands among all of its host: no two have the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventPlace {
    pub at: Timestamp,
    /// Counts up by one with each event that is stored.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogReply {
    Groups(Vec<HeldGroup>),
    /// Absent: there is no such group here.
    Streams(Option<Vec<HeldStream>>),
    Events(HeldEvents),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldGroup {
    pub name: String,
    pub created_at: Timestamp,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStream {
    pub name: String,
    pub created_at: Timestamp,
    pub first_event: Option<Timestamp>,
    pub last_event: Option<Timestamp>,
    pub last_ingestion: Option<Timestamp>,
}

impl HeldStream {
    pub fn place(&self, order: StreamOrder) -> StreamPlace {
        let last_event = match order {
            StreamOrder::Name => Timestamp::default(),
            StreamOrder::LastEvent => self.last_event.unwrap_or_default(),
        };
        StreamPlace { last_event, name: self.name.clone() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldEvents {
    pub group_known: bool,
    /// Some stream that was asked for is here, with events or without.
    pub stream_known: bool,
    /// What [`HeldEvent::stream`] counts into.
    pub streams: Vec<String>,
    /// In the order that was asked for.
    pub events: Vec<HeldEvent>,
    /// The last place that was looked at, when there may be more beyond it.
    pub reached: Option<EventPlace>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldEvent {
    pub stream: u32,
    pub place: EventPlace,
    pub ingested_at: Timestamp,
    pub message: String,
}
