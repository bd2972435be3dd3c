//! What is wrong with a request is refused with CloudWatch's error and a sentence that names the
//! member, in each protocol, and changes nothing: derived from the shapes, then by rule.

use super::*;
use crate::api::ecs::tests::shape::{Place, Shape, inputs_in};

const VALIDATION: &str = "ValidationError";
const SERIALIZATION: &str = "SerializationException";
const COMBINATION: &str = "InvalidParameterCombinationException";
const VALUE: &str = "InvalidParameterValueException";
const MISSING: &str = "MissingRequiredParameterException";

struct Case {
    operation: String,
    input: Value,
    codes: &'static [&'static str],
    /// What the sentence must have.
    names: String,
    /// Whether a form can say it: there, every value is text.
    in_forms: bool,
}

fn shapes() -> Vec<(String, Shape)> {
    inputs_in(include_str!("../../../../../../tests/golden/cloudwatch-inputs.json"))
}

#[tokio::test]
async fn bad_input_is_refused_with_a_sentence_and_changes_nothing() {
    let world = World::new();
    world.done("PutMetricAlarm", of_metric()).await;
    let mut seq = world.seq();
    let mut cases = Vec::new();
    for (operation, shape) in shapes() {
        shape.visit(&mut |path, place| derive(&operation, path, &place, &mut cases));
    }
    let derived = cases.len();
    cases.extend(rules());
    let (mut asked, mut wrong) = (0, Vec::new());
    for Case { operation, input, codes, names, in_forms } in &cases {
        for wire in WIRES.into_iter().filter(|wire| *wire != Wire::Query || *in_forms) {
            asked += 1;
            let shown: String = input.to_string().chars().take(300).collect();
            match world.call(wire, operation, input).await {
                Ok(_) => wrong.push(format!("{wire:?} {operation} {shown} was accepted")),
                Err(refusal) => {
                    let fits = codes.contains(&refusal.code.wire_name())
                        && refusal.status().is_client_error()
                        && refusal.message.contains(names)
                        && refusal.message.split(' ').count() > 2;
                    if !fits {
                        wrong.push(format!(
                            "{wire:?} {operation} {shown}\n    {refusal}\n    not {codes:?} with {names}"
                        ));
                    }
                }
            }
            if world.seq() != seq {
                wrong.push(format!("{wire:?} {operation} {shown} changed the state"));
                seq = world.seq();
            }
        }
    }
    eprintln!("bad_input_cases {asked} requests, {derived} derived cases of {}", cases.len());
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_member_of_cloudwatchs_inputs_has_a_place() {
    let world = World::new();
    for (operation, shape) in shapes() {
        let Err(refusal) = world.call(Wire::Json1_0, &operation, &shape.whole()).await else {
            continue;
        };
        assert_ne!(refusal.code.wire_name(), SERIALIZATION, "{operation}: {refusal}");
        assert!(!refusal.message.contains("not a known member"), "{operation}: {refusal}");
    }
}

/// What is fine about an input whose one member is wrong.
fn base(operation: &str, member: &str) -> Value {
    match (operation, member) {
        ("PutMetricAlarm", "Metrics") => of_queries(),
        ("PutMetricAlarm", "ThresholdMetricId") => of_band(),
        ("PutMetricAlarm", "EvaluationCriteria" | "EvaluationInterval") => of_promql(),
        ("PutMetricAlarm", "Statistic") => {
            let mut base = of_metric();
            base.as_object_mut().unwrap().remove("ExtendedStatistic");
            base
        }
        ("PutMetricAlarm", _) => of_metric(),
        _ => json!({}),
    }
}

fn derive(operation: &str, path: &str, place: &Place<'_>, cases: &mut Vec<Case>) {
    let top = path.split(['.', '[']).next().unwrap().to_owned();
    let mut case = |value: Value, codes, names: &str, in_forms| {
        let mut input = base(operation, &top);
        let given = (place.wrap)(value);
        if given.get(&top).is_none() {
            input.as_object_mut().unwrap().remove(&top);
        }
        for (member, value) in given.as_object().unwrap() {
            let is_filling = *member != top && input.get(member).is_some();
            if !is_filling {
                input[member] = value.clone();
            }
        }
        // A form cannot say that Metric is there and empty.
        let in_forms = in_forms && !path.contains("MetricStat.");
        let (operation, names) = (operation.to_owned(), names.to_owned());
        cases.push(Case { operation, input, codes, names, in_forms });
    };
    let Some(member) = place.member else {
        let mut object = place.shape.least();
        object["invented"] = json!("a");
        case(object, &[VALIDATION], "invented", true);
        return;
    };
    let name = member.name.as_str();
    if member.required {
        case(Value::Null, &[VALIDATION], name, false);
    }
    for wrong in place.shape.wrong() {
        let codes: &[&str] = match (place.shape, &wrong) {
            // 7.5 may be a wrong type or a wrong value.
            (Shape::Integer { .. }, Value::Number(_)) => &[SERIALIZATION, VALIDATION],
            _ => &[SERIALIZATION],
        };
        let in_forms = match (place.shape, &wrong) {
            (Shape::Object(_) | Shape::Map(_), _) => !wrong.is_array(),
            (Shape::List { .. }, _) => true,
            _ => wrong.is_array() || wrong.is_object(),
        };
        case(wrong, codes, name, in_forms);
    }
    match place.shape {
        Shape::Enum(_) => case(json!("INVENTED"), &[VALIDATION], name, true),
        Shape::Integer { min, max } => {
            let values = [min.map(|min| min - 1), max.map(|max| max + 1), Some(i64::MAX)];
            for value in values.into_iter().flatten() {
                case(json!(value), &[VALIDATION], name, true);
            }
            case(json!("many"), &[SERIALIZATION], name, true);
        }
        Shape::Double | Shape::Boolean => case(json!("many"), &[SERIALIZATION], name, true),
        Shape::String { min, max } => {
            if min.is_some_and(|min| min > 0) {
                case(json!(""), &[VALIDATION], name, true);
            }
            if let Some(max) = max {
                case(json!("a".repeat(max + 1)), &[VALIDATION], name, true);
            }
        }
        Shape::List { max: Some(max), item } => {
            // Any action is one too many.
            let codes: &[&str] = if name.ends_with("Actions") { &[VALUE] } else { &[VALIDATION] };
            case(json!(vec![item.whole(); max + 1]), codes, name, true);
        }
        Shape::Object(_) | Shape::List { .. } | Shape::Map(_) | Shape::Any => {}
    }
}

/// What only CloudWatch's rules know, and what Longshore cannot do.
fn rules() -> Vec<Case> {
    let with = |base: Value, member: &str, value: Value| {
        let mut input = base;
        match value {
            Value::Null => drop(input.as_object_mut().unwrap().remove(member)),
            value => input[member] = value,
        }
        input
    };
    let metric = |member: &str, value: Value| with(of_metric(), member, value);
    let queries = |member: &str, value: Value| with(of_queries(), member, value);
    let promql = |member: &str, value: Value| with(of_promql(), member, value);
    let query = |index: usize, member: &str, value: Value| {
        let mut input = of_queries();
        input["Metrics"][index] = with(input["Metrics"][index].take(), member, value);
        input
    };
    let arn = json!(["arn:aws:sns:us-east-1:000000000000:topic"]);
    let put = "PutMetricAlarm";
    let table = vec![
        (put, metric("AlarmName", json!("a\tb")), VALIDATION, "control characters"),
        (put, metric("OKActions", arn.clone()), VALUE, "performs no actions"),
        (put, metric("AlarmActions", arn.clone()), VALUE, "performs no actions"),
        (put, metric("InsufficientDataActions", arn), VALUE, "performs no actions"),
        (put, metric("MetricName", Value::Null), MISSING, "MetricName, Metrics"),
        (put, metric("Metrics", of_queries()["Metrics"].clone()), COMBINATION, "MetricName and"),
        (put, metric("Namespace", Value::Null), MISSING, "Namespace"),
        (put, metric("Namespace", json!(":a")), VALIDATION, "colon"),
        (put, metric("ExtendedStatistic", Value::Null), MISSING, "Statistic"),
        (put, metric("Statistic", json!("Sum")), COMBINATION, "Statistic"),
        (put, metric("ExtendedStatistic", json!("99th")), VALUE, "p99"),
        (put, metric("ExtendedStatistic", json!("p 99")), VALUE, "p99"),
        (put, metric("Period", Value::Null), MISSING, "Period"),
        (put, metric("Period", json!(45)), VALIDATION, "multiple of 60"),
        (put, metric("Period", json!(345_600)), VALIDATION, "is 1036800"),
        (put, metric("EvaluationPeriods", Value::Null), MISSING, "EvaluationPeriods"),
        (put, metric("EvaluationPeriods", json!(1)), VALIDATION, "DatapointsToAlarm"),
        (put, metric("EvaluationPeriods", json!(1441)), VALIDATION, "86460 seconds"),
        (put, metric("ComparisonOperator", Value::Null), MISSING, "ComparisonOperator"),
        (put, metric("ComparisonOperator", json!("LessThanLowerThreshold")), COMBINATION, "bands"),
        (put, metric("Threshold", Value::Null), MISSING, "Threshold"),
        (put, metric("ThresholdMetricId", json!("a")), COMBINATION, "ThresholdMetricId"),
        (put, metric("EvaluationInterval", json!(60)), COMBINATION, "EvaluationInterval"),
        (put, metric("Tags", json!([{"Key": "aws:a", "Value": ""}])), VALUE, "aws:"),
        (put, metric("Tags", json!([{"Key": "longshore:a", "Value": ""}])), VALUE, "longshore:"),
        (
            put,
            metric("Tags", json!([{"Key": "a", "Value": ""}, {"Key": "a", "Value": "b"}])),
            VALIDATION,
            "twice",
        ),
        (put, queries("Period", json!(60)), COMBINATION, "Period"),
        (
            put,
            queries("Dimensions", json!([{"Name": "a", "Value": "b"}])),
            COMBINATION,
            "Dimensions",
        ),
        (put, query(1, "Id", json!("all")), VALIDATION, "twice"),
        (put, query(1, "Id", json!("All")), VALIDATION, "lower-case"),
        (put, query(1, "Id", json!("a-b")), VALIDATION, "underscores"),
        (put, query(1, "ReturnData", json!(false)), VALIDATION, "Exactly one"),
        (put, query(0, "ReturnData", json!(true)), VALIDATION, "Exactly one"),
        (put, query(0, "Expression", json!("a")), COMBINATION, "MetricStat or Expression"),
        (put, query(0, "MetricStat", Value::Null), COMBINATION, "MetricStat or Expression"),
        (put, query(1, "Period", json!(7)), VALIDATION, "Period"),
        (put, with(of_band(), "ThresholdMetricId", json!("none")), VALIDATION, "none of Metrics"),
        (put, with(of_band(), "Threshold", json!(1)), COMBINATION, "cannot both"),
        (put, promql("EvaluationInterval", Value::Null), MISSING, "EvaluationInterval"),
        (put, promql("EvaluationInterval", json!(45)), VALIDATION, "multiple of 60"),
        (put, promql("Threshold", json!(1)), COMBINATION, "Threshold"),
        (put, promql("TreatMissingData", json!("ignore")), COMBINATION, "TreatMissingData"),
        (
            "SetAlarmState",
            json!({"AlarmName": "none", "StateValue": "OK", "StateReason": ""}),
            "ResourceNotFound",
            "none",
        ),
        (
            "SetAlarmState",
            json!({"AlarmName": "errors", "StateValue": "OK", "StateReason": "",
                "StateReasonData": "{a"}),
            "InvalidFormatFault",
            "not JSON",
        ),
        ("DeleteAlarms", json!({"AlarmNames": []}), VALIDATION, "AlarmNames"),
        ("DeleteAlarms", json!({"AlarmNames": ["none"]}), "ResourceNotFound", "none"),
        (
            "DescribeAlarms",
            json!({"AlarmNames": ["a"], "AlarmNamePrefix": "a"}),
            COMBINATION,
            "AlarmNamePrefix",
        ),
        ("DescribeAlarms", json!({"ChildrenOfAlarmName": "a"}), VALUE, "composite"),
        ("DescribeAlarms", json!({"ParentsOfAlarmName": "a"}), VALUE, "composite"),
        ("DescribeAlarms", json!({"NextToken": "?"}), "InvalidNextToken", "token"),
    ];
    let case = |(operation, input, code, names): (&str, Value, &'static str, &str)| {
        let codes: &[&str] = Box::leak(Box::new([code]));
        let (operation, names) = (operation.to_owned(), names.to_owned());
        Case { operation, input, codes, names, in_forms: true }
    };
    table.into_iter().map(case).collect()
}
