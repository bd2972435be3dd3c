//! A cluster on a stepped clock whose agents do what the test says, driven by the driver's own
//! step.

mod agents;
mod services;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{Attribute, RegisterRequest, Versions},
    resources::{Capacity, CpuUnits, MemoryMib},
    task::{HealthStatus, TaskOverride},
    task_definition::{
        ContainerDefinition, HealthCheck, PortMapping, ResourceRequirement, ResourceType, TaskSpec,
    },
};

use super::recorder::Recorder;
use crate::{
    Answer, Command, Event, Rejection, State,
    batch::Batch,
    command::{
        AlarmCommand, ClusterCommand, CreateTaskSet, DefinitionCommand, EpochCommand, HostCommand,
        RegisterTaskDefinition, ServiceCommand, SettableHostStatus, StartTask, TaskCommand,
        TaskLaunch, TaskSetCommand, TokenCommand, UpdateService,
    },
    model::{
        alarm::{AlarmDefinition, AlarmValue, PutMetricAlarm, SetAlarmState, Watched},
        attachment::AttachmentSpec,
        cluster::ClusterSettings,
        definition::RevisionRef,
        deployment::{DeploymentRecord, DeploymentRef, DeploymentStatus},
        join_token::JoinToken,
        service::{RevisionId, ServiceConfig},
        tags::Tags,
        task::Phase,
        task_options::TaskOptions,
    },
    schedule::{self, Pass},
    state::{Service, Standing, Task},
    step::{self, Request},
};

pub use self::services::{
    blue_green, bounded, create, daemon, external, named, replicas, update_of, with_breaker,
};

/// Maximum number of events that follow one call: more than any call of these tests can need.
const EVENTS_OF_A_CALL_MAX: usize = 100_000;
pub const CLUSTER: &str = "web";

pub struct World {
    pub state: State,
    pub at: Timestamp,
    pub hosts: Vec<HostId>,
    /// What the services said, without their names in front.
    pub said: Vec<String>,
    pub events: Vec<Event>,
    /// Events of the last call.
    pub recent: Vec<Event>,
    keeps_events: bool,
    /// What a journal would be given.
    batches: Vec<Batch>,
    entropy: u128,
    /// How often an agent told of its images.
    looks: u64,
    reports: BTreeMap<HostId, u64>,
    health: BTreeMap<TaskId, HealthStatus>,
    /// Looks that the scheduler took.
    pub looked: u64,
    recorder: Option<Recorder>,
    pub gpus_of_hosts: u32,
    /// A planted bug: what a look at the state is changed to.
    pub sabotage: Option<Sabotage>,
}

pub type Sabotage = fn(&State, &mut Pass);

