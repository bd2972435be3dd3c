//! Clean-ups while a file system that tasks fill has little room: images and stopped tasks that nobody
//! needs are removed at once. A host without room takes no new task.
//!
//! Also keeps the number of stopped tasks within its bound. Never: a touch of what runs; a reading of a
//! file system (that is `disk`).

use std::time::Duration;

use tracing::debug;

use super::{state::Engine, timer::Timer};
use crate::{
    runtime::{ContainerRuntime, RuntimeError, Unknown},
    task::{key::TaskKey, observed::CallOutcome},
};

/// Interval of clean-ups while a disk has little room.
const MADE_EVERY: Duration = Duration::from_secs(60);
/// Number of stopped tasks that are kept even then: an operator may be looking at the newest.
const STOPPED_KEPT: usize = 1;
/// As the kernel says it, and every program that hears it.
const NO_SPACE: &str = "no space left on device";

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn disk_seen(&mut self) {
        let Some(watch) = &mut self.disk_pressure.watch else { return };
        let (room, whole) = {
            let disk = watch.seen.borrow_and_update();
            (disk.room, disk.whole)
        };
        self.disk_pressure.whole |= whole;
        let was = std::mem::replace(&mut self.disk_pressure.room, room);
        if room > was {
            self.clean_up_disks();
        }
    }

    pub(super) fn disk_cleanup_due(&mut self) {
        self.disk_pressure.timer_set = false;
        if self.disk_pressure.is_short() {
            self.clean_up_disks();
        }
    }

    pub(super) fn clean_up_disks(&mut self) {
        self.keep_newest_stopped(STOPPED_KEPT);
        self.remove_images_for_space();
        if !std::mem::replace(&mut self.disk_pressure.timer_set, true) {
            self.set_timer(MADE_EVERY, Timer::DiskCleanup);
        }
    }

    /// The error of a call that failed for want of room names the file system, and disks are cleaned up
    /// before the call is tried again.
    pub(super) fn with_disk_advice(&mut self, mut outcome: CallOutcome) -> CallOutcome {
        let error = match &mut outcome {
            CallOutcome::Pulled(Err(error))
            | CallOutcome::Loaded(Err(error))
            | CallOutcome::Created(Err(error))
            | CallOutcome::Started(Err(error)) => error,
            CallOutcome::Pulled(Ok(()))
            | CallOutcome::Loaded(Ok(()))
            | CallOutcome::Created(Ok(_))
            | CallOutcome::Started(Ok(()))
            | CallOutcome::PullCancelled
            | CallOutcome::Inspected(_)
            | CallOutcome::Stopped(_)
            | CallOutcome::Removed(_)
            | CallOutcome::LastLines(_) => return outcome,
        };
        if !error.to_string().contains(NO_SPACE) {
            return outcome;
        }
        if let RuntimeError::Unknown(Unknown::Engine { message }) = error
            && let Some(advice) = self.disk_pressure.advice()
        {
            *message = format!("{message}; {advice}");
        }
        // Not looked at now: what did not fit is only being taken away.
        self.clean_up_disks();
        outcome
    }

    /// Has all stopped tasks but the newest `kept` cleaned up, ahead of their time.
    pub(super) fn keep_newest_stopped(&mut self, kept: usize) {
        let mut due: Vec<TaskKey> = Vec::new();
        while self.stopped.len() > kept
            && let Some((_, key)) = self.stopped.pop_first()
        {
            // One that was ordered anew since goes on.
            if let Some(task) = self.tasks.get_mut(&key).filter(|task| task.may_be_forgotten()) {
                task.cleanup_due = true;
                due.push(key);
            }
        }
        for key in due {
            debug!(host = %self.config.host, task = %key.task, "cleaned up ahead of its time");
            self.advance(key);
        }
    }
}
