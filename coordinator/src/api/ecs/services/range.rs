//! Whole numbers within their limits.

use crate::edge::error::ApiError;

/// A whole number within its limits, or a sentence with them.
pub(super) fn in_range(
    member: &str,
    given: Option<i64>,
    least: i64,
    most: i64,
) -> Result<Option<u32>, ApiError> {
    let Some(value) = given else { return Ok(None) };
    let value = u32::try_from(value).ok().filter(|_| (least..=most).contains(&value));
    value.map(Some).ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "{member} is {}; it must be between {least} and {most}.",
            given.unwrap_or_default()
        ))
    })
}
