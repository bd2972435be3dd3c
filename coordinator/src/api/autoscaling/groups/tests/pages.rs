//! Page tokens of Auto Scaling's lists: each is good for the operation and the filters that it was
//! given for.

use serde_json::json;

use super::{World, element};

type Pairs = &'static [(&'static str, &'static str)];

/// Lists with more than one item, and what other requests of the same operation say.
const LISTS: [(&str, Pairs, &[Pairs]); 4] = [
    (
        "DescribeAutoScalingGroups",
        &[],
        &[
            &[("AutoScalingGroupNames.member.1", "b")],
            &[("Filters.member.1.Name", "tag-key"), ("Filters.member.1.Values.member.1", "k")],
        ],
    ),
    ("DescribeAutoScalingInstances", &[], &[&[("InstanceIds.member.1", "i-00000000000000000")]]),
    (
        "DescribeScalingActivities",
        &[],
        &[&[("AutoScalingGroupName", "a")], &[("ActivityIds.member.1", "x")]],
    ),
    (
        "DescribeTags",
        &[],
        &[&[("Filters.member.1.Name", "key"), ("Filters.member.1.Values.member.1", "k")]],
    ),
];

/// Two groups, each with two tags and two instances.
async fn furnished() -> World {
    let world = World::new().await;
    for group in ["a", "b"] {
        world.make_group(group, &[("DesiredCapacity", "2")]).await;
        for key in ["k", "l"] {
            let tag = [
                ("Tags.member.1.ResourceId", group),
                ("Tags.member.1.ResourceType", "auto-scaling-group"),
                ("Tags.member.1.Key", key),
                ("Tags.member.1.Value", "v"),
                ("Tags.member.1.PropagateAtLaunch", "false"),
            ];
            world.scaling("CreateOrUpdateTags", &tag).await;
        }
    }
    world
}

async fn page(world: &World, operation: &str, pairs: Pairs, token: &str) -> String {
    let mut pairs = [pairs, &[("MaxRecords", "1")]].concat();
    if !token.is_empty() {
        pairs.push(("NextToken", token));
    }
    world.scaling(operation, &pairs).await
}

#[tokio::test]
async fn page_token_is_refused_by_every_other_operation_and_filter() {
    let world = furnished().await;
    let mut tokens = Vec::new();
    for (operation, pairs, _) in LISTS {
        let token = element(&page(&world, operation, pairs, "").await, "NextToken");
        let again = page(&world, operation, pairs, &token).await;
        assert!(again.contains(&format!("<{operation}Result>")), "its own token: {again}");
        tokens.push(token);
    }
    // One of another service.
    for name in ["one", "two"] {
        world.ecs("CreateCluster", json!({"clusterName": name})).await;
    }
    let listed = world.ecs("ListClusters", json!({"maxResults": 1})).await;
    tokens.push(listed["nextToken"].as_str().unwrap().to_owned());
    let (mut cases, mut wrong) = (0, Vec::new());
    for (at, (operation, pairs, others)) in LISTS.iter().enumerate() {
        let foreign = tokens.iter().enumerate().filter(|(of, _)| *of != at);
        let foreign = foreign.map(|(_, token)| (*pairs, token));
        let other_filters = others.iter().map(|other| (*other, &tokens[at]));
        for (pairs, token) in foreign.chain(other_filters) {
            cases += 1;
            let said = page(&world, operation, pairs, token).await;
            if !said.starts_with("400 ") || !said.contains("<Code>InvalidNextToken</Code>") {
                wrong.push(format!("{operation} {pairs:?}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}
