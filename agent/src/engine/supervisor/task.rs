//! Everything that is known and wanted of one task here.
//!
//! Never: a call; what is concluded after a change (that is `tasks`).

use longshore_common::{
    clock::Timestamp,
    protocol::{ReportBody, RunIntent, TaskReport},
};

use crate::{
    engine::report::phase_name,
    task::{
        desired::DesiredTask,
        key::TaskKey,
        observed::{ContainerStage, ObservedContainer, ObservedTask},
    },
};

/// Everything that is known and wanted of one task here.
pub(super) struct Task {
    /// See `tasks_made` of the engine.
    pub(super) serial: u64,
    pub(super) desired: DesiredTask,
    pub(super) observed: ObservedTask,
    /// A manifest did not name it. It is no part of the desired set; it is not stopped for that.
    pub(super) candidate: bool,
    /// A newer generation was ordered: this one stops, and nobody waits to hear of it.
    pub(super) superseded: bool,
    pub(super) cleanup_due: bool,
    pub(super) cleanup_set: bool,
    /// Nothing was recorded of it before its containers were found: what is not there may have run.
    pub(super) unrecorded: bool,
    /// Ids of its containers whose process is waited for.
    pub(super) watched: Vec<Option<String>>,
    /// The start (id and restarts) of each container of which the metadata file tells, or is about to.
    pub(super) metadata_of: Vec<Option<(String, u32)>>,
    pub(super) leftovers: TaskLeftovers,
    pub(super) removals_failed: u32,
    /// The earliest time for which a timer is set.
    pub(super) deadline: Option<Timestamp>,
    /// Whether each of its containers waits in a lane.
    pub(super) queued: Vec<bool>,
    pub(super) reported: Option<TaskReport>,
    pub(super) logged: Logged,
}

/// What the log has told of a task: also an earlier agent's, which the ledger shows.
#[derive(Debug, Default)]
pub(super) struct Logged {
    pub(super) containers: Vec<ContainerStage>,
    pub(super) phase: Option<&'static str>,
}

impl Logged {
    pub(super) fn of(desired: &DesiredTask, observed: &ObservedTask) -> Self {
        if observed.containers.len() != desired.containers.len() {
            return Logged::default();
        }
        Logged {
            containers: observed.containers.iter().map(ObservedContainer::stage).collect(),
            phase: Some(phase_name(desired, observed)),
        }
    }
}

/// Volumes, the control group and files, which go with a task after its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskLeftovers {
    There,
    BeingRemoved,
    /// No leftover is left, or the host will not remove it.
    Gone,
}

/// A container whose process is waited for.
pub(super) struct WatchedProcess {
    pub(super) key: TaskKey,
    pub(super) serial: u64,
    pub(super) index: usize,
    pub(super) docker_id: String,
    /// The process's end counts as the container's, before the engine tells how it ended.
    pub(super) concludes: bool,
}

impl Task {
    pub(super) fn new(serial: u64, desired: DesiredTask, observed: ObservedTask) -> Self {
        Task {
            serial,
            queued: vec![false; desired.containers.len()],
            leftovers: match desired.volumes.is_empty()
                && desired.group.is_none()
                && desired.files.is_none()
                && !desired.mounts
            {
                true => TaskLeftovers::Gone,
                false => TaskLeftovers::There,
            },
            removals_failed: 0,
            watched: vec![None; desired.containers.len()],
            metadata_of: vec![None; desired.containers.len()],
            desired,
            observed,
            candidate: false,
            superseded: false,
            cleanup_due: false,
            cleanup_set: false,
            unrecorded: false,
            deadline: None,
            reported: None,
            logged: Logged::default(),
        }
    }

    /// Whether it belongs to what the coordinator and this agent agree that is desired.
    pub(super) fn counts(&self) -> bool {
        self.desired.intent.is_some()
            && !self.candidate
            && !self.superseded
            && !self.observed.acknowledged
    }

    pub(super) fn waits_for_confirmation(&self) -> bool {
        !self.desired.confirmed && self.observed.is_known() && !self.observed.has_stopped()
    }

    /// Whether its state is something that the coordinator wants to hear.
    pub(super) fn is_reported(&self) -> bool {
        !self.superseded
            && !self.observed.acknowledged
            && self.observed.is_known()
            && (self.counts() || self.desired.stop.is_some())
    }

    /// Whether the task has stopped, and nobody waits to hear of it any more.
    pub(super) fn may_be_forgotten(&self) -> bool {
        let heard = self.observed.acknowledged || self.superseded;
        let unwanted =
            (self.candidate || self.desired.intent.is_none()) && self.desired.stop.is_none();
        self.observed.has_stopped() && (heard || unwanted)
    }

    pub(super) fn report_anew(&mut self) {
        self.reported = None;
    }

    pub(super) fn stop_candidate(&self) -> ReportBody {
        ReportBody::StopCandidate {
            task: self.desired.key.task,
            generation: self.desired.key.generation,
            run: self.desired.intent.as_ref().map(|intent| {
                Box::new(RunIntent {
                    definition: (*intent.definition).clone(),
                    order: intent.order.clone(),
                })
            }),
        }
    }
}
