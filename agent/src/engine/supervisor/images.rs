//! Cleans up images: what tasks use is taken down, and what none needs any more is removed.
//!
//! Owns one cycle at a time: look, then one removal after the other; and what the coordinator is told
//! of the images that are here. Never: a removal of what a task names that has not stopped, also one
//! that is only ordered; a create or a pull beside the removal of what it needs; which images may go
//! (that is `images`).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::Timestamp,
    image_reference::{by_digest, familiar},
    limits::IMAGES_REPORTED_MAX,
    protocol::{HeldImages, ReportPosition},
};
use tracing::{debug, info, warn};

use super::{
    finished::Finished,
    known_images::{CleanupCycle, ImageInventory, ListedImages},
    state::Engine,
    timer::Timer,
};
use crate::{
    engine::{
        images::{ImageOrigin, NeededImages, Removal, UsedImage, removals},
        plan::Step,
    },
    runtime::{ContainerRuntime, Image, ImageSummary, RuntimeError},
    settings::ImageCleanup,
    task::key::TaskKey,
};

/// Time from the first change of images until the engine is asked for its images.
const LOOK_AFTER: Duration = Duration::from_secs(20);

impl<R: ContainerRuntime> Engine<R> {
    /// What the host holds, unless that is what the coordinator has been told last.
    pub(super) fn images_to_tell(&self, told: Option<ReportPosition>) -> Option<HeldImages> {
        let ImageInventory { references, changes, .. } = &self.images.here;
        let position = ReportPosition { session: self.config.session, seq: *changes };
        let news = *changes > 0 && told != Some(position);
        news.then(|| HeldImages {
            position,
            references: references.iter().take(IMAGES_REPORTED_MAX).cloned().collect(),
        })
    }

    /// Somebody pulled, tagged or removed an image, perhaps one of many.
    pub(super) fn images_changed(&mut self) {
        if !std::mem::replace(&mut self.images.here.look_due, true) {
            self.set_timer(LOOK_AFTER, Timer::ImageList);
        }
    }

    /// The engine may hold other images than were known.
    pub(super) fn list_images(&mut self) {
        self.images.here.look_due = false;
        self.images.here.since_look.clear();
        let runtime = self.runtime.clone();
        self.steps.spawn(async move { Finished::ImagesListed(runtime.images().await) });
    }

    pub(super) fn images_listed(&mut self, listed: Result<Vec<ImageSummary>, RuntimeError>) {
        match listed {
            Ok(listed) => self.images.here.looked(&listed),
            Err(error) => debug!(host = %self.config.host, %error, "images cannot be listed now"),
        }
    }

    /// The engine has this image, by this name.
    pub(super) fn image_is_here(&mut self, reference: &str, image: &Image) {
        self.images.here.add(familiar(reference).into_owned());
        if let Some(digest) = &image.digest {
            self.images.here.add(familiar(&by_digest(reference, digest)).into_owned());
        }
        self.image_used(reference, &image.id);
    }

    /// Whether an engine's digests show what a registry has.
    pub(super) fn digests_prove(&mut self, prove: bool) {
        self.images.digests_prove = prove;
    }

    /// A registry has what this names.
    pub(super) fn image_pulled(&mut self, reference: &str) {
        self.images.pulled.insert(familiar(reference).into_owned());
    }

    /// The digest by which others can pull this image too.
    pub(super) fn digest_of_registry(&self, image: &Image) -> Option<String> {
        let used = self.images.used.get(&image.id);
        let pulled = used.is_some_and(|used| used.origin == ImageOrigin::Pulled);
        image.digest.clone().filter(|_| pulled || self.images.digests_prove)
    }

    /// A task uses this image, or it was pulled for one.
    pub(super) fn image_used(&mut self, reference: &str, id: &str) {
        let now = self.now();
        let reference = familiar(reference).into_owned();
        self.images.by_reference.insert(reference.clone(), id.to_owned());
        let pulled = self.images.pulled.remove(&reference);
        let new =
            || UsedImage { origin: ImageOrigin::Local, used_at: now, references: BTreeSet::new() };
        let image = self.images.used.entry(id.to_owned()).or_insert_with(new);
        if pulled {
            image.origin = ImageOrigin::Pulled;
        }
        image.references.insert(reference);
        image.used_at = now;
        self.unwritten.images.insert(id.to_owned(), Some(image.clone()));
        if let CleanupCycle::Looking { known, .. } = &mut self.images.cycle {
            known.remove(id);
        }
    }

    /// A task that is cleaned up used these images until now.
    pub(super) fn images_left(&mut self, references: &[Arc<str>]) {
        for reference in references {
            if let Some(id) = self.images.by_reference.get(&*familiar(reference)).cloned() {
                self.image_used(reference, &id);
            }
        }
    }

    /// Whether the step has to wait until an image is gone; its task is planned anew then.
    pub(super) fn waits_for_removal(&mut self, key: TaskKey, index: usize, step: &Step) -> bool {
        let needs_image = match step {
            Step::Pull { .. } | Step::Load { .. } | Step::Create { .. } => true,
            Step::Start { .. }
            | Step::Inspect { .. }
            | Step::Stop { .. }
            | Step::Kill { .. }
            | Step::Remove { .. }
            | Step::LastLines { .. } => false,
        };
        let Some(task) = self.tasks.get(&key).filter(|_| needs_image) else { return false };
        let waits = self.images.is_going(&task.desired.containers[index].image);
        if waits {
            self.images.waiting.insert(key);
        }
        waits
    }

