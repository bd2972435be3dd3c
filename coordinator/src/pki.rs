//! The fleet's certificate authority: one key in one file, and the certificates it signs.
//!
//! Every certificate names one node in one role, for a day. Of a signing request only the key
//! counts; what else it asks for is not even looked at.
//!
//! Never: the CA's key in a log, an error or the journal, or a clock (time comes in).

mod own_certificate;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use longshore_common::{
    clock::Timestamp,
    data_directory,
    id::FleetId,
    join_token::CaHash,
    mutual_tls::{KeyHash, TlsSetUpError, Trust},
    node::{Node, Role},
    secret_file::{self, SecretFileError},
    topic::TopicKey,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer,
    pem::{self, PemObject},
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY},
    prelude::FromDer,
    x509::SubjectPublicKeyInfo as ParsedKey,
};

pub use self::own_certificate::OwnCertificate;

/// Life of a node's certificate (ours).
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Time by which certificates begin in the past (ours), for nodes whose clocks are behind.
pub const CERTIFICATE_BACKDATE: Duration = Duration::from_secs(3600);
/// Life of the CA itself (ours): its rotation is an operator's decision, not a date's.
const CA_LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Number of bytes of a random serial number (ours).
const SERIAL_BYTES: usize = 16;
/// Within the data directory: the CA's certificate and key, PEM.
pub const CA_FILE: &str = "ca.pem";

/// What an operator can do without the CA that the hosts know.
const NEW_CA: &str = "If there is none, make a new CA with `longshore-coordinator new-ca` (move what is \
    there of the old one away first): every host must then join anew";

/// The CA of one fleet.
pub struct Authority {
    fleet: FleetId,
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A key whose holder asked for a certificate and proved to hold it.
#[derive(Debug)]
pub struct RequestedKey {
    key: SubjectPublicKeyInfo,
    hash: KeyHash,
}

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("the CA's file cannot be used")]
    File(#[source] SecretFileError),
    #[error(
        "{} is not there, and the {hosts} hosts of this journal trust no other CA: put the copy \
         back that you keep of it (owned by the coordinator's user, mode 600). {NEW_CA}",
        path.display()
    )]
    Missing { path: PathBuf, hosts: usize },
    #[error("{} is there already: move it away first, if nothing uses it any more", .0.display())]
    Exists(PathBuf),
    #[error(
        "{} does not hold a CA's certificate and its key: put the copy back that you keep of it. \
         {NEW_CA}", .0.display()
    )]
    Damaged(PathBuf),
    #[error(
        "{} is the CA of another fleet than this journal ({fleet}): restore the two together",
        path.display()
    )]
    OtherFleet { path: PathBuf, fleet: FleetId },
    #[error("the CA's certificate ended on {0}. {NEW_CA}")]
    Expired(Timestamp),
    #[error("the certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    #[error("the system's random numbers are not available")]
    Random(#[source] getrandom::Error),
    #[error("the certificate cannot be served")]
    Tls(#[source] TlsSetUpError),
}

/// Why a signing request has no certificate for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigningRequest {
    #[error("the certificate signing request cannot be read: send one, as PEM")]
    Unreadable,
    #[error("the certificate signing request is not signed by its own key")]
    Signature,
    #[error("the key of the certificate signing request must be an ECDSA key on P-256")]
    Key,
}

impl Authority {
    /// Loads the CA from the data directory, or makes it at the first start. Not when the journal has
    /// `hosts` already: they would refuse a coordinator of any other CA, each by itself.
    pub fn open(
        directory: &Path,
        fleet: FleetId,
        hosts: usize,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let path = directory.join(CA_FILE);
        match secret_file::read(&path).map_err(PkiError::File)? {
            Some(content) => Self::load(&path, &content, fleet, now),
            None if hosts > 0 => Err(PkiError::Missing { path, hosts }),
            None => Self::make(directory, fleet, now),
        }
    }

    /// Makes a CA where none is. Its file gets the folder's owner, who need not be who asks.
    pub fn make(directory: &Path, fleet: FleetId, now: Timestamp) -> Result<Self, PkiError> {
        let path = directory.join(CA_FILE);
        if path.exists() {
            return Err(PkiError::Exists(path));
        }
        let (authority, content) = Self::create(fleet, now)?;
        let failed = |error| PkiError::File(SecretFileError::Write(path.clone(), error));
        let folder = std::fs::metadata(directory).map_err(failed)?;
        secret_file::replace(&path, content.as_bytes()).map_err(PkiError::File)?;
        data_directory::give_to_owner_of(&folder, &path).map_err(failed)?;
        tracing::info!(path = %path.display(), "made the fleet's CA; its key is in this file");
        Ok(authority)
    }

    /// A CA that is kept nowhere, and what its file would hold.
    fn create(fleet: FleetId, now: Timestamp) -> Result<(Self, String), PkiError> {
        let key = KeyPair::generate().map_err(PkiError::Certificate)?;
        let params = ca_params(fleet, now)?;
        let certificate = params.self_signed(&key).map_err(PkiError::Certificate)?;
        let pem = certificate.pem();
        let content = format!("{pem}{}", key.serialize_pem());
        let certificate = certificate.der().clone();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(PkiError::Certificate)?;
        Ok((Authority { fleet, certificate, pem, issuer }, content))
    }

