//! A unix socket in front of an engine's: what reaches Docker goes through it and is counted, and
//! some of it goes wrong when asked to.
//!
//! Never: a call that is altered on its way to the engine. A fault keeps a call from it, or spoils
//! the answer; a test may have answers changed to what another engine would say.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

mod fault;

pub use self::fault::{CALL_KINDS, CallKind, Fault};

/// Maximum of calls that are kept; a test that makes more is not about counting.
const CALLS_MAX: usize = 1_000_000;
/// What comes instead of an answer.
const JUNK: &[u8] = br#"{"Id": [7, {"State" "running"#;
/// What half of is sent where the engine answers with nothing.
const FILLER: &[u8] = br#"{"message": "half of this is lost"}"#;
/// What a registry's latest image comes to when the host has it.
const UP_TO_DATE: &str = "{\"status\":\"Status: Image is up to date\"}\n";

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// Sees the name and the body of each create before the engine does, and may change the body.
pub type ChangeCreates = Arc<dyn Fn(&str, &mut Value) + Send + Sync>;

/// Changes what the engine answers to a call.
pub type ChangeAnswers = Arc<dyn Fn(&Call, &mut Value) + Send + Sync>;

pub struct RecordingProxy {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    engine: PathBuf,
    noted: Mutex<Noted>,
    /// How many faults have been done, and how often the streams were cut.
    done: watch::Sender<usize>,
    cuts: watch::Sender<usize>,
}

#[derive(Default)]
struct Noted {
    calls: Vec<Call>,
    armed: Vec<(CallKind, VecDeque<Fault>)>,
    answers_pulls: bool,
    change_creates: Option<ChangeCreates>,
    change_answers: Option<ChangeAnswers>,
}

/// One request that reached the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// With its query.
    pub path: String,
}

impl Call {
    /// Whether it can change what the engine has or runs. Waiting is a POST that only asks.
    pub fn changes_state(&self) -> bool {
        let asks = self.method == Method::GET || self.method == Method::HEAD;
        !asks && !self.path.split('?').next().is_some_and(|path| path.ends_with("/wait"))
    }

    pub fn kind(&self) -> Option<CallKind> {
        CallKind::of(&self.method, &self.path)
    }
}

impl RecordingProxy {
    /// Listens at `socket` and passes everything on to `engine`.
    pub fn start(socket: PathBuf, engine: PathBuf) -> Result<RecordingProxy> {
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("no socket at {}", socket.display()))?;
        let shared = Arc::new(Shared {
            engine,
            noted: Mutex::default(),
            done: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(RecordingProxy { socket, shared, accepting })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.noted(|noted| noted.calls.clone())
    }

    pub fn changes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::changes_state).collect()
    }

    /// Forgets what it has counted.
    pub fn clear(&self) {
        self.shared.noted(|noted| noted.calls.clear());
    }

    /// The next `times` calls of this kind meet this fault; what is armed later comes after it.
    pub fn arm(&self, kind: CallKind, fault: Fault, times: usize) {
        let faults = std::iter::repeat_n(fault, times).collect();
        self.shared.noted(|noted| noted.armed.push((kind, faults)));
    }

    /// Faults end: what is armed and was not met will not be.
    pub fn disarm(&self) {
        self.shared.noted(|noted| noted.armed.clear());
    }

    /// Answers pulls itself, as if the registry's image were what the engine has.
    pub fn answer_pulls(&self) {
        self.shared.noted(|noted| noted.answers_pulls = true);
    }

    /// Has each create looked at, and maybe changed, on its way to the engine.
    pub fn change_creates(&self, change: ChangeCreates) {
        self.shared.noted(|noted| noted.change_creates = Some(change));
    }

    pub fn change_no_creates(&self) {
        self.shared.noted(|noted| noted.change_creates = None);
    }

    /// Has each answer in JSON that is no stream changed on its way from the engine.
    pub fn change_answers(&self, change: ChangeAnswers) {
        self.shared.noted(|noted| noted.change_answers = Some(change));
    }

    /// Calls that met a fault so far.
    pub fn faults_done(&self) -> watch::Receiver<usize> {
        self.shared.done.subscribe()
    }

    /// Ends every answer that is still being sent, such as an event stream.
    pub fn cut_streams(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = fs_err::remove_file(&self.socket);
    }
}

