//! Task definitions: a few families, small tasks, some with what makes placement hard.

use serde_json::{Value, json};

use super::generator::{Draw, Generator, ecs, given};

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("RegisterTaskDefinition", 8, register),
        ecs("DeregisterTaskDefinition", 5, |draw| json!({"taskDefinition": revision(draw)})),
        ecs("DeleteTaskDefinitions", 4, |draw| {
            let count = 1 + draw.below(3);
            let revisions: Vec<String> = (0..count).map(|_| revision(draw)).collect();
            json!({"taskDefinitions": revisions})
        }),
        ecs(
            "DescribeTaskDefinition",
            2,
            |draw| json!({"taskDefinition": definition(draw), "include": ["TAGS"]}),
        ),
        ecs("ListTaskDefinitions", 2, |draw| {
            let status = draw.pick(&["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"]);
            let family = draw.one_in(2).then(|| draw.pick(&FAMILIES));
            let input = given(json!({"status": status, "familyPrefix": family}));
            draw.paged("ListTaskDefinitions", input)
        }),
        ecs("ListTaskDefinitionFamilies", 1, |draw| {
            let status = draw.pick(&["ACTIVE", "INACTIVE", "ALL"]);
            draw.paged("ListTaskDefinitionFamilies", json!({"status": status}))
        }),
    ]
}

/// `checked` has health checks, `port` a static host port, `gpu` a GPU, `big` much memory, `pair`
/// two containers in an order.
const FAMILIES: [&str; 7] = ["app", "app", "checked", "port", "gpu", "big", "pair"];

pub(super) fn family(draw: &mut Draw<'_>) -> &'static str {
    draw.pick(&FAMILIES)
}

/// A family, a revision of one, or an ARN.
pub(super) fn definition(draw: &mut Draw<'_>) -> String {
    match draw.below(12) {
        0..=3 => draw.arn("task-definition"),
        4 => format!("{}:{}", family(draw), 1 + draw.below(3)),
        _ => family(draw).to_owned(),
    }
}

fn revision(draw: &mut Draw<'_>) -> String {
    match draw.below(6) {
        0 => definition(draw),
        _ => draw.arn("task-definition"),
    }
}

fn register(draw: &mut Draw<'_>) -> Value {
    let family = family(draw);
    let memory = if family == "big" { 700 } else { 32 * (1 + draw.below(3)) };
    let mut container = json!({
        "name": "main", "image": format!("app:{}", 1 + draw.below(3)), "memory": memory,
        "cpu": 32 * draw.below(4), "essential": true});
    let mut containers = Vec::new();
    match family {
        "checked" => container["healthCheck"] = json!({"command": ["CMD", "true"]}),
        "port" => {
            let host = 8000 + draw.below(3);
            container["portMappings"] = json!([{"containerPort": 80, "hostPort": host}]);
        }
        "gpu" => container["resourceRequirements"] = json!([{"type": "GPU", "value": "1"}]),
        "pair" => {
            containers.push(json!({
                "name": "init", "image": "init:1", "memory": 16, "essential": false}));
            container["dependsOn"] = json!([{"containerName": "init", "condition": "SUCCESS"}]);
        }
        _ => {}
    }
    containers.insert(0, container);
    let constraints = draw
        .one_in(12)
        .then(|| json!([{"type": "memberOf", "expression": "attribute:disk == ssd"}]));
    given(json!({
        "family": family, "containerDefinitions": containers, "tags": draw.tags(),
        "placementConstraints": constraints}))
}
