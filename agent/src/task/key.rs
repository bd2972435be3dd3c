//! Which task, and which of its orders.

use longshore_common::id::TaskId;
use serde::{Deserialize, Serialize};

/// A task and which of its orders: a task that is ordered anew has a higher generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TaskKey {
    pub(crate) task: TaskId,
    pub(crate) generation: u32,
}
