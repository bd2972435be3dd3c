//! Whether every task was looked at since the container engine was listed.
//!
//! Until then the agent knows of its containers what an earlier one recorded: after a boot they
//! have ended, and nobody has seen it yet. Never: a conclusion about a container.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{state::Engine, timer::Timer};
use crate::{runtime::ContainerRuntime, task::key::TaskKey};

/// A container that the engine does not show for so long keeps nobody waiting: its task stays as it
/// was last known.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);

impl<R: ContainerRuntime> Engine<R> {
    /// Whether what this agent says of its tasks is what it has seen.
    pub(super) fn has_looked(&self) -> bool {
        self.synced && self.look.unseen.is_empty()
    }

    /// The engine was listed for the first time since it answers.
    pub(super) fn begin_look(&mut self) {
        let unseen = self.tasks.iter().filter(|(_, task)| task.observed.awaits_look());
        self.look.unseen = unseen.map(|(key, _)| *key).collect();
        self.set_look_patience();
    }

    /// A task is not what it was taken for, and its containers are looked at again.
    pub(super) fn look_again(&mut self, key: TaskKey) {
        self.look.unseen.insert(key);
        self.set_look_patience();
    }

    fn set_look_patience(&mut self) {
        self.look.patience_ends = Some(Instant::now() + LOOK_PATIENCE);
        if !self.look.unseen.is_empty() {
            self.set_timer(LOOK_PATIENCE, Timer::Look);
        }
    }

    /// After every change of a task.
    pub(super) fn look_goes_on(&mut self, key: TaskKey) {
        let waits = self.tasks.get(&key).is_some_and(|task| task.observed.awaits_look());
        if !waits {
            self.look.unseen.remove(&key);
        }
    }

    pub(super) fn look_is_due(&mut self) {
        // Of an earlier listing.
        if self.look.patience_ends.is_some_and(|end| end > Instant::now()) {
            return;
        }
        for key in std::mem::take(&mut self.look.unseen) {
            warn!(
                host = %self.config.host, task = %key.task,
                "the container engine does not show this task's containers: it stays as last known",
            );
        }
    }
}
