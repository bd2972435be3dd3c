//! Names and labels of our containers: enough for an agent that lost its ledger to adopt them.
//!
//! Both are deterministic, so that a second attempt at one create finds the first one's container.
//! ECS's own labels are part of its interface; ours are part of what a later version must read.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::id::{FleetId, HostId};

use super::{
    desired::{Condition, Dependency, DesiredContainer, DesiredTask, Role},
    key::TaskKey,
    names::{self, docker_name, group_name, task_directory, volume_name},
    rules::Rules,
};
use crate::runtime::{ContainerSummary, OwnerLabel};

#[cfg(test)]
mod tests;

pub(crate) const ECS_CLUSTER: &str = "com.amazonaws.ecs.cluster";
pub(crate) const ECS_TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
pub(crate) const ECS_CONTAINER: &str = "com.amazonaws.ecs.container-name";
pub(crate) const ECS_FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
pub(crate) const ECS_REVISION: &str = "com.amazonaws.ecs.task-definition-version";
pub(crate) const FLEET: &str = "longshore.fleet";
/// The host whose agent made it.
pub(crate) const HOST: &str = "longshore.host";
pub(crate) const TASK: &str = "longshore.task";
pub(crate) const GENERATION: &str = "longshore.generation";
pub(crate) const EPOCH: &str = "longshore.epoch";
pub(crate) const INDEX: &str = "longshore.container-index";
pub(crate) const ESSENTIAL: &str = "longshore.essential";
pub(crate) const STOP_TIMEOUT_S: &str = "longshore.stop-timeout-seconds";
/// Names of the volumes that go with the task.
pub(crate) const VOLUMES: &str = "longshore.task-volumes";
/// Name of the control group around the task's containers.
pub(crate) const GROUP: &str = "longshore.task-group";
/// Indices of the containers that this one depends on: it stops before them.
pub(crate) const STOPS_BEFORE: &str = "longshore.stops-before";

/// What every container of this agent carries and nothing else does.
pub(crate) fn owner(host: HostId) -> OwnerLabel {
    OwnerLabel { name: HOST.to_owned(), value: host.to_string() }
}

