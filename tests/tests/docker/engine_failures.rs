//! Docker fails, and no coordinator is there: the campaigns' short forms.

use std::time::Duration;

use longshore_tests::campaign::{EngineFaults, EngineOutages, StaticStability};

/// Every call with every fault, once.
const CELLS: usize = 140;
const CRASHES: usize = 5;
const OUTAGE: Duration = Duration::from_secs(45);
const SEED: u64 = 20_26;

#[tokio::test]
async fn every_call_of_docker_may_fail_in_every_way() {
    EngineFaults::scaled_only(CELLS, SEED).run().await.unwrap().judge().unwrap();
}

#[tokio::test]
async fn a_crash_of_dockerd_stops_and_replaces_nothing() {
    EngineOutages::short_crashes(CRASHES, SEED).run().await.unwrap().judge().unwrap();
}

#[tokio::test]
async fn without_a_coordinator_all_goes_on_and_its_return_changes_nothing() {
    StaticStability::of(OUTAGE).run().await.unwrap().judge().unwrap();
}
