//! What the clusters have and how the journal fares, as Prometheus reads it.
//!
//! Written every few seconds from counters that the state keeps, so that whoever reads them waits for
//! nothing and costs nothing. Never: anything that a decision depends on.

mod capacity;
mod families;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use longshore_common::clock::{Clock, Monotonic, Timestamp};
use longshore_core::{
    State,
    model::name::ClusterName,
    schedule::{self, Scaled, lost_hosts},
    state::{Ended, Tally},
};
use tokio_util::sync::CancellationToken;

use self::families::Families;
use crate::{driver::Handle, edge::health::Metrics, journal::sqlite};

/// Interval of writing (ours); Prometheus asks every 15 s or more rarely.
const EVERY: Duration = Duration::from_secs(5);
/// Maximum number of services with series of their own, where a setting asks for them (ours): in
/// the order of their names, so that it is always the same ones.
pub const SERVICE_SERIES_MAX: usize = 2_000;

/// What to tell besides the clusters.
pub struct Telling {
    pub data_dir: PathBuf,
    /// Whether each service has series of its own.
    pub per_service: bool,
}

/// Writes the metrics of clusters until `shutdown`.
pub async fn tell(
    handle: Handle,
    metrics: Metrics,
    telling: Telling,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut checkpoints = Checkpoints { seen: 0, at: clock.monotonic() };
    let mut again = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = again.tick() => {}
        }
        let at = clock.wall();
        let shown = handle.peek(|state| MetricsSnapshot::of(state, at, telling.per_service));
        let age = checkpoints.age(handle.checkpoints().load(Ordering::Relaxed), clock.monotonic());
        let journal = JournalShown {
            lag: shown.seq.saturating_sub(handle.durable_seq()),
            bytes: sqlite::bytes_on_disk(&telling.data_dir),
            checkpoint_age: age,
            awaits_recover: handle.is_held(),
        };
        metrics.set_clusters(text(&shown, &journal));
    }
}

/// When the last checkpoint was seen to be new; before the first one, when this began.
struct Checkpoints {
    seen: u64,
    at: Monotonic,
}

impl Checkpoints {
    fn age(&mut self, count: u64, now: Monotonic) -> Duration {
        if count != self.seen {
            *self = Checkpoints { seen: count, at: now };
        }
        now.since(self.at)
    }
}

/// A copy of the state's counters.
struct MetricsSnapshot {
    seq: u64,
    clusters: Vec<(ClusterName, ClusterShown)>,
    ended: Ended,
    providers: Vec<Scaled>,
    services: Vec<ServiceShown>,
    /// Services without series, because there are too many.
    left_out: usize,
}

struct ClusterShown {
    tally: Tally,
    /// Number of the disconnected hosts whose tasks are replaced.
    lost: usize,
    waiting: usize,
}

struct ServiceShown {
    cluster: ClusterName,
    name: String,
    desired: u32,
    running: u32,
    pending: u32,
}

struct JournalShown {
    /// Batches that are decided and not durable.
    lag: u64,
    bytes: u64,
    checkpoint_age: Duration,
    awaits_recover: bool,
}

impl MetricsSnapshot {
    fn of(state: &State, at: Timestamp, per_service: bool) -> Self {
        let clusters = state.tallies().filter_map(|(name, tally)| {
            let cluster = state.cluster(name.as_str()).filter(|cluster| cluster.is_active())?;
            let lost = lost_hosts(state, cluster, at);
            let waiting = cluster.waiting_tasks.len();
            Some((name.clone(), ClusterShown { tally, lost, waiting }))
        });
        let clusters = clusters.collect();
        let mut shown = MetricsSnapshot {
            seq: state.seq(),
            clusters,
            ended: state.ended_deployments().clone(),
            providers: schedule::scaled(state, at),
            services: Vec::new(),
            left_out: 0,
        };
        if per_service {
            let services = state.clusters_after(None).flat_map(|cluster| {
                cluster.services.values().map(move |slot| (cluster, state.service_at(*slot)))
            });
            shown.services = services
                .take(SERVICE_SERIES_MAX)
                .map(|(cluster, service)| ServiceShown {
                    cluster: cluster.name.clone(),
                    name: service.name.to_string(),
                    desired: service.config.desired,
                    running: service.running(),
                    pending: service.pending(),
                })
                .collect();
            shown.left_out = state.services_len().saturating_sub(SERVICE_SERIES_MAX);
        }
        shown
    }
}

fn text(shown: &MetricsSnapshot, journal: &JournalShown) -> String {
    let mut families = Families::default();
    clusters(&mut families, shown);
    capacity::tell(&mut families, &shown.providers);
    services(&mut families, shown);
    for (name, help, value) in [
        (
            "longshore_journal_lag_batches",
            "Batches decided and not durable yet",
            journal.lag as f64,
        ),
        ("longshore_journal_bytes", "Size of the journal's files", journal.bytes as f64),
        (
            "longshore_journal_checkpoint_age_seconds",
            "Time since the last checkpoint, or since the start",
            journal.checkpoint_age.as_secs_f64(),
        ),
        (
            "longshore_awaits_recover",
            "1 while the journal is known to be an old one and waits for `recover`",
            f64::from(u8::from(journal.awaits_recover)),
        ),
    ] {
        families.family(name, "gauge", help);
        families.sample(name, &[], value);
    }
    families.into_text()
}

