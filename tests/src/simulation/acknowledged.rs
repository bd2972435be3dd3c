//! What users of a simulation were promised.

use std::collections::BTreeMap;

use longshore_common::id::TaskId;

/// What users were promised.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Tasks that RunTask answered with, and whether a StopTask of it was acknowledged, or may
    /// have been.
    pub(super) tasks: BTreeMap<TaskId, Stop>,
    /// Calls without an answer: the same token is sent again until there is one.
    pub(super) unanswered: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    NotAsked,
    Asked,
    Acknowledged,
}
