//! The joining port: hosts enter with a token, renew their certificate, say what they are, and ask
//! for their tasks.
//!
//! TLS with the coordinator's certificate. A client certificate is optional: joining hosts have
//! none, and for everything else the host is the one that its certificate names, whatever the body
//! says. Every connection carries one request. Never: a secret kept or logged, a certificate for a
//! host that the state machine did not admit.

mod admission;
mod claims;
mod contest;
mod denied;
mod refusals;
mod throttle;
mod token;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use longshore_common::{
    clock::{Clock, Timestamp},
    id::HostId,
    join_token::JoinSecret,
    limits::JOIN_BODY_BYTES_MAX,
    listen,
    machine::AgentRun,
    mutual_tls::{self, ALPN_HTTP1, Admits, KeyHash, Presented},
    node::Role,
    protocol::{
        Certificate, JOIN_PATH, JoinRequest, PROTOCOL_VERSION, REGISTER_PATH, RENEW_PATH, Refused,
        RegisterRequest, RenewRequest, TASK_PATH, TaskRequest,
    },
};
use longshore_core::{
    Rejection,
    command::{CertifyHost, ShownKey},
    rejection::TokenRejection,
};
use rustls::pki_types::CertificateDer;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    door::{Door, Room, Rooms, Visit},
    pki::{Authority, PkiError, RequestedKey},
};

pub(crate) use self::refusals::JOINS_REFUSED;
use self::{denied::Denied, refusals::Refusals, throttle::Throttle};

pub(crate) use self::contest::IDENTITY_CONFLICTS;
pub use self::{
    admission::Admission,
    token::{MadeToken, make as make_token},
};

