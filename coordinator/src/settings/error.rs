//! Why the settings cannot be used.

use std::path::PathBuf;

use longshore_common::{coordinator_address::COORDINATORS_MAX, task_policy::NotAPolicy};
use longshore_core::model::capacity_provider::{FARGATE, FARGATE_SPOT};

/// Number of digits of an AWS account's id.
pub(super) const ACCOUNT_DIGITS: usize = 12;

/// Why the settings cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings")]
    Unreadable(#[source] std::io::Error),
    #[error("{path} is not understood: {error}", path = .0.display(), error = .1.message())]
    Malformed(PathBuf, Box<toml::de::Error>),
    #[error("`{0}` is not an account: it has {ACCOUNT_DIGITS} digits")]
    BadAccount(String),
    #[error("`{0}` is not a region: it has lower-case letters, digits and hyphens")]
    BadRegion(String),
    #[error(
        "coordinators: `{0}` is not HOST:PORT of a joining port (an IPv6 address has brackets)"
    )]
    BadCoordinator(String),
    #[error("coordinators: {0} are named, and {COORDINATORS_MAX} is the most")]
    TooManyCoordinators(usize),
    #[error("{setting}: {error}")]
    BadPolicy { setting: &'static str, error: NotAPolicy },
    #[error("{setting} is `{value}`: {expected}")]
    BadTime { setting: &'static str, value: String, expected: &'static str },
    #[error("[launch.{name}]: {why}")]
    BadLauncher { name: String, why: String },
    #[error(
        "[capacity_providers.{0}]: only {names} have hosts by a setting; make others with CreateCapacityProvider",
        names = format_args!("{FARGATE} and {FARGATE_SPOT}")
    )]
    BadCapacityProvider(String),
}
