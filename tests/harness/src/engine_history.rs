//! Everything that an engine says happened to containers, counted by whose they are: the judge of
//! who started what how often, apart from the agent's own view.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, sync::watch, task::JoinHandle};

/// Names the host, and so the agent, that a container belongs to.
const HOST_LABEL: &str = "longshore.host";

pub struct EngineHistory {
    counts: Arc<Mutex<BTreeMap<(String, String), usize>>>,
    grown: watch::Receiver<u64>,
    reading: JoinHandle<Result<()>>,
}

impl EngineHistory {
    /// Follows the engine from now on.
    pub async fn follow(socket: &Path) -> Result<EngineHistory> {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request =
            Request::get("/events").header("host", "docker").body(Empty::<Bytes>::new())?;
        let mut body = sender.send_request(request).await?.into_body();
        let counts = Arc::new(Mutex::new(BTreeMap::new()));
        let (tell, grown) = watch::channel(0);
        let reading = tokio::spawn({
            let counts = counts.clone();
            async move {
                let (_sender, _connection) = (sender, connection);
                let mut unread = Vec::new();
                while let Some(frame) = body.frame().await {
                    unread.extend_from_slice(&frame?.into_data().unwrap_or_default());
                    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = unread.drain(..=end).collect();
                        count(&mut locked(&counts), &serde_json::from_slice(&line)?);
                    }
                    tell.send_modify(|grown| *grown += 1);
                }
                Ok(())
            }
        });
        Ok(EngineHistory { counts, grown, reading })
    }

    /// How often this happened to a container of this host's: `create`, `start`, `die`, `destroy`.
    pub fn count(&self, host: &str, action: &str) -> usize {
        let key = (host.to_owned(), action.to_owned());
        locked(&self.counts).get(&key).copied().unwrap_or_default()
    }

    /// Waits until something was said that makes this true.
    pub async fn until(&self, mut is_so: impl FnMut(&Self) -> bool) -> Result<()> {
        let mut grown = self.grown.clone();
        grown.wait_for(|_| is_so(self)).await.context("the engine's event stream ended")?;
        Ok(())
    }
}

impl Drop for EngineHistory {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn locked<T>(counts: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic under this lock leaves whole counts.
    counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn count(counts: &mut BTreeMap<(String, String), usize>, event: &Value) {
    let host = event["Actor"]["Attributes"][HOST_LABEL].as_str();
    if let (Some("container"), Some(host), Some(action)) =
        (event["Type"].as_str(), host, event["Action"].as_str())
    {
        *counts.entry((host.to_owned(), action.to_owned())).or_default() += 1;
    }
}
