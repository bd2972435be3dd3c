//! PutMetricAlarm's input: typed members, and what they may say together.

use std::collections::BTreeSet;

use longshore_core::model::{
    alarm::{
        AlarmDefinition, Bound, Comparison, Dimension, LowSamples, Metric, MetricQuery,
        MissingData, PlainStatistic, PutMetricAlarm, QuerySource, Rule, Statistic, Unit, Watched,
    },
    tags::Tags,
};
use serde::Deserialize;

use super::fault::{alarm_name, check_chars, fault, invalid};
use crate::{
    api::ecs::tags::{KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX},
    edge::error::{ApiError, MonitoringFault},
};

// Maximum length of a description in characters (CloudWatch's limit).
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Maximum length of a namespace in characters (CloudWatch's limit).
const NAMESPACE_CHARS_MAX: usize = 255;
/// Maximum length of a metric's name in characters (CloudWatch's limit).
const METRIC_NAME_CHARS_MAX: usize = 255;
/// Maximum number of dimensions of one metric (CloudWatch's limit).
const DIMENSIONS_MAX: usize = 30;
/// Maximum length of a dimension's name in characters (CloudWatch's limit).
const DIMENSION_NAME_CHARS_MAX: usize = 255;
/// Maximum length of a dimension's value in characters (CloudWatch's limit).
const DIMENSION_VALUE_CHARS_MAX: usize = 1024;
/// Maximum number of queries of one alarm (CloudWatch's limit).
const QUERIES_MAX: usize = 20;
/// Maximum length of a query's id in characters (CloudWatch's limit).
const QUERY_ID_CHARS_MAX: usize = 255;
/// Maximum length of an expression in characters (CloudWatch's limit).
const EXPRESSION_CHARS_MAX: usize = 2048;
/// Maximum length of an account's id in characters (CloudWatch's limit).
const ACCOUNT_ID_CHARS_MAX: usize = 255;
/// Maximum length of a PromQL query in characters (CloudWatch's limit).
const PROMQL_CHARS_MAX: usize = 10_000;
/// Maximum period of a PromQL alarm in seconds (CloudWatch's limit).
const PROMQL_PERIOD_S_MAX: u32 = 86_400;
/// Minimum and maximum evaluation interval in seconds (CloudWatch's limits).
const INTERVAL_S: std::ops::RangeInclusive<u32> = 10..=3600;
/// Periods below a minute that exist, in seconds (CloudWatch's).
const PERIODS_S: [u32; 3] = [10, 20, 30];
/// Periods below a minute that exist in queries, in seconds (CloudWatch's).
const PERIODS_OF_QUERIES_S: [u32; 5] = [1, 5, 10, 20, 30];
/// Seconds in an hour.
const HOUR_S: u32 = 3600;
/// Maximum time that an alarm with periods below an hour may look back, in seconds (CloudWatch's
/// limit).
const LOOK_BACK_S_MAX: u64 = 86_400;
/// Maximum time that any other alarm may look back, in seconds (CloudWatch's limit).
const LONG_LOOK_BACK_S_MAX: u64 = 604_800;
/// Maximum length of a statistic in characters (ours, so that a definition stays small; CloudWatch
/// gives none).
const STATISTIC_CHARS_MAX: usize = 255;
/// Maximum length of a label in characters (ours, so that a definition stays small; CloudWatch
/// gives none).
const LABEL_CHARS_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::cloudwatch) struct PutMetricAlarmInput {
    alarm_name: String,
    alarm_description: Option<String>,
    actions_enabled: Option<bool>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    metric_name: Option<String>,
    namespace: Option<String>,
    statistic: Option<PlainStatistic>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionInput>,
    period: Option<u32>,
    unit: Option<Unit>,
    evaluation_periods: Option<u32>,
    datapoints_to_alarm: Option<u32>,
    threshold: Option<f64>,
    comparison_operator: Option<Comparison>,
    treat_missing_data: Option<MissingData>,
    evaluate_low_sample_count_percentile: Option<LowSamples>,
    #[serde(default)]
    metrics: Vec<MetricQueryInput>,
    #[serde(default)]
    tags: Vec<TagInput>,
    threshold_metric_id: Option<String>,
    evaluation_criteria: Option<EvaluationCriteriaInput>,
    evaluation_interval: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DimensionInput {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricQueryInput {
    id: String,
    metric_stat: Option<MetricStatInput>,
    expression: Option<String>,
    label: Option<String>,
    return_data: Option<bool>,
    period: Option<u32>,
    account_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStatInput {
    metric: MetricInput,
    period: u32,
    stat: String,
    unit: Option<Unit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricInput {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::cloudwatch) struct TagInput {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct EvaluationCriteriaInput {
    #[serde(rename = "PromQLCriteria")]
    promql: PromQlInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PromQlInput {
    query: String,
    pending_period: Option<u32>,
    recovery_period: Option<u32>,
}

impl PutMetricAlarmInput {
    pub(super) fn into_command(mut self) -> Result<PutMetricAlarm, ApiError> {
        let name = alarm_name("AlarmName", &self.alarm_name)?;
        self.check_actions()?;
        if let Some(description) = &self.alarm_description {
            check_chars("AlarmDescription", description, 0, DESCRIPTION_CHARS_MAX)?;
        }
        let tags = tags(std::mem::take(&mut self.tags))?;
        let description = self.alarm_description.take();
        let actions_enabled = self.actions_enabled.unwrap_or(true);
        let definition = AlarmDefinition { description, actions_enabled, watched: self.watched()? };
        Ok(PutMetricAlarm { name, definition, tags })
    }

    fn check_actions(&self) -> Result<(), ApiError> {
        let lists = [
            ("OKActions", &self.ok_actions),
            ("AlarmActions", &self.alarm_actions),
            ("InsufficientDataActions", &self.insufficient_data_actions),
        ];
        match lists.iter().find(|(_, actions)| !actions.is_empty()) {
            None => Ok(()),
            Some((member, _)) => Err(fault(
                MonitoringFault::InvalidParameterValue,
                format!(
                    "{member} must be empty: Longshore performs no actions for alarms. ECS \
                     deployments that name the alarm look at its state themselves; let \
                     Alertmanager notify others."
                ),
            )),
        }
    }

    fn watched(self) -> Result<Watched, ApiError> {
        let kinds = [
            ("MetricName", self.metric_name.is_some()),
            ("Metrics", !self.metrics.is_empty()),
            ("EvaluationCriteria", self.evaluation_criteria.is_some()),
        ];
        let given: Vec<&str> =
            kinds.iter().filter(|(_, given)| *given).map(|(member, _)| *member).collect();
        match given[..] {
            ["MetricName"] => self.metric(),
            ["Metrics"] => self.queries(),
            ["EvaluationCriteria"] => self.promql(),
            [] => Err(missing("One of MetricName, Metrics and EvaluationCriteria is required.")),
            [..] => Err(combination(format!("{} cannot all be given.", given.join(" and ")))),
        }
    }

    fn metric(self) -> Result<Watched, ApiError> {
        refuse_beside(
            "MetricName",
            &[
                ("ThresholdMetricId", self.threshold_metric_id.is_some()),
                ("EvaluationInterval", self.evaluation_interval.is_some()),
            ],
        )?;
        let rule = self.rule()?;
        let Some(namespace) = self.namespace else {
            return Err(missing("Namespace is required with MetricName."));
        };
        let statistic = match (self.statistic, self.extended_statistic) {
            (Some(statistic), None) => Statistic::Plain(statistic),
            (None, Some(statistic)) => {
                check_statistic("ExtendedStatistic", &statistic)?;
                Statistic::Extended(statistic)
            }
            (None, None) => {
                return Err(missing("Statistic or ExtendedStatistic is required with MetricName."));
            }
            (Some(_), Some(_)) => {
                return Err(combination("Statistic and ExtendedStatistic cannot both be given."));
            }
        };
        let Some(period_s) = self.period else {
            return Err(missing("Period is required with MetricName."));
        };
        check_period("Period", period_s, &PERIODS_S)?;
        check_look_back(period_s, rule.evaluation_periods)?;
        let metric = metric(Some(namespace), self.metric_name, self.dimensions)?;
        Ok(Watched::Metric { metric, statistic, period_s, unit: self.unit, rule })
    }

    fn queries(self) -> Result<Watched, ApiError> {
        self.refuse_metric_beside("Metrics")?;
        refuse_beside("Metrics", &[("EvaluationInterval", self.evaluation_interval.is_some())])?;
        let rule = self.rule()?;
        if self.metrics.len() > QUERIES_MAX {
            return Err(invalid(format!(
                "Metrics has {} entries; it may have {QUERIES_MAX}.",
                self.metrics.len()
            )));
        }
        let queries = self.metrics.into_iter().map(query).collect::<Result<Vec<_>, _>>()?;
        let mut ids = BTreeSet::new();
        if let Some(twice) = queries.iter().find(|query| !ids.insert(query.id.as_str())) {
            return Err(invalid(format!("The Id {} is in Metrics twice.", twice.id)));
        }
        // What is not said to be returned or not is returned.
        let returned = queries.iter().filter(|query| query.return_data.unwrap_or(true));
        let returned: Vec<&str> = returned.map(|query| query.id.as_str()).collect();
        match &rule.bound {
            Bound::Threshold(_) if returned.len() != 1 => Err(invalid(format!(
                "Exactly one of Metrics must have ReturnData true, but {} have.",
                returned.len()
            ))),
            Bound::Band(id) if !ids.contains(id.as_str()) => Err(invalid(format!(
                "ThresholdMetricId is {id}, which is the Id of none of Metrics."
            ))),
            Bound::Threshold(_) | Bound::Band(_) => Ok(Watched::Queries { queries, rule }),
        }
    }

    fn promql(self) -> Result<Watched, ApiError> {
        self.refuse_metric_beside("EvaluationCriteria")?;
        refuse_beside(
            "EvaluationCriteria",
            &[
                ("Threshold", self.threshold.is_some()),
                ("ComparisonOperator", self.comparison_operator.is_some()),
                ("ThresholdMetricId", self.threshold_metric_id.is_some()),
                ("EvaluationPeriods", self.evaluation_periods.is_some()),
                ("DatapointsToAlarm", self.datapoints_to_alarm.is_some()),
                ("TreatMissingData", self.treat_missing_data.is_some()),
                (
                    "EvaluateLowSampleCountPercentile",
                    self.evaluate_low_sample_count_percentile.is_some(),
                ),
            ],
        )?;
        let Some(EvaluationCriteriaInput { promql }) = self.evaluation_criteria else {
            return Err(missing("EvaluationCriteria is required."));
        };
        let Some(interval_s) = self.evaluation_interval else {
            return Err(missing("EvaluationInterval is required with EvaluationCriteria."));
        };
        if !INTERVAL_S.contains(&interval_s) {
            return Err(invalid(format!(
                "EvaluationInterval is {interval_s}; it must be between {} and {} seconds.",
                INTERVAL_S.start(),
                INTERVAL_S.end()
            )));
        }
        check_period("EvaluationInterval", interval_s, &PERIODS_S)?;
        check_chars("Query", &promql.query, 1, PROMQL_CHARS_MAX)?;
        let periods =
            [("PendingPeriod", promql.pending_period), ("RecoveryPeriod", promql.recovery_period)];
        for (member, seconds) in periods {
            if let Some(seconds) = seconds.filter(|seconds| *seconds > PROMQL_PERIOD_S_MAX) {
                return Err(invalid(format!(
                    "{member} is {seconds}; it must be between 0 and {PROMQL_PERIOD_S_MAX}."
                )));
            }
        }
        Ok(Watched::PromQl {
            query: promql.query,
            pending_s: promql.pending_period,
            recovery_s: promql.recovery_period,
            interval_s,
        })
    }

    fn refuse_metric_beside(&self, kind: &str) -> Result<(), ApiError> {
        refuse_beside(
            kind,
            &[
                ("Namespace", self.namespace.is_some()),
                ("Dimensions", !self.dimensions.is_empty()),
                ("Period", self.period.is_some()),
                ("Unit", self.unit.is_some()),
                ("Statistic", self.statistic.is_some()),
                ("ExtendedStatistic", self.extended_statistic.is_some()),
            ],
        )
    }

    fn rule(&self) -> Result<Rule, ApiError> {
        let Some(evaluation_periods) = self.evaluation_periods else {
            return Err(missing("EvaluationPeriods is required."));
        };
        let Some(comparison) = self.comparison_operator else {
            return Err(missing("ComparisonOperator is required."));
        };
        check_positive("EvaluationPeriods", evaluation_periods)?;
        if let Some(datapoints) = self.datapoints_to_alarm {
            check_positive("DatapointsToAlarm", datapoints)?;
            if datapoints > evaluation_periods {
                return Err(invalid(format!(
                    "DatapointsToAlarm is {datapoints}, more than EvaluationPeriods, which is \
                     {evaluation_periods}."
                )));
            }
        }
        let bound = match (self.threshold, &self.threshold_metric_id) {
            (Some(threshold), None) => Bound::Threshold(threshold),
            (None, Some(id)) => {
                check_chars("ThresholdMetricId", id, 1, QUERY_ID_CHARS_MAX)?;
                Bound::Band(id.clone())
            }
            (None, None) => return Err(missing("Threshold is required.")),
            (Some(_), Some(_)) => {
                return Err(combination("Threshold and ThresholdMetricId cannot both be given."));
            }
        };
        let is_of_bands = match comparison {
            Comparison::LessThanLowerOrGreaterThanUpperThreshold
            | Comparison::LessThanLowerThreshold
            | Comparison::GreaterThanUpperThreshold => true,
            Comparison::GreaterThanOrEqualToThreshold
            | Comparison::GreaterThanThreshold
            | Comparison::LessThanThreshold
            | Comparison::LessThanOrEqualToThreshold => false,
        };
        if is_of_bands != matches!(bound, Bound::Band(_)) {
            return Err(combination(
                "ThresholdMetricId goes with a ComparisonOperator for bands, and Threshold with \
                 one of the others.",
            ));
        }
        Ok(Rule {
            evaluation_periods,
            datapoints_to_alarm: self.datapoints_to_alarm,
            comparison,
            bound,
            missing_data: self.treat_missing_data,
            low_samples: self.evaluate_low_sample_count_percentile,
        })
    }
}

fn query(input: MetricQueryInput) -> Result<MetricQuery, ApiError> {
    check_chars("Id", &input.id, 1, QUERY_ID_CHARS_MAX)?;
    let begins_well = input.id.starts_with(|first: char| first.is_ascii_lowercase());
    if !begins_well || !input.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(invalid(
            "An Id of Metrics begins with a lower-case letter and has letters, digits and \
             underscores.",
        ));
    }
    let texts = [
        ("Label", &input.label, 0, LABEL_CHARS_MAX),
        ("AccountId", &input.account_id, 1, ACCOUNT_ID_CHARS_MAX),
    ];
    for (member, text, min, max) in texts {
        if let Some(text) = text {
            check_chars(member, text, min, max)?;
        }
    }
    if let Some(period_s) = input.period {
        check_period("Period", period_s, &PERIODS_OF_QUERIES_S)?;
    }
    let source = match (input.metric_stat, input.expression) {
        (Some(stat), None) => stat.parse()?,
        (None, Some(expression)) => {
            check_chars("Expression", &expression, 1, EXPRESSION_CHARS_MAX)?;
            QuerySource::Expression(expression)
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(combination(format!(
                "The entry {} of Metrics must have either MetricStat or Expression.",
                input.id
            )));
        }
    };
    Ok(MetricQuery {
        id: input.id,
        source,
        label: input.label,
        return_data: input.return_data,
        period_s: input.period,
        account: input.account_id,
    })
}

impl MetricStatInput {
    fn parse(self) -> Result<QuerySource, ApiError> {
        let MetricStatInput { metric: MetricInput { namespace, metric_name, dimensions }, .. } =
            self;
        let metric = metric(namespace, metric_name, dimensions)?;
        check_period("Period", self.period, &PERIODS_OF_QUERIES_S)?;
        check_statistic("Stat", &self.stat)?;
        Ok(QuerySource::Stat { metric, period_s: self.period, stat: self.stat, unit: self.unit })
    }
}

fn metric(
    namespace: Option<String>,
    name: Option<String>,
    dimensions: Vec<DimensionInput>,
) -> Result<Metric, ApiError> {
    if let Some(name) = &name {
        check_chars("MetricName", name, 1, METRIC_NAME_CHARS_MAX)?;
    }
    if let Some(namespace) = &namespace {
        check_chars("Namespace", namespace, 1, NAMESPACE_CHARS_MAX)?;
        if namespace.starts_with(':') {
            return Err(invalid("Namespace must not begin with a colon."));
        }
    }
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(invalid(format!(
            "Dimensions has {} entries; it may have {DIMENSIONS_MAX}.",
            dimensions.len()
        )));
    }
    let dimension = |DimensionInput { name, value }: DimensionInput| {
        check_chars("Dimensions.Name", &name, 1, DIMENSION_NAME_CHARS_MAX)?;
        check_chars("Dimensions.Value", &value, 1, DIMENSION_VALUE_CHARS_MAX)?;
        Ok(Dimension { name, value })
    };
    let dimensions = dimensions.into_iter().map(dimension).collect::<Result<_, ApiError>>()?;
    Ok(Metric { namespace, name, dimensions })
}

/// A word or a call, of letters, digits and what stands in `TM(10%:90.5%)`.
fn check_statistic(member: &str, given: &str) -> Result<(), ApiError> {
    check_chars(member, given, 1, STATISTIC_CHARS_MAX)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"(:%).".contains(&byte);
    if given.starts_with(|first: char| first.is_ascii_alphabetic()) && given.bytes().all(allowed) {
        return Ok(());
    }
    Err(fault(
        MonitoringFault::InvalidParameterValue,
        format!("{member} is no statistic; write one as p99, IQM or TM(10%:90%)."),
    ))
}

fn check_period(member: &str, seconds: u32, short: &[u32]) -> Result<(), ApiError> {
    if short.contains(&seconds) || (seconds > 0 && seconds.is_multiple_of(60)) {
        return Ok(());
    }
    let short: Vec<String> = short.iter().map(u32::to_string).collect();
    Err(invalid(format!(
        "{member} is {seconds}; it must be {} or a multiple of 60.",
        short.join(", ")
    )))
}

fn check_look_back(period_s: u32, periods: u32) -> Result<(), ApiError> {
    let look_back_s_max = if period_s < HOUR_S { LOOK_BACK_S_MAX } else { LONG_LOOK_BACK_S_MAX };
    let look_back_s = u64::from(period_s) * u64::from(periods);
    if look_back_s <= look_back_s_max {
        return Ok(());
    }
    Err(invalid(format!(
        "Period times EvaluationPeriods is {look_back_s} seconds; with this Period it may be \
         {look_back_s_max}."
    )))
}

fn check_positive(member: &str, value: u32) -> Result<(), ApiError> {
    match value {
        0 => Err(invalid(format!("{member} is 0; it must be 1 or more."))),
        _ => Ok(()),
    }
}

pub(super) fn tags(given: Vec<TagInput>) -> Result<Tags, ApiError> {
    if given.len() > TAGS_MAX {
        return Err(invalid(format!(
            "Tags has {} entries; an alarm has at most {TAGS_MAX}.",
            given.len()
        )));
    }
    let mut tags = Tags::new();
    for TagInput { key, value } in given {
        check_chars("Tags.Key", &key, 1, KEY_CHARS_MAX)?;
        check_chars("Tags.Value", &value, 0, VALUE_CHARS_MAX)?;
        if key.to_ascii_lowercase().starts_with("aws:") || key.starts_with("longshore:") {
            return Err(fault(
                MonitoringFault::InvalidParameterValue,
                format!("The tag key {key} begins with what is reserved: aws: or longshore:."),
            ));
        }
        if tags.insert(key, value).is_some() {
            return Err(invalid("Tags has the same Key twice."));
        }
    }
    Ok(tags)
}

/// Members that a kind of alarm has no use for.
fn refuse_beside(kind: &str, members: &[(&str, bool)]) -> Result<(), ApiError> {
    match members.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((member, _)) => {
            Err(combination(format!("{member} cannot be given together with {kind}.")))
        }
    }
}

fn missing(message: impl Into<String>) -> ApiError {
    fault(MonitoringFault::MissingParameter, message)
}

fn combination(message: impl Into<String>) -> ApiError {
    fault(MonitoringFault::InvalidParameterCombination, message)
}
