//! What one connection's requests are answered by: who asks, what their bodies may take, and where the
//! work is done.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, Request, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio_util::task::AbortOnDropHandle;

use super::{
    limits::{MIDDLING_BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX},
    reply::{self, Answer},
    shared::Shared,
};
use crate::{
    door::{
        Full, Held, Served, Visit,
        bodies::{Bodies, InMemory, NoRoom},
    },
    edge::{
        Edge,
        error::{ApiError, ErrorCode},
        foreign::Foreign,
        health::{REQUEST_SECONDS, REQUESTS},
        input::BODY_BYTES_MAX,
        protocol::{self, API_PATH, Wire, X_AMZN_QUERY_ERROR, cbor::Rpc, query},
        service::Routed,
        webhook,
    },
};

/// Maximum number of bytes of a body that are read and thrown away for a service that is not here
/// (ours): a code archive in JSON may be this large, and a client that is cut off within it never
/// reads the answer.
const FOREIGN_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

const HEALTH_PATH: &str = "/healthz";
const READY_PATH: &str = "/readyz";
const METRICS_PATH: &str = "/metrics";
const PLAIN: &str = "text/plain; charset=utf-8";
/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    pub(super) visit: Arc<Visit>,
}

impl Service {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut answer = match parts.uri.path() {
            path if path == self.edge().webhook.path => self.notified(&parts, body).await,
            HEALTH_PATH | READY_PATH | METRICS_PATH => self.watched(&parts),
            _ => self.asked(parts, body).await,
        };
        // Who is not known has no connection of his own.
        if !self.visit.is_known() {
            reply::close(&mut answer);
        }
        answer
    }

    fn edge(&self) -> &Edge {
        &self.shared.edge
    }

    /// What operators and their tools look at.
    fn watched(&self, parts: &Parts) -> Answer {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return reply::text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET only\n");
        }
        let health = &self.edge().health;
        let (judged, well) = match parts.uri.path() {
            METRICS_PATH => return self.measured(parts),
            HEALTH_PATH => (health.alive(), "ok\n"),
            _ => (self.edge().ready(), "ready\n"),
        };
        match judged {
            Ok(()) => reply::text(StatusCode::OK, PLAIN, well),
            Err(refusal) => reply::text(refusal.status(), PLAIN, format!("{}\n", refusal.message)),
        }
    }

    /// Metrics tell of services by their names: for this machine, and for whoever shows the token.
    fn measured(&self, parts: &Parts) -> Answer {
        let shown = webhook::is_authorized(&parts.headers, &self.edge().metrics_token);
        if !shown && !self.peer.ip().is_loopback() {
            let mut answer = reply::text(
                StatusCode::UNAUTHORIZED,
                PLAIN,
                "Show the token in the file metrics-token of the coordinator's data directory: \
                 'Authorization: Bearer TOKEN'.\n",
            );
            reply::ask_for_token(&mut answer);
            return answer;
        }
        let _served = shown.then(|| self.visit.serve());
        let text = self.edge().metrics.text(self.edge().clock.monotonic());
        reply::text(StatusCode::OK, PROMETHEUS, text)
    }

    /// A request of AWS's clients, for a service that is here or for another.
    async fn asked(&self, parts: Parts, body: Incoming) -> Answer {
        let router = &self.edge().router;
        if let Some(foreign) = Foreign::asked(&parts, router) {
            let request_id = self.shared.requests.next();
            if !parts.headers.contains_key(header::EXPECT) {
                // However it ends, the answer is the same.
                let _ = self.discard(body, FOREIGN_BODY_BYTES_MAX).await;
            }
            let outcome = ErrorCode::UnknownOperation.wire_name();
            metrics::counter!(REQUESTS, "operation" => "none", "outcome" => outcome).increment(1);
            tracing::debug!(request.id = %request_id, peer = %self.peer, service = foreign.name(), "request for a service that is not here");
            return foreign.answer(router, &parts.headers, &request_id).map(reply::whole);
        }
        let path = parts.uri.path();
        if path != API_PATH && Rpc::of(path).is_none() {
            return reply::text(StatusCode::NOT_FOUND, PLAIN, "the API is at POST /\n");
        }
        self.call(parts, body).await
    }

    /// One request of the API, with its line in the log and its place in the metrics.
    async fn call(&self, parts: Parts, body: Incoming) -> Answer {
        let began = self.edge().clock.monotonic();
        let request_id = self.shared.requests.next();
        let wire = Wire::of(&parts);
        let query_mode = protocol::is_query_mode(&parts.headers);
        let mut close = false;
        let (routed, served) = match self.admitted(&parts, body, &mut close).await {
            Ok(read) => self.work(parts, wire, read, &request_id).await,
            Err(refusal) => (refused(wire, refusal), None),
        };
        let operation = routed.operation.unwrap_or("none");
        let outcome = match &routed.answer {
            Ok(_) => "ok",
            Err(refusal) => refusal.code.wire_name(),
        };
        let took = self.edge().clock.monotonic().since(began);
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
        let mut answer = reply::respond(routed, &request_id, served, &self.shared.shutdown);
        if let Some(name) = query_error {
            answer.headers_mut().insert(X_AMZN_QUERY_ERROR, name);
        }
        if close {
            reply::close(&mut answer);
        }
        answer
    }

    /// The body of a request that may be who it says. What can be refused by the head alone is: of a
    /// stranger's body nothing is kept.
    async fn admitted(
        &self,
        parts: &Parts,
        body: Incoming,
        close: &mut bool,
    ) -> Result<Read, ApiError> {
        if let Err(refusal) = check_head(parts, &body) {
            // The body is not worth reading.
            *close = true;
            return Err(refusal);
        }
        let admitted = match self.edge().admit(parts) {
            // A signature over a hash of the body says all but whether this is the body.
            Ok(admitted) if admitted.is_proven() => self.visit.prove().map_err(full),
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        let bytes = announced(&body);
        let read = match admitted.and_then(|()| self.hold_body(bytes).map_err(full)) {
            Ok(held) => self.read(body, bytes, held).await,
            // The body is let in: closing on it would reset the connection before the refusal is read.
            Err(refusal) => match self.discard(body, BODY_BYTES_MAX).await {
                Ok(()) => return Err(refusal),
                Err(unread) => Err(unread),
            },
        };
        read.inspect_err(|_| *close = true)
    }

    /// Verifies a request with its body and does what it asks: a small one here, a large one in the
    /// workshop.
    async fn work(
        &self,
        parts: Parts,
        wire: Wire,
        read: Read,
        request_id: &str,
    ) -> (Routed, Option<Served>) {
        let shared = self.shared.clone();
        let visit = self.visit.clone();
        let id = request_id.to_owned();
        let is_small = read.body.len() <= SMALL_BODY_BYTES_MAX;
        let work = async move { worked(&shared, &visit, &parts, wire, read, &id).await };
        let worked = match is_small {
            true => AssertUnwindSafe(work).catch_unwind().await.map_err(drop),
            false => {
                // Given up with the connection.
                let task = self.shared.workshop.0.spawn(work);
                AbortOnDropHandle::new(task).await.map_err(drop)
            }
        };
        // A handler that panics is our bug: the client hears so, and the others are not disturbed.
        worked.unwrap_or_else(|()| {
            tracing::error!(request.id = request_id, "a request made the coordinator panic");
            (refused(wire, ApiError::server("The coordinator has a bug; see its log.")), None)
        })
    }

    /// One notification of the webhook.
    async fn notified(&self, parts: &Parts, body: Incoming) -> Answer {
        let webhook = &self.edge().webhook;
        let refused = |status, why: &str| (webhook.refuse)(status, why.to_owned());
        let mut close = false;
        let outcome = if parts.method != Method::POST {
            close = true;
            refused(StatusCode::METHOD_NOT_ALLOWED, "POST only")
        } else if !webhook::is_authorized(&parts.headers, &self.edge().webhook_token) {
            // As with a stranger of the API.
            close = self.discard(body, BODY_BYTES_MAX).await.is_err();
            refused(
                StatusCode::UNAUTHORIZED,
                "Show the token of the coordinator's data directory: 'Authorization: Bearer TOKEN'.",
            )
        } else if let Err(refusal) =
            self.edge().health.ready().and_then(|()| check_head(parts, &body))
        {
            close = true;
            refused(refusal.status(), &refusal.message)
        } else {
            let announced = announced(&body);
            let read = match self.visit.prove().and_then(|()| self.hold_body(announced)) {
                Ok(held) => self.read(body, announced, held).await,
                Err(why) => Err(full(why)),
            };
            let read = read.and_then(|read| Ok((read, self.visit.serve().map_err(full)?)));
            match read {
                Ok((read, _served)) => (webhook.notify)(&self.edge().driver, &read.body).await,
                Err(refusal) => {
                    close = true;
                    refused(refusal.status(), &refusal.message)
                }
            }
        };
        let status = outcome.status.as_str().to_owned();
        metrics::counter!(REQUESTS, "operation" => webhook.name, "outcome" => status).increment(1);
        tracing::debug!(peer = %self.peer, outcome = ?outcome, "notification");
        let mut answer = reply::notified(outcome);
        if close {
            reply::close(&mut answer);
        }
        answer
    }

    /// What a body takes of its caller's account. One that is known and large has room of its own
    /// instead, once it begins to come: until then it takes next to nothing.
    fn hold_body(&self, announced: usize) -> Result<Held, Full> {
        let bytes = match self.visit.is_known() {
            true => announced.min(SMALL_BODY_BYTES_MAX),
            false => announced,
        };
        self.visit.hold_for(bytes)
    }

    /// A whole body. Of a large one the beginning is read at once, so that nobody stands in the line for
    /// memory who sends nothing; its deadline begins anew with the room for the rest.
    async fn read(&self, body: Incoming, announced: usize, held: Held) -> Result<Read, ApiError> {
        let mut body = Limited::new(body, BODY_BYTES_MAX);
        let mut bytes = BytesMut::with_capacity(announced.min(SMALL_BODY_BYTES_MAX));
        let beginning = fill(&mut body, &mut bytes, SMALL_BODY_BYTES_MAX, |_| {});
        if self.in_time(beginning).await? == Filled::Whole || announced <= SMALL_BODY_BYTES_MAX {
            return Ok(Read { body: bytes.freeze(), _held: held, room: None });
        }
        let bodies = self.shared.room_for(self.visit.is_known(), announced);
        let room = bodies.enter(self.visit.party(), announced).await.map_err(no_room)?;
        // In one piece: frames come as they like, and their buffers are larger.
        bytes.reserve(announced.saturating_sub(bytes.len()));
        let rest = fill(&mut body, &mut bytes, usize::MAX, |came| room.came(came));
        tokio::select! {
            read = self.in_time(rest) => { read?; }
            why = room.told_to_give_way() => return Err(no_room(why)),
        }
        room.is_whole().map_err(no_room)?;
        Ok(Read { body: bytes.freeze(), _held: held, room: Some(room) })
    }

    async fn discard(&self, body: Incoming, bytes_max: usize) -> Result<(), ApiError> {
        let mut body = Limited::new(body, bytes_max);
        let reading = async {
            while let Some(frame) = body.frame().await {
                frame.map_err(|error| unread(&*error))?;
            }
            Ok(())
        };
        self.in_time(reading).await
    }

    async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let read = tokio::time::timeout(self.shared.limits.body_deadline, reading).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> ApiError {
        let deadline = self.shared.limits.body_deadline;
        ApiError::new(
            ErrorCode::RequestTimeout,
            format!("The request's body took longer than {deadline:?}."),
        )
    }
}

