//! Plain HTTP for this host only: what introspection and the task endpoints are both served by.
//!
//! Owns the limits that keep a bad client from costing much, or from keeping others out: who is idle or
//! slow gives way to a newcomer ([`ConnectionPermits`]). Never: TLS, an answer of its own.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub(crate) use crate::connection_permits::ConnectionLimits;
use crate::connection_permits::{ConnectionPermit, ConnectionPermits};

#[cfg(test)]
mod tests;

/// Timeout of a request's head, and of the pause between two requests of one connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum of bytes of a request's head: the least that hyper takes.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Maximum of headers of a request.
pub(crate) const HEADERS_MAX: usize = 32;
/// Maximum age of a connection: bounds a reader that does not read.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// Timeout of the request that is being answered when its connection has reached that age.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no descriptors left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Answers the requests of one connection.
pub(crate) trait Answers: Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves until `shutdown`. `name` is for the log; `connected` makes what answers a connection.
pub(crate) async fn serve<A: Answers>(
    listener: TcpListener,
    name: &'static str,
    limits: ConnectionLimits,
    connected: impl Fn(Ends) -> A + Send,
    shutdown: CancellationToken,
) {
    let permits = ConnectionPermits::new(limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to {name}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Already closed when it has none.
        let Ok(local) = tcp.local_addr() else { continue };
        let (permit, answers) = (permits.admit(peer.ip()), connected(Ends { peer, local }));
        connections.spawn(async move {
            let permit = Arc::new(permit);
            if permit.hold(connection(tcp, permit.clone(), answers)).await.is_none() {
                tracing::debug!(peer.address = %peer, "a connection to {name} gave way to others");
            }
        });
    }
    connections.shutdown().await;
}

async fn connection(tcp: TcpStream, permit: Arc<ConnectionPermit>, answers: impl Answers) {
    let answers = Arc::new(answers);
    let service = service_fn(move |request| {
        let (answers, permit) = (answers.clone(), permit.clone());
        async move {
            let _answering = permit.answers();
            Ok::<_, Infallible>(answers.answer(request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(tcp), service);
    tokio::pin!(connection);
    // What ends a connection early is the peer's affair.
    if tokio::time::timeout(CONNECTION_TIME_MAX, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(LAST_ANSWER_WITHIN, connection).await;
    }
}

pub(crate) fn json(code: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("plain values only");
    response(code, "application/json", body.into())
}

pub(crate) fn text(code: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(code, "text/plain; charset=utf-8", body.into())
}

/// There is such a path, for the methods in `allowed`.
pub(crate) fn other_method(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    refused
}

fn response(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