fn clusters(families: &mut Families, shown: &MetricsSnapshot) {
    const HOSTS: &str = "longshore_hosts";
    families.family(
        HOSTS,
        "gauge",
        "Registered container instances, by whether their agent is heard",
    );
    for (cluster, ClusterShown { tally, lost, .. }) in &shown.clusters {
        let lost = *lost as i64;
        for (state, value) in [
            ("connected", tally.hosts_connected),
            ("disconnected", tally.hosts_disconnected - lost),
            ("lost", lost),
        ] {
            families.sample(HOSTS, &[("cluster", cluster.as_str()), ("state", state)], value);
        }
    }
    const DRAINING: &str = "longshore_hosts_draining";
    families.family(DRAINING, "gauge", "Of them, container instances that are DRAINING");
    for (cluster, ClusterShown { tally, .. }) in &shown.clusters {
        families.sample(DRAINING, &[("cluster", cluster.as_str())], tally.hosts_draining);
    }
    const TASKS: &str = "longshore_tasks";
    families.family(TASKS, "gauge", "Tasks that have not stopped, by status");
    for (cluster, ClusterShown { tally, waiting, .. }) in &shown.clusters {
        let of = |status: &str| tally.tasks.get(status).copied().unwrap_or_default();
        let provisioning = ("PROVISIONING", *waiting as i64 + of("PROVISIONING"));
        let statuses = [
            "PENDING",
            "ACTIVATING",
            "RUNNING",
            "DEACTIVATING",
            "STOPPING",
            "DEPROVISIONING",
            "LOST",
        ];
        let counts = statuses.map(|status| (status, of(status)));
        for (status, value) in [provisioning].into_iter().chain(counts) {
            families.sample(TASKS, &[("cluster", cluster.as_str()), ("status", status)], value);
        }
    }
    for (name, help, of) in [
        (
            "longshore_services",
            "Services that are ACTIVE or DRAINING",
            (|t| t.services) as fn(&Tally) -> i64,
        ),
        ("longshore_services_desired_tasks", "Sum of the desired counts of services", |t| {
            t.services_desired
        }),
        ("longshore_services_running_tasks", "Tasks of services that are RUNNING", |t| {
            t.services_running
        }),
        (
            "longshore_services_pending_tasks",
            "Tasks of services that are PROVISIONING on a host, PENDING or ACTIVATING",
            |t| t.services_pending,
        ),
    ] {
        families.family(name, "gauge", help);
        for (cluster, ClusterShown { tally, .. }) in &shown.clusters {
            families.sample(name, &[("cluster", cluster.as_str())], of(tally));
        }
    }
    const DEPLOYMENTS: &str = "longshore_deployments";
    families.family(DEPLOYMENTS, "gauge", "Service deployments under way, by status");
    for (cluster, ClusterShown { tally, .. }) in &shown.clusters {
        for (status, value) in &tally.deployments {
            families.sample(
                DEPLOYMENTS,
                &[("cluster", cluster.as_str()), ("status", status)],
                value,
            );
        }
    }
    const ENDED: &str = "longshore_deployments_ended_total";
    families.family(ENDED, "counter", "Service deployments that ended, by outcome");
    for ((cluster, outcome), value) in &shown.ended {
        families.sample(ENDED, &[("cluster", cluster.as_str()), ("outcome", outcome)], value);
    }
}

fn services(families: &mut Families, shown: &MetricsSnapshot) {
    if shown.services.is_empty() {
        return;
    }
    for (name, help, of) in [
        (
            "longshore_service_desired_tasks",
            "Desired count of a service",
            (|s| s.desired) as fn(&ServiceShown) -> u32,
        ),
        ("longshore_service_running_tasks", "RUNNING tasks of a service", |s| s.running),
        ("longshore_service_pending_tasks", "PENDING and ACTIVATING tasks of a service", |s| {
            s.pending
        }),
    ] {
        families.family(name, "gauge", help);
        for service in &shown.services {
            let labels =
                [("cluster", service.cluster.as_str()), ("service", service.name.as_str())];
            families.sample(name, &labels, of(service));
        }
    }
    const LEFT_OUT: &str = "longshore_services_without_series";
    families.family(
        LEFT_OUT,
        "gauge",
        "Services that have no series of their own: there are too many",
    );
    families.sample(LEFT_OUT, &[], shown.left_out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_as_old_as_the_moment_it_was_seen() {
        let at = |seconds| Monotonic(Duration::from_secs(seconds));
        let mut checkpoints = Checkpoints { seen: 0, at: at(10) };
        assert_eq!(checkpoints.age(0, at(15)), Duration::from_secs(5));
        assert_eq!(checkpoints.age(1, at(20)), Duration::ZERO);
        assert_eq!(checkpoints.age(1, at(25)), Duration::from_secs(5));
    }
}
