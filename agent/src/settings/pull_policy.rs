//! When the image of a container is pulled.

/// `ECS_IMAGE_PULL_BEHAVIOR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// `default`: pull; use what the host has if that fails.
    PullFirst,
    /// `always`: pull; a failure fails the container.
    Always,
    /// `once`: pull what this agent has not pulled before, or has removed since.
    Once,
    /// `prefer-cached`: pull only what the host has not.
    #[default]
    PreferCached,
}
