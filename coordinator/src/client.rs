//! A client of the coordinator's own API, for its subcommands: it signs as every other client does,
//! so that there is no second way in.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use longshore_common::clock::Clock;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;

use crate::{
    api::{ecs, longshore},
    credentials::Credentials,
    edge::protocol::X_AMZ_TARGET,
    signature::sign,
};

/// Timeout of one call, connecting included (ours).
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum size of an answer that is read, in bytes (ours).
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Calls one coordinator.
#[derive(Clone)]
pub struct Client {
    /// `host:port`.
    endpoint: String,
    region: String,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the coordinator at {endpoint} cannot be reached; is it running?")]
    Unreachable { endpoint: String, source: std::io::Error },
    #[error("the coordinator at {endpoint} did not answer within {CALL_DEADLINE:?}")]
    Silent { endpoint: String },
    #[error("the call to the coordinator at {endpoint} broke off")]
    BrokenOff { endpoint: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{message} ({kind})")]
    Refused { kind: String, message: String },
    #[error("`{endpoint}` does not answer as a coordinator does")]
    NotACoordinator { endpoint: String, source: serde_json::Error },
    #[error("the request could not be written: {0}")]
    Unwritable(String),
}

/// A refusal in the JSON protocol.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(default)]
    message: String,
}

impl Client {
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Client { endpoint: endpoint.into(), region: region.into(), credentials, clock }
    }

    /// Calls `Longshore_2026.<operation>`.
    pub async fn longshore<O: DeserializeOwned>(
        &self,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<O, ClientError> {
        self.call(longshore::TARGET, operation, input).await
    }

    /// Calls an operation of ECS.
    pub async fn ecs<O: DeserializeOwned>(
        &self,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<O, ClientError> {
        self.call(ecs::TARGET, operation, input).await
    }

    async fn call<O: DeserializeOwned>(
        &self,
        target: &str,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<O, ClientError> {
        let unwritable = |error: &dyn std::fmt::Display| ClientError::Unwritable(error.to_string());
        let body = serde_json::to_vec(input).map_err(|error| unwritable(&error))?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&self.endpoint).map_err(|error| unwritable(&error))?;
        let target = HeaderValue::from_str(&format!("{target}.{operation}"))
            .map_err(|error| unwritable(&error))?;
        headers.insert(header::HOST, host);
        headers.insert(X_AMZ_TARGET, target);
        headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        let moment = self.clock.wall();
        sign(&mut headers, &body, &self.credentials, &self.region, ecs::SIGNING_NAME, moment)
            .map_err(|error| unwritable(&error))?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;

        let answer = tokio::time::timeout(CALL_DEADLINE, self.send(request)).await;
        let (ok, answer) =
            answer.map_err(|_| ClientError::Silent { endpoint: self.endpoint.clone() })??;
        let not_a_coordinator =
            |source| ClientError::NotACoordinator { endpoint: self.endpoint.clone(), source };
        if ok {
            return serde_json::from_slice(&answer).map_err(not_a_coordinator);
        }
        let Refusal { kind, message } =
            serde_json::from_slice(&answer).map_err(not_a_coordinator)?;
        Err(ClientError::Refused { kind, message })
    }

    /// Sends on a connection of its own: a subcommand makes one call. Returns whether the status
    /// is a success, and the body.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(bool, Bytes), ClientError> {
        let endpoint = || self.endpoint.clone();
        let broken_off = |source: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::BrokenOff { endpoint: endpoint(), source }
        };
        let stream = TcpStream::connect(&self.endpoint)
            .await
            .map_err(|source| ClientError::Unreachable { endpoint: endpoint(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken_off(error.into()))?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let answer = sender.send_request(request).await?;
            let ok = answer.status().is_success();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok((ok, body.to_bytes()))
        };
        let answer = answer.await;
        connection.abort();
        answer.map_err(broken_off)
    }
}
