//! What hosts have, what tasks take, and what is said when there is not enough.

use std::{collections::BTreeMap, time::Duration};

use longshore_harness::{
    ecs::{EcsClient, list_all},
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::definition::{register, resource, run, tasks_of, wait};

const TASK_CPU: i64 = 64;
const TASK_MEMORY: i64 = 32;

async fn describe_hosts(client: &EcsClient) -> Vec<Value> {
    let arns = list_all(client, "ListContainerInstances", json!({}), "containerInstanceArns");
    let describe = json!({ "containerInstances": arns.await.unwrap() });
    let answer = client.call("DescribeContainerInstances", describe).await.unwrap();
    answer["containerInstances"].as_array().unwrap().clone()
}

/// What tasks that have not stopped take of each host, as the task API shows it.
async fn tasks_by_host(client: &EcsClient) -> BTreeMap<String, i64> {
    let mut arns = Vec::new();
    for desired in ["RUNNING", "STOPPED"] {
        let ask = json!({ "desiredStatus": desired });
        arns.extend(list_all(client, "ListTasks", ask, "taskArns").await.unwrap());
    }
    let mut hosts = BTreeMap::new();
    for some in arns.chunks(100) {
        let answer = client.call("DescribeTasks", json!({ "tasks": some })).await.unwrap();
        for task in answer["tasks"].as_array().unwrap() {
            if task["lastStatus"] != json!("STOPPED") {
                let host = task["containerInstanceArn"].as_str().unwrap().to_owned();
                *hosts.entry(host).or_default() += 1;
            }
        }
    }
    hosts
}

/// Checks the books until told to stop; how often they could be checked against the tasks.
async fn sample(client: EcsClient, mut stopped: watch::Receiver<bool>) -> usize {
    let mut compared = 0;
    while !*stopped.borrow_and_update() {
        let before = describe_hosts(&client).await;
        let tasks = tasks_by_host(&client).await;
        let after = describe_hosts(&client).await;
        for (host, again) in before.iter().zip(&after) {
            let count = |name: &str| host[name].as_i64().unwrap();
            let taken = |name| {
                let (registered, remaining) = resource(host, name);
                registered - remaining
            };
            let tasks_taken = taken("CPU") / TASK_CPU;
            assert_eq!(taken("CPU"), tasks_taken * TASK_CPU, "{host:#}");
            assert_eq!(taken("MEMORY"), tasks_taken * TASK_MEMORY, "{host:#}");
            // A task that is being stopped is in neither count, and takes until it has stopped.
            assert!(tasks_taken >= count("runningTasksCount") + count("pendingTasksCount"));
            // Nothing changed while the tasks were read: they must be what the host gives.
            if host == again {
                let arn = host["containerInstanceArn"].as_str().unwrap();
                assert_eq!(tasks.get(arn).copied().unwrap_or(0), tasks_taken, "{host:#}");
                compared += 1;
            }
        }
    }
    compared
}

#[tokio::test]
async fn registered_minus_remaining_is_what_runs_at_every_moment() {
    let fleet = Fleet::start(FleetSettings::default()).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({ "cpu": TASK_CPU, "memory": TASK_MEMORY })).await;
    let (stop, stopped) = watch::channel(false);
    let sampling = tokio::spawn(sample(fleet.ecs().unwrap(), stopped));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let spread = "type=spread,field=instanceId";
        let ran = run(&aws, "sleeper", &["--count", "10", "--placement-strategy", spread]).await;
        tasks.extend(tasks_of(&ran));
    }
    assert_eq!(tasks.len(), 30);
    wait(&aws, "tasks-running", &tasks).await;
    for host in &fleet.hosts {
        let containers = host.engine().unwrap().containers(false).await.unwrap();
        assert_eq!(containers.len(), 10, "spread over three hosts");
    }
    for task in &tasks[..15] {
        aws.ecs(&["stop-task", "--task", task]).await.unwrap();
    }
    wait(&aws, "tasks-stopped", &tasks[..15]).await;
    stop.send_replace(true);
    let compared = sampling.await.unwrap();
    assert!(compared >= 20, "only {compared} samples could be compared with the tasks");
    let client = fleet.ecs().unwrap();
    let mut left = 0;
    for host in describe_hosts(&client).await {
        let (registered, remaining) = resource(&host, "MEMORY");
        left += (registered - remaining) / TASK_MEMORY;
    }
    let mut containers = 0;
    for host in &fleet.hosts {
        containers += host.engine().unwrap().containers(false).await.unwrap().len();
    }
    assert_eq!((left, containers), (15, 15));
}

