//! What a decision is: events, notes and an answer.

use longshore_common::{
    id::{HostId, TaskId},
    protocol::{HeldImages, ReportPosition},
};

use crate::{
    command::Command,
    event::Event,
    model::{
        client_token::FailedPlacement, definition::RevisionRef, name::Family, service::RevisionId,
    },
};

/// What follows from a command.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// True from now on, and journaled.
    pub events: Vec<Event>,
    /// True, but retold by agents after a restart: never journaled.
    pub notes: Vec<Note>,
    pub answer: Answer,
    /// The rest of the command: items that depend on what the others did. It is decided once these
    /// events are applied, in the same batch; never refused.
    pub rest: Option<Box<Command>>,
}

/// A volatile fact (performance.md 9.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    OrdersTaken {
        host: HostId,
        order: u64,
    },
    ReportsTaken {
        host: HostId,
        position: ReportPosition,
    },
    /// What the host says of its tasks is what its agent has seen.
    HostHeard {
        host: HostId,
    },
    ImagesHeld {
        host: HostId,
        images: HeldImages,
    },
    /// Services that wait for room may look again.
    RoomWanted,
    SchedulingBegins,
}

/// One task that has no host: an entry of ECS's `failures[]`.
pub type PlacementFailure = FailedPlacement;

/// What the caller needs to know of a decision beyond its own command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    #[default]
    Done,
    Revision {
        family: Family,
        revision: u32,
    },
    /// Outcome of DeleteTaskDefinitions, in the order asked: what was accepted and what was not,
    /// and why.
    Revisions {
        accepted: Vec<(Family, u32)>,
        failures: Vec<(RevisionRef, &'static str)>,
    },
    Tasks {
        tasks: Vec<TaskId>,
        failures: Vec<PlacementFailure>,
    },
    Host(HostId),
    /// Outcome of UpdateContainerInstancesState: hosts changed, and hosts not, with ECS's reason.
    Hosts {
        changed: Vec<HostId>,
        failures: Vec<(HostId, &'static str)>,
    },
    TaskSet(RevisionId),
    /// Outcome of UpdateTaskProtection: tasks changed, and tasks not, with ECS's reason.
    Protected {
        tasks: Vec<TaskId>,
        failures: Vec<(TaskId, &'static str)>,
    },
}

impl Decision {
    pub(super) fn of(events: Vec<Event>) -> Self {
        Decision { events, ..Decision::default() }
    }

    pub(super) fn with(events: Vec<Event>, answer: Answer) -> Self {
        Decision { events, answer, ..Decision::default() }
    }
}

/// The items of a list that a client may have given twice, in its order.
pub(super) fn each_once<T: Copy + Ord>(items: &[T]) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items.iter().copied().filter(|item| seen.insert(*item)).collect()
}
