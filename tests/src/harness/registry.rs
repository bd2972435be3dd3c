//! A registry that has no image, on the fleet's bridge: what a wrong tag meets, without a network.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

const PORT: u16 = 5000;
/// What Docker's own registry answers for a manifest that it has not.
const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

pub struct EmptyRegistry {
    address: String,
    manifests: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl EmptyRegistry {
    /// Listens at the address at which a fleet's hosts reach the machine; their engines take a
    /// registry there without TLS.
    pub async fn start(gateway: &str) -> Result<EmptyRegistry> {
        let address = format!("{gateway}:{PORT}");
        let listener = TcpListener::bind(&address)
            .await
            .with_context(|| format!("no registry could be opened at {address}"))?;
        let manifests = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, manifests.clone()));
        Ok(EmptyRegistry { address, manifests, accepting })
    }

    /// An image that this registry does not have.
    pub fn missing_image(&self) -> String {
        format!("{}/longshore/missing:1", self.address)
    }

    /// How often a manifest was asked for.
    pub fn asked(&self) -> usize {
        self.manifests.load(Ordering::Relaxed)
    }
}

impl Drop for EmptyRegistry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, manifests: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let manifests = manifests.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.uri().path(), &manifests);
            std::future::ready(answer)
        });
        let serve = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(serve);
    }
}

fn answer(path: &str, manifests: &AtomicUsize) -> Result<Response<Full<Bytes>>, http::Error> {
    let (status, body) = match path {
        "/v2/" => (StatusCode::OK, "{}"),
        path if path.contains("/manifests/") => {
            manifests.fetch_add(1, Ordering::Relaxed);
            (StatusCode::NOT_FOUND, UNKNOWN)
        }
        _ => (StatusCode::NOT_FOUND, UNKNOWN),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("docker-distribution-api-version", "registry/2.0")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
}
