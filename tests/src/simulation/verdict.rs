//! What must hold after every simulation (promises.md P1, P5, P8 and design.md rules 3 and 4).

use std::collections::BTreeMap;

use anyhow::Result;
use longshore_agent::runtime::{RunState, fake::FakeContainer};
use longshore_common::{clock::Timestamp, id::TaskId, task::StopCode};
use longshore_core::model::task::{Phase, TaskRecord, Wish};

use super::{
    acknowledged::{Acknowledged, Stop},
    cluster::{Cluster, SERVICE, SINGLETON, named},
};

/// The agent's label that names a container's task.
const TASK_LABEL: &str = "longshore.task";
/// Of the simulation's one task definition.
const TASK_MIB: i64 = 64;

/// What was looked at, and everything that was wrong.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub containers: usize,
    pub polls: u64,
    pub messages_lost: u64,
    /// Of the acknowledged tasks.
    pub failed_to_start: usize,
    /// Containers of the singleton that ran, one after the other.
    pub singleton_runs: usize,
    pub wrong: Vec<String>,
}

/// A task as the coordinator shows it.
enum Shown {
    Live(TaskRecord),
    Ended(TaskRecord),
}

pub(super) async fn judge(cluster: &Cluster, acknowledged: &Acknowledged) -> Result<Verdict> {
    let (polls, messages_lost) = cluster.network.counts();
    let containers = containers_by_task(cluster);
    let mut verdict = Verdict {
        acknowledged: acknowledged.tasks.len(),
        containers: containers.values().map(Vec::len).sum(),
        polls,
        messages_lost,
        failed_to_start: 0,
        singleton_runs: 0,
        wrong: Vec::new(),
    };
    let shown = shown(cluster, acknowledged).await?;
    for (&task, &stop) in &acknowledged.tasks {
        match shown.get(&task) {
            None => verdict.wrong.push(format!("{task} was acknowledged and is lost")),
            Some(shown) => judge_task(&mut verdict, task, stop, shown, containers.get(&task)),
        }
    }
    for (task, containers) in &containers {
        if containers.len() > 1 {
            verdict.wrong.push(format!("{task} has {} containers", containers.len()));
        }
        for container in containers.iter().filter(|container| container.starts > 1) {
            verdict.wrong.push(format!("{task} was started {} times", container.starts));
        }
        if !acknowledged.tasks.contains_key(task) {
            let running = containers.iter().any(|c| c.state == RunState::Running);
            let known = cluster.handle()?.peek(|state| state.task(*task).is_some());
            if running && !known {
                verdict.wrong.push(format!("{task} runs and nobody knows of it"));
            }
        }
    }
    for host in cluster.behind() {
        verdict.wrong.push(format!("{host} does not hold what it follows"));
    }
    judge_accounts(&mut verdict, cluster)?;
    let groups = groups(cluster, &containers).await?;
    for name in [SERVICE, SINGLETON] {
        let group = format!("service:{name}");
        let of_service = |task: &TaskId| groups.get(task) == Some(&group);
        let own = containers.iter().filter(|(task, _)| of_service(task));
        let own = own.map(|(task, all)| (*task, all.clone())).collect();
        judge_service(&mut verdict, cluster, name, &own)?;
        if name == SINGLETON {
            judge_singleton(&mut verdict, &own);
        }
    }
    Ok(verdict)
}

fn judge_task(
    verdict: &mut Verdict,
    task: TaskId,
    stop: Stop,
    shown: &Shown,
    containers: Option<&Vec<FakeContainer>>,
) {
    let running = containers.is_some_and(|all| all.iter().any(|c| c.state == RunState::Running));
    match (stop, shown) {
        (Stop::NotAsked, Shown::Live(record)) => {
            let is_running = matches!(record.phase, Phase::Running { .. });
            if !is_running || !running || record.wish != Wish::Run {
                verdict.wrong.push(format!(
                    "{task} should run: it is {:?}, its container runs: {running}",
                    record.phase
                ));
            }
        }
        // A hanging Docker is a reason not to start, in ECS too; the user is told.
        (Stop::NotAsked, Shown::Ended(record)) if failed_to_start(record) && !running => {
            verdict.failed_to_start += 1;
        }
        (Stop::NotAsked, Shown::Ended(record)) => {
            let why = record.end.as_ref().map(|end| &end.cause);
            verdict.wrong.push(format!("{task} was not to stop and did: {why:?}"));
        }
        (Stop::Acknowledged, Shown::Live(record)) => {
            verdict.wrong.push(format!("{task} was to stop and is {:?}", record.phase));
        }
        (Stop::Asked | Stop::Acknowledged, Shown::Ended(_)) if running => {
            verdict.wrong.push(format!("{task} is STOPPED and its container runs"));
        }
        (Stop::Asked, Shown::Live(_)) | (Stop::Asked | Stop::Acknowledged, Shown::Ended(_)) => {}
    }
}

fn failed_to_start(record: &TaskRecord) -> bool {
    record.end.as_ref().is_some_and(|end| end.cause.code == StopCode::TaskFailedToStart)
}

