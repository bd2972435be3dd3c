//! Carries out steps: one call to the container engine each. Each kind of step has a maximum under way.
//!
//! A step that waits for a process, for a log or for a registry holds no slot that another kind of step
//! needs. Never: a decision what to do (that
//! is `plan`) or what an outcome means (that is `observed`).

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::{
    finished::Finished, lanes::Lane, state::Engine, task::TaskLeftovers, timer::Timer,
    watch::EngineNews,
};
use crate::{
    engine::plan::{Step, volumes},
    mounts::protocol::TaskMounts,
    pause,
    preparation::{self, Preparation},
    runtime::{ContainerChange, ContainerRuntime, EventSubject, Image, RuntimeError, RuntimeEvent},
    task::{
        desired::Role,
        key::TaskKey,
        observed::{Activity, CallOutcome, ContainerStage, NextStep, backoff, record::TaskRecord},
    },
};

/// First and longest pause before the removal of leftovers is tried again; the pause doubles.
const LEFTOVERS_RETRY_MIN: Duration = Duration::from_secs(1);
const LEFTOVERS_RETRY_MAX: Duration = Duration::from_secs(60);

impl<R: ContainerRuntime> Engine<R> {
    /// Takes a step now, or when its lane has room: then it is planned anew.
    pub(super) fn take(&mut self, key: TaskKey, index: usize, step: Step) {
        if self.waits_for_removal(key, index, &step) {
            return;
        }
        if let Step::Pull { source } = step {
            return self.pull(key, index, source);
        }
        let Some(lane) = Lane::of(&step) else { return };
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let queue = self.lanes.of(lane);
        if queue.busy >= queue.max {
            if !std::mem::replace(&mut task.queued[index], true) {
                queue.waiting.push_back((key, index));
            }
            return;
        }
        queue.busy += 1;
        let serial = task.serial;
        let container = &mut task.observed.containers[index];
        container.call_leaves(step.call());
        if matches!(step, Step::Stop { .. }) {
            // The stop's deadline outlives this agent.
            self.unwritten.observations.insert(key, TaskRecord::from(&task.observed));
        }
        let creates = matches!(step, Step::Create { .. });
        debug!(host = %self.config.host, task = %key.task, index, step = step_name(&step), "step");
        let (runtime, preparation) = (self.runtime.clone(), self.preparation.clone());
        let launching = self.lanes.launching.clone();
        self.steps.spawn(async move {
            let outcome = Box::new(carry_out(&*runtime, &preparation, &launching, step).await);
            Finished::Step { key, serial, index, lane, outcome }
        });
        if creates {
            self.look_up_image(key, index);
        }
    }

