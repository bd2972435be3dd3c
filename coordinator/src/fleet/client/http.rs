//! Polls over HTTP/2: one connection per host, made when first needed and kept, two polls on it at
//! once.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use longshore_common::{
    id::HostId,
    index::FastMap,
    limits::POLL_BODY_BYTES_MAX,
    logs::query::{LOG_ANSWER_BYTES_MAX, LOGS_PATH, LogReply, LogRequest},
    node::Node,
    protocol::{POLL_PATH, PollAnswer, PollRequest},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use super::{
    ANSWER_GRACE, AgentClient, LogClient, Peer, PollError,
    connect::{Connect, speaks_of_tls},
};

/// Interval without a word after which a connection is asked whether it still stands (ours).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of the answer to that question (ours).
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time by which a connection is replaced before a certificate that opened it ends (ours),
/// at most a tenth of its usable time: so the agent never has to end the connection first.
const REPLACE_BEFORE_END: Duration = Duration::from_secs(300);
/// Maximum life of a connection, however long the certificates may last (ours).
const CONNECTION_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Timeout of a poll's waiting for the reason of an end that it has noticed, or to be told of the
/// end (ours).
const END_GRACE: Duration = Duration::from_millis(100);
/// Maximum number of bytes that an agent may send ahead of our reading, per stream and per
/// connection (ours; HTTP/2 flow control).
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Maximum number of bytes of its request that one poll keeps in the connection while the agent
/// does not read (ours).
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of questions about logs to one host at once (ours): polls on the same connection
/// always find room.
const LOG_QUESTIONS_MAX: usize = 3;
/// Timeout from a question about logs to its answer, its turn included (ours).
const LOG_ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Maximum size of an answer's headers in bytes (ours).
const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;

/// The client over connections of `C`.
pub struct HttpClient<C> {
    connect: Arc<C>,
    /// The runtime on which connections live, whoever asks for them: polls share them with
    /// questions about logs.
    runtime: tokio::runtime::Handle,
    lanes: Mutex<FastMap<HostId, Arc<Lane>>>,
}

/// What is kept open to one host. Its lock is held while a connection is made, so that two polls
/// do not make two, and never while one waits for an answer.
struct Lane {
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    log_questions: Semaphore,
}

impl Default for Lane {
    fn default() -> Self {
        Lane { open: Arc::default(), log_questions: Semaphore::new(LOG_QUESTIONS_MAX) }
    }
}

#[derive(Clone)]
struct Open {
    peer: Peer,
    sender: http2::SendRequest<Full<Bytes>>,
    usable_until: Instant,
    opened_at: Instant,
    /// Why the connection ended, once it has.
    end: watch::Receiver<Option<End>>,
}

/// The end of a connection; absent: in peace.
type End = Option<Arc<hyper::Error>>;

/// A poll without an answer. It may be put on another connection if it was never on this one.
struct Failed {
    unsent: Option<Request<Full<Bytes>>>,
    error: PollError,
}

impl<C: Connect> HttpClient<C> {
    /// Makes a client within the runtime that polls.
    pub fn new(connect: C) -> Self {
        let runtime = tokio::runtime::Handle::current();
        HttpClient { connect: Arc::new(connect), runtime, lanes: Mutex::default() }
    }

    async fn exchange(
        &self,
        peer: &Peer,
        body: Bytes,
        under_way: &mut UnderWay,
    ) -> Result<Bytes, PollError> {
        let mut open = self.opened(peer, &under_way.lane).await?;
        under_way.on = Some(open.opened_at);
        let answer = match open.send(request(peer, POLL_PATH, body)).await {
            Ok(answer) => answer,
            Err(Failed { unsent: Some(unsent), .. }) => {
                under_way.lane.discard(open.opened_at);
                let mut open = self.opened(peer, &under_way.lane).await?;
                under_way.on = Some(open.opened_at);
                open.send(unsent).await.map_err(|failed| failed.error)?
            }
            Err(Failed { unsent: None, error }) => return Err(error),
        };
        read(answer, POLL_BODY_BYTES_MAX).await
    }