    fn load(path: &Path, content: &[u8], fleet: FleetId, now: Timestamp) -> Result<Self, PkiError> {
        let damaged = || PkiError::Damaged(path.to_owned());
        let text = std::str::from_utf8(content).map_err(|_| damaged())?;
        let certificate = CertificateDer::from_pem_slice(content).map_err(|_| damaged())?;
        let key_at = text.find("-----BEGIN PRIVATE KEY").ok_or_else(damaged)?;
        let key = KeyPair::from_pem(&text[key_at..]).map_err(|_| damaged())?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| damaged())?;
        if !parsed.is_ca() || parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(damaged());
        }
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        if name != Some(&ca_name(fleet)) {
            return Err(PkiError::OtherFleet { path: path.to_owned(), fleet });
        }
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = Timestamp(not_after.saturating_mul(1000));
        if now >= not_after {
            return Err(PkiError::Expired(not_after));
        }
        let pem = text[..key_at].to_owned();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(PkiError::Certificate)?;
        tracing::info!(path = %path.display(), "loaded the fleet's CA");
        Ok(Authority { fleet, certificate, pem, issuer })
    }

    pub fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// What join tokens pin.
    pub fn hash(&self) -> CaHash {
        CaHash(Sha256::digest(&self.certificate).into())
    }

    /// Keys the hashes of this fleet's topics. The key is the same at every start; whoever can name
    /// what topics hold cannot use that without the CA's key.
    pub fn topic_key(&self) -> TopicKey {
        let mut hasher = Sha256::new();
        hasher.update(b"longshore topics\0");
        hasher.update(self.issuer.key().serialized_der());
        TopicKey(hasher.finalize().into())
    }

    /// PEM of every CA that nodes of this fleet trust.
    pub fn trusted_pem(&self) -> &str {
        &self.pem
    }

    pub fn trust(&self) -> Result<Trust, PkiError> {
        Trust::new(self.fleet, [self.certificate.clone()]).map_err(PkiError::Tls)
    }

    /// A certificate for that role in this fleet.
    pub fn issue(
        &self,
        role: Role,
        key: &RequestedKey,
        now: Timestamp,
    ) -> Result<Certificate, PkiError> {
        let params = node_params(Node { fleet: self.fleet, role }, now)?;
        params.signed_by(&key.key, &self.issuer).map_err(PkiError::Certificate)
    }

    /// The chain that the coordinator shows: its certificate, then the CA's, whose hash joining
    /// hosts know.
    fn chain(&self, certificate: &Certificate) -> Vec<CertificateDer<'static>> {
        vec![certificate.der().clone(), self.certificate.clone()]
    }
}

impl RequestedKey {
    /// A key made in this process.
    fn of(key: &KeyPair) -> Result<Self, PkiError> {
        let der = key.subject_public_key_info();
        let hash = Sha256::digest(&der).into();
        let key = SubjectPublicKeyInfo::from_der(&der).map_err(PkiError::Certificate)?;
        Ok(RequestedKey { key, hash })
    }

    /// What the key is remembered by.
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Reads the key of a PEM signing request, and nothing else of it.
    pub fn from_pem(request: &str) -> Result<Self, BadSigningRequest> {
        let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes())
            .map_err(|_: pem::Error| BadSigningRequest::Unreadable)?;
        let (rest, parsed) =
            X509CertificationRequest::from_der(&der).map_err(|_| BadSigningRequest::Unreadable)?;
        if !rest.is_empty() {
            return Err(BadSigningRequest::Unreadable);
        }
        let key = &parsed.certification_request_info.subject_pki;
        if !is_p256(key) {
            return Err(BadSigningRequest::Key);
        }
        parsed.verify_signature().map_err(|_| BadSigningRequest::Signature)?;
        let hash = Sha256::digest(key.raw).into();
        SubjectPublicKeyInfo::from_der(key.raw)
            .map(|key| RequestedKey { key, hash })
            .map_err(|_| BadSigningRequest::Key)
    }
}

fn is_p256(key: &ParsedKey<'_>) -> bool {
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256)
}

fn ca_name(fleet: FleetId) -> String {
    format!("Longshore CA {fleet}")
}

fn ca_params(fleet: FleetId, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = unnamed_params(now, CA_LIFE)?;
    params.distinguished_name.push(DnType::CommonName, ca_name(fleet));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn node_params(node: Node, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = unnamed_params(now, CERTIFICATE_LIFE)?;
    let name = match node.role {
        Role::Coordinator => "Longshore coordinator".to_owned(),
        Role::Agent(host) => format!("Longshore agent {host}"),
    };
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Both roles call and serve: a coordinator polls and lets hosts join, an agent is polled and
    // renews. What keeps them apart is the role in the URI.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let ascii = |name: String| name.try_into().map_err(PkiError::Certificate);
    params.subject_alt_names =
        vec![SanType::DnsName(ascii(node.dns_name())?), SanType::URI(ascii(node.uri())?)];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn unnamed_params(now: Timestamp, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(PkiError::Random)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(Timestamp(now.0.saturating_sub(millis(CERTIFICATE_BACKDATE))));
    params.not_after = date(now.saturating_add(life));
    Ok(params)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Certificates count whole seconds.
fn date(time: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
