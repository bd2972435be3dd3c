//! One life of the agent, in order: data directory, listeners, identity, engine, poll endpoint, ready;
//! then until a signal; then the end, which leaves every container running.
//!
//! Never: a wait for Docker or, on a host that has its identity, for the coordinator.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use longshore_common::{
    clock::Clock,
    join_token::JoinToken,
    machine::AgentRun,
    protocol::Registered,
    task_policy::{Forbidden, TaskPolicy},
    termination::Termination,
    topic::TopicName,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    data_dir::{DataDir, DataDirError},
    endpoints::{Endpoints, Kernel, directory::EndpointDirectory, metadata::Surroundings},
    engine::{
        ledger::LedgerError,
        leftovers,
        supervisor::{self, EngineConfig, EngineError, LeaveWatch, ReachWatch, TaskEndpoints},
        topics::Topics,
    },
    fleet::{
        coordinator_reach,
        join::{self, EnterError, FleetEntry, Membership, Renewal},
        noted_polls::NotedPolls,
        poll_endpoint,
        registration::{self, Host, RegistrationOutcome},
    },
    host::{
        address, disk,
        docker_reach::{self, DockerReach},
        ec2, gpus,
        machine::{self, AGENT_HASH, AGENT_VERSION, Machine, MachineError, NoCapacity},
        spot,
    },
    logs::{self, KeepLogs, LogReader, LoggedRuntime},
    mounts::{self, HelperError},
    network::{
        self,
        report::{NetworkReport, REPORT_FILE},
        wiring::{self, WiringError},
    },
    runtime::docker::{DEFAULT_BRIDGE, Docker, NotAUnixSocket},
    service_manager,
    settings::{EXIT_BAD_SETTINGS, Settings, TokenSource},
    status::{Status, introspection, sign_of_life},
    task::{
        endpoint_names::{KeyError, Names},
        rules::MetadataFiles,
    },
};