/// The labels that are part of ECS's interface.
pub(crate) fn of_ecs(
    cluster: &str,
    task_arn: &str,
    container: &str,
    family: &str,
    revision: u32,
) -> [(String, String); 5] {
    [
        (ECS_CLUSTER, cluster),
        (ECS_CONTAINER, container),
        (ECS_TASK_ARN, task_arn),
        (ECS_FAMILY, family),
        (ECS_REVISION, &revision.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Which task of which fleet a container is of; none if it is not ours or not whole.
pub(crate) fn task_of(labels: &BTreeMap<String, String>, rules: &Rules) -> Option<TaskKey> {
    let is = |name: &str, value: String| labels.get(name) == Some(&value);
    let ours = is(FLEET, rules.fleet.to_string()) && is(HOST, rules.host.to_string());
    let task = labels.get(TASK)?.parse().ok()?;
    let generation = labels.get(GENERATION)?.parse().ok()?;
    ours.then_some(TaskKey { task, generation })
}

/// Fleet and host of the agent that made the container; none if no agent did.
pub(crate) fn agent_of(found: &ContainerSummary) -> Option<(FleetId, HostId)> {
    let fleet = found.labels.get(FLEET)?.parse().ok()?;
    let host = found.labels.get(HOST)?.parse().ok()?;
    name_fits(found).then_some((fleet, host))
}

/// Whether the container has the name that goes with its labels. Whoever makes an image chooses
/// labels; names are given by whoever makes the container.
pub(crate) fn name_fits(found: &ContainerSummary) -> bool {
    is_named_by(&found.labels, &found.name)
}

/// As [`name_fits`].
pub(crate) fn is_named_by(labels: &BTreeMap<String, String>, name: &str) -> bool {
    let of_labels = || {
        let key = TaskKey {
            task: labels.get(TASK)?.parse().ok()?,
            generation: labels.get(GENERATION)?.parse().ok()?,
        };
        let revision = labels.get(ECS_REVISION)?.parse().ok()?;
        let (family, container) = (labels.get(ECS_FAMILY)?, labels.get(ECS_CONTAINER)?);
        let container = if container == names::PAUSE { names::PAUSE_IN_ENGINE } else { container };
        Some(docker_name(family, revision, container, key))
    };
    of_labels().is_some_and(|given| given == name)
}

/// The task's own among the volumes that a label names: containers of older agents may lack the
/// label, and have one of their image.
fn own_volumes(listed: &str, family: &str, revision: u32, key: TaskKey) -> Vec<String> {
    let prefix = format!("ecs-{family}-{revision}-");
    let is_own = |name: &&str| {
        let inner = name.strip_prefix(&prefix).and_then(|rest| rest.rsplit_once('-'));
        inner.is_some_and(|(volume, _)| volume_name(family, revision, volume, key) == **name)
    };
    listed.split(',').filter(is_own).map(str::to_owned).collect()
}

/// Which of the task's containers this is.
pub(crate) fn container_index(
    labels: &BTreeMap<String, String>,
    desired: &DesiredTask,
) -> Option<usize> {
    let name = labels.get(ECS_CONTAINER)?;
    desired.containers.iter().position(|container| container.name == *name)
}

/// A task as its containers' labels tell of it, for an agent whose ledger does not know it.
pub(crate) fn found_task(
    key: TaskKey,
    found: &[&ContainerSummary],
    rules: &Rules,
) -> Option<DesiredTask> {
    let label = |container: &ContainerSummary, name: &str| container.labels.get(name).cloned();
    let mut containers = found
        .iter()
        .map(|summary| {
            let index: usize = label(summary, INDEX)?.parse().ok()?;
            let seconds = label(summary, STOP_TIMEOUT_S).and_then(|s| s.parse().ok());
            let name = label(summary, ECS_CONTAINER)?;
            let container = DesiredContainer {
                role: if name == names::PAUSE { Role::Pause } else { Role::Defined },
                name,
                docker_name: summary.name.clone(),
                login: None,
                image: Arc::from(""),
                named_image: Arc::from(""),
                essential: label(summary, ESSENTIAL)? != "false",
                stop_grace: rules.stop_grace(seconds.unwrap_or_default()),
                health_check: false,
                depends_on: Vec::new(),
                start_timeout: None,
                restart: None,
                bindings: None,
            };
            let before = label(summary, STOPS_BEFORE).unwrap_or_default();
            let before = before.split(',').filter_map(|index| index.parse().ok()).collect();
            Some((index, container, before))
        })
        .collect::<Option<Vec<_>>>()?;
    containers.sort_by_key(|(index, ..)| *index);
    stop_in_order(&mut containers);
    let first = found.first()?;
    let family = label(first, ECS_FAMILY)?;
    let revision = label(first, ECS_REVISION)?.parse().ok()?;
    let volumes = label(first, VOLUMES).unwrap_or_default();
    let group = label(first, GROUP).filter(|group| *group == group_name(key));
    Some(DesiredTask {
        key,
        cluster: label(first, ECS_CLUSTER)?,
        task_arn: label(first, ECS_TASK_ARN)?,
        volumes: own_volumes(&volumes, &family, revision, key),
        family,
        revision,
        intent: None,
        confirmed: false,
        group,
        // Whether or not it has any.
        files: Some(task_directory(key, rules)),
        mounts: true,
        containers: containers.into_iter().map(|(_, container, _)| container).collect(),
        stop: None,
    })
}

/// Makes dependencies of the labels. Containers of the task may be gone: positions here are not the
/// definition's.
fn stop_in_order(containers: &mut [(usize, DesiredContainer, Vec<usize>)]) {
    let indices: Vec<usize> = containers.iter().map(|(index, ..)| *index).collect();
    for (_, container, before) in containers {
        let found = before.iter().filter_map(|on| indices.iter().position(|index| index == on));
        let dependency = |on| Dependency { on, condition: Condition::Created };
        container.depends_on = found.map(dependency).collect();
    }
}
