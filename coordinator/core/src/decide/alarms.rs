//! PutMetricAlarm, SetAlarmState, DeleteAlarms.

use longshore_common::clock::Timestamp;

use super::Decision;
use crate::{
    command::AlarmCommand,
    event::{AlarmEvent, Event},
    model::alarm::{
        ALARMS_MAX, AlarmName, AlarmPut, AlarmStateSet, AlarmValue, NewAlarm, PutMetricAlarm,
        SetAlarmState,
    },
    rejection::{AlarmRejection, Rejection},
    state::State,
};

/// What a new alarm says of its state, so that nobody waits for an evaluation.
const INITIAL_REASON: &str = "Unchecked: Initial alarm creation. Longshore keeps no metrics and \
                              does not evaluate alarms: the state is what SetAlarmState or \
                              Alertmanager's webhook says.";

pub(super) fn decide_alarm(
    state: &State,
    command: &AlarmCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        AlarmCommand::PutMetricAlarm(asked) => put(state, asked, at),
        AlarmCommand::SetAlarmState(set) => set_state(state, set, at),
        AlarmCommand::DeleteAlarms { names } => delete(state, names),
    }
}

/// A new definition leaves the state as it is, and the tags: CloudWatch's rule.
fn put(state: &State, put: &PutMetricAlarm, at: Timestamp) -> Result<Decision, Rejection> {
    let PutMetricAlarm { name, definition, tags } = put;
    let new = match state.alarm(name.as_str()) {
        Some(_) => None,
        None if state.alarms_len() >= ALARMS_MAX => {
            return Err(AlarmRejection::TooManyAlarms { limit: ALARMS_MAX }.into());
        }
        None => Some(NewAlarm {
            value: AlarmValue::InsufficientData,
            reason: INITIAL_REASON.to_owned(),
            tags: tags.clone(),
        }),
    };
    let put = AlarmPut { name: name.clone(), definition: definition.clone(), new, at };
    Ok(Decision::of(vec![Event::Alarm(AlarmEvent::AlarmPut(Box::new(put)))]))
}

fn set_state(state: &State, set: &SetAlarmState, at: Timestamp) -> Result<Decision, Rejection> {
    let SetAlarmState { name, value, reason, reason_data } = set;
    let found = state.alarm(name.as_str());
    let alarm = found.ok_or_else(|| AlarmRejection::AlarmsNotFound(vec![name.clone()]))?;
    if (alarm.value, &alarm.reason, &alarm.reason_data) == (*value, reason, reason_data) {
        return Ok(Decision::default());
    }
    let set = AlarmStateSet {
        name: name.clone(),
        value: *value,
        reason: reason.clone(),
        reason_data: reason_data.clone(),
        at,
    };
    Ok(Decision::of(vec![Event::Alarm(AlarmEvent::AlarmStateSet(Box::new(set)))]))
}

/// Names that are unknown do not keep the known ones: CloudWatch's rule.
fn delete(state: &State, names: &[AlarmName]) -> Result<Decision, Rejection> {
    let mut known: Vec<AlarmName> = names.to_vec();
    known.retain(|name| state.alarm(name.as_str()).is_some());
    known.sort();
    known.dedup();
    if known.is_empty() {
        return Err(AlarmRejection::AlarmsNotFound(names.to_vec()).into());
    }
    Ok(Decision::of(vec![Event::Alarm(AlarmEvent::AlarmsDeleted { names: known })]))
}
