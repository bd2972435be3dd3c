//! Clusters, tags and account settings.

use serde_json::{Value, json};

use super::generator::{CLUSTERS, Draw, Generator, ecs, given};

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("CreateCluster", 6, create),
        ecs("DeleteCluster", 3, |draw| json!({"cluster": draw.cluster()})),
        ecs("DescribeClusters", 4, describe),
        ecs("ListClusters", 2, |draw| draw.paged("ListClusters", json!({}))),
        ecs("UpdateCluster", 2, update),
        ecs(
            "UpdateClusterSettings",
            1,
            |draw| json!({"cluster": draw.cluster(), "settings": settings(draw)}),
        ),
        ecs("TagResource", 8, tag),
        ecs("UntagResource", 4, untag),
        ecs("ListTagsForResource", 3, |draw| json!({"resourceArn": taggable(draw).1})),
        ecs("PutAccountSetting", 2, |draw| {
            let principal = "arn:aws:iam::000000000000:user/ops";
            let (name, value) = setting(draw);
            json!({"name": name, "value": value, "principalArn": principal})
        }),
        ecs("PutAccountSettingDefault", 2, |draw| {
            let (name, value) = setting(draw);
            json!({"name": name, "value": value})
        }),
        ecs("DeleteAccountSetting", 1, |draw| {
            let principal = "arn:aws:iam::000000000000:user/ops";
            json!({"name": setting(draw).0, "principalArn": principal})
        }),
        ecs("ListAccountSettings", 1, |draw| {
            let all = draw.one_in(2);
            draw.paged("ListAccountSettings", json!({"effectiveSettings": all}))
        }),
    ]
}

fn create(draw: &mut Draw<'_>) -> Value {
    let name = CLUSTERS[draw.below(CLUSTERS.len())];
    let tags = match draw.one_in(6) {
        true => json!([option(draw, "cluster")]),
        false => draw.tags(),
    };
    let settings = draw.one_in(3).then(|| settings(draw));
    given(json!({"clusterName": name, "tags": tags, "settings": settings}))
}

fn settings(draw: &mut Draw<'_>) -> Value {
    let value = draw.pick(&["enabled", "disabled", "enhanced"]);
    json!([{"name": "containerInsights", "value": value}])
}

fn describe(draw: &mut Draw<'_>) -> Value {
    let clusters = [draw.cluster(), draw.cluster()];
    json!({"clusters": clusters, "include": ["STATISTICS", "TAGS", "SETTINGS", "CONFIGURATIONS"]})
}

fn update(draw: &mut Draw<'_>) -> Value {
    let settings = draw.one_in(2).then(|| settings(draw));
    let connect = draw.one_in(5).then(|| json!({"namespace": ""}));
    given(json!({
        "cluster": draw.cluster(), "settings": settings, "serviceConnectDefaults": connect}))
}

/// A setting that tags of this kind of resource say; now and then of another one.
fn option(draw: &mut Draw<'_>, kind: &str) -> Value {
    let of_services = [
        ("longshore:lost-after", ["5", "20", "never"]),
        ("longshore:replace", ["true", "false", "true"]),
        ("longshore:reconcile", ["keep-original", "keep-replacement", "longest-running"]),
        ("longshore:healthy-after", ["0", "3", "60"]),
        ("longshore:rebalance", ["true", "false", "true"]),
    ];
    let of_tasks = [("longshore:timeout", ["30", "600", "10"])];
    let of_providers = [("longshore:scale-in-after", ["10", "300", "0"])];
    let kind = if draw.one_in(20) { "task" } else { kind };
    let options = match kind {
        "task" => &of_tasks[..],
        "capacity-provider" => &of_providers[..],
        _ => &of_services[..],
    };
    let (key, values) = options[draw.below(options.len())];
    json!({"key": key, "value": draw.pick(&values)})
}

fn taggable(draw: &mut Draw<'_>) -> (&'static str, String) {
    let kinds = [
        "cluster",
        "service",
        "service",
        "service",
        "task",
        "task",
        "task-definition",
        "container-instance",
        "task-set",
        "capacity-provider",
    ];
    let kind = draw.pick(&kinds);
    (kind, draw.arn(kind))
}

fn tag(draw: &mut Draw<'_>) -> Value {
    let (kind, arn) = taggable(draw);
    let has_options = ["cluster", "service", "task", "capacity-provider"].contains(&kind);
    let tags = match has_options && draw.one_in(2) {
        true => json!([option(draw, kind)]),
        false => draw.tags(),
    };
    json!({"resourceArn": arn, "tags": tags})
}

fn untag(draw: &mut Draw<'_>) -> Value {
    let (kind, arn) = taggable(draw);
    let keys = match draw.one_in(2) {
        true => json!([option(draw, kind)["key"]]),
        false => json!(["team-0"]),
    };
    json!({"resourceArn": arn, "tagKeys": keys})
}

fn setting(draw: &mut Draw<'_>) -> (&'static str, &'static str) {
    match draw.below(5) {
        0 => ("containerInsights", draw.pick(&["enabled", "disabled", "enhanced"])),
        1 => ("taskLongArnFormat", "enabled"),
        2 => ("defaultLogDriverMode", draw.pick(&["blocking", "non-blocking"])),
        3 => ("awsvpcTrunking", draw.pick(&["enabled", "disabled"])),
        _ => ("tagResourceAuthorization", draw.pick(&["on", "off"])),
    }
}
