//! ARNs as inputs give them.

use longshore_common::arn::{Arn, Identity};

use crate::edge::error::ApiError;

/// What follows `kind` in an ARN, and whether it is one of ours; `None` if `given` is no ARN.
pub(crate) fn arn(
    identity: &Identity,
    given: &str,
    kind: &str,
) -> Result<Option<(bool, String)>, ApiError> {
    if !given.starts_with("arn:") {
        return Ok(None);
    }
    let wrong = || {
        ApiError::invalid_parameter(format!(
            "`{given}` is not an ARN of the kind {}; it should look like \
             arn:aws:ecs:region:account:{kind}….",
            kind.trim_end_matches('/').replace('-', " ")
        ))
    };
    let arn: Arn = given.parse().map_err(|_| wrong())?;
    let resource = arn.resource.strip_prefix(kind).filter(|r| !r.is_empty()).ok_or_else(wrong)?;
    let here = arn.region == identity.region && arn.account == identity.account;
    Ok(Some((here, resource.to_owned())))
}
