//! The listener of the API: limits first, then the router.
//!
//! Everything a stranger can make us hold is bounded here, by a named limit: connections, bytes,
//! time. HTTP/1.1 only; no AWS client needs more. Never looks into a body.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
};
use http_body_util::{
    BodyExt, Either, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody,
};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use longshore_common::gate::Gate;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::api::{
    Edge,
    alertmanager::{self, Outcome},
    error::{ApiError, ErrorCode},
    event_stream::{self, EventStream},
    health::{CONNECTIONS_REFUSED, REQUEST_SECONDS, REQUESTS},
    input::BODY_BYTES_MAX,
    protocol::{self, API_PATH, SMITHY_PROTOCOL, Wire, X_AMZN_QUERY_ERROR, cbor::Rpc, query},
    router::{Admitted, Body, Routed},
};

/// Bytes of a request's head (promises.md 4).
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers in a request's head; AWS's SDKs send about fifteen.
const HEADERS_MAX: usize = 64;
/// How long a head may take to arrive, or a connection to stay idle (promises.md 4).
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a body may take to arrive: 1 MiB at 35 KiB/s.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Connections in all: well below the open files that the unit allows.
const CONNECTIONS_MAX: usize = 4096;
/// Connections from one address, so that one cannot take all.
const CONNECTIONS_PER_PEER_MAX: usize = 1024;
/// How long requests under way may take once the coordinator stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The wait after a failed accept: most likely there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often what the metrics recorded is folded, so that it cannot grow when nobody reads it.
const METRICS_FOLD_INTERVAL: Duration = Duration::from_secs(10);

const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const HEALTH_PATH: &str = "/healthz";
const READY_PATH: &str = "/readyz";
const METRICS_PATH: &str = "/metrics";

type Payload = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;
type Answer = Response<Payload>;

/// Serves until `shutdown`, then lets the requests under way end.
pub async fn serve(edge: Arc<Edge>, listener: TcpListener, shutdown: CancellationToken) {
    serve_within(edge, listener, shutdown, Limits::default()).await;
}

/// What a test makes smaller.
#[derive(Clone, Copy)]
struct Limits {
    head_deadline: Duration,
    body_deadline: Duration,
    connections_max: usize,
    connections_per_peer_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_deadline: HEAD_DEADLINE,
            body_deadline: BODY_DEADLINE,
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
        }
    }
}

async fn serve_within(
    edge: Arc<Edge>,
    listener: TcpListener,
    shutdown: CancellationToken,
    limits: Limits,
) {
    let gate = Gate::new(limits.connections_max, limits.connections_per_peer_max);
    let requests = RequestIds::new();
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    let mut fold = tokio::time::interval(METRICS_FOLD_INTERVAL);
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = fold.tick() => {
                edge.metrics.fold();
                continue;
            }
            Some(_ended) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
        };
        let Some(permit) = gate.enter(peer.ip()) else {
            metrics::counter!(CONNECTIONS_REFUSED).increment(1);
            tracing::debug!(%peer, "a connection over the limit is closed");
            continue;
        };
        let service = Service {
            edge: edge.clone(),
            requests: requests.clone(),
            peer,
            limits,
            shutdown: shutdown.clone(),
        };
        let serving = graceful.watch(connection(stream, service));
        tasks.spawn(async move {
            let _permit = permit;
            if let Err(error) = serving.await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
    // Whoever is still connected had its time.
    tasks.shutdown().await;
}

fn connection(
    stream: TcpStream,
    service: Service,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // Answers are small and clients wait for them.
    let _ = stream.set_nodelay(true);
    let head_deadline = service.limits.head_deadline;
    let service = Arc::new(service);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            }),
        )
}

