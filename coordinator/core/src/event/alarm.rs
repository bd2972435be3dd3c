//! What became true of alarms.

use serde::{Deserialize, Serialize};

use crate::model::alarm::{AlarmName, AlarmPut, AlarmStateSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AlarmEvent {
    AlarmPut(Box<AlarmPut>),
    AlarmStateSet(Box<AlarmStateSet>),
    AlarmsDeleted { names: Vec<AlarmName> },
}
