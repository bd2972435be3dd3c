//! The listener of the API: limits first, then the router.
//!
//! Everything a stranger can make us hold is bounded here, by a named limit: connections, bytes,
//! time. A connection carries one request until somebody has signed one on it. HTTP/1.1 only; no AWS
//! client needs more. Never looks into a body.

mod reply;
mod service;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use longshore_common::listen;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{reply::RequestIds, service::Service};
use crate::{
    api::{Edge, health::CONNECTIONS_REFUSED},
    door::{
        self, Door, Room, Rooms, Visit,
        bodies::{Bodies, BodyPace, BodyRoom},
        head::{HEAD_STAGE_BYTES, NoHead},
        stream::{Paced, WritePace},
    },
};

/// Maximum bytes of a request's head (promises.md 4).
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Maximum headers in a request's head; AWS's SDKs send about fifteen.
const HEADERS_MAX: usize = 64;
/// Timeout of a head, and of an idle connection (promises.md 4).
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Timeout of a body: 1 MiB at 35 KiB/s.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// What a connection is counted as once it has a head: hyper's buffers of 8 KiB each way, the request's
/// headers and its task.
const REQUEST_STAGE_BYTES: usize = 24 * 1024;
/// What unknown callers may hold: heads that are unfinished and bodies that nobody has proved to have
/// signed yet. One address has room for 1,000 unfinished heads, or for two bodies of 1 MiB.
const STRANGERS: Room = Room {
    bytes_max: 8 * 1024 * 1024,
    reserve_bytes: 2 * 1024 * 1024,
    party_bytes_max: 5 * 512 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// What callers with a valid signature may hold besides bodies that have room of their own below: 2,700
/// connections, of which one address has 2,000.
const KNOWN: Room = Room {
    bytes_max: 64 * 1024 * 1024,
    reserve_bytes: 0,
    party_bytes_max: 48 * 1024 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// Of one party: a connection with a request whose body is small.
const FAIR_BYTES: usize = 64 * 1024;
/// Bodies up to here are worked on at once: hashing and parsing them takes less than a
/// millisecond. So much of a larger one has to be here before it is given room.
const SMALL_BODY_BYTES_MAX: usize = 16 * 1024;
/// Larger bodies of unknown callers that are in memory at once: as many as the account of [`STRANGERS`]
/// may hold, the part included that it keeps for proved addresses. So one that the door lets in waits
/// for nothing but the memory of those that gave way.
const STRANGERS_BODIES: BodyRoom =
    BodyRoom { bytes_max: STRANGERS.bytes_max, wait_max: BODY_DEADLINE, pace: None };
/// The same of known callers: one large body is worked on at a time, the others only wait in memory.
const KNOWN_BODIES: BodyRoom =
    BodyRoom { bytes_max: 5 * 1024 * 1024, wait_max: BODY_DEADLINE, pace: Some(BODY_PACE) };
/// Bodies up to here have room of their own, so that they never wait for larger ones: most requests that
/// are not small are task definitions, which ECS bounds at 64 KiB.
const MIDDLING_BODY_BYTES_MAX: usize = 64 * 1024;
const MIDDLING_BODIES: BodyRoom = BodyRoom { bytes_max: 1024 * 1024, ..KNOWN_BODIES };
/// Of a known caller's body while others wait for its memory: 1 MBit/s.
const BODY_PACE: BodyPace =
    BodyPace { grace: Duration::from_secs(1), bytes_per_second: 128 * 1024 };
/// Bytes that the kernel keeps for a connection, each way (it doubles them): enough for 1 MB/s over
/// 100 ms, and 4,000 connections cannot have gigabytes of it.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// How long requests under way may take once the coordinator stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The wait after a failed accept: most likely there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often what the metrics recorded is folded, so that it cannot grow when nobody reads it.
const METRICS_FOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Where large requests are worked on: hashing and parsing a body of 1 MiB must hold up neither small
/// requests nor the polls of agents.
#[derive(Clone, Debug)]
pub struct Workshop(pub tokio::runtime::Handle);

/// Serves until `shutdown`, then lets the requests under way end.
pub async fn serve(
    edge: Arc<Edge>,
    listener: TcpListener,
    workshop: Workshop,
    shutdown: CancellationToken,
) {
    serve_within(edge, listener, workshop, shutdown, Limits::default()).await;
}

/// What a test makes smaller.
#[derive(Clone, Copy)]
struct Limits {
    head_deadline: Duration,
    body_deadline: Duration,
    pace: WritePace,
    rooms: Rooms,
    strangers_bodies: BodyRoom,
    middling_bodies: BodyRoom,
    known_bodies: BodyRoom,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_deadline: HEAD_DEADLINE,
            body_deadline: BODY_DEADLINE,
            pace: WritePace::default(),
            rooms: Rooms { strangers: STRANGERS, known: KNOWN },
            strangers_bodies: STRANGERS_BODIES,
            middling_bodies: MIDDLING_BODIES,
            known_bodies: KNOWN_BODIES,
        }
    }
}

