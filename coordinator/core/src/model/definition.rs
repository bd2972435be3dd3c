//! Revisions of task definitions, as users name them, and their status.

use longshore_common::clock::Timestamp;

use crate::model::name::Family;

/// A revision as users name it; no revision means the latest active one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRef {
    pub family: Family,
    pub revision: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DefinitionStatus {
    Active,
    Inactive { deregistered_at: Timestamp },
    DeleteInProgress { deregistered_at: Timestamp, requested_at: Timestamp },
}

/// A [`DefinitionStatus`] without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    Active,
    Inactive,
    DeleteInProgress,
}

impl DefinitionStatus {
    pub fn kind(self) -> StatusKind {
        match self {
            DefinitionStatus::Active => StatusKind::Active,
            DefinitionStatus::Inactive { .. } => StatusKind::Inactive,
            DefinitionStatus::DeleteInProgress { .. } => StatusKind::DeleteInProgress,
        }
    }
}