/// What one connection's requests are answered by.
struct Service {
    edge: Arc<Edge>,
    requests: Arc<RequestIds>,
    peer: SocketAddr,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if path == API_PATH || Rpc::of(path).is_some() {
            return self.call(request).await;
        }
        if path == alertmanager::PATH {
            return self.notified(request).await;
        }
        let (status, text) = match (path, request.method()) {
            (HEALTH_PATH | READY_PATH | METRICS_PATH, method)
                if !matches!(*method, Method::GET | Method::HEAD) =>
            {
                (StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned())
            }
            (HEALTH_PATH, _) => (StatusCode::OK, "ok\n".to_owned()),
            (READY_PATH, _) => match self.edge.health.ready() {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(refusal) => (refusal.status(), format!("{}\n", refusal.message)),
            },
            (METRICS_PATH, _) => (StatusCode::OK, self.edge.metrics.render()),
            _ => (StatusCode::NOT_FOUND, "the API is at POST /\n".to_owned()),
        };
        let mut answer = Response::new(whole(text));
        *answer.status_mut() = status;
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
        answer
    }

    /// One request of the API, with its line in the log and its place in the metrics.
    async fn call(&self, request: Request<Incoming>) -> Answer {
        let began = self.edge.clock.monotonic();
        let request_id = self.requests.next();
        let (parts, body) = request.into_parts();
        let wire = Wire::of(&parts);
        let query_mode = protocol::is_query_mode(&parts.headers);
        let refused = |refusal| Routed { wire, operation: None, answer: Err(refusal) };
        let mut close = false;
        let routed = match check_head(&parts, &body) {
            // The body is not worth reading.
            Err(refusal) => {
                close = true;
                refused(refusal)
            }
            Ok(()) => match self.edge.admit(&parts) {
                Ok(admitted) => match self.read(body).await {
                    Ok(body) => self.route(admitted, wire, &body, &request_id).await,
                    Err(refusal) => {
                        close = true;
                        refused(refusal)
                    }
                },
                // Nothing of a stranger's body is kept, but it is let in: closing on it would
                // reset the connection before the refusal is read.
                Err(refusal) => match self.discard(body).await {
                    Ok(()) => refused(refusal),
                    Err(unread) => {
                        close = true;
                        refused(unread)
                    }
                },
            },
        };
        let operation = routed.operation.unwrap_or("none");
        let outcome = match &routed.answer {
            Ok(_) => "ok",
            Err(refusal) => refusal.code.wire_name(),
        };
        let took = self.edge.clock.monotonic().since(began);
        metrics::counter!(REQUESTS, "operation" => operation, "outcome" => outcome).increment(1);
        metrics::histogram!(REQUEST_SECONDS, "operation" => operation).record(took);
        tracing::debug!(
            request.id = %request_id,
            peer = %self.peer,
            operation,
            outcome,
            took_us = took.as_micros() as u64,
            "request"
        );
        let query_error = match &routed.answer {
            Err(refusal) if query_mode => Some(query::error_header(refusal)),
            _ => None,
        };
        let mut answer = respond(routed, &request_id, close, &self.shutdown);
        if let Some(name) = query_error {
            answer.headers_mut().insert(X_AMZN_QUERY_ERROR, name);
        }
        answer
    }

    /// One notification of Alertmanager.
    async fn notified(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut close = false;
        let outcome = if parts.method != Method::POST {
            close = true;
            Outcome::refused(StatusCode::METHOD_NOT_ALLOWED, "POST only")
        } else if !alertmanager::is_authorized(&parts.headers, &self.edge.webhook_token) {
            // As with a stranger of the API.
            close = self.discard(body).await.is_err();
            Outcome::refused(
                StatusCode::UNAUTHORIZED,
                "Show the token of the coordinator's data directory: 'Authorization: Bearer TOKEN'.",
            )
        } else if let Err(refusal) =
            self.edge.health.ready().and_then(|()| check_head(&parts, &body))
        {
            close = true;
            Outcome::refused(refusal.status(), refusal.message)
        } else {
            match self.read(body).await {
                Ok(body) => alertmanager::notify(&self.edge.driver, &body).await,
                Err(refusal) => {
                    close = true;
                    Outcome::refused(refusal.status(), refusal.message)
                }
            }
        };
        let status = outcome.status.as_str().to_owned();
        metrics::counter!(REQUESTS, "operation" => "Alertmanager", "outcome" => status)
            .increment(1);
        tracing::debug!(peer = %self.peer, outcome = ?outcome, "notification");
        notified(&outcome, close)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ApiError> {
        let reading = Limited::new(body, BODY_BYTES_MAX).collect();
        match tokio::time::timeout(self.limits.body_deadline, reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(unread(&*error)),
            Err(_) => Err(self.too_slow()),
        }
    }

    async fn discard(&self, body: Incoming) -> Result<(), ApiError> {
        let mut body = Limited::new(body, BODY_BYTES_MAX);
        let reading = async {
            while let Some(frame) = body.frame().await {
                frame.map_err(|error| unread(&*error))?;
            }
            Ok(())
        };
        let read = tokio::time::timeout(self.limits.body_deadline, reading).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> ApiError {
        ApiError::new(
            ErrorCode::RequestTimeout,
            format!("The request's body took longer than {:?}.", self.limits.body_deadline),
        )
    }

    /// A handler that panics is our bug: the client hears so, and the others are not disturbed.
    async fn route(
        &self,
        admitted: Admitted<'_>,
        wire: Wire,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        let routing = AssertUnwindSafe(self.edge.route(admitted, body, request_id));
        routing.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(request.id = request_id, "a request made the coordinator panic");
            Routed {
                wire,
                operation: None,
                answer: Err(ApiError::server("The coordinator has a bug; see its log.")),
            }
        })
    }
}