/// What all connections share.
struct Shared {
    edge: Arc<Edge>,
    requests: RequestIds,
    workshop: Workshop,
    limits: Limits,
    strangers_bodies: Arc<Bodies>,
    middling_bodies: Arc<Bodies>,
    known_bodies: Arc<Bodies>,
    shutdown: CancellationToken,
}

async fn serve_within(
    edge: Arc<Edge>,
    listener: TcpListener,
    workshop: Workshop,
    shutdown: CancellationToken,
    limits: Limits,
) {
    let door = Door::new(limits.rooms);
    let requests = RequestIds::new();
    let shared = Arc::new(Shared {
        edge,
        requests,
        workshop,
        strangers_bodies: Bodies::new(limits.strangers_bodies),
        middling_bodies: Bodies::new(limits.middling_bodies),
        known_bodies: Bodies::new(limits.known_bodies),
        limits,
        shutdown,
    });
    let mut connections = JoinSet::new();
    let mut fold = tokio::time::interval(METRICS_FOLD_INTERVAL);
    loop {
        let (stream, peer) = tokio::select! {
            () = shared.shutdown.cancelled() => break,
            _ = fold.tick() => {
                shared.edge.metrics.fold();
                continue;
            }
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, listen::peer(peer)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
        };
        match door.enter(peer.ip(), HEAD_STAGE_BYTES) {
            Ok(visit) => {
                connections.spawn(shared.clone().connection(stream, peer, Arc::new(visit)));
            }
            Err(_full) => {
                metrics::counter!(CONNECTIONS_REFUSED).increment(1);
                tracing::debug!(%peer, "a connection over the limit is closed");
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, ended).await;
    // Whoever is still connected had its time.
    connections.shutdown().await;
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        visit: Arc<Visit>,
    ) {
        // Answers are small and clients wait for them.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SOCKET_BUFFER_BYTES);
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&stream, SOCKET_BUFFER_BYTES);
        let reading = door::head::read(&mut stream, &visit, HEAD_BYTES_MAX);
        let head = tokio::select! {
            () = self.shutdown.cancelled() => return,
            () = visit.told_to_leave() => return self.gave_way(peer),
            head = tokio::time::timeout(self.limits.head_deadline, reading) => head,
        };
        let head = match head {
            Ok(Ok(head)) => head.freeze(),
            Ok(Err(NoHead::GaveWay(_full))) => return self.gave_way(peer),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%peer, error, "a connection ended early");
                return;
            }
            Err(_) => {
                tracing::debug!(%peer, "a head did not arrive in time");
                return;
            }
        };
        match visit.hold(REQUEST_STAGE_BYTES) {
            // Apart, so that a connection without a head is small.
            Ok(()) => Box::pin(self.requests(stream, head, peer, visit)).await,
            Err(_full) => self.gave_way(peer),
        }
    }

    async fn requests(
        self: Arc<Self>,
        stream: TcpStream,
        head: Bytes,
        peer: SocketAddr,
        visit: Arc<Visit>,
    ) {
        let service = Arc::new(Service { shared: self.clone(), peer, visit: visit.clone() });
        let answering = service_fn(move |request: Request<Incoming>| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let stream = Paced::new(stream, head, self.limits.pace);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_deadline)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), answering);
        let mut serving = pin!(serving);
        let mut stopping = false;
        loop {
            tokio::select! {
                () = visit.told_to_leave() => return self.gave_way(peer),
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
                served = &mut serving => {
                    if let Err(error) = served {
                        let error = &error as &dyn std::error::Error;
                        tracing::debug!(%peer, error, "a connection ended early");
                    }
                    return;
                }
            }
        }
    }

    fn gave_way(&self, peer: SocketAddr) {
        metrics::counter!(CONNECTIONS_REFUSED).increment(1);
        tracing::debug!(%peer, "a connection gave way to others");
    }
}
