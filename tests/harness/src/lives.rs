//! What changes when somebody stops, restarts or replaces a container.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::fleet::Fleet;

/// ECS's own label.
pub const TASK_LABEL: &str = "com.amazonaws.ecs.task-arn";

/// One life of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The position of its host in the fleet.
    pub host: usize,
    /// The ARN of its task; empty when it is no task's.
    pub task: String,
    pub pid: i64,
    pub started_at: String,
}

/// Every running container of a fleet, by Docker's id.
pub async fn lives(fleet: &Fleet) -> Result<BTreeMap<String, Life>> {
    let of_hosts = (0..fleet.hosts.len()).map(|host| lives_on(fleet, host));
    Ok(try_join_all(of_hosts).await?.into_iter().flatten().collect())
}

async fn lives_on(fleet: &Fleet, host: usize) -> Result<Vec<(String, Life)>> {
    let engine = fleet.hosts[host].engine()?;
    let mut lives = Vec::new();
    for container in engine.containers(false).await? {
        let inspected = engine.get_json(&format!("/containers/{}/json", container.id)).await?;
        let state = &inspected["State"];
        let life = Life {
            host,
            task: container.labels.get(TASK_LABEL).cloned().unwrap_or_default(),
            pid: state["Pid"].as_i64().unwrap_or_default(),
            started_at: state["StartedAt"].as_str().unwrap_or_default().to_owned(),
        };
        lives.push((container.id, life));
    }
    Ok(lives)
}

/// How many of these are there no more, or not in the same life.
pub fn ended(before: &BTreeMap<String, Life>, after: &BTreeMap<String, Life>) -> Vec<Life> {
    let gone = before.iter().filter(|(id, life)| after.get(*id) != Some(life));
    gone.map(|(_, life)| life.clone()).collect()
}
