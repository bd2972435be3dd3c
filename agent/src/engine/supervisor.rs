//! The agent's engine: the one owner of what is desired and observed of every task on this host.
//!
//! Everything reaches it as a message: polls, the container engine's events, the outcomes of its
//! own calls. Each message changes one task, and [`Engine::advance`] then plans that task anew.
//! Never: a stop that nobody ordered, a conclusion from an unknown outcome, a Docker call for a task
//! before the order to run it is in the ledger.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Timestamp},
    id::{FleetId, HostId, TaskId},
    index::FastMap,
    machine::MachineMarks,
    protocol::{ContainerStatus, Epoch, NetworkBinding, PollAnswer, PollRequest, StorageHealth},
    task::StopCause,
    task_policy::TaskPolicy,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::health::{LeaveWatch, ReachWatch};
use self::{health::Health, look::Look};
use crate::{
    endpoints::directory::Directory,
    engine::{
        ledger::{Batch, Contents, Head, Ledger},
        plan::{Rules, TaskKey},
        report::Outbox,
        task::{endpoint_names::Names, labels, observed::PullAmount},
    },
    preparation::Preparation,
    runtime::{ContainerRuntime, ImageSource, OwnerLabel, ProcessEnd},
};

mod tasks;
mod intake;
mod pulls;
mod images;
mod room;
mod record;
mod steps;
mod watch;
mod metadata_files;
mod health;
mod look;
mod view;
#[cfg(test)]
mod tests;

pub use crate::{
    engine::{
        images::ImageCleanup,
        ledger::LedgerError,
        plan::{
            PullPolicy, efs::FileSystems, metadata_file::MetadataFiles,
            repository_credentials::RepositoryCredentials, task_limits::LimitRules,
        },
    },
    host::disk::{Disk, DiskRules, DiskWatch, Room},
    mounts::MountHelper,
    preparation::objects::Objects,
    runtime::PortBounds,
};
use images::Images;
use intake::{Parked, Taking};
use record::{LedgerState, Writing};
use room::Rooms;
use steps::{Finished, Lanes};
use tasks::{Process, Task};
use watch::Watched;

/// Requests that may wait for the engine.
const REQUESTS_QUEUED_MAX: usize = 64;
/// The container engine's events that may wait for ours.
const WATCHED_QUEUED_MAX: usize = 256;
/// Words on how far pulls are that may wait for the engine.
const PULL_NEWS_QUEUED_MAX: usize = 16;

/// Stopped tasks beside whose containers older ones are cleaned up: a task that fails every few
/// seconds fills no disk in the hours that ECS keeps them.
const STOPPED_TASKS_KEPT: usize = 200;

/// The wall clock has been set, or has drifted as far, when it leaves the monotonic one by this.
const CLOCK_JUMP_MS_MIN: u64 = 250;