/// EX_UNAVAILABLE: something that only one process can have is taken.
const EXIT_TAKEN: u8 = 69;
/// EX_NOPERM: the coordinator does not take this host.
const EXIT_REFUSED: u8 = 77;
const EXIT_FAILED: u8 = 1;
const MIB: u64 = 1024 * 1024;
/// How long Docker is asked for its bridge before the service starts.
const BRIDGE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
/// How often is read what `longshore-agent network` reports.
const REPORT_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
/// How long the parts have to end; the engine writes its ledger in it.
const END_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Why an agent ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    NoCapacity(#[from] NoCapacity),
    #[error(transparent)]
    Docker(#[from] NotAUnixSocket),
    #[error("cannot listen on {address}, which {setting} names: is another agent running?")]
    Listen { setting: &'static str, address: SocketAddr, source: io::Error },
    #[error("the join token cannot be read: correct --join-token-file")]
    TokenFile(#[source] io::Error),
    #[error(
        "--join-token-file does not hold a join token: make one with `longshore-coordinator \
         join-token create` and write it there"
    )]
    NotAToken,
    #[error(transparent)]
    Enter(Box<EnterError>),
    #[error("the poll endpoint cannot be served")]
    PollEndpoint(#[source] longshore_common::mutual_tls::TlsSetUpError),
    #[error("no random number for this session could be had")]
    NoEntropy(#[source] getrandom::Error),
    #[error("the task ledger cannot be opened")]
    Ledger(#[from] LedgerError),
    #[error("mounts for tasks cannot be made")]
    Mounts(#[from] HelperError),
    #[error("the key of the task endpoints cannot be used")]
    EndpointsKey(#[from] KeyError),
    #[error("the engine failed; containers go on, and a restart adopts them")]
    Engine(#[from] EngineError),
    #[error("a part of the agent broke off; containers go on, and a restart adopts them")]
    Panicked(#[from] JoinError),
}

impl Failed {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Failed::NoCapacity(_)
            | Failed::DataDir(DataDirError::NotOurs(_))
            | Failed::Docker(_)
            | Failed::TokenFile(_)
            | Failed::NotAToken => EXIT_BAD_SETTINGS,
            Failed::Enter(error) => match **error {
                EnterError::NoToken => EXIT_BAD_SETTINGS,
                EnterError::Join(_) => EXIT_REFUSED,
                EnterError::Identity(_) | EnterError::SetUp(_) => EXIT_FAILED,
            },
            Failed::DataDir(DataDirError::Taken(_)) | Failed::Listen { .. } => EXIT_TAKEN,
            Failed::DataDir(DataDirError::Unusable(_))
            | Failed::Machine(_)
            | Failed::PollEndpoint(_)
            | Failed::NoEntropy(_)
            | Failed::Ledger(_)
            | Failed::Mounts(_)
            | Failed::EndpointsKey(_)
            | Failed::Engine(_)
            | Failed::Panicked(_) => EXIT_FAILED,
        }
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(
    settings: Settings,
    clock: Arc<dyn Clock>,
    termination: Termination,
) -> Result<(), Failed> {
    let shutdown = CancellationToken::new();
    let _signals = stop_on_signals(termination, shutdown.clone());
    tracing::info!(
        version = AGENT_VERSION,
        commit = AGENT_HASH,
        cluster = settings.cluster,
        coordinator = settings.coordinator,
        data_dir = %settings.data_dir.display(),
        "longshore-agent starts"
    );
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // Whatever happens, the parts that run are told to end.
    let _end = shutdown.clone().drop_guard();
    tokio::select! {
        ended = life(settings, clock, shutdown.clone()) => ended,
        () = async { shutdown.cancelled().await; tokio::time::sleep(END_WITHIN).await } => {
            tracing::warn!("some parts took too long to end and were left");
            Ok(())
        }
    }?;
    tracing::info!("longshore-agent has ended");
    Ok(())
}

async fn life(
    settings: Settings,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), Failed> {
    let settings = Arc::new(settings);
    let data_dir = Arc::new(DataDir::open(&settings.data_dir)?);
    let machine = Machine::read()?;
    let gpus = gpus::offered(&settings.gpus);
    let Some(gpus) = shutdown.run_until_cancelled(gpus).await else { return Ok(()) };
    let capacity = machine::capacity(&settings, &machine, gpus)?;
    let session = getrandom::u64().map_err(Failed::NoEntropy)?;
    let run = AgentRun { session, machine: machine.marks.clone() };
    let polls = listen("--poll-listen", settings.poll_listen).await?;
    let shown = listen("--introspection-listen", settings.introspection_listen).await?;
    let poll_listen = polls.local_addr().unwrap_or(settings.poll_listen);
    let introspection_listen = shown.local_addr().unwrap_or(settings.introspection_listen);

    let cluster = settings.cluster.clone();
    let status = Status::new(cluster, AGENT_VERSION, AGENT_HASH, clock.clone());
    let mut parts = JoinSet::new();
    parts.spawn(introspection::serve(shown, status.clone(), shutdown.clone()));
    let (reach, docker_reach) = watch::channel(DockerReach::default());
    let (monitor, disk) = disk::monitor();
    status.disk_watched(disk.clone());
    parts.spawn(monitor.run(
        settings.disk,
        settings.data_dir.clone(),
        docker_reach.clone(),
        shutdown.clone(),
    ));
    parts.spawn({
        let (docker, socket) = (docker(&settings)?, settings.docker.clone());
        let (status, shutdown) = (status.clone(), shutdown.clone());
        async move { docker_reach::keep_asking(docker, &socket, status, reach, shutdown).await }
    });

    let (leaving, leaves) = watch::channel(false);
    parts.spawn({
        let (settings, shutdown) = (settings.clone(), shutdown.clone());
        async move { spot::watch(&settings, leaving, shutdown).await }
    });
    // The second that EC2's metadata may take runs beside joining.
    let metadata = ec2::find(&settings);
    service_manager::waiting(&format!("Joining the fleet of {}", settings.coordinator));
    let entered = async { tokio::join!(enter(&settings, &run, clock.clone()), metadata) };
    let Some((entered, ec2)) = shutdown.run_until_cancelled(entered).await else {
        return end(parts).await;
    };
    let (membership, renewal) = entered?;
    // Before anything waits for the coordinator: a host whose certificate has ended is heard only
    // after its renewal.
    parts.spawn(renewal.keep_renewed(shutdown.clone()));
    data_dir.set_aside_ledger_of_others(membership.fleet, membership.host)?;
    let own = leftovers::OwnHost {
        fleet: membership.fleet,
        host: membership.host,
        former: data_dir.former_hosts(membership.host),
    };
    parts.spawn(leftovers::tell(docker(&settings)?, own, docker_reach.clone(), shutdown.clone()));

    let zone = settings.availability_zone.clone();
    let zone = zone.or_else(|| ec2.as_ref()?.availability_zone.clone());
    let host = Host {
        settings: settings.clone(),
        machine: machine.clone(),
        capacity,
        ec2,
        poll_listen,
        coordinators: membership.coordinators.clone(),
    };
    let registered = {
        let (data_dir, status) = (data_dir.clone(), status.clone());
        move |outcome: RegistrationOutcome| match outcome {
            RegistrationOutcome::Registered(registered) => {
                data_dir.keep_registration(&registered);
                status.set_registered(registered);
            }
            RegistrationOutcome::Refused(why) => status.set_refused(why),
        }
    };
    let reached = docker_reach.clone();
    let (silent, silence) = watch::channel(false);
    parts.spawn(registration::keep_registered(
        host,
        docker_reach,
        silence,
        status.answered(),
        membership.clone(),
        registered,
        shutdown.clone(),
    ));
    let known = data_dir
        .registration()
        .filter(|known| known.host == membership.host && known.fleet == membership.fleet);
    if let Some(known) = known {
        tracing::info!(host = %known.host, "this host is known; its tasks are taken up at once");
        status.set_registered(known);
    }
    service_manager::waiting(&format!("Registering with {}", settings.coordinator));
    let Some(registered) = shutdown.run_until_cancelled(status.registered()).await else {
        return end(parts).await;
    };

    let endpoints = task_endpoints(&settings, &data_dir).await?;
    let mut topics = Topics::default();
    let told = topics.follow(TopicName::coordinators());
    parts.spawn(membership.coordinators.clone().keep_learning(told, shutdown.clone()));
    let config = EngineConfig {
        topics,
        endpoints: endpoints.as_ref().map(|(endpoints, ..)| endpoints.clone()),
        disk: Some(disk),
        reach: Some(ReachWatch(reached)),
        leaving: Some(LeaveWatch(leaves)),
        metadata_files: metadata_files(
            &settings,
            &registered,
            zone.as_ref(),
            &membership.coordinators.addresses(),
        )
        .await,
        session,
        ..engine_config(&settings, &membership, &registered, &machine, &data_dir)?
    };
    let public = settings.task_endpoints_listen;
    if let (Some((_, directory, listener)), Some(public)) = (endpoints, public) {
        let owner = config.owner();
        let around = Surroundings {
            availability_zone: zone.clone(),
            region: registered.region.clone(),
            account: registered.account.clone(),
        };
        let docker = docker(&settings)?;
        let coordinator = membership.clone();
        let endpoints = Endpoints::new(
            directory,
            docker,
            coordinator,
            Kernel { public },
            owner,
            around,
            clock.clone(),
        );
        parts.spawn(endpoints.serve(listener, shutdown.clone()));
    }
    let (follows, following) =
        logs::start(data_dir.logs(), kept_logs(&settings), clock.clone(), shutdown.clone());
    parts.spawn(following);
    let logs = LogReader::of(data_dir.logs(), membership.fleet, membership.host);
    let runtime = LoggedRuntime::new(docker(&settings)?, follows);
    let (engine, mut running) =
        supervisor::start(config, runtime, clock.clone(), shutdown.clone())?;
    status.engine_started(engine.clone());
    let answers = NotedPolls { engine, logs, status: status.clone() };
    let mut serving = tokio::spawn({
        let (membership, clock, shutdown) = (membership.clone(), clock, shutdown.clone());
        async move {
            let Membership { presented, trust, .. } = membership;
            poll_endpoint::serve(polls, clock, &presented, &trust, answers, shutdown).await
        }
    });
    tracing::info!(
        host = %registered.host,
        cluster = settings.cluster,
        poll.address = %poll_listen,
        introspection.address = %introspection_listen,
        "ready"
    );
    parts.spawn(sign_of_life::keep_told(status.clone(), shutdown.clone()));
    status.polls_are_served();
    parts.spawn(coordinator_reach::keep_watching(
        status.clone(),
        settings.coordinator.clone(),
        silent,
        shutdown.clone(),
    ));
    parts.spawn(watch_network(
        settings.clone(),
        docker(&settings)?,
        status.clone(),
        shutdown.clone(),
    ));

    tokio::select! {
        () = shutdown.cancelled() => {}
        ended = &mut running => ended??,
        ended = &mut serving => ended?.map_err(Failed::PollEndpoint)?,
        broken = broken(&mut parts) => return Err(broken.into()),
    }
    if !running.is_finished() {
        running.await??;
    }
    end(parts).await
}

/// `longshore-agent prepare-host`: what the agent's service may not do itself.
pub(crate) async fn prepare_host(settings: &Settings) -> Result<(), WiringError> {
    let asked = async {
        let docker = docker(settings).ok()?;
        let bridge = tokio::time::timeout(BRIDGE_WITHIN, docker.bridge()).await;
        Some(bridge.ok()?.ok()??.device)
    };
    // Docker may not be there yet; then its usual bridge is prepared, before the first container.
    let bridge = asked.await.unwrap_or_else(|| DEFAULT_BRIDGE.to_owned());
    wiring::prepare(settings, &bridge).await.map(drop)
}

/// `longshore-agent network`: until SIGTERM or SIGINT.
pub(crate) async fn network(settings: Settings, termination: Termination) -> Result<(), Failed> {
    let shutdown = CancellationToken::new();
    let _signals = stop_on_signals(termination, shutdown.clone());
    network::run(&settings, docker(&settings)?, shutdown).await;
    Ok(())
}

/// `longshore-agent volumes`: until SIGTERM or SIGINT.
pub(crate) async fn volumes(settings: &Settings, termination: Termination) -> Result<(), Failed> {
    let shutdown = CancellationToken::new();
    let _signals = stop_on_signals(termination, shutdown.clone());
    Ok(mounts::serve(settings, shutdown).await?)
}

/// Keeps the network where the agent has the rights for it, else hears of it from who has.
async fn watch_network(
    settings: Arc<Settings>,
    docker: Docker,
    status: Arc<Status>,
    shutdown: CancellationToken,
) {
    if wiring::may_prepare() {
        let tell = |problem| status.set_network_problem(problem);
        return network::keep(&settings, docker, tell, shutdown).await;
    }
    let mut looks = tokio::time::interval(REPORT_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
        // Without a report there is nobody who could tell.
        let report = NetworkReport::read(Path::new(REPORT_FILE)).unwrap_or_default();
        status.set_network_problem(report.problem);
    }
}

/// What the engine is told of the task endpoints, and their socket; nothing when they are turned off,
/// or this host is not prepared for them. The log then says so: tasks run without.
async fn task_endpoints(
    settings: &Settings,
    data_dir: &DataDir,
) -> Result<Option<(TaskEndpoints, Arc<EndpointDirectory>, TcpListener)>, Failed> {
    let listener = wiring::open(settings).await;
    let (Some(address), Some(listener)) = (settings.task_endpoints_listen, listener) else {
        return Ok(None);
    };
    let names = Names::load(&data_dir.endpoints_key(), address)?;
    let directory = Arc::new(EndpointDirectory::new(names.clone(), settings.task_endpoints_rate));
    tracing::info!(%address, "tasks can ask for their metadata");
    Ok(Some((TaskEndpoints { names, directory: directory.clone() }, directory, listener)))
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, Failed> {
    let listener = longshore_common::listen::listen(address).and_then(TcpListener::from_std);
    listener.map_err(|source| Failed::Listen { setting, address, source })
}

fn docker(settings: &Settings) -> Result<Docker, NotAUnixSocket> {
    let socket = settings.docker.to_string_lossy();
    Docker::new(&socket, settings.timeouts.clone(), settings.registries.clone())
}

async fn enter(
    settings: &Settings,
    run: &AgentRun,
    clock: Arc<dyn Clock>,
) -> Result<(Membership, Renewal), Failed> {
    let (token, unread) = match token(settings) {
        Ok(token) => (token, None),
        Err(failed) => (None, Some(failed)),
    };
    let entry = FleetEntry {
        coordinator: settings.coordinator.clone(),
        token,
        host: settings.container_instance,
        directory: settings.data_dir.clone(),
        run: run.clone(),
    };
    match (join::enter(&entry, clock).await, unread) {
        // A host that has its identity needs no token, not even a readable one.
        (Err(EnterError::NoToken), Some(failed)) => Err(failed),
        (entered, _) => entered.map_err(|error| Failed::Enter(Box::new(error))),
    }
}

fn token(settings: &Settings) -> Result<Option<JoinToken>, Failed> {
    match &settings.join_token {
        None => Ok(None),
        Some(TokenSource::Given(token)) => Ok(Some(token.clone())),
        Some(TokenSource::File(path)) => fs_err::read_to_string(path)
            .map_err(Failed::TokenFile)?
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| Failed::NotAToken),
    }
}

/// What containers are told of this host, if they are given files.
async fn metadata_files(
    settings: &Settings,
    registered: &Registered,
    zone: Option<&String>,
    coordinators: &[String],
) -> Option<MetadataFiles> {
    if !settings.container_metadata {
        return None;
    }
    let address = address::advertised(settings, coordinators).await.ok();
    Some(MetadataFiles {
        container_instance_arn: registered.container_instance_arn.clone(),
        availability_zone: zone.cloned(),
        host_address: address.filter(|address| address.parse::<Ipv4Addr>().is_ok()),
    })
}

fn engine_config(
    settings: &Settings,
    membership: &Membership,
    registered: &Registered,
    machine: &Machine,
    data_dir: &DataDir,
) -> Result<EngineConfig, Failed> {
    let config = EngineConfig::new(membership.fleet, membership.host, data_dir.ledger());
    Ok(EngineConfig {
        boot_id: machine.boot_id.clone(),
        machine: machine.marks.clone(),
        region: registered.region.clone(),
        cleanup_wait: settings.task_cleanup_wait,
        stopped_tasks_kept: settings.stopped_tasks_kept,
        stop_timeout: settings.container_stop_timeout,
        pull: settings.image_pull,
        pull_upfront: settings.pull_dependent_upfront,
        gpu_runtime: settings.gpu_runtime.clone(),
        dynamic_ports: settings.dynamic_host_ports,
        limits: settings.task_limits,
        images: settings.image_cleanup.clone(),
        policy: task_policy(settings),
        efs: settings.efs.clone(),
        repository_credentials: settings.repository_credentials.clone(),
        objects: settings.objects.clone(),
        mounts: mounts::helper_of(settings, &data_dir.volumes())?,
        task_files: data_dir.task_files(),
        ..config
    })
}

fn task_policy(settings: &Settings) -> TaskPolicy {
    let mut policy = settings.task_policy.clone();
    if !settings.privileged {
        policy.forbidden.insert(Forbidden::Privileged);
    }
    policy
}

fn kept_logs(settings: &Settings) -> KeepLogs {
    let bytes = u64::from(settings.log_store_size.0) * MIB;
    KeepLogs { age: settings.log_store_age, bytes }
}

/// Waits for a part that ended by a panic.
async fn broken(parts: &mut JoinSet<()>) -> JoinError {
    loop {
        match parts.join_next().await {
            Some(Ok(())) => {}
            Some(Err(broken)) => return broken,
            None => std::future::pending().await,
        }
    }
}

async fn end(mut parts: JoinSet<()>) -> Result<(), Failed> {
    while let Some(ended) = parts.join_next().await {
        ended?;
    }
    Ok(())
}

/// Cancels `shutdown` at the first signal.
fn stop_on_signals(mut termination: Termination, shutdown: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let signal = termination.told().await;
        tracing::info!(%signal, "longshore-agent stops; every container keeps running");
        service_manager::stopping("Stopping; every container keeps running");
        shutdown.cancel();
    })
}
