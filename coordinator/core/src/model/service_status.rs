//! How a service stands: its status, its pause between launches, its task that moves.

use longshore_common::{clock::Timestamp, id::TaskId};
use serde::{Deserialize, Serialize};

/// A task that starts elsewhere so that another one may stop (ecs-behaviour 1.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub leaving: TaskId,
    pub arriving: TaskId,
}

/// Keeps a service whose tasks do not start from trying without end (ecs-behaviour 1.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchBackoff {
    /// Rounds in a row in which a task stopped before it ran.
    pub rounds: u32,
    /// Time before which nothing is started.
    pub not_before: Option<Timestamp>,
    /// Rounds in a row in which a task ended right after it began to run.
    #[serde(default)]
    pub brief_runs: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ServiceStatus {
    Active,
    /// Deleted, with tasks that are still stopping.
    Draining,
    /// Deleted; still described for a while.
    Inactive {
        since: Timestamp,
    },
}
