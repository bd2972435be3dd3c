//! A coordinator over its lives: the driver in the campaign's hand, the edge in front of it, and a
//! journal on disk that outlives both.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::FutureExt;
use longshore_common::{
    arn::Identity,
    clock::{Clock, SteadyClock, SteppedClock, Timestamp},
    id::{FleetId, HostId},
    join_token::CaHash,
    logs::query::{LogReply, LogRequest},
    resources::Capacity,
    secret::Secret,
};
use longshore_coordinator::{
    credentials::Credentials,
    driver::{
        CheckpointPace, Handle,
        stepped::{self, Stepped},
    },
    edge::{
        Backend, Edge,
        health::{Health, Metrics},
        in_process::{Offered, Told},
    },
    fleet::{
        client::{LogClient, Peer, PollError},
        logs::Logs,
    },
    journal::{
        recovery,
        sqlite::{self, FILE_NAME, SqliteJournal},
    },
    random::Random,
};
use longshore_core::{
    Command, Envelope, Event, State,
    command::EpochCommand,
    event::{HostEvent, TaskEvent},
    model::capacity_provider::{CapacityPolicy, FARGATE, HostMark, LauncherPolicy},
    step::{self, Rules},
};
use tempfile::TempDir;

use super::{
    coverage::{self, COMMANDS, Coverage, EVENTS},
    judge::{self, said},
    planted::{Door, Planted},
};
use crate::chance::Chance;

/// 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);
pub(super) const FLEET: FleetId = FleetId::new(0xc4a05);
/// The launcher that is a program, and the one whose machines have ids of their own.
pub(super) const PROGRAM: &str = "rack";
pub(super) const CLOUD: &str = "ec2";
/// The attribute of hosts that stand in for FARGATE.
pub(super) const POOL: &str = "pool";
const BOOT_DEADLINE: Duration = Duration::from_secs(600);
/// Small and in small slices, so that a short run has many checkpoints and steps between slices.
const PACE: CheckpointPace = CheckpointPace { entities: 40, events: 100, slice: 7 };
/// Turns that the scheduler may take until it comes to rest.
const TURNS_MAX: usize = 20_000;
/// One turn in so many leaves what it decided to the next one's flush.
const LATE_FLUSH: usize = 8;

/// What a run has seen, shared with the hooks of the driver.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) commands: Coverage,
    pub(super) events: Coverage,
    pub(super) panics: Vec<String>,
    /// Hosts whose tasks may be more than there is room for: the journal did not know some of them,
    /// or the host registered with less than before.
    pub(super) overfull: BTreeSet<HostId>,
    capacities: BTreeMap<HostId, Capacity>,
}

impl Watched {
    fn saw(&mut self, event: &Event) {
        self.events.saw(coverage::event(event));
        match event {
            Event::Task(TaskEvent::TaskAdopted(adopted)) => {
                self.overfull.extend(adopted.record.host)
            }
            Event::Host(HostEvent::HostRegistered(registered)) => {
                let (host, now) = (registered.host, &registered.capacity);
                let before = self.capacities.insert(host, now.clone());
                let shrank = before.is_none_or(|before| {
                    now.cpu < before.cpu
                        || now.memory < before.memory
                        || now.gpus.len() < before.gpus.len()
                });
                self.overfull.extend(shrank.then_some(host));
            }
            _ => {}
        }
    }
}

pub(super) struct Coordinator {
    pub(super) handle: Handle,
    pub(super) edge: Arc<Edge>,
    /// Absent between two lives only.
    stepped: Option<Stepped<Door>>,
    pub(super) clock: Arc<SteppedClock>,
    steady: Arc<SteadyClock<Arc<SteppedClock>>>,
    pub(super) identity: Arc<Identity>,
    pub(super) watched: Rc<RefCell<Watched>>,
    pub(super) planted: Planted,
    /// Under which nothing may go on but a restart.
    pub(super) broken: bool,
    folder: TempDir,
    backup: Option<TempDir>,
    logs: Logs,
    _logs_folder: TempDir,
    /// Of the API: join tokens and ids.
    random: Random,
    entropy: Chance,
    lateness: Chance,
}

/// Hosts that have no logs.
struct Silent;

impl LogClient for Silent {
    async fn logs(&self, _: &Peer, request: LogRequest) -> Result<LogReply, PollError> {
        Ok(request.ask.nothing())
    }
}

/// What becomes of the journal between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterDeath {
    Kept,
    /// A backup is made of it.
    BackedUp,
    /// The last backup takes its place.
    WentBack,
}

