//! What the engine waits for by itself.

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
    /// What the engine does not show is waited for no longer.
    Inspections,
    /// Images are cleaned up.
    Images,
    /// The engine said that its images changed.
    ImageList,
    /// Room is made again if there still is too little.
    DiskCleanup,
}
