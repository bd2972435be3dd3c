#![allow(clippy::print_stdout, reason = "tests print their counts")]

use longshore_common::{id::HostId, mutual_tls};
use x509_parser::extensions::GeneralName;

use super::*;

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn request(params: CertificateParams) -> String {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

#[test]
fn the_ca_is_made_once_and_loaded_ever_after() {
    let directory = tempfile::tempdir().unwrap();
    let made = Authority::open(directory.path(), FLEET, 0, NOW).unwrap();
    let loaded = Authority::open(directory.path(), FLEET, 0, NOW).unwrap();
    assert_eq!(made.hash(), loaded.hash());
    assert_eq!(made.trusted_pem(), loaded.trusted_pem());
    assert!(!loaded.trusted_pem().contains("PRIVATE"));
    let key = RequestedKey::from_pem(&request(CertificateParams::default())).unwrap();
    let certificate = loaded.issue(Role::Agent(HOST), &key, NOW).unwrap();
    assert_eq!(mutual_tls::holder(certificate.der()).unwrap().node, Node::agent(FLEET, HOST));
}

/// A new one would be refused by every host, each in its own log.
#[test]
fn a_ca_that_hosts_trust_is_not_replaced_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(CA_FILE);
    let error = Authority::open(directory.path(), FLEET, 3, NOW).err().unwrap().to_string();
    assert!(error.contains("ca.pem is not there, and the 3 hosts"), "{error}");
    assert!(error.contains("`longshore-coordinator new-ca`"), "{error}");
    assert!(!path.exists());
    let made = Authority::make(directory.path(), FLEET, NOW).unwrap();
    let again = Authority::make(directory.path(), FLEET, NOW).err().unwrap();
    assert!(matches!(again, PkiError::Exists(_)), "{again}");
    let loaded = Authority::open(directory.path(), FLEET, 3, NOW).unwrap();
    assert_eq!(loaded.hash(), made.hash());
}

#[test]
fn a_damaged_or_foreign_ca_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(CA_FILE);
    Authority::open(directory.path(), FLEET, 0, NOW).unwrap();
    let error = Authority::open(directory.path(), FleetId::new(1), 0, NOW).err().unwrap();
    assert!(error.to_string().contains("another fleet"), "{error}");
    let later = NOW.saturating_add(CA_LIFE);
    assert!(matches!(
        Authority::open(directory.path(), FLEET, 0, later),
        Err(PkiError::Expired(_))
    ));

    let whole = std::fs::read_to_string(&path).unwrap();
    let other = Authority::create(FLEET, NOW).unwrap().1;
    let key_at = |text: &str| text.find("-----BEGIN PRIVATE KEY").unwrap();
    let mixed = format!("{}{}", &whole[..key_at(&whole)], &other[key_at(&other)..]);
    for damaged in [String::new(), whole[..whole.len() / 2].to_owned(), mixed] {
        secret_file::replace(&path, damaged.as_bytes()).unwrap();
        let error = Authority::open(directory.path(), FLEET, 0, NOW).err().unwrap();
        assert!(matches!(error, PkiError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_certificate_is_for_a_day_and_one_node_with_a_serial_of_its_own() {
    let (authority, _) = Authority::create(FLEET, NOW).unwrap();
    let key = RequestedKey::from_pem(&request(CertificateParams::default())).unwrap();
    let first = authority.issue(Role::Agent(HOST), &key, NOW).unwrap();
    let second = authority.issue(Role::Agent(HOST), &key, NOW).unwrap();
    let holder = mutual_tls::holder(first.der()).unwrap();
    assert_eq!(holder.not_before, Timestamp(NOW.0 - 3_600_000));
    assert_eq!(holder.not_after, Timestamp(NOW.0 + 24 * 3_600_000));
    assert!(holder.calls && holder.serves);
    let (_, first) = x509_parser::parse_x509_certificate(first.der()).unwrap();
    let (_, second) = x509_parser::parse_x509_certificate(second.der()).unwrap();
    assert_ne!(first.raw_serial(), second.raw_serial());
    assert!(first.serial.bits() > 64 && first.serial.bits() <= 128);
}

/// P22: 200 requests that ask for another name, role, purpose or for a CA's power.
#[test]
fn of_a_signing_request_only_the_key_counts() {
    let (authority, _) = Authority::create(FLEET, NOW).unwrap();
    let other = Node::agent(FLEET, HostId::new(1));
    let mut asked = 0;
    for case in 0..200 {
        let mut params = CertificateParams::default();
        match case % 5 {
            0 => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            1 => {
                let uri = Node::coordinator(FLEET).uri();
                params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            }
            2 => {
                params.subject_alt_names = vec![
                    SanType::DnsName(other.dns_name().try_into().unwrap()),
                    SanType::DnsName("*.longshore".try_into().unwrap()),
                ];
            }
            3 => {
                params.distinguished_name.push(DnType::CommonName, "Longshore coordinator");
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            }
            _ => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning],
        }
        let key = RequestedKey::from_pem(&request(params)).unwrap();
        let certificate = authority.issue(Role::Agent(HOST), &key, NOW).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).unwrap();
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        let node = Node::agent(FLEET, HOST);
        assert_eq!(
            names.as_slice(),
            [GeneralName::DNSName(&node.dns_name()), GeneralName::URI(&node.uri())]
        );
        let name = parsed.subject().to_string();
        assert_eq!(name, format!("CN=Longshore agent {HOST}"));
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.code_signing && !usage.any);
        assert!(!parsed.is_ca());
        assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
        asked += 1;
    }
    println!("requests_ignored {asked} requests");
    assert_eq!(asked, 200);
}

#[test]
fn request_that_is_broken_unsigned_or_of_a_foreign_key_is_refused() {
    for (bad, reason) in [
        (String::new(), BadSigningRequest::Unreadable),
        (
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".into(),
            BadSigningRequest::Unreadable,
        ),
        (Authority::create(FLEET, NOW).unwrap().1, BadSigningRequest::Unreadable),
    ] {
        assert_eq!(RequestedKey::from_pem(&bad).unwrap_err(), reason, "{bad}");
    }
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(RequestedKey::from_pem(&request).unwrap_err(), BadSigningRequest::Key);
    }
    let key = KeyPair::generate().unwrap();
    let mut der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let text = base64_lines(&der);
    assert_eq!(RequestedKey::from_pem(&text).unwrap_err(), BadSigningRequest::Signature);
}

fn base64_lines(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn the_coordinators_own_certificate_is_renewed_long_before_it_ends() {
    let (authority, _) = Authority::create(FLEET, NOW).unwrap();
    let mut own = OwnCertificate::issue(authority.into(), NOW).unwrap();
    let hour = |hours: u64| NOW.saturating_add(Duration::from_secs(hours * 3600));
    assert!(!own.renew_if_due(hour(11)).unwrap());
    assert!(own.renew_if_due(hour(12)).unwrap());
    assert!(!own.renew_if_due(hour(13)).unwrap());
    assert!(own.renew_if_due(NOW).unwrap(), "the clock went back");
}
