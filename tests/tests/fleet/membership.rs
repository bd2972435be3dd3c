//! A host's identity: kept over restarts, renewed in time, lost with a clear word.

use std::time::Duration;

use longshore_agent::fleet::join::EnterError;
use longshore_coordinator::fleet::client::AgentClient;

use super::setting::{CountedPolls, Fleet, poll_of};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_is_the_host_it_was_even_without_its_coordinator() {
    let fleet = Fleet::start(0xe1).await;
    let host = fleet.host().await;
    let mut entry = host.entry.clone();
    // The token is used up, and then gone; the coordinator is not there.
    for token in [entry.token.clone(), None] {
        entry.token = token;
        entry.coordinator = "127.0.0.1:1".into();
        let (again, _) = fleet.enter(&entry).await.unwrap();
        assert_eq!((again.host, again.fleet), (host.membership.host, host.membership.fleet));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_identity_and_token_is_told_how_to_get_one() {
    let fleet = Fleet::start(0xe2).await;
    let directory = tempfile::tempdir().unwrap();
    let error = fleet.enter(&fleet.entry(directory.path(), None)).await.err().unwrap();
    assert!(matches!(error, EnterError::NoToken));
    assert!(error.to_string().contains("longshore-coordinator join-token create"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_a_running_endpoint_for_days() {
    let mut fleet = Fleet::start(0xe3).await;
    let mut host = fleet.host().await;
    let polls = CountedPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    let mut renewals = 0;
    for hour in 0..100 {
        // A new client every time: each poll shakes hands with what is current on both sides.
        fleet.client().poll(&peer, poll_of(&peer, 0)).await.unwrap();
        assert_eq!(polls.reached(), hour + 1);
        fleet.clock.advance(HOUR);
        fleet.own.renew_if_due(longshore_common::clock::Clock::wall(&*fleet.clock)).unwrap();
        if host.renewal.renew_if_due().await.unwrap().is_some() {
            renewals += 1;
            let (kept, _) = fleet.enter(&host.entry).await.unwrap();
            assert_eq!(kept.host, host.membership.host);
        }
    }
    println!("renewals {renewals} in 100 hours");
    assert!((4..=9).contains(&renewals), "{renewals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_identity_is_refused_with_what_to_do() {
    let fleet = Fleet::start(0xe5).await;
    let (host, other) = (fleet.host().await, fleet.host().await);
    let path = longshore_agent::fleet::identity::Identity::path(host.directory.path());
    let whole = std::fs::read_to_string(&path).unwrap();
    let others = longshore_agent::fleet::identity::Identity::path(other.directory.path());
    let others: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(others).unwrap()).unwrap();
    let changed = |member: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&whole).unwrap();
        value[member] = others[member].clone();
        value.to_string()
    };
    let mut cells = 0;
    for damaged in [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        changed("key"),
        changed("chain"),
        changed("host"),
    ] {
        std::fs::write(&path, damaged).unwrap();
        let error = fleet.enter(&host.entry).await.err().unwrap();
        let shown = format!("{error:?}");
        let EnterError::Identity(error) = error else { panic!("{shown}") };
        assert!(error.to_string().contains("remove it and join again"), "{error}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
        cells += 1;
    }
    println!("damages_found {cells} cells");
    assert_eq!(cells, 5);
}
