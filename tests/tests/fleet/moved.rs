//! A coordinator that is not where a host's settings say it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore_agent::{
    engine::{
        supervisor::{self, EngineConfig},
        topics::Topics as Followed,
    },
    fleet::join::CallError,
    runtime::fake::FakeRuntime,
};
use longshore_common::{arn, protocol::RegisterRequest, topic::TopicName};
use longshore_coordinator::fleet::{poller, topics::Topics};
use longshore_core::{Command, command::EpochCommand};
use tokio_util::sync::CancellationToken;

use super::setting::{Fleet, Host, registration};

const PATIENCE: Duration = Duration::from_secs(20);
/// Nobody listens there: the port is reserved (RFC 6335).
const NOBODY: &str = "127.0.0.1:1";

/// The host's agent starts again, and its settings name another address.
async fn restarted(fleet: &Fleet, host: &Host, coordinator: &str) -> Host {
    let mut entry = host.entry.clone();
    entry.coordinator = coordinator.to_owned();
    let (membership, renewal) = fleet.enter(&entry).await.unwrap();
    Host { membership, renewal, directory: tempfile::tempdir().unwrap(), entry }
}

fn publish(topics: &Topics, addresses: &[&str]) {
    let entries = addresses.iter().map(|&address| (address.to_owned(), Bytes::new()));
    topics.replace(&TopicName::coordinators(), entries.collect()).unwrap();
}

/// Starts the host's engine, its poll endpoint and the coordinator's polls. Returns once the host has
/// learned what is published.
async fn learn(fleet: &Fleet, host: &Host, topics: Arc<Topics>) {
    let mut followed = Followed::default();
    let told = followed.follow(TopicName::coordinators());
    let ledger = host.directory.path().join("ledger.db");
    let mut config = EngineConfig::new(host.membership.fleet, host.membership.host, ledger);
    config.topics = followed;
    let clock = fleet.dyn_clock();
    let docker = FakeRuntime::new(clock.clone());
    let (engine, _running) =
        supervisor::start(config, docker, clock, fleet.shutdown.clone()).unwrap();
    let peer = host.serve(fleet, engine).await;
    let request = RegisterRequest { poll_address: peer.address, ..registration("default") };
    host.membership.register(&request).await.unwrap();
    let start = Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 });
    fleet.handle.submit_always(start, |_, _| ()).await.unwrap();
    let identity = arn::Identity { region: "us-east-1".into(), account: "0".repeat(12) };
    let (handle, until) = (fleet.handle.clone(), fleet.shutdown.clone());
    let (client, id) = (Arc::new(fleet.client()), fleet.authority.fleet());
    tokio::spawn(async move { poller::run(handle, client, id, identity, topics, until).await });
    let mut heard = told.clone();
    let coordinators = host.membership.coordinators.clone();
    let learning = coordinators.keep_learning(told, CancellationToken::new());
    tokio::spawn(learning);
    tokio::time::timeout(PATIENCE, heard.changed()).await.expect("the topic arrives").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_finds_the_coordinator_where_the_fleet_says_it_is() {
    let (fleet, other) = (Fleet::start(0xe60).await, Fleet::start(0xe61).await);
    let host = fleet.host().await;
    let lost = restarted(&fleet, &host, NOBODY).await;
    let unreached = lost.membership.register(&registration("default")).await.unwrap_err();
    assert!(matches!(unreached, CallError::Unreachable { .. }), "{unreached:?}");

    // The first on the list is of another fleet, and proves to be no coordinator of this one.
    let (stranger, joining) = (other.joining.to_string(), fleet.joining.to_string());
    let topics = Arc::new(Topics::new(fleet.authority.topic_key(), 1));
    publish(&topics, &[&stranger, &joining]);
    learn(&fleet, &host, topics).await;
    let kept = host.directory.path().join("coordinators.json");
    let written = async {
        while !kept.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("the list is kept");

    let again = restarted(&fleet, &host, NOBODY).await;
    let registered = again.membership.register(&registration("default")).await.unwrap();
    assert_eq!(registered.host, host.membership.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_finds_no_coordinator_names_the_address_in_its_settings() {
    let fleet = Fleet::start(0xe62).await;
    let host = fleet.host().await;
    let list = r#"{"coordinators": ["127.0.0.1:2", "127.0.0.1:3"]}"#;
    std::fs::write(host.directory.path().join("coordinators.json"), list).unwrap();
    let lost = restarted(&fleet, &host, NOBODY).await;
    let unreached = lost.membership.register(&registration("default")).await.unwrap_err();
    assert!(unreached.to_string().contains(NOBODY), "{unreached}");
}
