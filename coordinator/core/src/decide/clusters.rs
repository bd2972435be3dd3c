//! CreateCluster, UpdateCluster, UpdateClusterSettings, DeleteCluster, and the replacing of lost tasks.

use longshore_common::clock::Timestamp;

use super::{Decision, capacity_providers, gate};
use crate::{
    command::{ClusterChange, ClusterCommand},
    event::{ClusterEvent, Event},
    model::{
        cluster::{ClusterSettings, Replacing},
        name::ClusterName,
        tags::Tags,
    },
    rejection::{ClusterRejection, Rejection},
    state::{Cluster, State},
};

/// Maximum number of clusters (ecs-behaviour 1.22, quotas).
const CLUSTERS_MAX: usize = 10_000;

pub(super) fn decide_cluster(
    state: &State,
    command: &ClusterCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        ClusterCommand::CreateCluster { name, settings, tags } => {
            create(state, name, settings, tags, at)
        }
        ClusterCommand::UpdateCluster { name, change } => update(state, name, change),
        ClusterCommand::DeleteCluster { name } => delete(state, name, at),
        ClusterCommand::PutClusterCapacityProviders { cluster, capacity } => {
            capacity_providers::put_for_cluster(state, cluster, capacity)
        }
        ClusterCommand::ReplaceLostTasks { cluster } => replace_lost_tasks(state, cluster, at),
    }
}

/// Creating a cluster that exists answers with it as it is (ecs-behaviour 1.2).
fn create(
    state: &State,
    name: &ClusterName,
    settings: &ClusterSettings,
    tags: &Tags,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    capacity_providers::check_for_cluster(state, name, &settings.capacity)?;
    if state.cluster(name.as_str()).is_some_and(Cluster::is_active) {
        return Ok(Decision::default());
    }
    if state.clusters_len() >= CLUSTERS_MAX {
        return Err(ClusterRejection::TooManyClusters { limit: CLUSTERS_MAX }.into());
    }
    let (name, settings, tags) = (name.clone(), settings.clone(), tags.clone());
    Ok(Decision::of(vec![Event::Cluster(ClusterEvent::ClusterCreated {
        name,
        settings,
        tags,
        at,
    })]))
}

fn update(
    state: &State,
    name: &ClusterName,
    change: &ClusterChange,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, name)?;
    let mut settings = cluster.settings.clone();
    if let Some(changed) = &change.settings {
        settings.settings.extend(changed.clone());
    }
    if let Some(configuration) = &change.configuration {
        settings.configuration = Some(configuration.clone());
    }
    if let Some(namespace) = &change.service_connect_namespace {
        settings.service_connect_namespace = (!namespace.is_empty()).then(|| namespace.clone());
    }
    if settings == cluster.settings {
        return Ok(Decision::default());
    }
    Ok(Decision::of(vec![Event::Cluster(ClusterEvent::ClusterUpdated {
        name: name.clone(),
        settings,
    })]))
}

fn delete(state: &State, name: &ClusterName, at: Timestamp) -> Result<Decision, Rejection> {
    let Some(cluster) = state.cluster(name.as_str()) else {
        return Err(ClusterRejection::ClusterNotFound(name.clone()).into());
    };
    if !cluster.is_active() {
        return Ok(Decision::default());
    }
    if !cluster.services.is_empty() {
        return Err(
            ClusterRejection::ClusterContainsServices { count: cluster.services.len() }.into()
        );
    }
    if cluster.registered_hosts > 0 {
        let count = cluster.registered_hosts as usize;
        return Err(ClusterRejection::ClusterContainsContainerInstances { count }.into());
    }
    let count = cluster.tasks.len() + cluster.waiting_tasks.len();
    if count > 0 {
        return Err(ClusterRejection::ClusterContainsTasks { count }.into());
    }
    Ok(Decision::of(vec![Event::Cluster(ClusterEvent::ClusterDeleted { name: name.clone(), at })]))
}

/// The operator knows that the hosts are gone for good.
fn replace_lost_tasks(
    state: &State,
    name: &ClusterName,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, name)?;
    Ok(match cluster.replacing {
        Replacing::Paused => {
            let (cluster, overridden) = (name.clone(), true);
            Decision::of(vec![Event::Cluster(ClusterEvent::ReplacingResumed {
                cluster,
                overridden,
                at,
            })])
        }
        Replacing::Normal | Replacing::Overridden => Decision::default(),
    })
}
