//! CloudWatch's operations through the edge, signed, in each protocol.

mod bad_input;

use expect_test::expect;
use http::{HeaderValue, Method, Request, StatusCode, header, request::Parts};
use longshore_common::{arn::Identity, clock::SteppedClock, secret::Secret};
use minicbor::Encoder;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::cloudwatch::{SIGNING_NAME, TARGET},
    credentials::Credentials,
    driver::Handle,
    edge::{
        Edge,
        health::{Health, Metrics},
        protocol::{SMITHY_PROTOCOL, Wire, X_AMZ_TARGET},
        test_backend::{self, NOW},
    },
    signature::sign_for_path,
};

const WIRES: [Wire; 3] = [Wire::Json1_0, Wire::RpcV2Cbor, Wire::Query];

struct World {
    edge: Edge,
    driver: Handle,
}

impl World {
    fn new() -> Self {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let backend = test_backend::empty(identity);
        let driver = backend.driver.clone();
        let health = Health::starting("the test is being set up");
        health.set_ready();
        let clock = SteppedClock::at(NOW);
        let edge = Edge::new(backend, &credentials(), clock, health, Metrics::detached());
        World { edge, driver }
    }

    async fn call(&self, wire: Wire, operation: &str, input: &Value) -> Result<Vec<u8>, ApiError> {
        let body = written(wire, operation, input);
        self.send(&signed(wire, operation, &body), &body).await
    }

    async fn send(&self, parts: &Parts, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let admitted = self.edge.admit(parts)?;
        self.edge.route(admitted, body, "id").await.answer.map(crate::edge::service::Body::whole)
    }

    /// The answer as text, or the refusal as the client reads it.
    async fn said(&self, wire: Wire, operation: &str, input: Value) -> String {
        let answer = match self.call(wire, operation, &input).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let (status, body) = wire.refusal(&refusal, "id");
                return format!("{} {}", status.as_u16(), text(wire, &body));
            }
        };
        text(wire, &answer)
    }

    async fn done(&self, operation: &str, input: Value) -> Value {
        let answer = self.call(Wire::Json1_0, operation, &input).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn names(&self, input: Value) -> Vec<String> {
        let alarms = self.done("DescribeAlarms", input).await["MetricAlarms"].take();
        let name = |alarm: &Value| alarm["AlarmName"].as_str().unwrap().to_owned();
        alarms.as_array().unwrap().iter().map(name).collect()
    }

    fn seq(&self) -> u64 {
        self.driver.peek(|state| state.seq())
    }
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("secret".into()),
    }
}

fn text(wire: Wire, body: &[u8]) -> String {
    match wire {
        Wire::RpcV2Cbor => minicbor::display(body).to_string(),
        Wire::Json1_0 | Wire::Json1_1 | Wire::Query => String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// An input as a client of this protocol writes it.
fn written(wire: Wire, operation: &str, input: &Value) -> Vec<u8> {
    match wire {
        Wire::Json1_0 | Wire::Json1_1 => serde_json::to_vec(input).unwrap(),
        Wire::RpcV2Cbor => {
            let mut encoder = Encoder::new(Vec::new());
            write_cbor(&mut encoder, input);
            encoder.into_writer()
        }
        Wire::Query => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", operation).append_pair("Version", "2010-08-01");
            let mut pairs = Vec::new();
            flatten("", input, &mut pairs);
            form.extend_pairs(pairs).finish().into_bytes()
        }
    }
}

fn write_cbor(encoder: &mut Encoder<Vec<u8>>, value: &Value) {
    match value {
        Value::Null => drop(encoder.null().unwrap()),
        Value::Bool(value) => drop(encoder.bool(*value).unwrap()),
        Value::Number(number) => match number.as_i64() {
            Some(value) => drop(encoder.i64(value).unwrap()),
            None => drop(encoder.f64(number.as_f64().unwrap()).unwrap()),
        },
        Value::String(text) => drop(encoder.str(text).unwrap()),
        // One without a count, as some clients write them.
        Value::Array(items) => {
            encoder.begin_array().unwrap();
            items.iter().for_each(|item| write_cbor(encoder, item));
            encoder.end().unwrap();
        }
        Value::Object(members) => {
            encoder.map(members.len() as u64).unwrap();
            for (name, value) in members {
                encoder.str(name).unwrap();
                write_cbor(encoder, value);
            }
        }
    }
}

fn flatten(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Bool(value) => pairs.push((name.to_owned(), value.to_string())),
        Value::Number(value) => pairs.push((name.to_owned(), value.to_string())),
        Value::String(text) => pairs.push((name.to_owned(), text.clone())),
        Value::Array(items) if items.is_empty() => pairs.push((name.to_owned(), String::new())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{name}.member.{}", index + 1), item, pairs);
            }
        }
        Value::Object(members) => {
            for (member, value) in members {
                let inner =
                    if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                flatten(&inner, value, pairs);
            }
        }
    }
}

