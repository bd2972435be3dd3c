//! How many requests a task may make of its host.

/// `ECS_TASK_METADATA_RPS_LIMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// Requests a second.
    pub steady: u32,
    /// Requests that may come at once after a pause.
    pub burst: u32,
}