/// A service has what it is to have, each task with a container that runs, and nothing else runs
/// in its name.
fn judge_service(
    verdict: &mut Verdict,
    cluster: &Cluster,
    name: &str,
    containers: &BTreeMap<TaskId, Vec<FakeContainer>>,
) -> Result<()> {
    let named = named(name)?;
    let (desired, tasks, room) = cluster
        .handle()?
        .peek(|state| {
            let service = state.service_named(&named)?;
            let tasks = service.revisions.iter().flat_map(|revision| revision.tasks.values());
            let tasks: Vec<_> = tasks.map(|slot| state.task_at(*slot)).collect();
            let running = |phase| matches!(phase, Phase::Running { .. });
            let tasks: Vec<(TaskId, bool)> =
                tasks.iter().map(|task| (task.id, running(task.phase))).collect();
            let index = &state.cluster_at(service.cluster).index;
            let left = state.hosts().filter_map(|host| index.remaining(host.slot));
            let room = left.into_iter().any(|left| left.memory >= TASK_MIB);
            Some((service.config.desired as usize, tasks, room))
        })
        .unwrap_or_default();
    let running = tasks.iter().filter(|(_, running)| *running).count();
    // A full cluster is a reason, and the service says so.
    if running != desired && room || tasks.len() > desired {
        verdict.wrong.push(format!(
            "{name} has {running} running of {} tasks, {desired} are desired",
            tasks.len()
        ));
    }
    for (task, _) in &tasks {
        let runs = containers.get(task).into_iter().flatten();
        if runs.filter(|c| c.state == RunState::Running).count() != 1 && room {
            verdict.wrong.push(format!("{task} of {name} has no container that runs"));
        }
    }
    let all = containers.values().flatten().filter(|c| c.state == RunState::Running).count();
    if all > tasks.len() {
        verdict.wrong.push(format!("{all} containers of {name} run for {} tasks", tasks.len()));
    }
    Ok(())
}

/// No two containers of the singleton ever ran at the same time.
fn judge_singleton(verdict: &mut Verdict, containers: &BTreeMap<TaskId, Vec<FakeContainer>>) {
    let run = |container: &FakeContainer| {
        Some((container.started_at?, container.finished_at.unwrap_or(Timestamp(u64::MAX))))
    };
    let mut runs: Vec<(Timestamp, Timestamp)> =
        containers.values().flatten().filter_map(run).collect();
    runs.sort();
    verdict.singleton_runs = runs.len();
    for pair in runs.windows(2) {
        if pair[1].0 < pair[0].1 {
            verdict.wrong.push(format!("two copies of the singleton ran at {}", pair[1].0));
        }
    }
}

/// The group of every task that has a container.
async fn groups(
    cluster: &Cluster,
    containers: &BTreeMap<TaskId, Vec<FakeContainer>>,
) -> Result<BTreeMap<TaskId, String>> {
    let handle = cluster.handle()?;
    let ids: Vec<TaskId> = containers.keys().copied().collect();
    let mut records = handle.stopped_tasks(ids.clone()).await?;
    records.extend(handle.peek(|state| {
        let live = ids.iter().filter_map(|id| state.task(*id));
        live.map(|task| task.record(state)).collect::<Vec<_>>()
    }));
    Ok(records.into_iter().map(|record| (record.id, record.group)).collect())
}

/// What hosts have left is what they have less what is placed there.
fn judge_accounts(verdict: &mut Verdict, cluster: &Cluster) -> Result<()> {
    cluster.handle()?.peek(|state| {
        for host in state.hosts() {
            if !host.connected {
                verdict.wrong.push(format!("{} is not connected", host.id));
            }
            let taken: i64 = host
                .tasks
                .values()
                .map(|&slot| i64::from(state.task_at(slot).demand.memory.0))
                .sum();
            let index = &state.cluster_at(host.cluster).index;
            let remaining = index.remaining(host.slot).map(|remaining| remaining.memory);
            if remaining != Some(i64::from(host.capacity.memory.0) - taken) {
                verdict.wrong.push(format!("{} has {remaining:?} MiB left of {taken}", host.id));
            }
        }
    });
    Ok(())
}

async fn shown(cluster: &Cluster, acknowledged: &Acknowledged) -> Result<BTreeMap<TaskId, Shown>> {
    let handle = cluster.handle()?;
    let ids: Vec<TaskId> = acknowledged.tasks.keys().copied().collect();
    let mut shown = BTreeMap::new();
    for record in handle.stopped_tasks(ids.clone()).await? {
        shown.insert(record.id, Shown::Ended(record));
    }
    let live = handle.read(|state| {
        let known = ids.iter().filter_map(|id| state.task(*id));
        known.map(|task| task.record(state)).collect::<Vec<_>>()
    });
    for record in live.await? {
        shown.insert(record.id, Shown::Live(record));
    }
    Ok(shown)
}

/// Every container that was ever made for a task: none is removed within a simulation.
fn containers_by_task(cluster: &Cluster) -> BTreeMap<TaskId, Vec<FakeContainer>> {
    let mut containers = BTreeMap::<TaskId, Vec<FakeContainer>>::new();
    for container in cluster.hosts.iter().flat_map(|host| host.docker.containers()) {
        let task = container.config.labels.get(TASK_LABEL).and_then(|task| task.parse().ok());
        if let Some(task) = task {
            containers.entry(task).or_default().push(container);
        }
    }
    containers
}
