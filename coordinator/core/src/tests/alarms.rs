//! Alarms: the table, and what a checkpoint keeps.

use std::ops::Bound as From;

use super::*;
use crate::{
    command::AlarmCommand,
    model::alarm::{
        ALARMS_MAX, AlarmDefinition, AlarmName, AlarmValue, Bound, Comparison, Metric,
        PlainStatistic, PutMetricAlarm, Rule, SetAlarmState, Statistic, Watched,
    },
};

fn definition(threshold: f64) -> AlarmDefinition {
    let metric = Metric {
        namespace: Some("web".to_owned()),
        name: Some("errors".to_owned()),
        dimensions: vec![],
    };
    let rule = Rule {
        evaluation_periods: 1,
        datapoints_to_alarm: None,
        comparison: Comparison::GreaterThanThreshold,
        bound: Bound::Threshold(threshold),
        missing_data: None,
        low_samples: None,
    };
    let statistic = Statistic::Plain(PlainStatistic::Sum);
    let watched = Watched::Metric { metric, statistic, period_s: 60, unit: None, rule };
    AlarmDefinition { description: None, actions_enabled: true, watched }
}

fn put_tagged(name: &str, threshold: f64, tags: &[(&str, &str)]) -> Command {
    Command::Alarm(AlarmCommand::PutMetricAlarm(Box::new(PutMetricAlarm {
        name: name.parse().unwrap(),
        definition: definition(threshold),
        tags: tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    })))
}

fn put(name: &str) -> Command {
    put_tagged(name, 1.0, &[])
}

fn set(name: &str, value: AlarmValue, reason: &str) -> Command {
    Command::Alarm(AlarmCommand::SetAlarmState(SetAlarmState {
        name: name.parse().unwrap(),
        value,
        reason: reason.to_owned(),
        reason_data: None,
    }))
}

fn delete(names: &[&str]) -> Command {
    Command::Alarm(AlarmCommand::DeleteAlarms {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
    })
}

impl World {
    /// State, reason, and when state and definition changed, counted from the first.
    fn alarm(&self, name: &str) -> String {
        let alarm = self.state.alarm(name).unwrap();
        format!(
            "{} {:?} state {} definition {}",
            alarm.value, alarm.reason, alarm.state_updated_at.0, alarm.configuration_updated_at.0
        )
    }
}

#[test]
fn a_new_alarm_has_insufficient_data_and_says_who_sets_its_state() {
    let mut world = World::new();
    world.put(put("errors"));
    expect!["INSUFFICIENT_DATA \"Unchecked: Initial alarm creation. Longshore keeps no metrics and does not evaluate alarms: the state is what SetAlarmState or Alertmanager's webhook says.\" state 1002 definition 1002"].assert_eq(&world.alarm("errors"));
    world.check(expect![[r#"
        EpochStarted
        AlarmPut
    "#]]);
}

#[test]
fn a_new_definition_leaves_the_state_and_the_tags() {
    let mut world = World::new();
    world.put(put_tagged("errors", 1.0, &[("team", "a")]));
    world.put(set("errors", AlarmValue::Alarm, "many"));
    world.put(put_tagged("errors", 2.0, &[]));
    world.put(put_tagged("errors", 3.0, &[("team", "a")]));
    world.put(put_tagged("errors", 4.0, &[("team", "b")]));
    expect![[r#"ALARM "many" state 1003 definition 1006"#]].assert_eq(&world.alarm("errors"));
    let alarm = world.state.alarm("errors").unwrap();
    assert_eq!(alarm.definition, definition(4.0));
    assert_eq!(alarm.tags["team"], "a");
    world.check(expect![[r#"
        EpochStarted
        AlarmPut
        AlarmStateSet
        AlarmPut
        AlarmPut
        AlarmPut
    "#]]);
}

#[test]
fn the_same_state_changes_only_the_reason_and_the_same_words_nothing() {
    let mut world = World::new();
    world.put(put("errors"));
    world.put(set("errors", AlarmValue::Alarm, "many"));
    world.put(set("errors", AlarmValue::Alarm, "many"));
    world.put(set("errors", AlarmValue::Alarm, "more"));
    expect![[r#"ALARM "more" state 1003 definition 1002"#]].assert_eq(&world.alarm("errors"));
    world.put(set("errors", AlarmValue::Ok, "few"));
    expect![[r#"OK "few" state 1006 definition 1002"#]].assert_eq(&world.alarm("errors"));
    world.put(set("error", AlarmValue::Ok, "few"));
    world.check(expect![[r#"
        EpochStarted
        AlarmPut
        AlarmStateSet
        AlarmStateSet
        AlarmStateSet
        rejected: There is no alarm named error.
    "#]]);
}

#[test]
fn unknown_names_do_not_keep_known_alarms_from_being_deleted() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.put(put(name));
    }
    world.put(delete(&["c", "none", "a", "c"]));
    world.put(delete(&["a", "none"]));
    let left: Vec<&str> =
        world.state.alarms_from(From::Unbounded).map(|alarm| alarm.name.as_str()).collect();
    assert_eq!(left, ["b"]);
    world.check(expect![[r#"
        EpochStarted
        AlarmPut
        AlarmPut
        AlarmPut
        AlarmsDeleted
        rejected: There is no alarm named a, none.
    "#]]);
}

#[test]
fn a_full_register_takes_no_new_alarm() {
    let mut world = World::new();
    for index in 0..ALARMS_MAX {
        world.put(put(&format!("alarm-{index}")));
    }
    world.log.clear();
    world.put(put("one-more"));
    world.put(put("alarm-7"));
    world.check(expect![[r#"
        rejected: The limit of 5000 alarms is reached. Delete one that is no longer used.
        AlarmPut
    "#]]);
}

#[test]
fn alarms_are_restored_from_a_checkpoint_as_they_were() {
    let mut world = World::new();
    world.put(put_tagged("errors", 0.5, &[("team", "a")]));
    world.put(put("gone"));
    world.put(set("errors", AlarmValue::Alarm, "many"));
    world.put(delete(&["gone"]));
    let all = rows(&mut world.state);
    let state = restored(&all, world.state.seq());
    assert_eq!(state.alarm("errors"), world.state.alarm("errors"));
    assert_eq!(state.alarms_len(), 1);
    let alarms = all.iter().filter(|(kind, ..)| *kind == 10);
    let alarms: Vec<_> =
        alarms.map(|(kind, key, value)| (*kind, key.as_slice(), value.is_some())).collect();
    assert_eq!(alarms, [(10, &b"errors"[..], true), (10, b"gone", false)]);
}

#[test]
fn an_alarm_name_is_short_and_has_no_control_characters() {
    for good in ["a", "My alarm: 5xx/min ≥ 3", &"ä".repeat(255)] {
        assert!(good.parse::<AlarmName>().is_ok(), "{good}");
    }
    for bad in ["", "a\nb", "\u{7f}", &"ä".repeat(256), &"a".repeat(5000)] {
        assert!(bad.parse::<AlarmName>().is_err(), "{bad}");
    }
}
