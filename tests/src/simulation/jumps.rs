//! P13: time is not trusted. The wall clock of a whole cluster is set time and again, by a second
//! or by years, ahead and back: no host is taken for gone, and nothing is stopped or replaced.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use longshore_agent::runtime::RunState;
use longshore_common::id::TaskId;

use super::cluster::{Cluster, SERVICES, run_tasks};
use crate::chance::Chance;

const HOSTS: usize = 3;
const TASKS: u32 = 4;
/// Until the cluster's services and tasks run.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// After each jump: many beats, and longer than a lost host keeps its tasks.
const WATCHED: Duration = Duration::from_secs(7);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
const YEARS_MAX: u64 = 10;
/// The smallest is a second, each step doubles it.
const DOUBLINGS: usize = 29;

/// What became of a cluster whose clock jumped.
#[derive(Debug, Default)]
pub struct Jumps {
    pub jumps: usize,
    pub containers: usize,
    pub wrong: Vec<String>,
}

/// Sets the clock so often.
pub async fn jump(jumps: usize, seed: u64) -> Result<Jumps> {
    let mut chance = Chance::from_seed(seed);
    let cluster = Cluster::start(HOSTS, chance.part(1)).await?;
    run_tasks(&cluster.handle()?, TASKS, "before").await?;
    let wanted: u32 = TASKS + SERVICES.iter().map(|(_, desired, _)| desired).sum::<u32>();
    let mut waited = Duration::ZERO;
    while containers(&cluster).len() < wanted as usize {
        if waited > SETTLES_WITHIN {
            bail!("only {} containers run", containers(&cluster).len());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    // One that begins is reported, and a service's is healthy, soon after it runs.
    tokio::time::sleep(WATCHED).await;
    let before = containers(&cluster);
    let mut seen = Jumps { containers: before.len(), ..Jumps::default() };
    for number in 1..=jumps {
        let size = (1000_u64 << chance.below(DOUBLINGS + 1)).min(YEARS_MAX * YEAR_MS) as i64;
        let ahead = if chance.one_in(2) { size } else { -size };
        cluster.clock.set_ahead(ahead);
        let mut passed = Duration::ZERO;
        while passed < WATCHED {
            tokio::time::sleep(LOOK_EVERY).await;
            passed += LOOK_EVERY;
            seen.look(&cluster, number, ahead, &before)?;
        }
        seen.jumps += 1;
    }
    // The cluster still does what it is told.
    let more = run_tasks(&cluster.handle()?, TASKS, "after").await?;
    tokio::time::sleep(SETTLES_WITHIN).await;
    let now = containers(&cluster);
    if !more.iter().all(|task| now.contains_key(task)) {
        seen.wrong.push("a task that was ordered after the jumps does not run".to_owned());
    }
    Ok(seen)
}

/// How often the one running container of each task was started.
fn containers(cluster: &Cluster) -> BTreeMap<TaskId, (String, u32)> {
    let all = cluster.hosts.iter().flat_map(|host| host.docker.containers());
    let running = all.filter(|container| container.state == RunState::Running);
    running
        .filter_map(|container| {
            let task = container.config.labels.get("longshore.task")?.parse().ok()?;
            Some((task, (container.id, container.starts)))
        })
        .collect()
}

impl Jumps {
    fn look(
        &mut self,
        cluster: &Cluster,
        number: usize,
        ahead: i64,
        before: &BTreeMap<TaskId, (String, u32)>,
    ) -> Result<()> {
        let gone = cluster.disconnected()?;
        let now = containers(cluster);
        if gone > 0 {
            self.wrong.push(format!("jump {number} by {ahead} ms: {gone} hosts taken for gone"));
        }
        if now != *before {
            self.wrong.push(format!("jump {number} by {ahead} ms: {before:?} became {now:?}"));
        }
        Ok(())
    }
}
