//! What a whole task may use, when it has several containers: a control group around theirs.

use std::{path::PathBuf, time::Duration};

use longshore_tests::harness::{
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};

use crate::definition::{SLEEPER, wait};

const PATIENCE: Duration = Duration::from_secs(60);
/// Where the hierarchies of control groups version 1 are on a usual host.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// A file of the task's group, by its controller in version 1 and by its name in either.
fn limit(group: &str, controller: &str, v1: &str, v2: &str) -> String {
    let group = group.trim_start_matches('/');
    let first = PathBuf::from(HIERARCHIES).join(controller).join(group).join(v1);
    let second = PathBuf::from(HIERARCHIES).join(group).join(v2);
    let file = if first.exists() { first } else { second };
    fs_err::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn containers_of_a_task_share_its_limits_and_the_group_goes_with_the_task() {
    let cleanup = ["--task-cleanup-wait", "1s"].map(str::to_owned);
    let agent_arguments = cleanup.to_vec();
    let settings = FleetSettings { hosts: 1, agent_arguments, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    // Each fits into the task's 64 MiB; both do not.
    let fill = "/bin/busybox dd if=/dev/zero of=/dev/shm/full bs=1M count=40 && while true; do \
                sleep 1; done";
    let greedy = json!(["/bin/sh", "-c", fill]);
    let container = |name: &str, command: &Value| {
        json!({ "name": name, "image": SAMPLE_IMAGE, "command": command, "cpu": 64,
            "stopTimeout": 2, "linuxParameters": { "sharedMemorySize": 64 } })
    };
    let register = |family: &str, command: Value| {
        json!({
            "family": family, "cpu": "256", "memory": "64",
            "containerDefinitions": [container("app", &command), container("sidecar", &command)],
        })
    };
    for definition in [register("modest", json!(SLEEPER)), register("greedy", greedy)] {
        client.call("RegisterTaskDefinition", definition).await.unwrap();
    }
    let run = |family: &str| client.call("RunTask", json!({ "taskDefinition": family }));

    let ran = run("modest").await.unwrap();
    let modest = [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()];
    wait(&fleet.aws(), "tasks-running", &modest).await;
    let task = modest[0].rsplit('/').next().unwrap();
    let group = format!("/docker/longshore_{task}_1");
    let engine = fleet.hosts[0].engine().unwrap();
    for listed in engine.containers(false).await.unwrap() {
        let id = listed.id;
        let inspected: Value = engine.get_json(&format!("/containers/{id}/json")).await.unwrap();
        assert_eq!(inspected["HostConfig"]["CgroupParent"], json!(group));
    }
    assert_eq!(
        limit(&group, "cpu", "cpu.cfs_quota_us", "cpu.max").split(' ').next(),
        Some("25000")
    );
    assert_eq!(limit(&group, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");

    let ran = run("greedy").await.unwrap();
    let describe = json!({ "tasks": [ran["tasks"][0]["taskArn"]] });
    let ended = |described: &Value| {
        let task = &described["tasks"][0];
        (task["lastStatus"] == json!("STOPPED")).then(|| task.clone())
    };
    let ended = client.eventually("DescribeTasks", describe, PATIENCE, ended).await.unwrap();
    let containers = ended["containers"].as_array().unwrap();
    assert!(containers.iter().any(|container| container["exitCode"] == json!(137)), "{ended:#}");

    client.call("StopTask", json!({ "task": modest[0] })).await.unwrap();
    wait(&fleet.aws(), "tasks-stopped", &modest).await;
    let gone = || {
        let hierarchies = ["", "cpu", "memory", "devices"];
        let path = |hierarchy: &&str| {
            PathBuf::from(HIERARCHIES).join(hierarchy).join(group.trim_start_matches('/'))
        };
        hierarchies.iter().all(|hierarchy| !path(hierarchy).exists())
    };
    let removed = async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, removed).await.expect("the task's control group stays");
}
