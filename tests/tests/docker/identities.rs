//! A host whose certificate ended while it was off, a copy of a host, and one that was deregistered
//! while it was cut off, on real engines.

use longshore_harness::{
    command::run,
    fleet::{Fleet, FleetSettings},
};
use longshore_tests::figures::progress;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    definition::{SLEEPER, begin, begin_again, lives, reached, scripted},
    strangers::{fleets_issuer, identity},
};

const HEALTHZ: &str = "http://127.0.0.1:51678/healthz";
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

/// The status code of the agent's `/healthz`, and what it says.
fn health(fleet: &Fleet, host: usize) -> (String, Value) {
    let net = format!("--net={}", fleet.hosts[host].network.namespace().display());
    let arguments = [&*net, "curl", "-sS", "--max-time", "5", "-w", "\n%{http_code}", HEALTHZ];
    let said = run("nsenter", &arguments).unwrap();
    let (health, code) = said.trim().rsplit_once('\n').unwrap();
    (code.to_owned(), serde_json::from_str(health).unwrap())
}

#[tokio::test]
async fn agent_that_nobody_polls_says_so_asks_and_names_its_leftovers() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let kept = begin(&client, scripted("web", SLEEPER[2], json!({}))).await;
    reached(&client, &kept, "RUNNING").await;
    let before = lives(&fleet).await;
    let arn = fleet.host_arn(0).await.unwrap();
    let log = fleet.hosts[0].agent.as_ref().unwrap().log().clone();
    let says =
        |words: &'static str| move |line: &str| line.contains(words).then(|| line.to_owned());

    progress("the coordinator is away");
    fleet.stop_coordinator().await.unwrap();
    let (_, at) = log.wait_for(0, PATIENCE, says("does not poll this host")).await.unwrap();
    let (code, told) = health(&fleet, 0);
    assert_eq!((&*code, &told["coordinator"]), ("200", &json!("away")), "{told:#}");
    fleet.start_coordinator().await.unwrap();
    let (_, at) = log.wait_for(at, PATIENCE, says("polls this host again")).await.unwrap();
    let said = log.lines().iter().filter(|line| line.contains("poll this host")).count();
    assert_eq!(said, 1, "{}", log.tail());

    progress("it is deregistered while it is cut off");
    fleet.hosts[0].network.cut().unwrap();
    fleet.connected_is(0).await.unwrap();
    let deregister = json!({ "containerInstance": arn, "force": true });
    client.call("DeregisterContainerInstance", deregister).await.unwrap();
    fleet.hosts[0].network.heal().unwrap();
    let told = log.wait_for(at, 3 * PATIENCE, says("was deregistered")).await.unwrap().0;
    assert!(told.contains("ERROR") && told.contains("Remove identity.json"), "{told}");
    let (code, told) = health(&fleet, 0);
    assert_eq!(code, "503", "{told:#}");
    assert!(told["refused"].as_str().unwrap().contains("was deregistered"), "{told:#}");
    assert_eq!(lives(&fleet).await, before, "nothing of it was touched");

    progress("it joins anew");
    let former = identity(&fleet, 0)["host"].as_str().unwrap().to_owned();
    fleet.stop_agent(0).await.unwrap();
    fs_err::remove_file(identity_file(&fleet, 0)).unwrap();
    fleet.start_agent(0).await.unwrap();
    let log = fleet.hosts[0].agent.as_ref().unwrap().log().clone();
    let (told, _) = log.wait_for(0, PATIENCE, says("docker ps --all --filter")).await.unwrap();
    assert!(told.contains(&format!("label=longshore.host={former}")), "{told}");
    fleet.connected_is(1).await.unwrap();
    assert_ne!(fleet.host_arn(0).await.unwrap(), arn);
    assert_eq!(lives(&fleet).await, before);

    progress("its data directory is lost whole");
    fleet.kill_agent(0).await.unwrap();
    let folder = fleet.hosts[0].agent_folder();
    fs_err::rename(&folder, folder.with_extension("lost")).unwrap();
    fleet.start_agent(0).await.unwrap();
    let log = fleet.hosts[0].agent.as_ref().unwrap().log().clone();
    let (told, _) = log.wait_for(0, PATIENCE, says("docker ps --all --filter")).await.unwrap();
    assert!(told.contains("before its data directory was lost"), "{told}");
    assert!(told.contains(&format!("label=longshore.host={former}")), "{told}");
    assert_eq!(health(&fleet, 0).0, "200");
    assert_eq!(lives(&fleet).await, before);
}
