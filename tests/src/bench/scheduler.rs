//! What the scheduler of services costs: a rolling deployment of 200 replicas on 1,000 hosts, on a
//! stepped clock with agents that exist only here, and 10,000 services that have nothing to do in
//! a coordinator as it is shipped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{
        EngineHealth, Report, ReportBody, ReportPosition, ReportedPhase, StorageHealth, TaskReport,
    },
};
use longshore_core::{
    Answer, Command, Event, Rejection, State,
    command::{
        AgentAnswered, ClusterCommand, CreateService, EpochCommand, HostCommand, ServiceCommand,
        TokenCommand, UpdateService,
    },
    event::TaskEvent,
    model::{
        cluster::ClusterSettings,
        definition::RevisionRef,
        join_token::JoinToken,
        service::{
            CircuitBreaker, Controller, DeploymentConfig, DeploymentStrategy, PropagateTags,
            Scheduling, ServiceConfig, ServiceOptions, ServiceRef, Threshold,
        },
        task::{Phase, Wish},
    },
    placement::{SpreadOver, Strategy},
    step::{Entropy, Request, step},
};
use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    service::{service, sleeper},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    bench::{
        idle::{cpu_seconds, rss_mib},
        restart::{definition, registration, running},
    },
    figures::{count, disk_baseline, figure, progress},
};

const HOSTS: usize = 1_000;
const REPLICAS: u32 = 200;
const CLUSTER: &str = "default";
/// Containers start and stop as quickly as Docker's.
const START_MS: u64 = 250;
const STOP_MS: u64 = 300;
/// How far the clock steps; agents answer as often.
const TICK_MS: u64 = 50;
/// A deployment that takes longer than so much stepped time hangs.
const DEPLOYMENT_MAX_MS: u64 = 600_000;
/// As many as the driver takes into one step.
const COMMANDS_PER_STEP: usize = 32;

const SERVICES: usize = 10_000;
/// ECS allows 5,000 services in a cluster.
const CLUSTERS: usize = 4;
const CALLERS: usize = 8;
const SETTLE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(60);

pub(super) async fn run() -> Result<()> {
    for (minimum, maximum, name) in
        [(100, 200, "rolling_200"), (100, 110, "rolling_200_by_20"), (50, 100, "rolling_200_half")]
    {
        rolling(minimum, maximum, name)?;
    }
    idle_services().await
}

/// Rolls the service once within these percents.
fn rolling(minimum: u32, maximum: u32, name: &str) -> Result<()> {
    let mut simulated = Simulated::with_hosts(HOSTS)?;
    simulated.create_service(minimum, maximum)?;
    simulated.until_deployed()?;
    let before = simulated.spent.clone();
    simulated.call(definition()?)?;
    simulated.call(Command::Service(ServiceCommand::UpdateService(Box::new(UpdateService {
        capacity: None,
        service: service_ref()?,
        definition: Some(RevisionRef { family: "restart".parse()?, revision: None }),
        desired: None,
        deployment: Default::default(),
        distinct_instance: None,
        member_of: None,
        strategies: None,
        grace_s: None,
        az_rebalancing: None,
        propagate_tags: None,
        managed_tags: None,
        force_new_deployment: false,
    }))))?;
    let began = simulated.at;
    simulated.until_deployed()?;
    let spent = &simulated.spent;
    let cpu = (spent.cpu - before.cpu).as_secs_f64();
    let decisions = spent.decisions - before.decisions;
    ensure!(decisions as u32 >= 2 * REPLICAS, "only {decisions} starts and stops");
    figure(&format!("{name}_cpu_s"), cpu, "s")?;
    count(&format!("{name}_decisions"), decisions)?;
    count(&format!("{name}_steps"), spent.steps - before.steps)?;
    figure(&format!("{name}_decisions_per_cpu_s"), decisions as f64 / cpu, "decisions/s")?;
    figure(&format!("{name}_longest_step_ms"), spent.longest.as_secs_f64() * 1000.0, "ms")?;
    let stepped = simulated.at.since(began).as_secs_f64();
    figure(&format!("{name}_stepped_time_s"), stepped, "s")
}

/// What the driver's steps have taken and decided.
#[derive(Clone, Debug, Default)]
struct Spent {
    cpu: Duration,
    longest: Duration,
    steps: usize,
    /// Tasks started, and tasks told to stop.
    decisions: usize,
}

struct Simulated {
    state: State,
    at: Timestamp,
    next: u128,
    reports: BTreeMap<HostId, u64>,
    /// When an agent was first asked to start or to stop a task.
    asked: BTreeMap<(TaskId, bool), Timestamp>,
    spent: Spent,
}

