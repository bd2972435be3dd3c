//! Timers of the engine.

use crate::task::key::TaskKey;

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Retry(TaskKey, usize),
    Cleanup(TaskKey),
    /// The removal of a task's volumes is tried again.
    Leftovers(TaskKey),
    /// Mounts of earlier tasks are listed again.
    Strays,
    /// A container's `startTimeout` runs out.
    Deadline(TaskKey),
    /// Metadata files that could not be completed.
    MetadataFiles(TaskKey),
    /// The ledger that could not be written is tried again.
    Ledger,
    /// The first inspection is over, also of containers that the engine does not show.
    Inspections,
    /// Images are cleaned up.
    Images,
    /// The engine said that its images changed.
    ImageList,
    /// Disks are cleaned up again if there still is too little room.
    DiskCleanup,
}
