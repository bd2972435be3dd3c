//! A unix socket in front of an engine's: what reaches Docker goes through it and is counted.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use http::{Method, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// Calls that are kept; a test that makes more is not about counting.
const CALLS_MAX: usize = 1_000_000;

pub struct RecordingProxy {
    socket: PathBuf,
    calls: Arc<Mutex<Vec<Call>>>,
    accepting: JoinHandle<()>,
}

/// One request that reached the engine.
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
}

impl RecordingProxy {
    /// Listens at `socket` and passes everything on to `engine`.
    pub fn start(socket: PathBuf, engine: PathBuf) -> Result<RecordingProxy> {
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("no socket at {}", socket.display()))?;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, engine, calls.clone()));
        Ok(RecordingProxy { socket, calls, accepting })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn calls(&self) -> Vec<Call> {
        locked(&self.calls, |calls| calls.clone())
    }

    pub fn changes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::changes_state).collect()
    }

    /// Forgets what it has counted.
    pub fn clear(&self) {
        locked(&self.calls, Vec::clear);
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = fs_err::remove_file(&self.socket);
    }
}

fn locked<T>(calls: &Mutex<Vec<Call>>, use_them: impl FnOnce(&mut Vec<Call>) -> T) -> T {
    // A panic under this lock leaves whole calls.
    use_them(&mut calls.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

async fn accept(listener: UnixListener, engine: PathBuf, calls: Arc<Mutex<Vec<Call>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (engine, calls) = (engine.clone(), calls.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            record(&calls, &request);
            pass_on(engine.clone(), request)
        });
        let serve = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(serve);
    }
}

fn record(calls: &Mutex<Vec<Call>>, request: &Request<Incoming>) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let call = Call { method: request.method().clone(), path };
    locked(calls, |calls| {
        if calls.len() < CALLS_MAX {
            calls.push(call);
        }
    });
}

/// A connection of its own for each request: a long poll of one must not delay another.
async fn pass_on(engine: PathBuf, request: Request<Incoming>) -> Result<Response<Incoming>> {
    let stream = UnixStream::connect(&engine).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
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
