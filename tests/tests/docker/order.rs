//! Task definitions of several containers as people write them, run on a real engine: what starts
//! and stops when, read from the engine's own events.

use std::{collections::BTreeMap, time::Duration};

use longshore_common::clock::{Clock, SystemClock};
use longshore_harness::{
    ecs::EcsClient,
    engine_api::{EngineApi, percent_encoded},
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::definition::{SLEEPER, wait};

const PATIENCE: Duration = Duration::from_secs(120);
/// Pace of looking at what the engine has told.
const LOOK_EVERY: Duration = Duration::from_millis(200);

struct OneHost {
    fleet: Fleet,
    client: EcsClient,
}

impl OneHost {
    async fn start() -> OneHost {
        let settings = FleetSettings { hosts: 1, ..Default::default() };
        let fleet = Fleet::start(settings).await.unwrap();
        let client = fleet.ecs().unwrap();
        OneHost { fleet, client }
    }

    fn engine(&self) -> EngineApi {
        self.fleet.hosts[0].engine().unwrap()
    }

    /// Runs one task of these containers.
    async fn run(&self, containers: Value, more: Value) -> [String; 1] {
        let mut definition = json!({ "family": "app", "containerDefinitions": containers });
        for container in definition["containerDefinitions"].as_array_mut().unwrap() {
            container["image"] = json!(SAMPLE_IMAGE);
            container["memory"] = json!(16);
        }
        for (name, value) in more.as_object().unwrap() {
            definition[name] = value.clone();
        }
        self.client.call("RegisterTaskDefinition", definition).await.unwrap();
        let ran = self.client.call("RunTask", json!({ "taskDefinition": "app" })).await.unwrap();
        assert_eq!(ran["failures"], json!([]), "{ran:#}");
        [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()]
    }

    async fn wait(&self, state: &str, task: &[String]) {
        wait(&self.fleet.aws(), state, task).await;
    }

    async fn stop(&self, task: &[String]) {
        self.client.call("StopTask", json!({ "task": task[0] })).await.unwrap();
        self.wait("tasks-stopped", task).await;
    }

    async fn described(&self, task: &[String]) -> Value {
        let described = self.client.call("DescribeTasks", json!({ "tasks": task })).await.unwrap();
        described["tasks"][0].clone()
    }

    async fn exit_codes(&self, task: &[String]) -> BTreeMap<String, i64> {
        let described = self.described(task).await;
        let containers = described["containers"].as_array().unwrap().clone();
        let code = |c: &Value| Some((c["name"].as_str()?.to_owned(), c["exitCode"].as_i64()?));
        containers.iter().filter_map(code).collect()
    }

    /// What the engine tells of starts and ends so far, as `start db`, in its order.
    async fn told(&self) -> Vec<String> {
        let filters = json!({ "type": ["container"], "event": ["start", "die"] }).to_string();
        let until = SystemClock::start().wall().0 / 1000 + 1;
        let filters = percent_encoded(&filters);
        let path = format!("/events?since=0&until={until}&filters={filters}");
        let answer = self.engine().get(&path).await.unwrap();
        let mut told: Vec<(i64, String)> = serde_json::Deserializer::from_slice(&answer.body)
            .into_iter::<Value>()
            .map(|event| {
                let event = event.unwrap();
                let name = &event["Actor"]["Attributes"]["com.amazonaws.ecs.container-name"];
                let what = event["Action"].as_str().unwrap();
                let at = event["timeNano"].as_i64().unwrap();
                (at, format!("{what} {}", name.as_str().unwrap()))
            })
            .collect();
        told.sort();
        told.into_iter().map(|(_, what)| what).collect()
    }
}

#[tokio::test]
async fn a_web_server_starts_after_its_migration_and_stops_before_its_sidecar() {
    let host = OneHost::start().await;
    let task = host
        .run(
            json!([
                {
                    "name": "web", "command": SLEEPER,
                    "dependsOn": [
                        { "containerName": "migrate", "condition": "SUCCESS" },
                        { "containerName": "proxy", "condition": "START" },
                    ],
                },
                {
                    "name": "migrate", "essential": false, "command": ["/bin/sh", "-c", "sleep 1"],
                    "dependsOn": [{ "containerName": "proxy", "condition": "START" }],
                },
                { "name": "proxy", "command": SLEEPER },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-running", &task).await;
    host.stop(&task).await;
    assert_eq!(
        host.told().await,
        ["start proxy", "start migrate", "die migrate", "start web", "die web", "die proxy"],
    );
    assert_eq!(host.exit_codes(&task).await["migrate"], 0);
}

#[tokio::test]
async fn web_server_does_not_start_when_its_migration_failed() {
    let host = OneHost::start().await;
    let task = host
        .run(
            json!([
                {
                    "name": "web", "command": SLEEPER,
                    "dependsOn": [{ "containerName": "migrate", "condition": "SUCCESS" }],
                },
                { "name": "migrate", "essential": false, "command": ["/bin/sh", "-c", "exit 4"] },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-stopped", &task).await;
    let described = host.described(&task).await;
    assert_eq!(described["stopCode"], json!("TaskFailedToStart"));
    assert_eq!(
        described["stoppedReason"],
        json!(
            "CannotStartContainerError: container web depends on migrate, which ended with exit \
             code 4 before it was a SUCCESS"
        ),
    );
    assert_eq!(host.told().await, ["start migrate", "die migrate"]);
}

#[tokio::test]
async fn an_init_container_that_does_not_end_in_time_fails_the_task() {
    let host = OneHost::start().await;
    let task = host
        .run(
            json!([
                {
                    "name": "app", "command": SLEEPER,
                    "dependsOn": [{ "containerName": "init", "condition": "COMPLETE" }],
                },
                { "name": "init", "essential": false, "command": SLEEPER, "startTimeout": 2 },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-stopped", &task).await;
    let described = host.described(&task).await;
    let reason = described["stoppedReason"].as_str().unwrap();
    assert!(reason.ends_with("was not COMPLETE within its startTimeout of 2 s"), "{reason}");
    assert_eq!(host.told().await, ["start init", "die init"]);
}

#[tokio::test]
async fn a_worker_waits_for_a_healthy_queue() {
    let host = OneHost::start().await;
    let queue = "trap 'exit 0' TERM; sleep 1; echo ready > /tmp/ready; sleep 100000 & wait";
    let task = host
        .run(
            json!([
                {
                    "name": "worker", "command": SLEEPER,
                    "dependsOn": [{ "containerName": "queue", "condition": "HEALTHY" }],
                },
                {
                    "name": "queue", "command": ["/bin/sh", "-c", queue],
                    "healthCheck": {
                        "command": ["CMD-SHELL", "cat /tmp/ready"],
                        "interval": 5, "timeout": 2, "retries": 3,
                    },
                },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-running", &task).await;
    let described = host.described(&task).await;
    let containers = described["containers"].as_array().unwrap();
    let queue = containers.iter().find(|c| c["name"] == json!("queue")).unwrap();
    assert_eq!(queue["healthStatus"], json!("HEALTHY"), "{described:#}");
    host.stop(&task).await;
    let told = host.told().await;
    assert_eq!(told, ["start queue", "start worker", "die worker", "die queue"]);
}

#[tokio::test]
async fn linked_containers_reach_each_other_by_their_alias() {
    let host = OneHost::start().await;
    let task = host
        .run(
            json!([
                {
                    "name": "client", "links": ["server:backend"],
                    "command": ["/bin/sh", "-c", "wget -q -O - http://backend/ | cat"],
                },
                {
                    "name": "server", "essential": false,
                    "command": ["/bin/httpd", "-f", "-p", "80", "-h", "/www"], "stopTimeout": 2,
                },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-stopped", &task).await;
    assert_eq!(host.exit_codes(&task).await["client"], 0, "{:#}", host.described(&task).await);
    assert_eq!(host.told().await[..2], ["start server", "start client"]);
}

#[tokio::test]
async fn containers_of_a_task_share_its_volumes_which_go_with_it() {
    let host = OneHost::start().await;
    let mounts = json!([{ "sourceVolume": "scratch", "containerPath": "/scratch" }]);
    let task = host
        .run(
            json!([
                {
                    "name": "reader", "mountPoints": mounts,
                    "command": ["/bin/sh", "-c", "exit $(cat /scratch/code)"],
                    "dependsOn": [{ "containerName": "writer", "condition": "COMPLETE" }],
                },
                {
                    "name": "writer", "essential": false, "mountPoints": mounts,
                    "command": ["/bin/sh", "-c", "echo 7 > /scratch/code; exit 3"],
                },
            ]),
            json!({ "volumes": [{ "name": "scratch" }] }),
        )
        .await;
    host.wait("tasks-stopped", &task).await;
    let codes = host.exit_codes(&task).await;
    assert_eq!((codes["reader"], codes["writer"]), (7, 3));
}

#[tokio::test]
async fn a_container_with_a_restart_policy_is_started_again_in_place() {
    let host = OneHost::start().await;
    // The shortest period that ECS takes is a minute.
    let policy = json!({
        "enabled": true, "restartAttemptPeriod": 60, "ignoredExitCodes": [9],
    });
    let task = host
        .run(
            json!([
                {
                    "name": "worker", "essential": false, "restartPolicy": policy, "stopTimeout": 2,
                    "command": ["/bin/sh", "-c", "sleep 61; exit 3"],
                },
                {
                    "name": "done", "essential": false, "restartPolicy": policy,
                    "command": ["/bin/sh", "-c", "sleep 61; exit 9"],
                },
                { "name": "app", "command": SLEEPER },
            ]),
            json!({}),
        )
        .await;
    host.wait("tasks-running", &task).await;
    let before = host.described(&task).await;
    let count = |told: &[String], what: &str| told.iter().filter(|told| *told == what).count();
    let twice = async {
        while count(&host.told().await, "start worker") < 2 {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, twice).await.expect("the worker is not started again");
    assert_eq!(host.described(&task).await["lastStatus"], json!("RUNNING"));
    host.stop(&task).await;
    let told = host.told().await;
    assert_eq!((count(&told, "start worker"), count(&told, "start done")), (2, 1), "{told:?}");
    let runtime_id = |task: &Value| {
        let containers = task["containers"].as_array().unwrap().clone();
        containers.iter().find(|c| c["name"] == json!("worker")).unwrap()["runtimeId"].clone()
    };
    assert_eq!(runtime_id(&before), runtime_id(&host.described(&task).await));
}

#[tokio::test]
async fn a_worker_that_shares_its_processes_is_watched_by_its_sidecar() {
    let host = OneHost::start().await;
    let worker = "trap 'exit 0' TERM; sleep 100000 & wait";
    let task = host
        .run(
            json!([
                { "name": "worker", "command": ["/bin/sh", "-c", worker, "the-worker"] },
                {
                    "name": "monitor", "essential": false, "command": SLEEPER,
                    "dependsOn": [{ "containerName": "worker", "condition": "START" }],
                    "healthCheck": {
                        "command": ["CMD-SHELL", "/bin/busybox grep -q the-worker /proc/[0-9]*/cmdline"],
                        "interval": 5, "timeout": 2, "retries": 3,
                    },
                },
                {
                    "name": "gate", "command": SLEEPER,
                    "dependsOn": [{ "containerName": "monitor", "condition": "HEALTHY" }],
                },
            ]),
            json!({ "pidMode": "task" }),
        )
        .await;
    host.wait("tasks-running", &task).await;
    host.stop(&task).await;
    let pause = "~internal~ecs~pause";
    assert_eq!(
        host.told().await,
        [
            &format!("start {pause}"),
            "start worker",
            "start monitor",
            "start gate",
            "die gate",
            "die monitor",
            "die worker",
            &format!("die {pause}"),
        ],
    );
    assert_eq!(host.exit_codes(&task).await["worker"], 0, "{:#}", host.described(&task).await);
}

#[tokio::test]
async fn proxy_waits_for_a_healthy_web_server_after_its_pages() {
    let host = OneHost::start().await;
    let mounts = json!([{ "sourceVolume": "pages", "containerPath": "/pages" }]);
    let web = "trap 'exit 0' TERM; /bin/httpd -p 80 -h /pages; sleep 100000 & wait";
    let task = host
        .run(
            json!([
                {
                    "name": "proxy", "links": ["web"], "stopTimeout": 2,
                    "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; wget -q -O - http://web/ && sleep 100000 & wait"],
                    "dependsOn": [{ "containerName": "web", "condition": "HEALTHY" }],
                },
                {
                    "name": "web", "mountPoints": mounts, "command": ["/bin/sh", "-c", web],
                    "dependsOn": [{ "containerName": "writer", "condition": "COMPLETE" }],
                    "healthCheck": {
                        "command": ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/"],
                        "interval": 5, "timeout": 2, "retries": 3,
                    },
                },
                {
                    "name": "writer", "essential": false, "mountPoints": mounts,
                    "command": ["/bin/sh", "-c", "echo written before > /pages/index.html"],
                },
            ]),
            json!({ "volumes": [{ "name": "pages" }] }),
        )
        .await;
    host.wait("tasks-running", &task).await;
    host.stop(&task).await;
    assert_eq!(
        host.told().await,
        ["start writer", "die writer", "start web", "start proxy", "die proxy", "die web"],
    );
    let described = host.described(&task).await;
    let said = described["attachments"][0]["details"].as_array().unwrap();
    assert!(said.iter().any(|d| d["value"] == json!("written before")), "{described:#}");
}
