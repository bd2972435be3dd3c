//! P6, its other half: dockerd hangs or crashes, containers live on, and no task is told to have
//! stopped or is replaced. What is ordered meanwhile is done when dockerd is back.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use longshore_harness::{
    ecs::{EcsClient, list_all},
    fleet::{Fleet, FleetHost, FleetSettings},
    lives::{ended, lives},
    service::{service, sleeper, tasks, until_stable},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
};

pub(super) const OUTAGES: usize = 200;
/// One of so many outages is a long one.
const LONG_ONE_IN: usize = 20;
const LONG: Duration = Duration::from_secs(120);
const SHORTEST: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(18);
const HOSTS: usize = 3;
const FAMILY: &str = "outlives";
const SERVICE: &str = "kept";
const REPLICAS: usize = 9;
/// What is ordered during an outage is done so soon after it. An agent that waits for a create
/// that Docker has lost waits for its timeout, four minutes.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(270);

pub struct EngineOutages {
    outages: usize,
    seed: u64,
    kinds: &'static [Outage],
    spread: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Hang,
    Crash,
}

#[derive(Clone, Debug, Default)]
pub struct EngineOutageCounts {
    asked_outages: usize,
    seed: u64,
    pub outages: usize,
    pub crashes: usize,
    pub long: usize,
    pub containers: usize,
    pub ended: usize,
    pub false_stopped: usize,
    pub replaced: usize,
    pub ordered_meanwhile: usize,
    pub slowest_catch_up_s: f64,
}

impl EngineOutages {
    pub fn of(outages: usize, seed: u64) -> EngineOutages {
        EngineOutages { outages, seed, kinds: &[Outage::Hang, Outage::Crash], spread: SPREAD }
    }

    /// Crashes only, that are over as soon as dockerd is up again.
    pub fn short_crashes(crashes: usize, seed: u64) -> EngineOutages {
        let spread = Duration::ZERO;
        EngineOutages { outages: crashes, seed, kinds: &[Outage::Crash], spread }
    }

    pub async fn run(self) -> Result<EngineOutageCounts> {
        progress(&format!("p6: {} outages of dockerd, seed {}", self.outages, self.seed));
        let settings =
            FleetSettings { hosts: HOSTS, live_restore: true, ..FleetSettings::default() };
        let mut fleet = Fleet::start(settings).await?;
        let client = fleet.ecs()?;
        client.call("RegisterTaskDefinition", sleeper(FAMILY, json!({}))).await?;
        client.call("CreateService", service(SERVICE, FAMILY, REPLICAS, json!({}))).await?;
        until_stable(&client, SERVICE, REPLICAS).await?;
        let before = lives(&fleet).await?;
        let kept: BTreeSet<String> = tasks(&client, SERVICE).await?.into_iter().collect();
        let mut counts = EngineOutageCounts {
            asked_outages: self.outages,
            seed: self.seed,
            containers: before.len(),
            ..Default::default()
        };
        let mut arns = Vec::new();
        for host in 0..HOSTS {
            arns.push(fleet.host_arn(host).await?);
        }
        let mut chance = Chance::from_seed(self.seed);
        while counts.outages < self.outages {
            // Each host has its own at the same time.
            let mut round = Vec::new();
            for (host, arn) in fleet.hosts.iter_mut().zip(&arns) {
                let number = counts.outages + round.len() + 1;
                if number > self.outages {
                    break;
                }
                let kind = self.kinds[chance.below(self.kinds.len())];
                let long = number.is_multiple_of(LONG_ONE_IN);
                let lasts = if long { LONG } else { SHORTEST + chance.up_to(self.spread) };
                counts.crashes += usize::from(kind == Outage::Crash);
                counts.long += usize::from(long);
                round.push(outage(host, arn, &client, kind, lasts));
            }
            let caught_up = try_join_all(round).await?;
            counts.outages += caught_up.len();
            counts.ordered_meanwhile += caught_up.len();
            for seconds in caught_up {
                counts.slowest_catch_up_s = counts.slowest_catch_up_s.max(seconds);
            }
            counts.compare(&ended(&before, &lives(&fleet).await?), &kept, &client).await?;
            progress(&format!("p6: {} outages", counts.outages));
        }
        Ok(counts)
    }
}

