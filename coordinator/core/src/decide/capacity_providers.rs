//! CreateCapacityProvider, UpdateCapacityProvider, DeleteCapacityProvider,
//! PutClusterCapacityProviders (ecs-behaviour 1.15).

use std::ops::Bound;

use longshore_common::clock::Timestamp;

use super::{Decision, gate};
use crate::{
    command::CapacityProviderCommand,
    event::{AutoScalingEvent, CapacityProviderEvent, ClusterEvent, Event},
    model::{
        auto_scaling::{GroupConfig, GroupTag},
        capacity_provider::{
            CAPACITY_PROVIDERS_MAX, CLUSTER_PROVIDERS_MAX, CapacityProvider,
            CapacityProviderChange, CapacityProviderStatus, ProviderUpdate, StrategyItem,
            is_fargate,
        },
        cluster::{ClusterCapacity, ClusterSettings},
        name::{CapacityProviderName, ClusterName},
        strategy,
    },
    rejection::{CapacityProviderRejection, Rejection},
    state::{Cluster, State},
};

/// The tag by which ECS marks a group whose instances it protects (ecs-behaviour 1.15).
const MANAGED_TAG: &str = "AmazonECSManaged";

pub(super) fn decide_capacity_provider(
    state: &State,
    command: &CapacityProviderCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        CapacityProviderCommand::CreateCapacityProvider(provider) => create(state, provider, at),
        CapacityProviderCommand::UpdateCapacityProvider { name, change } => {
            update(state, name, change, at)
        }
        CapacityProviderCommand::DeleteCapacityProvider { name } => delete(state, name, at),
    }
}

/// The same provider made again is the answer; another one of that name is refused.
fn create(
    state: &State,
    provider: &CapacityProvider,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let name = &provider.name;
    let existing = state.capacity_provider(name.as_str());
    if let Some(existing) = existing.filter(|existing| existing.is_active()) {
        let same = CapacityProvider { update: existing.update, ..provider.clone() };
        return match same == *existing {
            true => Ok(Decision::default()),
            false => Err(CapacityProviderRejection::CapacityProviderExists(name.clone()).into()),
        };
    }
    if existing.is_none() && state.capacity_providers_len() >= CAPACITY_PROVIDERS_MAX {
        return Err(CapacityProviderRejection::TooManyCapacityProviders {
            limit: CAPACITY_PROVIDERS_MAX,
        }
        .into());
    }
    check(state, provider)?;
    let group = provider.group.as_str();
    if let Some(other) = state.providers_of_group(group).next() {
        return Err(invalid(format!(
            "The Auto Scaling group {group} is that of the capacity provider {} already. Give each capacity provider a group of its own.",
            other.name
        )));
    }
    let provider = CapacityProvider { update: Some(ProviderUpdate::Create), ..provider.clone() };
    let mut events = mark(state, &provider, at);
    events.push(Event::CapacityProvider(CapacityProviderEvent::CapacityProviderSet(Box::new(
        provider,
    ))));
    Ok(Decision::of(events))
}

fn update(
    state: &State,
    name: &CapacityProviderName,
    change: &CapacityProviderChange,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let held = gate::capacity_provider(state, name)?;
    let changed = CapacityProvider {
        managed_scaling: change.managed_scaling.unwrap_or(held.managed_scaling),
        termination_protection: change
            .termination_protection
            .unwrap_or(held.termination_protection),
        draining: change.draining.unwrap_or(held.draining),
        update: Some(ProviderUpdate::Update),
        ..held.clone()
    };
    check(state, &changed)?;
    if changed.managed_scaling.enabled
        && let [first, second, ..] = clusters_of(state, name)[..]
    {
        return Err(serves_two(name, first, second));
    }
    if changed == *held {
        return Ok(Decision::default());
    }
    let mut events = mark(state, &changed, at);
    events.push(Event::CapacityProvider(CapacityProviderEvent::CapacityProviderSet(Box::new(
        changed,
    ))));
    Ok(Decision::of(events))
}

