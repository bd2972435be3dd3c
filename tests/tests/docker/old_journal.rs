//! A coordinator that is started on an older journal than its agents have seen.

use std::time::Duration;

use longshore_harness::{
    binaries::{self, binary},
    command::run as run_command,
    fleet::{Fleet, FleetSettings},
};
use serde_json::{Value, json};

use crate::definition::{lives, register, run, tasks_of, wait};

const ALARM_WITHIN: Duration = Duration::from_secs(20);

/// A subcommand of the coordinator, as an operator types it.
fn coordinator(fleet: &Fleet, words: &[&str]) -> String {
    let program = binary(binaries::COORDINATOR).unwrap().display().to_string();
    let data_dir = format!("--data-dir={}", fleet.coordinator_folder().display());
    let listen = format!("--listen={}", fleet.api_address());
    run_command(&program, &[words, &[&data_dir, &listen]].concat()).unwrap()
}

#[tokio::test]
async fn an_older_journal_orders_nothing_until_an_operator_recovers() {
    let settings = FleetSettings { hosts: 2, record: true, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let early = tasks_of(&run(&aws, "sleeper", &["--count", "4"]).await);
    wait(&aws, "tasks-running", &early).await;
    let copy = fleet.folder().join("copy.db");
    coordinator(&fleet, &["backup", "--to", &copy.display().to_string()]);
    let late = tasks_of(&run(&aws, "sleeper", &["--count", "4"]).await);
    wait(&aws, "tasks-running", &late).await;
    let before = lives(&fleet).await;
    assert_eq!(before.len(), 8);

    fleet.kill_coordinator().await.unwrap();
    // Killed, it leaves a write-ahead log, which is no part of what is restored.
    let restored = coordinator(&fleet, &["restore", "--from", &copy.display().to_string()]);
    assert!(restored.contains("journal-before-restore-1.db"), "{restored}");
    fleet.hosts.iter().for_each(|host| host.proxy.as_ref().unwrap().clear());
    fleet.start_coordinator().await.unwrap();
    let log = fleet.coordinator().unwrap().log().clone();
    let alarm = |line: &str| line.contains("ALARM").then(|| line.to_owned());
    let (alarm, _) = log.wait_for(0, ALARM_WITHIN, alarm).await.unwrap();
    assert!(alarm.contains("longshore-coordinator recover"), "{alarm}");
    let refused = aws.ecs_says(&["run-task", "--task-definition", "sleeper"]).await.unwrap();
    assert_ne!(refused.code, 0);
    assert!(refused.error.contains("longshore-coordinator recover"), "{}", refused.error);
    for host in &fleet.hosts {
        assert_eq!(host.proxy.as_ref().unwrap().changes(), []);
    }
    assert_eq!(lives(&fleet).await, before);

    // Another start knows it as well, whatever its hosts were asked by the first one.
    fleet.kill_coordinator().await.unwrap();
    fleet.start_coordinator().await.unwrap();
    let refused = aws.ecs_says(&["run-task", "--task-definition", "sleeper"]).await.unwrap();
    assert_ne!(refused.code, 0);
    assert_eq!(lives(&fleet).await, before);

    coordinator(&fleet, &["recover"]);
    fleet.all_connected().await.unwrap();
    let client = fleet.ecs().unwrap();
    let all = [&early[..], &late[..]].concat();
    let everything = json!({ "tasks": all });
    client
        .eventually("DescribeTasks", everything, Duration::from_secs(20), |answer| {
            let tasks = answer["tasks"].as_array()?;
            let running = |task: &Value| task["lastStatus"] == json!("RUNNING");
            (tasks.len() == 8 && tasks.iter().all(running)).then_some(())
        })
        .await
        .unwrap();
    assert_eq!(lives(&fleet).await, before, "adopted, not restarted");
    aws.ecs(&["stop-task", "--task", &late[0]]).await.unwrap();
    wait(&aws, "tasks-stopped", &late[..1]).await;
    let more = tasks_of(&run(&aws, "sleeper", &["--count", "2"]).await);
    wait(&aws, "tasks-running", &more).await;
    assert_eq!(lives(&fleet).await.len(), 9);
}
