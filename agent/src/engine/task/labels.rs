//! Names and labels of our containers: enough for an agent that lost its ledger to adopt them.
//!
//! Both are deterministic, so that a second attempt at one create finds the first one's container.
//! ECS's own labels are part of its interface; ours are part of what a later version must read.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use longshore_common::id::{FleetId, HostId};
use sha2::{Digest, Sha256};

use super::desired::{DesiredContainer, stop_grace};
use crate::{
    engine::plan::{
        DesiredTask, Intent, Role, Rules, TaskKey, awslogs,
        order::{self, Condition, Dependency},
        pause,
        task_limits::task_group,
        volumes,
    },
    runtime::{ContainerSummary, OwnerLabel},
};

#[cfg(test)]
mod tests;

const ECS_CLUSTER: &str = "com.amazonaws.ecs.cluster";
const ECS_TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
const ECS_CONTAINER: &str = "com.amazonaws.ecs.container-name";
const ECS_FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
const ECS_REVISION: &str = "com.amazonaws.ecs.task-definition-version";
const FLEET: &str = "longshore.fleet";
/// The host whose agent made it.
pub(crate) const HOST: &str = "longshore.host";
const TASK: &str = "longshore.task";
const GENERATION: &str = "longshore.generation";
const EPOCH: &str = "longshore.epoch";
const INDEX: &str = "longshore.container-index";
const ESSENTIAL: &str = "longshore.essential";
const STOP_TIMEOUT_S: &str = "longshore.stop-timeout-seconds";
/// Names of the volumes that go with the task.
const VOLUMES: &str = "longshore.task-volumes";
/// Name of the control group around the task's containers.
const GROUP: &str = "longshore.task-group";
/// Indices of the containers that this one depends on: it stops before them.
const STOPS_BEFORE: &str = "longshore.stops-before";

/// Digits of the name's hexadecimal tail, as many as ECS gives.
const NAME_HEX_DIGITS: usize = 20;

/// `ecs-<family>-<revision>-<container>-<hex>`.
pub(crate) fn docker_name(family: &str, revision: u32, container: &str, key: TaskKey) -> String {
    let hash = Sha256::digest(format!("{}/{}/{container}", key.task, key.generation));
    let hex = hex::encode(hash);
    format!("ecs-{family}-{revision}-{container}-{}", &hex[..NAME_HEX_DIGITS])
}

/// As [`docker_name`], for a volume that goes with its task.
pub(crate) fn volume_name(family: &str, revision: u32, volume: &str, key: TaskKey) -> String {
    let hash = Sha256::digest(format!("{}/{}/volume/{volume}", key.task, key.generation));
    let hex = hex::encode(hash);
    format!("ecs-{family}-{revision}-{volume}-{}", &hex[..NAME_HEX_DIGITS])
}

/// As [`docker_name`], for the control group of a task: longer, since it stands on its own.
pub(crate) fn group_name(key: TaskKey) -> String {
    format!("longshore_{}_{}", key.task, key.generation)
}

/// Where files of this task are.
pub(crate) fn task_directory(key: TaskKey, rules: &Rules) -> PathBuf {
    rules.task_files.join(format!("{}_{}", key.task, key.generation))
}

/// What a volume of a task carries, so that an operator sees whose it is.
pub(crate) fn of_volume(intent: &Intent, rules: &Rules) -> BTreeMap<String, String> {
    let ours = [
        (ECS_TASK_ARN, intent.order.task_arn.clone()),
        (FLEET, rules.fleet.to_string()),
        (HOST, rules.host.to_string()),
        (TASK, intent.key.task.to_string()),
    ];
    ours.map(|(name, value)| (name.to_owned(), value)).into()
}

/// What every container of this agent carries and nothing else does.
pub(crate) fn owner(host: HostId) -> OwnerLabel {
    OwnerLabel { name: HOST.to_owned(), value: host.to_string() }
}

