//! The one listener that takes orders: HTTP/2 over mutual TLS, for this fleet's coordinator.
//!
//! The certificate is checked in the handshake, so nothing that a stranger says is read, let alone
//! decoded. Until then a connection holds a permit of strangers, which the coordinator always gets;
//! tasks of this host have permits of their own. Never: an order looked at. Fencing, the ledger
//! and parking are the engine's.

mod locals;

use std::{convert::Infallible, future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use longshore_common::{
    clock::Clock,
    limits::POLL_BODY_BYTES_MAX,
    logs::query::{LOG_REQUEST_BYTES_MAX, LOGS_PATH, LogReply, LogRequest},
    mutual_tls::{self, ALPN_HTTP2, Admits, Presented, TlsSetUpError, Trust},
    protocol::{POLL_PATH, PollAnswer, PollRequest, Refused},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use self::locals::Locals;
use crate::{
    connection_permits::{ConnectionLimits, ConnectionPermit, ConnectionPermits},
    engine::supervisor::{self, EngineStopped},
    logs::Unanswered,
};

/// Maximum of connections that have not proved yet to be the coordinator's, from other machines. When
/// there are more, the oldest of the address with most gives way.
const STRANGERS_MAX: usize = 64;
/// Maximum of connections without a certificate from this host and its tasks, which take no permit of
/// strangers.
const LOCALS_MAX: usize = 32;
/// Maximum of connections of the coordinator. It needs one, and two while it replaces that one; those
/// of a coordinator that vanished stay for a while, and the oldest gives way to a newer one.
const COORDINATORS_MAX: usize = 8;
/// Timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout from a request's headers to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum of requests at once on one connection: the parked poll, the one that releases it,
/// questions about logs, and a few more.
const STREAMS_MAX: u32 = 8;
const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Interval of pings: they notice a coordinator that is gone without a word. The coordinator pings
/// too, and more often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum time, and maximum of bytes, for which a connection is read and thrown away after a
/// refused handshake, so that the peer gets the alert instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept (no descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who answers polls: the engine, or a test.
pub trait AnswersPolls: Clone + Send + Sync + 'static {
    /// May be dropped unanswered, when the coordinator gave the poll up.
    fn poll(
        &self,
        request: PollRequest,
    ) -> impl Future<Output = Result<PollAnswer, EngineStopped>> + Send;

    /// What the coordinator asks of the logs on this host.
    fn logs(
        &self,
        _request: LogRequest,
    ) -> impl Future<Output = Result<LogReply, Unanswered>> + Send {
        std::future::ready(Err(Unanswered::NotServed))
    }
}

impl AnswersPolls for supervisor::EngineHandle {
    async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        supervisor::EngineHandle::poll(self, request).await
    }
}

/// Everything a connection needs.
struct PollEndpoint<P> {
    acceptor: TlsAcceptor,
    clock: Arc<dyn Clock>,
    polls: P,
    strangers: Arc<ConnectionPermits>,
    from_here: Arc<ConnectionPermits>,
    coordinators: Arc<ConnectionPermits>,
    locals: Locals,
}

/// Serves polls on `listener` until `shutdown`. Polls in flight are then dropped unanswered, which
/// the coordinator takes as a lost connection: they change nothing until they are acknowledged.
pub async fn serve<P: AnswersPolls>(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    presented: &Presented,
    trust: &Trust,
    polls: P,
    shutdown: CancellationToken,
) -> Result<(), TlsSetUpError> {
    let config = mutual_tls::server_config(
        clock.clone(),
        presented,
        trust,
        Admits::Coordinator,
        ALPN_HTTP2,
    )?;
    let endpoint = Arc::new(PollEndpoint {
        acceptor: Arc::new(config).into(),
        clock,
        polls,
        strangers: ConnectionPermits::new(ConnectionLimits::shared_by_all(STRANGERS_MAX)),
        from_here: ConnectionPermits::new(ConnectionLimits::shared_by_all(LOCALS_MAX)),
        coordinators: ConnectionPermits::new(ConnectionLimits::shared_by_all(COORDINATORS_MAX)),
        locals: Locals::of_this_host(),
    });
    // Dropped at the end, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the poll endpoint");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = peer.ip().to_canonical();
        let permit = endpoint.permit(peer);
        connections.spawn(endpoint.clone().connection(tcp, peer, permit));
    }
}

impl<P: AnswersPolls> PollEndpoint<P> {
    /// The permit of a connection whose handshake begins.
    fn permit(&self, peer: IpAddr) -> ConnectionPermit {
        let from_here = self.locals.has(peer, &*self.clock);
        if from_here { self.from_here.admit(peer) } else { self.strangers.admit(peer) }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, peer: IpAddr, permit: ConnectionPermit) {
        let Some(shaken) = permit.hold(self.handshake(tcp, peer)).await else {
            tracing::debug!(peer.address = %peer, "an unfinished handshake gave way to others");
            return;
        };
        let Some(stream) = shaken else { return };
        drop(permit);
        let permit = self.coordinators.admit(peer);
        if permit.hold(self.clone().converse(stream, peer)).await.is_none() {
            tracing::debug!(peer.address = %peer, "an older connection gave way to newer ones");
        }
    }

