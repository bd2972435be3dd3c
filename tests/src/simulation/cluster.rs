//! The cluster of a simulation, whose parts can crash and start again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use longshore_agent::{
    engine::{
        supervisor::{self, EngineConfig, EngineError, LedgerError},
        topics::{Entries, Topics as FollowedTopics},
    },
    runtime::fake::{Behaviour, FakeRuntime},
};
use longshore_common::{
    arn::Identity,
    clock::{Clock, SteadyClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{PROTOCOL_VERSION, RegisterRequest, Versions},
    resources::{Capacity, CpuUnits, MemoryMib},
    task::TaskOverride,
    task_definition::{ContainerDefinition, TaskSpec},
    topic::{TopicChange, TopicKey, TopicName},
};
use longshore_coordinator::{
    driver::{self, Handle, Refused},
    fleet::{poller, topics::Topics},
    journal::memory::MemoryDisk,
};
use longshore_core::{
    Answer, Command,
    command::{
        ClientToken, ClusterCommand, CreateService, DefinitionCommand, DeploymentChange,
        EpochCommand, HostCommand, RegisterTaskDefinition, RunTask, ServiceCommand, TaskCommand,
        TaskLaunch, TokenCommand, UpdateService,
    },
    model::{
        cluster::ClusterSettings,
        definition::RevisionRef,
        join_token::JoinToken,
        service::{
            CircuitBreaker, Controller, DeploymentConfig, DeploymentStrategy, LostAfter,
            PropagateTags, Scheduling, ServiceConfig, ServiceOptions, ServiceRef, Threshold,
        },
        tags::Tags,
    },
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{SimulatedClock, network::Network};
use crate::chance::Chance;

pub(super) const CLUSTER: &str = "default";
pub(super) const FAMILY: &str = "app";
/// Its lost tasks are replaced.
pub(super) const SERVICE: &str = "many";
/// Its task is never replaced while it may run.
pub(super) const SINGLETON: &str = "one";
/// Both, with how many tasks each is to have, and whether lost ones are replaced.
pub(super) const SERVICES: [(&str, u32, bool); 2] = [(SERVICE, 4, true), (SINGLETON, 1, false)];
const IMAGE: &str = "app:1";
/// What a flush of the journal takes.
const FLUSH_TAKES: Duration = Duration::from_millis(2);
/// How often time is told to pass though nobody waits for it.
const TICK: Duration = Duration::from_secs(5);
const FLEET: FleetId = FleetId::new(0x5eed);

pub struct Cluster {
    pub clock: SimulatedClock,
    /// The coordinator's, as it is shipped.
    steady: Arc<SteadyClock<SimulatedClock>>,
    pub network: Network,
    pub hosts: Vec<Host>,
    disk: MemoryDisk,
    chance: Chance,
    coordinator: Option<Coordinator>,
    directory: TempDir,
    /// What the topic of coordinators is to hold at each host.
    published: BTreeMap<String, Bytes>,
}

struct Coordinator {
    handle: Handle,
    topics: Arc<Topics>,
    crash: CancellationToken,
}

pub struct Host {
    pub id: HostId,
    pub docker: FakeRuntime,
    /// What its agent holds of the topic; absent before the first start of one.
    topic: Option<watch::Receiver<Option<Entries>>>,
    agent: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Cluster {
    /// A coordinator and hosts with an agent each, all connected, and a task definition.
    pub async fn start(hosts: usize, chance: Chance) -> Result<Self> {
        let clock = SimulatedClock::start();
        let mut cluster = Cluster {
            steady: Arc::new(SteadyClock::new(clock.clone())),
            clock,
            network: Network::new(chance.part(1)),
            hosts: Vec::new(),
            disk: MemoryDisk::default(),
            chance: chance.part(2),
            coordinator: None,
            directory: tempfile::tempdir()?,
            published: BTreeMap::new(),
        };
        cluster.start_coordinator().await?;
        let handle = cluster.handle()?;
        let token = JoinToken {
            id: "sim".to_owned(),
            secret_hash: [7; 32],
            cluster: None,
            expires_at: Timestamp(u64::MAX),
            uses_left: None,
        };
        submit(&handle, Command::Token(TokenCommand::CreateJoinToken(token))).await?;
        for _ in 0..hosts {
            cluster.add_host(&handle).await?;
        }
        let (name, settings) = (CLUSTER.parse()?, ClusterSettings::default());
        submit(
            &handle,
            Command::Cluster(ClusterCommand::CreateCluster { name, settings, tags: Tags::new() }),
        )
        .await?;
        submit(&handle, register()?).await?;
        for (service, desired, replace) in SERVICES {
            submit(&handle, create_service(service, desired, replace)?).await?;
        }
        Ok(cluster)
    }

    /// The coordinator that runs now; after a crash there is none.
    pub fn handle(&self) -> Result<Handle> {
        let coordinator = self.coordinator.as_ref().context("the coordinator is down")?;
        Ok(coordinator.handle.clone())
    }

    pub async fn start_coordinator(&mut self) -> Result<()> {
        let crash = CancellationToken::new();
        let mut entropy = self.chance.part(3);
        self.chance.draw();
        let mut random = move || u128::from(entropy.draw()) << 64 | u128::from(entropy.draw());
        let incarnation = random() as u64;
        let handle = driver::simulated::start(
            self.disk.recover(),
            self.disk.journal(),
            self.steady.clone(),
            Box::new(random),
            FLUSH_TAKES,
            crash.clone(),
        );
        handle
            .submit_always(Command::Epoch(EpochCommand::StartEpoch { incarnation }), |_, _| ())
            .await?;
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let network = Arc::new(self.network.clone());
        let start = handle.peek(|state| state.epoch().incarnation);
        let topics = Arc::new(Topics::new(TopicKey([7; 32]), start));
        topics.replace(&TopicName::coordinators(), self.published.clone())?;
        let (polled, until) = (handle.clone(), crash.clone());
        tokio::spawn(poller::run(polled, network, FLEET, identity, topics.clone(), until));
        let (told, clock, crashed) = (handle.clone(), self.steady.clone(), crash.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = driver::keep_time(&told, &clock, TICK, || ()) => {}
                () = crashed.cancelled() => {}
            }
        });
        self.coordinator = Some(Coordinator { handle, topics, crash });
        Ok(())
    }

    /// Changes an entry of what every host follows. A coordinator that is down publishes it at its start.
    pub(super) fn publish(&mut self, key: String, value: Option<Bytes>) -> Result<()> {
        match &value {
            Some(value) => drop(self.published.insert(key.clone(), value.clone())),
            None => drop(self.published.remove(&key)),
        }
        if let Some(Coordinator { topics, .. }) = &self.coordinator {
            topics.publish(&TopicName::coordinators(), &[TopicChange { key, value }])?;
        }
        Ok(())
    }

    /// Hosts that do not hold what was published.
    pub(super) fn behind(&self) -> Vec<HostId> {
        let holds = |host: &&Host| {
            let entries = host.topic.as_ref().and_then(|topic| topic.borrow().clone());
            entries.is_some_and(|entries| *entries == self.published)
        };
        self.hosts.iter().filter(|host| !holds(host)).map(|host| host.id).collect()
    }

    /// Hosts that the coordinator shows without their agent.
    pub fn disconnected(&self) -> Result<usize> {
        Ok(self.handle()?.peek(|state| state.hosts().filter(|host| !host.connected).count()))
    }

    /// As kill -9: what was not flushed is gone.
    pub fn crash_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.crash.cancel();
        }
    }

    pub fn coordinator_is_down(&self) -> bool {
        self.coordinator.is_none()
    }

    /// As kill -9: containers and the ledger stay.
    pub fn crash_agent(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if let Some(agent) = host.agent.take() {
            self.network.disconnect(host.id);
            agent.abort();
        }
    }

    pub fn agent_is_down(&self, index: usize) -> bool {
        self.hosts[index].agent.is_none()
    }

    pub async fn start_agent(&mut self, index: usize) -> Result<()> {
        let session = self.chance.draw();
        let host = &mut self.hosts[index];
        let ledger = self.directory.path().join(format!("{}.db", host.id));
        let mut config = EngineConfig::new(FLEET, host.id, ledger);
        config.session = session;
        let mut topics = FollowedTopics::default();
        host.topic = Some(topics.follow(TopicName::coordinators()));
        config.topics = topics;
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        // The agent that was killed may still hold its ledger for a moment of real time.
        let started = loop {
            let started = supervisor::start(
                config.clone(),
                host.docker.clone(),
                clock.clone(),
                CancellationToken::new(),
            );
            match started {
                Ok(started) => break started,
                Err(LedgerError::Held(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        };
        self.network.connect(host.id, started.0);
        host.agent = Some(started.1);
        Ok(())
    }

    async fn add_host(&mut self, handle: &Handle) -> Result<()> {
        let join = Command::Token(TokenCommand::UseJoinToken {
            secret_hash: [7; 32],
            requested_host: None,
            key: None,
        });
        let Answer::Host(id) = submit(handle, join).await? else { bail!("no host id") };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let docker = FakeRuntime::new(clock);
        docker.add_image(IMAGE, Behaviour::default());
        self.hosts.push(Host { id, docker, topic: None, agent: None });
        self.start_agent(self.hosts.len() - 1).await?;
        let request = RegisterRequest {
            protocol: PROTOCOL_VERSION,
            cluster: CLUSTER.to_owned(),
            capacity: Capacity {
                cpu: CpuUnits(1024),
                memory: MemoryMib(1024),
                reserved_ports: Box::default(),
                gpus: Box::default(),
            },
            attributes: Vec::new(),
            tags: Vec::new(),
            versions: Versions::default(),
            poll_address: id.to_string(),
            advertise: id.to_string(),
            instance_id: None,
            boot_id: "one".to_owned(),
            run: None,
        };
        submit(
            handle,
            Command::Host(HostCommand::RegisterHost { host: id, request: Box::new(request) }),
        )
        .await?;
        Ok(())
    }
}

/// Runs tasks; the answer is what the coordinator acknowledged.
pub(super) async fn run_tasks(
    handle: &Handle,
    count: u32,
    token: &str,
) -> Result<Vec<TaskId>, Refused> {
    let command = Command::Task(TaskCommand::RunTask(Box::new(RunTask {
        launch: TaskLaunch {
            cluster: CLUSTER.parse().expect("a valid name"),
            definition: RevisionRef { family: FAMILY.parse().expect("valid"), revision: None },
            overrides: TaskOverride::default(),
            group: None,
            started_by: None,
            tags: Tags::new(),
            options: Default::default(),
            propagate_tags: false,
            managed_tags: false,
        },
        count,
        distinct_instance: false,
        member_of: Vec::new(),
        strategies: Vec::new(),
        capacity: None,
        client_token: Some(ClientToken { token: token.to_owned(), parameters_hash: 1 }),
    })));
    let tasks = |answer| match answer {
        Answer::Tasks { tasks, .. } => tasks,
        other => unreachable!("RunTask answers with tasks, not with {other:?}"),
    };
    handle.submit(command, move |_, answer| tasks(answer)).await
}

pub(super) async fn stop_task(handle: &Handle, task: TaskId) -> Result<(), Refused> {
    let cluster = CLUSTER.parse().expect("a valid name");
    handle
        .submit(Command::Task(TaskCommand::StopTask { cluster, task, reason: None }), |_, _| ())
        .await
}

/// A service whose hosts are lost after two seconds.
fn create_service(name: &str, desired: u32, replace: bool) -> Result<Command> {
    let options = ServiceOptions {
        lost_after: Some(LostAfter::Milliseconds(2000)),
        replace: Some(replace),
        healthy_after_ms: Some(1000),
        ..ServiceOptions::default()
    };
    let deployment = DeploymentConfig {
        // One after the other for a singleton: never two at once.
        minimum_healthy_percent: if replace { 50 } else { 0 },
        maximum_percent: if replace { 200 } else { 100 },
        strategy: DeploymentStrategy::Rolling,
        circuit_breaker: CircuitBreaker {
            enable: false,
            rollback: false,
            reset_on_healthy_task: true,
            threshold: Threshold::BoundedPercent(50),
        },
        alarms: None,
        bake_minutes: None,
        hooks: Vec::new(),
        early_success: None,
    };
    Ok(Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        capacity: None,
        service: named(name)?,
        definition: Some(RevisionRef { family: FAMILY.parse()?, revision: None }),
        config: ServiceConfig {
            capacity: Vec::new(),
            desired,
            scheduling: Scheduling::Replica,
            controller: Controller::Ecs,
            deployment,
            distinct_instance: false,
            member_of: Vec::new(),
            strategies: Vec::new(),
            grace_s: None,
            az_rebalancing: false,
            propagate_tags: PropagateTags::None,
            managed_tags: false,
            options,
        },
        tags: Tags::new(),
        created_by: "sim".to_owned(),
        client_token: None,
    }))))
}