impl Coordinator {
    pub(super) async fn start(chance: &Chance, planted: Planted) -> Result<Self> {
        let clock = SteppedClock::at(BEGINNING);
        let folder = memory_folder()?;
        let identity =
            Arc::new(Identity { region: "us-east-1".into(), account: "000000000000".into() });
        let logs_folder = memory_folder()?;
        let logs = Logs::open(logs_folder.path(), Arc::new(Silent), FLEET, clock.clone())?;
        let logs = logs.on_one_thread();
        let watched = Watched {
            commands: Coverage::of(COMMANDS),
            events: Coverage::of(EVENTS),
            panics: Vec::new(),
            overfull: BTreeSet::new(),
            capacities: BTreeMap::new(),
        };
        let mut entropy = chance.part(1);
        let (state, journal) = open(folder.path())?;
        let journal = Door::to(journal, planted.clone());
        let (handle, stepped) = live(state, journal, &mut entropy);
        let steady = Arc::new(SteadyClock::new(clock.clone()));
        let random = random(chance.part(3));
        let edge = edge(&handle, &identity, &clock, &logs, &random);
        let mut coordinator = Coordinator {
            handle,
            edge,
            stepped: Some(stepped),
            steady,
            clock,
            identity,
            watched: Rc::new(RefCell::new(watched)),
            planted,
            broken: false,
            folder,
            backup: None,
            logs,
            _logs_folder: logs_folder,
            random,
            entropy,
            lateness: chance.part(2),
        };
        coordinator.begin().await;
        Ok(coordinator)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.steady.wall()
    }

    pub(super) fn peek<T>(&self, view: impl FnOnce(&State) -> T) -> T {
        self.handle.peek(view)
    }

    /// An agent has proved it, and nobody has recovered since.
    pub(super) fn journal_is_old(&self) -> bool {
        self.handle.went_back().borrow().is_some()
    }

    /// Ends this life, with some of what it decided since its last flush, and begins the next one
    /// from what the journal holds. The state before, when all of it was durable, and the one after
    /// are shown to `compare`.
    pub(super) async fn restart(
        &mut self,
        journal: AfterDeath,
        compare: impl FnOnce(&State, &State) -> Vec<String>,
    ) -> Result<Vec<String>> {
        if let Some(mut stepped) = self.stepped.take().filter(|_| !self.broken) {
            let durable = self.lateness.below(stepped.unflushed() + 1);
            stepped.flush_first(durable)?;
            self.broken = stepped.unflushed() > 0;
        }
        if journal == AfterDeath::BackedUp {
            let to = memory_folder()?;
            sqlite::backup(self.folder.path(), &to.path().join(FILE_NAME))?;
            self.backup = Some(to);
        }
        let went_back = journal == AfterDeath::WentBack && self.backup.is_some();
        if let Some(backup) = self.backup.take_if(|_| went_back) {
            // By the operator's tool, or as a snapshot of the machine that nobody tells of.
            match self.lateness.one_in(2) {
                true => {
                    let from = backup.path().join(FILE_NAME);
                    sqlite::restore(self.folder.path(), &from, sqlite::DamagedHistory::Refused)?;
                }
                false => self.folder = backup,
            }
            // What it says of them is not what they registered with last.
            self.watched.borrow_mut().capacities.clear();
        }
        let (state, journal) = catch_unwind(|| open(self.folder.path()))
            .unwrap_or_else(|panic| Err(anyhow::anyhow!("{}", said(&*panic))))
            .context("a journal of ours is not read")?;
        if went_back {
            // It was judged when it came about.
            self.watched.borrow_mut().overfull.extend(judge::overfull(&state));
        }
        let different = match self.broken || went_back {
            true => Vec::new(),
            false => self.handle.peek(|before| compare(before, &state)),
        };
        let journal = Door::to(journal, self.planted.clone());
        let (handle, stepped) = live(state, journal, &mut self.entropy);
        self.edge = edge(&handle, &self.identity, &self.clock, &self.logs, &self.random);
        self.steady = Arc::new(SteadyClock::new(self.clock.clone()));
        (self.handle, self.stepped, self.broken) = (handle, Some(stepped), false);
        self.begin().await;
        Ok(different)
    }

    async fn begin(&mut self) {
        let incarnation = self.entropy.draw();
        self.submit(Command::Epoch(EpochCommand::StartEpoch { incarnation })).await;
    }

    fn stepped(&mut self) -> &mut Stepped<Door> {
        self.stepped.as_mut().expect("absent within a restart only")
    }

    /// Has a command of the fleet, the clock or the effects decided.
    pub(super) async fn submit(
        &mut self,
        command: Command,
    ) -> Option<Result<longshore_core::Answer, longshore_coordinator::driver::Refused>> {
        let handle = self.handle.clone();
        self.drive(async move { handle.submit_always(command, |_, answer| answer).await }).await
    }

