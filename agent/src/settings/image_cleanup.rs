//! How often images that no task needs are removed, and which stay.

use std::time::Duration;

/// Minimum interval of image clean-ups, as ECS's agent has it (ecs-behaviour 1.7: by default 30
/// min).
pub(crate) const INTERVAL_MIN: Duration = Duration::from_secs(10 * 60);

const INTERVAL: Duration = Duration::from_secs(30 * 60);

const MINIMUM_AGE: Duration = Duration::from_secs(60 * 60);

const REMOVED_PER_CYCLE: usize = 5;

/// What an operator says of it, with ECS's values as the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageCleanup {
    pub enabled: bool,
    pub interval: Duration,
    /// Minimum time that an image stays after it was pulled or used last.
    pub minimum_age: Duration,
    pub removed_per_cycle: usize,
    /// References that stay.
    pub exclude: Vec<String>,
}

impl Default for ImageCleanup {
    fn default() -> Self {
        ImageCleanup {
            enabled: true,
            interval: INTERVAL,
            minimum_age: MINIMUM_AGE,
            removed_per_cycle: REMOVED_PER_CYCLE,
            exclude: Vec::new(),
        }
    }
}

impl ImageCleanup {
    /// While room is short, neither age nor number counts.
    pub(crate) fn for_room(&self) -> Self {
        ImageCleanup { minimum_age: Duration::ZERO, removed_per_cycle: usize::MAX, ..self.clone() }
    }
}
