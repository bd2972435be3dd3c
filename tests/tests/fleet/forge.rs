//! Certificates as an attacker, or an accident, might have them.

use std::{path::Path, sync::Arc, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId},
    mutual_tls,
    node::{Node, Role},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::OffsetDateTime;

const HOUR: Duration = Duration::from_secs(3600);

/// What somebody shows in a handshake.
#[derive(Clone)]
pub(crate) enum Shown {
    Nothing,
    /// Speaks HTTP without TLS.
    Plain,
    Key(Arc<CertifiedKey>),
}

pub(crate) struct Identity {
    pub(crate) name: &'static str,
    pub(crate) shown: Shown,
    pub(crate) is_right: bool,
}

pub(crate) struct Forge {
    ca: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Forge {
    /// Signs with the very key of the CA in that directory.
    pub(crate) fn of(directory: &Path) -> Self {
        let text = std::fs::read_to_string(directory.join("ca.pem")).unwrap();
        let key_at = text.find("-----BEGIN PRIVATE KEY").unwrap();
        let key = KeyPair::from_pem(&text[key_at..]).unwrap();
        let ca = mutual_tls::certificates(&text[..key_at]).unwrap().remove(0);
        let issuer = Issuer::from_ca_cert_der(&ca, key).unwrap();
        Forge { ca, issuer }
    }

    /// Another CA with the same name.
    pub(crate) fn other(fleet: FleetId) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Longshore CA {fleet}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&ca, key).unwrap();
        Forge { ca, issuer }
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        certified(vec![certificate.der().clone(), self.ca.clone()], &key)
    }

    /// The certificate that `node` ought to have.
    pub(crate) fn right(&self, node: Node, now: Timestamp) -> Arc<CertifiedKey> {
        self.sign(&right(node, now))
    }

    /// The right identity of `node`, and everything that is nearly it.
    pub(crate) fn identities(&self, node: Node, now: Timestamp) -> Vec<Identity> {
        let made = |name, params: CertificateParams| Identity {
            name,
            shown: Shown::Key(self.sign(&params)),
            is_right: false,
        };
        let changed = |name, change: &dyn Fn(&mut CertificateParams)| {
            let mut params = right(node, now);
            change(&mut params);
            made(name, params)
        };
        let shown = |name, key| Identity { name, shown: Shown::Key(key), is_right: false };
        let (other_role, other_node) = match node.role {
            Role::Coordinator => {
                let agent = Node::agent(node.fleet, HostId::new(0xa));
                (agent, Node::agent(node.fleet, HostId::new(0xb)))
            }
            Role::Agent(host) => {
                let other = HostId::new(host.value() ^ 1);
                (Node::coordinator(node.fleet), Node::agent(node.fleet, other))
            }
        };
        let other_fleet = Node { fleet: FleetId::new(node.fleet.value() ^ 1), ..node };
        let wildcard = format!("*.{}.longshore", node.fleet);
        let date =
            |time: Timestamp| OffsetDateTime::from_unix_timestamp((time.0 / 1000) as i64).unwrap();
        let past = |by: Duration| Timestamp(now.0 - by.as_millis() as u64);
        let leaf_signs = self.leaf_as_ca(node, now);
        let rightful = self.right(node, now);
        vec![
            Identity { name: "the right one", shown: Shown::Key(rightful.clone()), is_right: true },
            Identity { name: "none", shown: Shown::Nothing, is_right: false },
            Identity { name: "plain HTTP", shown: Shown::Plain, is_right: false },
            changed("expired", &|p| p.not_after = date(past(HOUR))),
            changed("expired this second", &|p| p.not_after = date(past(Duration::from_secs(1)))),
            changed("not yet valid", &|p| p.not_before = date(now.saturating_add(HOUR))),
            shown("other CA of the same name", Self::other(node.fleet).right(node, now)),
            shown("other CA, and the right CA in its chain", {
                let other = Self::other(node.fleet);
                let key = KeyPair::generate().unwrap();
                let leaf = right(node, now).signed_by(&key, &other.issuer).unwrap();
                certified(vec![leaf.der().clone(), self.ca.clone(), other.ca.clone()], &key)
            }),
            shown("self-signed", {
                let key = KeyPair::generate().unwrap();
                let leaf = right(node, now).self_signed(&key).unwrap();
                certified(vec![leaf.der().clone()], &key)
            }),
            shown("signed by a node's certificate", leaf_signs),
            shown("the right certificate without its key", {
                let other = KeyPair::generate().unwrap();
                certified(rightful.cert.clone(), &other)
            }),
            made("other role", right(other_role, now)),
            made("other node", right(other_node, now)),
            made("other fleet of the same CA", right(other_fleet, now)),
            changed("no extended key usage", &|p| p.extended_key_usages.clear()),
            changed("key usage for signing code only", &|p| {
                p.extended_key_usages = vec![Use::CodeSigning];
            }),
            changed("key usage `any` only", &|p| p.extended_key_usages = vec![Use::Any]),
            changed("no names", &|p| p.subject_alt_names.clear()),
            changed("the DNS name only", &|p| {
                p.subject_alt_names.retain(|name| matches!(name, SanType::DnsName(_)));
            }),
            changed("the URI only", &|p| {
                p.subject_alt_names.retain(|name| matches!(name, SanType::URI(_)));
            }),
            changed("a wildcard for a DNS name", &|p| {
                p.subject_alt_names = vec![dns(&wildcard), uri(&node.uri())];
            }),
            changed("a wildcard for a URI", &|p| {
                let any = format!("longshore://{}/*", node.fleet);
                p.subject_alt_names = vec![dns(&node.dns_name()), uri(&any)];
            }),
            changed("a second URI", &|p| p.subject_alt_names.push(uri(&other_node.uri()))),
            changed("a second DNS name", &|p| {
                p.subject_alt_names.push(dns(&other_node.dns_name()));
            }),
            changed("an address among its names", &|p| {
                p.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
            }),
            changed("the URI of another role", &|p| {
                p.subject_alt_names = vec![dns(&node.dns_name()), uri(&other_role.uri())];
            }),
            changed("a CA's power", &|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                p.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
        ]
    }

    /// A chain whose issuer is an ordinary node that plays the CA.
    fn leaf_as_ca(&self, node: Node, now: Timestamp) -> Arc<CertifiedKey> {
        let rogue = KeyPair::generate().unwrap();
        let rogue_params = right(Node::agent(node.fleet, HostId::new(0xbad)), now);
        let rogue_leaf = rogue_params.signed_by(&rogue, &self.issuer).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&rogue_params, &rogue);
        let leaf = right(node, now).signed_by(&key, &issuer).unwrap();
        let chain = vec![leaf.der().clone(), rogue_leaf.der().clone(), self.ca.clone()];
        certified(chain, &key)
    }
}

fn right(node: Node, now: Timestamp) -> CertificateParams {
    let at = |millis: u64| OffsetDateTime::from_unix_timestamp((millis / 1000) as i64).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a node");
    params.not_before = at(now.0 - 48 * 3_600_000);
    params.not_after = at(now.0 + 24 * 3_600_000);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![Use::ServerAuth, Use::ClientAuth];
    params.subject_alt_names = vec![dns(&node.dns_name()), uri(&node.uri())];
    params
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// Without a check that key and certificate go together.
fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = mutual_tls::provider().key_provider.load_private_key(der).unwrap();
    Arc::new(CertifiedKey::new(chain, key))
}