impl Simulated {
    fn with_hosts(hosts: usize) -> Result<Simulated> {
        let mut simulated = Simulated {
            state: State::default(),
            at: Timestamp(1_000_000),
            next: 0,
            reports: BTreeMap::new(),
            asked: BTreeMap::new(),
            spent: Spent::default(),
        };
        simulated.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 }))?;
        simulated.call(Command::Epoch(EpochCommand::BeginScheduling))?;
        simulated.call(Command::Cluster(ClusterCommand::CreateCluster {
            name: CLUSTER.parse()?,
            settings: ClusterSettings::default(),
            tags: Default::default(),
        }))?;
        simulated.call(Command::Token(TokenCommand::CreateJoinToken(JoinToken {
            id: "scheduler".to_owned(),
            secret_hash: [7; 32],
            cluster: None,
            expires_at: Timestamp(u64::MAX),
            uses_left: None,
        })))?;
        simulated.call(definition()?)?;
        for _ in 0..hosts {
            let join = Command::Token(TokenCommand::UseJoinToken {
                secret_hash: [7; 32],
                requested_host: None,
                key: None,
            });
            let Answer::Host(host) = simulated.call(join)? else {
                anyhow::bail!("joining gave no host");
            };
            let register = Command::Host(HostCommand::RegisterHost {
                host,
                request: Box::new(registration()),
            });
            simulated.call(register)?;
            let answer = simulated.answer(host, Vec::new());
            simulated.call(answer)?;
        }
        Ok(simulated)
    }

    fn create_service(&mut self, minimum: u32, maximum: u32) -> Result<()> {
        let config = ServiceConfig {
            capacity: Vec::new(),
            desired: REPLICAS,
            scheduling: Scheduling::Replica,
            controller: Controller::Ecs,
            deployment: DeploymentConfig {
                minimum_healthy_percent: minimum,
                maximum_percent: maximum,
                strategy: DeploymentStrategy::Rolling,
                circuit_breaker: CircuitBreaker {
                    enable: true,
                    rollback: true,
                    reset_on_healthy_task: true,
                    threshold: Threshold::BoundedPercent(50),
                },
                alarms: None,
                bake_minutes: None,
                hooks: Vec::new(),
                early_success: None,
            },
            distinct_instance: false,
            member_of: Vec::new(),
            strategies: vec![Strategy::Spread(SpreadOver::Instance)],
            grace_s: None,
            az_rebalancing: false,
            propagate_tags: PropagateTags::None,
            managed_tags: false,
            options: ServiceOptions { healthy_after_ms: Some(1_000), ..Default::default() },
        };
        self.call(Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
            capacity: None,
            service: service_ref()?,
            definition: Some(RevisionRef { family: "restart".parse()?, revision: None }),
            config,
            tags: Default::default(),
            created_by: "arn:aws:iam::000000000000:root".to_owned(),
            client_token: None,
        }))))?;
        Ok(())
    }

    /// Lets time pass until the service is steady.
    fn until_deployed(&mut self) -> Result<()> {
        let began = self.at;
        let named = service_ref()?;
        loop {
            self.at = Timestamp(self.at.0 + TICK_MS);
            let answers = self.agents_work();
            for some in answers.chunks(COMMANDS_PER_STEP) {
                self.take(some.to_vec());
            }
            let woken = self.state.next_wake().is_some_and(|wake| wake <= self.at);
            if answers.is_empty() && woken {
                self.take(vec![Command::Epoch(EpochCommand::Tick)]);
            }
            let service = self.state.service_named(&named).context("no service")?;
            if service.steady && service.under_way().is_none() {
                return Ok(());
            }
            let took = self.at.0 - began.0;
            ensure!(took < DEPLOYMENT_MAX_MS, "the service is not steady after {took} ms");
        }
    }

    /// What the agents of all hosts have to tell at this time.
    fn agents_work(&mut self) -> Vec<Command> {
        let mut work: BTreeMap<HostId, Vec<(TaskId, u32, ReportedPhase)>> = BTreeMap::new();
        let Some(cluster) = self.state.cluster(CLUSTER) else { return Vec::new() };
        for slot in cluster.tasks.values() {
            let task = self.state.task_at(*slot);
            let (stops, takes, phase) = match (&task.wish, task.phase) {
                (Wish::Stop { cause, .. }, _) => {
                    (true, STOP_MS, ReportedPhase::Stopped(cause.clone()))
                }
                (Wish::Run, Phase::Pending | Phase::Activating) => {
                    (false, START_MS, ReportedPhase::Running)
                }
                // No task here has attachments.
                (
                    Wish::Run,
                    Phase::Running { .. }
                    | Phase::Stopping { .. }
                    | Phase::Provisioning
                    | Phase::Deactivating { .. }
                    | Phase::Deprovisioning { .. },
                ) => continue,
            };
            let asked = *self.asked.entry((task.id, stops)).or_insert(self.at);
            if self.at.0 >= asked.0 + takes {
                let host = self.state.host_at(task.host).id;
                work.entry(host).or_default().push((task.id, task.generation, phase));
            }
        }
        work.into_iter().map(|(host, told)| self.answer(host, told)).collect()
    }

    fn answer(&mut self, host: HostId, told: Vec<(TaskId, u32, ReportedPhase)>) -> Command {
        let seq = self.reports.entry(host).or_default();
        let mut reports = Vec::new();
        for (task, generation, phase) in told {
            *seq += 1;
            let report = TaskReport { phase, ..running(task, generation, self.at) };
            reports.push(Report { seq: *seq, body: ReportBody::Task(Box::new(report)) });
        }
        let position = ReportPosition { session: 1, seq: *seq };
        Command::Host(HostCommand::AgentAnswered(Box::new(AgentAnswered {
            host,
            seen: None,
            position,
            reports,
            ended_candidates: Vec::new(),
            images: None,
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        })))
    }

    fn call(&mut self, command: Command) -> Result<Answer> {
        let mut answers = self.take(vec![command]);
        let answer = answers.pop().context("a step answers its requests")?;
        answer.map_err(|rejection| anyhow::anyhow!("{rejection:?}"))
    }

    /// One step with these commands, and those that follow of themselves.
    fn take(&mut self, commands: Vec<Command>) -> Vec<Result<Answer, Rejection>> {
        let answers: Arc<Mutex<Vec<Result<Answer, Rejection>>>> = Arc::default();
        let requests = commands.into_iter().map(|command| {
            let put = answers.clone();
            let respond = move |_: &State, outcome: Result<Answer, Rejection>| {
                put.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(outcome);
                Box::new(|| ()) as Box<dyn FnOnce() + Send>
            };
            Request { command, respond: Box::new(respond) }
        });
        let mut requests: Vec<Request> = requests.collect();
        loop {
            let mut next = self.next;
            self.next += 1 << 20;
            let mut entropy: Entropy = Box::new(move || {
                // Distinct, and spread over all bits as random ones are.
                next += 1;
                next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            });
            let began = thread_cpu();
            let flush = step(&mut self.state, std::mem::take(&mut requests), self.at, &mut entropy);
            let took = thread_cpu().saturating_sub(began);
            self.spent.cpu += took;
            self.spent.longest = self.spent.longest.max(took);
            self.spent.steps += 1;
            let events = flush.batch.as_ref().map_or(&[][..], |batch| &batch.events);
            self.spent.decisions += events.iter().map(decisions).sum::<usize>();
            if !flush.more {
                break;
            }
        }
        let mut answers = answers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::take(&mut *answers)
    }
}

