//! A registry on the fleet's bridge, without a network: what a test publishes there, behind a login if
//! it wants one, and nothing else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

const PORT: u16 = 5000;
/// What Docker's own registry answers for a manifest that it has not, and without a login.
const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
const UNAUTHORIZED: &str =
    r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

pub struct Registry {
    address: String,
    served: Arc<Served>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Served {
    /// By path: type, digest and content.
    documents: Mutex<BTreeMap<String, (&'static str, String, Bytes)>>,
    /// The header that is asked for.
    authorization: Option<String>,
    manifests: AtomicUsize,
}

impl Registry {
    /// Listens at the address at which a fleet's hosts reach the machine; their engines take a
    /// registry there without TLS.
    pub async fn start(gateway: &str) -> Result<Registry> {
        Self::serving(gateway, Served::default()).await
    }

    /// One that asks for a login, in the form `user:password` in base64.
    pub async fn behind_login(gateway: &str, login: &str) -> Result<Registry> {
        let authorization = Some(format!("Basic {login}"));
        Self::serving(gateway, Served { authorization, ..Served::default() }).await
    }

    async fn serving(gateway: &str, served: Served) -> Result<Registry> {
        let address = format!("{gateway}:{PORT}");
        let listener = TcpListener::bind(&address)
            .await
            .with_context(|| format!("no registry could be opened at {address}"))?;
        let served = Arc::new(served);
        let accepting = tokio::spawn(accept(listener, served.clone()));
        Ok(Registry { address, served, accepting })
    }

    /// Puts an image there, or another one in its place, and tells how it is pulled. `layers` are
    /// archives.
    pub fn publish(&self, name: &str, layers: &[Bytes]) -> String {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let diff_ids: Vec<String> = layers.iter().map(digest).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            // Of two images with the same files, each is an image of its own.
            "config": { "Env": ["PATH=/bin", format!("IMAGE={name}")] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = Bytes::from(config.to_string());
        let blobs = || layers.iter().zip(&diff_ids);
        let config_digest = digest(&config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part(CONFIG, &config, &config_digest),
            "layers": blobs().map(|(layer, digest)| part(LAYER, layer, digest)).collect::<Vec<_>>(),
        });
        let manifest = Bytes::from(manifest.to_string());
        let base = format!("/v2/longshore/{name}");
        let mut documents = self.served.documents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut put = |path: String, kind, content: &Bytes, digest: &str| {
            documents.insert(path, (kind, digest.to_owned(), content.clone()));
        };
        for (blob, digest) in blobs().chain([(&config, &config_digest)]) {
            put(format!("{base}/blobs/{digest}"), "application/octet-stream", blob, digest);
        }
        let digest = digest(&manifest);
        for reference in ["1", &digest] {
            put(format!("{base}/manifests/{reference}"), MANIFEST, &manifest, &digest);
        }
        format!("{}/longshore/{name}:1", self.address)
    }

    /// An image that this registry does not have.
    pub fn missing_image(&self) -> String {
        format!("{}/longshore/missing:1", self.address)
    }

    /// How often a manifest was asked for.
    pub fn asked(&self) -> usize {
        self.served.manifests.load(Ordering::Relaxed)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// As a manifest names it.
fn part(kind: &str, blob: &Bytes, digest: &str) -> Value {
    json!({ "mediaType": kind, "size": blob.len(), "digest": digest })
}

fn digest(content: &Bytes) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = served.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            std::future::ready(served.answer(&request))
        });
        let serve = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(serve);
    }
}

impl Served {
    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
        let answer = Response::builder().header("docker-distribution-api-version", "registry/2.0");
        let json = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes()));
        let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        if self.authorization.is_some() && given != self.authorization.as_deref() {
            return answer
                .status(StatusCode::UNAUTHORIZED)
                .header(header::WWW_AUTHENTICATE, r#"Basic realm="tests""#)
                .header(header::CONTENT_TYPE, "application/json")
                .body(json(UNAUTHORIZED));
        }
        let path = request.uri().path();
        if path.contains("/manifests/") {
            self.manifests.fetch_add(1, Ordering::Relaxed);
        }
        let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        match documents.get(path) {
            Some((kind, digest, content)) => answer
                .header(header::CONTENT_TYPE, *kind)
                .header("docker-content-digest", digest)
                .body(Full::new(content.clone())),
            None if path == "/v2/" => {
                answer.header(header::CONTENT_TYPE, "application/json").body(json("{}"))
            }
            None => answer
                .status(StatusCode::NOT_FOUND)
                .header(header::CONTENT_TYPE, "application/json")
                .body(json(UNKNOWN)),
        }
    }
}
