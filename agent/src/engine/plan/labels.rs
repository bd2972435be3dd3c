//! The labels that containers are made with: enough for an agent that lost its ledger to adopt them.

use std::collections::BTreeMap;

use super::{awslogs, dependencies::dependencies, task_limits::task_group, volumes};
use crate::{
    logs::destination::LABEL,
    task::{
        intent::Intent,
        labels::{
            ECS_CONTAINER, EPOCH, ESSENTIAL, FLEET, GENERATION, GROUP, HOST, INDEX, STOP_TIMEOUT_S,
            STOPS_BEFORE, TASK, VOLUMES, of_ecs,
        },
        names,
        rules::Rules,
    },
};

/// The container's own labels under ours: a definition cannot pass for another task.
pub(crate) fn labels(intent: &Intent, index: usize, rules: &Rules) -> BTreeMap<String, String> {
    let container = &intent.definition.spec.container_definitions[index];
    let depends_on = dependencies(&intent.definition.spec, container);
    let indices: Vec<String> = depends_on.iter().map(|one| one.on.to_string()).collect();
    let mut labels = container.docker_labels.clone();
    let log = awslogs::label(container, intent.key).unwrap_or_default();
    let stop_timeout = rules.stop_grace(container.stop_timeout.unwrap_or_default()).as_secs();
    labels.extend(of_any(
        intent,
        rules,
        [
            (ECS_CONTAINER, container.name.clone()),
            (INDEX, index.to_string()),
            (ESSENTIAL, container.is_essential().to_string()),
            (STOP_TIMEOUT_S, stop_timeout.to_string()),
            (STOPS_BEFORE, indices.join(",")),
            (LABEL, log),
        ],
    ));
    labels
}

/// Labels of the pause container, which no definition describes.
pub(crate) fn of_pause(intent: &Intent, rules: &Rules) -> BTreeMap<String, String> {
    let index = intent.definition.spec.container_definitions.len();
    of_any(
        intent,
        rules,
        [
            (ECS_CONTAINER, names::PAUSE.to_owned()),
            (INDEX, index.to_string()),
            (ESSENTIAL, true.to_string()),
            (STOP_TIMEOUT_S, 0.to_string()),
            (STOPS_BEFORE, String::new()),
            (LABEL, String::new()),
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
