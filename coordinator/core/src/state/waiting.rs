//! Tasks that wait for a host: PROVISIONING, with ids but without a place.
//!
//! They are kept by launch, one entry for the tasks of one RunTask call, so that a call costs one look
//! at the cluster and not one for each task. They become [`super::Task`]s when they are placed.

use longshore_common::id::TaskId;

use super::{ClusterSlot, DefinitionSlot};
use crate::{
    event::{TasksWaiting, WaitingTask},
    model::{
        attachment::Attachments,
        task::{Phase, TaskRecord, Wish},
    },
};

/// Maximum number of tasks that may wait in one cluster (ecs-behaviour 1.15, PROVISIONING).
pub const WAITING_TASKS_MAX: usize = 500;

pub struct Waiting {
    pub cluster: ClusterSlot,
    pub definition: DefinitionSlot,
    /// `tasks` are those that still wait.
    pub launch: TasksWaiting,
}

/// What is done when its time has come, whatever else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The task has run for as long as it may.
    Run(TaskId),
    /// The launch has waited for as long as it may.
    Wait(TaskId),
    /// Something is to be done about the task's attachments.
    Attachments(TaskId),
}

impl Waiting {
    pub fn task(&self, id: TaskId) -> Option<&WaitingTask> {
        self.launch.tasks.iter().find(|waiting| waiting.task == id)
    }

    /// One of its tasks as it would be kept: without a host.
    pub fn record(&self, waiting: &WaitingTask) -> TaskRecord {
        let launch = &self.launch;
        TaskRecord {
            id: waiting.task,
            cluster: launch.cluster.clone(),
            host: None,
            family: launch.family.clone(),
            revision: launch.revision,
            group: launch.group.clone(),
            generation: 1,
            version: 1,
            wish: Wish::Run,
            phase: Phase::Provisioning,
            created_at: launch.at,
            demand: launch.demand.clone(),
            overrides: launch.overrides.clone(),
            tags: launch.tags.clone(),
            started_by: launch.started_by.clone(),
            containers: waiting.containers.clone(),
            gpus: Vec::new(),
            report: None,
            end: None,
            service: None,
            timeout_ms: launch.timeout_ms,
            provider: launch.provider.clone(),
            asked: None,
            log_driver_mode: None,
            placed_seq: 0,
            attachments: Attachments::precreated(&launch.attachments),
        }
    }
}
