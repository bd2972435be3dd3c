//! A revision of a service: the form in which it is kept and shown.

use std::collections::BTreeMap;

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{name::Family, service::RevisionId, tags::Tags};

/// A revision of a service, kept while it is the primary one, has tasks or may be gone back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionRecord {
    pub id: RevisionId,
    pub family: Family,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub rollout: Rollout,
    /// ECS's rolloutStateReason.
    pub reason: String,
    /// Tasks that failed in a row.
    pub failed_tasks: u32,
    /// Has had a task in RUNNING: from now on health is what fails tasks (ecs-behaviour 1.10).
    pub has_run: bool,
    /// The service was scaled after the deployment of this revision had failed: what that left
    /// beyond the desired count goes.
    #[serde(default)]
    pub scaled: bool,
    /// Only with the EXTERNAL controller.
    pub task_set: Option<TaskSetRecord>,
    /// Digest of each container's image as it was found first. Later tasks run the same image
    /// (ecs-behaviour 1.9, image digest).
    #[serde(default)]
    pub image_digests: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSetRecord {
    pub external_id: Option<String>,
    pub scale_permille: u32,
    pub tags: Tags,
    pub client_token: Option<(String, u64)>,
    /// Deleted; its tasks are still stopping.
    pub draining: bool,
    pub stable: bool,
    pub stability_at: Timestamp,
}

impl TaskSetRecord {
    /// ecs-behaviour 1.12: rounded up.
    pub fn computed_desired(&self, desired: u32) -> u32 {
        (u64::from(desired) * u64::from(self.scale_permille)).div_ceil(1000) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}
