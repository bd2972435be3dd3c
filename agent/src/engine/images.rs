//! Images that tasks of this host have used: what is remembered of them, and which of them may go.
//!
//! Pure: what the container engine holds, what tasks need and the time come in. Never: an image that a
//! task or a container needs, that somebody else has named, that the operator keeps, or that no
//! registry is known to have: it could not be had again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use longshore_common::{clock::Timestamp, image_reference::familiar};
use serde::{Deserialize, Serialize};

use crate::{pause::REFERENCE, runtime::ImageSummary, settings::ImageCleanup};

#[cfg(test)]
mod tests;

/// What is remembered of an image, by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsedImage {
    /// In the form of [`familiar`]. Some of them may mean another image by now.
    pub(crate) references: BTreeSet<String>,
    /// When it was pulled or last needed, whichever is later.
    pub(crate) used_at: Timestamp,
    #[serde(default)]
    pub(crate) origin: ImageOrigin,
}

/// Where an image came from, as its pull has shown or that there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ImageOrigin {
    /// An earlier agent took it down, and did not say.
    #[default]
    Unknown,
    /// The image was here when it was first used: perhaps it was built here.
    Local,
    /// This agent pulled it.
    Pulled,
}

impl ImageOrigin {
    /// Whether the image can be had again. Digests tell only of an engine that gives them to nothing
    /// else, and only where nothing better is known.
    fn is_registry(self, image: &ImageSummary, digests_prove: bool) -> bool {
        match self {
            ImageOrigin::Pulled => true,
            ImageOrigin::Local => false,
            ImageOrigin::Unknown => digests_prove && !image.digests.is_empty(),
        }
    }
}

/// What may not go.
#[derive(Clone, Debug, Default)]
pub(crate) struct NeededImages {
    /// Ids of the images of every container on the host, whoever made the container.
    pub(crate) ids: BTreeSet<String>,
    /// What tasks name, in the form of [`familiar`].
    pub(crate) references: BTreeSet<String>,
}

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) id: String,
    /// By which it is removed: its tags, or its id when it has none.
    pub(crate) names: Vec<String>,
    /// All that a task could name it by, in the form of [`familiar`].
    pub(crate) references: BTreeSet<String>,
    pub(crate) bytes: u64,
}

/// The images that may go now, the one that was not used for longest first.
pub(crate) fn removals(
    used: &BTreeMap<String, UsedImage>,
    present: &[ImageSummary],
    needed: &NeededImages,
    rules: &ImageCleanup,
    digests_prove: bool,
    now: Timestamp,
) -> Vec<Removal> {
    // Of the operator's, and what the agent makes itself.
    let kept = rules.exclude.iter().map(String::as_str).chain([REFERENCE.as_str()]);
    let kept: BTreeSet<Cow<'_, str>> = kept.map(familiar).collect();
    let mut found: Vec<(Timestamp, Removal)> = present
        .iter()
        .filter_map(|image| {
            let known = used.get(&image.id)?;
            let tags = familiar_all(&image.tags);
            let mut references = familiar_all(&image.digests);
            references.extend(tags.iter().cloned());
            let may_go = !needed.ids.contains(&image.id)
                && needed.references.is_disjoint(&references)
                && !references.iter().any(|name| kept.contains(name.as_str()))
                && known.origin.is_registry(image, digests_prove)
                && tags.is_subset(&known.references)
                && now.since(known.used_at) >= rules.minimum_age;
            let names =
                if image.tags.is_empty() { vec![image.id.clone()] } else { image.tags.clone() };
            let removal = Removal { id: image.id.clone(), names, references, bytes: image.bytes };
            may_go.then_some((known.used_at, removal))
        })
        .collect();
    found.sort_by(|(at, one), (other_at, other)| (at, &one.id).cmp(&(other_at, &other.id)));
    found.truncate(rules.removed_per_cycle);
    found.into_iter().map(|(_, removal)| removal).collect()
}

fn familiar_all(references: &[String]) -> BTreeSet<String> {
    references.iter().map(|reference| familiar(reference).into_owned()).collect()
}
