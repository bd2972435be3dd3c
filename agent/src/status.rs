//! What the running agent knows of itself, for those who ask: introspection, the service manager.
//!
//! Written by whoever learns something, read by everybody. Never: a decision made from it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Monotonic},
    protocol::{Epoch, Registered, StorageHealth},
};
use tokio::sync::{Notify, watch};

use crate::{
    engine::supervisor::{EngineHandle, TaskView},
    host::{
        disk::{Disk, DiskWatch},
        docker_reach::NotesDocker,
    },
};

pub(crate) mod introspection;
pub(crate) mod sign_of_life;

/// Silence after which the coordinator counts as away: three polls of an idle host among 10,000.
pub(crate) const AWAY_AFTER: Duration = Duration::from_secs(15);

/// Cheap to read, never locked for long.
pub(crate) struct Status {
    pub(crate) cluster: String,
    pub(crate) version: &'static str,
    pub(crate) hash: &'static str,
    engine: OnceLock<EngineHandle>,
    registered: watch::Sender<Option<Registered>>,
    /// Why the coordinator does not take this host.
    refused: Mutex<Option<String>>,
    docker_answers: AtomicBool,
    docker_asked: AtomicBool,
    /// Something that the line of status tells has changed.
    pub(crate) changed: Notify,
    network_problem: watch::Sender<Option<String>>,
    docker_data_problem: watch::Sender<Option<String>>,
    disk: OnceLock<DiskWatch>,
    clock: Arc<dyn Clock>,
    polls: AtomicU64,
    /// The start of the coordinator whose polls this host answers; absent before the first.
    answered: watch::Sender<Option<Epoch>>,
    /// Milliseconds of the monotonic clock; counts once `polls` is not zero.
    last_poll_ms: AtomicU64,
    /// Since when polls could arrive.
    polls_served_since: OnceLock<Monotonic>,
}

impl Status {
    pub(crate) fn new(
        cluster: String,
        version: &'static str,
        hash: &'static str,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Status {
            cluster,
            version,
            hash,
            engine: OnceLock::new(),
            registered: watch::Sender::new(None),
            refused: Mutex::default(),
            docker_answers: AtomicBool::new(false),
            docker_asked: AtomicBool::new(false),
            changed: Notify::new(),
            network_problem: watch::Sender::new(None),
            docker_data_problem: watch::Sender::new(None),
            disk: OnceLock::new(),
            clock,
            polls: AtomicU64::new(0),
            answered: watch::Sender::new(None),
            last_poll_ms: AtomicU64::new(0),
            polls_served_since: OnceLock::new(),
        })
    }

    pub(crate) fn engine_started(&self, engine: EngineHandle) {
        // Started once a process.
        let _ = self.engine.set(engine);
    }

    pub(crate) fn has_engine(&self) -> bool {
        self.engine.get().is_some()
    }

    /// Asks the engine, which proves that its loop turns. Absent when it does not run, or hangs.
    pub(crate) async fn tasks(&self, within: Duration) -> Option<Vec<TaskView>> {
        let engine = self.engine.get()?;
        tokio::time::timeout(within, engine.tasks()).await.ok()?.ok()
    }

    pub(crate) fn set_registered(&self, registered: Registered) {
        self.registered.send_replace(Some(registered));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn set_refused(&self, why: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the coordinator refuses this host's registration; absent once it has taken it.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How this host was registered; waits until it was.
    pub(crate) async fn registered(&self) -> Registered {
        let mut registered = self.registered.subscribe();
        loop {
            if let Some(registered) = registered.borrow_and_update().clone() {
                return registered;
            }
            if registered.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn container_instance_arn(&self) -> Option<String> {
        self.registered.borrow().as_ref().map(|known| known.container_instance_arn.clone())
    }

    pub(crate) fn set_docker_answers(&self, answers: bool) {
        let answered = self.docker_answers.swap(answers, Ordering::Relaxed);
        let asked = self.docker_asked.swap(true, Ordering::Relaxed);
        if answered != answers || !asked {
            self.changed.notify_one();
        }
    }

    /// Absent before it was asked.
    pub(crate) fn docker_known(&self) -> Option<bool> {
        self.docker_asked.load(Ordering::Relaxed).then(|| self.docker_answers())
    }

    pub(crate) fn docker_answers(&self) -> bool {
        self.docker_answers.load(Ordering::Relaxed)
    }

    /// Why tasks do not reach their metadata, or reach EC2's; absent when all is well.
    pub(crate) fn set_network_problem(&self, problem: Option<String>) {
        self.network_problem.send_replace(problem);
    }

    pub(crate) fn network_problem(&self) -> Option<String> {
        self.network_problem.borrow().clone()
    }

    /// Why what Docker keeps on disk is not seen; absent when all is well.
    pub(crate) fn set_docker_data_problem(&self, problem: Option<String>) {
        self.docker_data_problem.send_replace(problem);
    }

    pub(crate) fn docker_data_problem(&self) -> Option<String> {
        self.docker_data_problem.borrow().clone()
    }

    pub(crate) fn disk_watched(&self, watch: DiskWatch) {
        // Once a process.
        let _ = self.disk.set(watch);
    }

    /// Unknown before the engine runs.
    pub(crate) fn storage(&self) -> StorageHealth {
        self.engine.get().map(EngineHandle::storage).unwrap_or_default()
    }

    /// As it was read last.
    pub(crate) fn disk(&self) -> Disk {
        self.disk.get().map(|watch| watch.seen.borrow().clone()).unwrap_or_default()
    }

    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Absent before the first poll.
    pub(crate) fn last_poll_age(&self) -> Option<Duration> {
        (self.polls() > 0).then(|| {
            let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Relaxed));
            self.clock.monotonic().since(Monotonic(last))
        })
    }

    /// Changes when the polls of another start of the coordinator are answered.
    pub(crate) fn answered(&self) -> watch::Receiver<Option<Epoch>> {
        self.answered.subscribe()
    }

    pub(crate) fn answers(&self, epoch: Epoch) {
        self.answered.send_if_modified(|answered| answered.replace(epoch) != Some(epoch));
    }

    pub(crate) fn polls_are_served(&self) {
        // Once a process.
        let _ = self.polls_served_since.set(self.clock.monotonic());
    }

    /// How long the coordinator has not polled this host; absent before it could.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let served = self.polls_served_since.get();
        self.last_poll_age().or_else(|| Some(self.clock.monotonic().since(*served?)))
    }

    pub(crate) fn poll_arrived(&self) {
        let now = self.clock.monotonic().0.as_millis() as u64;
        self.last_poll_ms.store(now, Ordering::Relaxed);
        if self.polls.fetch_add(1, Ordering::Relaxed) == 0 {
            self.changed.notify_one();
        }
    }
}

impl NotesDocker for Status {
    fn set_docker_answers(&self, answers: bool) {
        Status::set_docker_answers(self, answers);
    }

    fn docker_data_problem(&self) -> Option<String> {
        Status::docker_data_problem(self)
    }

    fn set_docker_data_problem(&self, problem: Option<String>) {
        Status::set_docker_data_problem(self, problem);
    }
}
