//! Docker Swarm on the fleet's own engines: the same containers, started by somebody else.

mod host_loss;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use longshore_harness::{
    engine_api::{EngineApi, percent_encoded},
    fleet::Fleet,
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Swarm asks the image's registry at every start: one that refuses at once is kindest to it.
const IMAGE: &str = "127.0.0.1:9/longshore/sample";
const TAG: &str = "latest";
/// How often Swarm is asked; its own timestamps are what counts.
const ASK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Swarm {
    manager: EngineApi,
    engines: Vec<EngineApi>,
}

impl Swarm {
    /// Makes the fleet's engines a swarm, the first its manager.
    pub(super) async fn form(fleet: &Fleet) -> Result<Swarm> {
        let mut engines = Vec::new();
        for host in &fleet.hosts {
            let engine = host.engine()?;
            let source = percent_encoded(SAMPLE_IMAGE);
            let (repo, tag) = (percent_encoded(IMAGE), percent_encoded(TAG));
            let target = format!("/images/{source}/tag?repo={repo}&tag={tag}");
            engine.post(&target, Value::Null).await?;
            engines.push(engine);
        }
        let address = |host: usize| fleet.hosts[host].network.address().to_owned();
        let manager = engines.first().context("no host")?.clone();
        let init = json!({
            "ListenAddr": format!("{}:2377", address(0)),
            "AdvertiseAddr": address(0),
        });
        manager.post("/swarm/init", init).await?;
        let token = manager.get_json("/swarm").await?["JoinTokens"]["Worker"].clone();
        for (number, engine) in engines.iter().enumerate().skip(1) {
            let join = json!({
                "ListenAddr": format!("{}:2377", address(number)),
                "AdvertiseAddr": address(number),
                "RemoteAddrs": [format!("{}:2377", address(0))],
                "JoinToken": token,
            });
            engine.post("/swarm/join", join).await?;
        }
        let swarm = Swarm { manager, engines };
        swarm.all_ready().await?;
        Ok(swarm)
    }

    async fn all_ready(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let nodes = self.manager.get_json("/nodes").await?;
            let nodes = nodes.as_array().context("no nodes")?;
            let ready = nodes.iter().filter(|node| node["Status"]["State"] == json!("ready"));
            if ready.count() == self.engines.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the swarm's nodes are not ready after {PATIENCE:?}");
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Runs a service of so many replicas, removes it again, and says how many milliseconds after
    /// the call the last of them ran: by the time that its own worker noted, before any manager
    /// or user could know.
    pub(super) async fn start(&self, replicas: usize) -> Result<f64> {
        let called = Timestamp::now();
        self.create(replicas).await?;
        let last = self.last_running(replicas).await?;
        let took = last.duration_since(called).as_secs_f64() * 1000.0;
        self.remove().await?;
        Ok(took)
    }

    async fn create(&self, replicas: usize) -> Result<()> {
        let service = json!({
            "Name": "against",
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": format!("{IMAGE}:{TAG}"),
                    "Command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
                },
                "Resources": { "Limits": { "MemoryBytes": 16 * 1024 * 1024 } },
            },
            "Mode": { "Replicated": { "Replicas": replicas } },
        });
        self.manager.post("/services/create", service).await?;
        Ok(())
    }

    async fn last_running(&self, replicas: usize) -> Result<Timestamp> {
        let filters = percent_encoded(&json!({ "service": ["against"] }).to_string());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tasks = self.manager.get_json(&format!("/tasks?filters={filters}")).await?;
            let tasks = tasks.as_array().context("no tasks")?;
            let status = tasks.iter().map(|task| &task["Status"]);
            let running = status.filter(|status| status["State"] == json!("running"));
            let times = running.filter_map(|status| status["Timestamp"].as_str()?.parse().ok());
            let times: Vec<Timestamp> = times.collect();
            if times.len() >= replicas {
                return times.into_iter().max().context("no replica");
            }
            if Instant::now() > deadline {
                bail!("only {} of {replicas} replicas run after {PATIENCE:?}", times.len());
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn remove(&self) -> Result<()> {
        self.manager.delete("/services/against").await?;
        let filters = json!({ "label": ["com.docker.swarm.service.name=against"] }).to_string();
        let list = format!("/containers/json?all=1&filters={}", percent_encoded(&filters));
        let deadline = Instant::now() + PATIENCE;
        for engine in &self.engines {
            while engine.get_json(&list).await? != json!([]) {
                if Instant::now() > deadline {
                    bail!("Swarm's containers are still there after {PATIENCE:?}");
                }
                sleep(ASK_EVERY).await;
            }
        }
        Ok(())
    }
}
