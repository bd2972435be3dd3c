//! Where a container's lines go. Its label says so, so that an agent without a ledger knows it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Holds a [`LogDestination`] as JSON; empty on a container that does not log by this driver.
pub(crate) const LABEL: &str = "longshore.awslogs";

/// Where a container's lines go, and how they become events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogDestination {
    pub(crate) group: String,
    /// Absent: the id that Docker gives the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    /// A regular expression; absent: each line is an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_start: Option<String>,
}

impl LogDestination {
    /// What a container's labels say; absent when it does not log by this driver.
    pub(crate) fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        serde_json::from_str(labels.get(LABEL)?).ok()
    }
}
