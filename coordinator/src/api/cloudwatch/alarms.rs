//! CloudWatch's alarms, as a register: PutMetricAlarm, SetAlarmState, DescribeAlarms, DeleteAlarms, and
//! their tags.
//!
//! ECS's deployments look here for the alarms that they name. Nothing evaluates a metric; the state
//! is what SetAlarmState and Alertmanager's webhook say.

mod fault;
mod input;
pub(super) mod tags;
mod view;
#[cfg(test)]
mod tests;

use std::ops::Bound;

use longshore_common::arn::Identity;
use longshore_core::{
    Command,
    command::AlarmCommand,
    model::alarm::{Alarm, AlarmName, AlarmValue, SetAlarmState},
    state::State,
};
use serde::Deserialize;

use self::fault::{alarm_name, check_chars, fault, invalid};
use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode, MonitoringFault},
    page::Page,
    protocol::tree::Tree,
};

/// Maximum number of names in one request (CloudWatch's limit).
const NAMES_MAX: usize = 100;
/// Maximum size of a page (CloudWatch's limit).
const PAGE_MAX: u32 = 100;
/// Default size of a page (CloudWatch's).
const PAGE_DEFAULT: u32 = 50;
/// Maximum length of a state's reason in characters (CloudWatch's limit).
pub(crate) const STATE_REASON_CHARS_MAX: usize = 1023;
/// Maximum length of a state's reason as JSON in characters (CloudWatch's limit).
const STATE_REASON_DATA_CHARS_MAX: usize = 4000;
/// Maximum length of an action's prefix in characters (CloudWatch's limit).
const ACTION_PREFIX_CHARS_MAX: usize = 1024;
/// Maximum length of the prefix of alarms' names in characters (CloudWatch's limit).
const ALARM_NAME_PREFIX_CHARS_MAX: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAlarmStateInput {
    alarm_name: String,
    state_value: AlarmValue,
    state_reason: String,
    state_reason_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteAlarmsInput {
    alarm_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeAlarmsInput {
    #[serde(default)]
    alarm_names: Vec<String>,
    alarm_name_prefix: Option<String>,
    #[serde(default)]
    alarm_types: Vec<AlarmType>,
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    state_value: Option<AlarmValue>,
    action_prefix: Option<String>,
    max_records: Option<u32>,
    next_token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum AlarmType {
    CompositeAlarm,
    MetricAlarm,
}

pub(super) async fn put(api: &Api, input: input::PutMetricAlarmInput) -> Result<Tree, ApiError> {
    let put = Box::new(input.into_command()?);
    api.submit(Command::Alarm(AlarmCommand::PutMetricAlarm(put)), |_, _| ()).await?;
    Ok(Tree::object())
}

pub(super) async fn set_state(api: &Api, input: SetAlarmStateInput) -> Result<Tree, ApiError> {
    check_chars("StateReason", &input.state_reason, 0, STATE_REASON_CHARS_MAX)?;
    let reason_data = input.state_reason_data.filter(|data| !data.is_empty());
    if let Some(data) = &reason_data {
        check_chars("StateReasonData", data, 0, STATE_REASON_DATA_CHARS_MAX)?;
        if serde_json::from_str::<serde::de::IgnoredAny>(data).is_err() {
            return Err(fault(MonitoringFault::InvalidFormat, "StateReasonData is not JSON."));
        }
    }
    let set = SetAlarmState {
        name: alarm_name("AlarmName", &input.alarm_name)?,
        value: input.state_value,
        reason: input.state_reason,
        reason_data,
    };
    api.submit(Command::Alarm(AlarmCommand::SetAlarmState(set)), |_, _| ()).await?;
    Ok(Tree::object())
}

pub(super) async fn delete(api: &Api, input: DeleteAlarmsInput) -> Result<Tree, ApiError> {
    if input.alarm_names.is_empty() {
        return Err(invalid("AlarmNames is empty; name at least one alarm."));
    }
    let names = alarm_names(&input.alarm_names)?;
    api.submit(Command::Alarm(AlarmCommand::DeleteAlarms { names }), |_, _| ()).await?;
    Ok(Tree::object())
}

pub(super) async fn describe(api: &Api, input: DescribeAlarmsInput) -> Result<Tree, ApiError> {
    let wanted = Wanted::parse(&input)?;
    let size = input.max_records.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&size) {
        return Err(invalid(format!("MaxRecords is {size}; it must be between 1 and {PAGE_MAX}.")));
    }
    let page = Page::parse(&api.page_scope, Some(size.into()), input.next_token.as_deref());
    let page = page.map_err(|refusal| ApiError {
        code: ErrorCode::Monitoring(MonitoringFault::InvalidNextToken),
        ..refusal
    })?;
    let (alarms, next_token) = api.read(|state| wanted.page(state, &page, &api.identity)).await?;
    let shown = alarms.into_iter().map(|(_, view)| view).collect();
    Ok(Tree::object()
        .with("CompositeAlarms", Tree::List(Vec::new()))
        .with("MetricAlarms", Tree::List(shown))
        .with_some("NextToken", next_token))
}

/// Which alarms a DescribeAlarms asks for.
struct Wanted {
    names: Vec<AlarmName>,
    prefix: String,
    value: Option<AlarmValue>,
    /// True when the call asks for what no alarm of ours is or has.
    none: bool,
}

impl Wanted {
    fn parse(input: &DescribeAlarmsInput) -> Result<Self, ApiError> {
        let names = alarm_names(&input.alarm_names)?;
        let relatives = [
            ("ChildrenOfAlarmName", &input.children_of_alarm_name),
            ("ParentsOfAlarmName", &input.parents_of_alarm_name),
        ];
        if let Some((member, Some(given))) = relatives.iter().find(|(_, given)| given.is_some()) {
            alarm_name(member, given)?;
            return Err(fault(
                MonitoringFault::InvalidParameterValue,
                format!("{member} asks for composite alarms, which Longshore does not have."),
            ));
        }
        if let Some(prefix) = &input.alarm_name_prefix {
            check_chars("AlarmNamePrefix", prefix, 1, ALARM_NAME_PREFIX_CHARS_MAX)?;
            if !names.is_empty() {
                return Err(fault(
                    MonitoringFault::InvalidParameterCombination,
                    "AlarmNames and AlarmNamePrefix cannot both be given.",
                ));
            }
        }
        if let Some(prefix) = &input.action_prefix {
            check_chars("ActionPrefix", prefix, 1, ACTION_PREFIX_CHARS_MAX)?;
        }
        let types = &input.alarm_types;
        Ok(Wanted {
            names,
            prefix: input.alarm_name_prefix.clone().unwrap_or_default(),
            value: input.state_value,
            none: input.action_prefix.is_some()
                || (!types.is_empty() && !types.contains(&AlarmType::MetricAlarm)),
        })
    }

    /// Names with views, in the order of the names.
    fn page(
        &self,
        state: &State,
        page: &Page,
        identity: &Identity,
    ) -> (Vec<(AlarmName, Tree)>, Option<String>) {
        let after = page.after.as_deref();
        let is_wanted =
            |alarm: &&Alarm| !self.none && self.value.is_none_or(|value| value == alarm.value);
        let render = |alarm: &Alarm| (alarm.name.clone(), view::alarm(alarm, identity));
        let name = |(name, _): &(AlarmName, Tree)| name.to_string();
        if self.names.is_empty() {
            let prefix = self.prefix.as_str();
            let first = match after {
                Some(after) if after >= prefix => Bound::Excluded(after),
                _ => Bound::Included(prefix),
            };
            let found = state.alarms_from(first);
            let found = found.take_while(|alarm| alarm.name.as_str().starts_with(prefix));
            return page.take(found.filter(is_wanted).map(render), name);
        }
        let mut names: Vec<&AlarmName> = self.names.iter().collect();
        names.sort();
        names.dedup();
        let rest = names.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
        let found = rest.filter_map(|name| state.alarm(name.as_str()));
        page.take(found.filter(is_wanted).map(render), name)
    }
}

fn alarm_names(given: &[String]) -> Result<Vec<AlarmName>, ApiError> {
    if given.len() > NAMES_MAX {
        return Err(invalid(format!(
            "AlarmNames has {} entries; it may have {NAMES_MAX}.",
            given.len()
        )));
    }
    given.iter().map(|name| alarm_name("AlarmNames", name)).collect()
}
