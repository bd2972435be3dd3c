//! A task's life as users see it.

use std::collections::BTreeSet;

use longshore_harness::{
    command::run as run_command,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_PAGE,
};
use serde_json::json;

use crate::definition::{register, run, tasks_of, wait};

async fn one_host() -> Fleet {
    Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap()
}

#[tokio::test]
async fn a_task_is_run_waited_for_described_listed_and_stopped_by_the_aws_cli() {
    let fleet = one_host().await;
    let aws = fleet.aws();
    let web = json!({
        "command": ["/bin/httpd", "-f", "-p", "80", "-h", "/www"],
        "portMappings": [
            { "containerPort": 80, "hostPort": 0 },
            { "containerPort": 80, "hostPort": 8081 },
            { "containerPort": 80, "hostPort": 8082 },
        ],
        "stopTimeout": 2,
    });
    register(&aws, "web", web).await;
    let ran = run(&aws, "web", &["--started-by", "tester"]).await;
    let tasks = tasks_of(&ran);
    assert_eq!(tasks.len(), 1);
    wait(&aws, "tasks-running", &tasks).await;

    let described = aws.ecs(&["describe-tasks", "--tasks", &tasks[0]]).await.unwrap();
    let task = &described["tasks"][0];
    assert_eq!(task["lastStatus"], json!("RUNNING"));
    assert_eq!(task["startedBy"], json!("tester"));
    assert_eq!(task["group"], json!("family:web"));
    assert_eq!(task["cpu"], json!("64"));
    // Each host port that leads to the container's one port answers.
    let bindings = task["containers"][0]["networkBindings"].as_array().unwrap();
    let ports: BTreeSet<u64> = bindings.iter().filter_map(|b| b["hostPort"].as_u64()).collect();
    assert!(ports.len() == 3 && ports.contains(&8081) && ports.contains(&8082), "{bindings:?}");
    for (binding, port) in bindings.iter().zip(&ports) {
        assert_eq!(binding["containerPort"], json!(80));
        let address = format!("{}:{port}", fleet.hosts[0].network.address());
        let page = run_command("curl", &["-sS", &format!("http://{address}/")]).unwrap();
        assert_eq!(page, SAMPLE_PAGE, "{address}");
    }

    // A CLI that does not know AWS_ENDPOINT_URL.
    let by_flag = aws.with_endpoint_flag();
    let listed = by_flag.ecs(&["list-tasks", "--family", "web"]).await.unwrap();
    assert_eq!(listed["taskArns"], json!(tasks));

    aws.ecs(&["stop-task", "--task", &tasks[0], "--reason", "enough"]).await.unwrap();
    wait(&aws, "tasks-stopped", &tasks).await;
    let described = aws.ecs(&["describe-tasks", "--tasks", &tasks[0]]).await.unwrap();
    let task = &described["tasks"][0];
    assert_eq!(task["stoppedReason"], json!("enough"));
    assert_eq!(task["stopCode"], json!("UserInitiated"));
    // busybox's httpd is ended by SIGKILL after its stopTimeout.
    assert_eq!(task["containers"][0]["exitCode"], json!(137));
    assert_eq!(aws.ecs(&["list-tasks"]).await.unwrap()["taskArns"], json!([]));
    let running = fleet.hosts[0].engine().unwrap().containers(false).await.unwrap();
    assert_eq!(running, []);
}

#[tokio::test]
async fn boto3_runs_waits_pages_and_reads_exit_codes() {
    let fleet = one_host().await;
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    register(&aws, "seven", json!({ "command": ["/bin/sh", "-c", "echo giving up >&2; exit 7"] }))
        .await;
    let seen = aws
        .boto3(
            "\
ran = ecs.run_task(taskDefinition='sleeper', count=5)
arns = [task['taskArn'] for task in ran['tasks']]
ecs.get_waiter('tasks_running').wait(tasks=arns, WaiterConfig={'Delay': 1, 'MaxAttempts': 60})
pages = list(ecs.get_paginator('list_tasks').paginate(PaginationConfig={'PageSize': 2}))
listed = [arn for page in pages for arn in page['taskArns']]
one = ecs.run_task(taskDefinition='seven')['tasks'][0]['taskArn']
ecs.get_waiter('tasks_stopped').wait(tasks=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 60})
task = ecs.describe_tasks(tasks=[one])['tasks'][0]
try:
    ecs.run_task(taskDefinition='nothing')
except ecs.exceptions.ClientException as error:
    refused = error.response['Error']['Message']
print(json.dumps({
    'pages': len(pages), 'same': sorted(listed) == sorted(arns), 'code': task['stopCode'],
    'reason': task['stoppedReason'], 'details': task['attachments'][0]['details'], 'exit': task['containers'][0]['exitCode'],
    'types': [type(task['startedAt']).__name__, type(task['stoppedAt']).__name__],
    'refused': refused}))",
        )
        .await
        .unwrap();
    let wanted = json!({
        "pages": 3,
        "same": true,
        "code": "EssentialContainerExited",
        "reason": "Essential container in task exited",
        "details": [{ "name": "main.lastLines", "value": "giving up" }],
        "exit": 7,
        "types": ["datetime", "datetime"],
        "refused": "TaskDefinition not found.",
    });
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn an_image_that_is_nowhere_stops_its_task_with_the_reason() {
    let fleet = one_host().await;
    let aws = fleet.aws();
    register(&aws, "missing", json!({ "image": "127.0.0.1:9/nowhere:1" })).await;
    let tasks = tasks_of(&run(&aws, "missing", &[]).await);
    wait(&aws, "tasks-stopped", &tasks).await;
    let described = aws.ecs(&["describe-tasks", "--tasks", &tasks[0]]).await.unwrap();
    let task = &described["tasks"][0];
    assert_eq!(task["stopCode"], json!("TaskFailedToStart"));
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
}
