//! Whether this coordinator lives, serves, and how it fares: `/healthz`, `/readyz`, `/metrics`.
//!
//! Never waits for the state (design.md rule 1): it answers from flags and counters of its own.

use std::sync::{Arc, RwLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::api::error::{ApiError, ErrorCode};

/// Upper bounds of the buckets of every duration, in seconds.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Whether requests are served, set by whoever starts and stops the coordinator.
#[derive(Clone, Debug)]
pub struct Health(Arc<RwLock<Phase>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    NotReady(String),
    Ready,
}

impl Health {
    /// Not ready yet; `doing` says what is awaited: "the journal is being read".
    pub fn starting(doing: impl Into<String>) -> Self {
        Health(Arc::new(RwLock::new(Phase::NotReady(doing.into()))))
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
        match &*self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Phase::Ready => Ok(()),
            Phase::NotReady(doing) => Err(ApiError::new(
                ErrorCode::ServiceUnavailable,
                format!("The coordinator does not serve now: {doing}. Try again."),
            )),
        }
    }
}

/// The counters of this process, as Prometheus reads them.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting. Once in a process: what is counted is global.
    pub fn install() -> Result<Self, String> {
        let recorder = Self::builder().build_recorder();
        let metrics = Metrics(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        Ok(metrics)
    }

    /// Counts nothing: for tests that start several servers in one process.
    pub fn detached() -> Self {
        Metrics(Self::builder().build_recorder().handle())
    }

    fn builder() -> PrometheusBuilder {
        PrometheusBuilder::new()
            .set_buckets(&SECONDS_BUCKETS)
            .expect("the list of buckets is not empty")
    }

    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what was recorded since the last time, which is kept one by one until then.
    pub(crate) fn fold(&self) {
        self.0.run_upkeep();
    }
}

pub(crate) const REQUESTS: &str = "longshore_api_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "longshore_api_request_seconds";
pub(crate) const ORDER_SECONDS: &str = "longshore_order_departure_seconds";
pub(crate) const CONNECTIONS_REFUSED: &str = "longshore_api_connections_refused_total";

fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests of the API, by operation and outcome");
    metrics::describe_histogram!(REQUEST_SECONDS, "Time from a request's head to its answer");
    metrics::describe_histogram!(
        ORDER_SECONDS,
        "Time from the durable moment of an order, when its reply leaves too, to its poll"
    );
    metrics::describe_counter!(CONNECTIONS_REFUSED, "Connections closed because of a limit");
}
