//! The listener of the API: limits first, then the router.
//!
//! Everything a stranger can make us hold is bounded here, by a named limit: connections, bytes,
//! time. A connection carries one request until somebody has signed one on it. HTTP/1.1 only; no AWS
//! client needs more. Never looks into a body.

mod limits;
mod reply;
mod service;
mod shared;
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

pub use self::shared::Workshop;
use self::{limits::Limits, reply::RequestIds, service::Service, shared::Shared};
use crate::{
    door::{
        self, Door, Visit,
        bodies::Bodies,
        head::{HEAD_STAGE_BYTES, NoHead},
        stream::Paced,
    },
    edge::{Edge, health::CONNECTIONS_REFUSED},
};

/// Maximum size of a request's head in bytes (promises.md 4).
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of headers in a request's head (ours); AWS's SDKs send about fifteen.
const HEADERS_MAX: usize = 64;
/// Bytes that a connection is counted as once it has a head (ours): hyper's buffers of 8 KiB each
/// way, the request's headers and its task.
const REQUEST_STAGE_BYTES: usize = 24 * 1024;
/// Bytes that the kernel keeps for a connection, each way (ours; the kernel doubles them): enough
/// for 1 MB/s over 100 ms, and 4,000 connections cannot have gigabytes of it.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// Timeout of requests under way once the coordinator stops (ours).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Interval until the next accept after a failed one (ours): most likely there are no file
/// descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Interval of folding what the metrics recorded (ours), so that it cannot grow when nobody reads
/// it.
const METRICS_FOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then lets the requests under way end.
pub async fn serve(
    edge: Arc<Edge>,
    listener: TcpListener,
    workshop: Workshop,
    shutdown: CancellationToken,
) {
    serve_within(edge, listener, workshop, shutdown, Limits::default()).await;
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
