//! Tasks that wait for room and may run only so long, under a coordinator that is killed again and
//! again: none is lost, none runs twice, and each ends in time.
//!
//! Two hosts with room for a few tasks, and callers that ask for more than that. Each task writes down
//! when it begins and ends, where no coordinator reaches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use longshore_harness::{
    ecs::{CallError, EcsClient},
    fleet::{Fleet, FleetSettings},
    service::tags,
    witness::{Run, Witness},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
};

pub(super) const KILLS: usize = 200;
const HOSTS: usize = 2;
/// MiB: of a host, and of a task. Three tasks a host.
const HOST_MEMORY: u32 = 48;
const FAMILY: &str = "deadline";
/// Longer than any run of this campaign: nothing is given up.
const WAIT_S: &str = "86400";
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer a task may be there, its start and its stop included.
const LATE_MAX_S: f64 = 2.0;
/// Pace of the calls: somewhat more than the hosts can take, now and then much less.
const CALL_WITHIN: Duration = Duration::from_millis(900);
/// A kill comes this long after the coordinator serves again, at the most.
const KILL_WITHIN: Duration = Duration::from_millis(1500);
/// Tasks for every so many kills, at least.
const TASKS_PER_KILL: usize = 1;
const RETRY_AFTER: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);
/// ecs-behaviour 1.1, batch limits.
const DESCRIBED_MAX: usize = 100;
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub struct Deadlines {
    kills: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct DeadlineCounts {
    asked_kills: usize,
    seed: u64,
    pub kills: usize,
    /// Acknowledged, each by the one call that asked for it.
    pub tasks: usize,
    /// Calls that had to be made again, because a kill took their answer.
    pub repeated: usize,
    /// Tasks that were not placed at once.
    pub waited: usize,
    pub lost: usize,
    pub twice: usize,
    pub late: usize,
    pub latest_s: f64,
    /// Stopped for another reason than their time.
    pub otherwise: usize,
}

/// What the caller had acknowledged: the task's ARN, by its name.
#[derive(Default)]
struct Called {
    tasks: BTreeMap<String, String>,
    repeated: usize,
}

impl Deadlines {
    pub fn of(kills: usize, seed: u64) -> Deadlines {
        Deadlines { kills, seed }
    }

    pub async fn run(self) -> Result<DeadlineCounts> {
        progress(&format!("deadlines: {} kills, seed {}", self.kills, self.seed));
        let settings = FleetSettings { hosts: HOSTS, memory: HOST_MEMORY, ..Default::default() };
        let mut fleet = Fleet::start(settings).await?;
        let witness = Witness::in_folder(&fleet.folder().join("witness"))?;
        let client = fleet.ecs()?;
        client.call("RegisterTaskDefinition", witness.definition(FAMILY)).await?;
        let chance = Chance::from_seed(self.seed);
        let (acked_sender, mut acked) = watch::channel(0);
        let (end_sender, end) = watch::channel(false);
        let calls = call_on(client.clone(), chance.part(1), Arc::new(acked_sender), end);
        let calls = tokio::spawn(calls);
        let kills = self.kill(&mut fleet, chance.part(2), &mut acked).await?;
        end_sender.send_replace(true);
        let called = calls.await??;
        progress(&format!("deadlines: {} tasks; waiting for the last to end", called.tasks.len()));
        let ended = all_stopped(&client, &called).await?;
        let mut counts = DeadlineCounts {
            asked_kills: self.kills,
            seed: self.seed,
            kills,
            tasks: called.tasks.len(),
            repeated: called.repeated,
            ..Default::default()
        };
        counts.add_stopped(&ended);
        counts.add_runs(&called, &witness.runs()?);
        Ok(counts)
    }

    async fn kill(
        &self,
        fleet: &mut Fleet,
        mut chance: Chance,
        acked: &mut watch::Receiver<usize>,
    ) -> Result<usize> {
        for kill in 1..=self.kills {
            sleep(chance.up_to(KILL_WITHIN)).await;
            fleet.kill_coordinator().await?;
            fleet.start_coordinator().await?;
            // A slow machine is asked for less between two kills: they wait for it.
            let enough = acked.wait_for(|acked| *acked >= kill * TASKS_PER_KILL);
            timeout(PATIENCE, enough).await.context("hardly a call is acknowledged")??;
            if kill.is_multiple_of(20) {
                progress(&format!("deadlines: {kill} kills, {} tasks", *acked.borrow()));
            }
        }
        Ok(self.kills)
    }
}

/// Asks for one task after the other until `end`, each until it is acknowledged.
async fn call_on(
    client: EcsClient,
    mut chance: Chance,
    acked: Arc<watch::Sender<usize>>,
    end: watch::Receiver<bool>,
) -> Result<Called> {
    let mut called = Called::default();
    while !*end.borrow() {
        sleep(chance.up_to(CALL_WITHIN)).await;
        let name = format!("task-{}", called.tasks.len());
        let environment = json!([{ "name": "NAME", "value": name }]);
        let run = json!({
            "taskDefinition": FAMILY,
            "clientToken": name,
            "overrides": { "containerOverrides": [{ "name": "main", "environment": environment }] },
            "tags": tags(&[
                ("longshore:wait", WAIT_S),
                ("longshore:timeout", &TIMEOUT.as_secs().to_string()),
            ]),
        });
        let ran = loop {
            match client.call("RunTask", run.clone()).await {
                Ok(ran) => break ran,
                Err(CallError::NoAnswer(_)) => {
                    called.repeated += 1;
                    sleep(RETRY_AFTER).await;
                }
                // While it starts, the coordinator says that it is not ready.
                Err(CallError::Refused { status: 500.., .. }) => sleep(RETRY_AFTER).await,
                Err(refused) => return Err(refused.into()),
            }
        };
        let arn = ran["tasks"][0]["taskArn"].as_str().context("RunTask gave no task")?;
        called.tasks.insert(name, arn.to_owned());
        acked.send_replace(called.tasks.len());
    }
    Ok(called)
}

/// The descriptions of all tasks once all are STOPPED.
async fn all_stopped(client: &EcsClient, called: &Called) -> Result<Vec<Value>> {
    let arns: Vec<&String> = called.tasks.values().collect();
    let began = Instant::now();
    loop {
        let mut described = Vec::new();
        for some in arns.chunks(DESCRIBED_MAX) {
            let answer = client.call("DescribeTasks", json!({ "tasks": some })).await?;
            described.extend(answer["tasks"].as_array().context("no tasks")?.iter().cloned());
        }
        let stopped = |task: &&Value| task["lastStatus"] == "STOPPED";
        let count = described.iter().filter(stopped).count();
        if count == described.len() {
            return Ok(described);
        }
        let left = described.len() - count;
        ensure!(began.elapsed() < PATIENCE, "{left} tasks do not end: {described:#?}");
        sleep(LOOK_EVERY).await;
    }
}

impl DeadlineCounts {
    fn add_stopped(&mut self, ended: &[Value]) {
        // What is not described any more is lost.
        self.lost += self.tasks - ended.len();
        for task in ended {
            let reason = task["stoppedReason"].as_str().unwrap_or_default();
            self.otherwise += usize::from(!reason.contains("longshore:timeout"));
            let at = |member: &str| task[member].as_f64().unwrap_or(f64::NAN);
            self.waited += usize::from(at("startedAt") - at("createdAt") > 1.0);
        }
    }

    fn add_runs(&mut self, called: &Called, runs: &[Run]) {
        for name in called.tasks.keys() {
            let own: Vec<&Run> = runs.iter().filter(|run| run.id == *name).collect();
            match own[..] {
                [] => self.lost += 1,
                [run] => {
                    let took = run.end.unwrap_or(f64::INFINITY) - run.begin;
                    let late_s = took - TIMEOUT.as_secs_f64();
                    self.latest_s = self.latest_s.max(late_s);
                    self.late += usize::from(late_s > LATE_MAX_S);
                }
                _ => self.twice += 1,
            }
        }
    }

    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("kills", self.kills)?;
        count("tasks", self.tasks)?;
        count("calls_repeated", self.repeated)?;
        count("waited", self.waited)?;
        count("lost", self.lost)?;
        count("twice", self.twice)?;
        count("late", self.late)?;
        figure("latest_s", self.latest_s, "s")?;
        count("stopped_otherwise", self.otherwise)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("kills", self.kills, self.asked_kills)?;
        reached("tasks", self.tasks, self.asked_kills * TASKS_PER_KILL)?;
        ensure!(self.lost == 0, "{} tasks were lost", self.lost);
        ensure!(self.twice == 0, "{} tasks ran twice", self.twice);
        ensure!(
            self.late == 0,
            "{} tasks were there more than {LATE_MAX_S} s past their time, the latest {:.2} s",
            self.late,
            self.latest_s
        );
        ensure!(self.otherwise == 0, "{} tasks ended for another reason", self.otherwise);
        Ok(())
    }
}
