//! What clients are told of a state: lists, descriptions and counts agree.

use std::collections::BTreeMap;

use longshore_core::State;
use serde_json::{Value, json};

use super::{clients::Clients, coordinator::Coordinator, judge::Fault};

/// What lists list is described, and counts count it.
pub(super) async fn views(
    coordinator: &mut Coordinator,
    clients: &mut Clients,
) -> Vec<(Fault, String)> {
    let mut found = Vec::new();
    let clusters = clients.pages(coordinator, "ListClusters", json!({}), "clusterArns").await;
    for cluster in clusters {
        let disagreements = of_cluster(coordinator, clients, &cluster).await;
        let told = disagreements.into_iter().map(|what| (Fault::Disagreement, what));
        found.extend(told);
    }
    found
}

async fn of_cluster(
    coordinator: &mut Coordinator,
    clients: &mut Clients,
    cluster: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let input = json!({"clusters": [cluster]});
    let described = clients.told(coordinator, "DescribeClusters", input).await;
    let shown = &described["clusters"][0];
    let of_cluster = || json!({"cluster": cluster});
    let hosts = clients
        .pages(coordinator, "ListContainerInstances", of_cluster(), "containerInstanceArns")
        .await;
    compare(
        &mut wrong,
        cluster,
        "container instances",
        hosts.len(),
        &shown["registeredContainerInstancesCount"],
    );
    let services = clients.pages(coordinator, "ListServices", of_cluster(), "serviceArns").await;
    let tasks = clients.pages(coordinator, "ListTasks", of_cluster(), "taskArns").await;
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for some in tasks.chunks(100) {
        let input = json!({"cluster": cluster, "tasks": some});
        let answer = clients.told(coordinator, "DescribeTasks", input).await;
        for task in answer["tasks"].as_array().into_iter().flatten() {
            let status = task["lastStatus"].as_str().unwrap_or_default();
            *statuses.entry(status.to_owned()).or_default() += 1;
        }
        if answer["failures"].as_array().is_none_or(|failures| !failures.is_empty()) {
            wrong
                .push(format!("{cluster}: a listed task is not described: {}", answer["failures"]));
        }
    }
    let running = statuses.get("RUNNING").copied().unwrap_or_default();
    let stopping = coordinator.peek(|state| stopping(state, cluster));
    compare(&mut wrong, cluster, "running tasks", running + stopping, &shown["runningTasksCount"]);
    let mut active = 0;
    for some in services.chunks(10) {
        let input = json!({"cluster": cluster, "services": some});
        let answer = clients.told(coordinator, "DescribeServices", input).await;
        let described = answer["services"].as_array().map_or(0, Vec::len);
        active += answer["services"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|service| service["status"] == "ACTIVE")
            .count();
        if described != some.len() {
            wrong.push(format!("{cluster}: {} services listed, {described} described", some.len()));
        }
    }
    compare(&mut wrong, cluster, "active services", active, &shown["activeServicesCount"]);
    for some in hosts.chunks(100) {
        let input = json!({"cluster": cluster, "containerInstances": some});
        let answer = clients.told(coordinator, "DescribeContainerInstances", input).await;
        let described = answer["containerInstances"].as_array().map_or(0, Vec::len);
        if described != some.len() {
            wrong.push(format!("{cluster}: {} hosts listed, {described} described", some.len()));
        }
    }
    wrong
}

fn compare(wrong: &mut Vec<String>, cluster: &str, what: &str, listed: usize, counted: &Value) {
    if counted.as_u64() != Some(listed as u64) {
        wrong.push(format!("{cluster}: {listed} {what} listed, {counted} counted"));
    }
}

/// Tasks that run and are to stop: no list of the desired status RUNNING has them.
fn stopping(state: &State, cluster: &str) -> usize {
    use longshore_core::model::task::{Phase, Wish};
    let name = cluster.rsplit('/').next().unwrap_or_default();
    let Some(cluster) = state.cluster(name) else { return 0 };
    let tasks = cluster.tasks.values().map(|slot| state.task_at(*slot));
    tasks
        .filter(|task| {
            matches!(task.phase, Phase::Running { .. }) && !matches!(task.wish, Wish::Run)
        })
        .count()
}
