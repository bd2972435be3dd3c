//! Alarms: a register of names with a state that others set.

use std::ops::Bound;

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::AlarmEvent,
    model::alarm::{Alarm, AlarmName, AlarmPut, AlarmStateSet, AlarmValue},
    state::{State, changes::LogTo},
};

impl State {
    pub(super) fn apply_alarm(&mut self, event: &AlarmEvent) {
        match event {
            AlarmEvent::AlarmPut(put) => self.alarm_put(put),
            AlarmEvent::AlarmStateSet(set) => self.alarm_state_set(set),
            AlarmEvent::AlarmsDeleted { names } => self.alarms_deleted(names),
        }
    }

    pub fn alarm(&self, name: &str) -> Option<&Alarm> {
        self.alarms.get(name)
    }

    pub fn alarms_len(&self) -> usize {
        self.alarms.len()
    }

    /// All alarms from this name on, in the order of their names.
    pub fn alarms_from(&self, first: Bound<&str>) -> impl Iterator<Item = &Alarm> + use<'_> {
        self.alarms.range::<str, _>((first, Bound::Unbounded)).map(|(_, alarm)| alarm)
    }

    pub(super) fn alarm_put(&mut self, put: &AlarmPut) {
        let AlarmPut { name, definition, new, at } = put;
        self.touch(EntityKey::Alarm(name.clone()));
        match new {
            Some(new) => {
                self.log(LogTo::nothing(), format_args!("alarm {name} made, {}", new.value));
                let alarm = Alarm {
                    name: name.clone(),
                    definition: definition.clone(),
                    value: new.value,
                    reason: new.reason.clone(),
                    reason_data: None,
                    state_updated_at: *at,
                    configuration_updated_at: *at,
                    tags: new.tags.clone(),
                };
                self.alarms.insert(name.clone(), alarm);
            }
            None => {
                self.log(LogTo::nothing(), format_args!("alarm {name} defined anew"));
                if let Some(alarm) = self.alarms.get_mut(name) {
                    alarm.definition = definition.clone();
                    alarm.configuration_updated_at = *at;
                }
            }
        }
    }

    pub(super) fn alarm_state_set(&mut self, set: &AlarmStateSet) {
        let AlarmStateSet { name, value, reason, reason_data, at } = set;
        self.touch(EntityKey::Alarm(name.clone()));
        let Some(alarm) = self.alarms.get_mut(name) else { return };
        alarm.reason = reason.clone();
        alarm.reason_data = reason_data.clone();
        if alarm.value != *value {
            let before = std::mem::replace(&mut alarm.value, *value);
            alarm.state_updated_at = *at;
            self.log(LogTo::nothing(), format_args!("alarm {name} is {value}, was {before}"));
            if *value == AlarmValue::Alarm {
                self.deployments_hear_of(name.as_str());
            }
        }
    }

    pub(super) fn alarms_deleted(&mut self, names: &[AlarmName]) {
        for name in names {
            self.touch(EntityKey::Alarm(name.clone()));
            self.alarms.remove(name);
            self.log(LogTo::nothing(), format_args!("alarm {name} deleted"));
        }
    }
}

impl Entity for kind::Alarm {
    fn keys(state: &State) -> Vec<AlarmName> {
        state.alarms.keys().cloned().collect()
    }

    fn row(state: &State, name: &AlarmName) -> Option<Alarm> {
        state.alarm(name.as_str()).cloned()
    }

    fn restore(state: &mut State, row: Alarm) {
        state.alarms.insert(row.name.clone(), row);
    }
}
