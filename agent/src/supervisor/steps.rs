//! Carries out steps: one call to the container engine each, so many at once and no more.
//!
//! Never: a decision what to do (that is `plan`) or what an outcome means (that is `observed`).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use longshore_common::index::{FastMap, FastSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Engine, Timer, tasks::Volumes, watch::Watched};
use crate::{
    observed::{ContainerState, Next, Outcome, backoff},
    plan::{Step, TaskKey},
    runtime::{ContainerRuntime, EventSubject, Image, PullProgress, RuntimeError, RuntimeEvent},
};

/// Calls other than create, start and pull that may be under way at once.
const OTHER_CALLS_MAX: usize = 64;
/// A pull that takes longer than this says how far it is, as often.
const PULL_PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A volume whose removal came to nothing known is tried again after so long, and then less often.
const VOLUMES_RETRY_MIN: Duration = Duration::from_secs(1);
const VOLUMES_RETRY_MAX: Duration = Duration::from_secs(60);

/// What became of a call.
pub(super) enum Finished {
    Step {
        key: TaskKey,
        serial: u64,
        index: usize,
        lane: Lane,
        outcome: Box<Outcome>,
    },
    Pull {
        reference: Arc<str>,
        result: Option<Result<(), RuntimeError>>,
    },
    Image {
        reference: Arc<str>,
        result: Result<Image, RuntimeError>,
    },
    /// Of a task that is cleaned up.
    Volumes {
        key: TaskKey,
        serial: u64,
        result: Result<(), RuntimeError>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Create and start: past a few at once, only their latency grows (performance.md 0.4).
    Launch,
    Other,
}

/// Who may call the container engine now, and who waits.
pub(super) struct Lanes {
    launch: Queue,
    other: Queue,
    pulls_max: usize,
    pulling: BTreeMap<Arc<str>, Pulling>,
    pulls_waiting: VecDeque<Arc<str>>,
    /// Present: known. Absent: not asked, or something changed since.
    images: FastMap<Arc<str>, Image>,
    images_asked: FastSet<Arc<str>>,
}

struct Queue {
    busy: usize,
    max: usize,
    waiting: VecDeque<(TaskKey, usize)>,
}

/// One pull of one reference, for every container that needs it.
struct Pulling {
    wanted_by: Vec<(TaskKey, usize)>,
    begun: bool,
    cancel: CancellationToken,
}

impl Lanes {
    pub(super) fn new(launches: usize, pulls: usize) -> Self {
        let queue = |max: usize| Queue { busy: 0, max: max.max(1), waiting: VecDeque::new() };
        Lanes {
            launch: queue(launches),
            other: queue(OTHER_CALLS_MAX),
            pulls_max: pulls.max(1),
            pulling: BTreeMap::new(),
            pulls_waiting: VecDeque::new(),
            images: FastMap::default(),
            images_asked: FastSet::default(),
        }
    }

    pub(super) fn is_launching(&self) -> bool {
        self.launch.busy > 0
    }

    fn of(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Launch => &mut self.launch,
            Lane::Other => &mut self.other,
        }
    }
}

impl<R: ContainerRuntime> Engine<R> {
    /// Takes a step now, or when its lane has room: then it is planned anew.
    pub(super) fn take(&mut self, key: TaskKey, index: usize, step: Step) {
        let lane = match &step {
            Step::Pull { reference } => {
                let reference = reference.clone();
                return self.pull(key, index, reference);
            }
            Step::Create { .. } | Step::Start { .. } => Lane::Launch,
            Step::Inspect { .. } | Step::Stop { .. } | Step::Kill { .. } | Step::Remove { .. } => {
                Lane::Other
            }
        };
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
        container.in_flight = true;
        if matches!(step, Step::Inspect { .. }) {
            // What it shows is newer than every doubt so far.
            container.doubt = false;
        }
        let creates = matches!(step, Step::Create { .. });
        debug!(host = %self.config.host, task = %key.task, index, step = step_name(&step), "step");
        let runtime = self.runtime.clone();
        self.steps.spawn(async move {
            let outcome = Box::new(carry_out(&*runtime, step).await);
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
                if lane == Lane::Launch && !self.lanes.is_launching() {
                    self.watch_what_was_started();
                }
            }
            Finished::Pull { reference, result } => self.pull_finished(&reference, result),
            Finished::Image { reference, result } => self.image_found(&reference, result),
            Finished::Volumes { key, serial, result } => self.volumes_removed(key, serial, result),
        }
    }