fn delete(
    state: &State,
    name: &CapacityProviderName,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    if is_fargate(name.as_str()) {
        return Err(invalid(format!(
            "The capacity provider {name} is reserved and cannot be deleted."
        )));
    }
    let held = match state.capacity_provider(name.as_str()) {
        None => {
            return Err(CapacityProviderRejection::CapacityProviderNotFound(name.clone()).into());
        }
        Some(held) if !held.is_active() => return Ok(Decision::default()),
        Some(held) => held,
    };
    if let Some(cluster) = clusters_of(state, name).first() {
        return Err(invalid(format!(
            "The capacity provider {name} is associated with the cluster {} and cannot be deleted. Remove it there with PutClusterCapacityProviders first.",
            cluster.name
        )));
    }
    let gone = CapacityProvider {
        status: CapacityProviderStatus::Inactive { since: at },
        update: Some(ProviderUpdate::Delete),
        ..held.clone()
    };
    Ok(Decision::of(vec![Event::CapacityProvider(CapacityProviderEvent::CapacityProviderSet(
        Box::new(gone),
    ))]))
}

/// Replaces a cluster's providers and its default strategy.
pub(super) fn put_for_cluster(
    state: &State,
    name: &ClusterName,
    capacity: &ClusterCapacity,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, name)?;
    check_for_cluster(state, name, capacity)?;
    let dropped = |provider: &&CapacityProviderName| !capacity.providers.contains(provider);
    for dropped in cluster.settings.capacity.providers.iter().filter(dropped) {
        if cluster.provider_uses.get(dropped).is_some_and(|uses| *uses > 0) {
            return Err(CapacityProviderRejection::CapacityProviderInUse(dropped.clone()).into());
        }
    }
    if cluster.settings.capacity == *capacity {
        return Ok(Decision::default());
    }
    let settings = ClusterSettings { capacity: capacity.clone(), ..cluster.settings.clone() };
    Ok(Decision::of(vec![Event::Cluster(ClusterEvent::ClusterUpdated {
        name: name.clone(),
        settings,
    })]))
}

/// Whether a cluster of this name may have these.
pub(super) fn check_for_cluster(
    state: &State,
    cluster: &ClusterName,
    capacity: &ClusterCapacity,
) -> Result<(), Rejection> {
    let ClusterCapacity { providers, default_strategy } = capacity;
    if providers.len() > CLUSTER_PROVIDERS_MAX {
        return Err(invalid(format!(
            "A cluster has at most {CLUSTER_PROVIDERS_MAX} capacity providers; {} are given.",
            providers.len()
        )));
    }
    for (at, name) in providers.iter().enumerate() {
        if providers[..at].contains(name) {
            return Err(invalid(format!("The capacity provider {name} is given twice.")));
        }
        if is_fargate(name.as_str()) {
            check_fargate(state, name)?;
            continue;
        }
        let provider = gate::capacity_provider(state, name)?;
        let elsewhere = clusters_of(state, name).into_iter().find(|other| other.name != *cluster);
        if provider.managed_scaling.enabled
            && let Some(elsewhere) = elsewhere
        {
            return Err(invalid(format!(
                "The capacity provider {name} has managed scaling, serves the cluster {} and cannot serve a second one. Make another capacity provider.",
                elsewhere.name
            )));
        }
    }
    check_strategy(state, default_strategy, providers)
}

/// Whether tasks may be split so among these providers of their cluster.
pub(super) fn check_strategy(
    state: &State,
    items: &[StrategyItem],
    providers: &[CapacityProviderName],
) -> Result<(), Rejection> {
    strategy::check(items).map_err(|error| invalid(error.to_string()))?;
    if let [item] = items
        && item.by_launch_type
    {
        return check_fargate(state, &item.provider);
    }
    match items.iter().find(|item| !providers.contains(&item.provider)) {
        None => Ok(()),
        Some(item) => Err(invalid(format!(
            "The specified capacityProviderStrategy cannot contain a capacity provider that is not associated with the cluster: {}. Add it with PutClusterCapacityProviders first.",
            item.provider
        ))),
    }
}

