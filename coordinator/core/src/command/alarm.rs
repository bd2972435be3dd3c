//! What can be asked of alarms.

use crate::model::alarm::{AlarmName, PutMetricAlarm, SetAlarmState};

#[derive(Clone, Debug)]
pub enum AlarmCommand {
    PutMetricAlarm(Box<PutMetricAlarm>),
    SetAlarmState(SetAlarmState),
    DeleteAlarms { names: Vec<AlarmName> },
}