impl Shared {
    fn noted<T>(&self, use_it: impl FnOnce(&mut Noted) -> T) -> T {
        // A panic under this lock leaves whole calls.
        use_it(&mut self.noted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Takes the call down; the fault that it meets.
    fn record(&self, call: Call) -> Option<Fault> {
        let kind = call.kind();
        let fault = self.noted(|noted| {
            if noted.calls.len() < CALLS_MAX {
                noted.calls.push(call);
            }
            let mut armed = noted.armed.iter_mut().filter(|(of, _)| Some(*of) == kind);
            armed.find_map(|(_, faults)| faults.pop_front())
        });
        if fault.is_some() {
            self.done.send_modify(|done| *done += 1);
        }
        fault
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let call = Call { method: request.method().clone(), path };
        let what = format!("{} {}", call.method, call.path);
        let request = self.seen_create(&call, request).await?;
        let own_answer =
            call.kind() == Some(CallKind::Pull) && self.noted(|noted| noted.answers_pulls);
        let done = async {
            match own_answer {
                true => Ok(Response::new(whole(UP_TO_DATE))),
                false => self.changed(&call, self.pass_on(request).await?).await,
            }
        };
        match self.record(call.clone()) {
            None => done.await,
            Some(Fault::Status(status)) => status_only(status, &what),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Reset) => bail!("reset, as asked"),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                done.await
            }
            Some(Fault::ReplyLost) => {
                // The head is enough: the engine has done it, or begun to tell.
                done.await?;
                bail!("the reply is lost, as asked")
            }
            Some(Fault::HalfBody) => half_of(done.await?),
            Some(Fault::Junk) => junk_for(done.await?),
        }
    }

    /// The same answer, unless a test wants another.
    async fn changed(&self, call: &Call, answer: Response<Body>) -> Result<Response<Body>> {
        let change = self.noted(|noted| noted.change_answers.clone());
        let is_stream = matches!(call.kind(), Some(CallKind::Events | CallKind::Pull));
        let kind = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let Some(change) = change.filter(|_| !is_stream && kind == Some(b"application/json"))
        else {
            return Ok(answer);
        };
        let (mut head, body) = answer.into_parts();
        let mut body = body.collect().await?.to_bytes();
        if let Ok(mut parsed) = serde_json::from_slice(&body) {
            change(call, &mut parsed);
            body = parsed.to_string().into();
        }
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(Response::from_parts(head, whole(body)))
    }

    /// The same request, unless a test wants another.
    async fn seen_create(&self, call: &Call, request: Request<Incoming>) -> Result<Request<Body>> {
        let change = self.noted(|noted| noted.change_creates.clone());
        let Some(change) = change.filter(|_| call.kind() == Some(CallKind::Create)) else {
            return Ok(request.map(|body| body.map_err(anyhow::Error::from).boxed_unsync()));
        };
        let (mut head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let name = call.path.split_once("name=").map_or("", |(_, name)| name);
        let name = name.split('&').next().unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(&body)?;
        let mut passed_on = asked.clone();
        let passed_on = tokio::task::spawn_blocking(move || {
            change(&name, &mut passed_on);
            passed_on
        })
        .await?;
        let body = if passed_on == asked { body } else { passed_on.to_string().into() };
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(Request::from_parts(head, whole(body)))
    }

    /// A connection of its own for each request: a long poll of one must not delay another.
    async fn pass_on(&self, request: Request<Body>) -> Result<Response<Body>> {
        let stream = UnixStream::connect(&self.engine).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let mut cuts = self.cuts.subscribe();
        let cut = async move { cuts.changed().await };
        Ok(answer.map(|body| {
            let frames = BodyStream::new(body).map(|frame| frame.map_err(anyhow::Error::from));
            StreamBody::new(frames.take_until(Box::pin(cut))).boxed_unsync()
        }))
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    // What is under way ends with the proxy.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let shared = shared.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let shared = shared.clone();
                    async move { shared.answer(request).await }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(serve);
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn status_only(status: u16, what: &str) -> Result<Response<Body>> {
    let status = StatusCode::from_u16(status)?;
    let body = match status {
        StatusCode::NOT_MODIFIED => whole(""),
        _ => whole(
            serde_json::json!({ "message": format!("injected {status}: {what}") }).to_string(),
        ),
    };
    Ok(Response::builder().status(status).body(body)?)
}

/// The head and half of the first that follows, then the end of the connection.
fn half_of(answer: Response<Body>) -> Result<Response<Body>> {
    let (mut head, mut body) = answer.into_parts();
    if head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED {
        head.status = StatusCode::OK;
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(FILLER.len()));
    }
    // An event stream has nothing to halve before something happens: its head comes at once.
    let halves = futures_util::stream::once(async move {
        let first = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) | None => Bytes::new(),
        };
        let all = if first.is_empty() { Bytes::from_static(FILLER) } else { first };
        Ok(Frame::data(all.slice(..all.len() / 2)))
    });
    let lost = futures_util::stream::once(async { Err(anyhow::anyhow!("half is lost, as asked")) });
    Ok(Response::from_parts(head, StreamBody::new(halves.chain(lost)).boxed_unsync()))
}

fn junk_for(answer: Response<Body>) -> Result<Response<Body>> {
    let status = match answer.status() {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => StatusCode::OK,
        status => status,
    };
    Ok(Response::builder().status(status).body(whole(JUNK))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str) -> Call {
        Call { method, path: path.to_owned() }
    }

    #[test]
    fn asking_is_not_changing() {
        assert!(!call(Method::GET, "/v1.41/containers/json?all=1").changes_state());
        assert!(!call(Method::POST, "/containers/a/wait?condition=removed").changes_state());
        assert!(call(Method::POST, "/containers/a/start").changes_state());
        assert!(call(Method::POST, "/images/create?fromImage=a").changes_state());
        assert!(call(Method::DELETE, "/containers/a").changes_state());
    }
}
