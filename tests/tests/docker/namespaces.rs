//! Containers of a task that share their processes and their memory, on a real engine.

use std::{collections::BTreeMap, time::Duration};

use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
    lives::Life,
};
use serde_json::{Value, json};

use crate::definition::{SLEEPER, lives, wait};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: &str = "~internal~ecs~pause";

/// Ends with 7 when it sees the other container's process and memory, and its orphan was reaped.
const LOOKER: &str = "\
    echo from-looker > /dev/shm/looker; \
    while ! [ -f /dev/shm/app ]; do sleep 0.1; done; \
    (sleep 0.1 & exit); sleep 0.5; \
    /bin/busybox grep -l ' Z ' /proc/[0-9]*/stat 2> /dev/null && exit 4; \
    /bin/busybox grep -q the-app /proc/[0-9]*/cmdline 2> /dev/null || exit 5; \
    [ \"$(cat /dev/shm/app)\" = from-app ] || exit 6; \
    exit 7";

/// Of containers that share everything; `app` is the essential one.
fn definition(looker: Value) -> Value {
    let app = "trap 'exit 0' TERM; echo from-app > /dev/shm/app; sleep 100000 & wait";
    let container = |name: &str, essential: bool, command: Value| {
        json!({ "name": name, "image": SAMPLE_IMAGE, "memory": 16, "essential": essential,
                "command": command, "stopTimeout": 5 })
    };
    json!({
        "family": "shared", "pidMode": "task", "ipcMode": "task", "memory": "64", "cpu": "128",
        "containerDefinitions": [
            container("app", true, json!(["/bin/sh", "-c", app, "the-app"])),
            container("looker", false, looker),
        ],
    })
}

async fn run(client: &EcsClient) -> [String; 1] {
    let ran = client.call("RunTask", json!({ "taskDefinition": "shared" })).await.unwrap();
    assert_eq!(ran["failures"], json!([]), "{ran:#}");
    [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()]
}

async fn described(client: &EcsClient, task: &[String]) -> Value {
    let described = client.call("DescribeTasks", json!({ "tasks": task })).await.unwrap();
    described["tasks"][0].clone()
}

/// Every container that there is, by the definition's name of it: its id.
async fn ids(fleet: &Fleet) -> BTreeMap<String, String> {
    let containers = fleet.hosts[0].engine().unwrap().containers(true).await.unwrap();
    let named = |c: longshore_harness::engine_api::Listed| {
        (c.labels["com.amazonaws.ecs.container-name"].clone(), c.id)
    };
    containers.into_iter().map(named).collect()
}

#[tokio::test]
async fn containers_of_a_task_see_each_others_processes_and_memory() {
    let wait_for_cleanup = "--task-cleanup-wait=1s".to_owned();
    let settings =
        FleetSettings { hosts: 1, agent_arguments: vec![wait_for_cleanup], ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let (client, aws) = (fleet.ecs().unwrap(), fleet.aws());
    let engine = fleet.hosts[0].engine().unwrap();
    let looker = definition(json!(["/bin/sh", "-c", LOOKER]));
    client.call("RegisterTaskDefinition", looker).await.unwrap();
    let task = run(&client).await;
    let looked = |described: &Value| {
        let containers = described["tasks"][0]["containers"].as_array()?;
        assert_eq!(containers.len(), 2, "{described:#}");
        containers.iter().find(|c| c["name"] == json!("looker"))?["exitCode"].as_i64()
    };
    let describe = json!({ "tasks": task });
    let code = client.eventually("DescribeTasks", describe, PATIENCE, looked).await.unwrap();
    assert_eq!(code, 7, "{:#}", described(&client, &task).await);

    // The agent adopts what runs, and goes on in the right order.
    let before: BTreeMap<String, Life> = lives(&fleet).await;
    fleet.kill_agent(0).await.unwrap();
    fleet.start_agent(0).await.unwrap();
    fleet.all_connected().await.unwrap();
    assert_eq!(lives(&fleet).await, before);
    assert_eq!(described(&client, &task).await["lastStatus"], json!("RUNNING"));
    client.call("StopTask", json!({ "task": task[0] })).await.unwrap();
    wait(&aws, "tasks-stopped", &task).await;
    nothing_is_left(&fleet).await;

    // What shares its processes ends with it, and why is said.
    let sleeper = definition(json!(SLEEPER));
    client.call("RegisterTaskDefinition", sleeper).await.unwrap();
    let task = run(&client).await;
    wait(&aws, "tasks-running", &task).await;
    let pause = ids(&fleet).await[PAUSE].clone();
    engine.post(&format!("/containers/{pause}/kill"), json!({})).await.unwrap();
    wait(&aws, "tasks-stopped", &task).await;
    let shown = described(&client, &task).await;
    assert_eq!(shown["stopCode"], json!("EssentialContainerExited"));
    assert!(shown["stoppedReason"].as_str().unwrap().contains(PAUSE), "{shown:#}");
    assert_eq!(shown["containers"].as_array().unwrap().len(), 2);
    nothing_is_left(&fleet).await;
}

async fn nothing_is_left(fleet: &Fleet) {
    let gone = async {
        while !ids(fleet).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("containers are left");
}
