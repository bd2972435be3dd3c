//! The events of one step, as a journal keeps them, with what they leave to the history.

use longshore_common::clock::Timestamp;

use crate::{
    Event,
    model::{
        deployment::DeploymentRecord, revision::RevisionRecord, service::ServiceId,
        task::TaskRecord,
    },
};

/// The events of one step.
#[derive(Clone)]
pub struct Batch {
    pub seq: u64,
    pub epoch: u64,
    pub events: Vec<Event>,
    pub history: HistoryItems,
}

/// What a batch leaves to the history (design.md rule 2): never in a checkpoint, written with it.
#[derive(Clone, Default)]
pub struct HistoryItems {
    /// Tasks that ended.
    pub stopped: Vec<TaskRecord>,
    /// Service deployments as they are now; a later one of the same id replaces an earlier one.
    pub deployments: Vec<(ServiceId, DeploymentRecord)>,
    /// New revisions of services.
    pub revisions: Vec<(ServiceId, RevisionRecord)>,
    /// Messages for the services' `events[]`.
    pub service_events: Vec<(ServiceId, String, Timestamp)>,
}
