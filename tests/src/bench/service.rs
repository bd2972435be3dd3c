//! A service's replacement of what died: a killed container against create and start of the same
//! container without us, and a host that is cut off against Docker Swarm on the same hosts.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_harness::{
    coordinator_log::TaskChange,
    ecs::EcsClient,
    engine_api::{EngineApi, percent_encoded},
    fleet::{Fleet, FleetSettings},
    lives::{Life, ended, lives},
    service::{describe, service, sleeper, tags, tasks, until},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    bench::{
        start::{as_milliseconds, create_and_start, now, same_container},
        swarm::Swarm,
    },
    figures::{count, disk_baseline, figure, median, progress},
};

const PAIRS: usize = 50;
const WARM_UP_PAIRS: usize = 3;
/// Replicas of the service that loses a host of three.
const REPLICAS: usize = 12;
/// Cuts of each kind; the figure is their median.
const CUTS: usize = 3;
/// The host that is cut; Swarm's manager is on the first.
const CUT: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);
const HEAL_PATIENCE: Duration = Duration::from_secs(60);
/// Pace of looking at containers, which tell nobody.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const NAME: &str = "service";

pub(super) async fn run() -> Result<()> {
    let settings = FleetSettings { cpu: 8192, memory: 8192, ..Default::default() };
    let fleet = Fleet::start(settings).await?;
    let client = fleet.ecs()?;
    let bench = Bench { fleet, client };
    disk_baseline(bench.fleet.folder())?;
    for (network, prefix) in [("bridge", ""), ("host", "host_network_")] {
        bench.replacement(network, prefix).await?;
    }
    bench.host_loss().await?;
    bench.swarm_host_loss().await?;
    disk_baseline(bench.fleet.folder())
}

struct Bench {
    fleet: Fleet,
    client: EcsClient,
}

/// Without us, in milliseconds.
struct Raw {
    /// Create and start alone.
    start: f64,
    /// From a kill, as soon as Docker says that the container has stopped, to another's start.
    replace: f64,
}

/// What a cut and its heal came to.
struct Loss {
    replaced_s: f64,
    exact_s: f64,
    restarted: usize,
}

impl Bench {
    /// One task, killed time and again on the one host that takes tasks.
    async fn replacement(&self, network: &str, prefix: &str) -> Result<()> {
        for host in 1..self.fleet.hosts.len() {
            self.set_status(host, "DRAINING").await?;
        }
        let mut definition = sleeper(NAME, json!({}));
        definition["networkMode"] = json!(network);
        self.client.call("RegisterTaskDefinition", definition).await?;
        self.create(1, &[]).await?;
        let engine = self.fleet.hosts[0].engine()?;
        let task = self.only_task().await?;
        let config = same_container(&engine, &task).await?;

        progress(&format!("service: {PAIRS} kills and raw starts, {network} network"));
        let (mut ours, mut raw, mut raw_replaced, mut told) = (vec![], vec![], vec![], vec![]);
        let log = self.fleet.coordinator()?.log();
        for pair in 0..WARM_UP_PAIRS + PAIRS {
            let raw_took = replace_without_us(&engine, &config).await?;

            let task = self.only_task().await?;
            let all = lives(&self.fleet).await?;
            let found = all.iter().find(|(_, life)| life.task == task);
            let (container, _) = found.context("the task has no container")?;
            let from = log.position();
            let killed = now();
            engine.post(&format!("/containers/{container}/kill"), Value::Null).await?;
            let (running, _) = log.wait_for(from, PATIENCE, runs).await?;
            if pair >= WARM_UP_PAIRS {
                raw.push(raw_took.start);
                raw_replaced.push(raw_took.replace);
                ours.push(as_milliseconds(running.at) - killed);
                told.push(death_told(&engine, container).await? - killed);
            }
        }
        let name = |name: &str| format!("{prefix}{name}");
        let (ours, raw, raw_replaced) = (median(&ours)?, median(&raw)?, median(&raw_replaced)?);
        figure(&name("raw_create_start_p50_ms"), raw, "ms")?;
        figure(&name("raw_kill_create_start_p50_ms"), raw_replaced, "ms")?;
        figure(&name("kill_to_die_event_p50_ms"), median(&told)?, "ms")?;
        figure(&name("kill_to_replaced_p50_ms"), ours, "ms")?;
        figure(&name("replace_over_raw_p50_ms"), ours - raw, "ms")?;
        figure(&name("replace_over_raw_kill_create_start_p50_ms"), ours - raw_replaced, "ms")?;
        self.delete().await?;
        for host in 1..self.fleet.hosts.len() {
            self.set_status(host, "ACTIVE").await?;
        }
        Ok(())
    }

