//! How a container's log messages reach its log driver: ECS's `mode` and `max-buffer-size`, which
//! every driver has, and the account setting `defaultLogDriverMode`.

use serde::{Deserialize, Serialize};

pub const MODE: &str = "mode";
pub const MAX_BUFFER_SIZE: &str = "max-buffer-size";
/// The buffer of a container that names none: the API reference's default of `max-buffer-size`.
pub const MAX_BUFFER_SIZE_DEFAULT: &str = "10m";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriverMode {
    Blocking,
    NonBlocking,
}

impl LogDriverMode {
    /// As the option and the account setting have it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "blocking" => Some(LogDriverMode::Blocking),
            "non-blocking" => Some(LogDriverMode::NonBlocking),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            LogDriverMode::Blocking => "blocking",
            LogDriverMode::NonBlocking => "non-blocking",
        }
    }
}

/// What a container that names no mode has: the account's. A task that was ordered before tasks
/// carried it blocks, as it was started.
pub fn effective(given: Option<LogDriverMode>, of_account: Option<LogDriverMode>) -> LogDriverMode {
    given.or(of_account).unwrap_or(LogDriverMode::Blocking)
}
