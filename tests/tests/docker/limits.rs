//! What a whole task may use: as its definition says, by a control group around several containers, and
//! as its host allows.

use std::{path::PathBuf, time::Duration};

use longshore_harness::{
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
async fn containers_share_their_tasks_limits_until_it_ends() {
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

/// As a host's ecs.config sets them for all tasks: host ports that nobody asked for by number, and
/// processes.
#[tokio::test]
async fn ports_and_processes_are_those_that_an_ecs_config_allows() {
    let variables = [("ECS_DYNAMIC_HOST_PORT_RANGE", "47000-47003"), ("ECS_TASK_PIDS_LIMIT", "20")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let agent_environment = variables.to_vec();
    let settings = FleetSettings { hosts: 1, agent_environment, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let container = |name: &str| {
        json!({ "name": name, "image": SAMPLE_IMAGE, "command": SLEEPER, "memory": 32,
            "portMappings": [{ "containerPort": 80, "hostPort": 0 }] })
    };
    let forks = "n=0; while [ $n -lt 40 ]; do /bin/busybox sleep 60 & n=$((n+1)); done; echo all";
    let greedy = json!({ "name": "app", "image": SAMPLE_IMAGE, "memory": 32,
        "command": ["/bin/sh", "-c", forks] });
    for (family, containers) in
        [("two", json!([container("app"), container("side")])), ("greedy", json!([greedy]))]
    {
        let definition = json!({ "family": family, "containerDefinitions": containers });
        client.call("RegisterTaskDefinition", definition).await.unwrap();
    }
    let run = |family: &str| client.call("RunTask", json!({ "taskDefinition": family }));
    let ran = run("two").await.unwrap();
    let two = [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()];
    wait(&fleet.aws(), "tasks-running", &two).await;
    let described = client.call("DescribeTasks", json!({ "tasks": two })).await.unwrap();
    let containers = described["tasks"][0]["containers"].as_array().unwrap();
    let bindings = containers.iter().flat_map(|c| c["networkBindings"].as_array().unwrap());
    let ports: Vec<u64> = bindings.filter_map(|binding| binding["hostPort"].as_u64()).collect();
    assert!(ports.len() >= 2, "{described:#}");
    assert!(ports.iter().all(|port| (47_000..=47_003).contains(port)), "{ports:?}");
    let group = format!("/docker/longshore_{}_1", two[0].rsplit('/').next().unwrap());
    assert_eq!(limit(&group, "pids", "pids.max", "pids.max"), "20");

    let ran = run("greedy").await.unwrap();
    let describe = json!({ "tasks": [ran["tasks"][0]["taskArn"]] });
    let ended = |described: &Value| {
        let task = &described["tasks"][0];
        (task["lastStatus"] == json!("STOPPED")).then(|| task.clone())
    };
    let ended = client.eventually("DescribeTasks", describe, PATIENCE, ended).await.unwrap();
    assert_ne!(ended["containers"][0]["exitCode"], json!(0), "{ended:#}");
}
