//! RunTask to the durable RUNNING event, against create and start of the same container on the
//! same engine, and against Docker Swarm on the same hosts. Each pair alternates in one run, so
//! that what else the machine does falls on both.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use longshore_harness::{
    coordinator_log::all_reach,
    ecs::EcsClient,
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};

use crate::{
    bench::swarm::Swarm,
    figures::{disk_baseline, figure, median, progress},
};

const PAIRS: usize = 30;
const WARM_UP_PAIRS: usize = 3;
/// Tasks of one measured block, and blocks of each kind.
const BLOCK: usize = 40;
const BLOCKS: usize = 3;
const SWARM_SINGLES: usize = 9;
const SWARM_BLOCK: usize = 60;
const SWARM_BLOCKS: usize = 3;
/// RunTask takes no more.
const RUN_MAX: usize = 10;
/// Raw starts in parallel: with more, only the latency of each grows (performance.md 9.16).
const RAW_PARALLEL: usize = 4;
const PATIENCE: Duration = Duration::from_secs(120);
const FAMILY: &str = "start";
/// A task that does not hear SIGTERM.
const SLOW: &str = "slow";
/// Together much shorter than its stopTimeout.
const BESIDE_PAIRS: usize = 15;

pub(super) async fn run() -> Result<()> {
    let settings = FleetSettings { hosts: 2, cpu: 8192, memory: 8192, ..Default::default() };
    let mut bench = Bench::new(Fleet::start(settings).await?).await?;
    disk_baseline(bench.fleet.folder())?;
    bench.against_raw().await?;
    bench.against_swarm().await?;
    disk_baseline(bench.fleet.folder())
}

struct Bench {
    fleet: Fleet,
    client: EcsClient,
}

/// Tasks, and how long after the first call the last of them ran, in milliseconds.
struct Started {
    tasks: Vec<String>,
    took: f64,
    /// From the first call to its answer.
    answered: f64,
}

impl Bench {
    async fn new(fleet: Fleet) -> Result<Bench> {
        let client = fleet.ecs()?;
        let definition = json!({
            "family": FAMILY,
            "containerDefinitions": [{
                "name": "main",
                "image": SAMPLE_IMAGE,
                "memory": 16,
                "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
            }],
        });
        client.call("RegisterTaskDefinition", definition).await?;
        Ok(Bench { fleet, client })
    }

