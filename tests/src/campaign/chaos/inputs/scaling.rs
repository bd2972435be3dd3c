//! Capacity providers and the Auto Scaling groups below them.

use serde_json::{Value, json};

use super::generator::{Draw, Generator, ecs, given};
use crate::campaign::chaos::coordinator::{CLOUD, PROGRAM};

const fn group(
    operation: &'static str,
    weight: usize,
    input: fn(&mut Draw<'_>) -> Value,
) -> Generator {
    Generator { service: "autoscaling", operation, weight, input }
}

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("CreateCapacityProvider", 4, create),
        ecs("UpdateCapacityProvider", 3, |draw| {
            let name = provider(draw);
            json!({"name": name, "autoScalingGroupProvider": managed(draw)})
        }),
        ecs("DeleteCapacityProvider", 3, |draw| json!({"capacityProvider": provider(draw)})),
        ecs("DescribeCapacityProviders", 3, |draw| {
            let some = draw.one_in(2).then(|| [provider(draw)]);
            let input = given(json!({"capacityProviders": some, "include": ["TAGS"]}));
            draw.paged("DescribeCapacityProviders", input)
        }),
        ecs("PutClusterCapacityProviders", 5, |draw| {
            let mut providers = vec![json!(PROVIDERS[draw.below(2)])];
            if draw.one_in(3) {
                providers = vec![json!("FARGATE"), json!(PROVIDERS[0]), json!(PROVIDERS[1])];
            }
            let default = draw.one_in(2).then(|| strategy(draw));
            let default = default.unwrap_or_else(|| json!([]));
            let providers = if draw.one_in(5) { json!([]) } else { json!(providers) };
            json!({"cluster": draw.cluster(), "capacityProviders": providers,
                "defaultCapacityProviderStrategy": default})
        }),
        group("CreateAutoScalingGroup", 3, create_group),
        group("UpdateAutoScalingGroup", 3, |draw| {
            let maximum = 1 + draw.below(4);
            given(json!({
                "AutoScalingGroupName": name(draw), "MaxSize": maximum,
                "DesiredCapacity": draw.one_in(2).then(|| draw.below(maximum + 1)),
                "NewInstancesProtectedFromScaleIn": draw.one_in(2).then(|| draw.one_in(2))}))
        }),
        group(
            "DeleteAutoScalingGroup",
            2,
            |draw| json!({"AutoScalingGroupName": name(draw), "ForceDelete": draw.one_in(2)}),
        ),
        group("DescribeAutoScalingGroups", 4, |draw| {
            let some = draw.one_in(3).then(|| [name(draw)]);
            given(json!({"AutoScalingGroupNames": some}))
        }),
        group("SetDesiredCapacity", 4, |draw| {
            json!({"AutoScalingGroupName": name(draw), "DesiredCapacity": draw.below(4),
                "HonorCooldown": draw.one_in(4)})
        }),
        group("SetInstanceProtection", 2, |draw| {
            let (group, instance) = instance(draw);
            json!({"AutoScalingGroupName": group, "InstanceIds": [instance],
                "ProtectedFromScaleIn": draw.one_in(2)})
        }),
        group("DescribeAutoScalingInstances", 4, |draw| {
            let some = draw.one_in(3).then(|| [instance(draw).1]);
            given(json!({"InstanceIds": some}))
        }),
        group(
            "TerminateInstanceInAutoScalingGroup",
            2,
            |draw| json!({"InstanceId": instance(draw).1, "ShouldDecrementDesiredCapacity": draw.one_in(2)}),
        ),
        group("DescribeScalingActivities", 1, |draw| json!({"AutoScalingGroupName": name(draw)})),
        group("CreateOrUpdateTags", 1, |draw| json!({"Tags": [tag(draw)]})),
        group("DeleteTags", 1, |draw| {
            let mut tag = tag(draw);
            if let Some(tag) = tag.as_object_mut() {
                tag.remove("PropagateAtLaunch");
            }
            json!({"Tags": [tag]})
        }),
        group("DescribeTags", 1, |_| json!({})),
    ]
}

const PROVIDERS: [&str; 3] = ["racks", "cloud", "spare"];
const GROUPS: [&str; 3] = ["rack-group", "cloud-group", "spare-group"];

pub(super) fn strategy(draw: &mut Draw<'_>) -> Value {
    let mut items = vec![json!({
        "capacityProvider": PROVIDERS[draw.below(2)], "weight": 1, "base": draw.below(2)})];
    if draw.one_in(3) {
        items = vec![json!({"capacityProvider": "FARGATE", "weight": draw.below(3)})];
    }
    json!(items)
}

fn provider(draw: &mut Draw<'_>) -> String {
    match draw.one_in(4) {
        true => draw.arn("capacity-provider"),
        false => PROVIDERS[draw.below(PROVIDERS.len())].to_owned(),
    }
}

fn name(draw: &mut Draw<'_>) -> &'static str {
    GROUPS[draw.below(GROUPS.len())]
}

fn create(draw: &mut Draw<'_>) -> Value {
    let at = draw.below(PROVIDERS.len());
    let mut of_group = managed(draw);
    // The ARN ends with the group's name.
    let arn = (0..8).map(|_| draw.arn("autoscaling")).find(|arn| arn.ends_with(GROUPS[at]));
    of_group["autoScalingGroupArn"] = json!(arn.unwrap_or_else(|| GROUPS[at].to_owned()));
    let tags = match draw.one_in(3) {
        true => json!([{"key": "longshore:scale-in-after", "value": "30"}]),
        false => draw.tags(),
    };
    json!({"name": PROVIDERS[at], "autoScalingGroupProvider": of_group, "tags": tags})
}

fn managed(draw: &mut Draw<'_>) -> Value {
    let scaling = draw.one_in(2).then(|| {
        json!({"status": draw.pick(&["ENABLED", "ENABLED", "DISABLED"]), "targetCapacity": 100,
            "minimumScalingStepSize": 1, "maximumScalingStepSize": 3, "instanceWarmupPeriod": 10})
    });
    given(json!({
        "managedScaling": scaling,
        "managedTerminationProtection": draw.one_in(4).then(|| draw.pick(&["ENABLED", "DISABLED"])),
        "managedDraining": draw.one_in(2).then(|| draw.pick(&["ENABLED", "DISABLED"]))}))
}

fn create_group(draw: &mut Draw<'_>) -> Value {
    let at = draw.below(GROUPS.len());
    let launcher = if at == 1 { CLOUD } else { PROGRAM };
    let launcher = if draw.one_in(20) { "none" } else { launcher };
    json!({
        "AutoScalingGroupName": GROUPS[at], "MinSize": 0, "MaxSize": 1 + draw.below(4),
        "DesiredCapacity": draw.below(2),
        "NewInstancesProtectedFromScaleIn": draw.one_in(3),
        "LaunchTemplate": {"LaunchTemplateName": launcher}})
}

fn instance(draw: &mut Draw<'_>) -> (String, String) {
    let known = draw.chance.pick(&draw.known.instances).cloned();
    known.unwrap_or_else(|| (name(draw).to_owned(), "i-00000000000000000".to_owned()))
}

fn tag(draw: &mut Draw<'_>) -> Value {
    json!({"ResourceId": name(draw), "ResourceType": "auto-scaling-group", "Key": "team",
        "Value": "web", "PropagateAtLaunch": draw.one_in(2)})
}
