//! Hosts, and the agents that joined.

use longshore_common::{clock::Timestamp, machine::MachineMarks, mutual_tls::KeyHash};
use serde::{Deserialize, Serialize};

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPlace {
    pub poll_address: String,
    pub advertise: String,
    pub boot_id: String,
    /// What the machine is known by; empty of agents that did not say it.
    #[serde(default)]
    pub machine: MachineMarks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HostStatus {
    Active,
    Draining,
    /// Deregistered; still described for a while.
    Inactive {
        since: Timestamp,
    },
}

/// An agent that joined, whether or not it has registered a host yet.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Membership {
    pub cluster: Option<ClusterName>,
    pub joined_at: Timestamp,
    /// The host was deregistered: its certificate opens nothing any more.
    pub revoked: bool,
    /// Keys that were certified for the host last, the newest at the end: by one of them a host whose
    /// certificate has ended comes back. Empty in journals that did not keep them.
    #[serde(default)]
    pub keys: Vec<KeyHash>,
}
