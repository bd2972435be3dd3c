//! Pulls: one for each image, for every container that needs the image. Each registry has a maximum of
//! pulls at once, so that a registry that hangs holds up its own pulls alone.
//!
//! Never: a conclusion from a failed pull (that is `observed`), or a pull that nobody waits for.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{id::TaskId, index::FastMap};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{finished::Finished, registry::Pulling, state::Engine};
use crate::{
    runtime::{ContainerRuntime, ImageSource, PullProgress, RuntimeError, Unknown},
    settings::PullPolicy,
    task::{
        key::TaskKey,
        observed::{Call, CallOutcome, PullAmount},
    },
};

/// Interval at which a long pull is logged and reported.
const PULL_PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Time for which a registry that did not answer is not asked again while the host has the image.
const SILENT_FOR: Duration = Duration::from_secs(5 * 60);

/// What the engine has told of a pull's layers.
#[derive(Default)]
struct Layers(FastMap<String, PullAmount>);

impl Layers {
    fn take(&mut self, progress: PullProgress) {
        let (Some(layer), Some(of_bytes)) = (progress.layer, progress.total_bytes) else { return };
        let amount = self.0.entry(layer).or_default();
        // A layer is told of twice: as it comes, and as it is unpacked.
        amount.of_bytes = amount.of_bytes.max(of_bytes);
        amount.bytes = amount.bytes.max(progress.current_bytes.unwrap_or_default());
    }

    fn amount(&self) -> PullAmount {
        self.0.values().fold(PullAmount::default(), |sum, layer| PullAmount {
            bytes: sum.bytes + layer.bytes,
            of_bytes: sum.of_bytes + layer.of_bytes,
        })
    }
}

/// Maximum of tasks that one line of the log names.
const TASKS_NAMED_MAX: usize = 4;