    /// Asks on the connection that stands for polls. That connection is not given up when an answer
    /// does not come: a poll finds out better what that means.
    async fn ask(&self, peer: &Peer, body: Bytes) -> Result<Bytes, PollError> {
        let lane = self.lane(peer.host);
        let _turn = lane.log_questions.acquire().await.expect("it is never closed");
        let mut open = self.opened(peer, &lane).await?;
        let answer = match open.send(request(peer, LOGS_PATH, body)).await {
            Ok(answer) => answer,
            Err(Failed { unsent: Some(unsent), .. }) => {
                lane.discard(open.opened_at);
                let mut open = self.opened(peer, &lane).await?;
                open.send(unsent).await.map_err(|failed| failed.error)?
            }
            Err(Failed { unsent: None, error }) => return Err(error),
        };
        read(answer, LOG_ANSWER_BYTES_MAX).await
    }

    /// The standing connection, or a new one where there is none fit for this peer.
    async fn opened(&self, peer: &Peer, lane: &Lane) -> Result<Open, PollError> {
        let mut slot = lane.open.clone().lock_owned().await;
        let now = Instant::now();
        let fit = |open: &&Open| {
            open.peer == *peer && !open.sender.is_closed() && now < open.usable_until
        };
        if let Some(open) = slot.as_ref().filter(fit) {
            return Ok(open.clone());
        }
        // Polls on the old connection, if any, continue until they have their answers.
        *slot = None;
        // The opening continues when this poll is given up: who waits less than a handshake takes
        // would else begin one after the other and never see the end of any.
        let (connect, peer) = (self.connect.clone(), peer.clone());
        let opening = self.runtime.spawn(async move {
            let open = Open::to(&*connect, peer).await?;
            *slot = Some(open.clone());
            Ok(open)
        });
        match opening.await {
            Ok(opened) => opened,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(PollError::Lost(error.into())),
        }
    }

    fn lane(&self, host: HostId) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(host).or_default().clone()
    }
}

impl Lane {
    /// Gives up the connection that was opened then, unless another stands in its place.
    fn discard(&self, opened_at: Instant) {
        // Whoever holds the lock is making a connection: nothing to discard.
        if let Ok(mut slot) = self.open.try_lock()
            && slot.as_ref().is_some_and(|open| open.opened_at == opened_at)
        {
            *slot = None;
        }
    }
}

/// A poll from its beginning until it has an answer or failed.
struct UnderWay {
    lane: Arc<Lane>,
    began: Instant,
    /// When the connection was opened that the poll is on.
    on: Option<Instant>,
    ended: bool,
}

impl Drop for UnderWay {
    /// Discards the connection of a poll that was given up without its end: whether the agent or
    /// the path is stuck, a new connection finds out, and sooner than the old one would. A
    /// connection that is new itself is kept: it is slow rather than stuck.
    fn drop(&mut self) {
        let on = self.on.filter(|opened_at| *opened_at < self.began && !self.ended);
        if let Some(opened_at) = on {
            self.lane.discard(opened_at);
        }
    }
}

