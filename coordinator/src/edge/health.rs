//! Whether this coordinator lives, serves, and how it fares: `/healthz`, `/readyz`, `/metrics`.
//!
//! Never waits for the state (design.md rule 1): it answers from flags and counters of its own.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use longshore_common::clock::Monotonic;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{
    driver::{APPEND_SECONDS, CHECKPOINT_SECONDS, TASKS_STOPPED},
    edge::error::{ApiError, ErrorCode},
    fleet::join::JOINS_REFUSED,
    fleet::poller::{ORDER_SECONDS, POLLS},
};

/// Upper bounds of the buckets of every duration, in seconds.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Whether requests are served, set by whoever starts and stops the coordinator.
#[derive(Clone, Debug)]
pub struct Health(Arc<RwLock<Phase>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting(String),
    Ready,
    /// The coordinator served before.
    NotReady(String),
}

impl Health {
    /// Not ready yet; `doing` says what is awaited: "the journal is being read".
    pub fn starting(doing: impl Into<String>) -> Self {
        Health(Arc::new(RwLock::new(Phase::Starting(doing.into()))))
    }

    pub fn set_ready(&self) {
        self.set(Phase::Ready);
    }

    pub fn set_not_ready(&self, doing: impl Into<String>) {
        self.set(Phase::NotReady(doing.into()));
    }

    fn set(&self, phase: Phase) {
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = phase;
    }

    /// Refuses, with an error that SDKs try again after, while not ready.
    pub(crate) fn ready(&self) -> Result<(), ApiError> {
        match &*self.phase() {
            Phase::Ready => Ok(()),
            Phase::Starting(doing) | Phase::NotReady(doing) => Err(not_serving(doing)),
        }
    }

    /// Refuses until it has been ready once: a start that hangs is not health.
    pub(crate) fn alive(&self) -> Result<(), ApiError> {
        match &*self.phase() {
            Phase::Ready | Phase::NotReady(_) => Ok(()),
            Phase::Starting(doing) => Err(not_serving(doing)),
        }
    }

    fn phase(&self) -> std::sync::RwLockReadGuard<'_, Phase> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn not_serving(doing: &str) -> ApiError {
    ApiError::new(
        ErrorCode::ServiceUnavailable,
        format!("The coordinator does not serve now: {doing}. Try again."),
    )
}

/// The counters of this process, as Prometheus reads them.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    /// The last text, and when it was written: many askers share one.
    written: Arc<Mutex<Option<(Monotonic, Bytes)>>>,
    /// What is written elsewhere: of the clusters, whose names come and go.
    clusters: Arc<Mutex<Arc<str>>>,
}

/// Maximum age of a text that an asker gets (ours).
const TEXT_AGE_MAX: Duration = Duration::from_secs(1);

impl Metrics {
    /// Starts counting. Once in a process: what is counted is global.
    pub fn install() -> Result<Self, String> {
        let recorder = Self::builder().build_recorder();
        let metrics = Metrics::of(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        Ok(metrics)
    }

    /// Counts nothing: for tests that start several servers in one process.
    pub fn detached() -> Self {
        Self::of(Self::builder().build_recorder().handle())
    }

    fn of(handle: PrometheusHandle) -> Self {
        Metrics { handle, written: Arc::default(), clusters: Arc::new(Mutex::new("".into())) }
    }

    fn builder() -> PrometheusBuilder {
        PrometheusBuilder::new()
            .set_buckets(&SECONDS_BUCKETS)
            .expect("the list of buckets is not empty")
    }

    /// What Prometheus reads, written at most once a second.
    pub(crate) fn text(&self, now: Monotonic) -> Bytes {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*written
            && now.since(*at) < TEXT_AGE_MAX
        {
            return text.clone();
        }
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = Bytes::from(self.handle.render() + &clusters);
        *written = Some((now, text.clone()));
        text
    }

    /// Replaces what is told of the clusters.
    pub(crate) fn set_clusters(&self, text: String) {
        *self.clusters.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    /// Folds what was recorded since the last time, which is kept one by one until then.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }
}

pub(crate) const REQUESTS: &str = "longshore_api_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "longshore_api_request_seconds";
pub(crate) const CONNECTIONS_REFUSED: &str = "longshore_api_connections_refused_total";

fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests of the API, by operation and outcome");
    metrics::describe_histogram!(REQUEST_SECONDS, "Time from a request's head to its answer");
    metrics::describe_histogram!(
        ORDER_SECONDS,
        "Time from the durable moment of an order, when its reply leaves too, to its poll"
    );
    metrics::describe_counter!(CONNECTIONS_REFUSED, "Connections closed because of a limit");
    metrics::describe_histogram!(APPEND_SECONDS, "Time to make batches durable");
    metrics::describe_histogram!(CHECKPOINT_SECONDS, "Time to write a checkpoint");
    metrics::describe_counter!(TASKS_STOPPED, "Tasks that stopped, by cluster and stop code");
    metrics::describe_counter!(
        JOINS_REFUSED,
        "Refused requests of agents at the joining port, by HTTP status"
    );
    metrics::describe_counter!(POLLS, "Polls of agents, by outcome");
}
