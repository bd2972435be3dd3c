//! Where Docker's `local` driver keeps a container's log: the agent reads `awslogs` lines from there.

/// Docker's driver behind it, and what that calls its file, in a folder of its own below the
/// container's.
pub(crate) const DRIVER: &str = "local";

pub(crate) const LOG_FOLDER: &str = "local-logs";

pub(crate) const LOG_FILE: &str = "container.log";

pub(crate) const FILES: usize = 5;