pub(super) fn named(service: &str) -> Result<ServiceRef> {
    Ok(ServiceRef { cluster: CLUSTER.parse()?, name: service.parse()? })
}

/// Scales a service, or deploys a new revision of it.
pub(super) async fn update_service(
    handle: &Handle,
    service: &str,
    desired: Option<u32>,
    force_new_deployment: bool,
) -> Result<()> {
    let update = UpdateService {
        capacity: None,
        service: named(service)?,
        definition: None,
        desired,
        deployment: DeploymentChange::default(),
        distinct_instance: None,
        member_of: None,
        strategies: None,
        grace_s: None,
        az_rebalancing: None,
        propagate_tags: None,
        managed_tags: None,
        force_new_deployment,
    };
    submit(handle, Command::Service(ServiceCommand::UpdateService(Box::new(update)))).await?;
    Ok(())
}

fn register() -> Result<Command> {
    let container = ContainerDefinition {
        name: "main".to_owned(),
        image: Some(IMAGE.to_owned()),
        memory: Some(64),
        stop_timeout: Some(2),
        ..ContainerDefinition::default()
    };
    Ok(Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
        RegisterTaskDefinition {
            family: FAMILY.parse()?,
            spec: TaskSpec { container_definitions: vec![container], ..TaskSpec::default() },
            requires_attributes: Vec::new(),
            compatibilities: Vec::new(),
            registered_by: "sim".to_owned(),
            tags: Tags::new(),
        },
    ))))
}

async fn submit(handle: &Handle, command: Command) -> Result<Answer> {
    Ok(handle.submit(command, |_, answer| answer).await?)
}
