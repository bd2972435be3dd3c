//! Results of calls and other work that the engine has spawned.

use std::sync::Arc;

use super::{known_images::ListedImages, lanes::Lane};
use crate::{
    mounts::protocol::TaskMounts,
    runtime::{Image, ImageSource, ImageSummary, RuntimeError},
    task::{key::TaskKey, observed::CallOutcome},
};

/// What became of a call.
pub(super) enum Finished {
    Step {
        key: TaskKey,
        serial: u64,
        index: usize,
        lane: Lane,
        outcome: Box<CallOutcome>,
    },
    Pull {
        source: ImageSource,
        result: Option<Result<(), RuntimeError>>,
    },
    Image {
        reference: Arc<str>,
        result: Result<Image, RuntimeError>,
    },
    /// What a cycle of the clean-up of images looks at.
    ImagesSeen(Result<ListedImages, RuntimeError>),
    ImagesListed(Result<Vec<ImageSummary>, RuntimeError>),
    ImageRemoved(Result<(), RuntimeError>),
    /// The tasks that have mounts.
    MountsListed(Result<Vec<TaskMounts>, String>),
    /// Mounts of tasks that nothing is known of.
    StraysReleased,
    MetadataFile {
        key: TaskKey,
        serial: u64,
        index: usize,
        result: Result<(), RuntimeError>,
    },
    /// Result of removing the leftovers of a task that is cleaned up.
    Leftovers {
        key: TaskKey,
        serial: u64,
        result: Result<(), RuntimeError>,
    },
}
