//! An alarm as DescribeAlarms shows it.

use longshore_common::arn::Identity;
use longshore_core::model::alarm::{
    Alarm, Bound, Dimension, Metric, MetricQuery, QuerySource, Rule, Statistic, Watched,
};

use crate::edge::protocol::tree::Tree;

pub(super) fn alarm(alarm: &Alarm, identity: &Identity) -> Tree {
    let none = || Tree::List(Vec::new());
    let tree = Tree::object()
        .with("AlarmName", alarm.name.as_str())
        .with("AlarmArn", identity.alarm(alarm.name.as_str()))
        .with_some("AlarmDescription", alarm.definition.description.as_ref())
        .with("AlarmConfigurationUpdatedTimestamp", alarm.configuration_updated_at)
        .with("ActionsEnabled", alarm.definition.actions_enabled)
        .with("OKActions", none())
        .with("AlarmActions", none())
        .with("InsufficientDataActions", none())
        .with("StateValue", alarm.value.as_str())
        .with("StateReason", &alarm.reason)
        .with_some("StateReasonData", alarm.reason_data.as_ref())
        .with("StateUpdatedTimestamp", alarm.state_updated_at);
    let tree = match &alarm.definition.watched {
        Watched::Metric { metric, statistic, period_s, unit, rule } => {
            let tree = with_metric(tree, metric);
            let tree = match statistic {
                Statistic::Plain(statistic) => tree.with("Statistic", Tree::word(statistic)),
                Statistic::Extended(statistic) => tree.with("ExtendedStatistic", statistic),
            };
            let tree = tree.with("Period", *period_s).with_some("Unit", unit.map(Tree::word));
            with_rule(tree, rule)
        }
        Watched::Queries { queries, rule } => {
            let queries = queries.iter().map(query).collect();
            with_rule(tree, rule).with("Metrics", Tree::List(queries))
        }
        Watched::PromQl { query, pending_s, recovery_s, interval_s } => {
            let criteria = Tree::object()
                .with("Query", query)
                .with_some("PendingPeriod", *pending_s)
                .with_some("RecoveryPeriod", *recovery_s);
            tree.with("EvaluationCriteria", Tree::object().with("PromQLCriteria", criteria))
                .with("EvaluationInterval", *interval_s)
        }
    };
    tree.with("StateTransitionedTimestamp", alarm.state_updated_at)
}

fn with_rule(tree: Tree, rule: &Rule) -> Tree {
    let tree = tree
        .with("EvaluationPeriods", rule.evaluation_periods)
        .with_some("DatapointsToAlarm", rule.datapoints_to_alarm);
    let tree = match &rule.bound {
        Bound::Threshold(threshold) => tree.with("Threshold", *threshold),
        Bound::Band(id) => tree.with("ThresholdMetricId", id),
    };
    tree.with("ComparisonOperator", Tree::word(rule.comparison))
        .with_some("TreatMissingData", rule.missing_data.map(Tree::word))
        .with_some("EvaluateLowSampleCountPercentile", rule.low_samples.map(Tree::word))
}

fn with_metric(tree: Tree, metric: &Metric) -> Tree {
    let dimension = |Dimension { name, value }: &Dimension| {
        Tree::object().with("Name", name).with("Value", value)
    };
    tree.with_some("MetricName", metric.name.as_ref())
        .with_some("Namespace", metric.namespace.as_ref())
        .with("Dimensions", Tree::List(metric.dimensions.iter().map(dimension).collect()))
}

fn query(query: &MetricQuery) -> Tree {
    let tree = Tree::object().with("Id", &query.id);
    let tree = match &query.source {
        QuerySource::Expression(expression) => tree.with("Expression", expression),
        QuerySource::Stat { metric, period_s, stat, unit } => {
            let stat = Tree::object()
                .with("Metric", with_metric(Tree::object(), metric))
                .with("Period", *period_s)
                .with("Stat", stat)
                .with_some("Unit", unit.map(Tree::word));
            tree.with("MetricStat", stat)
        }
    };
    tree.with_some("Label", query.label.as_ref())
        .with_some("ReturnData", query.return_data)
        .with_some("Period", query.period_s)
        .with_some("AccountId", query.account.as_ref())
}
