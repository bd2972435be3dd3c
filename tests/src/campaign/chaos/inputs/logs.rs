//! CloudWatch's alarms and CloudWatch Logs.

use serde_json::{Value, json};

use super::generator::{Draw, Generator, given};

const fn alarms(
    operation: &'static str,
    weight: usize,
    input: fn(&mut Draw<'_>) -> Value,
) -> Generator {
    Generator { service: "monitoring", operation, weight, input }
}

const fn logs(
    operation: &'static str,
    weight: usize,
    input: fn(&mut Draw<'_>) -> Value,
) -> Generator {
    Generator { service: "logs", operation, weight, input }
}

pub(super) fn generators() -> Vec<Generator> {
    vec![
        alarms("PutMetricAlarm", 3, |draw| {
            json!({
                "AlarmName": alarm_name(draw), "MetricName": "Errors", "Namespace": "App",
                "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
                "Threshold": 1.0 + draw.below(3) as f64,
                "ComparisonOperator": "GreaterThanThreshold"})
        }),
        alarms("SetAlarmState", 4, |draw| {
            let value = draw.pick(&["OK", "ALARM", "INSUFFICIENT_DATA"]);
            json!({"AlarmName": alarm_name(draw), "StateValue": value, "StateReason": "a test"})
        }),
        alarms("DescribeAlarms", 2, |draw| {
            let some = draw.one_in(2).then(|| [alarm_name(draw)]);
            given(json!({"AlarmNames": some}))
        }),
        alarms("DeleteAlarms", 2, |draw| json!({"AlarmNames": [alarm_name(draw)]})),
        alarms("TagResource", 1, |draw| {
            let tags = json!([{"Key": "team", "Value": "web"}]);
            json!({"ResourceARN": alarm_arn(draw), "Tags": tags})
        }),
        alarms(
            "UntagResource",
            1,
            |draw| json!({"ResourceARN": alarm_arn(draw), "TagKeys": ["team"]}),
        ),
        alarms("ListTagsForResource", 1, |draw| json!({"ResourceARN": alarm_arn(draw)})),
        logs("CreateLogGroup", 3, |draw| json!({"logGroupName": group_name(draw)})),
        logs("DeleteLogGroup", 2, |draw| json!({"logGroupName": group_name(draw)})),
        logs("DescribeLogGroups", 1, |draw| draw.paged_logs(json!({}))),
        logs("PutRetentionPolicy", 1, |draw| {
            let days = [1, 7, 30][draw.below(3)];
            json!({"logGroupName": group_name(draw), "retentionInDays": days})
        }),
        logs("DeleteRetentionPolicy", 1, |draw| json!({"logGroupName": group_name(draw)})),
        logs(
            "TagLogGroup",
            1,
            |draw| json!({"logGroupName": group_name(draw), "tags": {"team": "web"}}),
        ),
        logs(
            "UntagLogGroup",
            1,
            |draw| json!({"logGroupName": group_name(draw), "tags": ["team"]}),
        ),
        logs("ListTagsLogGroup", 1, |draw| json!({"logGroupName": group_name(draw)})),
        logs(
            "TagResource",
            1,
            |draw| json!({"resourceArn": group_arn(draw), "tags": {"stage": "test"}}),
        ),
        logs(
            "UntagResource",
            1,
            |draw| json!({"resourceArn": group_arn(draw), "tagKeys": ["stage"]}),
        ),
        logs("ListTagsForResource", 1, |draw| json!({"resourceArn": group_arn(draw)})),
        logs(
            "CreateLogStream",
            1,
            |draw| json!({"logGroupName": group_name(draw), "logStreamName": stream_name(draw)}),
        ),
        logs("DescribeLogStreams", 1, |draw| json!({"logGroupName": group_name(draw)})),
        logs("PutLogEvents", 1, |draw| {
            let event = json!({"timestamp": draw.now.0, "message": "hello"});
            json!({"logGroupName": group_name(draw), "logStreamName": stream_name(draw),
                "logEvents": [event]})
        }),
        logs(
            "GetLogEvents",
            1,
            |draw| json!({"logGroupName": group_name(draw), "logStreamName": stream_name(draw)}),
        ),
        logs("FilterLogEvents", 1, |draw| {
            let pattern = draw.one_in(2).then_some("hello");
            given(json!({"logGroupName": group_name(draw), "filterPattern": pattern}))
        }),
        logs("StartLiveTail", 1, |draw| json!({"logGroupIdentifiers": [group_arn(draw)]})),
    ]
}

impl Draw<'_> {
    fn paged_logs(&mut self, mut input: Value) -> Value {
        if self.one_in(2) {
            input["limit"] = json!(1 + self.below(3));
        }
        if self.one_in(4) {
            let token = self.known.page("DescribeLogGroups", self.chance);
            token.into_iter().for_each(|token| input["nextToken"] = json!(token));
        }
        input
    }
}

pub(super) fn alarm_name(draw: &mut Draw<'_>) -> &'static str {
    draw.pick(&["errors", "latency", "errors"])
}

fn alarm_arn(draw: &mut Draw<'_>) -> String {
    format!("arn:aws:cloudwatch:us-east-1:000000000000:alarm:{}", alarm_name(draw))
}

fn group_name(draw: &mut Draw<'_>) -> &'static str {
    draw.pick(&["/app/web", "/app/api", "/app/jobs"])
}

fn group_arn(draw: &mut Draw<'_>) -> String {
    format!("arn:aws:logs:us-east-1:000000000000:log-group:{}", group_name(draw))
}

fn stream_name(draw: &mut Draw<'_>) -> &'static str {
    draw.pick(&["one", "two"])
}
