//! A host whose certificate ended while it was off, and a copy of a host, on real engines.

use longshore_tests::harness::fleet::{Fleet, FleetSettings};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::{
    definition::{SLEEPER, begin, begin_again, lives, reached, scripted},
    strangers::{fleets_issuer, identity},
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// A certificate lives a day, and ended an hour ago.
const AWAY: Duration = Duration::hours(25);

fn identity_file(fleet: &Fleet, host: usize) -> std::path::PathBuf {
    fleet.hosts[host].agent_folder().join("identity.json")
}

/// The host's own key with the certificate that it would have had `AWAY` ago.
fn age_certificate(fleet: &Fleet, host: usize) {
    let mut stored = identity(fleet, host);
    let text = |member: &str| stored[member].as_str().unwrap().to_owned();
    let (id, of_fleet) = (text("host"), text("fleet"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![
        SanType::DnsName(format!("{id}.{of_fleet}.longshore").try_into().unwrap()),
        SanType::URI(format!("longshore://{of_fleet}/agent/{id}").try_into().unwrap()),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - AWAY, now - AWAY + Duration::DAY);
    let key = KeyPair::from_pem(&text("key")).unwrap();
    let aged = params.signed_by(&key, &fleets_issuer(fleet)).unwrap().pem();
    stored["chain"] = json!(format!("{aged}{}", text("trusted")));
    fs_err::write(identity_file(fleet, host), stored.to_string()).unwrap();
}

#[tokio::test]
async fn a_host_is_itself_after_25_hours_and_a_copy_of_it_is_nobody() {
    let settings = FleetSettings { hosts: 2, joining_later: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let kept = begin(&client, scripted("web", SLEEPER[2], json!({}))).await;
    reached(&client, &kept, "RUNNING").await;
    let before = lives(&fleet).await;
    let arn = fleet.host_arn(0).await.unwrap();

    fleet.kill_agent(0).await.unwrap();
    fleet.connected_is(0).await.unwrap();
    age_certificate(&fleet, 0);
    let aged = identity(&fleet, 0);
    fleet.start_agent(0).await.unwrap();
    fleet.connected_is(1).await.unwrap();
    assert_eq!(fleet.host_arn(0).await.unwrap(), arn);
    let renewed = identity(&fleet, 0);
    assert_eq!(renewed["host"], aged["host"]);
    assert_ne!(renewed["chain"], aged["chain"], "it has a new certificate");
    assert_eq!(lives(&fleet).await, before);
    let next = begin_again(&client, "web").await;
    reached(&client, &next, "RUNNING").await;

    // A disk that was copied while the host lives.
    let before = lives(&fleet).await;
    fs_err::create_dir_all(fleet.hosts[1].agent_folder()).unwrap();
    fs_err::copy(identity_file(&fleet, 0), identity_file(&fleet, 1)).unwrap();
    let copy = fleet.spawn_agent(1).await.unwrap();
    let refused = |line: &str| line.contains("identity.json").then(|| line.to_owned());
    let (told, _) = copy.log().wait_for(0, PATIENCE, refused).await.unwrap();
    assert!(told.contains("join token"), "{told}");
    let listed = client.call("ListContainerInstances", json!({})).await.unwrap();
    assert_eq!(listed["containerInstanceArns"], json!([arn]));
    let placed = begin_again(&client, "web").await;
    let placed = reached(&client, &placed, "RUNNING").await;
    assert_eq!(placed["containerInstanceArn"], json!(arn));
    assert_eq!(fleet.hosts[1].engine().unwrap().containers(true).await.unwrap(), []);
    let after = lives(&fleet).await;
    assert!(before.iter().all(|(id, life)| after.get(id) == Some(life)));
    assert_eq!(after.len(), before.len() + 1);
}
