//! The engine as a coordinator and a container engine see it: polls in, reports out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_common::{
    clock::{SteppedClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{
        ContainerId, ContainerStatus, Desired, DesiredDigest, Epoch, HeldImages, Manifest, Order,
        OrderKind, PROTOCOL_VERSION, PollAnswer, PollOutcome, PollRequest, Refusal, Report,
        ReportBody, ReportPosition, ReportedPhase, RunOrder, StorageHealth, TaskReport,
    },
    task::{HealthStatus, StopCause, StopCode, TaskOverride},
    task_definition::{
        ContainerDefinition, DockerVolumeConfiguration, HealthCheck, MountPoint, PortMapping,
        TaskDefinition, TaskSpec, Volume, VolumeScope,
    },
    task_policy::Forbidden,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{EngineConfig, EngineHandle, start, state::EngineError};
use crate::{
    runtime::{
        ContainerConfig, RunState, RuntimeError, Unknown,
        fake::{Behaviour, FakeRuntime, Fault, Verb},
    },
    settings::PullPolicy,
};

mod confused;
mod fencing;
mod health;
mod life;
mod inspections;
mod order;
mod others;
mod pulls;
mod stops;
mod namespaces;
mod metadata_files;
mod failures;
mod images;
mod restart;
mod disk_cleanup;
mod full_disk;
mod restored;
mod time;

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const IMAGE: &str = "web:1";
const CLEANUP_WAIT: Duration = Duration::from_secs(3600);
/// Long enough for every retry; time is stepped, so it costs nothing.
const PATIENCE: Duration = Duration::from_secs(1800);

/// An agent's engine on a container engine in memory, and the coordinator that polls it.
struct Rig {
    fake: FakeRuntime,
    clock: Arc<SteppedClock>,
    directory: tempfile::TempDir,
    config: EngineConfig,
    agent: Option<Agent>,
    coordinator: Coordinator,
}

struct Agent {
    handle: EngineHandle,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), EngineError>>,
}

/// As much of a coordinator as these tests need.
#[derive(Clone)]
struct Coordinator {
    epoch: Epoch,
    last_order: u64,
    desired: BTreeMap<TaskId, (u32, Desired)>,
    definitions: Vec<TaskDefinition>,
    orders: Vec<Order>,
    acknowledged: Option<ReportPosition>,
    tasks: BTreeMap<TaskId, TaskReport>,
    candidates: Vec<TaskId>,
    manifests_wanted: usize,
    /// As told last, and how often that was.
    images: Option<HeldImages>,
    images_told: usize,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With this many tasks, from the first on, that run.
    async fn with_tasks(count: u128) -> Self {
        let mut rig = Rig::new();
        rig.exchange().await;
        for number in 1..=count {
            rig.coordinator.run(task(number), one());
        }
        for number in 1..=count {
            rig.until_running(task(number)).await;
        }
        rig
    }

    fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let clock = SteppedClock::at(Timestamp(1_700_000_000_000));
        let fake = FakeRuntime::new(clock.clone());
        fake.add_image(IMAGE, Behaviour::default());
        let directory = tempfile::tempdir().unwrap();
        let mut config = EngineConfig::new(FLEET, HOST, directory.path().join("ledger"));
        config.cleanup_wait = CLEANUP_WAIT;
        change(&mut config);
        let mut rig =
            Rig { fake, clock, directory, config, agent: None, coordinator: Coordinator::new(1) };
        rig.start_agent();
        rig
    }

    fn start_agent(&mut self) {
        self.config.session += 1;
        let shutdown = CancellationToken::new();
        let (handle, running) =
            start(self.config.clone(), self.fake.clone(), self.clock.clone(), shutdown.clone())
                .unwrap();
        self.agent = Some(Agent { handle, shutdown, running });
    }

    /// As kill -9 does: nothing is told, nothing is finished.
    async fn kill_agent(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.running.abort();
        let _ = agent.running.await;
        // What the killed engine had begun to write, it writes: the file is free after that.
        let ledger = self.config.ledger.clone();
        while crate::engine::ledger::Ledger::open(&ledger, FLEET, HOST).is_err() {
            tokio::task::yield_now().await;
        }
    }

    async fn restart_agent(&mut self) {
        self.kill_agent().await;
        self.start_agent();
    }

    fn handle(&self) -> EngineHandle {
        self.agent.as_ref().unwrap().handle.clone()
    }

    async fn poll(&mut self, request: PollRequest) -> PollAnswer {
        let hold = Duration::from_millis(request.hold_ms.into());
        let answer = self.handle().poll(request).await.unwrap();
        // The wall follows: what parks a poll also lets time pass.
        if matches!(&answer.outcome, PollOutcome::Accepted { reports, .. } if reports.is_empty()) {
            self.clock.advance(hold);
        }
        answer
    }

    /// One exchange as a coordinator makes it: polls, takes what comes.
    async fn exchange(&mut self) -> PollAnswer {
        let request = self.coordinator.request(500);
        let answer = self.poll(request).await;
        self.coordinator.take(&answer);
        answer
    }

    /// Exchanges until the task's last report is as wanted.
    async fn until(&mut self, task: TaskId, what: impl Fn(&TaskReport) -> bool) -> TaskReport {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(report) = self.coordinator.tasks.get(&task).filter(|report| what(report)) {
                return report.clone();
            }
            assert!(
                waited < PATIENCE,
                "last heard: {:?}, calls: {:?}",
                self.coordinator.tasks.get(&task),
                self.fake.calls(),
            );
            self.exchange().await;
            waited += Duration::from_millis(500);
        }
    }

    async fn until_running(&mut self, task: TaskId) -> TaskReport {
        self.until(task, |report| report.phase == ReportedPhase::Running).await
    }

    async fn until_stopped(&mut self, task: TaskId) -> (StopCause, TaskReport) {
        let report = self.until(task, |r| matches!(r.phase, ReportedPhase::Stopped(_))).await;
        match &report.phase {
            ReportedPhase::Stopped(cause) => (cause.clone(), report),
            _ => unreachable!(),
        }
    }

    /// Lets everything settle: as many empty exchanges.
    async fn idle(&mut self, exchanges: usize) {
        for _ in 0..exchanges {
            self.exchange().await;
        }
    }

    /// Lets time pass with nobody polling.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::sleep(time).await;
    }
}

impl Coordinator {
    fn new(counter: u64) -> Self {
        Coordinator {
            epoch: Epoch { counter, incarnation: 7 },
            last_order: 0,
            desired: BTreeMap::new(),
            definitions: Vec::new(),
            orders: Vec::new(),
            acknowledged: None,
            tasks: BTreeMap::new(),
            candidates: Vec::new(),
            manifests_wanted: 0,
            images: None,
            images_told: 0,
        }
    }

    /// A new start on the same journal.
    fn restarted(&self) -> Self {
        let mut next = self.clone();
        next.epoch = Epoch { counter: self.epoch.counter + 1, incarnation: 8 };
        next.acknowledged = None;
        next
    }

    fn run(&mut self, task: TaskId, spec: TaskSpec) {
        self.run_generation(task, 1, spec);
    }

    fn run_generation(&mut self, task: TaskId, generation: u32, spec: TaskSpec) {
        let definition = self.definitions.len() as u32;
        let containers = spec.container_definitions.len() as u128;
        self.definitions.push(TaskDefinition { family: "web".into(), revision: 3, spec });
        let order = RunOrder {
            definition,
            cluster: "default".into(),
            task_arn: format!("arn:aws:ecs:us-east-1:000000000000:task/default/{task}"),
            overrides: TaskOverride::default(),
            group: "family:web".into(),
            started_by: None,
            created_at: Timestamp(1),
            container_ids: (0..containers).map(|i| ContainerId(TaskId::new(i))).collect(),
            gpus: Vec::new(),
            image_digests: Vec::new(),
            log_driver_mode: None,
        };
        self.desired.insert(task, (generation, Desired::Run));
        self.order(task, generation, OrderKind::Run(Box::new(order)));
    }