#[tokio::test]
async fn a_full_cluster_says_which_resource_is_missing_and_how_much() {
    let settings = FleetSettings { cpu: 1024, memory: 512, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let aws = fleet.aws();
    // One on each host: 412 MiB are nowhere twice.
    register(&aws, "wide", json!({ "cpu": 10, "memory": 412 })).await;
    let ran = run(&aws, "wide", &["--count", "4"]).await;
    assert_eq!(ran["tasks"].as_array().unwrap().len(), 3, "{ran:#}");
    let reasons = |ran: &Value| -> Vec<String> {
        let failures = ran["failures"].as_array().unwrap();
        failures.iter().map(|failure| failure["reason"].as_str().unwrap().to_owned()).collect()
    };
    assert!(reasons(&ran).iter().all(|reason| reason == "RESOURCE:MEMORY"), "{ran:#}");
    let detail = |ran: &Value| ran["failures"][0]["detail"].as_str().unwrap().to_owned();
    assert!(detail(&ran).contains("has 100 of the 412 MiB needed"), "{}", detail(&ran));
    register(&aws, "busy", json!({ "cpu": 1020, "memory": 16 })).await;
    let ran = run(&aws, "busy", &[]).await;
    assert_eq!(ran["tasks"], json!([]));
    assert!(reasons(&ran).iter().all(|reason| reason == "RESOURCE:CPU"), "{ran:#}");
    assert!(detail(&ran).contains("has 1014 of the 1020 CPU units needed"), "{}", detail(&ran));
    let small = run(
        &aws,
        "wide",
        &["--overrides", r#"{"containerOverrides":[{"name":"main","memory":64}]}"#],
    );
    tasks_of(&small.await);
}

#[tokio::test]
async fn a_full_cluster_is_explained_with_the_numbers_that_its_hosts_show() {
    let settings = FleetSettings { cpu: 1024, memory: 512, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    register(&aws, "half", json!({ "cpu": 10, "memory": 200 })).await;
    let longshore = client.longshore();
    let explain = async |count: u32| {
        let ask = json!({ "taskDefinition": "half", "count": count });
        longshore.call("Explain", ask).await.unwrap()["dryRun"].take()
    };
    let before = explain(7).await;
    let numbers = ["asked", "placed", "missing", "room", "containerInstances"];
    assert_eq!(numbers.map(|name| before[name].as_i64().unwrap()), [7, 6, 1, 6, 3], "{before:#}");
    let ran = run(&aws, "half", &["--count", "7"]).await;
    assert_eq!(ran["tasks"].as_array().unwrap().len(), 6, "{ran:#}");
    let full = explain(1).await;
    assert_eq!((&full["placed"], &full["room"]), (&json!(0), &json!(0)), "{full:#}");
    let reasons = full["reasons"].as_array().unwrap();
    assert_eq!((&reasons[0]["reason"], reasons.len()), (&json!("RESOURCE:MEMORY"), 1));
    assert_eq!(reasons[0]["containerInstances"], json!(3));
    let hosts = describe_hosts(&client).await;
    // What the dry run foresaw and what is now are what the hosts show.
    for explained in [&before, &full] {
        let closest = explained["closest"].as_array().unwrap();
        assert_eq!(closest.len(), 3, "{explained:#}");
        for host in &hosts {
            let arn = &host["containerInstanceArn"];
            let told = closest.iter().find(|one| one["containerInstanceArn"] == *arn).unwrap();
            let (_, remaining) = resource(host, "MEMORY");
            let gap = &told["gaps"][0];
            assert_eq!(gap["remaining"], json!(remaining), "{told:#}");
            assert_eq!((&gap["reason"], &gap["needed"]), (&json!("RESOURCE:MEMORY"), &json!(200)));
        }
    }
    // As the operator reads it.
    let said = fleet.coordinator_says(&["explain", "--task-definition", "half"]).unwrap();
    assert!(said.starts_with("0 of 1 tasks would be placed. In all there is room for 0"), "{said}");
    assert!(said.contains("RESOURCE:MEMORY") && said.contains("of the 200 MiB needed"), "{said}");
}

#[tokio::test]
async fn a_draining_host_keeps_its_tasks_and_gets_no_other() {
    let fleet = Fleet::start(FleetSettings { hosts: 2, ..Default::default() }).await.unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let spread = ["--count", "2", "--placement-strategy", "type=spread,field=instanceId"];
    let tasks = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &tasks).await;
    let described = aws.ecs(&["describe-tasks", "--tasks", &tasks[0]]).await.unwrap();
    let drained = described["tasks"][0]["containerInstanceArn"].as_str().unwrap().to_owned();
    let update = ["update-container-instances-state", "--container-instances", &drained];
    aws.ecs(&[&update[..], &["--status", "DRAINING"]].concat()).await.unwrap();
    let more = tasks_of(&run(&aws, "sleeper", &["--count", "5"]).await);
    wait(&aws, "tasks-running", &more).await;
    let on_drained = ["list-tasks", "--container-instance", &drained];
    assert_eq!(aws.ecs(&on_drained).await.unwrap()["taskArns"], json!([tasks[0]]));
    let draining = ["list-container-instances", "--status", "DRAINING"];
    assert_eq!(aws.ecs(&draining).await.unwrap()["containerInstanceArns"], json!([drained]));
    aws.ecs(&[&update[..], &["--status", "ACTIVE"]].concat()).await.unwrap();
    let back = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &back).await;
    let client = fleet.ecs().unwrap();
    let ask = json!({ "containerInstance": drained });
    let again = client
        .eventually("ListTasks", ask, Duration::from_secs(5), |tasks| {
            Some(tasks["taskArns"].as_array()?.len())
        })
        .await
        .unwrap();
    assert!(again >= 2, "the host that is active again has the fewest tasks");
}

#[tokio::test]
async fn a_task_goes_where_its_image_is_when_hosts_are_equally_good() {
    let fleet = Fleet::start(FleetSettings::default()).await.unwrap();
    let aws = fleet.aws();
    let tag = format!("/images/{SAMPLE_IMAGE}/tag?repo=warm&tag=1");
    let engine = fleet.hosts[1].engine().unwrap();
    assert!(engine.post(&tag, json!({})).await.unwrap().status.is_success());
    register(&aws, "warm", json!({ "image": "warm:1" })).await;
    let host = fleet.host_arn(1).await.unwrap();
    let start = ["start-task", "--task-definition", "warm", "--container-instances", &host];
    let started = tasks_of(&aws.ecs(&start).await.unwrap());
    wait(&aws, "tasks-running", &started).await;
    // What runs there is known to be there. In a group of its own, nothing else speaks for a host.
    for group in ["a", "b", "c", "d", "e", "f"] {
        let ran = run(&aws, "warm", &["--group", group]).await;
        assert_eq!(ran["tasks"][0]["containerInstanceArn"], json!(host), "{ran:#}");
    }
}
