//! Whether the containers of every task were inspected since the container engine was listed.
//!
//! Until then the agent knows of its containers what an earlier agent recorded: after a boot they
//! have ended, and no inspection has shown it yet. Never: a conclusion about a container.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{state::Engine, timer::Timer};
use crate::{runtime::ContainerRuntime, task::key::TaskKey};

/// Timeout of the first inspection of every container: a task whose containers the engine does not
/// show until then stays as it was last known.
const INSPECTION_PATIENCE: Duration = Duration::from_secs(30);

impl<R: ContainerRuntime> Engine<R> {
    /// Whether what this agent reports of its tasks is what inspections have shown.
    pub(super) fn has_inspected(&self) -> bool {
        self.synced && self.inspections.unseen.is_empty()
    }

    /// Begins the inspections that follow the first listing since the engine answers.
    pub(super) fn begin_inspections(&mut self) {
        let unseen = self.tasks.iter().filter(|(_, task)| task.observed.awaits_inspection());
        self.inspections.unseen = unseen.map(|(key, _)| *key).collect();
        self.set_inspection_patience();
    }

    /// A task is not what it was taken for, and its containers are looked at again.
    pub(super) fn inspect_again(&mut self, key: TaskKey) {
        self.inspections.unseen.insert(key);
        self.set_inspection_patience();
    }

    fn set_inspection_patience(&mut self) {
        self.inspections.patience_ends = Some(Instant::now() + INSPECTION_PATIENCE);
        if !self.inspections.unseen.is_empty() {
            self.set_timer(INSPECTION_PATIENCE, Timer::Inspections);
        }
    }

    /// After every change of a task.
    pub(super) fn note_inspections(&mut self, key: TaskKey) {
        let waits = self.tasks.get(&key).is_some_and(|task| task.observed.awaits_inspection());
        if !waits {
            self.inspections.unseen.remove(&key);
        }
    }

    pub(super) fn inspections_are_overdue(&mut self) {
        // Of an earlier listing.
        if self.inspections.patience_ends.is_some_and(|end| end > Instant::now()) {
            return;
        }
        for key in std::mem::take(&mut self.inspections.unseen) {
            warn!(
                host = %self.config.host, task = %key.task,
                "the container engine does not show this task's containers: it stays as last known",
            );
        }
    }
}
