//! Which task, and which of its orders.

use longshore_common::id::TaskId;
use serde::{Deserialize, Serialize};

/// One task, as often as it was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TaskKey {
    pub(crate) task: TaskId,
    pub(crate) generation: u32,
}
