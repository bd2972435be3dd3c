//! A container's life by what Docker says: other when somebody has restarted or replaced it.

use std::collections::BTreeMap;

use anyhow::Result;
use longshore_harness::engine_api::EngineApi;

pub(super) const TASK_LABEL: &str = "com.amazonaws.ecs.task-arn";

/// What changes when somebody restarts or replaces a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) container: String,
    pub(super) pid: i64,
    pub(super) started_at: String,
}

/// The running containers of these tasks, by task.
pub(super) async fn lives(engine: &EngineApi, tasks: &[String]) -> Result<BTreeMap<String, Life>> {
    let mut lives = BTreeMap::new();
    for container in engine.containers(false).await? {
        let Some(task) = container.labels.get(TASK_LABEL) else { continue };
        if !tasks.contains(task) {
            continue;
        }
        let inspected = engine.get_json(&format!("/containers/{}/json", container.id)).await?;
        let state = &inspected["State"];
        let life = Life {
            container: container.id,
            pid: state["Pid"].as_i64().unwrap_or_default(),
            started_at: state["StartedAt"].as_str().unwrap_or_default().to_owned(),
        };
        lives.insert(task.clone(), life);
    }
    Ok(lives)
}
