//! A client of the ECS API that signs for itself: for loads that the AWS CLI and boto3 are too
//! slow to make. It shares no code with the coordinator, whose verification it exercises.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use longshore_common::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};

use crate::credentials::Credentials;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// How a service is signed for, and named before its operations.
#[derive(Clone, Copy, Debug)]
struct Service {
    name: &'static str,
    target: &'static str,
}

const ECS: Service = Service { name: "ecs", target: "AmazonEC2ContainerServiceV20141113" };
const LOGS: Service = Service { name: "logs", target: "Logs_20140328" };
const LONGSHORE: Service = Service { name: "ecs", target: "Longshore_2026" };
/// Timeout of an answer, after which the call counts as not answered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// Interval at which [`EcsClient::eventually`] asks.
const ASK_EVERY: Duration = Duration::from_millis(40);

/// One connection to a coordinator, opened again when it is lost. A clone has its own.
pub struct EcsClient {
    /// Host and port.
    address: String,
    region: String,
    credentials: Credentials,
    service: Service,
    clock: Arc<SystemClock>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The coordinator answered with an error: the call changed nothing.
    #[error("{code}: {message}")]
    Refused { status: u16, code: String, message: String },
    /// Sent or not, done or not: nobody knows.
    #[error("no answer")]
    NoAnswer(#[source] anyhow::Error),
}

impl CallError {
    pub fn code(&self) -> &str {
        match self {
            CallError::Refused { code, .. } => code,
            CallError::NoAnswer(_) => "",
        }
    }
}

impl Clone for EcsClient {
    fn clone(&self) -> Self {
        EcsClient {
            address: self.address.clone(),
            region: self.region.clone(),
            credentials: self.credentials.clone(),
            service: self.service,
            clock: self.clock.clone(),
            connection: Mutex::new(None),
        }
    }
}

impl EcsClient {
    pub fn new(address: &str, region: &str, credentials: Credentials) -> EcsClient {
        EcsClient {
            address: address.to_owned(),
            region: region.to_owned(),
            credentials,
            service: ECS,
            clock: Arc::new(SystemClock::start()),
            connection: Mutex::new(None),
        }
    }

    /// The same for CloudWatch Logs' operations.
    pub fn logs(&self) -> EcsClient {
        EcsClient { service: LOGS, ..self.clone() }
    }

    /// The same for Longshore's own operations.
    pub fn longshore(&self) -> EcsClient {
        EcsClient { service: LONGSHORE, ..self.clone() }
    }

    /// What `/metrics` says to whoever shows the token of the coordinator's data folder.
    pub async fn metrics(&self, data_folder: &Path) -> Result<String> {
        let token = fs_err::read_to_string(data_folder.join("metrics-token"))?;
        let mut stream = TcpStream::connect(&self.address).await?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: coordinator\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\n\r\n",
            token.trim()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        timeout(ANSWER_PATIENCE, stream.read_to_string(&mut text)).await??;
        Ok(text)
    }

    /// Calls an operation once; nothing is retried.
    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, CallError> {
        let body = Bytes::from(input.to_string());
        let answer = timeout(ANSWER_PATIENCE, self.exchange(operation, body)).await;
        let (status, body) = match answer {
            Ok(answer) => answer.map_err(CallError::NoAnswer)?,
            Err(_) => {
                *self.connection.lock().await = None;
                let late = anyhow!("{operation} was not answered in {ANSWER_PATIENCE:?}");
                return Err(CallError::NoAnswer(late));
            }
        };
        let value: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{operation} answered {}", String::from_utf8_lossy(&body)))
            .map_err(CallError::NoAnswer)?;
        if status == 200 {
            return Ok(value);
        }
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Err(CallError::Refused { status, code: text("__type"), message: text("message") })
    }

    /// Asks until `done` makes something of the answer.
    pub async fn eventually<T>(
        &self,
        operation: &str,
        input: Value,
        patience: Duration,
        mut done: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T> {
        let mut last = Value::Null;
        let asking = async {
            loop {
                match self.call(operation, input.clone()).await {
                    Ok(answer) => {
                        if let Some(found) = done(&answer) {
                            return anyhow::Ok(found);
                        }
                        last = answer;
                    }
                    Err(CallError::NoAnswer(_)) => {}
                    Err(refused) => return Err(refused.into()),
                }
                // A client of ECS is never told, it can only ask again.
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        match timeout(patience, asking).await {
            Ok(found) => found,
            Err(_) => bail!("{operation} {input} did not come to it in {patience:?}: {last:#}"),
        }
    }

    async fn exchange(&self, operation: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let mut held = self.connection.lock().await;
        // Taken out, so that a call that is given up does not leave a half-read connection.
        let mut sender = match held.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await?;
        let answer = sender.send_request(self.signed(operation, body)?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        *held = Some(sender);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(|| format!("no coordinator at {}", self.address))?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Signature Version 4, headers only.
    fn signed(&self, operation: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let Service { name, target } = self.service;
        let target = format!("{target}.{operation}");
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", &target)];
        let mut request = Request::builder().method(Method::POST).uri("/");
        for (name, value) in self.sign(name, &headers, &body)? {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(body))?)
    }

    /// The head and body of a signed form of the query protocol, as bytes for a socket.
    pub fn signed_form(&self, service: &str, form: &str) -> Result<Vec<u8>> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let signed = self.sign(service, &headers, form.as_bytes())?;
        let lines = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let (lines, length) = (lines.collect::<String>(), form.len());
        let head = format!("POST / HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n");
        Ok([head.as_bytes(), form.as_bytes()].concat())
    }

    /// The headers of a request to `/`: those given, which come in the order of their names, and what
    /// signs them.
    fn sign(
        &self,
        service: &str,
        given: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>> {
        let now = jiff::Timestamp::from_millisecond(self.clock.wall().0 as i64)?;
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &time[..8];
        let scope = format!("{day}/{}/{service}/aws4_request", self.region);
        let mut headers: Vec<(&'static str, String)> =
            given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        headers.push(("host", self.address.clone()));
        headers.push(("x-amz-date", time.clone()));
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical =
            format!("POST\n/\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(body)));
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let secret = format!("AWS4{}", self.credentials.secret_access_key);
        let mut key = secret.into_bytes();
        for part in [day, &self.region, service, "aws4_request"] {
            key = authenticate(&key, part.as_bytes());
        }
        let signature = hex::encode(authenticate(&key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}",
            self.credentials.access_key_id
        );
        headers.push(("authorization", authorization));
        Ok(headers)
    }
}

fn authenticate(key: &[u8], message: &[u8]) -> Vec<u8> {
    #[expect(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Every item of a paginated list.
pub async fn list_all(
    client: &EcsClient,
    operation: &str,
    mut input: Value,
    member: &str,
) -> Result<Vec<String>, CallError> {
    let mut found = Vec::new();
    loop {
        let page = client.call(operation, input.clone()).await?;
        let items = page[member].as_array().into_iter().flatten();
        found.extend(items.filter_map(|item| item.as_str().map(str::to_owned)));
        match page["nextToken"].as_str() {
            Some(token) => input["nextToken"] = json!(token),
            None => return Ok(found),
        }
    }
}
