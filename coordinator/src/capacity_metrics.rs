//! What managed scaling goes by, as Prometheus reads it: M and N of each capacity provider, what waits
//! and what is on its way.
//!
//! Decisions are the scheduler's, and are in the log. Never: anything that they depend on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use longshore_common::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    driver::Handle,
    state_machine::{
        name::{CapacityProviderName, ClusterName},
        schedule::{self, Scaled},
    },
};

/// Prometheus asks about so often.
const EVERY: Duration = Duration::from_secs(10);

const RESERVATION: &str = "longshore_capacity_provider_reservation_percent";
const NEEDED: &str = "longshore_capacity_provider_instances_needed";
const IN_SERVICE: &str = "longshore_capacity_provider_instances_in_service";
const LAUNCHING: &str = "longshore_capacity_provider_instances_launching";
const WAITING: &str = "longshore_capacity_provider_tasks_waiting";

/// Until `shutdown`.
pub async fn tell(handle: Handle, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    metrics::describe_gauge!(RESERVATION, "CapacityProviderReservation: M / N in percent");
    metrics::describe_gauge!(NEEDED, "Instances that a capacity provider's tasks need: M");
    metrics::describe_gauge!(IN_SERVICE, "Instances in service of a capacity provider: N");
    metrics::describe_gauge!(LAUNCHING, "Instances of a capacity provider on their way");
    metrics::describe_gauge!(WAITING, "Tasks that wait for hosts of a capacity provider");
    let mut told = BTreeSet::new();
    let mut again = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = again.tick() => {}
        }
        let at = clock.wall();
        let Ok(scaled) = handle.read(|state| schedule::scaled(state, at)).await else { return };
        let mut now = BTreeSet::new();
        for Scaled { cluster, provider, counts, reservation } in scaled {
            set(&cluster, &provider, RESERVATION, reservation.percent());
            set(&cluster, &provider, NEEDED, reservation.needed.into());
            set(&cluster, &provider, IN_SERVICE, reservation.in_service.into());
            set(&cluster, &provider, LAUNCHING, counts.launching.into());
            set(&cluster, &provider, WAITING, counts.waiting.into());
            now.insert((cluster, provider));
        }
        // A gauge cannot be taken back.
        for (cluster, provider) in told.difference(&now) {
            for gauge in [RESERVATION, NEEDED, IN_SERVICE, LAUNCHING, WAITING] {
                set(cluster, provider, gauge, 0.0);
            }
        }
        told = now;
    }
}

fn set(cluster: &ClusterName, provider: &CapacityProviderName, gauge: &'static str, value: f64) {
    let (cluster, provider) = (cluster.to_string(), provider.to_string());
    metrics::gauge!(gauge, "cluster" => cluster, "provider" => provider).set(value);
}
