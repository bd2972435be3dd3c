//! Who this host is: its id, its fleet, its key and certificate, in one file that is replaced whole.
//!
//! The file is the host's identity for as long as it is renewed: restarts keep it, and with it the
//! host's id. Never: the key in a log or an error.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId},
    join_token::CaHash,
    mutual_tls::{self, Holder, NotANodesCertificate, Presented, Presenter, TlsSetUpError, Trust},
    node::Node,
    protocol::Certificate,
    secret_file::{self, SecretFileError},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Within the data directory.
const IDENTITY_FILE: &str = "identity.json";

/// What the coordinator gave this host, and the key that stays here.
pub struct Identity {
    pub host: HostId,
    pub fleet: FleetId,
    pub certificate: Holder,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trusted: Vec<CertificateDer<'static>>,
    content: Arc<str>,
}

/// The file's form. One file holds all, so that key and certificate always go together.
#[derive(Serialize, Deserialize)]
struct Stored {
    host: HostId,
    fleet: FleetId,
    /// PEM, this host's certificate first.
    chain: String,
    /// PEM of every CA of the fleet.
    trusted: String,
    /// PEM, PKCS #8.
    key: String,
}

/// A key made for a request. It becomes part of an identity when the answer comes.
pub(crate) struct NewKey(KeyPair);

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the host's identity cannot be kept")]
    File(#[source] SecretFileError),
    #[error(
        "{} does not hold this host's identity: remove it and join again with a new token, made \
         by `longshore-coordinator join-token create`",
        path.display()
    )]
    Damaged { path: PathBuf, source: DamagedIdentity },
    #[error("the coordinator's answer is not an identity for this host")]
    Answer(#[source] DamagedIdentity),
    #[error("a key or a signing request cannot be made")]
    Key(#[source] rcgen::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum DamagedIdentity {
    #[error("it is not the JSON that is expected")]
    Json(#[source] serde_json::Error),
    #[error("its key cannot be read")]
    Key(#[source] pem::Error),
    #[error("its certificates cannot be used")]
    Certificates(#[source] TlsSetUpError),
    #[error("it holds no certificate")]
    NoCertificate,
    #[error("its certificate is not a host's")]
    NotAHost(#[source] NotANodesCertificate),
    #[error("its certificate is of {found}, not of {expected}")]
    OtherNode { found: Node, expected: Node },
}

impl Identity {
    /// What an earlier run kept; nothing before the first join.
    pub fn load(directory: &Path) -> Result<Option<Self>, IdentityError> {
        let path = directory.join(IDENTITY_FILE);
        let Some(content) = secret_file::read(&path).map_err(IdentityError::File)? else {
            return Ok(None);
        };
        let content = String::from_utf8_lossy(&content);
        let read = Self::parse(&content);
        read.map(Some).map_err(|source| IdentityError::Damaged { path, source })
    }

    /// Keeps it, in the place of an earlier one.
    pub(crate) fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        secret_file::replace(&Self::path(directory), self.content.as_bytes())
            .map_err(IdentityError::File)
    }

    pub fn path(directory: &Path) -> PathBuf {
        directory.join(IDENTITY_FILE)
    }

    pub fn node(&self) -> Node {
        Node::agent(self.fleet, self.host)
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.certificate.not_after
    }

    /// Whether a token is of this fleet.
    pub fn trusts(&self, ca: CaHash) -> bool {
        self.trusted.iter().any(|trusted| <[u8; 32]>::from(Sha256::digest(trusted)) == ca.0)
    }

    pub fn trust(&self) -> Result<Trust, TlsSetUpError> {
        Trust::new(self.fleet, self.trusted.clone())
    }

    pub(crate) fn present(&self) -> Result<(Presenter, Presented), TlsSetUpError> {
        Presented::new(self.chain.clone(), self.key.clone_key())
    }

    pub(crate) fn present_anew(&self, presenter: &Presenter) -> Result<(), TlsSetUpError> {
        presenter.replace(self.chain.clone(), self.key.clone_key())
    }

    fn parse(content: &str) -> Result<Self, DamagedIdentity> {
        let stored: Stored = serde_json::from_str(content).map_err(DamagedIdentity::Json)?;
        let key =
            PrivateKeyDer::from_pem_slice(stored.key.as_bytes()).map_err(DamagedIdentity::Key)?;
        let certificates =
            |pem: &str| mutual_tls::certificates(pem).map_err(DamagedIdentity::Certificates);
        let (chain, trusted) = (certificates(&stored.chain)?, certificates(&stored.trusted)?);
        let first = chain.first().ok_or(DamagedIdentity::NoCertificate)?;
        let certificate = mutual_tls::holder(first).map_err(DamagedIdentity::NotAHost)?;
        let identity = Identity {
            host: stored.host,
            fleet: stored.fleet,
            certificate,
            chain,
            key,
            trusted,
            content: content.into(),
        };
        let (found, expected) = (certificate.node, identity.node());
        if found != expected {
            return Err(DamagedIdentity::OtherNode { found, expected });
        }
        // Whatever cannot be shown or trusted later is found out now.
        identity.present().map_err(DamagedIdentity::Certificates)?;
        identity.trust().map_err(DamagedIdentity::Certificates)?;
        Ok(identity)
    }
}

impl NewKey {
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate().map(NewKey).map_err(IdentityError::Key)
    }

    /// PEM. It asks for nothing: the coordinator decides on names, role and lifetime.
    pub(crate) fn signing_request(&self) -> Result<String, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(IdentityError::Key)?;
        request.pem().map_err(IdentityError::Key)
    }

    /// The identity that the coordinator's answer and this key make together.
    pub(crate) fn certified(&self, answer: Certificate) -> Result<Identity, IdentityError> {
        let stored = Stored {
            host: answer.host,
            fleet: answer.fleet,
            chain: answer.chain,
            trusted: answer.trusted,
            key: self.0.serialize_pem(),
        };
        let content = serde_json::to_string_pretty(&stored).expect("plain values only");
        Identity::parse(&content).map_err(IdentityError::Answer)
    }
}