/// What the engine must be told at its start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub fleet: FleetId,
    pub host: HostId,
    /// Names one boot of the host's kernel.
    pub boot_id: String,
    /// Of the machine that this agent runs on.
    pub machine: MachineMarks,
    /// Random, new at each start of the agent.
    pub session: u64,
    /// For `AWS_REGION` in containers.
    pub region: String,
    /// SQLite file; made if absent.
    pub ledger: PathBuf,
    /// How long a stopped container stays for its logs to be read: ECS's
    /// `ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`.
    pub cleanup_wait: Duration,
    /// Of tasks that wait for it, the newest so many are kept.
    pub stopped_tasks_kept: usize,
    /// `ECS_CONTAINER_STOP_TIMEOUT`, for containers without a `stopTimeout`.
    pub stop_timeout: Duration,
    pub pull: PullPolicy,
    /// Containers that wait for others have their images pulled meanwhile.
    pub pull_upfront: bool,
    /// The container engine's runtime for containers with GPUs; absent: device requests.
    pub gpu_runtime: Option<String>,
    /// Host ports for tasks that ask for any; absent: the container engine's own.
    pub dynamic_ports: Option<PortBounds>,
    pub limits: LimitRules,
    pub images: ImageCleanup,
    /// What file systems are like; absent: nobody looks.
    pub disk: Option<DiskWatch>,
    /// Whether Docker answers those who ask it from time to time; absent: nobody asks.
    pub reach: Option<ReachWatch>,
    /// Whether the machine is about to be taken away; absent: nobody asks.
    pub leaving: Option<LeaveWatch>,
    /// What no task may have here.
    pub policy: TaskPolicy,
    /// EFS file systems of this host.
    pub efs: FileSystems,
    /// Files with logins for private registries.
    pub repository_credentials: RepositoryCredentials,
    /// Where objects that definitions name are read from.
    pub objects: Option<Objects>,
    /// Who makes the mounts of what tasks have of the host.
    pub mounts: MountHelper,
    /// Directory of the tasks' files; made when first needed.
    pub task_files: PathBuf,
    /// Containers are given files about themselves, which say this of the host.
    pub metadata_files: Option<MetadataFiles>,
    /// Containers that may be in create or start at once; more only adds latency.
    pub launches_at_once: usize,
    pub pulls_at_once: usize,
    /// How often everything is compared with the container engine although no event said so.
    pub resync: Duration,
    /// Where tasks find their host's endpoints; absent: they are not told of any.
    pub endpoints: Option<TaskEndpoints>,
}

/// What the engine needs of the task endpoints: it names them to containers, and says what there is.
#[derive(Clone, Debug)]
pub struct TaskEndpoints {
    pub(crate) names: Names,
    pub(crate) directory: Arc<Directory>,
}

impl EngineConfig {
    /// ECS's values for everything that is not an identity.
    pub fn new(fleet: FleetId, host: HostId, ledger: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        EngineConfig {
            fleet,
            host,
            boot_id: String::new(),
            machine: MachineMarks::default(),
            session: 0,
            region: "us-east-1".to_owned(),
            task_files: ledger.with_file_name("tasks"),
            ledger,
            cleanup_wait: Duration::from_secs(3 * 60 * 60),
            stopped_tasks_kept: STOPPED_TASKS_KEPT,
            stop_timeout: Duration::from_secs(30),
            pull: PullPolicy::default(),
            pull_upfront: false,
            gpu_runtime: None,
            dynamic_ports: None,
            limits: LimitRules::default(),
            images: ImageCleanup::default(),
            disk: None,
            reach: None,
            leaving: None,
            policy: TaskPolicy::default(),
            efs: FileSystems::default(),
            repository_credentials: RepositoryCredentials::default(),
            objects: None,
            mounts: MountHelper::default(),
            metadata_files: None,
            launches_at_once: 2 * cores,
            pulls_at_once: 3,
            resync: Duration::from_secs(5 * 60),
            endpoints: None,
        }
    }

    /// What every container of this agent carries and nothing else does.
    pub(crate) fn owner(&self) -> OwnerLabel {
        labels::owner(self.host)
    }
}

/// Talks to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    storage: tokio::sync::watch::Receiver<StorageHealth>,
}

/// The engine has stopped, because the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct EngineStopped;

pub(crate) enum Request {
    Poll(Box<PollRequest>, oneshot::Sender<PollAnswer>),
    Tasks(oneshot::Sender<Vec<TaskView>>),
}

impl Handle {
    /// Answers one long poll: fences it, takes its orders into the ledger, and returns once there
    /// are reports, a newer poll arrived, or the request's `hold_ms` have passed; at once when it
    /// left orders for the next poll.
    pub async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.ask(|reply| Request::Poll(Box::new(request), reply)).await
    }

    /// Every task that the agent knows, those stopped but not yet cleaned up too.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, EngineStopped> {
        self.ask(Request::Tasks).await
    }

    /// Whether the disks let new tasks be taken, as the coordinator was told last.
    pub fn storage(&self) -> StorageHealth {
        *self.storage.borrow()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, EngineStopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| EngineStopped)?;
        answer.await.map_err(|_| EngineStopped)
    }
}

