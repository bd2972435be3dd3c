//! The coordinator's life: what starts after what, what it says meanwhile, and how it ends.

use std::{
    future::Future,
    net::{Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use longshore_common::{
    arn::Identity,
    clock::{Clock, SteadyClock, SystemClock},
    data_directory,
    id::FleetId,
    service_manager::ServiceManager,
    termination::Termination,
    topic::TopicName,
};
use longshore_core::{Command, State, command::EpochCommand};
use sd_notify::NotifyState;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster_metrics::{self, Telling},
    credentials,
    driver::{self, Handle},
    edge::{
        Backend, Edge,
        health::{Health, Metrics},
        server::{self, Workshop},
    },
    edge_runtime::EdgeRuntime,
    effects::{self, launchers::Launching},
    fleet::{
        client::{HttpClient, TlsConnect},
        join::{self, Admission},
        logs::Logs,
        poller,
        topics::Topics,
    },
    journal::{recovery, sqlite::SqliteJournal},
    pki::{Authority, OwnCertificate},
    random::Random,
    running::{Running, Told},
    settings::Settings,
};

/// Interval of telling the state machine that time has passed (ours); the watchdog waits for the
/// same.
const TICK: Duration = Duration::from_secs(5);
/// Timeout of ending pollers and connections (ours).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, or until the journal fails.
pub async fn serve(settings: Settings, mut termination: Termination) -> Result<()> {
    let started = tokio::select! {
        biased;
        told_by = termination.told() => {
            tracing::info!("told to stop ({told_by}) while it started; nothing was served");
            return Ok(());
        }
        started = start(settings) => started?,
    };
    started.until_told_to_stop(termination).await
}

/// A coordinator that serves.
struct Started {
    parts: JoinSet<Result<()>>,
    health: Health,
    shutdown: CancellationToken,
    /// Becomes true when the journal has failed.
    failed: watch::Receiver<bool>,
    _edge_runtime: EdgeRuntime,
    _told: Told,
}

/// Given up at any point, it leaves what a crash there would leave.
async fn start(mut settings: Settings) -> Result<Started> {
    // Fails only if there is a provider already, which then is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    make_data_dir(&settings.data_dir)?;
    // Bound before anything is written, so that a port in use changes nothing.
    let api_listener = bind("API", settings.listen, "--listen").await?;
    let join_listener = bind("joining", settings.join_listen, "--join-listen").await?;

    // What was asked for, unless any free port was.
    settings.listen = api_listener.local_addr()?;
    settings.join_listen = join_listener.local_addr()?;

    let (mut state, journal, fleet) = read_journal(&settings.data_dir, &clock).await?;
    state.set_service_policy(settings.service_policy);
    state.set_task_policy(settings.task_policy.clone());
    state.set_capacity_policy(settings.capacity_policy.clone());
    let hosts = state.hosts_len();
    let (root, _) = credentials::load_or_create_root(&settings.data_dir)?;
    let authority = Arc::new(Authority::open(&settings.data_dir, fleet, hosts, clock.wall())?);
    let steady = Arc::new(SteadyClock::new(clock.clone()));
    let (handle, failed) = driver::start(state, journal, steady.clone(), Box::new(system_entropy));
    let incarnation = system_entropy() as u64;
    handle
        .submit_always(Command::Epoch(EpochCommand::StartEpoch { incarnation }), |_, _| ())
        .await?;

    let shutdown = CancellationToken::new();
    let own_certificate = OwnCertificate::issue(authority.clone(), clock.wall())?;
    let presented = own_certificate.presented();
    let connect = TlsConnect::new(clock.clone(), &presented, &authority.trust()?)?;
    let agents = Arc::new(HttpClient::new(connect));
    let identity = settings.identity.clone();
    let admission = Admission::new(handle.clone(), Arc::new(identity.clone()));
    let health = Health::starting("it is starting");
    let logs = Logs::open(&settings.data_dir, agents.clone(), fleet, clock.clone())
        .context("the store of logs cannot be opened")?;
    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let backend = backend(&settings, &handle, &authority, logs)?;
    let edge = Edge::new(backend, &root, clock.clone(), health.clone(), metrics.clone());

    let topics = topics(&settings, &handle, &authority)?;

    let edge_runtime = EdgeRuntime::start().context("cannot start threads for callers")?;
    let ca = authority.hash();
    let mut parts = JoinSet::new();
    parts.spawn(part(own_certificate.keep_renewed(clock.clone(), shutdown.clone())));
    let polled_as = identity.clone();
    // Before anybody can call `recover`; the pollers say when they were.
    handle.hearing().begin();
    parts.spawn(part(poller::run(
        handle.clone(),
        agents,
        fleet,
        polled_as,
        topics,
        shutdown.clone(),
    )));
    parts.spawn({
        let (clock, shutdown) = (clock.clone(), shutdown.clone());
        let listener = join_listener.into_std()?;
        let serving = edge_runtime.listeners().spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            join::serve(listener, authority, &presented, admission, clock, shutdown).await?;
            anyhow::Ok(())
        });
        async move { serving.await?.context("the joining port cannot be served") }
    });
    parts.spawn(part(effects::hooks::run(
        handle.clone(),
        identity.clone(),
        steady.clone(),
        shutdown.clone(),
    )));
    parts.spawn(part(effects::launchers::run(
        handle.clone(),
        Launching {
            launchers: settings.launchers.clone(),
            ca,
            data_dir: settings.data_dir.clone(),
            coordinator: format!("{}:{}", settings.advertise, settings.join_listen.port()),
        },
        clock.clone(),
        shutdown.clone(),
    )));
    parts.spawn(part(cluster_metrics::tell(
        handle.clone(),
        metrics.clone(),
        Telling { data_dir: settings.data_dir.clone(), per_service: settings.metrics_per_service },
        clock.clone(),
        shutdown.clone(),
    )));
    parts.spawn({
        let (edge, workshop) = (Arc::new(edge), Workshop(edge_runtime.workshop()));
        let (listener, shutdown) = (api_listener.into_std()?, shutdown.clone());
        let serving = edge_runtime.listeners().spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            server::serve(edge, listener, workshop, shutdown).await;
            anyhow::Ok(())
        });
        async move { serving.await?.context("the API cannot be served") }
    });
    parts.spawn(part(keep_time(handle.clone(), steady, shutdown.clone())));
    health.set_ready();
    let running = Running {
        api: settings.listen,
        join: settings.join_listen,
        region: settings.identity.region.clone(),
        pid: std::process::id(),
    };
    let told = running.tell(&settings.data_dir)?;
    tracing::info!(
        api = %settings.listen, joining = %settings.join_listen, fleet = %fleet,
        "the coordinator is ready"
    );
    parts.spawn(part(tell_ready(shutdown.clone())));
    Ok(Started { parts, health, shutdown, failed, _edge_runtime: edge_runtime, _told: told })
}