/// The tasks that wait for a pull, for the log.
pub(super) fn tasks_named(wanted_by: &[(TaskKey, usize)]) -> String {
    let tasks: BTreeSet<TaskId> = wanted_by.iter().map(|(key, _)| key.task).collect();
    let named: Vec<String> = tasks.iter().take(TASKS_NAMED_MAX).map(TaskId::to_string).collect();
    match tasks.len() - named.len() {
        0 => named.join(","),
        more => format!("{} and {more} more", named.join(",")),
    }
}

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn pull(&mut self, key: TaskKey, index: usize, source: ImageSource) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.observed.containers[index].call_leaves(Call::Pull { amount: None });
        task.observed.pull_begins(now);
        let registry = source.registry().to_owned();
        let pulling = self.lanes.pulling.entry(source.clone()).or_insert_with(|| {
            self.lanes.registries.entry(registry.clone()).or_default().waiting.push_back(source);
            Pulling { wanted_by: Vec::new(), begun: false, cancel: CancellationToken::new() }
        });
        pulling.wanted_by.push((key, index));
        self.begin_pulls(&registry);
        self.tell(key);
    }

    fn begin_pulls(&mut self, registry: &str) {
        let falls_back = self.rules.pull == PullPolicy::PullFirst;
        while let Some(registry) = self.lanes.registries.get_mut(registry)
            && registry.begun < self.lanes.pulls_max
        {
            let Some(source) = registry.waiting.pop_front() else { return };
            let Some(pulling) = self.lanes.pulling.get_mut(&source) else { continue };
            pulling.begun = true;
            registry.begun += 1;
            let silence = registry.silence().filter(|_| falls_back);
            let (cancel, host) = (pulling.cancel.clone(), self.config.host);
            let tasks = tasks_named(&pulling.wanted_by);
            match &silence {
                None => info!(%host, image = &*source.reference, tasks, "pulling"),
                Some(_) => debug!(%host, image = &*source.reference, "its registry is silent"),
            }
            let (runtime, news) = (self.runtime.clone(), self.pull_news.0.clone());
            self.steps.spawn(async move {
                let mut said = Instant::now();
                let mut layers = Layers::default();
                let progress = |progress: PullProgress| {
                    layers.take(progress);
                    if said.elapsed() >= PULL_PROGRESS_EVERY {
                        said = Instant::now();
                        let PullAmount { bytes, of_bytes } = layers.amount();
                        info!(%host, image = &*source.reference, bytes, of_bytes, "pulling");
                        // One that finds no room is followed by the next.
                        let _ = news.try_send((source.clone(), layers.amount()));
                    }
                };
                let pull = async {
                    let is_here = async || runtime.image(&source.reference).await.is_ok();
                    if let Some(message) = silence
                        && is_here().await
                    {
                        return Err(RuntimeError::NotAsked { message });
                    }
                    match runtime.pull(&source, progress).await {
                        // What the host has will do, and trying on would only take longer.
                        Err(RuntimeError::Unknown(Unknown::Registry { message }))
                            if falls_back && is_here().await =>
                        {
                            Err(RuntimeError::NotAsked { message })
                        }
                        pulled => pulled,
                    }
                };
                let result = tokio::select! {
                    result = pull => Some(result),
                    () = cancel.cancelled() => None,
                };
                Finished::Pull { source: source.clone(), result }
            });
        }
    }

    pub(super) fn pull_progressed(&mut self, source: &ImageSource, amount: PullAmount) {
        let wanted_by = self.lanes.pulling.get(source).map(|pulling| pulling.wanted_by.clone());
        for (key, index) in wanted_by.unwrap_or_default() {
            if let Some(task) = self.tasks.get_mut(&key) {
                task.observed.containers[index].pull_progresses(amount);
                self.tell(key);
            }
        }
    }

    /// A container that waits for an image need not wait any more: its task stops.
    pub(super) fn leave_pulls(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        if task.observed.stop_cause(&task.desired).is_none() {
            return;
        }
        let mut left = Vec::new();
        for (source, pulling) in &mut self.lanes.pulling {
            pulling.wanted_by.retain(|(wanted_by, index)| {
                let leaves = *wanted_by == key;
                if leaves {
                    left.push(*index);
                }
                !leaves
            });
            if pulling.wanted_by.is_empty() && pulling.begun {
                debug!(host = %self.config.host, image = &*source.reference, "nobody needs this pull");
                pulling.cancel.cancel();
            }
        }
        let registries = &mut self.lanes.registries;
        self.lanes.pulling.retain(|source, pulling| {
            let stays = pulling.begun || !pulling.wanted_by.is_empty();
            if !stays && let Some(registry) = registries.get_mut(source.registry()) {
                registry.waiting.retain(|waiting| waiting != source);
            }
            stays
        });
        for index in left {
            self.record(key, index, CallOutcome::PullCancelled);
        }
    }

    pub(super) fn pull_finished(
        &mut self,
        source: &ImageSource,
        result: Option<Result<(), RuntimeError>>,
    ) {
        let host = self.config.host;
        let registry = source.registry().to_owned();
        self.pull_left(&registry, result.as_ref());
        self.lanes.images.remove(&source.reference);
        let pulling = self.lanes.pulling.remove(source);
        let wanted_by = pulling.map(|pulling| pulling.wanted_by).unwrap_or_default();
        match &result {
            Some(Ok(())) => info!(%host, image = &*source.reference, "pulled"),
            Some(Err(error @ RuntimeError::NotAsked { .. })) => {
                debug!(%host, image = &*source.reference, %error, "using the image that is here");
            }
            Some(Err(error)) => {
                let tasks = tasks_named(&wanted_by);
                warn!(%host, image = &*source.reference, tasks, %error, "the pull failed");
            }
            None => {}
        }
        for (key, index) in wanted_by {
            let outcome = match &result {
                Some(result) => CallOutcome::Pulled(result.clone()),
                None => CallOutcome::PullCancelled,
            };
            self.record(key, index, outcome);
        }
        if let Some(Ok(())) = result {
            self.disk_pressure.request_reading();
            self.image_pulled(&source.reference);
            self.ask_for_image(source.reference.clone());
        }
        self.begin_pulls(&registry);
    }

    /// A pull from this registry is over: whether the registry answers is known now.
    fn pull_left(&mut self, name: &str, result: Option<&Result<(), RuntimeError>>) {
        let Some(registry) = self.lanes.registries.get_mut(name) else { return };
        registry.begun = registry.begun.saturating_sub(1);
        match result {
            Some(Err(RuntimeError::NotAsked { message })) => {
                if registry.silence().is_none() {
                    warn!(
                        host = %self.config.host, registry = name, error = message,
                        "a registry does not answer: for {} s, images of it that are here are used \
                         without asking it; with image_pull = \"prefer-cached\" they always are",
                        SILENT_FOR.as_secs(),
                    );
                    let until = Instant::now() + SILENT_FOR;
                    registry.silent = Some((until, message.clone()));
                }
            }
            Some(Ok(())) => registry.silent = None,
            Some(Err(_)) | None => {}
        }
        if registry.begun == 0 && registry.waiting.is_empty() && registry.silence().is_none() {
            self.lanes.registries.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_as_far_as_its_layers_together_and_never_goes_back() {
        let mut layers = Layers::default();
        let mut said = |layer: &str, status: &str, bytes, of_bytes| {
            layers.take(PullProgress {
                layer: Some(layer.to_owned()),
                status: status.to_owned(),
                current_bytes: bytes,
                total_bytes: of_bytes,
            });
            let PullAmount { bytes, of_bytes } = layers.amount();
            (bytes, of_bytes)
        };
        assert_eq!(said("a", "Pulling fs layer", None, None), (0, 0));
        assert_eq!(said("a", "Downloading", Some(10), Some(100)), (10, 100));
        assert_eq!(said("b", "Downloading", Some(5), Some(50)), (15, 150));
        assert_eq!(said("a", "Downloading", Some(100), Some(100)), (105, 150));
        assert_eq!(said("a", "Extracting", Some(20), Some(100)), (105, 150));
    }
}
