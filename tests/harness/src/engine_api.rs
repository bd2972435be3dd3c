//! The Docker Engine's HTTP API over its unix socket: for what the harness asks of an engine
//! itself, apart from the agent and its client library.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixStream, time::timeout};

/// Timeout of an answer: an engine that is this slow is broken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub struct EngineApi {
    socket: PathBuf,
}

/// What an engine said, with a status of 2xx or 304.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

/// One container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    pub state: String,
    pub names: Vec<String>,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

impl EngineApi {
    pub fn at(socket: &Path) -> EngineApi {
        EngineApi { socket: socket.to_owned() }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for the engine to answer, for as long as `patience`.
    pub async fn ping(&self, patience: Duration) -> Result<()> {
        timeout(patience, self.get("/_ping")).await.context("the engine does not answer")??;
        Ok(())
    }

    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.call(Method::GET, path, "application/json", Bytes::new()).await
    }

    pub async fn get_json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.get(path).await?.body)?)
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Reply> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.call(Method::POST, path, "application/json", body).await
    }

    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.call(Method::DELETE, path, "application/json", Bytes::new()).await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Reply> {
        let what = format!("{method} {path}");
        let answer = timeout(ANSWER_PATIENCE, self.exchange(method, path, content_type, body));
        let reply = answer.await.with_context(|| format!("no answer to {what}"))??;
        if !reply.status.is_success() && reply.status != StatusCode::NOT_MODIFIED {
            bail!("{what}: {}: {}", reply.status, String::from_utf8_lossy(&reply.body).trim());
        }
        Ok(reply)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Reply> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("no engine at {}", self.socket.display()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .header("content-type", content_type)
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok(Reply { status, body })
    }

    /// Containers that run, and those that do not when `all`.
    pub async fn containers(&self, all: bool) -> Result<Vec<Listed>> {
        let reply = self.get(&format!("/containers/json?all={}", u8::from(all))).await?;
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Creates and starts a container; its id.
    pub async fn run(&self, name: &str, config: Value) -> Result<String> {
        let created = self.post(&format!("/containers/create?name={name}"), config).await?;
        let created: Value = serde_json::from_slice(&created.body)?;
        let id = created["Id"].as_str().context("no Id in the answer to create")?.to_owned();
        self.post(&format!("/containers/{id}/start"), Value::Null).await?;
        Ok(id)
    }

    pub async fn remove(&self, container: &str) -> Result<()> {
        self.delete(&format!("/containers/{container}?force=1&v=1")).await.map(drop)
    }

    /// Waits until the container has stopped; its exit code.
    pub async fn wait(&self, container: &str) -> Result<i64> {
        let reply = self.post(&format!("/containers/{container}/wait"), Value::Null).await?;
        let reply: Value = serde_json::from_slice(&reply.body)?;
        reply["StatusCode"].as_i64().context("no StatusCode in the answer to wait")
    }

    pub async fn has_image(&self, image: &str) -> Result<bool> {
        let filters = json!({ "reference": [image] }).to_string();
        let images =
            self.get_json(&format!("/images/json?filters={}", percent_encoded(&filters))).await?;
        Ok(images.as_array().is_some_and(|images| !images.is_empty()))
    }
}

/// For values in a query: all but letters, digits and `-._~` is escaped.
pub fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
