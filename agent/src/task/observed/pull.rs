//! How far a container's image is: whether it is to be pulled, and what came of that.

use longshore_common::image_reference::is_by_digest;

use crate::{
    settings::PullPolicy,
    task::desired::{DesiredContainer, Role},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum PullState {
    #[default]
    NotNeeded,
    Needed {
        /// The last attempt, which another one is to follow.
        failed: Option<PullFailure>,
    },
    Done,
}

impl PullState {
    pub(crate) const NEEDED: Self = PullState::Needed { failed: None };

    /// Whether a container's image is to be pulled before its first create.
    pub(super) fn before(wanted: &DesiredContainer, policy: PullPolicy) -> Self {
        match (wanted.role, policy) {
            // What the agent makes itself is in no registry.
            (Role::Pause, _) => PullState::NotNeeded,
            (Role::Defined, _) if is_by_digest(&wanted.image) => PullState::NotNeeded,
            (Role::Defined, PullPolicy::PullFirst | PullPolicy::Always | PullPolicy::Once) => {
                PullState::NEEDED
            }
            (Role::Defined, PullPolicy::PreferCached) => PullState::NotNeeded,
        }
    }

    pub(crate) fn is_needed(&self) -> bool {
        matches!(self, PullState::Needed { .. })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PullAmount {
    pub(crate) bytes: u64,
    pub(crate) of_bytes: u64,
}

/// How the last attempt of a pull has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullFailure {
    pub(crate) attempts: u32,
    pub(crate) error: String,
}