    fn record(&mut self, key: TaskKey, index: usize, outcome: Outcome) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(error) = failure(&outcome) {
            debug!(
                host = %self.config.host, task = %key.task,
                container = task.desired.containers[index].name, %error, "a call failed",
            );
        }
        let next = task.observed.record(&task.desired, index, outcome, &self.rules, now);
        if let Next::After(wait) = next {
            task.observed.containers[index].waiting = true;
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

    pub(super) fn watched(&mut self, news: Watched) {
        match news {
            Watched::Up(version) => info!(
                host = %self.config.host, docker = version.version, api = version.api_version,
                "the container engine answers",
            ),
            Watched::Down(error) => {
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
            Watched::Listing(listing) => self.listed(&listing),
            Watched::Event(RuntimeEvent { at, subject }) => match subject {
                EventSubject::Image => self.lanes.images.clear(),
                EventSubject::Container { id, change } => {
                    // A jump of the clock comes before what happened after it.
                    self.now();
                    let Some(&(key, index)) = self.by_container.get(&id) else { return };
                    let Some(task) = self.tasks.get_mut(&key) else { return };
                    if task.observed.event(&task.desired, index, change, at) {
                        self.advance(key);
                    }
                }
            },
        }
    }

    fn pull(&mut self, key: TaskKey, index: usize, reference: Arc<str>) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.observed.containers[index].in_flight = true;
        task.observed.pull_begins(now);
        let pulling = self.lanes.pulling.entry(reference.clone()).or_insert_with(|| {
            self.lanes.pulls_waiting.push_back(reference);
            Pulling { wanted_by: Vec::new(), begun: false, cancel: CancellationToken::new() }
        });
        pulling.wanted_by.push((key, index));
        self.begin_pulls();
        self.tell(key);
    }

    fn begin_pulls(&mut self) {
        while self.lanes.pulling.values().filter(|p| p.begun).count() < self.lanes.pulls_max {
            let Some(reference) = self.lanes.pulls_waiting.pop_front() else { return };
            let Some(pulling) = self.lanes.pulling.get_mut(&reference) else { continue };
            pulling.begun = true;
            let (cancel, host) = (pulling.cancel.clone(), self.config.host);
            info!(%host, image = &*reference, "pulling");
            let runtime = self.runtime.clone();
            self.steps.spawn(async move {
                let mut said = Instant::now();
                let progress = |progress: PullProgress| {
                    if said.elapsed() >= PULL_PROGRESS_EVERY {
                        said = Instant::now();
                        info!(
                            %host, image = &*reference, layer = progress.layer,
                            bytes = progress.current_bytes, of = progress.total_bytes,
                            "{}", progress.status,
                        );
                    }
                };
                let result = tokio::select! {
                    result = runtime.pull(&reference, progress) => Some(result),
                    () = cancel.cancelled() => None,
                };
                Finished::Pull { reference: reference.clone(), result }
            });
        }
    }

    /// A container that waits for an image need not wait any more: its task stops.
    pub(super) fn leave_pulls(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        if task.desired.stop_cause(&task.observed).is_none() {
            return;
        }
        let mut left = Vec::new();
        for (reference, pulling) in &mut self.lanes.pulling {
            pulling.wanted_by.retain(|(wanted_by, index)| {
                let leaves = *wanted_by == key;
                if leaves {
                    left.push(*index);
                }
                !leaves
            });
            if pulling.wanted_by.is_empty() && pulling.begun {
                debug!(host = %self.config.host, image = &**reference, "nobody needs this pull");
                pulling.cancel.cancel();
            }
        }
        self.lanes.pulling.retain(|_, pulling| pulling.begun || !pulling.wanted_by.is_empty());
        for index in left {
            self.record(key, index, Outcome::PullCancelled);
        }
    }

    fn pull_finished(&mut self, reference: &Arc<str>, result: Option<Result<(), RuntimeError>>) {
        let host = self.config.host;
        match &result {
            Some(Ok(())) => info!(%host, image = &**reference, "pulled"),
            Some(Err(error)) => warn!(%host, image = &**reference, %error, "the pull failed"),
            None => {}
        }
        self.lanes.images.remove(reference);
        let pulling = self.lanes.pulling.remove(reference);
        for (key, index) in pulling.map(|pulling| pulling.wanted_by).unwrap_or_default() {
            let outcome = match &result {
                Some(result) => Outcome::Pulled(result.clone()),
                None => Outcome::PullCancelled,
            };
            self.record(key, index, outcome);
        }
        self.begin_pulls();
    }

    /// The digest is wanted for reports only, so it is asked for beside the create.
    fn look_up_image(&mut self, key: TaskKey, index: usize) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let reference = task.desired.containers[index].image.clone();
        if let Some(image) = self.lanes.images.get(&reference) {
            task.observed.containers[index].image_digest.clone_from(&image.digest);
            return;
        }
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
    pub(super) fn remove_volumes(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        let (volumes, serial) = (task.desired.volumes.clone(), task.serial);
        let runtime = self.runtime.clone();
        self.steps.spawn(async move {
            let mut result = Ok(());
            for volume in &volumes {
                result = runtime.remove_volume(volume).await.and(result);
            }
            Finished::Volumes { key, serial, result }
        });
    }

    fn volumes_removed(&mut self, key: TaskKey, serial: u64, result: Result<(), RuntimeError>) {
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.serial == serial) else {
            return;
        };
        match result {
            Ok(()) => task.volumes = Volumes::Gone,
            Err(RuntimeError::Unknown(error)) => {
                task.volume_failures += 1;
                debug!(host = %self.config.host, task = %key.task, %error, "volumes remain for now");
                let wait = backoff(VOLUMES_RETRY_MIN, VOLUMES_RETRY_MAX, task.volume_failures);
                self.set_timer(wait, Timer::Volumes(key));
                return;
            }
            Err(error) => {
                warn!(
                    host = %self.config.host, task = %key.task, %error,
                    "a volume of a task cannot be removed and is left: `docker volume rm` it",
                );
                task.volumes = Volumes::Gone;
            }
        }
        self.advance(key);
    }

