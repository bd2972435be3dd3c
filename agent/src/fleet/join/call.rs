//! One request to the coordinator's joining port, and why it may fail.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use longshore_common::{limits::JOIN_BODY_BYTES_MAX, mutual_tls::TlsSetUpError, protocol::Refused};
use rustls::{CertificateError, ClientConfig, InvalidMessage, OtherError, pki_types::ServerName};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fleet::tls::OtherCa;

/// Timeout of a call from dialling to the whole answer, where one address alone is asked.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the coordinator cannot be reached at {address}")]
    Unreachable { address: String, source: io::Error },
    #[error("{address} is not this fleet's coordinator")]
    OtherCa { address: String, source: OtherCa },
    #[error(
        "{address} did not prove to be this fleet's coordinator, or does not accept this host (if the \
         fleet has a new CA, remove identity.json from the data directory and join anew with a token)"
    )]
    Tls { address: String, source: io::Error },
    #[error(
        "what answers at {address} does not speak TLS: is it the port of the coordinator's API? \
         Agents come to its joining port, 8421 unless its --join-listen names another"
    )]
    NotTls { address: String },
    #[error("the coordinator at {address} did not answer within {} s", within.as_secs())]
    Timeout { address: String, within: Duration },
    #[error("the connection to the coordinator broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The coordinator's own words: they say what to do.
    #[error("the coordinator refused: {message}")]
    Refused { status: StatusCode, message: String },
    #[error(
        "the coordinator's answer cannot be read: are agent and coordinator of versions that go together?"
    )]
    Undecodable(#[source] rmp_serde::decode::Error),
    #[error("this host's certificate cannot be used")]
    SetUp(#[source] TlsSetUpError),
}

impl CallError {
    /// Nobody at this address has shown to be the fleet's coordinator and done what was asked: another
    /// address may do better.
    pub(super) fn is_of_the_address(&self) -> bool {
        match self {
            CallError::Unreachable { .. }
            | CallError::OtherCa { .. }
            | CallError::Tls { .. }
            | CallError::NotTls { .. }
            | CallError::Timeout { .. }
            | CallError::Broken(_) => true,
            CallError::Refused { status, .. } => status.is_server_error(),
            CallError::Undecodable(_) | CallError::SetUp(_) => false,
        }
    }

    /// Trying again may help, without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            CallError::Unreachable { .. } | CallError::Timeout { .. } | CallError::Broken(_) => {
                true
            }
            CallError::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            CallError::OtherCa { .. }
            | CallError::Tls { .. }
            | CallError::NotTls { .. }
            | CallError::Undecodable(_)
            | CallError::SetUp(_) => false,
        }
    }
}

/// Sends `body` to `path` of the server that `config` accepts under `name`.
pub(super) async fn call<A: DeserializeOwned>(
    address: &str,
    config: ClientConfig,
    name: ServerName<'static>,
    path: &str,
    body: &impl Serialize,
    within: Duration,
) -> Result<A, CallError> {
    let body = rmp_serde::to_vec_named(body).expect("plain values only");
    let exchange = Box::pin(exchange(address, config, name, path, body.into()));
    let answer = tokio::time::timeout(within, exchange).await;
    let answer =
        answer.map_err(|_| CallError::Timeout { address: address.to_owned(), within })??;
    rmp_serde::from_slice(&answer).map_err(CallError::Undecodable)
}

async fn exchange(
    address: &str,
    config: ClientConfig,
    name: ServerName<'static>,
    path: &str,
    body: Bytes,
) -> Result<Bytes, CallError> {
    let unreachable = |source| CallError::Unreachable { address: address.to_owned(), source };
    let tcp = TcpStream::connect(address).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let host = name.to_str().into_owned();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, tcp).await.map_err(|error| unproven(address, error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(address, error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/msgpack")
        .body(Full::new(body))
        .expect("the parts of a request are constants");
    // Runs the connection in this very future: when the call is given up, all of it is.
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| broken(address, error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), JOIN_BODY_BYTES_MAX).collect().await;
        Ok((status, body.map_err(CallError::Broken)?.to_bytes()))
    };
    tokio::pin!(answer, connection);
    let (status, body) = tokio::select! {
        answer = &mut answer => answer?,
        ended = &mut connection => {
            // What came before the end may still be a whole answer.
            match ended {
                Ok(()) => answer.await?,
                Err(error) => return Err(broken(address, error)),
            }
        }
    };
    if status != StatusCode::OK {
        let refused = serde_json::from_slice(&body);
        let refused: Refused = refused.unwrap_or_else(|_| Refused {
            message: format!("HTTP status {status}, without a reason"),
        });
        return Err(CallError::Refused { status, message: refused.message });
    }
    Ok(body)
}

fn unproven(address: &str, error: io::Error) -> CallError {
    let address = address.to_owned();
    match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) => {
            match inner.downcast_ref::<OtherCa>() {
                Some(other) => CallError::OtherCa { address, source: *other },
                None => CallError::Tls { address, source: error },
            }
        }
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            CallError::NotTls { address }
        }
        Some(_) => CallError::Tls { address, source: error },
        None => CallError::Broken(error.into()),
    }
}

/// In TLS 1.3 a client learns only after its handshake that the server does not accept it.
fn broken(address: &str, error: hyper::Error) -> CallError {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    match source.and_then(tls_error) {
        Some(refused) => {
            let source = io::Error::other(refused.clone());
            CallError::Tls { address: address.to_owned(), source }
        }
        None => CallError::Broken(error.into()),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

#[cfg(test)]
mod tests {
    use longshore_common::{
        clock::{SteppedClock, Timestamp},
        join_token::CaHash,
    };
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::fleet::tls;

    #[tokio::test]
    async fn a_port_that_speaks_http_is_told_from_a_stranger() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let api = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let clock = SteppedClock::at(Timestamp(1_700_000_000_000));
        let config = tls::pinned_config(clock, CaHash([0; 32])).unwrap();
        let calling = call::<()>(
            &address,
            config,
            tls::unknown_coordinator(),
            "/",
            &"anything",
            CALL_TIMEOUT,
        );
        let (called, _stream) = tokio::join!(calling, api);
        let error = called.unwrap_err();
        assert!(matches!(error, CallError::NotTls { .. }), "{error:?}");
        assert!(error.to_string().contains("8421"), "{error}");
    }
}