    pub(super) fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Step { key, serial, index, lane, outcome } => {
                self.lanes.of(lane).busy -= 1;
                if self.tasks.get(&key).is_some_and(|task| task.serial == serial) {
                    self.record(key, index, *outcome);
                }
                self.take_waiting(lane);
                let launched = matches!(lane, Lane::Launch | Lane::Prepare);
                if launched && !self.lanes.is_launching() {
                    self.watch_what_was_started();
                }
            }
            Finished::Pull { source, result } => self.pull_finished(&source, result),
            Finished::Image { reference, result } => self.image_found(&reference, result),
            Finished::ImagesSeen(held) => self.images_seen(held),
            Finished::ImagesListed(listed) => self.images_listed(listed),
            Finished::ImageRemoved(result) => self.image_removed(result),
            Finished::MountsListed(listed) => self.mounts_listed(listed),
            Finished::StraysReleased => {}
            Finished::MetadataFile { key, serial, index, result } => {
                self.metadata_file_completed(key, serial, index, result)
            }
            Finished::Leftovers { key, serial, result } => {
                self.leftovers_removed(key, serial, result)
            }
        }
    }

    pub(super) fn record(&mut self, key: TaskKey, index: usize, outcome: CallOutcome) {
        let now = self.now();
        let outcome = self.with_disk_advice(outcome);
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(error) = failure(&outcome) {
            debug!(
                host = %self.config.host, task = %key.task,
                container = task.desired.containers[index].name, %error, "a call failed",
            );
        }
        let next = task.observed.record(&task.desired, index, outcome, &self.rules, now);
        if let NextStep::After(wait) = next {
            task.observed.containers[index].activity = Activity::Waiting;
            self.set_timer(wait, Timer::Retry(key, index));
        }
        self.advance(key);
    }

    fn take_waiting(&mut self, lane: Lane) {
        while self.lanes.of(lane).busy < self.lanes.of(lane).max {
            let Some((key, index)) = self.lanes.of(lane).waiting.pop_front() else { return };
            let queued = self.tasks.get_mut(&key).and_then(|task| task.queued.get_mut(index));
            if let Some(queued) = queued {
                *queued = false;
            }
            self.advance(key);
        }
    }

    pub(super) fn watched(&mut self, news: EngineNews) {
        match news {
            EngineNews::Up(version) => {
                self.digests_prove(!version.containerd_images);
                info!(
                    host = %self.config.host, docker = version.version, api = version.api_version,
                    "the container engine answers",
                );
            }
            EngineNews::Down(error) => {
                // Statuses stay as last known: unknown is not dead.
                if std::mem::replace(&mut self.synced, false) {
                    warn!(
                        host = %self.config.host, %error,
                        "the container engine is gone; tasks keep their last known status",
                    );
                } else {
                    debug!(host = %self.config.host, %error, "the container engine does not answer");
                }
                self.lanes.images.clear();
            }
            EngineNews::Listing(listing) => self.listed(&listing),
            EngineNews::Event(RuntimeEvent { at, subject }) => match subject {
                EventSubject::Image => {
                    self.lanes.images.clear();
                    self.images_changed();
                }
                EventSubject::Container { id, change } => {
                    // A jump of the clock comes before what happened after it.
                    self.now();
                    let Some(&(key, index)) = self.by_container.get(&id) else { return };
                    let Some(task) = self.tasks.get_mut(&key) else { return };
                    if let ContainerChange::ByOthers(what) = change {
                        info!(
                            host = %self.config.host, task = %key.task,
                            container = task.desired.containers[index].name, ?what,
                            "somebody changed a container of a task, which goes on",
                        );
                    }
                    if task.observed.event(&task.desired, index, change, at) {
                        self.advance(key);
                    }
                }
            },
        }
    }

    /// The digest is wanted for reports only, so it is asked for beside the create.
    fn look_up_image(&mut self, key: TaskKey, index: usize) {
        let Some(task) = self.tasks.get(&key) else { return };
        if task.desired.containers[index].role == Role::Pause {
            return;
        }
        let reference = task.desired.containers[index].image.clone();
        if let Some(image) = self.lanes.images.get(&reference) {
            let image = image.clone();
            self.image_used(&reference, &image.id);
            let digest = self.digest_of_registry(&image);
            if let Some(task) = self.tasks.get_mut(&key) {
                task.observed.containers[index].image_digest = digest;
            }
            return;
        }
        self.ask_for_image(reference);
    }

    /// Asks for the image, so that it is known as used; also an image that was only pulled.
    pub(super) fn ask_for_image(&mut self, reference: Arc<str>) {
        if !self.lanes.images_asked.insert(reference.clone()) {
            return;
        }
        let runtime = self.runtime.clone();
        self.steps.spawn(async move {
            let result = runtime.image(&reference).await;
            Finished::Image { reference, result }
        });
    }

    /// The last step of a task's clean-up, once none of its containers is left.
    pub(super) fn remove_leftovers(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        let (volumes, group) = (task.desired.volumes.clone(), task.desired.group.clone());
        let (serial, files) = (task.serial, task.desired.files.clone());
        let (runtime, preparation) = (self.runtime.clone(), self.preparation.clone());
        let mounts = task.desired.mounts.then(|| volumes::owner(key, &self.rules));
        self.steps.spawn(async move {
            let mut result = Ok(());
            if let Some(mounts) = mounts {
                result = preparation.release(mounts).await;
            }
            if let Some(files) = &files {
                result = preparation::remove(files).await.and(result);
            }
            for volume in &volumes {
                result = runtime.remove_volume(volume).await.and(result);
            }
            if let Some(group) = &group {
                result = runtime.remove_group(group).await.and(result);
            }
            Finished::Leftovers { key, serial, result }
        });
    }

    fn leftovers_removed(&mut self, key: TaskKey, serial: u64, result: Result<(), RuntimeError>) {
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.serial == serial) else {
            return;
        };
        match result {
            Ok(()) => task.leftovers = TaskLeftovers::Gone,
            Err(RuntimeError::Unknown(error)) => {
                task.removals_failed += 1;
                let wait = backoff(LEFTOVERS_RETRY_MIN, LEFTOVERS_RETRY_MAX, task.removals_failed);
                debug!(host = %self.config.host, task = %key.task, %error, "volumes, mounts or a control group remain for now");
                self.set_timer(wait, Timer::Leftovers(key));
                return;
            }
            Err(error) => {
                warn!(
                    host = %self.config.host, task = %key.task, %error,
                    "a volume of a task cannot be removed and is left: `docker volume rm` it",
                );
                task.leftovers = TaskLeftovers::Gone;
            }
        }
        self.advance(key);
    }

    /// Mounts of tasks that nothing is known of: an agent ended between a release and what made it
    /// due. The task's containers are gone, or it would have been found by them.
    pub(super) fn release_strays(&mut self) {
        let (host, preparation) = (self.config.host, self.preparation.clone());
        self.steps.spawn(async move { Finished::MountsListed(preparation.mounted(host).await) });
    }

    /// Whoever has a mount was ordered before: a task that is not known now is no task any more.
    fn mounts_listed(&mut self, listed: Result<Vec<TaskMounts>, String>) {
        let host = self.config.host;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                warn!(%host, error, "mounts of earlier tasks cannot be listed; tried again");
                return self.set_timer(LEFTOVERS_RETRY_MAX, Timer::Strays);
            }
        };
        let is_known = |mounts: &TaskMounts| {
            let key = TaskKey { task: mounts.task, generation: mounts.generation };
            self.tasks.contains_key(&key)
        };
        let strays: Vec<_> = listed.into_iter().filter(|mounts| !is_known(mounts)).collect();
        let preparation = self.preparation.clone();
        self.steps.spawn(async move {
            for mounts in strays {
                if let Err(error) = preparation.release(mounts).await {
                    warn!(%host, task = %mounts.task, %error, "a mount of an earlier task is left");
                }
            }
            Finished::StraysReleased
        });
    }

    fn image_found(&mut self, reference: &Arc<str>, result: Result<Image, RuntimeError>) {
        self.lanes.images_asked.remove(reference);
        let Ok(image) = result else { return };
        self.image_is_here(reference, &image);
        let digest = self.digest_of_registry(&image);
        let mut changed = Vec::new();
        for (key, task) in &mut self.tasks {
            let both = task.desired.containers.iter().zip(&mut task.observed.containers);
            for (wanted, container) in both {
                let starting = match container.stage() {
                    ContainerStage::Absent
                    | ContainerStage::Created
                    | ContainerStage::Running
                    | ContainerStage::Restarting => true,
                    ContainerStage::Unknown | ContainerStage::Stopped | ContainerStage::Removed => {
                        false
                    }
                };
                if starting && wanted.image == *reference && container.image_digest.is_none() {
                    container.image_digest.clone_from(&digest);
                    changed.push(*key);
                }
            }
        }
        self.lanes.images.insert(reference.clone(), image);
        changed.dedup();
        for key in changed {
            self.tell(key);
        }
    }
}