fn decisions(event: &Event) -> usize {
    match event {
        Event::Task(TaskEvent::TasksStarted(started)) => started.tasks.len(),
        Event::Task(TaskEvent::TasksStopRequested { tasks, .. }) => tasks.len(),
        _ => 0,
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn service_ref() -> Result<ServiceRef> {
    Ok(ServiceRef { cluster: CLUSTER.parse()?, name: "rolled".parse()? })
}

async fn idle_services() -> Result<()> {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await?;
    disk_baseline(fleet.folder())?;
    let client = fleet.ecs()?;
    client.call("RegisterTaskDefinition", sleeper("idle", json!({}))).await?;
    let coordinator = fleet.coordinator()?;
    sleep(SETTLE).await;
    let without = core_percent(&fleet).await?;
    figure("no_services_core_percent", without, "%")?;
    figure("no_services_rss_mib", rss_mib(coordinator)?, "MiB")?;
    progress(&format!("scheduler: creating {SERVICES} services"));
    for cluster in 0..CLUSTERS {
        let create = json!({ "clusterName": cluster_name(cluster) });
        client.call("CreateCluster", create).await?;
    }
    let began = Instant::now();
    let callers = (0..CALLERS).map(|caller| create_services(client.clone(), caller));
    let made: usize = try_join_all(callers).await?.into_iter().sum();
    let took = began.elapsed().as_secs_f64();
    ensure!(made == SERVICES, "{made} services were made, not {SERVICES}");
    count("services", made)?;
    figure("create_service_rate", made as f64 / took, "services/s")?;
    sleep(SETTLE).await;
    let with = core_percent(&fleet).await?;
    figure("idle_services_core_percent", with, "%")?;
    figure("idle_services_rss_mib", rss_mib(coordinator)?, "MiB")
}

async fn core_percent(fleet: &Fleet) -> Result<f64> {
    let coordinator = fleet.coordinator()?;
    let (began, before) = (Instant::now(), cpu_seconds(coordinator)?);
    sleep(WATCHED).await;
    let used = cpu_seconds(coordinator)? - before;
    Ok(used / began.elapsed().as_secs_f64() * 100.0)
}

fn cluster_name(cluster: usize) -> String {
    format!("idle-{cluster}")
}

async fn create_services(client: EcsClient, caller: usize) -> Result<usize> {
    let mut made = 0;
    for number in (caller..SERVICES).step_by(CALLERS) {
        let mut input = service(&format!("idle-{number}"), "idle", 0, json!({}));
        input["cluster"] = json!(cluster_name(number % CLUSTERS));
        client.call("CreateService", input).await?;
        made += 1;
    }
    Ok(made)
}
