//! The coordinator's program as its operators' tools meet it, without any host: clients of other AWS
//! services, subcommands, Prometheus.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "edge/foreign.rs"]
mod foreign;
#[path = "edge/subcommands.rs"]
mod subcommands;
#[path = "edge/prometheus.rs"]
mod prometheus;
#[path = "edge/ports.rs"]
mod ports;
#[path = "edge/stopping.rs"]
mod stopping;

use longshore_tests::bare_coordinator::BareCoordinator;

/// A coordinator on free ports, and its folder.
async fn coordinator(more: &[&str]) -> (BareCoordinator, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("coordinator");
    let coordinator = BareCoordinator::start(folder.path(), &data, more).await.unwrap();
    (coordinator, folder)
}
