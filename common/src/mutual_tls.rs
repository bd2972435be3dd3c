//! How two nodes of a fleet prove to each other who they are: TLS 1.3, a certificate of the fleet's
//! CA on both sides, one node in one role each.
//!
//! Beyond what the TLS library checks (chain, lifetime, possession of the key), a certificate must
//! carry the purpose it is used for, and exactly the two names of one [`Node`]. A certificate with
//! a name more, a wildcard or no purpose is nobody's. Sessions are never resumed: every connection
//! is checked as the first one was.
//!
//! Never: a private key in a log or an error, or a connection of its own.

use std::{fmt, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
    version::TLS13,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::{
    clock::{Clock, Timestamp},
    id::FleetId,
    node::{Node, Role},
};

/// The application protocol of the poll endpoint and of the joining port.
pub const ALPN_HTTP2: &[u8] = b"h2";
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What a node shows of itself. Its owner replaces it when it is renewed; connections made from
/// then on show the new one.
#[derive(Clone)]
pub struct Presented(watch::Receiver<Arc<CertifiedKey>>);

/// The other end of [`Presented`], held by whoever renews.
pub struct Presenter(watch::Sender<Arc<CertifiedKey>>);

/// The CAs of one fleet.
#[derive(Clone)]
pub struct Trust {
    fleet: FleetId,
    roots: Arc<RootCertStore>,
}

/// Who may open connections to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// The coordinator of the fleet and nobody else.
    Coordinator,
    /// Any agent of the fleet, also one whose certificate has ended, and strangers who show no
    /// certificate. The server must tell by [`Holder::not_after`] which of them it serves how.
    AgentsAndStrangers,
}

/// What a certificate says of its holder. Whether it is true is the verifier's to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub node: Node,
    pub serves: bool,
    pub calls: bool,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANodesCertificate {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate does not carry exactly the two names of one node")]
    Names,
    #[error("the certificate is not for this use: its extended key usage does not name it")]
    Purpose,
    #[error("the certificate is of {found}, and {expected} was expected")]
    OtherNode { found: Node, expected: String },
}

#[derive(Debug, thiserror::Error)]
pub enum TlsSetUpError {
    #[error("the certificates cannot be read as PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("the key and its certificate cannot be used")]
    Unusable(#[source] Error),
    #[error("the certificate of the CA cannot be used")]
    Root(#[source] Error),
    #[error("no CA is trusted")]
    NoRoot,
    #[error("the verifier cannot be built")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// The cryptography of this project: ring's, whatever else is linked in.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Presented {
    /// `chain` with the node's certificate first.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(Presenter, Presented), TlsSetUpError> {
        let (sender, receiver) = watch::channel(certified(chain, key)?);
        Ok((Presenter(sender), Presented(receiver)))
    }
}

impl Presenter {
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), TlsSetUpError> {
        self.0.send_replace(certified(chain, key)?);
        Ok(())
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, TlsSetUpError> {
    let certified = CertifiedKey::from_der(chain, key, &provider());
    certified.map(Arc::new).map_err(TlsSetUpError::Unusable)
}

/// All certificates of a PEM text, in order.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsSetUpError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(TlsSetUpError::Pem)
}

impl Trust {
    pub fn new(
        fleet: FleetId,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, TlsSetUpError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(TlsSetUpError::Root)?;
        }
        if store.is_empty() {
            return Err(TlsSetUpError::NoRoot);
        }
        Ok(Trust { fleet, roots: Arc::new(store) })
    }

    pub fn fleet(&self) -> FleetId {
        self.fleet
    }
}

/// Serves connections as `presented`, to whom `admits` names.
pub fn server_config(
    clock: Arc<dyn Clock>,
    presented: &Presented,
    trust: &Trust,
    admits: Admits,
    protocol: &[u8],
) -> Result<ServerConfig, TlsSetUpError> {
    let provider = provider();
    let builder =
        WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider.clone());
    let builder = match admits {
        Admits::Coordinator => builder,
        Admits::AgentsAndStrangers => builder.allow_unauthenticated(),
    };
    let chain = builder.build().map_err(TlsSetUpError::Verifier)?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetUpError::Unusable)?
        .with_client_cert_verifier(Arc::new(ClientVerifier { chain, fleet: trust.fleet, admits }))
        .with_cert_resolver(Arc::new(presented.clone()));
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Calls nodes of the fleet: the server's certificate must be that of the node whose DNS name was
/// dialled.
pub fn client_config(
    clock: Arc<dyn Clock>,
    presented: &Presented,
    trust: &Trust,
    protocol: &[u8],
) -> Result<ClientConfig, TlsSetUpError> {
    let provider = provider();
    let verifier = node_verifier(trust)?;
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetUpError::Unusable)?
        .dangerous() // `dangerous` is the library's word for a verifier of one's own
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(presented.clone()));
    harden(&mut config, protocol);
    Ok(config)
}

/// Calls a server that `verifier` accepts, showing no certificate.
pub fn anonymous_client_config(
    clock: Arc<dyn Clock>,
    verifier: Arc<dyn ServerCertVerifier>,
    protocol: &[u8],
) -> Result<ClientConfig, TlsSetUpError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetUpError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    harden(&mut config, protocol);
    Ok(config)
}

