//! P4: with no coordinator there, everything that runs goes on, restart policies and health checks
//! too; and a coordinator that is back changes nothing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    lives::{Life, ended, lives},
    service::sleeper,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::figures::{count, figure, progress, reached};

pub(super) const OUTAGE_S: usize = 30 * 60;
const HOSTS: usize = 3;
/// Of each kind of task, on each host.
const PLAIN: usize = 14;
const CHECKED: usize = 3;
const RESTARTED: usize = 3;
/// The shortest that ECS allows: a container that ran less is not started again.
const RESTART_PERIOD_S: u32 = 60;
/// On top of the period, for the clocks of Docker and this program.
const RESTART_MARGIN: Duration = Duration::from_secs(2);
/// The shortest that ECS allows.
const CHECK_EVERY_S: u32 = 5;
const START_PATIENCE: Duration = Duration::from_secs(120);
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
/// How long a coordinator that is back is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Two of the intervals between looks at a container's health.
const CHECKED_FOR: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub struct StaticStability {
    outage: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct StaticStabilityCounts {
    asked_outage: Duration,
    pub outage: Duration,
    pub containers: usize,
    /// Ended although nobody ended them.
    pub changed: usize,
    pub killed: usize,
    pub restarted: usize,
    pub checked: usize,
    /// Containers whose health was looked at in the last moments of the outage.
    pub still_checked: usize,
    pub changes_in_the_outage: usize,
    pub changes_after_it: usize,
}

impl StaticStability {
    pub fn of(outage: Duration) -> StaticStability {
        StaticStability { outage }
    }

    pub async fn run(self) -> Result<StaticStabilityCounts> {
        progress(&format!("p4: no coordinator for {:?}", self.outage));
        let settings = FleetSettings {
            hosts: HOSTS,
            record: true,
            cpu: 4096,
            memory: 4096,
            ..Default::default()
        };
        let mut fleet = Fleet::start(settings).await?;
        let client = fleet.ecs()?;
        register(&client).await?;
        // Those first that have to have run for a minute.
        start(&fleet, &client, "restarted", RESTARTED).await?;
        let ready_to_be_killed =
            Instant::now() + Duration::from_secs(RESTART_PERIOD_S.into()) + RESTART_MARGIN;
        start(&fleet, &client, "checked", CHECKED).await?;
        start(&fleet, &client, "plain", PLAIN).await?;
        let before = lives(&fleet).await?;
        let wanted = HOSTS * (PLAIN + CHECKED + RESTARTED);
        ensure!(before.len() == wanted, "{} containers run, not {wanted}", before.len());
        let families = families(&client).await?;
        let of = |family: &str| -> BTreeMap<String, Life> {
            let is = |life: &Life| families.get(&life.task).is_some_and(|of| of == family);
            before.iter().filter(|(_, l)| is(l)).map(|(id, l)| (id.clone(), l.clone())).collect()
        };
        let (restartable, checked) = (of("restarted"), of("checked"));

        clear(&fleet)?;
        fleet.kill_coordinator().await?;
        let began = Instant::now();
        let end = began + self.outage;
        let mut counts = StaticStabilityCounts {
            asked_outage: self.outage,
            containers: before.len(),
            checked: checked.len(),
            ..Default::default()
        };
        // An outage that is shorter than the period lasts as long as this takes.
        sleep_until(ready_to_be_killed.max(end - self.outage / 2)).await;
        counts.killed = restartable.len();
        counts.restarted = end_and_see_restarted(&fleet, &restartable).await?;
        sleep_until(end - CHECKED_FOR).await;
        counts.still_checked = checked_since(&fleet, &checked).await?;
        counts.outage = began.elapsed();
        let during = lives(&fleet).await?;
        counts.changed += untouched_but(&restartable, &before, &during);
        counts.changes_in_the_outage = changes(&fleet)?;

        clear(&fleet)?;
        fleet.start_coordinator().await?;
        fleet.all_connected().await?;
        sleep(WATCHED).await;
        counts.changes_after_it = changes(&fleet)?;
        let gone = ended(&during, &lives(&fleet).await?);
        counts.changed += gone.len();
        Ok(counts)
    }
}

impl StaticStabilityCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        figure("outage_s", self.outage.as_secs_f64(), "s")?;
        count("containers", self.containers)?;
        count("containers_changed", self.changed)?;
        count("containers_killed_by_us", self.killed)?;
        count("restarted_by_their_policy", self.restarted)?;
        count("with_health_checks", self.checked)?;
        count("still_checked", self.still_checked)?;
        count("state_changing_calls_in_the_outage", self.changes_in_the_outage)?;
        count("state_changing_calls_after_it", self.changes_after_it)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        let (outage, asked) = (self.outage, self.asked_outage);
        ensure!(outage >= asked, "the outage took {outage:?}, {asked:?} were asked for");
        ensure!(self.changed == 0, "{} containers changed", self.changed);
        reached("containers started again by their policy", self.restarted, self.killed)?;
        reached("containers whose health is looked at", self.still_checked, self.checked)?;
        // Each restart is one start.
        let more = self.changes_in_the_outage.saturating_sub(self.restarted);
        ensure!(more == 0, "{more} calls changed something that nobody ordered");
        let after = self.changes_after_it;
        ensure!(after == 0, "a coordinator that was back had {after} calls made");
        Ok(())
    }
}

