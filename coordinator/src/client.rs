//! A client of the coordinator's own API, for its subcommands: it signs as every other client does,
//! so that there is no second way in.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use longshore_common::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;

use crate::edge::{
    credentials::Credentials,
    protocol::{API_PATH, X_AMZ_TARGET},
    router::{ECS_SERVICE, ECS_TARGET, LONGSHORE_TARGET},
    sigv4::{
        ALGORITHM, AmzDate, Scope, SigningKey, X_AMZ_DATE, basic_format, canonical_request,
        hex_sha256, string_to_sign,
    },
};

/// How long one call may take, connecting included.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
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
        self.call(LONGSHORE_TARGET, operation, input).await
    }

    /// Calls an operation of ECS.
    pub async fn ecs<O: DeserializeOwned>(
        &self,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<O, ClientError> {
        self.call(ECS_TARGET, operation, input).await
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
        sign(&mut headers, &body, &self.credentials, &self.region, ECS_SERVICE, moment)
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

/// Adds `X-Amz-Date` and `Authorization` to a request to `/`. Every header that is there already
/// is signed.
pub(crate) fn sign(
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    service: &str,
    moment: Timestamp,
) -> Result<(), header::InvalidHeaderValue> {
    sign_for_path(API_PATH, headers, body, credentials, region, service, moment)
}

/// The same for a request to another path.
pub(crate) fn sign_for_path(
    path: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    service: &str,
    moment: Timestamp,
) -> Result<(), header::InvalidHeaderValue> {
    let moment = basic_format(moment);
    headers.insert(X_AMZ_DATE, HeaderValue::from_str(&moment)?);
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let signed_headers = names.join(";");
    let canonical = canonical_request("POST", path, headers, &signed_headers, &hex_sha256(body));
    let date = AmzDate::parse(&moment).expect("a moment of ours reads back");
    let scope = Scope { date: date.day(), region, service };
    // Exposed: the secret is what the signature is made with.
    let key = SigningKey::derive(credentials.secret_access_key.expose(), scope);
    let signature = key.sign(&string_to_sign(date, scope, &hex_sha256(&canonical)));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}/{region}/{service}/aws4_request, \
         SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key_id,
        date.day(),
    );
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization)?);
    Ok(())
}