    async fn against_raw(&mut self) -> Result<()> {
        // All on one engine: the one that the raw containers are on.
        let second = self.fleet.host_arn(1).await?;
        self.set_status(&second, "DRAINING").await?;
        let engine = self.fleet.hosts[0].engine()?;
        let first = self.start(1).await?;
        let config = same_container(&engine, &first.tasks[0]).await?;
        self.stop(&first.tasks).await?;

        progress(&format!("start: {PAIRS} single starts of each kind, alternating"));
        let (mut ours, mut raw, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..WARM_UP_PAIRS + PAIRS {
            let (id, raw_took) = self.start_raw(&engine, &config).await?;
            engine.remove(&id).await?;
            let started = self.start(1).await?;
            self.stop(&started.tasks).await?;
            if pair >= WARM_UP_PAIRS {
                raw.push(raw_took);
                ours.push(started.took);
                answered.push(started.answered);
            }
        }
        figure("start_raw_p50_ms", median(&raw)?, "ms")?;
        figure("start_p50_ms", median(&ours)?, "ms")?;
        figure("run_task_answer_p50_ms", median(&answered)?, "ms")?;
        self.order_departure().await?;
        figure("overhead_p50_ms", median(&ours)? - median(&raw)?, "ms")?;

        self.beside_stopping(&engine, &config).await?;

        progress(&format!("start: {BLOCKS} blocks of {BLOCK} starts of each kind, alternating"));
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..BLOCKS {
            let (ids, took) = self.start_raw_block(&engine, &config).await?;
            raw.push(took);
            try_join_all(ids.iter().map(|id| engine.remove(id))).await?;
            let started = self.start(BLOCK).await?;
            ours.push(started.took);
            self.stop(&started.tasks).await?;
        }
        let rate = |took: f64| BLOCK as f64 / took * 1000.0;
        figure("raw_rate", rate(median(&raw)?), "tasks/s")?;
        figure("rate", rate(median(&ours)?), "tasks/s")?;
        figure("rate_vs_raw", median(&raw)? / median(&ours)?, "ratio")?;
        self.set_status(&second, "ACTIVE").await
    }

    /// The same pairs while a task of the host does not hear that it is to stop.
    async fn beside_stopping(&self, engine: &EngineApi, config: &Value) -> Result<()> {
        let definition = json!({
            "family": SLOW,
            "containerDefinitions": [{
                "name": "main",
                "image": SAMPLE_IMAGE,
                "memory": 16,
                "stopTimeout": 120,
                "command": ["/bin/sh", "-c", "trap '' TERM; while true; do sleep 1; done"],
            }],
        });
        self.client.call("RegisterTaskDefinition", definition).await?;
        let log = self.fleet.coordinator()?.log();
        let from = log.position();
        let ran = self.client.call("RunTask", json!({ "taskDefinition": SLOW })).await?;
        let slow = [ran["tasks"][0]["taskArn"].as_str().context("no task")?.to_owned()];
        all_reach(log, from, &slow, "RUNNING", PATIENCE).await?;
        let from = log.position();
        self.client.call("StopTask", json!({ "task": slow[0] })).await?;
        all_reach(log, from, &slow, "STOPPING", PATIENCE).await?;

        progress(&format!("start: {BESIDE_PAIRS} single starts of each kind beside a slow stop"));
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..BESIDE_PAIRS {
            let (id, raw_took) = self.start_raw(engine, config).await?;
            engine.remove(&id).await?;
            let started = self.start(1).await?;
            self.stop(&started.tasks).await?;
            raw.push(raw_took);
            ours.push(started.took);
        }
        let described = self.client.call("DescribeTasks", json!({ "tasks": slow })).await?;
        let task = &described["tasks"][0];
        if task["lastStatus"] == json!("STOPPED") {
            bail!("the slow task had stopped before the last start");
        }
        let container = task["containers"][0]["runtimeId"].as_str().context("no container")?;
        engine.post(&format!("/containers/{container}/kill"), Value::Null).await?;
        all_reach(log, from, &slow, "STOPPED", PATIENCE).await?;
        figure("start_beside_stopping_overhead_ms", median(&ours)? - median(&raw)?, "ms")
    }

    /// From a RunTask's reply, which leaves when the task is durable, to its order: the bucket of
    /// the coordinator's histogram that holds the median.
    async fn order_departure(&self) -> Result<()> {
        let text = self.client.metrics(&self.fleet.coordinator_folder()).await?;
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        let buckets: Vec<(f64, f64)> = text
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix("longshore_order_departure_seconds_bucket{le=\"")?;
                let (bound, _) = rest.split_once('"')?;
                Some((bound.parse().unwrap_or(f64::INFINITY), value(line)?))
            })
            .collect();
        let (_, orders) = buckets.last().context("the coordinator counts no orders")?;
        let holds_median = buckets.iter().find(|(_, count)| *count * 2.0 >= *orders);
        let (bound, _) = holds_median.context("a median lies in a bucket")?;
        figure("orders_measured", *orders, "orders")?;
        figure("reply_to_order_p50_ms_at_most", bound * 1000.0, "ms")
    }

    async fn against_swarm(&mut self) -> Result<()> {
        let swarm = Swarm::form(&self.fleet).await?;
        progress(&format!("start: {SWARM_SINGLES} single starts against Swarm's, alternating"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SWARM_SINGLES {
            theirs.push(swarm.start(1).await?);
            let started = self.start(1).await?;
            ours.push(started.took);
            self.stop(&started.tasks).await?;
        }
        figure("swarm_start_p50_ms", median(&theirs)?, "ms")?;
        figure("two_hosts_start_p50_ms", median(&ours)?, "ms")?;
        figure("latency_vs_swarm", median(&theirs)? / median(&ours)?, "ratio")?;

        progress(&format!("start: {SWARM_BLOCKS} blocks of {SWARM_BLOCK} against Swarm's"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SWARM_BLOCKS {
            theirs.push(swarm.start(SWARM_BLOCK).await?);
            // Swarm's block starves whatever else runs on a small machine, our agents too.
            self.fleet.all_connected().await?;
            let started = self.start(SWARM_BLOCK).await?;
            ours.push(started.took);
            self.stop(&started.tasks).await?;
        }
        let rate = |took: f64| SWARM_BLOCK as f64 / took * 1000.0;
        figure("swarm_rate", rate(median(&theirs)?), "tasks/s")?;
        figure("two_hosts_rate", rate(median(&ours)?), "tasks/s")?;
        figure("rate_vs_swarm", median(&theirs)? / median(&ours)?, "ratio")
    }

    /// Runs tasks and waits for the durable RUNNING of the last.
    async fn start(&self, count: usize) -> Result<Started> {
        let log = self.fleet.coordinator()?.log();
        let from = log.position();
        let (mut tasks, mut answered) = (Vec::new(), 0.0);
        let sent = now();
        while tasks.len() < count {
            let some = (count - tasks.len()).min(RUN_MAX);
            let run = json!({ "taskDefinition": FAMILY, "count": some });
            let ran = self.client.call("RunTask", run).await?;
            if tasks.is_empty() {
                answered = now() - sent;
            }
            if let Some(failure) = ran["failures"].get(0) {
                bail!("a task could not be placed: {failure}");
            }
            let ran = ran["tasks"].as_array().context("RunTask gave no tasks")?;
            tasks.extend(ran.iter().filter_map(|t| t["taskArn"].as_str().map(str::to_owned)));
        }
        let reached = all_reach(log, from, &tasks, "RUNNING", PATIENCE).await?;
        let last = reached.values().max().context("no task ran")?;
        Ok(Started { tasks, took: as_milliseconds(*last) - sent, answered })
    }

    async fn stop(&self, tasks: &[String]) -> Result<()> {
        let log = self.fleet.coordinator()?.log();
        let from = log.position();
        for task in tasks {
            self.client.call("StopTask", json!({ "task": task })).await?;
        }
        all_reach(log, from, tasks, "STOPPED", PATIENCE).await?;
        Ok(())
    }

    async fn start_raw(&self, engine: &EngineApi, config: &Value) -> Result<(String, f64)> {
        let started = now();
        let id = create_and_start(engine, config).await?;
        Ok((id, now() - started))
    }

    async fn start_raw_block(
        &self,
        engine: &EngineApi,
        config: &Value,
    ) -> Result<(Vec<String>, f64)> {
        let worker = || async move {
            let mut ids = Vec::new();
            for _ in 0..BLOCK / RAW_PARALLEL {
                ids.push(create_and_start(engine, config).await?);
            }
            anyhow::Ok(ids)
        };
        let started = now();
        let ids = try_join_all((0..RAW_PARALLEL).map(|_| worker())).await?;
        Ok((ids.concat(), now() - started))
    }

    async fn set_status(&self, host: &str, status: &str) -> Result<()> {
        let update = json!({ "containerInstances": [host], "status": status });
        self.client.call("UpdateContainerInstancesState", update).await?;
        Ok(())
    }
}

/// Milliseconds since the epoch with a fraction: the log's own clock.
pub(super) fn now() -> f64 {
    as_milliseconds(Timestamp::now())
}

pub(super) fn as_milliseconds(at: Timestamp) -> f64 {
    at.as_nanosecond() as f64 / 1e6
}

pub(super) async fn create_and_start(engine: &EngineApi, config: &Value) -> Result<String> {
    let created = engine.post("/containers/create", config.clone()).await?;
    let created: Value = serde_json::from_slice(&created.body)?;
    let id = created["Id"].as_str().context("no Id in the answer to create")?.to_owned();
    engine.post(&format!("/containers/{id}/start"), Value::Null).await?;
    Ok(id)
}

/// What the agent asked of the engine for this task's container, to be asked again without it.
pub(super) async fn same_container(engine: &EngineApi, task: &str) -> Result<Value> {
    let containers = engine.containers(true).await?;
    let of_task = |labels: &std::collections::BTreeMap<String, String>| {
        labels.values().any(|value| value == task)
    };
    let container = containers.iter().find(|container| of_task(&container.labels));
    let id = &container.context("the task has no container")?.id;
    let inspected = engine.get_json(&format!("/containers/{id}/json")).await?;
    let mut config = inspected["Config"].clone();
    config["HostConfig"] = inspected["HostConfig"].clone();
    let config_members = config.as_object_mut().context("no Config")?;
    // Docker's own default for both.
    config_members.remove("Hostname");
    // The agent must not take it for one of its own.
    let labels = config_members["Labels"].as_object().cloned().unwrap_or_default();
    let renamed = labels.into_iter().map(|(name, value)| (format!("raw.{name}"), value));
    config_members["Labels"] = Value::Object(renamed.collect());
    Ok(config)
}