/// A task as ECS's introspection shows it (`/v1/tasks`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    pub task: TaskId,
    pub arn: String,
    pub cluster: String,
    pub family: String,
    pub revision: u32,
    /// `RUNNING` or `STOPPED`.
    pub desired_status: &'static str,
    /// `PENDING`, `ACTIVATING`, `RUNNING`, `STOPPING` or `STOPPED`.
    pub known_status: &'static str,
    pub containers: Vec<ContainerView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    pub name: String,
    pub docker_id: Option<String>,
    pub docker_name: String,
    pub status: ContainerStatus,
    pub ports: Vec<NetworkBinding>,
}

/// Why the engine ended by itself. Containers go on; a new start of the agent adopts them.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It is damaged, and not only full.
    #[error("the engine cannot go on without its ledger")]
    Ledger(#[from] LedgerError),
}

/// Opens the ledger and starts the engine. It runs until `shutdown` or until every handle is gone,
/// and touches no container by ending.
pub fn start<R: ContainerRuntime>(
    config: EngineConfig,
    runtime: R,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(Handle, JoinHandle<Result<(), EngineError>>), LedgerError> {
    let (ledger, contents) = Ledger::open(&config.ledger, config.fleet, config.host)?;
    let (requests, inbox) = mpsc::channel(REQUESTS_QUEUED_MAX);
    let engine = Engine::new(config, Arc::new(runtime), clock, ledger, contents);
    let storage = engine.storage_told();
    let running = tokio::spawn(engine.run(inbox, shutdown));
    Ok((Handle { requests, storage }, running))
}

struct Engine<R> {
    config: EngineConfig,
    rules: Rules,
    runtime: Arc<R>,
    preparation: Arc<Preparation>,
    clock: Arc<dyn Clock>,
    /// How far the wall clock is ahead of the monotonic one, in milliseconds.
    wall_ahead_ms: i64,

    tasks: BTreeMap<TaskKey, Task>,
    by_container: FastMap<String, (TaskKey, usize)>,
    /// Ordered before the container engine could be asked whether there is such a task.
    stops_of_unknown: BTreeMap<TaskKey, StopCause>,
    /// Tells a task from an earlier one of the same key, whose calls may still be under way.
    tasks_made: u64,

    /// Absent while the ledger is new: no order is taken until a manifest was.
    head: Option<Head>,
    outbox: Outbox,
    parked: Option<Parked>,
    /// The start of the coordinator for which every task was reported anew last.
    repeated_for: Option<Epoch>,
    /// The last poll desired what this agent does, or its orders cannot be written here.
    agreed: bool,
    /// The newest start of the coordinator whose orders could not be written: no earlier one is obeyed,
    /// as long as this agent runs.
    heard: Option<Epoch>,
    /// Polls that wait while an earlier one's orders are being written.
    polls: VecDeque<(Box<PollRequest>, oneshot::Sender<PollAnswer>)>,
    taking: Option<Taking>,

    /// At home, or in `writing`.
    ledger: Option<Ledger>,
    writing: Option<Writing>,
    unwritten: Batch,
    ledger_state: LedgerState,

    /// The container engine answers and was listed: calls may be made.
    synced: bool,
    look: Look,
    health: Health,
    steps: JoinSet<Finished>,
    /// Containers whose process is waited for; see [`ContainerRuntime::process_ends`].
    processes: JoinSet<Option<(Process, ProcessEnd)>>,
    /// Tasks of which containers are to be waited for once none is being started.
    unwatched: BTreeSet<TaskKey>,
    lanes: Lanes,
    images: Images,
    rooms: Rooms,
    /// Tasks that are kept until their clean-up, by when they stopped.
    stopped: BTreeSet<(Timestamp, TaskKey)>,
    /// How far pulls are, from the calls themselves.
    pull_news: (mpsc::Sender<PullNews>, mpsc::Receiver<PullNews>),
    timers: BTreeMap<(Instant, u64), Timer>,
    timers_made: u64,
}

type PullNews = (ImageSource, PullAmount);

#[derive(Clone, Copy, Debug)]
enum Timer {
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
    Look,
    /// Images are cleaned up.
    Images,
    /// The engine said that its images changed.
    ImageList,
    /// Room is made again if there still is too little.
    Room,
}

impl<R: ContainerRuntime> Engine<R> {
    fn new(
        config: EngineConfig,
        runtime: Arc<R>,
        clock: Arc<dyn Clock>,
        ledger: Ledger,
        contents: Contents,
    ) -> Self {
        let rules = Rules {
            fleet: config.fleet,
            host: config.host,
            region: config.region.clone(),
            stop_timeout: config.stop_timeout,
            pull: config.pull,
            pull_upfront: config.pull_upfront,
            gpu_runtime: config.gpu_runtime.clone(),
            dynamic_ports: config.dynamic_ports,
            limits: config.limits,
            policy: config.policy.clone(),
            efs: config.efs.clone(),
            repository_credentials: config.repository_credentials.clone(),
            task_files: config.task_files.clone(),
            metadata_files: config.metadata_files.clone(),
            has_objects: config.objects.is_some(),
            endpoints: config.endpoints.as_ref().map(|endpoints| endpoints.names.clone()),
        };
        let preparation = Arc::new(Preparation::new(config.objects.clone(), config.mounts.clone()));
        info!(
            host = %config.host,
            tasks = contents.intents.len(),
            seen_order = contents.head.as_ref().map(|head| head.seen.order),
            "{}",
            match contents.head {
                Some(_) => "ledger opened",
                None => "the ledger is new: no order is taken before a full manifest",
            },
        );
        let mut engine = Engine {
            rooms: Rooms::watched(config.disk.clone()),
            stopped: BTreeSet::new(),
            images: Images::known_by_ledger(contents.images),
            lanes: Lanes::new(config.launches_at_once, config.pulls_at_once),
            outbox: Outbox::new(config.session),
            rules,
            runtime,
            wall_ahead_ms: wall_ahead_ms(&*clock),
            preparation,
            clock,
            tasks: BTreeMap::new(),
            by_container: FastMap::default(),
            stops_of_unknown: contents.stops,
            tasks_made: 0,
            head: contents.head,
            parked: None,
            heard: None,
            repeated_for: None,
            agreed: false,
            polls: VecDeque::new(),
            taking: None,
            ledger: Some(ledger),
            writing: None,
            unwritten: Batch::default(),
            ledger_state: LedgerState::default(),
            synced: false,
            look: Look::default(),
            health: Health::watched(config.reach.clone(), config.leaving.clone()),
            steps: JoinSet::new(),
            processes: JoinSet::new(),
            unwatched: BTreeSet::new(),
            pull_news: mpsc::channel(PULL_NEWS_QUEUED_MAX),
            timers: BTreeMap::new(),
            timers_made: 0,
            config,
        };
        let mut observations = contents.observations;
        for intent in contents.intents {
            let observed = observations.remove(&intent.key).unwrap_or_default();
            engine.known_by_ledger(intent, observed);
        }
        engine
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Request>,
        shutdown: CancellationToken,
    ) -> Result<(), EngineError> {
        self.set_image_cleanup();
        let (sender, mut watched) = mpsc::channel(WATCHED_QUEUED_MAX);
        let watcher = tokio::spawn(watch::watch(
            self.runtime.clone(),
            self.clock.clone(),
            self.config.owner(),
            self.config.resync,
            sender,
        ));
        let ended = self.serve(&mut inbox, &mut watched, &shutdown).await;
        watcher.abort();
        ended
    }

    async fn serve(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        watched: &mut mpsc::Receiver<Watched>,
        shutdown: &CancellationToken,
    ) -> Result<(), EngineError> {
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.cancelled() => break,
                request = inbox.recv() => match request {
                    Some(Request::Poll(request, reply)) => self.poll_arrived(request, reply),
                    Some(Request::Tasks(reply)) => drop(reply.send(self.view())),
                    None => break,
                },
                Some(news) = watched.recv() => self.watched(news),
                Some(finished) = self.steps.join_next(), if !self.steps.is_empty() => {
                    match finished {
                        Ok(finished) => self.finished(finished),
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic());
                        }
                        Err(_) => {}
                    }
                }
                Some((source, amount)) = self.pull_news.1.recv() => {
                    self.pull_progressed(&source, amount);
                }
                Some(ended) = self.processes.join_next(), if !self.processes.is_empty() => {
                    if let Ok(Some((process, end))) = ended {
                        self.process_ended(&process, end);
                    }
                }
                () = self.rooms.changed() => self.disk_seen(),
                () = self.health.changed() => {}
                written = record::written(&mut self.writing) => {
                    let (ledger, batch, result) = written;
                    self.written(ledger, batch, result)?;
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.wake();
                }
            }
            self.tell_health();
            self.release_news();
            self.write_what_is_open();
        }
        self.write_at_the_end().await
    }

    /// The wall clock's time. One that jumped is noticed here, before anything is concluded by it.
    fn now(&mut self) -> Timestamp {
        let ahead = wall_ahead_ms(&*self.clock);
        let jumped = ahead - self.wall_ahead_ms;
        if jumped.unsigned_abs() >= CLOCK_JUMP_MS_MIN {
            self.wall_ahead_ms = ahead;
            info!(host = %self.config.host, jumped_ms = jumped, "the wall clock was set");
            for task in self.tasks.values_mut() {
                task.observed.clock_jumped(jumped);
                task.deadline = task.deadline.map(|at| at.jumped(jumped));
            }
        }
        self.clock.wall()
    }

    fn next_wake(&self) -> Option<Instant> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let hold = self.parked.as_ref().map(|parked| parked.until);
        timer.into_iter().chain(hold).min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Timer::Retry(key, index) => {
                    let task = self.tasks.get_mut(&key);
                    if let Some(c) = task.and_then(|t| t.observed.containers.get_mut(index)) {
                        c.waiting = false;
                    }
                    self.advance(key);
                }
                Timer::Leftovers(key) => self.remove_leftovers(key),
                Timer::Strays => self.release_strays(),
                Timer::MetadataFiles(key) => self.complete_metadata_files(key),
                Timer::Look => self.look_is_due(),
                Timer::Ledger => self.ledger_due(),
                Timer::Images => self.image_cleanup_due(),
                Timer::ImageList => self.list_images(),
                Timer::Room => self.room_due(),
                Timer::Deadline(key) => {
                    if let Some(task) = self.tasks.get_mut(&key) {
                        task.deadline = None;
                    }
                    self.advance(key);
                }
                Timer::Cleanup(key) => {
                    if let Some(task) = self.tasks.get_mut(&key) {
                        task.cleanup_due = true;
                        if let Some(stopped_at) = task.observed.execution_stopped_at {
                            self.stopped.remove(&(stopped_at, key));
                        }
                    }
                    self.advance(key);
                }
            }
        }
        if self.parked.as_ref().is_some_and(|parked| parked.until <= now) {
            self.release_parked();
        }
    }

    fn set_timer(&mut self, after: Duration, timer: Timer) {
        self.timers_made += 1;
        self.timers.insert((Instant::now() + after, self.timers_made), timer);
    }
}

fn wall_ahead_ms(clock: &dyn Clock) -> i64 {
    let (wall, monotonic) = (clock.wall().0, clock.monotonic().0.as_millis());
    (i128::from(wall) - monotonic as i128) as i64
}