fn notified(outcome: &Outcome, close: bool) -> Answer {
    let report = serde_json::to_vec(&outcome.report).expect("names and counts are always written");
    let mut answer = Response::new(whole(report));
    *answer.status_mut() = outcome.status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if outcome.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// What is refused whoever asks.
fn check_head(parts: &Parts, body: &Incoming) -> Result<(), ApiError> {
    if parts.method != Method::POST {
        return Err(ApiError::new(ErrorCode::MethodNotAllowed, "The API is at POST /."));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "A request's body must not be compressed or otherwise encoded.",
        ));
    }
    // Known before the first byte: then none is read.
    if hyper::body::Body::size_hint(body).lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    Ok(())
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static)) -> ApiError {
    match error.is::<LengthLimitError>() {
        true => too_large(),
        false => ApiError::serialization("The request's body did not arrive whole."),
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        ErrorCode::RequestTooLarge,
        format!("The request body is larger than {BODY_BYTES_MAX} bytes."),
    )
}

fn whole(bytes: impl Into<Bytes>) -> Payload {
    Either::Left(Full::new(bytes.into()))
}

/// Ends with the coordinator, which waits for no stream.
fn going_on(events: EventStream, shutdown: &CancellationToken) -> Payload {
    let messages = events.into_messages().take_until(shutdown.clone().cancelled_owned());
    Either::Right(StreamBody::new(messages.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
}

fn respond(routed: Routed, request_id: &str, close: bool, shutdown: &CancellationToken) -> Answer {
    let mut content_type = routed.wire.content_type();
    let (status, payload) = match routed.answer {
        Ok(Body::Whole(bytes)) => (StatusCode::OK, whole(bytes)),
        Ok(Body::Events(events)) => {
            content_type = HeaderValue::from_static(event_stream::CONTENT_TYPE);
            (StatusCode::OK, going_on(events, shutdown))
        }
        Err(refusal) => {
            let (status, bytes) = routed.wire.refusal(&refusal, request_id);
            (status, whole(bytes))
        }
    };
    let mut answer = Response::new(payload);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(protocol) = routed.wire.smithy_protocol() {
        headers.insert(SMITHY_PROTOCOL, protocol);
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(X_AMZN_REQUEST_ID, request_id);
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Ids of requests: different from start to start, and in a row within one.
struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Arc<Self> {
        // Without entropy ids repeat after a restart, which hurts only the reader of two logs.
        let start = getrandom::u64().unwrap_or_default();
        Arc::new(RequestIds { start, next: AtomicU64::new(0) })
    }

    /// In the form of a UUID, as AWS's are.
    fn next(&self) -> String {
        let (start, next) = (self.start, self.next.fetch_add(1, Ordering::Relaxed));
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            start >> 32,
            start >> 16 & 0xffff,
            start & 0xffff,
            next >> 48,
            next & 0xffff_ffff_ffff
        )
    }
}
