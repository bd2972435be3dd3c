//! What can be asked of task sets.

use super::task::ClientToken;
use crate::model::{
    definition::RevisionRef,
    service::{RevisionId, ServiceRef},
    tags::Tags,
};

#[derive(Clone, Debug)]
pub enum TaskSetCommand {
    CreateTaskSet(Box<CreateTaskSet>),
    UpdateTaskSet { service: ServiceRef, task_set: RevisionId, scale_permille: u32 },
    DeleteTaskSet { service: ServiceRef, task_set: RevisionId, force: bool },
    UpdateServicePrimaryTaskSet { service: ServiceRef, task_set: RevisionId },
}

#[derive(Clone, Debug)]
pub struct CreateTaskSet {
    pub service: ServiceRef,
    pub definition: RevisionRef,
    pub external_id: Option<String>,
    /// Share of the service's desired count, in tenths of a percent.
    pub scale_permille: u32,
    pub tags: Tags,
    pub client_token: Option<ClientToken>,
}
