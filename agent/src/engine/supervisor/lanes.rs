//! Lanes: the calls of each kind under way, and the containers that wait for one to end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use longshore_common::index::{FastMap, FastSet};
use tokio::sync::Semaphore;

use super::registry::{Pulling, Registry};
use crate::{
    engine::plan::Step,
    preparation::needs::Needs,
    runtime::{Image, ImageSource},
    task::key::TaskKey,
};

/// Maximum of inspections and readings of last lines under way at once.
pub(super) const INSPECTIONS_MAX: usize = 64;

/// Maximum of containers whose creation waits at once for what it needs from elsewhere.
pub(super) const PREPARATIONS_MAX: usize = 16;

/// Maximum of removals under way at once: each may wait for its container's log to be stored.
pub(super) const REMOVALS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Create and start: past a few at once, only their latency grows (performance.md 9.16).
    Launch,
    /// A create or start that needs files, objects, ports or mounts first. It launches when it has
    /// them.
    Prepare,
    Inspect,
    Remove,
    /// Stop and kill: a signal, and then a wait for a process, as many at once as there are.
    Wait,
}

impl Lane {
    /// Absent: a pull, which has lanes of its own.
    pub(super) fn of(step: &Step) -> Option<Self> {
        match step {
            Step::Pull { .. } => None,
            Step::Create { needs, .. } if **needs != Needs::default() => Some(Lane::Prepare),
            // A file system of the network may let its mounts wait.
            Step::Start { of_host, .. } if !of_host.is_empty() => Some(Lane::Prepare),
            Step::Load { .. } | Step::Create { .. } | Step::Start { .. } => Some(Lane::Launch),
            Step::Inspect { .. } | Step::LastLines { .. } => Some(Lane::Inspect),
            Step::Remove { .. } => Some(Lane::Remove),
            Step::Stop { .. } | Step::Kill { .. } => Some(Lane::Wait),
        }
    }
}

/// Who may call the container engine now, and who waits.
pub(super) struct Lanes {
    pub(super) launch: Queue,
    pub(super) prepare: Queue,
    pub(super) inspections: Queue,
    pub(super) remove: Queue,
    pub(super) wait: Queue,
    /// Limits creates and starts at once, those that were prepared too.
    pub(super) launching: Arc<Semaphore>,
    /// Maximum of pulls from one registry.
    pub(super) pulls_max: usize,
    pub(super) pulling: BTreeMap<ImageSource, Pulling>,
    pub(super) registries: BTreeMap<String, Registry>,
    /// Present: known. Absent: not asked, or something changed since.
    pub(super) images: FastMap<Arc<str>, Image>,
    pub(super) images_asked: FastSet<Arc<str>>,
}

pub(super) struct Queue {
    pub(super) busy: usize,
    pub(super) max: usize,
    pub(super) waiting: VecDeque<(TaskKey, usize)>,
}

impl Lanes {
    pub(super) fn new(launches: usize, pulls: usize) -> Self {
        let queue = |max: usize| Queue { busy: 0, max: max.max(1), waiting: VecDeque::new() };
        Lanes {
            launch: queue(launches),
            prepare: queue(PREPARATIONS_MAX),
            inspections: queue(INSPECTIONS_MAX),
            remove: queue(REMOVALS_MAX),
            wait: queue(usize::MAX),
            launching: Arc::new(Semaphore::new(launches.max(1))),
            pulls_max: pulls.max(1),
            pulling: BTreeMap::new(),
            registries: BTreeMap::new(),
            images: FastMap::default(),
            images_asked: FastSet::default(),
        }
    }

    pub(super) fn is_launching(&self) -> bool {
        self.launch.busy + self.prepare.busy > 0
    }

    pub(super) fn of(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Launch => &mut self.launch,
            Lane::Prepare => &mut self.prepare,
            Lane::Inspect => &mut self.inspections,
            Lane::Remove => &mut self.remove,
            Lane::Wait => &mut self.wait,
        }
    }
}
