//! Container instances, their attributes, and Longshore's own operations.

use serde_json::{Value, json};

use super::generator::{Draw, Generator, ecs, given};

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("RegisterContainerInstance", 3, register),
        ecs("DeregisterContainerInstance", 3, |draw| {
            let (cluster, host) = draw.within("container-instance");
            json!({"cluster": cluster, "containerInstance": host, "force": draw.one_in(2)})
        }),
        ecs("DescribeContainerInstances", 4, |draw| {
            let (cluster, host) = draw.within("container-instance");
            let hosts = [host, draw.arn_in("container-instance", &cluster)];
            json!({"cluster": cluster, "containerInstances": hosts,
                "include": ["TAGS", "CONTAINER_INSTANCE_HEALTH"]})
        }),
        ecs("ListContainerInstances", 5, |draw| {
            let status = draw.one_in(3).then(|| draw.pick(&["ACTIVE", "DRAINING"]));
            let filter = draw.one_in(4).then(|| {
                draw.pick(&[
                    "attribute:disk == ssd",
                    "runningTasksCount > 0",
                    "agentConnected == true",
                ])
            });
            let input = json!({"cluster": draw.cluster(), "status": status, "filter": filter});
            draw.paged("ListContainerInstances", given(input))
        }),
        ecs("UpdateContainerInstancesState", 7, |draw| {
            let (cluster, host) = draw.within("container-instance");
            let status = draw.pick(&["ACTIVE", "ACTIVE", "DRAINING"]);
            json!({"cluster": cluster, "containerInstances": [host], "status": status})
        }),
        ecs("PutAttributes", 3, |draw| {
            let (cluster, attribute) = attribute(draw, true);
            json!({"cluster": cluster, "attributes": [attribute]})
        }),
        ecs("DeleteAttributes", 2, |draw| {
            let (cluster, attribute) = attribute(draw, false);
            json!({"cluster": cluster, "attributes": [attribute]})
        }),
        ecs("ListAttributes", 1, |draw| {
            let name = draw.one_in(2).then_some("disk");
            let input = json!({"cluster": draw.cluster(), "targetType": "container-instance",
                "attributeName": name});
            draw.paged("ListAttributes", given(input))
        }),
        ecs("DiscoverPollEndpoint", 1, |draw| json!({"cluster": draw.cluster()})),
        ecs("CreateJoinToken", 4, |draw| {
            let cluster = draw.one_in(3).then(|| draw.cluster());
            let uses = draw.one_in(2).then(|| 1 + draw.below(3));
            let ttl = [60, 3600, 86_400][draw.below(3)];
            given(json!({"ttlSeconds": ttl, "cluster": cluster, "uses": uses}))
        }),
        ecs("ListJoinTokens", 1, |_| json!({})),
        ecs("RevokeJoinToken", 1, |draw| {
            let known = draw.chance.pick(&draw.known.tokens).map(|(_, id)| id.clone());
            json!({"id": known.unwrap_or_else(|| "none".to_owned())})
        }),
        ecs("Recover", 1, |_| json!({})),
        ecs("ReplaceLostTasks", 2, |draw| json!({"cluster": draw.cluster()})),
        ecs("Explain", 2, |draw| {
            let kind = draw.pick(&["task", "service"]);
            let (cluster, name) = draw.within(kind);
            match kind {
                "task" => json!({"cluster": cluster, "task": name}),
                _ => json!({"cluster": cluster, "service": name}),
            }
        }),
    ]
}

fn register(draw: &mut Draw<'_>) -> Value {
    let again = draw.one_in(4).then(|| draw.arn("container-instance"));
    given(json!({
        "cluster": draw.cluster(), "containerInstanceArn": again, "tags": draw.tags(),
        "attributes": [{"name": "disk", "value": "hdd"}],
        "totalResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]}))
}

fn attribute(draw: &mut Draw<'_>, valued: bool) -> (String, Value) {
    let (cluster, host) = draw.within("container-instance");
    let name = draw.pick(&["disk", "rack", "owner"]);
    let value = (valued && !draw.one_in(3)).then(|| draw.pick(&["ssd", "hdd"]));
    let id = host.rsplit('/').next().unwrap_or_default();
    let attribute =
        json!({"name": name, "value": value, "targetType": "container-instance", "targetId": id});
    (cluster, given(attribute))
}
