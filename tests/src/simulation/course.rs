//! What happens in a simulation: users' calls and faults, drawn from the seed; then quiet, and the
//! verdict.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use longshore_agent::runtime::fake::{Fault, Verb};
use longshore_common::id::TaskId;

use super::{
    acknowledged::{Acknowledged, Stop},
    cluster::{Cluster, SERVICE, SINGLETON, run_tasks, stop_task, update_service},
    verdict::{self, Verdict},
};
use crate::chance::Chance;

/// The shape of a simulation; everything else follows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub seed: u64,
    pub hosts: usize,
    /// Things that happen, one after the other.
    pub moves: usize,
}

/// Longest pause between two moves.
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long a call may stay without an answer before its user gives up.
const CALL_PATIENCE: Duration = Duration::from_secs(2);
/// How long everything may take to settle once faults have stopped.
const QUIET: Duration = Duration::from_secs(90);

/// Runs one simulation to its verdict.
pub async fn run(course: Course) -> Result<Verdict> {
    let mut chance = Chance::from_seed(course.seed);
    let mut cluster = Cluster::start(course.hosts, chance.part(9)).await?;
    cluster.network.set_faulty(true);
    let mut acknowledged = Acknowledged::default();
    for number in 0..course.moves {
        one_move(&mut cluster, &mut acknowledged, &mut chance, number).await?;
        tokio::time::sleep(chance.up_to(PAUSE_MAX)).await;
    }
    quiet(&mut cluster, &mut acknowledged).await?;
    verdict::judge(&cluster, &acknowledged).await
}

async fn one_move(
    cluster: &mut Cluster,
    acknowledged: &mut Acknowledged,
    chance: &mut Chance,
    number: usize,
) -> Result<()> {
    let host = chance.below(cluster.hosts.len());
    match chance.below(19) {
        16 | 17 => change_service(cluster, chance).await,
        18 => deploy_singleton(cluster).await,
        0..=4 => run_some(cluster, acknowledged, chance, format!("token-{number}")).await,
        5..=6 => stop_one(cluster, acknowledged, chance).await,
        7 => cluster.crash_coordinator(),
        8 => cluster.crash_agent(host),
        9 => cluster.network.cut(cluster.hosts[host].id),
        10 => cluster.network.heal(cluster.hosts[host].id),
        11 => cluster.hosts[host].docker.fail_next(Verb::Create, Fault::ReplyLost),
        12 => cluster.hosts[host].docker.fail_next(Verb::Start, Fault::ReplyLost),
        13 => {
            let hang = Fault::Hangs(chance.up_to(Duration::from_secs(5)));
            let verb = [Verb::Create, Verb::Start, Verb::Inspect, Verb::Stop, Verb::List];
            cluster.hosts[host].docker.fail_next(verb[chance.below(verb.len())], hang);
        }
        14 => {
            let slow = chance.up_to(Duration::from_secs(1));
            cluster.hosts[host].docker.set_latency(Verb::Start, slow);
        }
        _ => match chance.one_in(2) {
            true => cluster.hosts[host].docker.go_down(),
            false => cluster.hosts[host].docker.come_up(),
        },
    }
    if chance.one_in(2) {
        let value = chance.one_in(3).then(|| Bytes::from(chance.draw().to_be_bytes().to_vec()));
        cluster.publish(format!("coordinator-{}:8421", chance.below(6)), value)?;
    }
    // Whoever crashed is started again by its service manager, sooner or later.
    if cluster.coordinator_is_down() && chance.one_in(2) {
        cluster.start_coordinator().await?;
    }
    for index in 0..cluster.hosts.len() {
        if cluster.agent_is_down(index) && chance.one_in(2) {
            cluster.start_agent(index).await?;
        }
    }
    Ok(())
}

async fn run_some(
    cluster: &Cluster,
    acknowledged: &mut Acknowledged,
    chance: &mut Chance,
    token: String,
) {
    let Ok(handle) = cluster.handle() else { return };
    let count = 1 + chance.below(4) as u32;
    // Half of the calls are cut short by a crash of the coordinator that a later move makes.
    let patience = match chance.one_in(2) {
        true => chance.up_to(Duration::from_millis(3)),
        false => CALL_PATIENCE,
    };
    match tokio::time::timeout(patience, run_tasks(&handle, count, &token)).await {
        Ok(Ok(tasks)) => {
            acknowledged.tasks.extend(tasks.into_iter().map(|task| (task, Stop::NotAsked)));
        }
        Ok(Err(_)) => {}
        Err(_) => acknowledged.unanswered.push(token),
    }
}

/// Whether it was heard does not matter: services are judged by what the coordinator holds.
async fn change_service(cluster: &Cluster, chance: &mut Chance) {
    let Ok(handle) = cluster.handle() else { return };
    let (desired, force) = match chance.one_in(2) {
        true => (Some(chance.below(7) as u32), false),
        false => (None, true),
    };
    let update = update_service(&handle, SERVICE, desired, force);
    let _ = tokio::time::timeout(CALL_PATIENCE, update).await;
}

async fn deploy_singleton(cluster: &Cluster) {
    let Ok(handle) = cluster.handle() else { return };
    let update = update_service(&handle, SINGLETON, None, true);
    let _ = tokio::time::timeout(CALL_PATIENCE, update).await;
}

async fn stop_one(cluster: &Cluster, acknowledged: &mut Acknowledged, chance: &mut Chance) {
    let Ok(handle) = cluster.handle() else { return };
    let running: Vec<TaskId> = acknowledged
        .tasks
        .iter()
        .filter(|(_, stop)| **stop == Stop::NotAsked)
        .map(|(task, _)| *task)
        .collect();
    let Some(&task) = chance.pick(&running) else { return };
    let answered = tokio::time::timeout(CALL_PATIENCE, stop_task(&handle, task)).await;
    let stop = match answered {
        Ok(Ok(())) => Stop::Acknowledged,
        Ok(Err(_)) | Err(_) => Stop::Asked,
    };
    acknowledged.tasks.insert(task, stop);
}

/// Faults stop, everything is up, and time passes.
async fn quiet(cluster: &mut Cluster, acknowledged: &mut Acknowledged) -> Result<()> {
    cluster.network.set_faulty(false);
    if cluster.coordinator_is_down() {
        cluster.start_coordinator().await?;
    }
    for index in 0..cluster.hosts.len() {
        let host = &cluster.hosts[index];
        cluster.network.heal(host.id);
        host.docker.come_up();
        host.docker.set_latency(Verb::Start, Duration::ZERO);
        if cluster.agent_is_down(index) {
            cluster.start_agent(index).await?;
        }
    }
    let handle = cluster.handle()?;
    for token in std::mem::take(&mut acknowledged.unanswered) {
        // Whether or not the first call took effect, this one's answer holds.
        let tasks = run_tasks(&handle, 1, &token).await.context("a retried RunTask")?;
        acknowledged.tasks.extend(tasks.into_iter().map(|task| (task, Stop::NotAsked)));
    }
    tokio::time::sleep(QUIET).await;
    Ok(())
}