fn signed(wire: Wire, operation: &str, body: &[u8]) -> Parts {
    let path = match wire {
        Wire::RpcV2Cbor => format!("/service/{TARGET}/operation/{operation}"),
        Wire::Json1_0 | Wire::Json1_1 | Wire::Query => "/".to_owned(),
    };
    let mut request =
        Request::builder().method(Method::POST).uri(&path).header(header::HOST, "127.0.0.1:8420");
    request = match wire {
        Wire::Json1_0 | Wire::Json1_1 => request
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header(X_AMZ_TARGET, format!("{TARGET}.{operation}")),
        Wire::RpcV2Cbor => request
            .header(header::CONTENT_TYPE, "application/cbor")
            .header(SMITHY_PROTOCOL, "rpc-v2-cbor"),
        Wire::Query => {
            request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
        }
    };
    let mut request = request.body(()).unwrap();
    let headers = request.headers_mut();
    sign_for_path(&path, headers, body, &credentials(), "us-east-1", SIGNING_NAME, NOW).unwrap();
    request.into_parts().0
}

fn of_metric() -> Value {
    json!({
        "AlarmName": "errors", "AlarmDescription": "Too many <5xx>", "ActionsEnabled": false,
        "AlarmActions": [], "MetricName": "5xx", "Namespace": "web", "ExtendedStatistic": "p99.9",
        "Dimensions": [{"Name": "service", "Value": "shop"}], "Period": 60, "Unit": "Count/Second",
        "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 0.5,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
        "EvaluateLowSampleCountPercentile": "ignore", "Tags": [{"Key": "team", "Value": ""}],
    })
}

fn of_queries() -> Value {
    json!({
        "AlarmName": "ratio", "EvaluationPeriods": 1, "ComparisonOperator": "LessThanThreshold",
        "Threshold": 7, "Metrics": [
            {"Id": "all", "ReturnData": false, "MetricStat": {
                "Metric": {"Namespace": "web", "MetricName": "all",
                    "Dimensions": [{"Name": "a", "Value": "b"}]},
                "Period": 1, "Stat": "Sum", "Unit": "None"}},
            {"Id": "e_1", "Expression": "all / 2", "Label": "half", "ReturnData": true,
                "Period": 300, "AccountId": "000000000000"},
        ],
    })
}

fn of_band() -> Value {
    json!({
        "AlarmName": "band", "EvaluationPeriods": 1, "ThresholdMetricId": "ad1",
        "ComparisonOperator": "LessThanLowerOrGreaterThanUpperThreshold", "Metrics": [
            {"Id": "m1", "MetricStat":
                {"Metric": {"Namespace": "web", "MetricName": "load", "Dimensions": []},
                    "Period": 60, "Stat": "p90"}},
            {"Id": "ad1", "Expression": "ANOMALY_DETECTION_BAND(m1)"},
        ],
    })
}

fn of_promql() -> Value {
    json!({
        "AlarmName": "promql", "EvaluationInterval": 30, "EvaluationCriteria": {"PromQLCriteria":
            {"Query": "rate(errors[5m]) > 1", "PendingPeriod": 0, "RecoveryPeriod": 60}},
    })
}

