//! Timeouts of calls to Docker.

use std::time::Duration;

/// How long each verb may take (ecs-behaviour 1.7).
#[derive(Clone, Debug)]
pub struct Timeouts {
    pub version: Duration,
    /// A whole pull.
    pub pull: Duration,
    /// Timeout of a pull's first message, which Docker sends once it has the manifest.
    pub manifest: Duration,
    /// A pull that says nothing from then on.
    pub pull_silence: Duration,
    /// An image that the agent brings itself.
    pub load: Duration,
    pub create: Duration,
    pub start: Duration,
    /// On top of the time that the container is given to stop.
    pub stop: Duration,
    pub inspect: Duration,
    pub list: Duration,
    pub remove: Duration,
    /// A stopped task is not reported before this has passed.
    pub last_lines: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            version: Duration::from_secs(10),
            pull: Duration::from_secs(2 * 60 * 60),
            manifest: Duration::from_secs(60),
            pull_silence: Duration::from_secs(60),
            load: Duration::from_secs(60),
            create: Duration::from_secs(4 * 60),
            start: Duration::from_secs(3 * 60),
            stop: Duration::from_secs(2 * 60),
            inspect: Duration::from_secs(30),
            list: Duration::from_secs(60),
            remove: Duration::from_secs(5 * 60),
            last_lines: Duration::from_secs(2),
        }
    }
}
