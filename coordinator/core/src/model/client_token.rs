//! Client tokens that were used, with what their calls brought about.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedClientToken {
    pub token: String,
    pub parameters_hash: u64,
    pub failures: Vec<FailedPlacement>,
    /// Tasks of the same call that are in events before this one.
    #[serde(default)]
    pub others: Vec<TaskId>,
}

/// One task that found no host: an entry of ECS's `failures[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPlacement {
    /// The closest host.
    pub host: Option<HostId>,
    /// ECS's word, `RESOURCE:MEMORY` for example.
    pub reason: String,
    /// A sentence with the numbers.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClientTokenUse {
    pub used: UsedClientToken,
    pub tasks: Vec<TaskId>,
    pub at: Timestamp,
}