impl Shared {
    fn room_for(&self, known: bool, bytes: usize) -> &Arc<Bodies> {
        match known {
            false => &self.strangers_bodies,
            true if bytes <= MIDDLING_BODY_BYTES_MAX => &self.middling_bodies,
            true => &self.known_bodies,
        }
    }
}

/// A body that is here, and what it is counted as until the request is answered.
struct Read {
    body: Bytes,
    _held: Held,
    room: Option<InMemory>,
}

#[derive(PartialEq, Eq)]
enum Filled {
    Whole,
    /// The wanted number of bytes is here; there may be more.
    Enough,
}

/// Reads until so much is here, or the body's end; says of each part how large it is.
async fn fill(
    body: &mut Limited<Incoming>,
    bytes: &mut BytesMut,
    enough: usize,
    came: impl Fn(usize),
) -> Result<Filled, ApiError> {
    while bytes.len() < enough {
        let Some(frame) = body.frame().await else { return Ok(Filled::Whole) };
        if let Ok(data) = frame.map_err(|error| unread(&*error))?.into_data() {
            came(data.len());
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Filled::Enough)
}

async fn worked(
    shared: &Shared,
    visit: &Arc<Visit>,
    parts: &Parts,
    wire: Wire,
    Read { body, _held, room }: Read,
    request_id: &str,
) -> (Routed, Option<Served>) {
    let edge = &shared.edge;
    let authenticated = edge.admit(parts).and_then(|admitted| edge.authenticate(admitted, &body));
    let authenticated =
        authenticated.and_then(|authenticated| Ok((authenticated, visit.serve().map_err(full)?)));
    match authenticated {
        Ok((authenticated, served)) => {
            // A stranger's no longer: it must not stand in the way of strangers for as long as it takes.
            let _room = room.map(|room| match room.is_among(&shared.strangers_bodies) {
                true => room.move_to(shared.room_for(true, body.len()), body.len()),
                false => room,
            });
            (edge.perform(authenticated, &body, request_id).await, Some(served))
        }
        Err(refusal) => (refused(wire, refusal), None),
    }
}

fn refused(wire: Wire, refusal: ApiError) -> Routed {
    Routed { wire, operation: None, answer: Err(refusal) }
}

/// SDKs try again after it, later each time.
fn full(why: Full) -> ApiError {
    ApiError::new(ErrorCode::Throttling, format!("{why} Try again."))
}

fn no_room(why: NoRoom) -> ApiError {
    ApiError::new(ErrorCode::Throttling, format!("{why} Try again."))
}

/// How many bytes a body may come to.
fn announced(body: &Incoming) -> usize {
    let upper = hyper::body::Body::size_hint(body).upper();
    upper.map_or(BODY_BYTES_MAX, |bytes| bytes.min(BODY_BYTES_MAX as u64) as usize)
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
