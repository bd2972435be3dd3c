//! TagResource, UntagResource.

use super::Decision;
use crate::state_machine::{
    command::{Resource, Tags},
    event::Event,
    rejection::Rejection,
    state::State,
};

/// ecs-behaviour 1.22.
const TAGS_MAX: usize = 50;

pub(super) fn tag(state: &State, resource: &Resource, tags: &Tags) -> Result<Decision, Rejection> {
    let held = held(state, resource)?;
    let added = tags.keys().filter(|key| !held.contains_key(*key)).count();
    let would_be = held.len() + added;
    if would_be > TAGS_MAX {
        return Err(Rejection::TooManyTags { limit: TAGS_MAX, would_be });
    }
    let (resource, tags) = (resource.clone(), tags.clone());
    Ok(Decision::of(vec![Event::Tagged { resource, tags }]))
}

pub(super) fn untag(
    state: &State,
    resource: &Resource,
    keys: &[String],
) -> Result<Decision, Rejection> {
    held(state, resource)?;
    let (resource, keys) = (resource.clone(), keys.to_vec());
    Ok(Decision::of(vec![Event::Untagged { resource, keys }]))
}

fn held<'a>(state: &'a State, resource: &Resource) -> Result<&'a Tags, Rejection> {
    let found = match resource {
        Resource::Cluster(name) => {
            state.cluster(name.as_str()).filter(|c| c.is_active()).map(|c| &c.tags)
        }
        Resource::TaskDefinition { family, revision } => {
            state.definitions().get(family.as_str(), *revision).map(|d| &d.tags)
        }
        Resource::Task { cluster, task } => state
            .task(*task)
            .filter(|t| state.cluster_at(t.cluster).name == *cluster)
            .map(|t| &*t.tags),
        Resource::ContainerInstance { cluster, host } => state
            .host(*host)
            .filter(|h| h.is_registered() && state.cluster_at(h.cluster).name == *cluster)
            .map(|h| &h.tags),
    };
    found.ok_or_else(|| {
        Rejection::ResourceNotFound(match resource {
            Resource::Cluster(name) => format!("the cluster {name}"),
            Resource::TaskDefinition { family, revision } => {
                format!("the task definition {family}:{revision}")
            }
            Resource::Task { cluster, task } => format!("the task {task} in the cluster {cluster}"),
            Resource::ContainerInstance { cluster, host } => {
                format!("the container instance {host} in the cluster {cluster}")
            }
        })
    })
}
