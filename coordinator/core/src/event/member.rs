//! What became true of agents that joined.

use longshore_common::{clock::Timestamp, id::HostId, mutual_tls::KeyHash};
use serde::{Deserialize, Serialize};

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MemberEvent {
    /// A host id was given to an agent that joined.
    HostJoined { host: HostId, cluster: Option<ClusterName>, at: Timestamp },
    /// A certificate was given to the host for a key; `by` is the key that asked for it.
    HostCertified { host: HostId, key: KeyHash, by: Option<KeyHash>, at: Timestamp },
    /// Agents that joined whose hosts are long deregistered, or were never registered: what their
    /// certificates open need not be remembered, since these have ended.
    MembersForgotten { hosts: Vec<HostId> },
}
