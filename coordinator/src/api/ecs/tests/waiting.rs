//! RunTask with `longshore:wait`, as users see its tasks.

use longshore_core::{Command, command::EpochCommand};
use serde_json::{Value, json};

use super::{World, flows::text};

fn tags(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

fn waiting(tags_of_task: &[(&str, &str)]) -> Value {
    json!({"taskDefinition": "app", "startedBy": "me", "tags": tags(tags_of_task)})
}

async fn world() -> World {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("app", json!({})).await;
    world.driver.submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await.unwrap();
    world
}

#[tokio::test]
async fn a_task_without_a_host_is_provisioning_wherever_it_is_shown() {
    let world = world().await;
    let ran = world.done("RunTask", waiting(&[("longshore:wait", "60")])).await;
    assert_eq!(ran["failures"], json!([]));
    let task = ran["tasks"][0].clone();
    let arn = text(&task["taskArn"]);
    let described = world.done("DescribeTasks", json!({"tasks": [arn], "include": ["TAGS"]})).await;
    assert_eq!(described["tasks"][0], task);
    for (member, expected) in [
        ("lastStatus", json!("PROVISIONING")),
        ("desiredStatus", json!("RUNNING")),
        ("containerInstanceArn", Value::Null),
        ("connectivity", json!("DISCONNECTED")),
        ("tags", tags(&[("longshore:wait", "60")])),
    ] {
        assert_eq!(task[member], expected, "{member}");
    }
    assert_eq!(task["containers"][0]["lastStatus"], "PENDING");
    assert!(text(&task["containers"][0]["containerArn"]).contains(":container/default/"));
    for filter in [json!({}), json!({"family": "app"}), json!({"startedBy": "me"})] {
        let listed = world.done("ListTasks", filter.clone()).await;
        assert_eq!(listed["taskArns"], json!([arn]), "{filter}");
    }
    for filter in [json!({"family": "other"}), json!({"desiredStatus": "STOPPED"})] {
        let listed = world.done("ListTasks", filter.clone()).await;
        assert_eq!(listed["taskArns"], json!([]), "{filter}");
    }
    let cluster = world.done("DescribeClusters", json!({})).await["clusters"][0].clone();
    assert_eq!(
        (&cluster["pendingTasksCount"], &cluster["runningTasksCount"]),
        (&json!(1), &json!(0))
    );
    let listed = world.done("ListTagsForResource", json!({"resourceArn": arn})).await;
    assert_eq!(listed["tags"], tags(&[("longshore:wait", "60")]));

    let host = world.host(1024, 1024, "zone-a").await;
    let placed = world.task(&arn).await;
    assert_eq!(
        (&placed["lastStatus"], &placed["containerInstanceArn"]),
        (&json!("PENDING"), &json!(host))
    );
    for member in ["createdAt", "containers"] {
        let same = match member {
            "containers" => (&placed[member][0]["containerArn"], &task[member][0]["containerArn"]),
            _ => (&placed[member], &task[member]),
        };
        assert_eq!(same.0, same.1, "{member}");
    }
}

#[tokio::test]
async fn list_orders_tasks_with_a_host_and_without_together() {
    let world = world().await;
    world.host(1024, 128, "zone-a").await;
    let mut arns = Vec::new();
    for _ in 0..3 {
        let ran = world.done("RunTask", waiting(&[("longshore:wait", "60")])).await;
        arns.push(text(&ran["tasks"][0]["taskArn"]));
    }
    arns.sort();
    let (mut listed, mut token) = (Vec::new(), Value::Null);
    loop {
        let page = world.done("ListTasks", json!({"maxResults": 1, "nextToken": token})).await;
        listed.extend(page["taskArns"].as_array().unwrap().iter().map(text));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(listed, arns);
}

#[tokio::test]
async fn a_task_that_waits_can_be_stopped_but_not_tagged() {
    let world = world().await;
    let ran = world.done("RunTask", waiting(&[("longshore:wait", "60")])).await;
    let arn = text(&ran["tasks"][0]["taskArn"]);
    let tag = json!({"resourceArn": arn, "tags": tags(&[("a", "b")])});
    let refused = world.refused("TagResource", tag).await;
    assert!(refused.contains("waits for a container instance"), "{refused}");
    let stopped = world.done("StopTask", json!({"task": arn, "reason": "enough"})).await;
    let task = &stopped["task"];
    assert_eq!(
        (&task["lastStatus"], &task["stopCode"], &task["stoppedReason"]),
        (&json!("STOPPED"), &json!("UserInitiated"), &json!("enough"))
    );
    assert_eq!(task["containerInstanceArn"], Value::Null);
    let listed = world.done("ListTasks", json!({"desiredStatus": "STOPPED"})).await;
    assert_eq!(listed["taskArns"], json!([arn]));
    assert_eq!(world.task(&arn).await["lastStatus"], "STOPPED");
}

#[tokio::test]
async fn a_setting_of_tasks_that_is_none_is_refused_and_says_which_there_are() {
    let world = world().await;
    let host = world.host(1024, 1024, "zone-a").await;
    let before = world.seq();
    for (given, says) in [
        (("longshore:wait", "soon"), "The tag longshore:wait is `soon`; say a time in seconds"),
        (("longshore:wait", "0"), "The tag longshore:wait is `0`"),
        (("longshore:timeout", "-1"), "The tag longshore:timeout is `-1`"),
        (("longshore:waits", "1"), "longshore:timeout, longshore:wait."),
    ] {
        let refused = world.refused("RunTask", waiting(&[given])).await;
        assert!(refused.contains(says), "{refused}");
    }
    let start = json!({"taskDefinition": "app", "containerInstances": [host],
        "tags": tags(&[("longshore:wait", "60")])});
    let refused = world.refused("StartTask", start).await;
    assert!(refused.contains("longshore:wait is for RunTask"), "{refused}");
    assert_eq!(world.seq(), before);
}
