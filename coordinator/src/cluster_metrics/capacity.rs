//! What managed scaling decides by: M and N of each capacity provider, what waits and what is on
//! its way.
//!
//! A provider that is gone has no series: nothing is told of it, not zeros.

use longshore_core::schedule::Scaled;

use super::families::Families;

type Value = fn(&Scaled) -> f64;

const FAMILIES: [(&str, &str, Value); 5] = [
    (
        "longshore_capacity_provider_reservation_percent",
        "CapacityProviderReservation: M / N in percent",
        |scaled| scaled.reservation.percent(),
    ),
    (
        "longshore_capacity_provider_instances_needed",
        "Instances that a capacity provider's tasks need: M",
        |scaled| scaled.reservation.needed.into(),
    ),
    (
        "longshore_capacity_provider_instances_in_service",
        "Instances in service of a capacity provider: N",
        |scaled| scaled.reservation.in_service.into(),
    ),
    (
        "longshore_capacity_provider_instances_launching",
        "Instances of a capacity provider on their way",
        |scaled| scaled.counts.launching.into(),
    ),
    (
        "longshore_capacity_provider_tasks_waiting",
        "Tasks that wait for hosts of a capacity provider",
        |scaled| scaled.counts.waiting.into(),
    ),
];

pub(super) fn tell(families: &mut Families, providers: &[Scaled]) {
    if providers.is_empty() {
        return;
    }
    for (name, help, value) in FAMILIES {
        families.family(name, "gauge", help);
        for scaled in providers {
            let (cluster, provider) = (scaled.cluster.to_string(), scaled.provider.to_string());
            let labels = [("cluster", cluster.as_str()), ("provider", provider.as_str())];
            families.sample(name, &labels, value(scaled));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::{
        Command,
        command::{CapacityProviderCommand, ClusterCommand},
        model::cluster::ClusterCapacity,
        schedule,
        test_kit::{
            group::{config, provider, world_with},
            world::{CLUSTER, World},
        },
    };

    fn text(world: &World) -> String {
        let mut families = Families::default();
        tell(&mut families, &schedule::scaled(&world.state, world.at));
        families.into_text()
    }

    #[test]
    fn provider_has_series_while_its_cluster_has_it() {
        let mut world = world_with(config(0, 3, 2));
        assert_eq!(text(&world), "");
        let mut made = provider(false);
        if let Command::CapacityProvider(CapacityProviderCommand::CreateCapacityProvider(made)) =
            &mut made
        {
            made.managed_scaling.enabled = true;
        }
        world.call(made).unwrap();
        let providers = vec!["cp".parse().unwrap()];
        let (cluster, nothing) = (CLUSTER.parse().unwrap(), ClusterCapacity::default());
        let capacity = ClusterCapacity { providers, ..nothing.clone() };
        world
            .call(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
                cluster,
                capacity,
            }))
            .unwrap();
        let launching = "longshore_capacity_provider_instances_launching\
                         {cluster=\"web\",provider=\"cp\"} ";
        assert!(text(&world).contains(launching), "{}", text(&world));
        let cluster = CLUSTER.parse().unwrap();
        world
            .call(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
                cluster,
                capacity: nothing,
            }))
            .unwrap();
        assert_eq!(text(&world), "", "series of what is gone would never end");
    }
}
