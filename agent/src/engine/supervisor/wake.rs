//! What the engine does when a timer runs out.

use tokio::time::Instant;

use super::{state::Engine, timer::Timer};
use crate::runtime::ContainerRuntime;

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let hold = self.parked.as_ref().map(|parked| parked.until);
        timer.into_iter().chain(hold).min()
    }

    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Timer::Retry(key, index) => {
                    let task = self.tasks.get_mut(&key);
                    if let Some(c) = task.and_then(|t| t.observed.containers.get_mut(index)) {
                        c.pause_ends();
                    }
                    self.advance(key);
                }
                Timer::Leftovers(key) => self.remove_leftovers(key),
                Timer::Strays => self.release_strays(),
                Timer::MetadataFiles(key) => self.complete_metadata_files(key),
                Timer::Inspections => self.inspections_are_overdue(),
                Timer::Ledger => self.ledger_due(),
                Timer::Images => self.image_cleanup_due(),
                Timer::ImageList => self.list_images(),
                Timer::DiskCleanup => self.disk_cleanup_due(),
                Timer::Deadline(key) => {
                    if let Some(task) = self.tasks.get_mut(&key) {
                        task.deadline = None;
                    }
                    self.advance(key);
                }
                Timer::Cleanup(key) => {
                    if let Some(task) = self.tasks.get_mut(&key) {
                        task.cleanup_due = true;
                        if let Some(stopped_at) = task.observed.execution_stopped_at {
                            self.stopped.remove(&(stopped_at, key));
                        }
                    }
                    self.advance(key);
                }
            }
        }
        if self.parked.as_ref().is_some_and(|parked| parked.until <= now) {
            self.release_parked();
        }
    }
}
