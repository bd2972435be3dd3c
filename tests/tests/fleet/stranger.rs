//! Somebody who follows no rule: shows what it likes, believes every server, speaks at once.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use longshore_common::mutual_tls::{self, ALPN_HTTP1, ALPN_HTTP2};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::forge::Shown;

/// What may be waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What came back for a request, if anything did.
pub(crate) type Answer = Option<(StatusCode, Bytes)>;

/// Sends one request as whoever `shown` makes it.
pub(crate) async fn ask(
    server: SocketAddr,
    shown: &Shown,
    protocol: &[u8],
    path: &str,
    body: Vec<u8>,
) -> Answer {
    let asked = tokio::time::timeout(PATIENCE, async {
        let tcp = TcpStream::connect(server).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        match shown {
            Shown::Plain => send(tcp, protocol, path, body).await,
            Shown::Nothing => {
                let config = credulous().with_no_client_auth();
                send(connect(config, tcp, protocol).await.ok()?, protocol, path, body).await
            }
            Shown::Key(key) => {
                let config = credulous().with_client_cert_resolver(Arc::new(Shows(key.clone())));
                send(connect(config, tcp, protocol).await.ok()?, protocol, path, body).await
            }
        }
    });
    asked.await.expect("an answer or an end within the time")
}

async fn connect(
    mut config: ClientConfig,
    tcp: TcpStream,
    protocol: &[u8],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("anybody.longshore").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

async fn send<S>(stream: S, protocol: &[u8], path: &str, body: Vec<u8>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::post(format!("https://anybody.longshore{path}"))
        .header("host", "anybody.longshore")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let io = TokioIo::new(stream);
    let answer = if protocol == ALPN_HTTP2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
        before_the_end(sender.send_request(request), tokio::spawn(connection)).await?
    } else {
        assert_eq!(protocol, ALPN_HTTP1);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        before_the_end(sender.send_request(request), tokio::spawn(connection)).await?
    };
    let status = answer.status();
    Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
}

/// A request that is queued in the moment when its connection ends may never hear of it.
async fn before_the_end<T, E>(
    answer: impl Future<Output = Result<T, E>>,
    end: tokio::task::JoinHandle<Result<(), E>>,
) -> Option<T> {
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer.ok(),
        _ = end => tokio::time::timeout(Duration::from_secs(1), answer).await.ok()?.ok(),
    }
}

/// Takes connections, shows `shown`, and keeps the first that callers say to it inside TLS; then it
/// hangs up. Without a certificate it sees that callers say a TLS hello, and hangs up.
pub(crate) async fn listen(shown: Shown, calls: usize) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..calls {
            let (mut tcp, _) = listener.accept().await.unwrap();
            match &shown {
                // The hello is not a secret; nothing may follow it.
                Shown::Plain | Shown::Nothing => {
                    let mut hello = [0; 16 * 1024];
                    let read = tcp.read(&mut hello).await.unwrap();
                    assert_eq!(hello[..1], [22], "a TLS record, {read} bytes");
                }
                Shown::Key(key) => {
                    let acceptor = TlsAcceptor::from(Arc::new(shows(key.clone())));
                    if let Ok(mut stream) = acceptor.accept(tcp).await {
                        let mut said = vec![0; 64 * 1024];
                        if let Ok(read @ 1..) = stream.read(&mut said).await {
                            heard.extend_from_slice(&said[..read]);
                        }
                    }
                }
            }
        }
        heard
    });
    (address, heard)
}

pub(crate) type Heard = tokio::task::JoinHandle<Vec<u8>>;

fn shows(key: Arc<CertifiedKey>) -> ServerConfig {
    let provider = mutual_tls::provider();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(key)));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config
}

fn credulous() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(mutual_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelievesAll))
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[derive(Debug)]
struct BelievesAll;

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        mutual_tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
