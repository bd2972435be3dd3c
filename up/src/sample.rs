//! The sample task: a web server whose container answers on a port that the host chose.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_harness::{
    ecs::EcsClient,
    engine_api::EngineApi,
    fleet::REGION,
    image::{SAMPLE_IMAGE, SAMPLE_PAGE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Marks the sample's containers, so that a run that crashed leaves nothing that the next one
/// does not find.
const LABEL: &str = "longshore.make-run";
const TASK_ARN_LABEL: &str = "com.amazonaws.ecs.task-arn";
/// Where the sample's lines are.
pub(crate) const LOG_GROUP: &str = "/ecs/sample";
const RUNNING_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two tries of a port that refuses: the server in the container is about to listen.
const TRY_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct Sample {
    pub(crate) task_arn: String,
    /// Host and port that answer HTTP.
    pub(crate) address: String,
}

/// Registers the task definition, runs it once, and waits until it runs.
pub(crate) async fn run(client: &EcsClient) -> Result<Sample> {
    let definition = json!({
        "family": "sample",
        "containerDefinitions": [{
            "name": "web",
            "image": SAMPLE_IMAGE,
            // As the image's own, and with a line in the log for each request.
            "command": ["/bin/httpd", "-f", "-vv", "-p", "80", "-h", "/www"],
            "cpu": 64,
            "memory": 32,
            "essential": true,
            "portMappings": [{ "containerPort": 80, "hostPort": 0, "protocol": "tcp" }],
            "dockerLabels": { LABEL: "sample" },
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": LOG_GROUP,
                "awslogs-region": REGION,
                "awslogs-stream-prefix": "sample",
            }},
            // busybox does not end on SIGTERM as a container's first process.
            "stopTimeout": 2,
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    let ran = client.call("RunTask", json!({ "taskDefinition": "sample" })).await?;
    if let Some(failure) = ran["failures"].get(0) {
        bail!("the sample task could not be placed: {failure}");
    }
    let task_arn = ran["tasks"][0]["taskArn"].as_str().context("RunTask gave no task")?.to_owned();
    let describe = json!({ "tasks": [task_arn] });
    let binding = client
        .eventually("DescribeTasks", describe, RUNNING_PATIENCE, |tasks| {
            let task = &tasks["tasks"][0];
            match task["lastStatus"].as_str() {
                Some("RUNNING") => Some(Ok(task["containers"][0]["networkBindings"][0].clone())),
                Some("STOPPED") => Some(Err(task.clone())),
                _ => None,
            }
        })
        .await?;
    match binding {
        Ok(binding) => {
            let port = binding["hostPort"].as_u64().context("the sample has no host port")?;
            Ok(Sample { task_arn, address: format!("127.0.0.1:{port}") })
        }
        Err(task) => bail!("the sample task stopped: {} {task:#}", task["stoppedReason"]),
    }
}

/// Waits until the sample's page is there.
pub(crate) async fn answers(address: &str) -> Result<()> {
    let asking = async {
        loop {
            match get(address).await {
                Ok(answer) if answer.ends_with(SAMPLE_PAGE) => return,
                _ => sleep(TRY_AGAIN).await,
            }
        }
    };
    let answered = timeout(ANSWER_PATIENCE, asking).await;
    answered.with_context(|| format!("http://{address} did not answer in {ANSWER_PATIENCE:?}"))
}

async fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Cluster, host with its capacity, task and its address.
pub(crate) async fn table(client: &EcsClient, host: &str, sample: &Sample) -> Result<String> {
    let hosts =
        client.call("DescribeContainerInstances", json!({ "containerInstances": [host] })).await?;
    let host = &hosts["containerInstances"][0];
    let amount = |list: &str, name: &str| {
        let mut resources = host[list].as_array().into_iter().flatten();
        let found = resources.find(|resource| resource["name"] == json!(name));
        found.map_or(Value::Null, |resource| resource["integerValue"].clone())
    };
    let capacity = |name: &str| {
        let (remaining, registered) =
            (amount("remainingResources", name), amount("registeredResources", name));
        format!("{remaining} of {registered}")
    };
    let last = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    let rows = [
        ("cluster", "default".to_owned()),
        ("host", last(host["containerInstanceArn"].as_str().unwrap_or_default())),
        ("  CPU units left", capacity("CPU")),
        ("  MiB left", capacity("MEMORY")),
        ("task", last(&sample.task_arn)),
        ("  address", format!("http://{}", sample.address)),
    ];
    let mut table = String::from("\n");
    for (name, value) in rows {
        let _ = writeln!(table, "  {name:<18} {value}");
    }
    Ok(table.trim_end().to_owned())
}

/// What an earlier `make run` that crashed has left on this engine.
pub(crate) async fn remove_left_over(engine: &EngineApi) -> Result<()> {
    for container in engine.containers(true).await? {
        if container.labels.contains_key(LABEL) {
            engine.remove(&container.id).await?;
        }
    }
    Ok(())
}

/// Containers of these tasks, running or not.
pub(crate) async fn remove_containers_of(engine: &EngineApi, tasks: &[String]) -> Result<()> {
    for container in engine.containers(true).await? {
        if container.labels.get(TASK_ARN_LABEL).is_some_and(|task| tasks.contains(task)) {
            engine.remove(&container.id).await?;
        }
    }
    Ok(())
}