async fn carry_out<R: ContainerRuntime>(
    runtime: &R,
    preparation: &Preparation,
    launching: &Semaphore,
    step: Step,
) -> CallOutcome {
    match step {
        Step::Create { name, mut config, needs } => {
            let prepared = preparation.prepare(&needs, &mut config).await;
            // Never closed.
            let _turn = launching.acquire().await;
            CallOutcome::Created(match prepared {
                Ok(()) => runtime.create(&name, &config).await,
                Err(error) => Err(error),
            })
        }
        Step::Load { reference } => CallOutcome::Loaded(match pause::archive() {
            Ok(archive) => runtime.load(&reference, archive).await,
            Err(error) => Err(RuntimeError::NotPrepared { message: error.to_string() }),
        }),
        Step::Start { id, group, of_host } => {
            let mounted = preparation.mount_again(&of_host).await;
            let _turn = launching.acquire().await;
            CallOutcome::Started(match mounted {
                Ok(()) => runtime.start(&id, group.as_ref()).await,
                Err(error) => Err(error),
            })
        }
        Step::Inspect { target } => {
            CallOutcome::Inspected(runtime.inspect(&target).await.map(Box::new))
        }
        Step::Stop { id, grace } => CallOutcome::Stopped(runtime.stop(&id, grace).await),
        Step::Kill { id } => CallOutcome::Stopped(runtime.kill(&id).await),
        Step::Remove { id } => CallOutcome::Removed(runtime.remove(&id).await),
        Step::LastLines { id } => CallOutcome::LastLines(runtime.last_lines(&id).await),
        Step::Pull { source } => CallOutcome::Pulled(runtime.pull(&source, |_| {}).await),
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Pull { .. } => "pull",
        Step::Load { .. } => "load",
        Step::Create { .. } => "create",
        Step::Start { .. } => "start",
        Step::Inspect { .. } => "inspect",
        Step::Stop { .. } => "stop",
        Step::Kill { .. } => "kill",
        Step::Remove { .. } => "remove",
        Step::LastLines { .. } => "last lines",
    }
}

fn failure(outcome: &CallOutcome) -> Option<&RuntimeError> {
    match outcome {
        CallOutcome::Pulled(result)
        | CallOutcome::Loaded(result)
        | CallOutcome::Started(result)
        | CallOutcome::Stopped(result)
        | CallOutcome::Removed(result) => result.as_ref().err(),
        CallOutcome::Created(result) => result.as_ref().err(),
        CallOutcome::Inspected(result) => result.as_ref().err(),
        CallOutcome::LastLines(result) => result.as_ref().err(),
        CallOutcome::PullCancelled => None,
    }
}
