//! The images that tasks have used, what the container engine holds, and the clean-up under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longshore_common::{clock::Timestamp, image_reference::familiar};

use crate::{
    engine::images::{ImageOrigin, Removal, UsedImage},
    runtime::ImageSummary,
    settings::ImageCleanup,
    task::key::TaskKey,
};

/// The images that tasks have used, and the cycle under way.
#[derive(Default)]
pub(super) struct KnownImages {
    pub(super) used: BTreeMap<String, UsedImage>,
    /// Which image each reference meant when it was used last.
    pub(super) by_reference: BTreeMap<String, String>,
    pub(super) cycle: CleanupCycle,
    /// Disk space is short: the next cycle begins when this one has ended.
    pub(super) space_wanted: bool,
    /// Images whose removal failed, which the log has told.
    pub(super) refused: BTreeSet<String>,
    /// Tasks that wait for a removal to end.
    pub(super) waiting: BTreeSet<TaskKey>,
    pub(super) here: ImageInventory,
    /// References that were pulled, and of which the image is being asked for.
    pub(super) pulled: BTreeSet<String>,
    /// An image with a digest was in a registry: so with an engine's own store, not with containerd's.
    pub(super) digests_prove: bool,
}

/// References of the images that the engine holds, for which the coordinator prefers this host: as of
/// the last listing, with what was pulled and removed since.
#[derive(Default)]
pub(super) struct ImageInventory {
    /// Tags and digests, in the form of [`familiar`].
    pub(super) references: BTreeSet<String>,
    /// References that came since the listing under way began, which that listing may not show.
    pub(super) since_look: BTreeSet<String>,
    /// Number of changes so far.
    pub(super) changes: u64,
    /// A listing is on its way.
    pub(super) look_due: bool,
}

#[derive(Default)]
pub(super) enum CleanupCycle {
    #[default]
    Idle,
    Looking {
        rules: ImageCleanup,
        /// Images that were known when the cycle began, and were not used since.
        known: BTreeSet<String>,
    },
    Removing {
        /// When the removals were chosen.
        since: Timestamp,
        current: Removal,
        rest: VecDeque<Removal>,
        removed: usize,
    },
}

/// The images that the container engine lists, and those that containers use.
pub(super) struct ListedImages {
    pub(super) images: Vec<ImageSummary>,
    pub(super) in_use: BTreeSet<String>,
}

impl KnownImages {
    pub(super) fn known_by_ledger(used: BTreeMap<String, UsedImage>) -> Self {
        let by_reference = used
            .iter()
            .flat_map(|(id, image)| image.references.iter().map(|name| (name.clone(), id.clone())))
            .collect();
        KnownImages { used, by_reference, ..KnownImages::default() }
    }

    /// Whether this agent pulled what this reference means, and has not removed it since.
    pub(super) fn was_pulled(&self, reference: &str) -> bool {
        let id = self.by_reference.get(&*familiar(reference));
        id.and_then(|id| self.used.get(id)).is_some_and(|image| image.origin == ImageOrigin::Pulled)
    }

    /// Whether what is being removed is what this reference may mean.
    pub(super) fn is_going(&self, reference: &str) -> bool {
        match &self.cycle {
            CleanupCycle::Idle | CleanupCycle::Looking { .. } => false,
            CleanupCycle::Removing { current, .. } => {
                current.references.contains(&*familiar(reference))
            }
        }
    }
}

impl ImageInventory {
    pub(super) fn add(&mut self, reference: String) {
        self.since_look.insert(reference.clone());
        self.changes += u64::from(self.references.insert(reference));
    }

    pub(super) fn remove(&mut self, reference: &str) {
        self.since_look.remove(reference);
        self.changes += u64::from(self.references.remove(reference));
    }

    pub(super) fn looked(&mut self, listed: &[ImageSummary]) {
        let mut references = std::mem::take(&mut self.since_look);
        let names = listed.iter().flat_map(|image| image.tags.iter().chain(&image.digests));
        references.extend(names.map(|name| familiar(name).into_owned()));
        if references != self.references {
            self.references = references;
            self.changes += 1;
        }
    }
}