/// Bytes that a connection is counted as (ours): TLS's buffers and hyper's, both ways.
const CONNECTION_BYTES: usize = 48 * 1024;
/// Maximum of what callers may hold that have shown neither a certificate of the fleet nor a good
/// token (ours): 170 connections of one address, behind which a whole rack may sit, or 26 bodies of
/// the largest size.
const STRANGERS: Room = Room {
    bytes_max: 24 * 1024 * 1024,
    reserve_bytes: 8 * 1024 * 1024,
    party_bytes_max: 8 * 1024 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// Maximum of what hosts of the fleet may hold (ours): 1,300 connections; each carries one request.
const HOSTS: Room = Room {
    bytes_max: 64 * 1024 * 1024,
    reserve_bytes: 0,
    party_bytes_max: 64 * 1024 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// Fair share of one party in bytes (ours): a host that joins, with a body of usual size.
const FAIR_BYTES: usize = 96 * 1024;
/// Timeout of the handshake (ours).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout from the end of the handshake to the end of a request's headers (ours).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout from the end of a request's headers to the end of its body (ours).
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of one request and its answer, whatever else happens (ours).
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum size of a request's head in bytes (ours).
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Maximum time of reading, and throwing away, after a refused handshake (ours), so that the peer
/// gets the alert instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum number of bytes read, and thrown away, after a refused handshake (ours).
const LINGER_BYTES_MAX: usize = 16 * 1024;
/// Interval until the next accept after a failed one, with no descriptors left for example (ours).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that a request needs.
struct Joining {
    authority: Arc<Authority>,
    admission: Admission,
    clock: Arc<dyn Clock>,
    throttle: Throttle,
    refusals: Refusals,
    acceptor: TlsAcceptor,
}

type Body = http_body_util::Full<Bytes>;

/// Who asks: an agent of this fleet, or somebody without a certificate.
#[derive(Clone, Copy)]
struct Caller {
    address: IpAddr,
    shown: Option<PresentedCertificate>,
}

/// The host that a certificate of this fleet names, and the key that the caller proved to hold.
#[derive(Clone, Copy)]
struct PresentedCertificate {
    host: HostId,
    key: KeyHash,
    not_after: Timestamp,
}

impl PresentedCertificate {
    /// Absent for a certificate that is no host's.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let holder = mutual_tls::holder(certificate).ok()?;
        let key = mutual_tls::key_hash(certificate).ok()?;
        match holder.node.role {
            Role::Agent(host) => {
                Some(PresentedCertificate { host, key, not_after: holder.not_after })
            }
            Role::Coordinator => None,
        }
    }
}

/// Serves the joining port on `listener` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    presented: &Presented,
    admission: Admission,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), PkiError> {
    let config = mutual_tls::server_config(
        clock.clone(),
        presented,
        &authority.trust()?,
        Admits::AgentsAndStrangers,
        ALPN_HTTP1,
    )
    .map_err(PkiError::Tls)?;
    let acceptor = Arc::new(config).into();
    let (throttle, refusals) = (Throttle::default(), Refusals::default());
    let joining = Arc::new(Joining { authority, admission, clock, throttle, refusals, acceptor });
    let door = Door::new(Rooms { strangers: STRANGERS, known: HOSTS });
    // Dropped at the end, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted.map(|(tcp, peer)| (tcp, listen::peer(peer))),
        };
        match accepted {
            Ok((tcp, peer)) => match door.enter(peer.ip(), CONNECTION_BYTES) {
                Ok(visit) => {
                    connections.spawn(joining.clone().connection(tcp, peer, Arc::new(visit)));
                }
                Err(full) => {
                    tracing::debug!(peer.address = %peer, %full, "the joining port is full");
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the joining port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Joining {
    /// Serves the connection until it has ended, or has to give way to another.
    async fn connection(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, visit: Arc<Visit>) {
        tokio::select! {
            () = visit.told_to_leave() => {
                tracing::debug!(peer.address = %peer, "a connection to the joining port gave way");
            }
            () = self.converse(tcp, peer, visit.clone()) => {}
        }
    }

    async fn converse(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, visit: Arc<Visit>) {
        let Some(stream) = self.handshake(tcp, peer).await else { return };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let caller = Caller { address: peer.ip(), shown: shown.and_then(PresentedCertificate::of) };
        // A certificate of the fleet is proof enough of who is there, while it is good.
        let good = caller.shown.filter(|shown| self.clock.wall() < shown.not_after);
        // It gives way all the same: one host that keeps connections must not lock out the others.
        if good.is_some() && visit.prove().is_err() {
            return;
        }
        let joining = self.clone();
        let service = service_fn(move |request| {
            let (joining, visit) = (joining.clone(), visit.clone());
            async move { Ok::<_, Infallible>(joining.answer(caller, &visit, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(peer.address = %peer, error, "a connection to the joining port broke");
        }
    }

    async fn handshake(&self, tcp: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let _ = tcp.set_nodelay(true);
        let accept = self.acceptor.accept(tcp).into_fallible();
        match timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err((error, tcp))) => {
                note_failed_handshake(peer, &error);
                let _ = timeout(LINGER, linger(tcp)).await;
                None
            }
            Err(_) => {
                tracing::debug!(peer.address = %peer, "a handshake took too long");
                None
            }
        }
    }

    async fn answer(
        &self,
        caller: Caller,
        visit: &Arc<Visit>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answered = match visit.hold_for(announced(&request)) {
            Ok(_held) => self.answered(caller, visit, &path, request).await,
            Err(full) => {
                let sentence = format!("{full} Try again.");
                Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, sentence))
            }
        };
        match answered {
            Ok(body) => response(StatusCode::OK, "application/msgpack", body),
            Err(denied) => {
                self.note_refusal(caller, &path, &denied);
                let body = serde_json::to_vec(&Refused { message: denied.message });
                let body = body.expect("plain values only");
                response(denied.status, "application/json", body)
            }
        }
    }

    /// Notes a refusal in the metrics, and in the log unless that tells of many already.
    fn note_refusal(&self, caller: Caller, path: &str, denied: &Denied) {
        let outcome = denied.status.as_str().to_owned();
        metrics::counter!(JOINS_REFUSED, "outcome" => outcome).increment(1);
        let told = self.refusals.tell(caller.shown.is_some(), self.clock.monotonic());
        let Some(left_out) = told else { return };
        tracing::warn!(
            peer.address = %caller.address,
            host = caller.shown.map(|shown| tracing::field::display(shown.host)),
            path,
            reason = denied.message,
            left_out,
            "refused an agent"
        );
    }

    async fn answered(
        &self,
        caller: Caller,
        visit: &Arc<Visit>,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Vec<u8>, Denied> {
        match (request.method(), path) {
            (&Method::POST, JOIN_PATH) => self.join(caller, visit, request).await,
            (&Method::POST, RENEW_PATH) => self.renew(caller, request).await,
            (&Method::POST, REGISTER_PATH) => self.register(caller, request).await,
            (&Method::POST, TASK_PATH) => self.task(caller, request).await,
            (_, JOIN_PATH | RENEW_PATH | REGISTER_PATH | TASK_PATH) => {
                Err(Denied::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is understood here"))
            }
            _ => {
                let sentence = "agents join here; the API is on another port";
                Err(Denied::new(StatusCode::NOT_FOUND, sentence))
            }
        }
    }

    async fn join(
        &self,
        caller: Caller,
        visit: &Arc<Visit>,
        request: Request<Incoming>,
    ) -> Result<Vec<u8>, Denied> {
        let join: JoinRequest = read(request).await?;
        speaks(join.protocol)?;
        join.run.as_ref().map_or(Ok(()), claims::check_run).map_err(unfit)?;
        // The token first, and its address only if it is no good: a host with a good one joins whatever
        // others do at its address.
        let keys = || {
            let asked = requested_key(&join.csr).ok().map(|key| key.hash());
            asked.into_iter().chain(caller.shown.map(|shown| shown.key)).collect()
        };
        let judged = match join.secret.parse::<JoinSecret>() {
            Ok(secret) => {
                let secret_hash = token::secret_hash(&secret);
                self.admission.judge_token(secret_hash, keys, self.clock.wall())
            }
            Err(_) => Err(unknown_token()),
        };
        let secret_hash = judged
            .map_err(|why| self.throttle.failed(caller.address, self.clock.monotonic(), why))?;
        let _served = visit.serve();
        // What else can be wrong is found before the token is used: a use must not be lost over it.
        let key = requested_key(&join.csr)?;
        let host = match caller.shown {
            None => self.admission.join(secret_hash, join.host, key.hash()).await?,
            Some(shown) => {
                let certify = self.certification(shown, &key, Some(secret_hash), join.run);
                self.admission.certify(certify, self.clock.wall()).await?
            }
        };
        let certificate = self.certificate(host, &key)?;
        let joined = if caller.shown.is_some() { "came back to" } else { "joined" };
        tracing::info!(%host, peer.address = %caller.address, "a host {joined} the fleet");
        Ok(encoded(&certificate))
    }

    /// The one request for which a certificate that has ended is good enough to be looked at.
    async fn renew(&self, caller: Caller, request: Request<Incoming>) -> Result<Vec<u8>, Denied> {
        let shown = caller.shown.ok_or_else(no_certificate)?;
        let renew: RenewRequest = read(request).await?;
        speaks(renew.protocol)?;
        renew.run.as_ref().map_or(Ok(()), claims::check_run).map_err(unfit)?;
        let key = requested_key(&renew.csr)?;
        let certify = self.certification(shown, &key, None, renew.run);
        let host = self.admission.certify(certify, self.clock.wall()).await?;
        let certificate = self.certificate(host, &key)?;
        tracing::info!(%host, "renewed a host's certificate");
        Ok(encoded(&certificate))
    }

    fn certification(
        &self,
        shown: PresentedCertificate,
        key: &RequestedKey,
        secret_hash: Option<[u8; 32]>,
        run: Option<AgentRun>,
    ) -> CertifyHost {
        let ended = self.clock.wall() >= shown.not_after;
        let by = Some(ShownKey { key: shown.key, ended });
        CertifyHost { host: shown.host, key: key.hash(), by, secret_hash, run }
    }

    async fn register(
        &self,
        caller: Caller,
        request: Request<Incoming>,
    ) -> Result<Vec<u8>, Denied> {
        let host = self.proven(caller)?;
        let register: RegisterRequest = read(request).await?;
        speaks(register.protocol)?;
        claims::check(&register).map_err(unfit)?;
        let registered = self.admission.register(self.authority.fleet(), host, register).await?;
        Ok(encoded(&registered))
    }

    /// A task's own question, by the host that runs it.
    async fn task(&self, caller: Caller, request: Request<Incoming>) -> Result<Vec<u8>, Denied> {
        let host = self.proven(caller)?;
        let asked: TaskRequest = read(request).await?;
        speaks(asked.protocol)?;
        let reply = self.admission.task(host, asked, self.clock.wall()).await?;
        Ok(encoded(&reply))
    }

    /// The host that the client's certificate names.
    fn proven(&self, caller: Caller) -> Result<HostId, Denied> {
        let shown = caller.shown.ok_or_else(no_certificate)?;
        if self.clock.wall() >= shown.not_after {
            let sentence = format!(
                "the host's certificate ended on {}: it must be renewed first",
                shown.not_after
            );
            return Err(Denied::new(StatusCode::UNAUTHORIZED, sentence));
        }
        Ok(shown.host)
    }

    fn certificate(&self, host: HostId, key: &RequestedKey) -> Result<Certificate, Denied> {
        let issued = self.authority.issue(Role::Agent(host), key, self.clock.wall());
        let certificate = issued.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%host, error, "cannot sign a certificate");
            let sentence = "the coordinator cannot sign certificates now; its log says why";
            Denied::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
        })?;
        Ok(Certificate {
            host,
            fleet: self.authority.fleet(),
            chain: certificate.pem(),
            trusted: self.authority.trusted_pem().to_owned(),
        })
    }
}

/// How many bytes a request's body may come to.
fn announced(request: &Request<Incoming>) -> usize {
    let upper = hyper::body::Body::size_hint(request.body()).upper();
    upper.map_or(JOIN_BODY_BYTES_MAX, |bytes| bytes.min(JOIN_BODY_BYTES_MAX as u64) as usize)
}

fn no_certificate() -> Denied {
    let sentence = "this needs the host's certificate, and the connection showed none: join first";
    Denied::new(StatusCode::UNAUTHORIZED, sentence)
}

/// A host says of itself what cannot be kept.
fn unfit(why: String) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, format!("the host's description is refused: {why}"))
}

