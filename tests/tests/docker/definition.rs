//! Task definitions that the tests run, and what they ask of a fleet time and again.

use std::{collections::BTreeMap, time::Duration};

use longshore_harness::{aws::Aws, ecs::EcsClient, fleet::Fleet, image::SAMPLE_IMAGE, lives::Life};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Sleeps, and ends at once when asked to.
pub(crate) const SLEEPER: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];

/// Registers a definition with one container; its members are added to or replaced.
pub(crate) async fn register(aws: &Aws, family: &str, more: Value) {
    let mut container = json!({
        "name": "main",
        "image": SAMPLE_IMAGE,
        "cpu": 64,
        "memory": 32,
        "essential": true,
        "command": SLEEPER,
    });
    for (member, value) in more.as_object().unwrap() {
        container[member] = value.clone();
    }
    let containers = json!([container]).to_string();
    let register = ["register-task-definition", "--family", family];
    aws.ecs(&[&register[..], &["--container-definitions", &containers]].concat()).await.unwrap();
}

/// `aws ecs run-task`: its answer.
pub(crate) async fn run(aws: &Aws, family: &str, more: &[&str]) -> Value {
    aws.ecs(&[&["run-task", "--task-definition", family], more].concat()).await.unwrap()
}

/// The ARNs of the tasks in an answer of RunTask that has no failures.
pub(crate) fn tasks_of(ran: &Value) -> Vec<String> {
    assert_eq!(ran["failures"], json!([]), "{ran:#}");
    let tasks = ran["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["taskArn"].as_str().unwrap().to_owned()).collect()
}

/// Waits as users wait.
pub(crate) async fn wait(aws: &Aws, state: &str, tasks: &[String]) {
    let mut wait = vec!["wait", state, "--tasks"];
    wait.extend(tasks.iter().map(String::as_str));
    aws.ecs(&wait).await.unwrap();
}

/// Every running container of a task, by Docker's id.
pub(crate) async fn lives(fleet: &Fleet) -> BTreeMap<String, Life> {
    longshore_harness::lives::lives(fleet).await.unwrap()
}

/// One of a host's resources: registered and remaining.
pub(crate) fn resource(host: &Value, name: &str) -> (i64, i64) {
    let amount = |list: &str| {
        let resources = host[list].as_array().unwrap();
        let resource = resources.iter().find(|r| r["name"] == json!(name)).unwrap();
        resource["integerValue"].as_i64().unwrap()
    };
    (amount("registeredResources"), amount("remainingResources"))
}

/// Registers a definition and runs one task of it; the task's ARN.
pub(crate) async fn begin(client: &EcsClient, definition: Value) -> String {
    let family = definition["family"].clone();
    client.call("RegisterTaskDefinition", definition).await.unwrap();
    begin_again(client, family.as_str().unwrap()).await
}

/// Runs one more task.
pub(crate) async fn begin_again(client: &EcsClient, family: &str) -> String {
    let ran = client.call("RunTask", json!({ "taskDefinition": family })).await.unwrap();
    tasks_of(&ran).remove(0)
}

/// Waits until a task has this status; the task as it is shown then.
pub(crate) async fn reached(client: &EcsClient, task: &str, status: &str) -> Value {
    let reached = |shown: &Value| {
        let task = &shown["tasks"][0];
        (task["lastStatus"] == json!(status)).then(|| task.clone())
    };
    let describe = json!({ "tasks": [task] });
    client.eventually("DescribeTasks", describe, PATIENCE, reached).await.unwrap()
}

/// A definition of one small container that runs a script.
pub(crate) fn scripted(family: &str, script: &str, more: Value) -> Value {
    let mut container = json!({
        "name": "app", "image": SAMPLE_IMAGE, "memory": 16, "stopTimeout": 2,
        "command": ["/bin/sh", "-c", script],
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "family": family, "containerDefinitions": [container] })
}
