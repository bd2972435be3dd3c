//! Logs of `awslogs` tasks on real hosts, as boto3 reads them: running, restarted, stopped.

use std::time::Duration;

use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
};
use serde_json::{Value, json};

use crate::definition::{register, run, tasks_of, wait};

const PATIENCE: Duration = Duration::from_secs(60);
/// How often the agent is killed while the task writes.
const KILLS: usize = 4;

pub(crate) fn awslogs(group: &str, more: Value) -> Value {
    let mut options = json!({
        "awslogs-group": group,
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "test",
    });
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    json!({ "logDriver": "awslogs", "options": options })
}

fn shell(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// Counts aloud, some fifty lines a second, until told to end; its last line says how far it was.
pub(crate) const COUNTER: &str = "trap 'echo end $i; exit 0' TERM
i=0
while true; do echo line $i; i=$((i+1)); sleep 0.02; done";

/// The messages of a group so far, in their order.
pub(crate) async fn messages(client: &EcsClient, group: &str) -> Vec<String> {
    let (mut messages, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({ "logGroupName": group, "nextToken": token });
        let page = client.call("FilterLogEvents", input).await.unwrap();
        let events = page["events"].as_array().unwrap();
        messages.extend(events.iter().map(|event| event["message"].as_str().unwrap().to_owned()));
        token = page["nextToken"].clone();
        if token.is_null() {
            return messages;
        }
    }
}

/// Waits until a group has so many events and more. A group of which no host is known to hold
/// anything yet is none.
pub(crate) async fn until_written(client: &EcsClient, group: &str, count: usize) {
    let written = async {
        loop {
            let input = json!({ "logGroupName": group });
            let seen = match client.call("FilterLogEvents", input).await {
                Ok(page) => page["events"].as_array().unwrap().len(),
                Err(_) => 0,
            };
            if seen >= count {
                return;
            }
            // A reader of logs is never told, it can only ask again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, written).await;
    assert!(waited.is_ok(), "{count} events of {group}");
}

#[tokio::test]
async fn lines_are_neither_lost_nor_repeated_over_restarts_of_the_agent() {
    let mut fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap().logs());
    let log = awslogs("/ecs/counter", json!({ "awslogs-create-group": "true" }));
    let counter = json!({ "command": shell(COUNTER), "logConfiguration": log, "stopTimeout": 5 });
    register(&aws, "counter", counter).await;
    let tasks = tasks_of(&run(&aws, "counter", &[]).await);
    until_written(&client, "/ecs/counter", 20).await;
    for kill in 1..=KILLS {
        fleet.kill_agent(0).await.unwrap();
        // The container goes on writing to Docker, whose log is read on by the next agent.
        tokio::time::sleep(Duration::from_millis(300)).await;
        fleet.start_agent(0).await.unwrap();
        fleet.all_connected().await.unwrap();
        until_written(&client, "/ecs/counter", kill * 50).await;
    }
    aws.ecs(&["stop-task", "--task", &tasks[0]]).await.unwrap();
    wait(&aws, "tasks-stopped", &tasks).await;
    let ended = async {
        loop {
            let seen = messages(&client, "/ecs/counter").await;
            if seen.last().is_some_and(|last| last.starts_with("end ")) {
                return seen;
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, ended).await.expect("the last line");
    let (last, lines) = seen.split_last().unwrap();
    let expected: Vec<String> = (0..lines.len()).map(|i| format!("line {i}")).collect();
    assert_eq!(lines, expected);
    // The signal may come after a line and before it was counted.
    let ends = [lines.len() - 1, lines.len()].map(|count| format!("end {count}"));
    assert!(ends.contains(last), "{last} after {} lines", lines.len());

    // As a user reads the stopped task's log.
    let task = tasks[0].rsplit('/').next().unwrap();
    let read = aws
        .boto3(&format!(
            "\
logs = boto3.client('logs')
pages = logs.get_paginator('filter_log_events').paginate(
    logGroupName='/ecs/counter', filterPattern='\"line 1\"', PaginationConfig={{'PageSize': 7}})
filtered = [event['message'] for page in pages for event in page['events']]
streams = logs.describe_log_streams(logGroupName='/ecs/counter')['logStreams']
groups = [group['logGroupName'] for group in logs.describe_log_groups()['logGroups']]
name = 'test/main/{task}'
got, token = [], None
while True:
    more = {{'nextToken': token}} if token else {{}}
    page = logs.get_log_events(
        logGroupName='/ecs/counter', logStreamName=name, startFromHead=True, limit=100, **more)
    got += [event['message'] for event in page['events']]
    if page['nextForwardToken'] == token:
        break
    token = page['nextForwardToken']
print(json.dumps([filtered, [stream['logStreamName'] for stream in streams], groups, got]))"
        ))
        .await
        .unwrap();
    let lines: Vec<&String> = seen.iter().filter(|line| line.contains("line 1")).collect();
    assert_eq!(read[0], json!(lines));
    assert_eq!(read[1], json!([format!("test/main/{task}")]));
    assert_eq!(read[2], json!(["/ecs/counter"]));
    assert_eq!(read[3], json!(seen));
}

#[tokio::test]
async fn long_lines_and_multiline_events_of_both_outputs_are_whole() {
    let fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap().logs());
    // Docker cuts at 16,384 bytes, which is in the middle of one of the characters.
    let script = "x=0123456789; for k in 1 2 3 4 5 6 7 8 9 10 11 12; do x=$x$x; done; echo $x; \
                  y=\u{20ac}; for k in 1 2 3 4 5 6 7 8 9 10 11 12 13; do y=$y$y; done; echo $y; \
                  echo to stderr >&2; echo";
    let log = awslogs("/ecs/long", json!({ "mode": "non-blocking", "max-buffer-size": "4m" }));
    register(&aws, "long", json!({ "command": shell(script), "logConfiguration": log })).await;
    let script = "echo 'START one'; echo '  at x'; echo '  at y'; echo 'START two'";
    let log = awslogs("/ecs/lines", json!({ "awslogs-multiline-pattern": "^START" }));
    register(&aws, "lines", json!({ "command": shell(script), "logConfiguration": log })).await;
    let mut tasks = tasks_of(&run(&aws, "long", &[]).await);
    tasks.extend(tasks_of(&run(&aws, "lines", &[]).await));
    wait(&aws, "tasks-stopped", &tasks).await;
    until_written(&client, "/ecs/long", 3).await;
    until_written(&client, "/ecs/lines", 2).await;
    // Two pipes: which of the outputs Docker reads first is chance.
    let mut long = messages(&client, "/ecs/long").await;
    long.sort_by_key(String::len);
    let lengths: Vec<usize> = long.iter().map(String::len).collect();
    assert_eq!((long[0].as_str(), &lengths[1..]), ("to stderr", &[3 << 13, 40_960][..]));
    assert_eq!(long[1], "\u{20ac}".repeat(1 << 13));
    assert_eq!(messages(&client, "/ecs/lines").await, ["START one\n  at x\n  at y", "START two"]);
}

/// What Docker was told of the log of a family's container: the mode and its buffer.
async fn told_of_log(fleet: &Fleet, family: &str) -> (Value, Value) {
    let engine = fleet.hosts[0].engine().unwrap();
    let listed = engine.containers(true).await.unwrap();
    let of_family = "com.amazonaws.ecs.task-definition-family";
    let container = listed.iter().find(|one| one.labels[of_family] == family).unwrap();
    let shown = engine.get_json(&format!("/containers/{}/json", container.id)).await.unwrap();
    let told = &shown["HostConfig"]["LogConfig"]["Config"];
    (told["mode"].clone(), told["max-buffer-size"].clone())
}

#[tokio::test]
async fn log_without_a_mode_has_the_accounts() {
    let fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let aws = fleet.aws();
    let none = awslogs("/ecs/mode", json!({}));
    let buffer = awslogs("/ecs/mode", json!({ "max-buffer-size": "4m" }));
    let blocking = awslogs("/ecs/mode", json!({ "mode": "blocking" }));
    let json_file = json!({ "logDriver": "json-file", "options": {} });
    // The account's setting, absent at first; the log's; the mode and the buffer in Docker.
    let cases = [
        (None, &none, "non-blocking", Some("10m")),
        (None, &buffer, "non-blocking", Some("4m")),
        (None, &json_file, "non-blocking", Some("10m")),
        (Some("blocking"), &none, "blocking", None),
        (Some("blocking"), &json_file, "blocking", None),
        (Some("non-blocking"), &none, "non-blocking", Some("10m")),
        (Some("non-blocking"), &blocking, "blocking", None),
    ];
    let mut wrong = Vec::new();
    for (number, (setting, log, mode, buffer)) in cases.iter().enumerate() {
        if let Some(setting) = setting {
            let name = ["--name", "defaultLogDriverMode", "--value", setting];
            aws.ecs(&[&["put-account-setting-default"], &name[..]].concat()).await.unwrap();
        }
        let family = format!("mode-{number}");
        let container = json!({ "command": shell("echo a"), "logConfiguration": log });
        register(&aws, &family, container).await;
        let task = tasks_of(&run(&aws, &family, &[]).await);
        wait(&aws, "tasks-stopped", &task).await;
        let told = told_of_log(&fleet, &family).await;
        if told != (json!(mode), json!(buffer)) {
            wrong.push(format!("{setting:?} {log}: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn lines_of_a_container_are_stored_before_it_is_removed() {
    let settings = FleetSettings {
        hosts: 1,
        agent_arguments: vec!["--task-cleanup-wait=1s".to_owned()],
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap().logs());
    let script = "trap 'exit 0' TERM; echo begins; sleep 3; echo last words";
    let log = awslogs("/ecs/short", json!({}));
    register(&aws, "short", json!({ "command": shell(script), "logConfiguration": log })).await;
    let tasks = tasks_of(&run(&aws, "short", &[]).await);
    wait(&aws, "tasks-running", &tasks).await;
    // The container ends while no agent is there.
    fleet.kill_agent(0).await.unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let gone = async {
        while !engine.containers(false).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fleet.start_agent(0).await.unwrap();
        while !engine.containers(true).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the container is removed");
    fleet.all_connected().await.unwrap();
    assert_eq!(messages(&client, "/ecs/short").await, ["begins", "last words"]);
}
