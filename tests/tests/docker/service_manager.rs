//! What both programs tell systemd.

use std::time::Duration;

use longshore_harness::{
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

#[tokio::test]
async fn agent_ends_in_peace_at_each_line_of_its_start() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    fleet.stop_agent(0).await.unwrap();
    let (mut failed, mut lines, mut was_ready) = (Vec::new(), 0, false);
    while !was_ready {
        lines += 1;
        let agent = fleet.spawn_agent(0).await.unwrap();
        let log = agent.log().clone();
        let (mut left, mut ready) = (lines, false);
        let counted = |line: &str| {
            left -= 1;
            // The order of lines differs from start to start.
            ready |= line.contains("\"ready\"");
            (left == 0).then_some(ready)
        };
        (was_ready, _) = log.wait_for(0, PATIENCE, counted).await.unwrap();
        let status = agent.terminate(PATIENCE).await.unwrap();
        if !status.success() {
            failed.push(format!("after {lines} lines: {status}\n{}", log.tail()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n---\n"));
}