    /// Answers the coordinator until its connection ends.
    async fn converse(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: IpAddr) {
        let now = self.clock.wall();
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN_HTTP2) {
            tracing::warn!(peer.address = %peer, "the coordinator does not speak HTTP/2");
            return;
        }
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let usable = shown.map_or(Duration::ZERO, |shown| mutual_tls::usable_for(shown, now));
        tracing::debug!(peer.address = %peer, "the coordinator connected");
        let endpoint = self.clone();
        let service = service_fn(move |request| {
            let endpoint = endpoint.clone();
            async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // A connection does not outlive the certificate that opened it.
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = tokio::time::sleep(usable) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        match ended {
            Ok(()) => tracing::debug!(peer.address = %peer, "the coordinator disconnected"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(peer.address = %peer, error, "lost the coordinator's connection");
            }
        }
    }

    /// The peer proved to be the coordinator, or there is no stream to read from.
    async fn handshake(&self, tcp: TcpStream, peer: IpAddr) -> Option<TlsStream<TcpStream>> {
        let _ = tcp.set_nodelay(true);
        let accept = self.acceptor.accept(tcp).into_fallible();
        match timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err((error, tcp))) => {
                note_stranger(peer, &error);
                let _ = timeout(LINGER, linger(tcp)).await;
                None
            }
            Err(_) => {
                tracing::debug!(peer.address = %peer, "a handshake took too long");
                None
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match request.uri().path() {
            POLL_PATH => self.poll(request).await,
            LOGS_PATH => self.logs(request).await,
            _ => Err(refused(StatusCode::NOT_FOUND, "the paths here are the poll's and the logs'")),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    async fn poll(&self, request: Request<Incoming>) -> Answered {
        let poll: PollRequest = read(request, POLL_BODY_BYTES_MAX).await?;
        match self.polls.poll(poll).await {
            Ok(answer) => Ok(written(&answer)),
            Err(stopped) => Err(refused(StatusCode::SERVICE_UNAVAILABLE, &stopped.to_string())),
        }
    }

    async fn logs(&self, request: Request<Incoming>) -> Answered {
        let request: LogRequest = read(request, LOG_REQUEST_BYTES_MAX).await?;
        match self.polls.logs(request).await {
            Ok(reply) => Ok(written(&reply)),
            Err(unanswered) => {
                let status = match unanswered {
                    Unanswered::NotServed => StatusCode::NOT_FOUND,
                    Unanswered::OtherHost | Unanswered::UnknownProtocol => StatusCode::CONFLICT,
                    Unanswered::Busy => StatusCode::TOO_MANY_REQUESTS,
                    Unanswered::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Err(refused(status, &unanswered.to_string()))
            }
        }
    }
}

/// An answer, or a refusal.
type Answered = Result<Response<Full<Bytes>>, Response<Full<Bytes>>>;

async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
    bytes_max: usize,
) -> Result<T, Response<Full<Bytes>>> {
    if request.method() != Method::POST {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "a poll is a POST"));
    }
    let body = Limited::new(request.into_body(), bytes_max).collect();
    let body = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the poll is too large"));
        }
        Ok(Err(_)) => {
            return Err(refused(StatusCode::BAD_REQUEST, "the poll did not arrive whole"));
        }
        Err(_) => return Err(refused(StatusCode::REQUEST_TIMEOUT, "the poll took too long")),
    };
    rmp_serde::from_slice(&body).map_err(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot read the coordinator's poll: are agent and coordinator of versions that go \
             together?"
        );
        refused(StatusCode::BAD_REQUEST, &format!("unreadable poll: {error}"))
    })
}

fn written(answer: &impl Serialize) -> Response<Full<Bytes>> {
    let body = rmp_serde::to_vec_named(answer).expect("plain values only");
    response(StatusCode::OK, "application/msgpack", body)
}

/// Somebody with a certificate is worth a line in the log; a port scan is not.
fn note_stranger(peer: IpAddr, error: &io::Error) {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    let error = error as &dyn std::error::Error;
    if let Some(rustls::Error::InvalidCertificate(_)) = tls {
        tracing::warn!(
            peer.address = %peer,
            error,
            "refused a connection to the poll endpoint: not this fleet's coordinator"
        );
    } else {
        tracing::debug!(peer.address = %peer, error, "a handshake failed");
    }
}

async fn linger(mut tcp: TcpStream) {
    if tcp.shutdown().await.is_ok() {
        let mut thrown_away = [0; 1024];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(read @ 1..) = tcp.read(&mut thrown_away).await
            && read < left
        {
            left -= read;
        }
    }
}

fn refused(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let refused = Refused { message: message.to_owned() };
    let body = serde_json::to_vec(&refused).expect("plain values only");
    response(status, "application/json", body)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
