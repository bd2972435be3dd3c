//! P8: a confused coordinator stops nothing. Empty journals, backups of any age, other fleets'
//! coordinators, twins, and requests whose parts were mixed up, put to an agent whose tasks run.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};
use longshore_agent::{
    engine::supervisor::{EngineConfig, EngineHandle, start},
    runtime::{
        RunState,
        fake::{Behaviour, FakeRuntime, Verb},
    },
};
use longshore_common::{
    clock::{SteppedClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{Desired, Epoch, PROTOCOL_VERSION, PollOutcome, PollRequest, ReportedPhase},
    task_definition::{ContainerDefinition, TaskSpec},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
    lone_coordinator::LoneCoordinator,
};

pub(super) const POLLS: usize = 200_000;
const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const IMAGE: &str = "web:1";
const TASKS: u128 = 12;
/// How often the right coordinator has started.
const RIGHT_COUNTER: u64 = 5;
/// Polls between which the right coordinator shows that it is still obeyed.
const RIGHT_EVERY: usize = 500;
const START_PATIENCE: Duration = Duration::from_secs(30);
const HOLD_MS: u32 = 50;

pub struct Confused {
    polls: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct ConfusedCounts {
    asked_polls: usize,
    seed: u64,
    pub polls: usize,
    /// By the agent's reason.
    pub refused: BTreeMap<String, usize>,
    pub accepted: usize,
    pub containers: usize,
    /// Started once, and running at the end.
    pub untouched: usize,
    pub state_changing_calls: usize,
    pub manifests_wanted: usize,
}

impl Confused {
    pub fn of(polls: usize, seed: u64) -> Confused {
        Confused { polls, seed }
    }

    pub async fn run(self) -> Result<ConfusedCounts> {
        progress(&format!("p8: {} bad polls, seed {}", self.polls, self.seed));
        let mut chance = Chance::from_seed(self.seed);
        let clock = SteppedClock::at(Timestamp(1_700_000_000_000));
        let docker = FakeRuntime::new(clock.clone());
        docker.add_image(IMAGE, Behaviour::default());
        let folder = tempfile::tempdir()?;
        let config = EngineConfig::new(FLEET, HOST, folder.path().join("ledger"));
        let shutdown = CancellationToken::new();
        let _ends = shutdown.clone().drop_guard();
        let (agent, _running) = start(config, docker.clone(), clock, shutdown)?;
        let mut right = LoneCoordinator::new(FLEET, HOST, RIGHT_COUNTER);
        right.exchange(&agent, HOLD_MS).await?;
        let mut backups = Vec::new();
        for task in tasks() {
            let mut backup = right.restarted();
            backup.epoch.counter = RIGHT_COUNTER - 2;
            backups.push(backup);
            right.run(task, 1, one());
            until_running(&mut right, &agent, task).await?;
        }
        docker.forget_calls();
        let mut counts = ConfusedCounts {
            asked_polls: self.polls,
            seed: self.seed,
            containers: docker.containers().len(),
            ..Default::default()
        };
        for number in 1..=self.polls {
            let request = bad_poll(&mut chance, &right, &backups);
            match agent.poll(request).await?.outcome {
                PollOutcome::Refused(refusal) => {
                    let name = format!("{refusal:?}");
                    let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                    *counts.refused.entry(name[..end].to_owned()).or_default() += 1;
                }
                PollOutcome::Accepted { .. } => counts.accepted += 1,
            }
            counts.polls += 1;
            if number.is_multiple_of(RIGHT_EVERY) {
                right.exchange(&agent, 1).await?;
            }
        }
        counts.manifests_wanted = right.manifests_wanted;
        let changing = [Verb::Create, Verb::Start, Verb::Stop, Verb::Kill, Verb::Remove];
        counts.state_changing_calls = changing.iter().map(|verb| docker.count(*verb)).sum();
        let untouched = docker.containers();
        let untouched = untouched.iter().filter(|c| c.starts == 1 && c.state == RunState::Running);
        counts.untouched = untouched.count();
        Ok(counts)
    }
}

impl ConfusedCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("bad_polls", self.polls)?;
        for (refusal, polls) in &self.refused {
            count(&format!("refused_as_{refusal}"), *polls)?;
        }
        count("accepted", self.accepted)?;
        count("containers", self.containers)?;
        count("containers_stopped", self.containers - self.untouched)?;
        count("state_changing_calls", self.state_changing_calls)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("bad polls", self.polls, self.asked_polls)?;
        ensure!(self.accepted == 0, "{} bad polls were accepted", self.accepted);
        reached("containers", self.containers, TASKS as usize)?;
        reached("untouched containers", self.untouched, self.containers)?;
        let changes = self.state_changing_calls;
        ensure!(changes == 0, "{changes} calls changed containers");
        ensure!(self.manifests_wanted == 0, "the right coordinator was asked for a manifest");
        Ok(())
    }
}