async fn register(client: &EcsClient) -> Result<()> {
    let restart = json!({ "enabled": true, "restartAttemptPeriod": RESTART_PERIOD_S });
    let check = json!({
        "command": ["CMD-SHELL", "true"], "interval": CHECK_EVERY_S, "timeout": 2, "retries": 3,
    });
    for definition in [
        sleeper("plain", json!({})),
        sleeper("checked", json!({ "healthCheck": check })),
        sleeper("restarted", json!({ "restartPolicy": restart })),
    ] {
        client.call("RegisterTaskDefinition", definition).await?;
    }
    Ok(())
}

/// Starts so many tasks on each host and waits until all run.
async fn start(fleet: &Fleet, client: &EcsClient, family: &str, each: usize) -> Result<()> {
    let mut hosts = Vec::new();
    for host in 0..HOSTS {
        hosts.push(fleet.host_arn(host).await?);
    }
    let mut arns = Vec::new();
    for _ in 0..each {
        let start = json!({ "taskDefinition": family, "containerInstances": hosts });
        let started = client.call("StartTask", start).await?;
        let tasks = started["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(tasks.len() == HOSTS, "StartTask: {started}");
        arns.extend(tasks.iter().map(|task| task["taskArn"].clone()));
    }
    let describe = json!({ "tasks": arns });
    client
        .eventually("DescribeTasks", describe, START_PATIENCE, |answer| {
            let tasks = answer["tasks"].as_array()?;
            tasks.iter().all(|task| task["lastStatus"] == json!("RUNNING")).then_some(())
        })
        .await
        .with_context(|| format!("not every task of {family} runs"))
}

/// Each task's family.
async fn families(client: &EcsClient) -> Result<BTreeMap<String, String>> {
    let mut families = BTreeMap::new();
    for family in ["plain", "checked", "restarted"] {
        let of = json!({ "family": family });
        for task in longshore_harness::ecs::list_all(client, "ListTasks", of, "taskArns").await? {
            families.insert(task, family.to_owned());
        }
    }
    Ok(families)
}

/// Ends these containers' processes; how many are started again in place.
async fn end_and_see_restarted(fleet: &Fleet, ending: &BTreeMap<String, Life>) -> Result<usize> {
    for (container, life) in ending {
        let kill = format!("/containers/{container}/kill");
        fleet.hosts[life.host].engine()?.post(&kill, Value::Null).await?;
    }
    let all_again = async {
        loop {
            let now = lives(fleet).await?;
            let again = ending.iter().filter(|(id, life)| {
                now.get(*id).is_some_and(|now| now.pid != life.pid && now.pid != 0)
            });
            let again = again.count();
            if again == ending.len() {
                return anyhow::Ok(again);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    match timeout(RESTART_PATIENCE, all_again).await {
        Ok(again) => again,
        Err(_) => bail!("not every container was started again within {RESTART_PATIENCE:?}"),
    }
}

/// Of these containers, those whose health Docker has looked at within the last intervals.
async fn checked_since(fleet: &Fleet, checked: &BTreeMap<String, Life>) -> Result<usize> {
    async fn last(fleet: &Fleet, checked: &BTreeMap<String, Life>) -> Result<Vec<Value>> {
        let mut last = Vec::new();
        for (container, life) in checked {
            let inspect = format!("/containers/{container}/json");
            let shown = fleet.hosts[life.host].engine()?.get_json(&inspect).await?;
            let log = shown["State"]["Health"]["Log"].as_array().cloned().unwrap_or_default();
            last.push(log.last().map_or(Value::Null, |check| check["Start"].clone()));
        }
        Ok(last)
    }
    let earlier = last(fleet, checked).await?;
    sleep(CHECKED_FOR).await;
    let later = last(fleet, checked).await?;
    Ok(earlier.iter().zip(&later).filter(|(earlier, later)| earlier != later).count())
}

/// Containers that changed, and were not ended here.
fn untouched_but(
    ours: &BTreeMap<String, Life>,
    before: &BTreeMap<String, Life>,
    now: &BTreeMap<String, Life>,
) -> usize {
    let mut others = before.clone();
    others.retain(|id, _| !ours.contains_key(id));
    let changed = ended(&others, now);
    for life in &changed {
        progress(&format!("p4: WRONG: {life:?} changed"));
    }
    changed.len()
}

fn clear(fleet: &Fleet) -> Result<()> {
    for host in &fleet.hosts {
        host.proxy.as_ref().context("no proxy")?.clear();
    }
    Ok(())
}

/// State-changing calls that reached an engine.
fn changes(fleet: &Fleet) -> Result<usize> {
    let mut changes = 0;
    for host in &fleet.hosts {
        let calls = host.proxy.as_ref().context("no proxy")?.changes();
        for call in &calls {
            progress(&format!("p4: {} {}", call.method, call.path));
        }
        changes += calls.len();
    }
    Ok(changes)
}