    pub(super) fn set_image_cleanup(&mut self) {
        if self.config.images.enabled {
            self.set_timer(self.config.images.interval, Timer::Images);
        }
    }

    pub(super) fn image_cleanup_due(&mut self) {
        self.set_image_cleanup();
        self.look_at_images(self.config.images.clone());
    }

    /// Removes what nobody needs at once, whatever its age.
    pub(super) fn remove_images_for_space(&mut self) {
        self.images.space_wanted = true;
        self.look_at_images(self.config.images.for_room());
    }

    fn look_at_images(&mut self, rules: ImageCleanup) {
        let idle = matches!(self.images.cycle, CleanupCycle::Idle);
        if !(rules.enabled && self.synced && idle) {
            return;
        }
        self.images.space_wanted = false;
        let known = self.images.used.keys().cloned().collect();
        self.images.cycle = CleanupCycle::Looking { rules, known };
        self.images.here.since_look.clear();
        let runtime = self.runtime.clone();
        self.steps.spawn(async move { Finished::ImagesSeen(held(&*runtime).await) });
    }

    pub(super) fn images_seen(&mut self, held: Result<ListedImages, RuntimeError>) {
        let cycle = std::mem::take(&mut self.images.cycle);
        let CleanupCycle::Looking { rules, known } = cycle else { return };
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                debug!(host = %self.config.host, %error, "images cannot be cleaned up now");
                return self.cycle_ended(0);
            }
        };
        self.images.here.looked(&held.images);
        let now = self.now();
        let present: BTreeSet<&String> = held.images.iter().map(|image| &image.id).collect();
        for id in known.iter().filter(|id| !present.contains(id)) {
            self.image_gone(id);
        }
        for id in &held.in_use {
            if let Some(image) = self.images.used.get_mut(id) {
                image.used_at = now;
                self.unwritten.images.insert(id.clone(), Some(image.clone()));
            }
        }
        let needed = NeededImages { ids: held.in_use, references: self.references_needed() };
        let prove = self.images.digests_prove;
        let removals = removals(&self.images.used, &held.images, &needed, &rules, prove, now);
        self.next_removal(now, removals.into(), 0);
    }

    fn next_removal(&mut self, since: Timestamp, mut rest: VecDeque<Removal>, removed: usize) {
        let needed = if rest.is_empty() { BTreeSet::new() } else { self.references_needed() };
        let current = loop {
            let Some(removal) = rest.pop_front() else { return self.cycle_ended(removed) };
            let used = self.images.used.get(&removal.id);
            // It may have been ordered, pulled or used since it was looked at.
            if needed.is_disjoint(&removal.references) && used.is_some_and(|u| u.used_at <= since) {
                break removal;
            }
        };
        let (runtime, names) = (self.runtime.clone(), current.names.clone());
        self.images.cycle = CleanupCycle::Removing { since, current, rest, removed };
        self.steps.spawn(async move {
            let mut result = Ok(());
            for name in &names {
                result = match runtime.remove_image(name).await {
                    Err(RuntimeError::NotFound { .. }) => Ok(()),
                    removed => removed,
                };
                if result.is_err() {
                    break;
                }
            }
            Finished::ImageRemoved(result)
        });
    }

    pub(super) fn image_removed(&mut self, result: Result<(), RuntimeError>) {
        let cycle = std::mem::take(&mut self.images.cycle);
        let CleanupCycle::Removing { since, current, rest, mut removed } = cycle else { return };
        let (host, image) = (self.config.host, current.names.join(", "));
        // A name may be gone also when the whole is not.
        for reference in &current.references {
            self.lanes.images.retain(|known, _| *familiar(known) != **reference);
        }
        match result {
            Ok(()) => {
                info!(%host, image, bytes = current.bytes, "removed an image that no task needs");
                self.image_gone(&current.id);
                current.references.iter().for_each(|name| self.images.here.remove(name));
                removed += 1;
            }
            Err(error) if self.images.refused.insert(current.id.clone()) => {
                warn!(%host, image, %error, "an image cannot be removed; trying again each time");
            }
            Err(error) => debug!(%host, image, %error, "an image still cannot be removed"),
        }
        // Before the next one is chosen, so that what they need counts; they do not wait for it.
        self.next_removal(since, rest, removed);
        for key in std::mem::take(&mut self.images.waiting) {
            self.advance(key);
        }
    }

    fn cycle_ended(&mut self, removed: usize) {
        debug!(host = %self.config.host, removed, "looked for images that no task needs");
        self.images.cycle = CleanupCycle::Idle;
        if removed > 0 {
            self.disk_pressure.request_reading();
        }
        if self.images.space_wanted {
            self.remove_images_for_space();
        }
    }

    fn image_gone(&mut self, id: &str) {
        self.images.refused.remove(id);
        if let Some(image) = self.images.used.remove(id) {
            for reference in &image.references {
                if self.images.by_reference.get(reference).is_some_and(|of| of == id) {
                    self.images.by_reference.remove(reference);
                }
            }
            self.unwritten.images.insert(id.to_owned(), None);
        }
    }

    /// What tasks name that have not stopped.
    fn references_needed(&self) -> BTreeSet<String> {
        self.tasks
            .values()
            .filter(|task| !task.observed.has_stopped())
            .flat_map(|task| &task.desired.containers)
            .map(|container| familiar(&container.image).into_owned())
            .collect()
    }
}

/// Containers last: one that is made meanwhile is seen.
async fn held<R: ContainerRuntime>(runtime: &R) -> Result<ListedImages, RuntimeError> {
    let images = runtime.images().await?;
    Ok(ListedImages { images, in_use: runtime.images_in_use().await? })
}