/// The container's own labels under ours: a definition cannot pass for another task.
pub(crate) fn labels(intent: &Intent, index: usize, rules: &Rules) -> BTreeMap<String, String> {
    let container = &intent.definition.spec.container_definitions[index];
    let depends_on = order::dependencies(&intent.definition.spec, container);
    let indices: Vec<String> = depends_on.iter().map(|one| one.on.to_string()).collect();
    let mut labels = container.docker_labels.clone();
    let log = awslogs::label(container, intent.key).unwrap_or_default();
    let stop_timeout = stop_grace(container.stop_timeout.unwrap_or_default(), rules).as_secs();
    labels.extend(of_any(
        intent,
        rules,
        [
            (ECS_CONTAINER, container.name.clone()),
            (INDEX, index.to_string()),
            (ESSENTIAL, container.is_essential().to_string()),
            (STOP_TIMEOUT_S, stop_timeout.to_string()),
            (STOPS_BEFORE, indices.join(",")),
            (awslogs::LABEL, log),
        ],
    ));
    labels
}

/// Of the pause container, which no definition describes.
pub(crate) fn of_pause(intent: &Intent, rules: &Rules) -> BTreeMap<String, String> {
    let index = intent.definition.spec.container_definitions.len();
    of_any(
        intent,
        rules,
        [
            (ECS_CONTAINER, pause::NAME.to_owned()),
            (INDEX, index.to_string()),
            (ESSENTIAL, true.to_string()),
            (STOP_TIMEOUT_S, 0.to_string()),
            (STOPS_BEFORE, String::new()),
            (awslogs::LABEL, String::new()),
        ],
    )
}

/// What tells whose container it is, and `own`, which tells it from the others of its task. Every
/// label of ours is there, if only empty: Docker puts those of the image below, and one that was
/// baked into it must never be read as ours.
fn of_any(intent: &Intent, rules: &Rules, own: [(&str, String); 6]) -> BTreeMap<String, String> {
    let definition = &intent.definition;
    let ours = [
        (FLEET, rules.fleet.to_string()),
        (HOST, rules.host.to_string()),
        (TASK, intent.key.task.to_string()),
        (GENERATION, intent.key.generation.to_string()),
        (EPOCH, intent.epoch.counter.to_string()),
    ];
    let volumes = (VOLUMES, volumes::of_task(intent).join(","));
    let group = (GROUP, task_group(intent, rules).map(|group| group.name).unwrap_or_default());
    let all = ours.into_iter().chain([volumes, group]).chain(own);
    let mut labels: BTreeMap<String, String> =
        all.map(|(name, value)| (name.to_owned(), value)).collect();
    let container = labels.get(ECS_CONTAINER).cloned().unwrap_or_default();
    labels.extend(of_ecs(
        &intent.order.cluster,
        &intent.order.task_arn,
        &container,
        &definition.family,
        definition.revision,
    ));
    labels
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

/// Of which fleet and host the agent is that made the container; none if no agent did.
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
        let container = if container == pause::NAME { pause::NAME_IN_ENGINE } else { container };
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
                role: if name == pause::NAME { Role::Pause } else { Role::Defined },
                name,
                docker_name: summary.name.clone(),
                login: None,
                image: Arc::from(""),
                named_image: Arc::from(""),
                essential: label(summary, ESSENTIAL)? != "false",
                stop_grace: stop_grace(seconds.unwrap_or_default(), rules),
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

/// Some of the task's containers may be gone: positions here are not the definition's.
fn stop_in_order(containers: &mut [(usize, DesiredContainer, Vec<usize>)]) {
    let indices: Vec<usize> = containers.iter().map(|(index, ..)| *index).collect();
    for (_, container, before) in containers {
        let found = before.iter().filter_map(|on| indices.iter().position(|index| index == on));
        let dependency = |on| Dependency { on, condition: Condition::Created };
        container.depends_on = found.map(dependency).collect();
    }
}
