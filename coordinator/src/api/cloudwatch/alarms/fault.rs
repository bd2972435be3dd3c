//! What is wrong with an input of CloudWatch's alarms, in its own errors.

use longshore_core::model::alarm::AlarmName;

use crate::edge::error::{ApiError, ErrorCode, MonitoringFault};

pub(super) fn alarm_name(member: &str, given: &str) -> Result<AlarmName, ApiError> {
    given.parse().map_err(|error| invalid(format!("{member}: {error}.")))
}

pub(super) fn check_chars(
    member: &str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<(), ApiError> {
    let chars = text.chars().count();
    if (min..=max).contains(&chars) {
        return Ok(());
    }
    Err(invalid(format!("{member} has {chars} characters; it must have {min} to {max}.")))
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    fault(MonitoringFault::Validation, message)
}

pub(super) fn fault(fault: MonitoringFault, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Monitoring(fault), message)
}
