//! How this host recognises its coordinator before it has a certificate: by the CA that the join
//! token names.
//!
//! The check is part of the handshake, so that nothing, the token's secret least of all, is sent
//! to a server whose CA is another.

use std::{fmt, sync::Arc};

use longshore_common::{
    clock::Clock,
    id::FleetId,
    join_token::CaHash,
    mutual_tls::{
        self, ALPN_HTTP1, NotANodesCertificate, TlsSetUpError, Trust, anonymous_client_config,
    },
    node::{Node, Role},
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};

/// For a connection on which nothing but a request to join is sent.
pub(crate) fn pinned_config(
    clock: Arc<dyn Clock>,
    ca: CaHash,
) -> Result<ClientConfig, TlsSetUpError> {
    anonymous_client_config(clock, Arc::new(PinnedVerifier { ca }), ALPN_HTTP1)
}

/// The name sent while the fleet is not known yet; the certificate's own name is what counts.
pub(crate) fn unknown_coordinator() -> ServerName<'static> {
    ServerName::try_from("coordinator.longshore").expect("a constant that is a DNS name")
}

/// The server's chain ends in another CA than the token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server's CA is not the one that the join token names: this is not the coordinator that \
     made the token, or somebody is between; the token's secret was not sent"
)]
pub struct OtherCa;

/// Accepts the coordinator of the fleet whose CA has the hash.
struct PinnedVerifier {
    ca: CaHash,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|shown| <[u8; 32]>::from(Sha256::digest(shown)) == self.ca.0)
            .ok_or_else(|| {
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherCa))))
            })?;
        let fleet = coordinators_fleet(end_entity).map_err(mutual_tls::refuse)?;
        let trust = Trust::new(fleet, [root.clone().into_owned()])
            .map_err(|error| Error::General(error.to_string()))?;
        let verifier =
            mutual_tls::node_verifier(&trust).map_err(|error| Error::General(error.to_string()))?;
        let name = mutual_tls::server_name(Node::coordinator(fleet));
        verifier.verify_server_cert(end_entity, &[], &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = mutual_tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = mutual_tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        mutual_tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedVerifier({})", self.ca)
    }
}

fn coordinators_fleet(certificate: &CertificateDer<'_>) -> Result<FleetId, NotANodesCertificate> {
    let node = mutual_tls::holder(certificate)?.node;
    match node.role {
        Role::Coordinator => Ok(node.fleet),
        Role::Agent(_) => {
            let expected = "a coordinator".to_owned();
            Err(NotANodesCertificate::OtherNode { found: node, expected })
        }
    }
}
