//! How the coordinator speaks to an agent: one poll, answered or failed for a reason.
//!
//! Never: a second attempt at a poll that the agent may have seen, or a judgement of what a failure
//! means for the host. Both are the poller's.

mod connect;
mod http;

use std::{future::Future, io, time::Duration};

use longshore_common::{
    id::{FleetId, HostId},
    logs::query::{LogReply, LogRequest},
    protocol::{PollAnswer, PollRequest},
};

pub use self::{
    connect::{CONNECT_TIMEOUT, Connect, Opened, TlsConnect},
    http::HttpClient,
};

/// Whom to poll. The certificate must name `host` and `fleet`, wherever `address` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub host: HostId,
    pub fleet: FleetId,
    /// Host and port of the poll endpoint, as the host registered it.
    pub address: String,
}

/// Polls agents. Two polls of one host may be in flight at once, the parked one and the newer one
/// that releases it, and neither waits for the other.
pub trait AgentClient: Send + Sync + 'static {
    /// One poll. Waits for its answer `hold_ms` of the request and [`ANSWER_GRACE`] at the most.
    /// A future that is dropped gives its poll up, and with it the connection that stood before
    /// it; one that is being made for it, or just was, is for the next poll.
    fn poll(
        &self,
        peer: &Peer,
        request: PollRequest,
    ) -> impl Future<Output = Result<PollAnswer, PollError>> + Send;

    /// Closes what is kept open to a host that will not be polled again.
    fn forget(&self, host: HostId);
}

/// Asks agents for the logs that lie on their hosts.
pub trait LogClient: Send + Sync + 'static {
    /// One question; no second attempt at one that the agent may have seen.
    fn logs(
        &self,
        peer: &Peer,
        request: LogRequest,
    ) -> impl Future<Output = Result<LogReply, PollError>> + Send;
}

/// Time that an answer may take beyond the time that its request asked the agent to hold it (ours).
pub const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Why a poll has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The address answered that nobody listens there.
    #[error("the connection to the agent was refused")]
    Refused(#[source] io::Error),
    /// A connection that stood was ended by the other side or by its silence.
    #[error("the connection to the agent was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The name does not resolve, or no route leads to the address.
    #[error("the agent's address cannot be reached")]
    Unreachable(#[source] io::Error),
    /// Nothing came back in time: no connection, or no answer.
    #[error("the agent did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Whoever answered is not this host of this fleet, or does not take us for its coordinator.
    #[error("the peer did not prove to be this host's agent")]
    Identity(#[source] io::Error),
    #[error("the agent answered with HTTP status {0}")]
    Status(::http::StatusCode),
    #[error("the agent's answer cannot be read")]
    Undecodable(#[source] rmp_serde::decode::Error),
    #[error("the agent's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The orders of one poll exceed the limit: a fault of this coordinator.
    #[error("the poll to send is {0} bytes, more than an agent takes")]
    RequestTooLarge(usize),
}

impl PollError {
    /// The host disconnected for certain: no need to wait for a second missed beat
    /// (design.md rule 5).
    pub fn is_disconnection(&self) -> bool {
        match self {
            PollError::Refused(_) | PollError::Lost(_) => true,
            PollError::Unreachable(_)
            | PollError::Timeout(_)
            | PollError::Identity(_)
            | PollError::Status(_)
            | PollError::Undecodable(_)
            | PollError::TooLarge(_)
            | PollError::RequestTooLarge(_) => false,
        }
    }
}
