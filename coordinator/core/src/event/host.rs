//! What became true of container instances.

use std::collections::BTreeMap;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{Attribute, EngineHealth, StorageHealth, Versions},
    resources::Capacity,
    task::StopCause,
};
use serde::{Deserialize, Serialize};

use crate::model::{host::AgentPlace, name::ClusterName};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostEvent {
    HostRegistered(Box<HostRegistered>),
    HostDrained {
        host: HostId,
        at: Timestamp,
    },
    HostActivated {
        host: HostId,
        at: Timestamp,
    },
    HostDeregistered {
        host: HostId,
        at: Timestamp,
    },
    /// No longer described either.
    HostForgotten {
        host: HostId,
    },
    HostConnected {
        host: HostId,
        at: Timestamp,
    },
    HostDisconnected {
        host: HostId,
        why: String,
        /// The host answered that nobody listens.
        #[serde(default)]
        refused: bool,
        at: Timestamp,
    },
    /// A host that is silent began to refuse connections, or does not even do that any more. Since
    /// when it is silent stays as it was.
    HostSilenceChanged {
        host: HostId,
        why: String,
        refused: bool,
        at: Timestamp,
    },
    /// The host's agent says that its container engine answers, or does not.
    HostEngineChanged {
        host: HostId,
        engine: EngineHealth,
        at: Timestamp,
    },
    /// The host has told everything that it runs since the `recover` of this epoch.
    HostToldAll {
        host: HostId,
        recovered: u64,
    },
    /// The host's agent says that its disks have room for new tasks, or have not.
    HostStorageChanged {
        host: HostId,
        storage: StorageHealth,
        at: Timestamp,
    },
    AttributesPut {
        host: HostId,
        attributes: Vec<Attribute>,
    },
    /// Written by earlier releases, which took the registered attributes of these names away too.
    AttributesDeleted {
        host: HostId,
        names: Vec<String>,
    },
    /// What PutAttributes had put; a registered attribute of the same name shows again.
    CustomAttributesDeleted {
        host: HostId,
        names: Vec<String>,
    },
    /// The agent runs a task that ended for us: it may stop it.
    StopCandidateConfirmed {
        host: HostId,
        task: TaskId,
        generation: u32,
        cause: StopCause,
    },
    /// The next order of this host is numbered above `to`: its agent took those of a journal that
    /// is lost.
    LostOrdersSkipped {
        host: HostId,
        to: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRegistered {
    pub host: HostId,
    pub cluster: ClusterName,
    pub capacity: Capacity,
    /// What the agent or the caller registered; custom attributes are apart.
    pub attributes: Vec<Attribute>,
    /// Those of `attributes` that a caller registered and an agent leaves as they are; absent: as
    /// before.
    #[serde(default)]
    pub given: Option<Vec<Attribute>>,
    pub versions: Versions,
    pub instance_id: Option<String>,
    /// Where to poll and what to call the host; absent for one registered by the API.
    pub agent: Option<AgentPlace>,
    /// Added to the tags that the host has.
    pub tags: BTreeMap<String, String>,
    pub at: Timestamp,
}
