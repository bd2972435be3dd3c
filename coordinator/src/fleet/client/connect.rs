//! How a connection to an agent is opened: TCP and mutual TLS, or whatever a test puts here.

use std::{future::Future, io, sync::Arc, time::Duration};

use longshore_common::{
    clock::Clock,
    mutual_tls::{self, ALPN_HTTP2, Presented, TlsSetUpError, Trust},
    node::Node,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Peer, PollError};

/// Timeout of opening a connection, TLS included (ours).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens connections to agents, and answers for who is at the other end.
pub trait Connect: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn connect(
        &self,
        peer: &Peer,
    ) -> impl Future<Output = Result<Opened<Self::Stream>, PollError>> + Send;
}

pub struct Opened<S> {
    pub stream: S,
    /// Time after which the connection is replaced: it must not outlive the certificates that
    /// opened it.
    pub usable_for: Duration,
}

/// TCP and mutual TLS.
pub struct TlsConnect {
    connector: TlsConnector,
    clock: Arc<dyn Clock>,
}

impl TlsConnect {
    pub fn new(
        clock: Arc<dyn Clock>,
        presented: &Presented,
        trust: &Trust,
    ) -> Result<Self, TlsSetUpError> {
        let config = mutual_tls::client_config(clock.clone(), presented, trust, ALPN_HTTP2)?;
        Ok(TlsConnect { connector: Arc::new(config).into(), clock })
    }

    async fn open(&self, peer: &Peer) -> Result<TlsStream<TcpStream>, PollError> {
        let tcp = TcpStream::connect(&peer.address).await.map_err(unreached)?;
        tcp.set_nodelay(true).map_err(unreached)?;
        let name = mutual_tls::server_name(Node::agent(peer.fleet, peer.host));
        self.connector.connect(name, tcp).await.map_err(unproven)
    }
}

impl Connect for TlsConnect {
    type Stream = TlsStream<TcpStream>;

    async fn connect(&self, peer: &Peer) -> Result<Opened<Self::Stream>, PollError> {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.open(peer)).await;
        let stream = opened.map_err(|_| PollError::Timeout(CONNECT_TIMEOUT))??;
        let now = self.clock.wall();
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let theirs = shown.map_or(Duration::ZERO, |shown| mutual_tls::usable_for(shown, now));
        Ok(Opened { stream, usable_for: theirs })
    }
}

fn unreached(error: io::Error) -> PollError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            PollError::Refused(error)
        }
        io::ErrorKind::TimedOut => PollError::Timeout(CONNECT_TIMEOUT),
        _ => PollError::Unreachable(error),
    }
}

/// The error of a failed handshake: the other side is not what it should be, or it is gone.
fn unproven(error: io::Error) -> PollError {
    if speaks_of_tls(&error) { PollError::Identity(error) } else { PollError::Lost(error.into()) }
}

/// Whether a refusal of TLS is in the error's chain, ours of the peer or the peer's of us.
pub(super) fn speaks_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let io = error.downcast_ref::<io::Error>();
        // An I/O error shows its inner error's source, not the inner error itself.
        let inner = io.and_then(io::Error::get_ref);
        error.is::<rustls::Error>() || inner.is_some_and(|inner| speaks_of_tls(inner))
    })
}