impl Started {
    async fn until_told_to_stop(mut self, mut termination: Termination) -> Result<()> {
        let journal_failed = tokio::select! {
            told_by = termination.told() => {
                tracing::info!("told to stop ({told_by})");
                false
            }
            _ = self.failed.wait_for(|failed| *failed) => true,
            broken = broken(&mut self.parts) => {
                self.health.set_not_ready("a part of it is broken");
                return Err(broken.context("a part of the coordinator ended, so all of it does"));
            }
        };
        self.health.set_not_ready("it is stopping");
        ServiceManager::of_this_program().tell(&[NotifyState::Stopping]);
        self.shutdown.cancel();
        if journal_failed {
            bail!(
                "the journal failed; see the log above. Nothing was acknowledged that it does not \
                 hold"
            );
        }
        let ended = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut off");
        }
        tracing::info!("the coordinator has stopped; tasks go on running on their hosts");
        Ok(())
    }
}

/// A part of the coordinator that only a panic ends before its time.
async fn part(work: impl Future<Output = ()>) -> Result<()> {
    work.await;
    Ok(())
}

/// Waits for a part that failed or panicked: without it hosts would look silent, or callers wait, while
/// all else looks well.
async fn broken(parts: &mut JoinSet<Result<()>>) -> anyhow::Error {
    loop {
        match parts.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(failed))) => return failed,
            Some(Err(panicked)) => return panicked.into(),
            None => std::future::pending().await,
        }
    }
}

