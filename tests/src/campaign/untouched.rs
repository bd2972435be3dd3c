//! P5: an agent that is killed and started again touches no container that runs, with its ledger,
//! without it, and with an older one.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use longshore_harness::{
    ecs::{CallError, EcsClient, list_all},
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
};

mod life;
mod lost_ledger;

use self::{
    life::{TASK_LABEL, lives},
    lost_ledger::{LedgerCopy, Loss, adopted},
};

pub(super) const KILLS: usize = 1000;
/// With one of so many kills the ledger is lost too, with another one an older copy comes back.
const LEDGER_LOST_ONE_IN: usize = 8;
/// An older copy is from so many kills ago, at most.
const COPY_EVERY: usize = 20;
const CONTAINERS: usize = 30;
/// RunTask takes no more.
const RUN_MAX: usize = 10;
const START_PATIENCE: Duration = Duration::from_secs(120);
/// A kill comes this long after the agent was back, at the most.
const KILL_WITHIN: Duration = Duration::from_millis(900);
/// Tasks that the launcher keeps in motion beside the ones that are watched.
const LAUNCHED_MAX: usize = 3;
const LAUNCH_EVERY: Duration = Duration::from_millis(150);
/// When every container must belong to a task that the API knows.
const ORPHANS_AFTER: Duration = Duration::from_secs(10);
const NAME_LABEL: &str = "com.amazonaws.ecs.container-name";

pub struct Untouched {
    kills: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct UntouchedCounts {
    asked_kills: usize,
    seed: u64,
    pub kills: usize,
    pub containers: usize,
    pub launched: usize,
    pub restarted: usize,
    pub duplicated: usize,
    pub orphans: usize,
    pub ledgers_deleted: usize,
    pub ledgers_rolled_back: usize,
    /// Watched containers that an agent without its ledger should have adopted, and those it has.
    pub to_adopt: usize,
    pub adopted: usize,
}

impl Untouched {
    pub fn of(kills: usize, seed: u64) -> Untouched {
        Untouched { kills, seed }
    }

    pub async fn run(self) -> Result<UntouchedCounts> {
        progress(&format!(
            "p5: {} kills under {CONTAINERS} containers, seed {}",
            self.kills, self.seed
        ));
        let settings = FleetSettings { hosts: 1, cpu: 4096, memory: 4096, ..Default::default() };
        let mut fleet = Fleet::start(settings).await?;
        let engine = fleet.hosts[0].engine()?;
        let client = fleet.ecs()?;
        register(&client).await?;
        let watched = run_watched(&client).await?;
        let before = lives(&engine, &watched).await?;
        ensure!(before.len() == CONTAINERS, "{} containers run, not {CONTAINERS}", before.len());

        let (stop, stopped) = watch::channel(false);
        let launcher = tokio::spawn(launch(fleet.ecs()?, stopped));
        let mut counts = UntouchedCounts {
            asked_kills: self.kills,
            seed: self.seed,
            containers: before.len(),
            ..Default::default()
        };
        let mut chance = Chance::from_seed(self.seed);
        let mut copy = LedgerCopy::of(&fleet.hosts[0]);
        for kill in 1..=self.kills {
            tokio::time::sleep(chance.up_to(KILL_WITHIN)).await;
            fleet.kill_agent(0).await?;
            counts.kills += 1;
            if kill % COPY_EVERY == 1 {
                copy.take()?;
            }
            let loss = match kill % LEDGER_LOST_ONE_IN {
                3 => Some(Loss::Deleted),
                7 => Some(Loss::RolledBack),
                _ => None,
            };
            if let Some(loss) = loss {
                copy.lose(loss)?;
            }
            fleet.start_agent(0).await?;
            fleet.all_connected().await?;
            if let Some(loss) = loss {
                match loss {
                    Loss::Deleted => counts.ledgers_deleted += 1,
                    Loss::RolledBack => counts.ledgers_rolled_back += 1,
                }
                let adopted = adopted(&fleet.hosts[0], &before).await?;
                if adopted < before.len() {
                    progress(&format!("p5: WRONG: {adopted} adopted, its ledger {loss:?}"));
                }
                counts.to_adopt += before.len();
                counts.adopted += adopted;
            }
            let now = lives(&engine, &watched).await?;
            for (task, life) in &before {
                if now.get(task) != Some(life) {
                    progress(&format!("p5: WRONG: {task}: {life:?} became {:?}", now.get(task)));
                    counts.restarted += 1;
                }
            }
            counts.duplicated += duplicated(&engine).await?;
            if kill % 10 == 0 {
                progress(&format!("p5: {kill} kills"));
            }
        }
        stop.send_replace(true);
        counts.launched = launcher.await??;
        tokio::time::sleep(ORPHANS_AFTER).await;
        counts.duplicated += duplicated(&engine).await?;
        counts.orphans = orphans(&engine, &client).await?;
        Ok(counts)
    }
}

impl UntouchedCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("kills", self.kills)?;
        count("containers", self.containers)?;
        count("launched_meanwhile", self.launched)?;
        count("containers_restarted", self.restarted)?;
        count("containers_duplicated", self.duplicated)?;
        count("containers_orphaned", self.orphans)?;
        count("ledgers_deleted", self.ledgers_deleted)?;
        count("ledgers_rolled_back", self.ledgers_rolled_back)?;
        count("containers_to_adopt", self.to_adopt)?;
        count("containers_adopted", self.adopted)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("kills", self.kills, self.asked_kills)?;
        reached("tasks launched meanwhile", self.launched, self.asked_kills / 2)?;
        ensure!(self.restarted == 0, "{} containers were restarted or replaced", self.restarted);
        ensure!(self.duplicated == 0, "{} containers were made twice", self.duplicated);
        ensure!(self.orphans == 0, "{} containers belong to no task", self.orphans);
        let losses = self.ledgers_deleted.min(self.ledgers_rolled_back);
        reached("ledgers lost in each way", losses, self.asked_kills / LEDGER_LOST_ONE_IN)?;
        reached("containers adopted without their ledger", self.adopted, self.to_adopt)?;
        Ok(())
    }
}