fn tasks() -> impl Iterator<Item = TaskId> {
    (1..=TASKS).map(TaskId::new)
}

fn one() -> TaskSpec {
    let app = ContainerDefinition {
        name: "app".to_owned(),
        image: Some(IMAGE.to_owned()),
        memory: Some(16),
        ..ContainerDefinition::default()
    };
    TaskSpec { container_definitions: vec![app], ..TaskSpec::default() }
}

async fn until_running(
    right: &mut LoneCoordinator,
    agent: &EngineHandle,
    task: TaskId,
) -> Result<()> {
    let running = async {
        loop {
            let report = right.reports.get(&task);
            if report.is_some_and(|report| report.phase == ReportedPhase::Running) {
                return anyhow::Ok(());
            }
            right.exchange(agent, HOLD_MS).await?;
        }
    };
    match timeout(START_PATIENCE, running).await {
        Ok(running) => running,
        Err(_) => bail!("{task} does not run"),
    }
}

/// A request of somebody who must not be obeyed.
fn bad_poll(
    chance: &mut Chance,
    right: &LoneCoordinator,
    backups: &[LoneCoordinator],
) -> PollRequest {
    let mut somebody = match chance.below(4) {
        0 => LoneCoordinator::new(FLEET, HOST, 1 + chance.below(2) as u64),
        1 => right.clone(),
        _ => backups[chance.below(backups.len())].clone(),
    };
    // What it would have the tasks of this host do.
    for task in tasks() {
        match chance.below(6) {
            0 => {
                somebody.desired.entry(task).or_insert((1, Desired::Run));
                somebody.stop(task);
            }
            1 => somebody.run(task, 1 + chance.below(3) as u32, one()),
            _ => {}
        }
    }
    let stale = somebody.epoch.counter < right.epoch.counter;
    somebody.epoch = match chance.below(4) {
        0 if stale => somebody.epoch,
        1 => Epoch { counter: right.epoch.counter - 1, ..right.epoch },
        // A twin: the same start by its counter, but not the same one.
        _ => Epoch { incarnation: right.epoch.incarnation + 1 + chance.draw() % 7, ..right.epoch },
    };
    let mut request = if chance.one_in(2) { somebody.request(0) } else { somebody.manifest(0) };
    match chance.below(6) {
        0 => request.orders.reverse(),
        1 => request.orders.truncate(chance.below(3)),
        2 => request.definitions.truncate(chance.below(2)),
        3 => request.orders.iter_mut().for_each(|order| order.seq += 1 + chance.draw() % 1000),
        4 => request.last_order = chance.draw() % 10_000,
        _ => {}
    }
    // Right in everything but whose it is.
    if chance.one_in(4) {
        request.epoch = Epoch { counter: right.epoch.counter + 1, ..right.epoch };
        match chance.below(3) {
            0 => request.fleet = FleetId::new(1 + u128::from(chance.draw())),
            1 => request.host = HostId::new(1 + u128::from(chance.draw())),
            _ => request.protocol = PROTOCOL_VERSION + 1 + (chance.draw() % 9) as u32,
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_not_the_fleets_coordinator_stops_and_starts_nothing() {
        Confused::of(5_000, 20_26).run().await.unwrap().judge().unwrap();
    }
}
