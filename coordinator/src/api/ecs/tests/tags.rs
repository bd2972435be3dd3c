//! Tags of every kind of resource.

use serde_json::{Value, json};

use super::{World, flows::text};

#[tokio::test]
async fn each_kind_of_resource_can_be_tagged_up_to_its_limit() {
    let world = World::new();
    let cluster = world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 512, "zone-a").await;
    let definition = world.define("web", json!({})).await;
    let task = world.run(json!({"taskDefinition": "web"})).await.remove(0);
    for arn in [text(&cluster["cluster"]["clusterArn"]), host, definition, task] {
        let fifty: Vec<Value> =
            (0..50).map(|i| json!({"key": format!("k{i}"), "value": "v"})).collect();
        world.done("TagResource", json!({"resourceArn": arn, "tags": fifty})).await;
        let more = json!({"resourceArn": arn, "tags": [{"key": "one-more"}]});
        let refused = world.refused("TagResource", more).await;
        assert!(refused.contains("50"), "{refused}");
        let over = json!({"resourceArn": arn, "tags": [{"key": "k0", "value": "w"}]});
        world.done("TagResource", over).await;
        let keys: Vec<String> = (1..50).map(|i| format!("k{i}")).collect();
        world.done("UntagResource", json!({"resourceArn": arn, "tagKeys": keys})).await;
        let listed = world.done("ListTagsForResource", json!({"resourceArn": arn})).await;
        assert_eq!(listed["tags"], json!([{"key": "k0", "value": "w"}]));
    }
}