#[tokio::test]
async fn what_one_protocol_puts_every_protocol_shows() {
    for wire in WIRES {
        let world = World::new();
        let put = |input| world.said(wire, "PutMetricAlarm", input);
        let nothing = put(of_metric()).await;
        for input in [of_queries(), of_band(), of_promql()] {
            assert_eq!(put(input).await, nothing);
        }
        let set = json!({"AlarmName": "errors", "StateValue": "ALARM", "StateReason": "a & b",
            "StateReasonData": "{\"a\":1}"});
        assert_eq!(world.said(wire, "SetAlarmState", set).await.is_empty(), nothing.is_empty());
        let shown = world.said(Wire::Json1_0, "DescribeAlarms", json!({})).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        // All members come back as they were given.
        let given = [of_band(), of_metric(), of_promql(), of_queries()];
        for (given, shown) in given.iter().zip(shown["MetricAlarms"].as_array().unwrap()) {
            let mut expected = given.as_object().unwrap().clone();
            expected.remove("Tags");
            for (member, value) in expected {
                match &value {
                    // A number without a fraction is the same number.
                    Value::Number(number) => {
                        assert_eq!(shown[&member].as_f64(), number.as_f64(), "{member}");
                    }
                    _ => assert_eq!(shown[&member], value, "{member}"),
                }
            }
        }
        assert_eq!(
            world.driver.peek(|state| state.alarm("errors").unwrap().tags["team"].clone()),
            ""
        );
    }
}

