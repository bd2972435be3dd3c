//! What both programs tell systemd.

use std::time::Duration;

use longshore_tests::harness::{
    binaries::{self, binary},
    fleet::{Fleet, FleetSettings},
    process::{Launch, Process},
    slot::Slot,
};
use rustix::process::Signal;

/// Half of it may pass between two signs of life.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "4000000");
const PATIENCE: Duration = Duration::from_secs(10);

async fn tells_all(mut program: Process) {
    program.notified("WATCHDOG=1", PATIENCE).await.unwrap();
    program.notified("WATCHDOG=1", PATIENCE).await.unwrap();
    program.signal(Signal::TERM).unwrap();
    program.notified("STOPPING=1", PATIENCE).await.unwrap();
    assert!(program.ended().await.unwrap().success());
}

#[tokio::test]
async fn the_coordinator_tells_ready_watchdog_and_stopping() {
    let slot = Slot::take().unwrap();
    let launch = Launch {
        name: "coordinator".to_owned(),
        program: binary(binaries::COORDINATOR).unwrap(),
        arguments: vec![
            format!("--data-dir={}", slot.folder().join("coordinator").display()),
            "--listen=127.0.0.1:0".to_owned(),
            "--join-listen=127.0.0.1:0".to_owned(),
            "--advertise=127.0.0.1".to_owned(),
        ],
        environment: vec![(WATCHDOG.0.to_owned(), WATCHDOG.1.to_owned())],
        host: None,
        folder: slot.folder(),
        notifies: true,
        echo: None,
    };
    // Ready is what `start` waits for.
    tells_all(Process::start(launch).await.unwrap()).await;
}

#[tokio::test]
async fn the_agent_tells_ready_watchdog_and_stopping() {
    let settings = FleetSettings {
        hosts: 1,
        agent_environment: vec![(WATCHDOG.0.to_owned(), WATCHDOG.1.to_owned())],
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    tells_all(fleet.hosts[0].agent.take().unwrap()).await;
}
