//! Everything that the engine knows, in one place: each of its other files changes a part of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Timestamp},
    index::FastMap,
    protocol::{Epoch, PollAnswer, PollRequest},
    task::StopCause,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tracing::info;

use super::{
    config::EngineConfig,
    disk_pressure::DiskPressure,
    finished::Finished,
    health::HostHealth,
    known_images::KnownImages,
    lanes::Lanes,
    ledger_state::{LedgerState, Writing},
    polls::{ParkedPoll, UnwrittenPoll},
    task::{Task, WatchedProcess},
    timer::Timer,
};
use crate::{
    engine::{
        ledger::{Batch, Head, Ledger, LedgerContents, LedgerError},
        report::Outbox,
    },
    preparation::Preparation,
    runtime::{ContainerRuntime, ImageSource, ProcessEnd},
    task::{key::TaskKey, observed::PullAmount, rules::Rules},
};

/// Minimum difference, in milliseconds, between the wall clock and the monotonic one at which the
/// wall clock counts as set.
pub(super) const CLOCK_JUMP_MS_MIN: u64 = 250;

/// Maximum of messages about the progress of pulls that wait for the engine.
pub(super) const PULL_NEWS_QUEUED_MAX: usize = 16;

/// Why the engine ended by itself. Containers run on; a new start of the agent adopts them.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger is damaged, and not only full.
    #[error("the engine cannot go on without its ledger")]
    Ledger(#[from] LedgerError),
}

pub(super) struct Engine<R> {
    pub(super) config: EngineConfig,
    pub(super) rules: Rules,
    pub(super) runtime: Arc<R>,
    pub(super) preparation: Arc<Preparation>,
    pub(super) clock: Arc<dyn Clock>,
    /// How far the wall clock is ahead of the monotonic one, in milliseconds.
    pub(super) wall_ahead_ms: i64,

    pub(super) tasks: BTreeMap<TaskKey, Task>,
    pub(super) by_container: FastMap<String, (TaskKey, usize)>,
    /// Ordered before the container engine could be asked whether there is such a task.
    pub(super) stops_of_unknown: BTreeMap<TaskKey, StopCause>,
    /// Tells a task from an earlier one of the same key, whose calls may still be under way.
    pub(super) tasks_made: u64,

    /// Absent while the ledger is new: no order is taken until a manifest was.
    pub(super) head: Option<Head>,
    pub(super) outbox: Outbox,
    pub(super) parked: Option<ParkedPoll>,
    /// The start of the coordinator for which every task was reported anew last.
    pub(super) repeated_for: Option<Epoch>,
    /// True when what the last poll desired is what this agent does. True, too, while its orders cannot be
    /// written here: what it desires beyond is told with the disk's state, and asking for more would not help.
    pub(super) agreed: bool,
    /// The newest start of the coordinator whose orders could not be written: no earlier one is obeyed,
    /// as long as this agent runs.
    pub(super) heard: Option<Epoch>,
    /// Polls that wait while an earlier one's orders are being written.
    pub(super) polls: VecDeque<(Box<PollRequest>, oneshot::Sender<PollAnswer>)>,
    pub(super) unwritten_poll: Option<UnwrittenPoll>,

    /// Absent while `writing` has it.
    pub(super) ledger: Option<Ledger>,
    pub(super) writing: Option<Writing>,
    pub(super) unwritten: Batch,
    pub(super) ledger_state: LedgerState,

    /// The container engine answers and was listed: calls may be made.
    pub(super) synced: bool,
    pub(super) inspections: PendingInspections,
    pub(super) health: HostHealth,
    pub(super) steps: JoinSet<Finished>,
    /// Containers whose process is waited for; see [`ContainerRuntime::process_ends`].
    pub(super) processes: JoinSet<Option<(WatchedProcess, ProcessEnd)>>,
    /// Tasks of which containers are to be waited for once none is being started.
    pub(super) unwatched: BTreeSet<TaskKey>,
    pub(super) lanes: Lanes,
    pub(super) images: KnownImages,
    pub(super) disk_pressure: DiskPressure,
    /// Tasks that are kept until their clean-up, by when they stopped.
    pub(super) stopped: BTreeSet<(Timestamp, TaskKey)>,
    /// How far pulls are, from the calls themselves.
    pub(super) pull_news: (mpsc::Sender<PullNews>, mpsc::Receiver<PullNews>),
    pub(super) timers: BTreeMap<(Instant, u64), Timer>,
    pub(super) timers_made: u64,
}

pub(super) type PullNews = (ImageSource, PullAmount);

/// The inspections that follow a listing: one of each container that may have changed.
#[derive(Default)]
pub(super) struct PendingInspections {
    /// Tasks with a container that was not seen yet.
    pub(super) unseen: BTreeSet<TaskKey>,
    pub(super) patience_ends: Option<Instant>,
}

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn new(
        config: EngineConfig,
        runtime: Arc<R>,
        clock: Arc<dyn Clock>,
        ledger: Ledger,
        contents: LedgerContents,
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
            disk_pressure: DiskPressure::watched(config.disk.clone()),
            stopped: BTreeSet::new(),
            images: KnownImages::known_by_ledger(contents.images),
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
            unwritten_poll: None,
            ledger: Some(ledger),
            writing: None,
            unwritten: Batch::default(),
            ledger_state: LedgerState::default(),
            synced: false,
            inspections: PendingInspections::default(),
            health: HostHealth::watched(config.reach.clone(), config.leaving.clone()),
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

    /// The wall clock's time. One that jumped is noticed here, before anything is concluded by it.
    pub(super) fn now(&mut self) -> Timestamp {
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

    pub(super) fn set_timer(&mut self, after: Duration, timer: Timer) {
        self.timers_made += 1;
        self.timers.insert((Instant::now() + after, self.timers_made), timer);
    }
}

fn wall_ahead_ms(clock: &dyn Clock) -> i64 {
    let (wall, monotonic) = (clock.wall().0, clock.monotonic().0.as_millis());
    (i128::from(wall) - monotonic as i128) as i64
}