    fn image_found(&mut self, reference: &Arc<str>, result: Result<Image, RuntimeError>) {
        self.lanes.images_asked.remove(reference);
        let Ok(image) = result else { return };
        let mut changed = Vec::new();
        for (key, task) in &mut self.tasks {
            let both = task.desired.containers.iter().zip(&mut task.observed.containers);
            for (wanted, container) in both {
                let starting = match container.state {
                    ContainerState::Absent
                    | ContainerState::Created
                    | ContainerState::Running
                    | ContainerState::Restarting => true,
                    ContainerState::Unknown | ContainerState::Stopped | ContainerState::Removed => {
                        false
                    }
                };
                if starting && wanted.image == *reference && container.image_digest.is_none() {
                    container.image_digest.clone_from(&image.digest);
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

async fn carry_out<R: ContainerRuntime>(runtime: &R, step: Step) -> Outcome {
    match step {
        Step::Create { name, config } => Outcome::Created(runtime.create(&name, &config).await),
        Step::Start { id } => Outcome::Started(runtime.start(&id).await),
        Step::Inspect { target } => {
            Outcome::Inspected(runtime.inspect(&target).await.map(Box::new))
        }
        Step::Stop { id, grace } => Outcome::Stopped(runtime.stop(&id, grace).await),
        Step::Kill { id } => Outcome::Stopped(runtime.kill(&id).await),
        Step::Remove { id } => Outcome::Removed(runtime.remove(&id).await),
        Step::Pull { reference } => Outcome::Pulled(runtime.pull(&reference, |_| {}).await),
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Pull { .. } => "pull",
        Step::Create { .. } => "create",
        Step::Start { .. } => "start",
        Step::Inspect { .. } => "inspect",
        Step::Stop { .. } => "stop",
        Step::Kill { .. } => "kill",
        Step::Remove { .. } => "remove",
    }
}

fn failure(outcome: &Outcome) -> Option<&RuntimeError> {
    match outcome {
        Outcome::Pulled(result)
        | Outcome::Started(result)
        | Outcome::Stopped(result)
        | Outcome::Removed(result) => result.as_ref().err(),
        Outcome::Created(result) => result.as_ref().err(),
        Outcome::Inspected(result) => result.as_ref().err(),
        Outcome::PullCancelled => None,
    }
}
