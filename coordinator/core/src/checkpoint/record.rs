//! The contents of rows, of a checkpoint and of the history.
//!
//! Rows outlive releases. A field is only ever added, with a default; a change of meaning is a new
//! kind in the table of entities, and the old one stays readable.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::HostId,
    protocol::{Attribute, EngineHealth, Epoch, StorageHealth, Versions},
    resources::Capacity,
    task_definition::{Compatibility, TaskDefinition},
};
use serde::{Deserialize, Serialize};

use crate::model::{
    client_token::ClientTokenUse,
    cluster::{ClusterSettings, ClusterStatus, Replacing},
    definition::DefinitionStatus,
    deployment::DeploymentRecord,
    host::{AgentPlace, HostStatus, Membership},
    name::{ClusterName, Family},
    orders_at_starts::OrdersAtStarts,
    revision::RevisionRecord,
    service::{RevisionId, ServiceConfig, ServiceId, ServiceRef},
    service_status::{LaunchBackoff, Move, ServiceStatus},
    setting::SettingScope,
    tags::Tags,
};

pub use super::entity::{RESTORE_ORDER, Record};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaRecord {
    pub epoch: Epoch,
    pub epochs: BTreeMap<u64, u64>,
    pub recovered: Option<Epoch>,
    #[serde(default)]
    pub recovered_seq: u64,
    #[serde(default)]
    pub starts: BTreeMap<u64, u64>,
    #[serde(default)]
    pub unsure_before: Option<Timestamp>,
    #[serde(default)]
    pub unsure_below: Option<u64>,
    #[serde(default)]
    pub recoveries: BTreeMap<u64, u64>,
    #[serde(default)]
    pub word_awaited_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyRecord {
    pub family: Family,
    pub last_revision: u32,
    /// Absent where nobody has kept apart what was registered and what was taken back from hosts.
    #[serde(default)]
    pub registered: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    pub host: HostId,
    pub membership: Membership,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingRecord {
    pub scope: SettingScope,
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub settings: ClusterSettings,
    pub tags: Tags,
    #[serde(default)]
    pub replacing: Replacing,
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
    #[serde(default)]
    pub given_attributes: Vec<Attribute>,
    pub tags: Tags,
    pub versions: Versions,
    pub instance_id: Option<String>,
    pub agent: Option<AgentPlace>,
    pub registered_at: Timestamp,
    pub connected: bool,
    #[serde(default)]
    pub refused: bool,
    #[serde(default)]
    pub refused_until: Timestamp,
    pub connectivity_at: Timestamp,
    #[serde(default)]
    pub engine: EngineHealth,
    #[serde(default)]
    pub engine_at: Timestamp,
    #[serde(default)]
    pub storage: StorageHealth,
    #[serde(default)]
    pub storage_at: Timestamp,
    pub version: u64,
    pub last_order: u64,
    #[serde(default)]
    pub orders_at_starts: OrdersAtStarts,
    #[serde(default)]
    pub skipped_seq: u64,
    #[serde(default)]
    pub told_all: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    pub id: ServiceId,
    pub named: ServiceRef,
    pub status: ServiceStatus,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<(String, u64)>,
    pub primary: Option<RevisionId>,
    /// The revision of the last deployment that completed: where a rollback goes.
    pub completed: Option<RevisionId>,
    pub revisions: Vec<RevisionRecord>,
    /// The deployment under way, or the last one.
    pub deployment: Option<DeploymentRecord>,
    pub launch: LaunchBackoff,
    pub steady: bool,
    #[serde(default)]
    pub moving: Option<Move>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientTokenRecord {
    pub cluster: ClusterName,
    pub token_use: ClientTokenUse,
}

pub fn encode(record: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(record).expect("records have no unserialisable part")
}

pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
