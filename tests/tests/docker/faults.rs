//! Hosts that are cut off, programs that are killed: containers go on, and what was acknowledged
//! is kept.

use std::time::Duration;

use longshore_harness::fleet::{Fleet, FleetSettings};
use longshore_tests::campaign::{Deadlines, Kept, Untouched};
use serde_json::{Value, json};

use crate::definition::{lives, register, run, tasks_of, wait};

/// Three beats of two missed ones, and the time that a loaded machine takes.
const SEEN_AS_CUT_OFF_WITHIN: Duration = Duration::from_secs(5);
/// The campaigns' short forms: each in a minute.
const COORDINATOR_KILLS: usize = 20;
const AGENT_KILLS: usize = 8;
const KILLS_WITH_DEADLINES: usize = 8;
const SEED: u64 = 20_26;

#[tokio::test]
async fn a_host_that_is_cut_off_keeps_its_containers_and_heals() {
    let fleet = Fleet::start(FleetSettings::default()).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    register(&aws, "sleeper", json!({})).await;
    let spread = ["--count", "6", "--placement-strategy", "type=spread,field=instanceId"];
    let tasks = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &tasks).await;
    let before = lives(&fleet).await;
    assert_eq!(before.len(), 6);

    fleet.hosts[1].network.cut().unwrap();
    tokio::time::timeout(SEEN_AS_CUT_OFF_WITHIN, fleet.connected_is(2)).await.unwrap().unwrap();
    let more = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &more).await;
    let of_cut = fleet.hosts[1].engine().unwrap().containers(false).await.unwrap();
    assert_eq!(of_cut.len(), 2, "nothing was placed there, and nothing was stopped");
    let described = client.call("DescribeTasks", json!({ "tasks": tasks })).await.unwrap();
    let statuses = described["tasks"].as_array().unwrap().iter().map(|t| &t["lastStatus"]);
    assert!(statuses.into_iter().all(|status| *status == json!("RUNNING")), "{described:#}");

    fleet.hosts[1].network.heal().unwrap();
    fleet.all_connected().await.unwrap();
    let after = lives(&fleet).await;
    let kept: Vec<_> = before.iter().filter(|(id, life)| after.get(*id) == Some(life)).collect();
    assert_eq!(kept.len(), 6, "{before:#?} became {after:#?}");
    assert_eq!(after.len(), 12);
    let again = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &again).await;
    assert_eq!(lives(&fleet).await.len(), 18);
}

#[tokio::test]
async fn a_task_stopped_while_its_host_is_cut_off_stops_when_it_heals() {
    let fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let tasks = tasks_of(&run(&aws, "sleeper", &["--count", "2"]).await);
    wait(&aws, "tasks-running", &tasks).await;
    fleet.hosts[0].network.cut().unwrap();
    fleet.connected_is(0).await.unwrap();
    let stopped = aws.ecs(&["stop-task", "--task", &tasks[0]]).await.unwrap();
    assert_eq!(stopped["task"]["desiredStatus"], json!("STOPPED"));
    let refused = run(&aws, "sleeper", &[]).await;
    assert_eq!(refused["failures"][0]["reason"], json!("AGENT"), "{refused:#}");
    assert_eq!(lives(&fleet).await.len(), 2);
    fleet.hosts[0].network.heal().unwrap();
    wait(&aws, "tasks-stopped", &tasks[..1]).await;
    assert_eq!(lives(&fleet).await.len(), 1);
}

#[tokio::test]
async fn tasks_that_end_while_the_coordinator_is_away_are_seen_when_it_is_back() {
    let mut fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let tasks = tasks_of(&run(&aws, "sleeper", &["--count", "3"]).await);
    wait(&aws, "tasks-running", &tasks).await;
    let before = lives(&fleet).await;
    fleet.kill_coordinator().await.unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let ended = before.keys().next().unwrap();
    engine.post(&format!("/containers/{ended}/kill"), Value::Null).await.unwrap();
    engine.wait(ended).await.unwrap();
    fleet.start_coordinator().await.unwrap();
    let client = fleet.ecs().unwrap();
    let describe = json!({ "tasks": tasks });
    let statuses = client
        .eventually("DescribeTasks", describe, Duration::from_secs(20), |answer| {
            let tasks = answer["tasks"].as_array()?;
            let stopped = tasks.iter().filter(|task| task["lastStatus"] == json!("STOPPED"));
            (stopped.count() == 1).then_some(tasks.len())
        })
        .await
        .unwrap();
    assert_eq!(statuses, 3);
    let mut after = lives(&fleet).await;
    assert_eq!(after.len(), 2);
    after.retain(|id, life| before.get(id) != Some(life));
    assert!(after.is_empty(), "the others were not touched");
}

#[tokio::test]
async fn what_a_killed_coordinator_acknowledged_is_there_after_its_restart() {
    let counts = Kept::of(COORDINATOR_KILLS, SEED).run().await.unwrap();
    counts.judge().unwrap();
}

#[tokio::test]
async fn a_killed_agent_restarts_and_doubles_no_container() {
    let counts = Untouched::of(AGENT_KILLS, SEED).run().await.unwrap();
    counts.judge().unwrap();
}

#[tokio::test]
async fn tasks_that_wait_are_not_lost_with_their_coordinator_and_end_in_time() {
    let counts = Deadlines::of(KILLS_WITH_DEADLINES, SEED).run().await.unwrap();
    counts.judge().unwrap();
}
