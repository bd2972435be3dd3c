//! What is wrong with an input of Auto Scaling's, in its own errors.

use longshore_core::model::auto_scaling::AutoScalingGroupName;

use crate::edge::error::{ApiError, AutoScalingFault, ErrorCode};

pub(super) fn group_name(given: &str) -> Result<AutoScalingGroupName, ApiError> {
    given.parse().map_err(|error| invalid(format!("AutoScalingGroupName: {error}.")))
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::AutoScaling(AutoScalingFault::Validation), message)
}