#[tokio::test]
async fn an_alarm_is_shown_in_the_words_of_each_protocol() {
    let world = World::new();
    let mut input = of_metric();
    input["AlarmName"] = json!("a/b c");
    world.done("PutMetricAlarm", input).await;
    let set = json!({"AlarmName": "a/b c", "StateValue": "OK", "StateReason": "<fine>"});
    world.done("SetAlarmState", set).await;
    let describe = json!({"AlarmNames": ["a/b c", "none"]});
    expect![[r#"{"CompositeAlarms":[],"MetricAlarms":[{"AlarmName":"a/b c","AlarmArn":"arn:aws:cloudwatch:us-east-1:000000000000:alarm:a/b c","AlarmDescription":"Too many <5xx>","AlarmConfigurationUpdatedTimestamp":1767323045.0,"ActionsEnabled":false,"OKActions":[],"AlarmActions":[],"InsufficientDataActions":[],"StateValue":"OK","StateReason":"<fine>","StateUpdatedTimestamp":1767323045.0,"MetricName":"5xx","Namespace":"web","Dimensions":[{"Name":"service","Value":"shop"}],"ExtendedStatistic":"p99.9","Period":60,"Unit":"Count/Second","EvaluationPeriods":3,"DatapointsToAlarm":2,"Threshold":0.5,"ComparisonOperator":"GreaterThanThreshold","TreatMissingData":"notBreaching","EvaluateLowSampleCountPercentile":"ignore","StateTransitionedTimestamp":1767323045.0}]}"#]].assert_eq(&world.said(Wire::Json1_0, "DescribeAlarms", describe.clone()).await);
    expect![[r#"{"CompositeAlarms": [], "MetricAlarms": [{"AlarmName": "a/b c", "AlarmArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:a/b c", "AlarmDescription": "Too many <5xx>", "AlarmConfigurationUpdatedTimestamp": 1(1.767323045e9), "ActionsEnabled": false, "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [], "StateValue": "OK", "StateReason": "<fine>", "StateUpdatedTimestamp": 1(1.767323045e9), "MetricName": "5xx", "Namespace": "web", "Dimensions": [{"Name": "service", "Value": "shop"}], "ExtendedStatistic": "p99.9", "Period": 60, "Unit": "Count/Second", "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 5e-1, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", "EvaluateLowSampleCountPercentile": "ignore", "StateTransitionedTimestamp": 1(1.767323045e9)}]}"#]].assert_eq(&world.said(Wire::RpcV2Cbor, "DescribeAlarms", describe.clone()).await);
    expect![[r#"<DescribeAlarmsResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><DescribeAlarmsResult><CompositeAlarms/><MetricAlarms><member><AlarmName>a/b c</AlarmName><AlarmArn>arn:aws:cloudwatch:us-east-1:000000000000:alarm:a/b c</AlarmArn><AlarmDescription>Too many &lt;5xx&gt;</AlarmDescription><AlarmConfigurationUpdatedTimestamp>2026-01-02T03:04:05.000Z</AlarmConfigurationUpdatedTimestamp><ActionsEnabled>false</ActionsEnabled><OKActions/><AlarmActions/><InsufficientDataActions/><StateValue>OK</StateValue><StateReason>&lt;fine&gt;</StateReason><StateUpdatedTimestamp>2026-01-02T03:04:05.000Z</StateUpdatedTimestamp><MetricName>5xx</MetricName><Namespace>web</Namespace><Dimensions><member><Name>service</Name><Value>shop</Value></member></Dimensions><ExtendedStatistic>p99.9</ExtendedStatistic><Period>60</Period><Unit>Count/Second</Unit><EvaluationPeriods>3</EvaluationPeriods><DatapointsToAlarm>2</DatapointsToAlarm><Threshold>0.5</Threshold><ComparisonOperator>GreaterThanThreshold</ComparisonOperator><TreatMissingData>notBreaching</TreatMissingData><EvaluateLowSampleCountPercentile>ignore</EvaluateLowSampleCountPercentile><StateTransitionedTimestamp>2026-01-02T03:04:05.000Z</StateTransitionedTimestamp></member></MetricAlarms></DescribeAlarmsResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DescribeAlarmsResponse>"#]].assert_eq(&world.said(Wire::Query, "DescribeAlarms", describe).await);
}

#[tokio::test]
async fn tags_of_alarms_are_put_listed_and_removed_in_every_protocol() {
    for wire in WIRES {
        let world = World::new();
        world.done("PutMetricAlarm", of_metric()).await;
        let arn = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:errors";
        let tag = json!({"ResourceARN": arn, "Tags": [{"Key": "stage", "Value": "live"}]});
        let tagged = world.said(wire, "TagResource", tag.clone()).await;
        // SDKs look for the element of an output, also of one without members.
        assert_eq!(wire == Wire::Query, tagged.contains("<TagResourceResult></TagResourceResult>"));
        let untag = json!({"ResourceARN": arn, "TagKeys": ["team", "none"]});
        world.call(wire, "UntagResource", &untag).await.unwrap();
        // CloudWatch leaves the tags of an alarm that exists as they are.
        let mut again = of_metric();
        again["Tags"] = json!([{"Key": "stage", "Value": "test"}]);
        world.done("PutMetricAlarm", again).await;
        let listed = world.done("ListTagsForResource", json!({"ResourceARN": arn})).await;
        assert_eq!(listed, json!({"Tags": [{"Key": "stage", "Value": "live"}]}));
        let shown = world.said(wire, "ListTagsForResource", json!({"ResourceARN": arn})).await;
        assert!(shown.contains("stage") && shown.contains("live"), "{shown}");
        for (operation, input, code) in [
            ("TagResource", json!({"ResourceARN": format!("{arn}s"), "Tags": tag["Tags"]}), "404"),
            ("UntagResource", json!({"ResourceARN": format!("{arn}s"), "TagKeys": ["a"]}), "404"),
            ("ListTagsForResource", json!({"ResourceARN": format!("{arn}s")}), "404"),
            ("ListTagsForResource", json!({"ResourceARN": "arn:aws:ecs:x"}), "400"),
            ("TagResource", json!({"ResourceARN": arn, "Tags": too_many()}), "400"),
        ] {
            let said = world.said(wire, operation, input).await;
            assert!(said.starts_with(code), "{operation}: {said}");
        }
    }
}

fn too_many() -> Value {
    (0..50).map(|number| json!({"Key": format!("k{number}"), "Value": ""})).collect()
}

#[tokio::test]
async fn a_refusal_is_in_the_words_of_each_protocol() {
    let world = World::new();
    let none = json!({"AlarmName": "none", "StateValue": "OK", "StateReason": ""});
    expect![[r#"404 {"__type":"ResourceNotFound","message":"There is no alarm named none."}"#]]
        .assert_eq(&world.said(Wire::Json1_0, "SetAlarmState", none.clone()).await);
    expect![[r#"404 {"__type": "ResourceNotFound", "message": "There is no alarm named none."}"#]]
        .assert_eq(&world.said(Wire::RpcV2Cbor, "SetAlarmState", none.clone()).await);
    expect!["404 <ErrorResponse><Error><Type>Sender</Type><Code>ResourceNotFound</Code><Message>There is no alarm named none.</Message></Error><RequestId>id</RequestId></ErrorResponse>"].assert_eq(&world.said(Wire::Query, "SetAlarmState", none).await);
    let incomplete = json!({"AlarmName": "a"});
    expect![[r#"400 {"__type":"MissingRequiredParameterException","message":"One of MetricName, Metrics and EvaluationCriteria is required."}"#]].assert_eq(&world.said(Wire::Json1_0, "PutMetricAlarm", incomplete.clone()).await);
    expect![[r#"400 {"__type": "MissingRequiredParameterException", "message": "One of MetricName, Metrics and EvaluationCriteria is required."}"#]].assert_eq(&world.said(Wire::RpcV2Cbor, "PutMetricAlarm", incomplete.clone()).await);
    expect!["400 <ErrorResponse><Error><Type>Sender</Type><Code>MissingParameter</Code><Message>One of MetricName, Metrics and EvaluationCriteria is required.</Message></Error><RequestId>id</RequestId></ErrorResponse>"].assert_eq(&world.said(Wire::Query, "PutMetricAlarm", incomplete).await);
}

#[tokio::test]
async fn alarms_are_found_by_name_prefix_and_state_page_by_page() {
    let world = World::new();
    let names = ["web-1", "api", "web-2", "web", "we", "web-3"];
    for name in names {
        let mut input = of_metric();
        input["AlarmName"] = json!(name);
        world.done("PutMetricAlarm", input).await;
    }
    let set = json!({"AlarmName": "web-2", "StateValue": "ALARM", "StateReason": ""});
    world.done("SetAlarmState", set).await;
    assert_eq!(world.names(json!({})).await, ["api", "we", "web", "web-1", "web-2", "web-3"]);
    for (input, expected) in [
        (json!({"AlarmNames": ["web-3", "none", "api", "api"]}), &["api", "web-3"][..]),
        (json!({"AlarmNamePrefix": "web-"}), &["web-1", "web-2", "web-3"]),
        (json!({"AlarmNamePrefix": "web", "StateValue": "ALARM"}), &["web-2"]),
        (json!({"StateValue": "OK"}), &[]),
        (json!({"AlarmTypes": ["CompositeAlarm"]}), &[]),
        (json!({"AlarmTypes": ["CompositeAlarm", "MetricAlarm"], "MaxRecords": 1}), &["api"]),
        (json!({"ActionPrefix": "arn:"}), &[]),
    ] {
        assert_eq!(world.names(input.clone()).await, expected, "{input}");
    }
    for start in [
        json!({"MaxRecords": 2}),
        json!({"MaxRecords": 2, "AlarmNames": names}),
        json!({"MaxRecords": 2, "AlarmNamePrefix": "we"}),
    ] {
        let mut input = start.clone();
        let mut seen = Vec::new();
        loop {
            let page = world.done("DescribeAlarms", input.clone()).await;
            seen.extend(
                page["MetricAlarms"].as_array().unwrap().iter().map(|a| a["AlarmName"].clone()),
            );
            let Some(token) = page.get("NextToken") else { break };
            input["NextToken"] = token.clone();
        }
        let without = usize::from(start.get("AlarmNamePrefix").is_some());
        assert_eq!(seen, ["api", "we", "web", "web-1", "web-2", "web-3"][without..], "{start}");
    }
}

#[tokio::test]
async fn deleted_alarms_are_gone() {
    let world = World::new();
    for input in [of_metric(), of_queries(), of_promql()] {
        world.done("PutMetricAlarm", input).await;
    }
    world.done("DeleteAlarms", json!({"AlarmNames": ["errors", "none", "ratio"]})).await;
    assert_eq!(world.names(json!({})).await, ["promql"]);
    expect![[r#"404 {"__type":"ResourceNotFound","message":"There is no alarm named errors."}"#]]
        .assert_eq(
            &world.said(Wire::Json1_0, "DeleteAlarms", json!({"AlarmNames": ["errors"]})).await,
        );
}

#[tokio::test]
async fn what_is_not_built_does_not_exist_in_any_protocol() {
    let world = World::new();
    for wire in WIRES {
        let refusal = world.call(wire, "PutCompositeAlarm", &json!({})).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::UnknownOperation);
        assert!(refusal.message.contains("PutMetricAlarm"), "{refusal}");
    }
    // Another service's name in the path, or another version of the form.
    let mut parts = signed(Wire::RpcV2Cbor, "DescribeAlarms", b"");
    parts.uri = "/service/Other/operation/DescribeAlarms".parse().unwrap();
    let headers = &mut parts.headers;
    let path = parts.uri.path().to_owned();
    sign_again(&path, headers, "sts");
    assert_eq!(world.send(&parts, b"").await.unwrap_err().code, ErrorCode::UnknownOperation);
    let form = b"Action=DescribeAlarms&Version=2009-01-01";
    let parts = signed(Wire::Query, "", form);
    assert_eq!(world.send(&parts, form).await.unwrap_err().code, ErrorCode::UnknownOperation);
}

fn sign_again(path: &str, headers: &mut http::HeaderMap, service: &str) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(crate::signature::X_AMZ_DATE);
    sign_for_path(path, headers, b"", &credentials(), "us-east-1", service, NOW).unwrap();
}

#[tokio::test]
async fn a_signature_holds_for_one_path_and_one_service() {
    let world = World::new();
    let refused = async |parts: &Parts| {
        let refusal = world.send(parts, b"").await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidSignature, "{refusal}");
        refusal.message
    };
    let good = signed(Wire::RpcV2Cbor, "DescribeAlarms", b"");
    assert!(world.send(&good, b"").await.is_ok());
    let mut other = good.clone();
    other.uri = format!("/service/{TARGET}/operation/DeleteAlarms").parse().unwrap();
    assert!(refused(&other).await.contains("does not match"));
    let mut ecs = good.clone();
    let path = ecs.uri.path().to_owned();
    sign_again(&path, &mut ecs.headers, "ecs");
    assert!(refused(&ecs).await.contains("'monitoring'"));
    let mut strange = good.clone();
    strange.uri = format!("/service/{TARGET}/operation/DescribeAlarms?a=b").parse().unwrap();
    assert!(refused(&strange).await.contains("without a query string"));
}

#[tokio::test]
async fn an_rpc_says_which_protocol_it_speaks() {
    let world = World::new();
    for (name, value) in [
        (SMITHY_PROTOCOL, None),
        (SMITHY_PROTOCOL, Some("rpc-v2-json")),
        (header::CONTENT_TYPE, Some("application/json")),
    ] {
        let mut parts = signed(Wire::RpcV2Cbor, "DescribeAlarms", b"");
        let path = parts.uri.path().to_owned();
        parts.headers.remove(&name);
        if let Some(value) = value {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        sign_again(&path, &mut parts.headers, SIGNING_NAME);
        let refusal = world.send(&parts, b"").await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::UnsupportedMediaType);
        assert_eq!(refusal.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