async fn register(client: &EcsClient) -> Result<()> {
    let definition = json!({
        "family": "untouched",
        "containerDefinitions": [{
            "name": "main",
            "image": SAMPLE_IMAGE,
            "memory": 8,
            "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    Ok(())
}

/// Runs the containers that are watched and waits until all of them run; their tasks.
async fn run_watched(client: &EcsClient) -> Result<Vec<String>> {
    let mut tasks = Vec::new();
    while tasks.len() < CONTAINERS {
        let some = (CONTAINERS - tasks.len()).min(RUN_MAX);
        let run = json!({ "taskDefinition": "untouched", "count": some, "startedBy": "watched" });
        let ran = client.call("RunTask", run).await?;
        if let Some(failure) = ran["failures"].get(0) {
            bail!("a watched task could not be placed: {failure}");
        }
        let ran = ran["tasks"].as_array().context("RunTask gave no tasks")?;
        tasks.extend(ran.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)));
    }
    client
        .eventually("DescribeTasks", json!({ "tasks": tasks }), START_PATIENCE, |answer| {
            let all = answer["tasks"].as_array()?;
            let running = |task: &Value| task["lastStatus"] == json!("RUNNING");
            (all.len() == CONTAINERS && all.iter().all(running)).then_some(())
        })
        .await?;
    Ok(tasks)
}

/// Containers beyond the first of each container of each task, running or not.
async fn duplicated(engine: &EngineApi) -> Result<usize> {
    let mut seen = BTreeMap::<(String, String), usize>::new();
    for container in engine.containers(true).await? {
        let label = |name: &str| container.labels.get(name).cloned();
        if let (Some(task), Some(name)) = (label(TASK_LABEL), label(NAME_LABEL)) {
            *seen.entry((task, name)).or_default() += 1;
        }
    }
    Ok(seen.values().map(|count| count - 1).sum())
}

/// Running containers of tasks that the API does not show as running.
async fn orphans(engine: &EngineApi, client: &EcsClient) -> Result<usize> {
    let tasks = list_all(client, "ListTasks", json!({}), "taskArns").await?;
    let containers = engine.containers(false).await?;
    let tasks_of = containers.iter().filter_map(|container| container.labels.get(TASK_LABEL));
    Ok(tasks_of.filter(|task| !tasks.contains(task)).count())
}

/// Starts and stops tasks until told to stop; how many it started.
async fn launch(client: EcsClient, mut stopped: watch::Receiver<bool>) -> Result<usize> {
    let (mut launched, mut running) = (0, std::collections::VecDeque::new());
    while !*stopped.borrow_and_update() {
        let run = json!({ "taskDefinition": "untouched", "startedBy": "launched" });
        match client.call("RunTask", run).await {
            Ok(ran) => {
                if let Some(task) = ran["tasks"][0]["taskArn"].as_str() {
                    running.push_back(task.to_owned());
                    launched += 1;
                }
            }
            // No host is connected just now: that is what the kills are for.
            Err(CallError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if running.len() > LAUNCHED_MAX
            && let Some(task) = running.pop_front()
        {
            client.call("StopTask", json!({ "task": task })).await?;
        }
        // The pace of the load, not a wait for something.
        let _ = tokio::time::timeout(LAUNCH_EVERY, stopped.changed()).await;
    }
    Ok(launched)
}