impl Open {
    async fn to<C: Connect>(connect: &C, peer: Peer) -> Result<Open, PollError> {
        let opened = connect.connect(&peer).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_concurrent_streams(0)
            .handshake(TokioIo::new(opened.stream))
            .await
            .map_err(lost)?;
        let (ended, end) = watch::channel(None);
        // It ends with its last sender, or with an error.
        tokio::spawn(async move {
            ended.send_replace(Some(connection.await.err().map(Arc::new)));
        });
        let opened_at = Instant::now();
        let usable_for = opened.usable_for.min(CONNECTION_LIFE_MAX);
        let early = REPLACE_BEFORE_END.min(usable_for / 10);
        let usable_until = opened_at + (usable_for - early);
        Ok(Open { peer, sender, usable_until, opened_at, end })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let answer = self.sender.try_send_request(request);
        tokio::pin!(answer);
        let answered = tokio::select! {
            answer = &mut answer => Ok(answer),
            // hyper loses a request that is queued in the very moment when its connection ends:
            // nobody would ever answer it.
            _ = ended(&mut self.end) => timeout(END_GRACE, answer).await,
        };
        let failed = match answered {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failed)) => Some(failed),
            Err(_) => None,
        };
        let Some(mut failed) = failed else {
            return Err(Failed { unsent: None, error: self.lost(None).await });
        };
        let unsent = failed.take_message();
        Err(Failed { unsent, error: self.lost(Some(failed.into_error())).await })
    }

    /// What the connection ended of says more than what its polls are told, but comes later.
    async fn lost(&mut self, of_the_poll: Option<hyper::Error>) -> PollError {
        let end = timeout(END_GRACE, ended(&mut self.end)).await.ok().flatten();
        match (end, of_the_poll) {
            (Some(end), _) => lost(end),
            (None, Some(error)) => lost(error),
            (None, None) => PollError::Lost("the agent closed the connection".into()),
        }
    }
}

async fn ended(end: &mut watch::Receiver<Option<End>>) -> End {
    match end.wait_for(Option::is_some).await {
        Ok(end) => end.clone().flatten(),
        Err(_) => None,
    }
}

impl<C: Connect> AgentClient for HttpClient<C> {
    async fn poll(&self, peer: &Peer, poll: PollRequest) -> Result<PollAnswer, PollError> {
        let allowed = Duration::from_millis(poll.hold_ms.into()) + ANSWER_GRACE;
        let body = rmp_serde::to_vec_named(&poll).expect("a poll holds plain values only");
        drop(poll);
        if body.len() > POLL_BODY_BYTES_MAX {
            return Err(PollError::RequestTooLarge(body.len()));
        }
        let (lane, began) = (self.lane(peer.host), Instant::now());
        let mut under_way = UnderWay { lane, began, on: None, ended: false };
        let exchange = Box::pin(self.exchange(peer, body.into(), &mut under_way));
        let ended = timeout(allowed, exchange).await.map_err(|_| PollError::Timeout(allowed))?;
        under_way.ended = true;
        rmp_serde::from_slice(&ended?).map_err(PollError::Undecodable)
    }

    fn forget(&self, host: HostId) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
    }
}

impl<C: Connect> LogClient for HttpClient<C> {
    async fn logs(&self, peer: &Peer, request: LogRequest) -> Result<LogReply, PollError> {
        let body = rmp_serde::to_vec_named(&request).expect("a question holds plain values only");
        let answered = timeout(LOG_ANSWER_TIMEOUT, Box::pin(self.ask(peer, body.into()))).await;
        let answer = answered.map_err(|_| PollError::Timeout(LOG_ANSWER_TIMEOUT))??;
        rmp_serde::from_slice(&answer).map_err(PollError::Undecodable)
    }
}

fn request(peer: &Peer, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let name = Node::agent(peer.fleet, peer.host).dns_name();
    Request::builder()
        .method(Method::POST)
        .uri(format!("https://{name}{path}"))
        .header(header::CONTENT_TYPE, "application/msgpack")
        .body(Full::new(body))
        .expect("ids make a valid authority")
}

async fn read(answer: Response<Incoming>, bytes_max: usize) -> Result<Bytes, PollError> {
    if answer.status() != StatusCode::OK {
        return Err(PollError::Status(answer.status()));
    }
    match Limited::new(answer.into_body(), bytes_max).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(PollError::TooLarge(bytes_max)),
        Err(error) => Err(PollError::Lost(error)),
    }
}

/// In TLS 1.3 a client learns only after its handshake that the server does not accept it.
fn lost(error: impl std::error::Error + Send + Sync + 'static) -> PollError {
    if speaks_of_tls(&error) {
        PollError::Identity(io::Error::other(error))
    } else {
        PollError::Lost(error.into())
    }
}
