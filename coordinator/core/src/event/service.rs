//! What became true of services, their revisions and deployments.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    deployment::DeploymentRecord,
    revision::RevisionRecord,
    service::{RevisionId, ServiceConfig, ServiceId, ServiceRef},
    service_status::Move,
    tags::Tags,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ServiceEvent {
    ServiceCreated(Box<ServiceCreated>),
    /// The whole of what can change without a new revision.
    ServiceConfigured {
        service: ServiceId,
        config: Box<ServiceConfig>,
        at: Timestamp,
    },
    /// Deleted; its tasks are still stopping.
    ServiceDraining {
        service: ServiceId,
        at: Timestamp,
    },
    /// INACTIVE; still described for a while.
    ServiceDeleted {
        service: ServiceId,
        at: Timestamp,
    },
    ServiceForgotten {
        service: ServiceId,
    },
    /// A revision, or with the EXTERNAL controller a task set.
    RevisionCreated {
        service: ServiceId,
        revision: Box<RevisionRecord>,
    },
    /// New facts of a revision whose tasks stay.
    RevisionChanged {
        service: ServiceId,
        revision: Box<RevisionRecord>,
    },
    /// The revision has no task, and no deployment goes back to it.
    RevisionDropped {
        service: ServiceId,
        revision: RevisionId,
    },
    PrimaryChanged {
        service: ServiceId,
        revision: RevisionId,
        at: Timestamp,
    },
    /// The whole of a service deployment, at its begin and at each of its changes.
    DeploymentSet {
        service: ServiceId,
        deployment: Box<DeploymentRecord>,
    },
    /// A message for `events[]`.
    ServiceLogged {
        service: ServiceId,
        message: String,
        at: Timestamp,
    },
    /// The service has what it is to have; said again only after a change.
    ServiceSteady {
        service: ServiceId,
        at: Timestamp,
    },
    /// One task is on its way from a crowded zone or host to another; absent: no longer.
    TaskMoved {
        service: ServiceId,
        moving: Option<Move>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceCreated {
    pub service: ServiceId,
    pub named: ServiceRef,
    pub config: ServiceConfig,
    pub tags: Tags,
    pub created_by: String,
    /// The token and a hash of the call's other parameters.
    pub client_token: Option<(String, u64)>,
    pub at: Timestamp,
}