impl World {
    pub fn new() -> Self {
        let mut world = World {
            state: State::default(),
            at: Timestamp(1_000_000),
            hosts: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
            recent: Vec::new(),
            keeps_events: true,
            batches: Vec::new(),
            entropy: 0,
            looks: 0,
            reports: BTreeMap::new(),
            health: BTreeMap::new(),
            looked: 0,
            recorder: None,
            gpus_of_hosts: 0,
            sabotage: None,
        };
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 })).unwrap();
        world.call(Command::Epoch(EpochCommand::BeginScheduling)).unwrap();
        let (settings, tags) = (ClusterSettings::default(), Tags::new());
        let name = CLUSTER.parse().unwrap();
        world
            .call(Command::Cluster(ClusterCommand::CreateCluster { name, settings, tags }))
            .unwrap();
        let token = JoinToken {
            id: "token".to_owned(),
            secret_hash: [1; 32],
            cluster: None,
            expires_at: Timestamp(u64::MAX),
            uses_left: None,
        };
        world.call(Command::Token(TokenCommand::CreateJoinToken(token))).unwrap();
        world.define("app", 10, false);
        world
    }

    /// A world with hosts of 4096 CPU units and 4096 MiB in the zones a, b, c in turn.
    pub fn with_hosts(count: usize) -> Self {
        let mut world = World::new();
        (0..count).for_each(|_| {
            world.add_host();
        });
        world
    }

    /// Makes the world keep no events and no messages, for long runs.
    pub fn forgetful(mut self) -> Self {
        self.keeps_events = false;
        self.events.clear();
        self.batches.clear();
        self.said.clear();
        self
    }

    /// Puts everything from now on, and what was until now, on the recorder's disk.
    pub fn record(&mut self, mut recorder: Recorder) {
        self.batches.iter().for_each(|batch| recorder.append(batch));
        self.recorder = Some(recorder);
    }

    /// What is wrong with the state, or would be after a start.
    pub fn faults(&self) -> Vec<String> {
        self.recorder.as_ref().map(|recorder| recorder.faults(&self.state)).unwrap_or_default()
    }

    pub fn checkpoints(&self) -> u64 {
        self.recorder.as_ref().map_or(0, Recorder::checkpoints)
    }

    /// What a journal would have been given since the last call.
    pub fn take_batches(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }

    pub fn add_host(&mut self) -> HostId {
        self.add_host_as(None)
    }

    /// A host that says to be this instance.
    pub fn add_host_as(&mut self, instance_id: Option<String>) -> HostId {
        let joined = self
            .call(Command::Token(TokenCommand::UseJoinToken {
                secret_hash: [1; 32],
                requested_host: None,
                key: None,
            }))
            .unwrap();
        let Answer::Host(host) = joined else { panic!("{joined:?}") };
        let zone = ["a", "b", "c"][self.hosts.len() % 3];
        let request = Box::new(self.registration(zone, instance_id));
        self.call(Command::Host(HostCommand::RegisterHost { host, request })).unwrap();
        self.hosts.push(host);
        self.answer(host, Vec::new());
        host
    }

    pub fn registration(&self, zone: &str, instance_id: Option<String>) -> RegisterRequest {
        RegisterRequest {
            protocol: 1,
            cluster: CLUSTER.to_owned(),
            capacity: Capacity {
                cpu: CpuUnits(4096),
                memory: MemoryMib(4096),
                reserved_ports: Box::default(),
                gpus: (0..self.gpus_of_hosts).map(|at| format!("GPU-{at}")).collect(),
            },
            attributes: vec![Attribute {
                name: crate::placement::AVAILABILITY_ZONE.to_owned(),
                value: Some(zone.to_owned()),
            }],
            tags: Vec::new(),
            versions: Versions::default(),
            poll_address: "10.0.0.1:51680".to_owned(),
            advertise: "10.0.0.1".to_owned(),
            instance_id,
            boot_id: "boot".to_owned(),
            run: None,
        }
    }

    pub fn define(&mut self, family: &str, memory: u32, checked: bool) {
        let health_check = checked.then(|| HealthCheck {
            command: vec!["CMD".to_owned(), "true".to_owned()],
            interval: None,
            timeout: None,
            retries: None,
            start_period: None,
        });
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some("busybox".to_owned()),
            memory: Some(memory),
            cpu: 10,
            health_check,
            ..ContainerDefinition::default()
        };
        self.define_containers(family, vec![container]);
    }

    /// Registers a definition with a static host port.
    pub fn define_with_port(&mut self, family: &str, port: u16) {
        let mapping = PortMapping {
            container_port: Some(port),
            host_port: Some(port),
            ..PortMapping::default()
        };
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some("busybox".to_owned()),
            memory: Some(10),
            port_mappings: vec![mapping],
            ..ContainerDefinition::default()
        };
        self.define_containers(family, vec![container]);
    }

    /// Registers a definition that needs a whole GPU.
    pub fn define_with_gpu(&mut self, family: &str) {
        let gpu = ResourceRequirement {
            value: Some("1".to_owned()),
            kind: ResourceType::Gpu,
            sharing_strategy: None,
        };
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some("busybox".to_owned()),
            memory: Some(10),
            resource_requirements: vec![gpu],
            ..ContainerDefinition::default()
        };
        self.define_containers(family, vec![container]);
    }

    pub fn define_containers(
        &mut self,
        family: &str,
        container_definitions: Vec<ContainerDefinition>,
    ) {
        let spec = TaskSpec { container_definitions, ..TaskSpec::default() };
        self.call(Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
            RegisterTaskDefinition {
                family: family.parse().unwrap(),
                spec,
                requires_attributes: vec![],
                compatibilities: vec![],
                registered_by: "root".to_owned(),
                tags: Tags::new(),
            },
        ))))
        .unwrap();
    }

    pub fn put_alarm(&mut self, name: &str) {
        let definition = AlarmDefinition {
            description: None,
            actions_enabled: true,
            watched: Watched::PromQl {
                query: "up".to_owned(),
                pending_s: None,
                recovery_s: None,
                interval_s: 60,
            },
        };
        let (name, tags) = (name.parse().unwrap(), Tags::new());
        let put = PutMetricAlarm { name, definition, tags };
        self.call(Command::Alarm(AlarmCommand::PutMetricAlarm(Box::new(put)))).unwrap();
    }

    pub fn set_alarm(&mut self, name: &str, value: AlarmValue) {
        let (name, reason) = (name.parse().unwrap(), "because".to_owned());
        let set = SetAlarmState { name, value, reason, reason_data: None };
        self.call(Command::Alarm(AlarmCommand::SetAlarmState(set))).unwrap();
    }

    /// One step of the driver, and those that follow of themselves.
    pub fn call(&mut self, command: Command) -> Result<Answer, Rejection> {
        let answer: Arc<Mutex<Option<Result<Answer, Rejection>>>> = Arc::default();
        let put = answer.clone();
        let respond = Box::new(move |_: &State, outcome: Result<Answer, Rejection>| {
            *put.lock().unwrap() = Some(outcome);
            Box::new(|| ()) as Box<dyn FnOnce() + Send>
        });
        let mut requests = vec![Request { command, respond }];
        self.recent.clear();
        loop {
            let entropy = &mut self.entropy;
            let mut draw: crate::step::Entropy = {
                *entropy += 1 << 100;
                let mut next = *entropy;
                Box::new(move || {
                    next += 1 << 64;
                    next
                })
            };
            let sabotage = self.sabotage;
            let looked = std::cell::Cell::new(0);
            let look = |state: &State, due, at, entropy| {
                looked.set(looked.get() + 1);
                let mut pass = schedule::pass(state, due, at, entropy);
                sabotage.into_iter().for_each(|sabotage| sabotage(state, &mut pass));
                pass
            };
            let step = step::step_with(
                &step::Rules { look: &look, ..step::RULES },
                &mut self.state,
                std::mem::take(&mut requests),
                self.at,
                &mut draw,
            );
            self.looked += looked.get();
            if let Some(recorder) = &mut self.recorder {
                recorder.step(&mut self.state, step.batch.as_ref());
            }
            if let Some(batch) = step.batch {
                if self.keeps_events {
                    self.batches.push(batch.clone());
                }
                self.recent.extend(batch.events.iter().cloned());
                if self.keeps_events {
                    self.events.extend(batch.events);
                }
                if self.recent.len() > EVENTS_OF_A_CALL_MAX {
                    panic!("the scheduler never comes to rest: {:?}", self.recent.last());
                }
                for (_, message, _) in batch
                    .history
                    .service_events
                    .into_iter()
                    .take(if self.keeps_events { usize::MAX } else { 0 })
                {
                    let said = message.split_once(") ").map_or(message.as_str(), |(_, said)| said);
                    self.said.push(said.to_owned());
                }
            }
            if !step.more {
                break;
            }
        }
        self.state.assert_tallies();
        answer.lock().unwrap().take().expect("a step answers its requests")
    }

    pub fn pass(&mut self, seconds: f64) {
        self.at = Timestamp(self.at.0 + (seconds * 1000.0) as u64);
        self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
    }

    /// Lets time pass until nothing wants to be looked at before `seconds` are over.
    pub fn pass_step_by_step(&mut self, seconds: f64) {
        let until = Timestamp(self.at.0 + (seconds * 1000.0).round() as u64);
        while let Some(wake) = self.state.next_wake().filter(|wake| *wake <= until) {
            self.at = self.at.max(wake);
            self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
        self.at = until;
        self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
    }

    pub fn tasks(&self) -> Vec<&Task> {
        let cluster = self.state.cluster(CLUSTER).unwrap();
        cluster.tasks.values().map(|slot| self.state.task_at(*slot)).collect()
    }

    /// Running tasks of each zone that has any.
    pub fn by_zone(&self) -> Vec<(&str, usize)> {
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for task in self.tasks() {
            let host = self.state.host_at(task.host);
            let zone = host.attribute(crate::placement::AVAILABILITY_ZONE).flatten();
            *zones.entry(zone.unwrap()).or_default() += 1;
        }
        zones.into_iter().collect()
    }

    pub fn running(&self) -> Vec<TaskId> {
        let runs = |task: &&Task| matches!(task.phase, Phase::Running { .. });
        self.tasks().into_iter().filter(runs).map(|task| task.id).collect()
    }

    pub fn set_status(&mut self, host: HostId, status: SettableHostStatus) {
        let (cluster, hosts) = (CLUSTER.parse().unwrap(), vec![host]);
        self.call(Command::Host(HostCommand::UpdateContainerInstancesState {
            cluster,
            hosts,
            status,
        }))
        .unwrap();
    }

    pub fn create(&mut self, config: ServiceConfig) {
        self.create_named("s", "app", config);
    }

    pub fn create_named(&mut self, name: &str, family: &str, config: ServiceConfig) {
        self.call(create(name, family, config)).unwrap();
    }

    pub fn delete_by_force(&mut self, name: &str) {
        self.call(Command::Service(ServiceCommand::DeleteService {
            service: named(name),
            force: true,
        }))
        .unwrap();
    }

    /// Takes a host away with its tasks, as DeregisterContainerInstance does by force.
    pub fn deregister(&mut self, host: HostId) {
        let cluster = CLUSTER.parse().unwrap();
        self.call(Command::Host(HostCommand::DeregisterContainerInstance {
            cluster,
            host,
            force: true,
        }))
        .unwrap();
        self.hosts.retain(|known| *known != host);
    }

    /// Starts a task that no service wants on this host.
    pub fn start_alone(&mut self, host: HostId) -> TaskId {
        self.start_alone_as("app", host)
    }

    pub fn start_alone_as(&mut self, family: &str, host: HostId) -> TaskId {
        self.start(family, host, TaskOptions::default())
    }

    /// Starts a task that no service wants, with these attachments.
    pub fn start_alone_with(&mut self, host: HostId, attachments: Vec<AttachmentSpec>) -> TaskId {
        self.start_alone_as_with("app", host, attachments)
    }

    /// The same, of this task definition.
    pub fn start_alone_as_with(
        &mut self,
        family: &str,
        host: HostId,
        attachments: Vec<AttachmentSpec>,
    ) -> TaskId {
        self.start(family, host, TaskOptions { attachments, ..TaskOptions::default() })
    }

    fn start(&mut self, family: &str, host: HostId, options: TaskOptions) -> TaskId {
        let launch = TaskLaunch {
            cluster: CLUSTER.parse().unwrap(),
            definition: RevisionRef { family: family.parse().unwrap(), revision: None },
            overrides: TaskOverride::default(),
            group: None,
            started_by: None,
            tags: Tags::new(),
            options,
            propagate_tags: false,
            managed_tags: false,
        };
        let started = StartTask { launch, hosts: vec![host] };
        let answer = self.call(Command::Task(TaskCommand::StartTask(Box::new(started)))).unwrap();
        let Answer::Tasks { tasks, .. } = answer else { panic!("{answer:?}") };
        tasks[0]
    }

    pub fn create_task_set(&mut self, family: &str, scale_permille: u32) -> RevisionId {
        let create = CreateTaskSet {
            service: named("s"),
            definition: RevisionRef { family: family.parse().unwrap(), revision: None },
            external_id: None,
            scale_permille,
            tags: Tags::new(),
            client_token: None,
        };
        let answer =
            self.call(Command::TaskSet(TaskSetCommand::CreateTaskSet(Box::new(create)))).unwrap();
        let Answer::TaskSet(id) = answer else { panic!("{answer:?}") };
        id
    }

    /// ABORT of the deployment under way.
    pub fn abort(&mut self) {
        let deployment = DeploymentRef { service: named("s"), deployment: self.deployment().id };
        self.call(Command::Service(ServiceCommand::StopServiceDeployment {
            deployment,
            rollback: false,
        }))
        .unwrap();
    }

    /// Agents work and time passes, one thing that is awaited after the other.
    pub fn live(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.agents_work();
            let later = Timestamp(self.at.0 + 60_000);
            let next = self.state.next_wake().map_or(later, |wake| wake.min(later));
            self.at = self.at.max(next);
            self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
    }

    pub fn update(&mut self, change: impl FnOnce(&mut UpdateService)) {
        self.try_update(change).unwrap();
    }

    pub fn try_update(
        &mut self,
        change: impl FnOnce(&mut UpdateService),
    ) -> Result<Answer, Rejection> {
        let mut update = update_of(named("s"));
        change(&mut update);
        self.call(Command::Service(ServiceCommand::UpdateService(Box::new(update))))
    }

    pub fn scale(&mut self, desired: u32) {
        self.update(|update| update.desired = Some(desired));
    }

    /// Deploys a new revision of the service.
    pub fn deploy(&mut self, family: &str) {
        self.update(|update| {
            update.definition =
                Some(RevisionRef { family: family.parse().unwrap(), revision: None });
            update.force_new_deployment = true;
        });
    }

    /// Deploys without forceNewDeployment, as tools do.
    pub fn deploy_quietly(&mut self, family: &str, revision: Option<u32>) {
        let definition = RevisionRef { family: family.parse().unwrap(), revision };
        self.update(|update| update.definition = Some(definition));
    }

    pub fn service(&self) -> &Service {
        self.service_named("s")
    }

    pub fn service_named(&self, name: &str) -> &Service {
        self.state.service_named(&named(name)).unwrap()
    }

    /// `running/pending` of the whole service.
    pub fn counts(&self) -> String {
        let service = self.service();
        format!("{} running, {} pending", service.running(), service.pending())
    }

    pub fn healthy(&self) -> u32 {
        let revisions = self.service().revisions.iter();
        revisions.map(|revision| revision.counts.of(Standing::Healthy)).sum()
    }

    pub fn deployment(&self) -> &DeploymentRecord {
        self.service().deployment.as_ref().unwrap()
    }

    pub fn status(&self) -> DeploymentStatus {
        self.deployment().status
    }

    /// Work and time until the service has what it is to have.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.agents_work();
            if self.service().steady {
                return;
            }
            let before = self.at;
            match self.state.next_wake() {
                Some(wake) => self.at = wake,
                None => panic!("not steady, and nothing is awaited: {}", self.counts()),
            }
            assert!(self.at >= before);
            self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
        panic!("the service does not become steady: {}", self.counts());
    }
}
