//! What Swarm does when the link of one of its hosts is cut.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ASK_EVERY, PATIENCE, Swarm};
use longshore_harness::{engine_api::percent_encoded, fleet::Fleet};

impl Swarm {
    /// Cuts a host under a service of so many replicas, and says how many seconds later the last
    /// of them ran elsewhere: by the time that its own worker noted. The host is healed again.
    pub(in crate::bench) async fn host_loss(
        &self,
        fleet: &Fleet,
        host: usize,
        replicas: usize,
    ) -> Result<f64> {
        self.all_ready().await?;
        self.create(replicas).await?;
        self.last_running(replicas).await?;
        let node = self.node_at(fleet.hosts[host].network.address()).await?;
        let cut_at = Timestamp::now();
        fleet.hosts[host].network.cut()?;
        let replaced = self.running_elsewhere(&node, replicas).await;
        fleet.hosts[host].network.heal()?;
        let took = replaced?.duration_since(cut_at).as_secs_f64();
        self.all_ready().await?;
        self.remove().await?;
        Ok(took)
    }

    async fn node_at(&self, address: &str) -> Result<String> {
        let nodes = self.manager.get_json("/nodes").await?;
        let mut nodes = nodes.as_array().context("no nodes")?.iter();
        let node = nodes.find(|node| node["Status"]["Addr"] == json!(address));
        let id = node.and_then(|node| node["ID"].as_str());
        id.map(str::to_owned).with_context(|| format!("the swarm has no node at {address}"))
    }

    /// When the last of so many replicas ran on other nodes than this one.
    async fn running_elsewhere(&self, node: &str, replicas: usize) -> Result<Timestamp> {
        let filters = json!({ "service": ["against"], "desired-state": ["running"] }).to_string();
        let list = format!("/tasks?filters={}", percent_encoded(&filters));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tasks = self.manager.get_json(&list).await?;
            let tasks = tasks.as_array().context("no tasks")?;
            let elsewhere = |task: &&Value| task["NodeID"] != json!(node);
            let running = tasks.iter().filter(elsewhere).map(|task| &task["Status"]);
            let running = running.filter(|status| status["State"] == json!("running"));
            let times = running.filter_map(|status| status["Timestamp"].as_str()?.parse().ok());
            let times: Vec<Timestamp> = times.collect();
            if times.len() >= replicas {
                return times.into_iter().max().context("no replica");
            }
            if Instant::now() > deadline {
                bail!("only {} of {replicas} replicas run elsewhere", times.len());
            }
            sleep(ASK_EVERY).await;
        }
    }
}