    async fn host_loss(&self) -> Result<()> {
        self.client.call("RegisterTaskDefinition", sleeper(NAME, json!({}))).await?;
        let two_seconds = [("longshore:lost-after", "2")];
        let (mut shipped, mut short) = (Vec::new(), Vec::new());
        for cut in 1..=CUTS {
            progress(&format!("service: cut {cut} of {CUTS}, at shipped timers and lost-after 2"));
            shipped.push(self.lose_a_host(&[]).await?);
            short.push(self.lose_a_host(&two_seconds).await?);
        }
        let replaced =
            |losses: &[Loss]| -> Vec<f64> { losses.iter().map(|loss| loss.replaced_s).collect() };
        let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        for (name, losses) in [("host_loss", &shipped), ("host_loss_2s", &short)] {
            let replaced = replaced(losses);
            figure(&format!("{name}_replaced_s"), median(&replaced)?, "s")?;
            figure(&format!("{name}_replaced_worst_s"), worst(&replaced), "s")?;
        }
        let all = || shipped.iter().chain(&short);
        let exact: Vec<f64> = all().map(|loss| loss.exact_s).collect();
        figure("healed_exact_s", median(&exact)?, "s")?;
        figure("healed_exact_worst_s", worst(&exact), "s")?;
        count("originals_restarted", all().map(|loss| loss.restarted).sum())
    }

    async fn lose_a_host(&self, options: &[(&str, &str)]) -> Result<Loss> {
        self.create(REPLICAS, options).await?;
        let before = lives(&self.fleet).await?;
        let lost = before.values().filter(|life| life.host == CUT).count();
        let log = self.fleet.coordinator()?.log();
        let mut from = log.position();
        let mut replaced_at = now();
        let cut_at = now();
        self.fleet.hosts[CUT].network.cut()?;
        for _ in 0..lost {
            let (change, next) = log.wait_for(from, PATIENCE, runs).await?;
            (replaced_at, from) = (as_milliseconds(change.at), next);
        }
        let healed = Instant::now();
        self.fleet.hosts[CUT].network.heal()?;
        timeout(HEAL_PATIENCE, self.exact()).await.context("not exact after the heal")??;
        let exact_s = healed.elapsed().as_secs_f64();
        let after = lives(&self.fleet).await?;
        let restarted = ended(&before, &after).len();
        self.delete().await?;
        Ok(Loss { replaced_s: (replaced_at - cut_at) / 1000.0, exact_s, restarted })
    }

    /// Waits until the API shows the desired count, and the hosts run it.
    async fn exact(&self) -> Result<()> {
        self.fleet.all_connected().await?;
        loop {
            let shown = describe(&self.client, NAME).await?;
            let counted = shown.running() == REPLICAS && shown.pending() == 0;
            if counted && self.containers().await?.len() == REPLICAS {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn swarm_host_loss(&self) -> Result<()> {
        let swarm = Swarm::form(&self.fleet).await?;
        let mut took = Vec::new();
        for cut in 1..=CUTS {
            progress(&format!("service: cut {cut} of {CUTS} under Swarm"));
            took.push(swarm.host_loss(&self.fleet, CUT, REPLICAS).await?);
        }
        figure("swarm_host_loss_replaced_s", median(&took)?, "s")
    }

    /// Makes the service and waits until all of it runs.
    async fn create(&self, desired: usize, options: &[(&str, &str)]) -> Result<()> {
        let mut more = json!({});
        // At shipped timers there is no tag at all.
        more["tags"] = tags(options);
        self.client.call("CreateService", service(NAME, NAME, desired, more)).await?;
        until(&self.client, NAME, PATIENCE, |s| s.running() == desired && s.pending() == 0).await?;
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let delete = json!({ "service": NAME, "force": true });
        self.client.call("DeleteService", delete).await?;
        until(&self.client, NAME, PATIENCE, |shown| shown.status() == "INACTIVE").await?;
        let deadline = Instant::now() + PATIENCE;
        while !self.containers().await?.is_empty() {
            if Instant::now() > deadline {
                bail!("a deleted service's containers are still there");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn only_task(&self) -> Result<String> {
        let found = tasks(&self.client, NAME).await?;
        match &found[..] {
            [task] => Ok(task.clone()),
            other => bail!("{} tasks where there is to be one", other.len()),
        }
    }

    async fn containers(&self) -> Result<BTreeMap<String, Life>> {
        let mut all = lives(&self.fleet).await?;
        all.retain(|_, life| !life.task.is_empty());
        Ok(all)
    }

    async fn set_status(&self, host: usize, status: &str) -> Result<()> {
        let host = self.fleet.host_arn(host).await?;
        let update = json!({ "containerInstances": [host], "status": status });
        self.client.call("UpdateContainerInstancesState", update).await?;
        Ok(())
    }
}

fn runs(line: &str) -> Option<TaskChange> {
    TaskChange::parse(line).filter(|change| change.what == "task is RUNNING")
}

async fn replace_without_us(engine: &EngineApi, config: &Value) -> Result<Raw> {
    let started = now();
    let first = create_and_start(engine, config).await?;
    let killed = now();
    engine.post(&format!("/containers/{first}/kill"), Value::Null).await?;
    engine.wait(&first).await?;
    let second = create_and_start(engine, config).await?;
    let replaced = now();
    for container in [first, second] {
        engine.remove(&container).await?;
    }
    Ok(Raw { start: killed - started, replace: replaced - killed })
}

/// When Docker told of a container's death: its own clock, in milliseconds since the epoch.
async fn death_told(engine: &EngineApi, container: &str) -> Result<f64> {
    let filters = json!({ "container": [container], "event": ["die"] }).to_string();
    let until = now() / 1000.0;
    let filters = percent_encoded(&filters);
    let path = format!("/events?since=0&until={until}&filters={filters}");
    let at = engine.get_json(&path).await?["timeNano"].as_f64().context("no event of the death")?;
    Ok(at / 1e6)
}
