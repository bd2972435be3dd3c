//! The rows of a checkpoint and of the history: one versioned record per entity.
//!
//! Rows outlive releases. A field is only ever added, with a default; a change of meaning is a new
//! variant of [`Record`], and the old one stays readable.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{Attribute, ContainerId, Epoch, TaskReport, Versions},
    resources::{Capacity, Demand},
    task::{StopCause, TaskOverride},
    task_definition::{Compatibility, ContainerDefinition, TaskDefinition},
};
use serde::{Deserialize, Serialize};

use super::{
    command::{ClusterSettings, SettingScope, Tags},
    event::AgentPlace,
    name::{ClusterName, Family},
    state::{
        Alarm, ClientTokenUse, ClusterStatus, DefinitionStatus, EntityKey, HostStatus,
        JoinTokenState, Membership, Phase, Wish,
    },
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Meta(MetaRecord),
    Cluster(ClusterRecord),
    Definition(DefinitionRecord),
    Family { family: Family, last_revision: u32 },
    Member { host: HostId, membership: Membership },
    Host(Box<HostRecord>),
    Task(Box<TaskRecord>),
    ClientToken(ClientTokenRecord),
    JoinToken(JoinTokenState),
    Setting { scope: SettingScope, name: String, value: String },

    Alarm(Box<Alarm>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaRecord {
    pub epoch: Epoch,
    pub epochs: BTreeMap<u64, u64>,
    pub recovered: Option<Epoch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub settings: ClusterSettings,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinitionRecord {
    pub definition: Arc<TaskDefinition>,
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub registered_at: Timestamp,
    pub status: DefinitionStatus,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    pub id: HostId,
    pub cluster: ClusterName,
    pub status: HostStatus,
    pub capacity: Capacity,
    pub attributes: Vec<Attribute>,
    pub custom_attributes: Vec<Attribute>,
    pub tags: Tags,
    pub versions: Versions,
    pub instance_id: Option<String>,
    pub agent: Option<AgentPlace>,
    pub registered_at: Timestamp,
    pub connected: bool,
    pub connectivity_at: Timestamp,
    pub version: u64,
    pub last_order: u64,
}

/// A task, live or stopped: the form in which it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub id: TaskId,
    pub cluster: ClusterName,
    pub host: HostId,
    pub family: Family,
    pub revision: u32,
    pub group: String,
    pub generation: u32,
    pub version: u32,
    pub wish: Wish,
    pub phase: Phase,
    pub created_at: Timestamp,
    pub demand: Demand,
    pub overrides: TaskOverride,
    pub tags: Tags,
    pub started_by: Option<String>,
    pub containers: Vec<ContainerId>,
    pub report: Option<TaskReport>,
    /// Only in the history.
    pub end: Option<TaskEnd>,
}

/// How a task ended, with what its definition said of its containers, which may be deleted later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEnd {
    pub at: Timestamp,
    pub cause: StopCause,
    pub containers: Vec<ContainerDefinition>,
    pub host_connected: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientTokenRecord {
    pub cluster: ClusterName,
    pub token_use: ClientTokenUse,
}

/// The kind orders the rows of a restore: what is referred to comes before what refers to it.
pub(super) fn key_bytes(key: &EntityKey) -> (u8, Vec<u8>) {
    match key {
        EntityKey::Meta => (0, Vec::new()),
        EntityKey::Cluster(name) => (1, name.as_str().into()),
        EntityKey::Definition(family, revision) => {
            (2, [family.as_str().as_bytes(), b":", &revision.to_be_bytes()].concat())
        }
        EntityKey::Family(family) => (3, family.as_str().into()),
        EntityKey::Member(host) => (4, host.value().to_be_bytes().into()),
        EntityKey::Host(host) => (5, host.value().to_be_bytes().into()),
        EntityKey::Task(task) => (6, task.value().to_be_bytes().into()),
        EntityKey::ClientToken(cluster, token) => (7, format!("{cluster}/{token}").into()),
        EntityKey::JoinToken(id) => (8, id.as_bytes().into()),
        EntityKey::Setting(SettingScope::Default, name) => (9, format!("/{name}").into()),
        EntityKey::Setting(SettingScope::Principal(principal), name) => {
            (9, format!("{principal}/{name}").into())
        }

        EntityKey::Alarm(name) => (10, name.as_str().into()),
    }
}

pub fn encode(record: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(record).expect("records have no unserialisable part")
}

pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
