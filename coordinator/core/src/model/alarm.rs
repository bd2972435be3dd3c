//! What an alarm is: the register's words, shared by commands, events and the state.
//!
//! An alarm's definition is kept as it was given and shown again; no metric is ever evaluated
//! here. Everything in it was checked where it entered.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::tags::Tags;

/// Maximum length of an alarm's name in characters (CloudWatch's limit of `AlarmName`).
pub const ALARM_NAME_CHARS_MAX: usize = 255;
/// Maximum number of alarms in the register (CloudWatch's quota of metric alarms in a region).
pub const ALARMS_MAX: usize = 5000;

/// 1 to 255 characters, none of them a control character. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlarmName(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an alarm's name has 1 to {ALARM_NAME_CHARS_MAX} characters, and no control characters")]
pub struct NotAnAlarmName;

/// An alarm's `StateValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmValue {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "ALARM")]
    Alarm,
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

/// What PutMetricAlarm says of an alarm, but for its name and tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmDefinition {
    pub description: Option<String>,
    pub actions_enabled: bool,
    pub watched: Watched,
}

/// What the alarm would watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Watched {
    Metric { metric: Metric, statistic: Statistic, period_s: u32, unit: Option<Unit>, rule: Rule },
    Queries { queries: Vec<MetricQuery>, rule: Rule },
    PromQl { query: String, pending_s: Option<u32>, recovery_s: Option<u32>, interval_s: u32 },
}

/// When watched data points would mean ALARM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub evaluation_periods: u32,
    pub datapoints_to_alarm: Option<u32>,
    pub comparison: Comparison,
    pub bound: Bound,
    pub missing_data: Option<MissingData>,
    pub low_samples: Option<LowSamples>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    Threshold(f64),
    /// The id of the query that is an anomaly detection band.
    Band(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub dimensions: Vec<Dimension>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    pub id: String,
    pub source: QuerySource,
    pub label: Option<String>,
    pub return_data: Option<bool>,
    pub period_s: Option<u32>,
    pub account: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum QuerySource {
    Stat { metric: Metric, period_s: u32, stat: String, unit: Option<Unit> },
    Expression(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statistic {
    Plain(PlainStatistic),
    /// `p90`, `TM(10%:90%)` and the like, as given.
    Extended(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlainStatistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    GreaterThanOrEqualToThreshold,
    GreaterThanThreshold,
    LessThanThreshold,
    LessThanOrEqualToThreshold,
    LessThanLowerOrGreaterThanUpperThreshold,
    LessThanLowerThreshold,
    GreaterThanUpperThreshold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MissingData {
    Breaching,
    NotBreaching,
    Ignore,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LowSamples {
    Evaluate,
    Ignore,
}

/// CloudWatch's `StandardUnit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    Seconds,
    Microseconds,
    Milliseconds,
    Bytes,
    Kilobytes,
    Megabytes,
    Gigabytes,
    Terabytes,
    Bits,
    Kilobits,
    Megabits,
    Gigabits,
    Terabits,
    Percent,
    Count,
    #[serde(rename = "Bytes/Second")]
    BytesPerSecond,
    #[serde(rename = "Kilobytes/Second")]
    KilobytesPerSecond,
    #[serde(rename = "Megabytes/Second")]
    MegabytesPerSecond,
    #[serde(rename = "Gigabytes/Second")]
    GigabytesPerSecond,
    #[serde(rename = "Terabytes/Second")]
    TerabytesPerSecond,
    #[serde(rename = "Bits/Second")]
    BitsPerSecond,
    #[serde(rename = "Kilobits/Second")]
    KilobitsPerSecond,
    #[serde(rename = "Megabits/Second")]
    MegabitsPerSecond,
    #[serde(rename = "Gigabits/Second")]
    GigabitsPerSecond,
    #[serde(rename = "Terabits/Second")]
    TerabitsPerSecond,
    #[serde(rename = "Count/Second")]
    CountPerSecond,
    None,
}

/// Command: makes an alarm, or gives one a new definition.
#[derive(Clone, Debug)]
pub struct PutMetricAlarm {
    pub name: AlarmName,
    pub definition: AlarmDefinition,
    /// Tags of a new alarm; an existing alarm keeps its own.
    pub tags: Tags,
}

/// Command: somebody who watches says how things are.
#[derive(Clone, Debug)]
pub struct SetAlarmState {
    pub name: AlarmName,
    pub value: AlarmValue,
    pub reason: String,
    /// The reason as JSON, as given.
    pub reason_data: Option<String>,
}

/// Event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmPut {
    pub name: AlarmName,
    pub definition: AlarmDefinition,
    /// Absent when the alarm was there already: its state and tags stay.
    pub new: Option<NewAlarm>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAlarm {
    pub value: AlarmValue,
    pub reason: String,
    pub tags: Tags,
}

/// Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStateSet {
    pub name: AlarmName,
    pub value: AlarmValue,
    pub reason: String,
    pub reason_data: Option<String>,
    pub at: Timestamp,
}

// === impl AlarmName ===

impl AlarmName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AlarmName {
    type Err = NotAnAlarmName;

    fn from_str(text: &str) -> Result<Self, NotAnAlarmName> {
        // No more bytes are looked at than the longest name can have.
        let fits = text.len() <= ALARM_NAME_CHARS_MAX * 4
            && (1..=ALARM_NAME_CHARS_MAX).contains(&text.chars().count());
        if !fits || text.chars().any(char::is_control) {
            return Err(NotAnAlarmName);
        }
        Ok(AlarmName(text.into()))
    }
}

impl TryFrom<String> for AlarmName {
    type Error = NotAnAlarmName;

    fn try_from(text: String) -> Result<Self, NotAnAlarmName> {
        text.parse()
    }
}

impl From<AlarmName> for String {
    fn from(name: AlarmName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for AlarmName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AlarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl AlarmValue ===

impl AlarmValue {
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmValue::Ok => "OK",
            AlarmValue::Alarm => "ALARM",
            AlarmValue::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl fmt::Display for AlarmValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub name: AlarmName,
    pub definition: AlarmDefinition,
    pub value: AlarmValue,
    pub reason: String,
    /// The reason as JSON, as given.
    pub reason_data: Option<String>,
    /// When `value` last became another one.
    pub state_updated_at: Timestamp,
    pub configuration_updated_at: Timestamp,
    pub tags: Tags,
}