/// What hosts follow, with what is known of it before any of them asks.
fn topics(settings: &Settings, handle: &Handle, authority: &Authority) -> Result<Arc<Topics>> {
    let start = handle.peek(State::epoch).incarnation;
    let topics = Topics::new(authority.topic_key(), start);
    let coordinators = match &settings.coordinators[..] {
        [] => vec![joining_address(settings)],
        named => named.to_vec(),
    };
    let coordinators = coordinators.into_iter().map(|address| (address, Bytes::new())).collect();
    topics.replace(&TopicName::coordinators(), coordinators)?;
    Ok(Arc::new(topics))
}

/// What this coordinator's joining port is called elsewhere.
fn joining_address(settings: &Settings) -> String {
    let (host, port) = (&settings.advertise, settings.join_listen.port());
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

fn backend(
    settings: &Settings,
    handle: &Handle,
    authority: &Authority,
    logs: Logs,
) -> Result<Backend> {
    let endpoint = format!("http://{}:{}/", settings.advertise, settings.listen.port());
    Ok(Backend {
        identity: Identity::clone(&settings.identity),
        driver: handle.clone(),
        endpoint,
        ca: authority.hash(),
        webhook_token: credentials::load_or_create_webhook_token(&settings.data_dir)?,
        metrics_token: credentials::load_or_create_metrics_token(&settings.data_dir)?,
        logs,
        random: Random::of_system(),
    })
}

/// Makes the data directory for its owner's eyes only: it holds keys, and the journal holds what
/// users put into environments. Every file that is made there from now on is its owner's alone too.
fn make_data_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if path.is_dir() {
        return Ok(data_directory::check(path)?);
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| {
            format!(
                "cannot make the data directory {}; name another with --data-dir",
                path.display()
            )
        })?;
    Ok(data_directory::check(path)?)
}

async fn bind(what: &str, address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = longshore_common::listen::listen(address).and_then(TcpListener::from_std);
    bound.with_context(|| {
        format!(
            "cannot listen on {address} for the {what} port; is it in use? {flag} names another"
        )
    })
}

/// Reads the journal on a thread of its own: a large journal takes a while, in which a signal must
/// be heard.
async fn read_journal(
    directory: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(State, SqliteJournal, FleetId)> {
    let (directory, clock) = (directory.to_owned(), clock.clone());
    tokio::task::spawn_blocking(move || open_journal(&directory, &clock)).await?
}

fn open_journal(
    directory: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(State, SqliteJournal, FleetId)> {
    let began = clock.monotonic();
    let journal = SqliteJournal::open(directory, FleetId::new(system_entropy()))?;
    let fleet = journal.fleet()?;
    let (state, found) = recovery::recover(&journal)?;
    tracing::info!(
        path = %journal.path().display(),
        rows = found.rows, batches = found.batches, events = found.events,
        hosts = state.hosts_len(), tasks = state.tasks_len(),
        took_ms = clock.monotonic().since(began).as_millis() as u64,
        "the journal is read"
    );
    Ok((state, journal, fleet))
}

fn system_entropy() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes once it has booted");
    u128::from_ne_bytes(bytes)
}

async fn tell_ready(shutdown: CancellationToken) {
    let manager = ServiceManager::of_this_program();
    let ready = [NotifyState::Ready, NotifyState::Status("serving")];
    shutdown.run_until_cancelled(manager.tell_surely(&ready)).await;
}

/// Lets due things expire. The watchdog is fed only when the journal has taken the word, so that a
/// stuck driver or disk is noticed.
async fn keep_time(handle: Handle, clock: impl Clock, shutdown: CancellationToken) {
    let manager = ServiceManager::of_this_program();
    let watched = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let tick = watched.map_or(TICK, |third| third.min(TICK));
    let feed = || {
        if watched.is_some() {
            manager.tell(&[NotifyState::Watchdog]);
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = driver::keep_time(&handle, &clock, tick, feed) => {}
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn part_that_panics_or_fails_is_noticed() {
        let mut parts = JoinSet::new();
        parts.spawn(part(std::future::ready(())));
        parts.spawn(part(std::future::pending()));
        parts.spawn(part(async { panic!("planted") }));
        assert!(broken(&mut parts).await.to_string().contains("panic"));
        parts.spawn(async { bail!("cannot be served") });
        assert_eq!(broken(&mut parts).await.to_string(), "cannot be served");
    }
}
