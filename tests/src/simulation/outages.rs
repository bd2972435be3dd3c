//! Hosts that are away for a while, and what runs of a cluster's services meanwhile: an agent that is
//! upgraded, a machine that boots, a site without power.

use std::time::Duration;

use anyhow::{Result, ensure};
use longshore_agent::runtime::{RunState, fake::Verb};

use super::cluster::{Cluster, SERVICES};
use crate::chance::Chance;

const HOSTS: usize = 3;
/// Until everything runs and is healthy.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Shorter than an agent's grace, and long enough for a silent host to be lost.
const AWAY: Duration = Duration::from_secs(40);
/// A container engine that reads its containers after a boot.
const INSPECT_TAKES: Duration = Duration::from_secs(1);

/// What is away, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// One host's agent stops and starts, and its machine is up all the time.
    AgentStops,
    /// One machine boots after its tasks were replaced, and its container engine is there so long
    /// after its agent.
    HostBoots { engine_after: Duration },
    /// All machines boot, the coordinator's too.
    PowerCut { engines_after: Duration },
}

/// What was wrong with it.
pub async fn suffer(outage: Outage, seed: u64) -> Result<Vec<String>> {
    let mut cluster = Cluster::start(HOSTS, Chance::from_seed(seed)).await?;
    let wanted: u32 = SERVICES.iter().map(|(_, desired, _)| desired).sum();
    tokio::time::sleep(SETTLES_WITHIN).await;
    ensure!(running(&cluster, 0) == wanted as usize, "{} run", running(&cluster, 0));
    ensure!(running(&cluster, 1) < wanted as usize, "nothing runs on the host that goes");
    let mut wrong = Vec::new();
    match outage {
        Outage::AgentStops => {
            let made = made(&cluster);
            cluster.crash_agent(0);
            tokio::time::sleep(AWAY).await;
            cluster.start_agent(0).await?;
            tokio::time::sleep(SETTLES_WITHIN).await;
            let now = self::made(&cluster);
            if now != made {
                wrong.push(format!("{made} containers became {now} while an agent was away"));
            }
        }
        Outage::HostBoots { engine_after } => {
            cut_power(&mut cluster, 0);
            tokio::time::sleep(AWAY).await;
            let replaced = running(&cluster, 1);
            boot(&mut cluster, 0).await?;
            let mut passed = Duration::ZERO;
            while passed < engine_after + SETTLES_WITHIN {
                if passed >= engine_after {
                    cluster.hosts[0].docker.come_up();
                }
                tokio::time::sleep(LOOK_EVERY).await;
                passed += LOOK_EVERY;
                let now = running(&cluster, 1);
                if now < replaced {
                    wrong.push(format!("{now} of {replaced} run {passed:?} after the boot"));
                    break;
                }
            }
        }
        Outage::PowerCut { engines_after } => {
            cluster.crash_coordinator();
            (0..HOSTS).for_each(|index| cut_power(&mut cluster, index));
            tokio::time::sleep(AWAY).await;
            cluster.start_coordinator().await?;
            for index in 0..HOSTS {
                boot(&mut cluster, index).await?;
            }
            tokio::time::sleep(engines_after).await;
            let heard = cluster.handle()?.peek(|state| state.hosts_len() - state.unheard_len());
            if engines_after > Duration::ZERO && heard > 0 {
                wrong.push(format!("{heard} hosts count as heard, and none has looked"));
            }
            cluster.hosts.iter().for_each(|host| host.docker.come_up());
        }
    }
    tokio::time::sleep(SETTLES_WITHIN * 2).await;
    let now = running(&cluster, 0);
    if now != wanted as usize {
        wrong.push(format!("{now} containers run in the end, {wanted} are wanted"));
    }
    if cluster.disconnected()? > 0 {
        wrong.push("a host is not back".to_owned());
    }
    Ok(wrong)
}

/// Containers that run on the hosts from this one on.
fn running(cluster: &Cluster, from: usize) -> usize {
    let all = cluster.hosts[from..].iter().flat_map(|host| host.docker.containers());
    all.filter(|container| container.state == RunState::Running).count()
}

/// Containers that were ever made: none is removed within a simulation.
fn made(cluster: &Cluster) -> usize {
    cluster.hosts.iter().map(|host| host.docker.containers().len()).sum()
}

fn cut_power(cluster: &mut Cluster, index: usize) {
    cluster.network.cut(cluster.hosts[index].id);
    cluster.crash_agent(index);
    cluster.hosts[index].docker.crash();
}

/// The agent is up before its container engine.
async fn boot(cluster: &mut Cluster, index: usize) -> Result<()> {
    let host = &cluster.hosts[index];
    host.docker.set_latency(Verb::Inspect, INSPECT_TAKES);
    cluster.network.heal(host.id);
    cluster.start_agent(index).await
}