/// FARGATE is there when the settings say which hosts stand in for it.
fn check_fargate(state: &State, name: &CapacityProviderName) -> Result<(), Rejection> {
    match state.capacity_policy().fargate.contains_key(name) {
        true => Ok(()),
        false => Err(invalid(format!(
            "The capacity provider {name} has no hosts: add a table [capacity_providers.{name}] with the attribute of the hosts that stand in for it to the coordinator's settings."
        ))),
    }
}

fn clusters_of<'a>(state: &'a State, name: &CapacityProviderName) -> Vec<&'a Cluster> {
    let clusters = state.clusters_after(None).filter(|cluster| cluster.is_active());
    clusters.filter(|cluster| cluster.settings.capacity.providers.contains(name)).collect()
}

fn check(state: &State, provider: &CapacityProvider) -> Result<(), Rejection> {
    let group = provider.group.as_str();
    let Some(held) = state.auto_scaling_group(group).filter(|group| !group.deleting) else {
        let known: Vec<&str> = state
            .auto_scaling_groups_from(Bound::Unbounded)
            .take(CLUSTER_PROVIDERS_MAX)
            .map(|group| group.name.as_str())
            .collect();
        return Err(invalid(format!(
            "The Auto Scaling group {group} was not found. Make it with CreateAutoScalingGroup first. There {}.",
            match known.is_empty() {
                true => "is none yet".to_owned(),
                false => format!("are: {}", known.join(", ")),
            }
        )));
    };
    let scaling = &provider.managed_scaling;
    if scaling.minimum_step > scaling.maximum_step {
        return Err(invalid(format!(
            "minimumScalingStepSize is {}; it cannot be above maximumScalingStepSize, {}.",
            scaling.minimum_step, scaling.maximum_step
        )));
    }
    if provider.termination_protection && !scaling.enabled {
        return Err(invalid(
            "The managed termination protection setting for the capacity provider is invalid. To enable managed termination protection for a capacity provider, enable managed scaling too.".to_owned(),
        ));
    }
    if provider.termination_protection && !held.config.protects_new {
        return Err(invalid(format!(
            "The managed termination protection setting for the capacity provider is invalid. To enable managed termination protection for a capacity provider, the Auto Scaling group must have instance protection from scale in enabled: set NewInstancesProtectedFromScaleIn of {group} first."
        )));
    }
    Ok(())
}

/// The group's tag that says that ECS manages its instances.
fn mark(state: &State, provider: &CapacityProvider, at: Timestamp) -> Vec<Event> {
    let group = state.auto_scaling_group(provider.group.as_str());
    let unmarked = group.filter(|group| {
        provider.managed_scaling.enabled && !group.config.tags.contains_key(MANAGED_TAG)
    });
    let Some(group) = unmarked else { return Vec::new() };
    let mut config = GroupConfig::clone(&group.config);
    let tag = GroupTag { value: String::new(), propagate: true };
    config.tags.insert(MANAGED_TAG.to_owned(), tag);
    let (name, config) = (group.name.clone(), Box::new(config));
    vec![Event::AutoScaling(AutoScalingEvent::AutoScalingGroupConfigured { name, config, at })]
}

fn serves_two(name: &CapacityProviderName, first: &Cluster, second: &Cluster) -> Rejection {
    invalid(format!(
        "The capacity provider {name} serves the clusters {} and {}; with managed scaling it can serve one only.",
        first.name, second.name
    ))
}

fn invalid(message: String) -> Rejection {
    Rejection::CapacityProvider(CapacityProviderRejection::InvalidCapacityProvider(message))
}