    /// The last order's containers are to be of these images.
    fn by_digest(&mut self, digests: &[&str]) {
        let last = self.orders.last_mut().map(|order| &mut order.kind);
        let Some(OrderKind::Run(order)) = last else { panic!("no run was ordered last") };
        order.image_digests = digests.iter().map(|digest| Some((*digest).to_owned())).collect();
    }

    fn stop(&mut self, task: TaskId) {
        let (generation, _) = self.desired[&task];
        self.desired.insert(task, (generation, Desired::Stop));
        self.order(task, generation, OrderKind::Stop(user_stop()));
    }

    fn order(&mut self, task: TaskId, generation: u32, kind: OrderKind) {
        self.last_order += 1;
        self.orders.push(Order { seq: self.last_order, task, generation, kind });
    }

    fn digest(&self) -> DesiredDigest {
        let mut digest = DesiredDigest::default();
        for (task, (generation, desired)) in &self.desired {
            digest.add(*task, *generation, *desired);
        }
        digest
    }

    fn request(&self, hold_ms: u32) -> PollRequest {
        PollRequest {
            protocol: PROTOCOL_VERSION,
            fleet: FLEET,
            host: HOST,
            epoch: self.epoch,
            hold_ms,
            acknowledged: self.acknowledged,
            definitions: self.definitions.iter().cloned().map(Arc::new).collect(),
            orders: self.orders.clone(),
            last_order: self.last_order,
            digest: self.digest(),
            manifest: None,
            images: self.images.as_ref().map(|told| told.position),
            sections: Vec::new(),
            knows_subscriptions: false,
        }
    }

    /// Only what is still desired, with both orders of what is to stop.
    fn manifest(&self, hold_ms: u32) -> PollRequest {
        let wanted = |order: &&Order| self.desired.contains_key(&order.task);
        let orders = self.orders.iter().filter(wanted);
        let orders = orders.map(|order| Order { seq: self.last_order, ..order.clone() });
        let manifest = Some(Manifest { orders: orders.collect(), ..Manifest::default() });
        PollRequest { manifest, orders: Vec::new(), ..self.request(hold_ms) }
    }

    fn take(&mut self, answer: &PollAnswer) {
        let PollOutcome::Accepted { reports, needs_manifest, images } = &answer.outcome else {
            panic!("refused: {answer:?}")
        };
        self.manifests_wanted += usize::from(*needs_manifest);
        if let Some(images) = images {
            self.images_told += 1;
            self.images = Some(images.clone());
        }
        let taken = self.acknowledged.filter(|taken| taken.session == answer.session);
        let taken = taken.map_or(0, |taken| taken.seq);
        for Report { seq, body } in reports.iter().filter(|report| report.seq > taken) {
            self.acknowledged = Some(ReportPosition { session: answer.session, seq: *seq });
            match body {
                ReportBody::Task(report) => {
                    if matches!(report.phase, ReportedPhase::Stopped(_)) {
                        self.desired.remove(&report.task);
                    }
                    self.tasks.insert(report.task, (**report).clone());
                }
                ReportBody::StopCandidate { task, .. } => self.candidates.push(*task),
            }
        }
    }
}

fn task(number: u128) -> TaskId {
    TaskId::new(number)
}

fn user_stop() -> StopCause {
    StopCause { code: StopCode::UserInitiated, reason: "enough".into() }
}

fn container(name: &str) -> ContainerDefinition {
    ContainerDefinition {
        name: name.into(),
        image: Some(IMAGE.into()),
        memory: Some(16),
        ..ContainerDefinition::default()
    }
}

fn spec(containers: Vec<ContainerDefinition>) -> TaskSpec {
    TaskSpec { container_definitions: containers, ..TaskSpec::default() }
}

fn one() -> TaskSpec {
    spec(vec![container("app")])
}
