//! Why commands about alarms are refused.

use crate::model::alarm::AlarmName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmRejection {
    #[error("There is no alarm named {}.", listed(.0))]
    AlarmsNotFound(Vec<AlarmName>),
    #[error("The limit of {limit} alarms is reached. Delete one that is no longer used.")]
    TooManyAlarms { limit: usize },
}

fn listed(names: &[AlarmName]) -> String {
    names.iter().map(AlarmName::as_str).collect::<Vec<_>>().join(", ")
}
