//! Attachments that programs of the user's make, as they see them.

use longshore_core::{Command, command::EpochCommand};
use serde_json::{Value, json};

use super::{World, flows::text};

async fn world() -> World {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("app", json!({})).await;
    world.host(1024, 1024, "zone-a").await;
    let begin = Command::Epoch(EpochCommand::BeginScheduling);
    world.driver.submit(begin, |_, _| ()).await.unwrap();
    world
}

async fn run(world: &World) -> String {
    let tags = json!([
        {"key": "longshore:external-resources", "value": "vip"},
        {"key": "longshore:external-targets", "value": "proxy"}]);
    let ran = world.done("RunTask", json!({"taskDefinition": "app", "tags": tags})).await;
    text(&ran["tasks"][0]["taskArn"])
}

fn submit(id: &Value, status: &str) -> Value {
    json!({"attachments": [{"attachmentArn": id, "status": status}]})
}

#[tokio::test]
async fn attachments_are_shown_and_follow_what_is_submitted() {
    let world = world().await;
    let arn = run(&world).await;
    let task = world.task(&arn).await;
    let id = arn.rsplit('/').next().unwrap();
    let expected = json!([
        {"id": format!("{id}-0"), "type": "LongshoreExternalResource", "status": "ATTACHING",
         "details": [{"name": "name", "value": "vip"}]},
        {"id": format!("{id}-1"), "type": "LongshoreExternalTarget", "status": "PRECREATED",
         "details": [{"name": "name", "value": "proxy"}]}]);
    assert_eq!((&task["lastStatus"], &task["attachments"]), (&json!("PROVISIONING"), &expected));

    let vip = &expected[0]["id"];
    let answer = world.done("SubmitAttachmentStateChanges", submit(vip, "ATTACHED")).await;
    assert_eq!(answer, json!({"acknowledgment": "ACCEPT"}));
    let task = world.task(&arn).await;
    assert_eq!(task["attachments"][0]["status"], "ATTACHED");
    let stopped = world.done("StopTask", json!({"task": arn, "reason": "enough"})).await;
    assert_eq!(stopped["task"]["desiredStatus"], "STOPPED");
}

#[tokio::test]
async fn submitted_state_that_cannot_be_is_refused_with_what_can() {
    let world = world().await;
    let arn = run(&world).await;
    let id = arn.rsplit('/').next().unwrap();
    let before = world.seq();
    let by_arn = arn.replace(":task/", ":attachment/") + "-1";
    for (attachment, status, says) in [
        (format!("{id}-0"), "DETACHED", "is ATTACHING and cannot be DETACHED next"),
        (by_arn, "ATTACHED", "is PRECREATED and cannot be ATTACHED next"),
        (format!("{id}-0"), "CREATED", "it can be submitted as ATTACHED, DETACHED, FAILED"),
        (format!("{id}-2"), "ATTACHED", "DescribeTasks shows the ids"),
        (id.to_owned(), "ATTACHED", "is not an attachment of a task of the cluster default"),
        (arn.clone(), "ATTACHED", "attachment"),
    ] {
        let refused =
            world.refused("SubmitAttachmentStateChanges", submit(&json!(attachment), status)).await;
        assert!(refused.contains(says), "{attachment} {status}: {refused}");
    }
    let none = world.refused("SubmitAttachmentStateChanges", json!({"attachments": []})).await;
    assert!(none.contains("give 1 to 100"), "{none}");
    let twice = json!({"attachments": [
        {"attachmentArn": format!("{id}-0"), "status": "ATTACHED"},
        {"attachmentArn": format!("{id}-0"), "status": "FAILED"}]});
    let twice = world.refused("SubmitAttachmentStateChanges", twice).await;
    assert!(twice.contains("named twice"), "{twice}");
    let tag = json!({"resourceArn": arn,
        "tags": [{"key": "longshore:external-targets", "value": "other"}]});
    let refused = world.refused("TagResource", tag).await;
    assert!(refused.contains("were settled when it was run"), "{refused}");
    assert_eq!(world.seq(), before);
}

#[tokio::test]
async fn removal_that_is_submitted_again_is_acknowledged() {
    let world = world().await;
    let arn = run(&world).await;
    let id = arn.rsplit('/').next().unwrap();
    world.done("StopTask", json!({"task": arn})).await;
    let vip = json!(format!("{id}-0"));
    for _ in 0..2 {
        let answer = world.done("SubmitAttachmentStateChanges", submit(&vip, "DETACHED")).await;
        assert_eq!(answer, json!({"acknowledgment": "ACCEPT"}));
        world.driver.submit(Command::Epoch(EpochCommand::Tick), |_, _| ()).await.unwrap();
    }
    assert_eq!(world.task(&arn).await["lastStatus"], "STOPPED");
    let before = world.seq();
    let late = world.refused("SubmitAttachmentStateChanges", submit(&vip, "ATTACHED")).await;
    assert!(late.contains("that has not stopped"), "{late}");
    let never = json!(format!("{id}-2"));
    world.refused("SubmitAttachmentStateChanges", submit(&never, "DETACHED")).await;
    assert_eq!(world.seq(), before);
}