fn harden(config: &mut ClientConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
}

/// A verifier that accepts a server only as the node whose name was dialled.
pub fn node_verifier(trust: &Trust) -> Result<NodeVerifier, TlsSetUpError> {
    let chain = WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), provider())
        .build()
        .map_err(TlsSetUpError::Verifier)?;
    Ok(NodeVerifier { chain, fleet: trust.fleet })
}

/// The name under which a node is dialled.
pub fn server_name(node: Node) -> ServerName<'static> {
    ServerName::try_from(node.dns_name()).expect("ids make valid DNS labels")
}

/// Reads whose certificate this is.
pub fn holder(certificate: &CertificateDer<'_>) -> Result<Holder, NotANodesCertificate> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| NotANodesCertificate::Unreadable)?;
    if !rest.is_empty() {
        return Err(NotANodesCertificate::Unreadable);
    }
    let usage = parsed
        .extended_key_usage()
        .map_err(|_| NotANodesCertificate::Unreadable)?
        .ok_or(NotANodesCertificate::Purpose)?
        .value;
    let time = |time: x509_parser::time::ASN1Time| {
        Timestamp(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
    };
    Ok(Holder {
        node: named_node(&parsed)?,
        serves: usage.server_auth,
        calls: usage.client_auth,
        not_before: time(parsed.validity().not_before),
        not_after: time(parsed.validity().not_after),
    })
}

/// Names a key: SHA-256 of its SubjectPublicKeyInfo.
pub type KeyHash = [u8; 32];

/// The key that `certificate` is for.
pub fn key_hash(certificate: &CertificateDer<'_>) -> Result<KeyHash, NotANodesCertificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| NotANodesCertificate::Unreadable)?;
    Ok(Sha256::digest(parsed.public_key().raw).into())
}

/// How long a connection that `certificate` opened may still be used: it does not outlive it.
pub fn usable_for(certificate: &CertificateDer<'_>, now: Timestamp) -> Duration {
    holder(certificate).map_or(Duration::ZERO, |holder| holder.not_after.since(now))
}

fn named_node(certificate: &X509Certificate<'_>) -> Result<Node, NotANodesCertificate> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| NotANodesCertificate::Unreadable)?
        .ok_or(NotANodesCertificate::Names)?;
    let (mut dns, mut uri) = (None, None);
    for name in &names.value.general_names {
        let twice = match name {
            GeneralName::DNSName(name) => dns.replace(*name),
            GeneralName::URI(name) => uri.replace(*name),
            _ => return Err(NotANodesCertificate::Names),
        };
        if twice.is_some() {
            return Err(NotANodesCertificate::Names);
        }
    }
    let node: Node = uri
        .and_then(|uri| uri.parse().ok())
        .filter(|node: &Node| dns.is_some_and(|dns| dns == node.dns_name()))
        .ok_or(NotANodesCertificate::Names)?;
    Ok(node)
}

// === impl Presented ===

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

// === impl NodeVerifier ===

/// See [`node_verifier`].
#[derive(Debug)]
pub struct NodeVerifier {
    chain: Arc<WebPkiServerVerifier>,
    fleet: FleetId,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let holder = holder(end_entity).map_err(refuse)?;
        if !holder.serves {
            return Err(refuse(NotANodesCertificate::Purpose));
        }
        let dialled = server_name.to_str();
        if holder.node.fleet != self.fleet || holder.node.dns_name() != dialled {
            let expected = dialled.into_owned();
            return Err(refuse(NotANodesCertificate::OtherNode { found: holder.node, expected }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

// === impl ClientVerifier ===

#[derive(Debug)]
struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    fleet: FleetId,
    admits: Admits,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let holder = holder(end_entity).map_err(refuse)?;
        let judged_at = match self.admits {
            Admits::Coordinator => now,
            Admits::AgentsAndStrangers => now.min(last_second_of(&holder)),
        };
        let verified = self.chain.verify_client_cert(end_entity, intermediates, judged_at)?;
        if !holder.calls {
            return Err(refuse(NotANodesCertificate::Purpose));
        }
        let admitted = match (self.admits, holder.node.role) {
            (Admits::Coordinator, Role::Coordinator) => true,
            (Admits::AgentsAndStrangers, Role::Agent(_)) => true,
            (Admits::Coordinator, Role::Agent(_)) => false,
            (Admits::AgentsAndStrangers, Role::Coordinator) => false,
        };
        if holder.node.fleet != self.fleet || !admitted {
            let expected = match self.admits {
                Admits::Coordinator => Node::coordinator(self.fleet).uri(),
                Admits::AgentsAndStrangers => format!("an agent of fleet {}", self.fleet),
            };
            return Err(refuse(NotANodesCertificate::OtherNode { found: holder.node, expected }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The end of a certificate's life, while it is still good.
fn last_second_of(holder: &Holder) -> UnixTime {
    let end = Duration::from_millis(holder.not_after.0);
    UnixTime::since_unix_epoch(end.saturating_sub(Duration::from_secs(1)))
}

/// A refusal that the library reports with its reason, and the peer as an alert without it.
pub fn refuse(reason: NotANodesCertificate) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

// === impl ClockTime ===

/// Lets certificates age by this program's clock.
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall().0)))
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}
