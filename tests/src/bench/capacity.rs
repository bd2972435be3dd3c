//! Tasks on a cluster without hosts: how long they take on top of the boot of the hosts that they get,
//! and how soon these go.
//!
//! A host is a network namespace whose engine and agent a launcher's program starts. Its boot lasts from
//! the program's call until its agent has joined.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use longshore_harness::{
    coordinator_log::all_reach,
    ecs::EcsClient,
    fleet::{Fleet, REGION},
    image::SAMPLE_IMAGE,
    machines::Machines,
    scaling::{self, PROVIDER, SCALE_IN_AFTER_S, all_gone, machines, provide},
};
use serde_json::json;
use tokio::time::Instant;

use crate::figures::{disk_baseline, figure, median, progress};

const ROUNDS: usize = 3;
const TASKS_EACH: u32 = 10;
const MANY: usize = 40;
const MANY_HOSTS: usize = MANY / TASKS_EACH as usize;
const SERVICE_TASKS: usize = 2 * TASKS_EACH as usize;
const SERVICE_HOSTS: usize = 2;
/// RunTask takes no more.
const RUN_MAX: usize = 10;
/// Longer than it takes to stop and start all tasks.
const LONG_S: &str = "120";
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run() -> Result<()> {
    // None is used twice.
    let hosts = ROUNDS + MANY_HOSTS + SERVICE_HOSTS;
    let fleet = scaling::fleet(hosts, TASKS_EACH).await?;
    disk_baseline(fleet.folder())?;
    provide(&fleet.aws(), hosts).await?;
    let (client, machines) = (fleet.ecs()?, machines(&fleet)?);
    let definition = json!({
        "family": "sleeper",
        "containerDefinitions": [{
            "name": "main",
            "image": SAMPLE_IMAGE,
            "memory": 32,
            "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    let (mut over, mut boots, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(&format!("capacity: one task, from no hosts, {round} of {ROUNDS}"));
        let (tasks, took) = run_tasks(&fleet, &client, 1).await?;
        let boot = last_boots(machines, 1)?;
        over.push(took - boot);
        boots.push(boot);
        let stopped = Instant::now();
        stop(&client, &tasks).await?;
        all_gone(machines, PATIENCE).await?;
        gone.push(stopped.elapsed().as_secs_f64());
    }
    figure("host_boot_s", median(&boots)?, "s")?;
    figure("from_zero_over_boot_s", median(&over)?, "s")?;
    figure("host_gone_after_s", median(&gone)?, "s")?;

    progress(&format!("capacity: {MANY} tasks, from no hosts"));
    let (tasks, took) = run_tasks(&fleet, &client, MANY).await?;
    figure("from_zero_40_over_boot_s", took - last_boots(machines, MANY_HOSTS)?, "s")?;
    figure("hosts_for_40", machines.running().await.len() as f64, "hosts")?;
    // The same again before they go: what the engines of this machine need for it.
    go_after(&client, LONG_S).await?;
    stop(&client, &tasks).await?;
    all_reach(fleet.coordinator()?.log(), 0, &tasks, "STOPPED", PATIENCE).await?;
    let (tasks, took) = run_tasks(&fleet, &client, MANY).await?;
    figure("start_40_on_hosts_there_s", took, "s")?;
    go_after(&client, SCALE_IN_AFTER_S).await?;
    stop(&client, &tasks).await?;
    all_gone(machines, PATIENCE).await?;

    progress(&format!("capacity: a service of {SERVICE_TASKS}, from no hosts"));
    let began = Instant::now();
    let create = json!({
        "serviceName": "web", "taskDefinition": "sleeper", "desiredCount": SERVICE_TASKS,
    });
    client.call("CreateService", create).await?;
    let all = |answer: &serde_json::Value| {
        (answer["services"][0]["runningCount"] == SERVICE_TASKS).then_some(())
    };
    client.eventually("DescribeServices", json!({ "services": ["web"] }), PATIENCE, all).await?;
    let took = began.elapsed().as_secs_f64();
    let over = took - last_boots(machines, SERVICE_HOSTS)?;
    figure("service_from_zero_over_boot_s", over, "s")?;
    disk_baseline(fleet.folder())
}

/// Starts tasks at once; their ARNs, and the seconds until all are RUNNING.
async fn run_tasks(fleet: &Fleet, client: &EcsClient, count: usize) -> Result<(Vec<String>, f64)> {
    let log = fleet.coordinator()?.log();
    let from = log.position();
    let began = Instant::now();
    let mut tasks = Vec::new();
    while tasks.len() < count {
        let some = RUN_MAX.min(count - tasks.len());
        let run = json!({ "taskDefinition": "sleeper", "count": some });
        let ran = client.call("RunTask", run).await?;
        if let Some(failure) = ran["failures"].get(0) {
            bail!("a task was not taken: {failure}");
        }
        let ran = ran["tasks"].as_array().context("RunTask gave no tasks")?;
        tasks.extend(ran.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)));
    }
    all_reach(log, from, &tasks, "RUNNING", PATIENCE).await?;
    Ok((tasks, began.elapsed().as_secs_f64()))
}

/// The slowest of the last so many boots, in seconds.
fn last_boots(machines: &Machines, count: usize) -> Result<f64> {
    let boots = machines.boots();
    let last = boots.iter().rev().take(count).max().context("no host was launched")?;
    Ok(last.as_secs_f64())
}

/// Says how soon hosts without tasks go.
async fn go_after(client: &EcsClient, seconds: &str) -> Result<()> {
    let arn = format!("arn:aws:ecs:{REGION}:000000000000:capacity-provider/{PROVIDER}");
    let tag = json!({ "key": "longshore:scale-in-after", "value": seconds });
    client.call("TagResource", json!({ "resourceArn": arn, "tags": [tag] })).await?;
    Ok(())
}

async fn stop(client: &EcsClient, tasks: &[String]) -> Result<()> {
    for task in tasks {
        client.call("StopTask", json!({ "task": task })).await?;
    }
    Ok(())
}