    /// Signs a request and has it answered; the error is what a panic said.
    pub(super) fn ask(
        &self,
        offered: Offered,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Told, String>> + use<> {
        let (edge, moment) = (self.edge.clone(), self.clock.wall());
        let planted = self.planted.clone();
        async move {
            let credentials = credentials();
            let asked = AssertUnwindSafe(edge.ask(offered, &body, &credentials, moment));
            let told = asked.catch_unwind().await.map_err(|panic| said(&*panic))?;
            Ok(planted.tell(offered, told))
        }
    }

    /// Gives the driver time until `work` is done; none when it panicked.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        while !self.broken {
            let late = self.stepped().unflushed() > 0;
            tokio::select! { biased;
                done = &mut work => return Some(done),
                () = self.stepped().requested() => self.turn(),
                () = std::future::ready(()), if late => self.flush(),
            }
        }
        None
    }

    /// Gives the driver a few turns for `work`, of which nothing becomes durable: its end is near.
    pub(super) async fn abandon(&mut self, work: impl Future<Output = ()>, turns: usize) {
        let mut work = pin!(work);
        for _ in 0..turns {
            tokio::select! { biased;
                () = &mut work => return,
                () = self.stepped().requested() => self.step(),
                () = tokio::task::yield_now() => {}
            }
            if self.broken {
                return;
            }
        }
    }

    /// Gives the driver time until the scheduler has come to rest.
    pub(super) fn settle(&mut self) -> Result<()> {
        for _ in 0..TURNS_MAX {
            if self.broken {
                return Ok(());
            }
            if !self.stepped().has_work() {
                self.flush();
                return Ok(());
            }
            self.turn();
        }
        anyhow::bail!("the scheduler has not come to rest after {TURNS_MAX} turns")
    }

    /// A turn that is followed by its flush, most often at once.
    fn turn(&mut self) {
        self.step();
        if !self.broken && !self.lateness.one_in(LATE_FLUSH) {
            self.flush();
        }
    }

    fn step(&mut self) {
        let (watched, planted) = (self.watched.clone(), self.planted.clone());
        let at = self.steady.wall();
        let decide = |state: &State, envelope: &Envelope| {
            watched.borrow_mut().commands.saw(coverage::command(&envelope.command));
            planted.decide(state, envelope)
        };
        let look = |state: &State, due, at, entropy| planted.look(state, due, at, entropy);
        let rules = Rules { decide: &decide, look: &look };
        let saw = |step: &step::Flush| {
            let events = step.batch.iter().flat_map(|batch| &batch.events);
            for event in events {
                watched.borrow_mut().saw(event);
            }
        };
        let stepped = self.stepped();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| stepped.turn(&rules, at, saw))) {
            self.fell(said(&*panic));
        }
    }

    fn flush(&mut self) {
        let stepped = self.stepped();
        match catch_unwind(AssertUnwindSafe(|| stepped.flush())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fell(format!("the journal failed: {error}")),
            Err(panic) => self.fell(said(&*panic)),
        }
    }

    fn fell(&mut self, why: String) {
        self.watched.borrow_mut().panics.push(why);
        self.broken = true;
    }

    /// When the state machine wants to be told that time has passed.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        *self.handle.wakes().borrow()
    }
}

/// In memory where there is such a place: the journal syncs often, and no power fails here.
fn memory_folder() -> Result<TempDir> {
    let shared = Path::new("/dev/shm");
    Ok(tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir())?)
}

fn open(folder: &Path) -> Result<(State, SqliteJournal)> {
    let journal = SqliteJournal::open(folder, FLEET)?;
    let (mut state, _) = recovery::recover(&journal)?;
    state.set_capacity_policy(capacity_policy()?);
    Ok((state, journal))
}

fn live(state: State, journal: Door, entropy: &mut Chance) -> (Handle, Stepped<Door>) {
    entropy.draw();
    let mut of_this_life = entropy.part(0);
    let random = move || u128::from(of_this_life.draw()) << 64 | u128::from(of_this_life.draw());
    stepped::start(state, journal, Box::new(random), PACE)
}

fn random(chance: Chance) -> Random {
    let chance = Mutex::new(chance);
    Random::simulated(move |bytes| {
        let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.iter_mut().for_each(|byte| *byte = chance.draw() as u8);
    })
}

fn capacity_policy() -> Result<CapacityPolicy> {
    let launcher = |names_machines| LauncherPolicy {
        boot_deadline: BOOT_DEADLINE,
        size: None,
        names_machines,
    };
    let mark = HostMark { attribute: POOL.to_owned(), value: None };
    Ok(CapacityPolicy {
        launchers: [(PROGRAM.to_owned(), launcher(false)), (CLOUD.to_owned(), launcher(true))]
            .into(),
        fargate: [(FARGATE.parse()?, mark)].into(),
    })
}

fn edge(
    handle: &Handle,
    identity: &Arc<Identity>,
    clock: &Arc<SteppedClock>,
    logs: &Logs,
    random: &Random,
) -> Arc<Edge> {
    let health = Health::starting("never");
    health.set_ready();
    let backend = Backend {
        identity: Identity::clone(identity),
        driver: handle.clone(),
        endpoint: "http://in-process:8420/".to_owned(),
        ca: CaHash([7; 32]),
        webhook_token: Secret::new("a-token-of-alertmanager".to_owned()),
        metrics_token: Secret::new("a-token-of-prometheus".to_owned()),
        logs: logs.clone(),
        random: random.clone(),
    };
    Arc::new(Edge::new(backend, &credentials(), clock.clone(), health, Metrics::detached()))
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("a-secret-of-the-campaign".into()),
    }
}
