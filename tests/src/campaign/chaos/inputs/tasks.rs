//! Tasks that clients run, stop and protect.

use serde_json::{Value, json};

use super::{
    definitions,
    generator::{Draw, Generator, ecs, given},
    scaling,
};

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("RunTask", 12, run),
        ecs("StartTask", 3, start),
        ecs("StopTask", 6, |draw| {
            let (cluster, task) = draw.within("task");
            let reason = draw.one_in(2).then_some("enough");
            given(json!({"cluster": cluster, "task": task, "reason": reason}))
        }),
        ecs("SubmitAttachmentStateChanges", 8, |draw| {
            let (cluster, task) = draw.within("task");
            let task = task.rsplit('/').next().unwrap_or_default().to_owned();
            let attachment = format!("{task}-{}", draw.below(3));
            let status = draw.pick(&["ATTACHED", "ATTACHED", "DETACHED", "DETACHED", "FAILED"]);
            json!({"cluster": cluster,
                "attachments": [{"attachmentArn": attachment, "status": status}]})
        }),
        ecs("DescribeTasks", 5, |draw| {
            let (cluster, task) = draw.within("task");
            let tasks = [task, draw.arn_in("task", &cluster)];
            json!({"cluster": cluster, "tasks": tasks, "include": ["TAGS"]})
        }),
        ecs("ListTasks", 4, list),
        ecs("GetTaskProtection", 1, |draw| {
            let (cluster, task) = draw.within("task");
            json!({"cluster": cluster, "tasks": [task]})
        }),
        ecs("UpdateTaskProtection", 4, |draw| {
            let (cluster, task) = draw.within("task");
            let enabled = !draw.one_in(3);
            let minutes = enabled.then(|| 1 + draw.below(30));
            given(json!({
                "cluster": cluster, "tasks": [task], "protectionEnabled": enabled,
                "expiresInMinutes": minutes}))
        }),
    ]
}

fn run(draw: &mut Draw<'_>) -> Value {
    let mut tags = draw.tags();
    if let Some(tags) = tags.as_array_mut() {
        if draw.one_in(5) {
            tags.push(json!({"key": "longshore:wait", "value": draw.pick(&["5", "120", "3600"])}));
        }
        if draw.one_in(6) {
            tags.push(json!({"key": "longshore:timeout", "value": draw.pick(&["10", "300"])}));
        }
        tags.extend(attachments(draw));
    }
    let token = draw.one_in(5).then(|| format!("run-{}", draw.below(20)));
    let capacity = draw.one_in(6).then(|| scaling::strategy(draw));
    let overrides = draw.one_in(6).then(|| {
        json!({"containerOverrides": [
            {"name": "main", "environment": [{"name": "A", "value": "b"}], "memory": 48}]})
    });
    let group = draw.one_in(6).then(|| draw.pick(&["nightly", "family:app", "import"]));
    given(json!({
        "cluster": draw.cluster(), "taskDefinition": definitions::definition(draw),
        "count": 1 + draw.below(3), "tags": tags, "clientToken": token, "group": group,
        "capacityProviderStrategy": capacity, "overrides": overrides,
        "startedBy": draw.one_in(3).then_some("cron"),
        "placementConstraints": constraints(draw), "placementStrategy": strategies(draw),
        "enableECSManagedTags": draw.one_in(4),
        "propagateTags": draw.one_in(4).then_some("TASK_DEFINITION")}))
}

/// Tags that give a task, or the tasks of a service, attachments.
pub(super) fn attachments(draw: &mut Draw<'_>) -> Vec<Value> {
    let mut tags = Vec::new();
    if draw.one_in(6) {
        let names = draw.pick(&["vip", "vip lease"]);
        tags.push(json!({"key": "longshore:external-resources", "value": names}));
    }
    if draw.one_in(6) {
        tags.push(json!({"key": "longshore:external-targets", "value": "proxy"}));
    }
    tags
}

pub(super) fn constraints(draw: &mut Draw<'_>) -> Option<Value> {
    match draw.below(12) {
        0 => Some(json!([{"type": "distinctInstance"}])),
        1 => {
            let expression = draw.pick(&[
                "attribute:disk == ssd",
                "attribute:ecs.availability-zone in [a, b]",
                "agentConnected == true",
                "not(task:group == nightly)",
                "runningTasksCount < 3",
            ]);
            Some(json!([{"type": "memberOf", "expression": expression}]))
        }
        _ => None,
    }
}

pub(super) fn strategies(draw: &mut Draw<'_>) -> Option<Value> {
    match draw.below(8) {
        0 => Some(json!([{"type": "binpack", "field": "memory"}])),
        1 => Some(json!([{"type": "random"}])),
        2 => Some(json!([{"type": "spread", "field": "instanceId"}])),
        3 => Some(json!([
            {"type": "spread", "field": "attribute:ecs.availability-zone"},
            {"type": "binpack", "field": "cpu"}])),
        _ => None,
    }
}

fn start(draw: &mut Draw<'_>) -> Value {
    let (cluster, host) = draw.within("container-instance");
    json!({
        "cluster": cluster, "taskDefinition": definitions::definition(draw),
        "containerInstances": [host], "tags": draw.tags()})
}

fn list(draw: &mut Draw<'_>) -> Value {
    let status = draw.one_in(2).then(|| draw.pick(&["RUNNING", "STOPPED", "PENDING"]));
    let mut input = json!({"cluster": draw.cluster(), "desiredStatus": status});
    match draw.below(6) {
        0 => input["family"] = json!(definitions::family(draw)),
        1 => input["startedBy"] = json!("cron"),
        2 => {
            let (cluster, service) = draw.service();
            (input["cluster"], input["serviceName"]) = (json!(cluster), json!(service));
        }
        3 => {
            let (cluster, host) = draw.within("container-instance");
            (input["cluster"], input["containerInstance"]) = (json!(cluster), json!(host));
        }
        _ => {}
    }
    draw.paged("ListTasks", given(input))
}
