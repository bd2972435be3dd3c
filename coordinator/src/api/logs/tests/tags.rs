//! Tags of log groups, as Terraform, the AWS CLI and older clients set and read them.

use serde_json::{Value, json};

use super::{World, group};

const ARN: &str = "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web";

impl World {
    /// The group's tags, which are the same by the operation for ARNs, with and without `:*`, and
    /// by the older one.
    async fn tags(&self) -> Value {
        let by_arn = self.done("ListTagsForResource", json!({ "resourceArn": ARN })).await;
        let whole = json!({ "resourceArn": format!("{ARN}:*") });
        assert_eq!(self.done("ListTagsForResource", whole).await, by_arn);
        assert_eq!(self.done("ListTagsLogGroup", group("/ecs/web")).await, by_arn);
        by_arn["tags"].clone()
    }

    async fn refused(&self, operation: &str, input: Value, code: &str) {
        let said = self.call(operation, input.clone()).await.unwrap_err();
        assert!(said.contains(code), "{operation} {input}: {said}");
    }
}

#[tokio::test]
async fn tags_of_a_log_group_are_set_changed_and_removed() {
    let world = World::with_hosts(1).await;
    let made = json!({ "logGroupName": "/ecs/web", "tags": { "team": "web", "stage": "test" } });
    world.done("CreateLogGroup", made).await;
    assert_eq!(world.tags().await, json!({ "stage": "test", "team": "web" }));
    let more = json!({ "resourceArn": ARN, "tags": { "stage": "live", "cost": "7" } });
    world.done("TagResource", more).await;
    assert_eq!(world.tags().await, json!({ "cost": "7", "stage": "live", "team": "web" }));
    let older = json!({ "logGroupName": "/ecs/web", "tags": { "team": "core" } });
    world.done("TagLogGroup", older).await;
    let keys = json!({ "resourceArn": format!("{ARN}:*"), "tagKeys": ["cost", "never"] });
    world.done("UntagResource", keys).await;
    assert_eq!(world.tags().await, json!({ "stage": "live", "team": "core" }));
    let older = json!({ "logGroupName": "/ecs/web", "tags": ["stage"] });
    world.done("UntagLogGroup", older).await;
    assert_eq!(world.tags().await, json!({ "team": "core" }));
    // Retention does not touch them; the next group of the name has none.
    let keep = json!({ "logGroupName": "/ecs/web", "retentionInDays": 7 });
    world.done("PutRetentionPolicy", keep).await;
    assert_eq!(world.tags().await, json!({ "team": "core" }));
    world.done("DeleteLogGroup", group("/ecs/web")).await;
    world.done("CreateLogGroup", group("/ecs/web")).await;
    assert_eq!(world.tags().await, json!({}));
}

#[tokio::test]
async fn group_that_only_a_host_knows_can_be_tagged() {
    let world = World::with_hosts(1).await;
    world.write(0, "a/app/1", 1, "one");
    assert_eq!(world.tags().await, json!({}));
    let tag = json!({ "resourceArn": ARN, "tags": { "team": "web" } });
    world.done("TagResource", tag).await;
    assert_eq!(world.tags().await, json!({ "team": "web" }));
    assert_eq!(world.filtered(json!({})).await, "a/app/1:one");
}

#[tokio::test]
async fn bad_tags_of_log_groups_are_refused_and_change_nothing() {
    let world = World::with_hosts(1).await;
    let many: Value =
        (0..51).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let made = json!({ "logGroupName": "/ecs/web", "tags": { "team": "web" } });
    world.done("CreateLogGroup", made).await;
    let parameter = "InvalidParameterException";
    for tags in [json!({ "": "v" }), json!({ "aws:a": "v" }), json!({ "longshore:a": "v" }), many] {
        let by_arn = json!({ "resourceArn": ARN, "tags": tags });
        world.refused("TagResource", by_arn, parameter).await;
        let older = json!({ "logGroupName": "/ecs/web", "tags": tags });
        world.refused("TagLogGroup", older, parameter).await;
        let new = json!({ "logGroupName": "/ecs/new", "tags": tags });
        world.refused("CreateLogGroup", new, parameter).await;
    }
    let fifty: Value =
        (0..50).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let input = json!({ "resourceArn": ARN, "tags": fifty });
    world.refused("TagResource", input, "TooManyTagsException").await;
    let input = json!({ "logGroupName": "/ecs/web", "tags": fifty });
    world.refused("TagLogGroup", input, parameter).await;
    world.refused("TagResource", json!({ "resourceArn": ARN, "tags": {} }), parameter).await;
    for arn in ["/ecs/web", "arn:aws:logs:us-east-1:000000000000:destination:d", "arn:aws:ecs:a"] {
        let input = json!({ "resourceArn": arn });
        world.refused("ListTagsForResource", input, parameter).await;
    }
    let missing = json!({ "resourceArn": ARN.replace("web", "none") });
    world.refused("ListTagsForResource", missing, "ResourceNotFoundException").await;
    world.refused("ListTagsLogGroup", group("/ecs/none"), "ResourceNotFoundException").await;
    assert_eq!(world.tags().await, json!({ "team": "web" }));
    let shown = world.done("DescribeLogGroups", json!({})).await;
    assert_eq!(shown["logGroups"].as_array().unwrap().len(), 1);
}