fn speaks(protocol: u32) -> Result<(), Denied> {
    if protocol == PROTOCOL_VERSION {
        return Ok(());
    }
    let sentence = format!(
        "the agent speaks protocol {protocol} and this coordinator {PROTOCOL_VERSION}: install \
         versions that go together"
    );
    Err(Denied::new(StatusCode::BAD_REQUEST, sentence))
}

fn requested_key(csr: &str) -> Result<RequestedKey, Denied> {
    RequestedKey::from_pem(csr).map_err(|bad| Denied::new(StatusCode::BAD_REQUEST, bad.to_string()))
}

/// A secret of the wrong form is refused as a wrong one is.
fn unknown_token() -> Denied {
    Rejection::Token(TokenRejection::JoinTokenUnknown).into()
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Denied> {
    let body = Limited::new(request.into_body(), JOIN_BODY_BYTES_MAX).collect();
    let body = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let sentence = format!("a request has at most {JOIN_BODY_BYTES_MAX} bytes here");
            return Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, sentence));
        }
        Ok(Err(_)) => {
            let sentence = "the request did not arrive whole";
            return Err(Denied::new(StatusCode::BAD_REQUEST, sentence));
        }
        Err(_) => {
            let sentence = "the request took too long to arrive";
            return Err(Denied::new(StatusCode::REQUEST_TIMEOUT, sentence));
        }
    };
    // What the decoder says may quote the body, and the body may hold a secret.
    rmp_serde::from_slice(&body).map_err(|_| {
        let sentence = "the request cannot be read: agent and coordinator must go together";
        Denied::new(StatusCode::BAD_REQUEST, sentence)
    })
}

fn encoded(answer: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(answer).expect("plain values only")
}

fn note_failed_handshake(peer: SocketAddr, error: &io::Error) {
    let error = error as &dyn std::error::Error;
    tracing::debug!(peer.address = %peer, error, "a handshake failed");
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

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(body.into()));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests;