/// One outage of one host's dockerd, at whose beginning a task is ordered to run there: later none is
/// placed on an engine that does not answer. Once dockerd is back, the task runs and is stopped; how
/// long it took until it ran.
async fn outage(
    host: &mut FleetHost,
    arn: &str,
    client: &EcsClient,
    kind: Outage,
    lasts: Duration,
) -> Result<f64> {
    let engine = host.engine.as_mut().context("the engine is not running")?;
    // The host may still be known for the outage before.
    let start = json!({ "taskDefinition": FAMILY, "containerInstances": [arn] });
    let ordered = |answer: &Value| answer["tasks"][0]["taskArn"].as_str().map(str::to_owned);
    let task = client.eventually("StartTask", start, CAUGHT_UP_WITHIN, ordered).await?;
    match kind {
        Outage::Hang => engine.signal(Signal::STOP)?,
        Outage::Crash => engine.crash().await?,
    }
    sleep(lasts).await;
    match kind {
        Outage::Hang => engine.signal(Signal::CONT)?,
        Outage::Crash => engine.start_again().await?,
    }
    let back = tokio::time::Instant::now();
    reaches(client, &task, "RUNNING").await?;
    let seconds = back.elapsed().as_secs_f64();
    client.call("StopTask", json!({ "task": task, "reason": "caught up" })).await?;
    let stopped = reaches(client, &task, "STOPPED").await?;
    let code = &stopped["stopCode"];
    ensure!(*code == json!("UserInitiated"), "a task started in an outage stopped by {code}");
    Ok(seconds)
}

async fn reaches(client: &EcsClient, task: &str, status: &str) -> Result<Value> {
    let describe = json!({ "tasks": [task] });
    client
        .eventually("DescribeTasks", describe, CAUGHT_UP_WITHIN, |answer| {
            let task = &answer["tasks"][0];
            (task["lastStatus"] == json!(status)).then(|| task.clone())
        })
        .await
        .with_context(|| format!("{task} is not {status}"))
}

impl EngineOutageCounts {
    async fn compare(
        &mut self,
        ended: &[longshore_harness::lives::Life],
        kept: &BTreeSet<String>,
        client: &EcsClient,
    ) -> Result<()> {
        for life in ended {
            progress(&format!("p6: WRONG: {life:?} ended"));
        }
        self.ended += ended.len();
        let now: BTreeSet<String> = tasks(client, SERVICE).await?.into_iter().collect();
        let replaced = now.difference(kept).count();
        self.replaced += replaced;
        let stopped = json!({ "serviceName": SERVICE, "desiredStatus": "STOPPED" });
        let stopped = list_all(client, "ListTasks", stopped, "taskArns").await?;
        self.false_stopped += stopped.len();
        if replaced + stopped.len() > 0 {
            progress(&format!("p6: WRONG: {replaced} replaced, reported as stopped: {stopped:?}"));
        }
        Ok(())
    }

    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("outages", self.outages)?;
        count("outages_by_kill", self.crashes)?;
        count("outages_of_120_s", self.long)?;
        count("containers", self.containers)?;
        count("containers_ended", self.ended)?;
        count("tasks_falsely_reported_stopped", self.false_stopped)?;
        count("tasks_replaced", self.replaced)?;
        count("tasks_ordered_in_an_outage", self.ordered_meanwhile)?;
        figure("slowest_catch_up_s", self.slowest_catch_up_s, "s")?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("outages", self.outages, self.asked_outages)?;
        ensure!(self.ended == 0, "{} containers ended in an outage", self.ended);
        ensure!(self.false_stopped == 0, "{} tasks were reported stopped", self.false_stopped);
        ensure!(self.replaced == 0, "{} tasks were replaced", self.replaced);
        Ok(())
    }
}
