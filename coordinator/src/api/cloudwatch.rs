//! CloudWatch, as far as alarms go.

pub(crate) mod alarms;
