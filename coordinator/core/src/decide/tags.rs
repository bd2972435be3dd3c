//! TagResource, UntagResource. Of services, clusters, tasks and capacity providers, `longshore:` tags are
//! settings, which are read here and journaled typed beside the tags (design.md rule 10).

use longshore_common::clock::Timestamp;

use super::{Decision, gate};
use crate::{
    command::TagCommand,
    event::{CapacityProviderEvent, ClusterEvent, Event, ServiceEvent, TagEvent, TaskEvent},
    model::{
        attachment::{RESOURCES_TAG, TARGETS_TAG},
        capacity_provider::{CapacityProvider, scale_in_after_ms},
        cluster::ClusterSettings,
        service::{ServiceConfig, ServiceOptions},
        tagged::Resource,
        tags::Tags,
        task_options::TaskOptions,
    },
    rejection::{Rejection, TagRejection},
    state::{Cluster, State, Task},
};

/// Maximum number of tags of one resource (ecs-behaviour 1.22).
const TAGS_MAX: usize = 50;

pub(super) fn decide_tag(
    state: &State,
    command: &TagCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        TagCommand::Tag { resource, tags } => tag(state, resource, tags, at),
        TagCommand::Untag { resource, keys } => untag(state, resource, keys, at),
    }
}

fn tag(
    state: &State,
    resource: &Resource,
    tags: &Tags,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let mut after = gate::tags(state, resource)?.clone();
    after.extend(tags.clone());
    if after.len() > TAGS_MAX {
        return Err(TagRejection::TooManyTags { limit: TAGS_MAX, would_be: after.len() }.into());
    }
    let mut events =
        vec![Event::Tag(TagEvent::Tagged { resource: resource.clone(), tags: tags.clone() })];
    events.extend(reread(state, resource, &after, at)?);
    Ok(Decision::of(events))
}

fn untag(
    state: &State,
    resource: &Resource,
    keys: &[String],
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let mut after = gate::tags(state, resource)?.clone();
    after.retain(|key, _| !keys.contains(key));
    let mut events =
        vec![Event::Tag(TagEvent::Untagged { resource: resource.clone(), keys: keys.to_vec() })];
    events.extend(reread(state, resource, &after, at)?);
    Ok(Decision::of(events))
}

/// What the tags as they will be say of the resource's settings, when that is new.
fn reread(
    state: &State,
    resource: &Resource,
    after: &Tags,
    at: Timestamp,
) -> Result<Option<Event>, Rejection> {
    let options = || ServiceOptions::of_tags(after).map_err(TagRejection::InvalidOption);
    match resource {
        Resource::Service(named) => {
            let options = options()?;
            let service = state.service_named(named).filter(|s| s.config.options != options);
            Ok(service.map(|service| {
                let config = Box::new(ServiceConfig { options, ..service.config.clone() });
                Event::Service(ServiceEvent::ServiceConfigured { service: service.id, config, at })
            }))
        }
        Resource::Cluster(name) => {
            let options = options()?;
            let cluster = state.cluster(name.as_str()).filter(|c| c.settings.options != options);
            Ok(cluster.map(|cluster| {
                let settings = ClusterSettings { options, ..cluster.settings.clone() };
                Event::Cluster(ClusterEvent::ClusterUpdated { name: name.clone(), settings })
            }))
        }
        Resource::Task { cluster, task } => {
            let TaskOptions { timeout_ms, attachments, .. } =
                TaskOptions::of_tags(after).map_err(TagRejection::InvalidOption)?;
            let waits = |cluster: &Cluster| cluster.waiting_tasks.contains_key(task);
            if state.cluster(cluster.as_str()).is_some_and(waits) {
                return Err(TagRejection::InvalidOption(format!(
                    "The task {task} waits for a container instance: its tags can be changed when \
                     it has one."
                ))
                .into());
            }
            let is_new = |task: &&Task| {
                let given = TaskOptions::of_tags(&task.tags).unwrap_or_default();
                given.attachments != attachments
            };
            if state.task(*task).is_some_and(|task| is_new(&task)) {
                return Err(TagRejection::InvalidOption(format!(
                    "The attachments of the task {task} were settled when it was run: its tags \
                     {RESOURCES_TAG} and {TARGETS_TAG} cannot be changed."
                ))
                .into());
            }
            let changed = state.task(*task).filter(|task| task.timeout_ms != timeout_ms);
            Ok(changed.map(|_| Event::Task(TaskEvent::TaskTimeoutSet { task: *task, timeout_ms })))
        }
        Resource::TaskDefinition { .. }
        | Resource::ContainerInstance { .. }
        | Resource::TaskSet { .. }
        | Resource::LogGroup(_)
        | Resource::Alarm(_) => Ok(None),
        Resource::CapacityProvider(name) => {
            let scale_in_after_ms =
                scale_in_after_ms(after).map_err(TagRejection::InvalidOption)?;
            let provider = state.capacity_provider(name.as_str());
            let changed = provider.filter(|held| held.scale_in_after_ms != scale_in_after_ms);
            Ok(changed.map(|held| {
                let tags = after.clone();
                let provider = CapacityProvider { scale_in_after_ms, tags, ..held.clone() };
                Event::CapacityProvider(CapacityProviderEvent::CapacityProviderSet(Box::new(
                    provider,
                )))
            }))
        }
    }
}
