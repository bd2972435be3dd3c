//! Who may order anything of an agent: its coordinator, shown by a certificate, and nobody else.

use std::path::{Path, PathBuf};

use longshore_harness::{
    command::run,
    fleet::{Fleet, FleetSettings},
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::definition::{lives, register, run as run_task, tasks_of, wait};

/// A certificate and its key, in files for curl.
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
}

fn write(folder: &Path, name: &str, certificate: &str, key: &str) -> Shown {
    let shown = Shown {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    };
    fs_err::write(&shown.certificate, certificate).unwrap();
    fs_err::write(&shown.key, key).unwrap();
    shown
}

/// What an agent keeps of itself.
pub(crate) fn identity(fleet: &Fleet, host: usize) -> Value {
    let file = fleet.hosts[host].agent_folder().join("identity.json");
    serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap()
}

fn of_agent(fleet: &Fleet, host: usize) -> Shown {
    let identity = identity(fleet, host);
    let text = |member: &str| identity[member].as_str().unwrap().to_owned();
    write(fleet.folder(), &format!("agent{host}"), &text("chain"), &text("key"))
}

/// A certificate as the coordinator makes for itself, good from `from` to `to`.
fn coordinators(
    fleet: &Fleet,
    name: &str,
    issuer: &Issuer<'_, KeyPair>,
    from: Duration,
    to: Duration,
) -> Shown {
    let id = identity(fleet, 0)["fleet"].as_str().unwrap().to_owned();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::DnsName(format!("coordinator.{id}.longshore").try_into().unwrap()),
        SanType::URI(format!("longshore://{id}/coordinator").try_into().unwrap()),
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + from, now + to);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    write(fleet.folder(), name, &certificate.pem(), &key.serialize_pem())
}

pub(crate) fn fleets_issuer(fleet: &Fleet) -> Issuer<'static, KeyPair> {
    let pem = fs_err::read_to_string(fleet.coordinator_folder().join("ca.pem")).unwrap();
    let key_at = pem.find("-----BEGIN PRIVATE KEY-----").unwrap();
    let key_end = pem[key_at..].find("-----END PRIVATE KEY-----").unwrap() + key_at;
    let key = KeyPair::from_pem(&pem[key_at..key_end + "-----END PRIVATE KEY-----".len()]);
    let certificate_at = pem.find("-----BEGIN CERTIFICATE-----").unwrap();
    Issuer::from_ca_cert_pem(&pem[certificate_at..], key.unwrap()).unwrap()
}

fn other_issuer() -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Issuer::new(params, KeyPair::generate().unwrap())
}

/// The HTTP status that a poll gets, `None` when there is no answer at all.
fn poll(address: &str, scheme: &str, shown: Option<&Shown>) -> Option<u16> {
    let url = format!("{scheme}://{address}:51680/v1/poll");
    let mut arguments = vec!["-sSk", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    arguments.extend(["--http2", "--data-binary", "@/etc/hostname"].map(str::to_owned));
    if let Some(Shown { certificate, key }) = shown {
        let file = |path: &Path| path.display().to_string();
        arguments.extend(["--cert".to_owned(), file(certificate), "--key".to_owned(), file(key)]);
    }
    arguments.push(url);
    run("curl", &arguments).ok().and_then(|status| status.parse().ok()).filter(|code| *code != 0)
}

#[tokio::test]
async fn strangers_at_the_poll_endpoint_reach_no_engine() {
    let settings = FleetSettings { hosts: 2, record: true, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let spread = ["--count", "2", "--placement-strategy", "type=spread,field=instanceId"];
    let tasks = tasks_of(&run_task(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &tasks).await;
    let before = lives(&fleet).await;
    fleet.hosts.iter().for_each(|host| host.proxy.as_ref().unwrap().clear());

    let ours = fleets_issuer(&fleet);
    let hour = Duration::HOUR;
    let expired = coordinators(&fleet, "expired", &ours, -hour * 3, -hour);
    let early = coordinators(&fleet, "early", &ours, hour, hour * 3);
    let other = coordinators(&fleet, "other", &other_issuer(), -hour, hour);
    let (own, neighbour) = (of_agent(&fleet, 0), of_agent(&fleet, 1));
    let address = fleet.hosts[0].network.address();
    let strangers: [(&str, &str, Option<&Shown>); 7] = [
        ("plain HTTP", "http", None),
        ("no certificate", "https", None),
        ("another agent's certificate", "https", Some(&neighbour)),
        ("the agent's own certificate", "https", Some(&own)),
        ("an expired certificate", "https", Some(&expired)),
        ("a certificate that is not yet good", "https", Some(&early)),
        ("another CA's certificate", "https", Some(&other)),
    ];
    for (who, scheme, shown) in strangers {
        let status = poll(address, scheme, shown);
        assert!(status.is_none_or(|status| status >= 400), "{who}: {status:?}");
    }
    // The same without a fault is let in, and told that its body is not a poll.
    let good = coordinators(&fleet, "good", &ours, -hour, hour);
    assert!(poll(address, "https", Some(&good)).is_some_and(|status| status >= 400));

    for host in &fleet.hosts {
        assert_eq!(host.proxy.as_ref().unwrap().changes(), []);
    }
    assert_eq!(lives(&fleet).await, before);
    // Whoever may still can.
    let more = tasks_of(&run_task(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &more).await;
}
