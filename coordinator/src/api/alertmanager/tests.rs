use std::ops::Bound;

use expect_test::{Expect, expect};
use longshore_common::arn::Identity;
use longshore_core::model::alarm::{AlarmDefinition, PutMetricAlarm, Watched};
use serde_json::{Value, json};

use super::*;
use crate::edge::test_backend;

/// A driver with alarms of these names.
async fn with_alarms(names: &[&str]) -> Handle {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let driver = test_backend::empty(identity).driver;
    for name in names {
        let watched = Watched::PromQl {
            query: "up < 1".to_owned(),
            pending_s: None,
            recovery_s: None,
            interval_s: 60,
        };
        let definition = AlarmDefinition { description: None, actions_enabled: true, watched };
        let name = name.parse().unwrap();
        let put = PutMetricAlarm { name, definition, tags: BTreeMap::new() };
        driver
            .submit(Command::Alarm(AlarmCommand::PutMetricAlarm(Box::new(put))), |_, _| ())
            .await
            .unwrap();
    }
    driver
}

fn alert(status: &str, labels: Value) -> Value {
    json!({
        "status": status, "labels": labels, "annotations": {}, "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "a",
    })
}

fn notification(alerts: &[Value]) -> Value {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "longshore", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager", "alerts": alerts,
    })
}

/// The answer, and all alarms that are no longer as they were made.
async fn check(driver: &Handle, notification: Value, expected: Expect) {
    let outcome = notify(driver, &serde_json::to_vec(&notification).unwrap()).await;
    let mut text = format!(
        "{} {}\n",
        outcome.status.as_u16(),
        serde_json::to_string(&outcome.report).unwrap()
    );
    driver.peek(|state| {
        for alarm in state.alarms_from(Bound::Unbounded) {
            if alarm.value != AlarmValue::InsufficientData {
                text += &format!("{} {} {}\n", alarm.name, alarm.value, alarm.reason);
            }
        }
    });
    expected.assert_eq(&text);
}

#[tokio::test]
async fn firing_is_alarm_and_resolved_is_ok() {
    let driver = with_alarms(&["errors", "latency", "HighLoad", "other"]).await;
    let mut errors = alert("firing", json!({"alarmname": "errors", "alertname": "HighErrors"}));
    errors["annotations"] = json!({"description": "long", "summary": "5 % of requests fail"});
    let latency = alert("firing", json!({"longshore_alarm": "latency", "alertname": "Slow"}));
    let load = alert("resolved", json!({"alertname": "HighLoad"}));
    check(
        &driver,
        notification(&[errors, latency, load]),
        expect![[r#"
        200 {"set":["HighLoad","errors","latency"],"unknown":[],"unnamed":0}
        HighLoad OK Alertmanager: HighLoad is resolved
        errors ALARM Alertmanager: HighErrors fires: 5 % of requests fail
        latency ALARM Alertmanager: Slow fires
    "#]],
    )
    .await;
    let errors = alert("resolved", json!({"alarmname": "errors", "alertname": "HighErrors"}));
    check(
        &driver,
        notification(&[errors]),
        expect![[r#"
        200 {"set":["errors"],"unknown":[],"unnamed":0}
        HighLoad OK Alertmanager: HighLoad is resolved
        errors OK Alertmanager: HighErrors is resolved
        latency ALARM Alertmanager: Slow fires
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_alarm_of_several_alerts_is_in_alarm_while_one_of_them_fires() {
    let driver = with_alarms(&["errors"]).await;
    let on = |status: &str, host: &str| alert(status, json!({"alertname": "errors", "host": host}));
    let begun = [on("resolved", "a"), on("firing", "b"), on("resolved", "c")];
    check(
        &driver,
        notification(&begun),
        expect![[r#"
        200 {"set":["errors"],"unknown":[],"unnamed":0}
        errors ALARM Alertmanager: errors fires
    "#]],
    )
    .await;
    let ended = [on("resolved", "a"), on("resolved", "b"), on("resolved", "c")];
    check(
        &driver,
        notification(&ended),
        expect![[r#"
        200 {"set":["errors"],"unknown":[],"unnamed":0}
        errors OK Alertmanager: errors is resolved
    "#]],
    )
    .await;
    let again = [on("firing", "a"), on("resolved", "b"), on("resolved", "c")];
    check(
        &driver,
        notification(&again),
        expect![[r#"
        200 {"set":["errors"],"unknown":[],"unnamed":0}
        errors ALARM Alertmanager: errors fires
    "#]],
    )
    .await;
}

#[tokio::test]
async fn unknown_names_are_told_and_the_known_ones_are_set() {
    let driver = with_alarms(&["errors"]).await;
    let alerts = [
        alert("firing", json!({"alertname": "none"})),
        alert("firing", json!({"alertname": "errors"})),
        alert("firing", json!({"severity": "page"})),
        alert("firing", json!({"alertname": "a\nb"})),
    ];
    check(&driver, notification(&alerts), expect![[r#"
        404 {"message":"Some alerts name no alarm. Make the alarm with PutMetricAlarm, name it in the label alarmname or longshore_alarm or alertname, or route such alerts elsewhere. What is listed under `set` is set.","set":["errors"],"unknown":["a\nb","none"],"unnamed":1}
        errors ALARM Alertmanager: errors fires
    "#]]).await;
}

#[tokio::test]
async fn a_notification_that_is_repeated_is_not_journaled() {
    let driver = with_alarms(&["errors"]).await;
    let body = notification(&[alert("firing", json!({"alertname": "errors"}))]).to_string();
    notify(&driver, body.as_bytes()).await;
    let seq = driver.peek(|state| state.seq());
    assert_eq!(notify(&driver, body.as_bytes()).await.status, StatusCode::OK);
    assert_eq!(driver.peek(|state| state.seq()), seq);
}

#[tokio::test]
async fn what_is_no_whole_notification_changes_nothing() {
    let driver = with_alarms(&["errors"]).await;
    let seq = driver.peek(|state| state.seq());
    let good = notification(&[alert("firing", json!({"alertname": "errors"}))]);
    let with = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        bad.to_string()
    };
    let bodies = [
        (String::new(), "not a notification"),
        ("[]".to_owned(), "not a notification"),
        ("{}".to_owned(), "`version`"),
        ("[".repeat(100_000), "not a notification"),
        (with("/version", json!(4)), "a string"),
        (with("/version", json!("3")), "must be \"4\""),
        (with("/truncatedAlerts", json!(1)), "max_alerts"),
        (with("/alerts", json!({"a": 1})), "sequence"),
        (with("/alerts/0/status", json!("silent")), "silent"),
        (with("/alerts/0/labels", json!({"alertname": 1})), "string"),
        (with("/alerts", json!(vec![good["alerts"][0].clone(); ALERTS_MAX + 1])), "10000"),
    ];
    for (body, expected) in bodies {
        let outcome = notify(&driver, body.as_bytes()).await;
        assert_eq!(outcome.status, StatusCode::BAD_REQUEST);
        let message = outcome.report.message.unwrap();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(driver.peek(|state| state.seq()), seq);
}
