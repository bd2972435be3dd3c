//! What CloudWatch Logs' operations refuse, and that nothing changes by it.

use super::*;

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let world = World::with_hosts(1).await;
    world.write(0, "s", 1, "x");
    let before = world.driver.peek(|state| state.seq());
    let with = |member: &str, value: Value| {
        let mut input = group("/ecs/web");
        input[member] = value;
        input
    };
    let table = [
        ("CreateLogGroup", json!({}), "`logGroupName` is required"),
        ("CreateLogGroup", group("a b"), "logGroupName: a log group's name holds"),
        ("CreateLogGroup", group(&"a".repeat(513)), "1 to 512 characters"),
        ("CreateLogGroup", with("kmsKeyId", json!("k")), "does not honour kmsKeyId"),
        ("CreateLogGroup", with("tags", json!({ "aws:a": "b" })), "begins with aws:"),
        ("CreateLogGroup", with("logGroupClass", json!("DELIVERY")), "other than STANDARD"),
        ("CreateLogGroup", with("deletionProtectionEnabled", json!(true)), "deletionProtection"),
        ("CreateLogGroup", with("colour", json!("red")), "colour"),
        ("PutRetentionPolicy", with("retentionInDays", json!(8)), "must be one of 1, 3, 5, 7"),
        ("PutRetentionPolicy", with("retentionInDays", json!(0)), "must be one of"),
        (
            "PutRetentionPolicy",
            json!({ "logGroupName": "none", "retentionInDays": 7 }),
            "ResourceNotFoundException",
        ),
        ("DeleteLogGroup", group("none"), "ResourceNotFoundException"),
        ("DescribeLogGroups", json!({ "limit": 51 }), "between 1 and 50"),
        ("DescribeLogGroups", json!({ "nextToken": "?" }), "nextToken is invalid"),
        (
            "DescribeLogGroups",
            json!({ "logGroupNamePrefix": "a", "logGroupNamePattern": "b" }),
            "cannot both be given",
        ),
        ("DescribeLogGroups", json!({ "includeLinkedAccounts": true }), "one account"),
        ("DescribeLogStreams", json!({}), "Give either logGroupName or logGroupIdentifier"),
        (
            "DescribeLogStreams",
            json!({ "logGroupName": "/ecs/web", "orderBy": "LastEventTime",
                    "logStreamNamePrefix": "s" }),
            "Cannot order by LastEventTime with a logStreamNamePrefix",
        ),
        ("DescribeLogStreams", group("none"), "ResourceNotFoundException"),
        ("CreateLogStream", with("logStreamName", json!("s")), "log group does not exist"),
        ("GetLogEvents", with("logStreamName", json!("a:b")), "no : and no *"),
        ("GetLogEvents", with("logStreamName", json!("none")), "log stream does not exist"),
        (
            "GetLogEvents",
            json!({ "logGroupName": "/ecs/web", "logStreamName": "s", "nextToken": "f/1" }),
            "nextToken is invalid",
        ),
        (
            "GetLogEvents",
            json!({ "logGroupName": "/ecs/web", "logStreamName": "s", "limit": 0 }),
            "between 1 and 10000",
        ),
        ("FilterLogEvents", with("filterPattern", json!("foo-bar")), "Invalid filter pattern"),
        ("FilterLogEvents", with("filterPattern", json!("[a, b]")), "space-delimited"),
        ("FilterLogEvents", with("limit", json!(10_001)), "between 1 and 10000"),
        ("FilterLogEvents", with("logStreamNames", json!(vec!["s"; 101])), "may have 100"),
        ("FilterLogEvents", with("logStreamNames", json!(["none"])), "log stream does not exist"),
        (
            "FilterLogEvents",
            json!({ "logGroupName": "/ecs/web", "logStreamNames": ["s"],
                    "logStreamNamePrefix": "s" }),
            "cannot both be given",
        ),
        ("FilterLogEvents", with("startTime", json!(-1)), "startTime"),
        ("StartLiveTail", json!({}), "`logGroupIdentifiers` is required"),
        ("StartQuery", json!({}), "has no operation StartQuery"),
    ];
    let mut wrong = Vec::new();
    for (operation, input, expected) in table {
        let said = world.call(operation, input.clone()).await;
        if !said.as_ref().is_err_and(|refused| refused.contains(expected)) {
            wrong.push(format!("{operation} {input} should say `{expected}`: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.driver.peek(|state| state.seq()), before);
}

#[tokio::test]
async fn batches_that_cloudwatch_logs_would_refuse_are_refused() {
    let world = World::with_hosts(0).await;
    world.done("CreateLogGroup", group("/ecs/web")).await;
    let stream = json!({ "logGroupName": "/ecs/web", "logStreamName": "s" });
    world.done("CreateLogStream", stream).await;
    let event =
        |ms: i64, message: &str| json!({ "timestamp": NOW.0 as i64 + ms, "message": message });
    let large = "x".repeat(300_000);
    let table = [
        (json!([]), "1 to 10000"),
        (json!([event(0, "")]), "message is empty"),
        (json!([event(0, &large)]), "Log event too large"),
        (json!([event(5, "a"), event(4, "b")]), "chronological order"),
        (json!([event(-90_000_000, "a"), event(0, "b")]), "more than 24 hours"),
    ];
    for (events, expected) in table {
        let input =
            json!({ "logGroupName": "/ecs/web", "logStreamName": "s", "logEvents": events });
        let refused = world.call("PutLogEvents", input).await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    let entity = json!({ "logGroupName": "/ecs/web", "logStreamName": "s",
        "logEvents": [event(0, "a")], "entity": { "attributes": {} } });
    let refused = world.call("PutLogEvents", entity).await.unwrap_err();
    assert!(refused.contains("does not honour entity"), "{refused}");
}
