//! Hosts come for tasks and go when there are none: real ones, launched by a program.

use std::{collections::BTreeMap, time::Duration};

use longshore_harness::{
    ecs::{EcsClient, list_all},
    fleet::Fleet,
    machines::Mishap,
    scaling::{PROVIDER, all_gone, fleet, group, machines, provide},
};
use serde_json::{Value, json};

use crate::definition::{register, run, tasks_of};

/// Hosts take some seconds to boot, on a machine that does much else.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);

async fn all_run(client: &EcsClient, tasks: &[String]) -> Vec<Value> {
    let describe = json!({ "tasks": tasks });
    let running = |answer: &Value| {
        let tasks = answer["tasks"].as_array()?;
        tasks.iter().all(|task| task["lastStatus"] == "RUNNING").then(|| tasks.clone())
    };
    client.eventually("DescribeTasks", describe, BOOT_PATIENCE, running).await.unwrap()
}

async fn stop(client: &EcsClient, tasks: &[String]) {
    for task in tasks {
        client.call("StopTask", json!({ "task": task })).await.unwrap();
    }
}

async fn no_instances(client: &EcsClient) {
    let none =
        |answer: &Value| answer["containerInstanceArns"].as_array()?.is_empty().then_some(());
    let gone = client.eventually("ListContainerInstances", json!({}), BOOT_PATIENCE, none);
    gone.await.unwrap();
}

fn log_of(fleet: &Fleet) -> String {
    let lines = fleet.coordinator().unwrap().log().lines();
    lines.iter().map(|line| line.as_ref()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn hosts_come_for_tasks_and_go_with_them_those_in_use_last() {
    let fleet = fleet(3, 2).await.unwrap();
    let (aws, client, machines) = (fleet.aws(), fleet.ecs().unwrap(), machines(&fleet).unwrap());
    provide(&aws, 3).await.unwrap();
    register(&aws, "sleeper", json!({})).await;
    let ran = run(&aws, "sleeper", &["--count", "6"]).await;
    let tasks = tasks_of(&ran);
    assert!(ran["tasks"].as_array().unwrap().iter().all(|t| t["lastStatus"] == "PROVISIONING"));
    let running = all_run(&client, &tasks).await;
    assert!(running.iter().all(|task| task["capacityProviderName"] == PROVIDER), "{running:#?}");
    assert_eq!(machines.running().await.len(), 3, "as many as the tasks fill");
    let shown = group(&aws).await.unwrap();
    let instances = shown["Instances"].as_array().unwrap();
    assert!(instances.iter().all(|i| i["ProtectedFromScaleIn"] == json!(true)), "{shown:#}");

    // One host keeps a task: it is the one that stays.
    let mut by_host: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for task in &running {
        let host = task["containerInstanceArn"].as_str().unwrap();
        by_host.entry(host).or_default().push(task["taskArn"].as_str().unwrap().to_owned());
    }
    let (kept, _) = by_host.pop_first().unwrap();
    let others: Vec<String> = by_host.into_values().flatten().collect();
    stop(&client, &others).await;
    stop(&client, &kept_but_one(kept, &running)).await;
    let one_left = |answer: &Value| {
        let arns = answer["containerInstanceArns"].as_array()?;
        (arns.len() == 1).then(|| arns[0].clone())
    };
    let left = client.eventually("ListContainerInstances", json!({}), BOOT_PATIENCE, one_left);
    assert_eq!(left.await.unwrap(), kept);
    let still = list_all(&client, "ListTasks", json!({}), "taskArns").await.unwrap();
    assert_eq!(still.len(), 1);
    stop(&client, &still).await;
    no_instances(&client).await;
    all_gone(machines, BOOT_PATIENCE).await.unwrap();
    assert_eq!(machines.terminated().len(), 3);
    let log = log_of(&fleet);
    assert!(log.contains("M 3 / N 0 = 200 %"), "a decision says its numbers:\n{log}");
}

/// All tasks of a host but one.
fn kept_but_one(host: &str, running: &[Value]) -> Vec<String> {
    let of_host = running.iter().filter(|task| task["containerInstanceArn"] == host);
    of_host.skip(1).map(|task| task["taskArn"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn launcher_that_fails_hangs_or_miscounts_leaks_nothing() {
    // Two for the one that is launched twice, and one for each that is launched again.
    let fleet = fleet(8, 1).await.unwrap();
    let (aws, client, machines) = (fleet.aws(), fleet.ecs().unwrap(), machines(&fleet).unwrap());
    provide(&aws, 4).await.unwrap();
    register(&aws, "sleeper", json!({})).await;
    machines.go_wrong(&[Mishap::Fails, Mishap::Hangs, Mishap::LaunchesNone, Mishap::LaunchesTwo]);
    let service = json!({ "serviceName": "web", "taskDefinition": "sleeper", "desiredCount": 4 });
    client.call("CreateService", service).await.unwrap();
    let describe = json!({ "services": ["web"] });
    let steady = |answer: &Value| (answer["services"][0]["runningCount"] == 4).then_some(());
    client.eventually("DescribeServices", describe, BOOT_PATIENCE, steady).await.unwrap();
    let scale = json!({ "service": "web", "desiredCount": 0 });
    client.call("UpdateService", scale).await.unwrap();
    no_instances(&client).await;
    all_gone(machines, BOOT_PATIENCE).await.unwrap();
    let shown = group(&aws).await.unwrap();
    assert_eq!(
        (&shown["DesiredCapacity"], shown["Instances"].as_array().map_or(0, Vec::len)),
        (&json!(0), 0),
        "{shown:#}"
    );
    let log = log_of(&fleet);
    for said in ["the power is off", "was killed after 30 s", "did not register within 30 s"] {
        assert!(log.contains(said), "the log does not say `{said}`:\n{log}");
    }
}
