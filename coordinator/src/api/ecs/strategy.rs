//! Where a call says that its tasks go: a capacity provider strategy, or a launch type; read and shown.

use longshore_common::arn::Identity;
use longshore_core::model::{
    capacity_provider::{StrategyItem, is_fargate},
    cluster::ClusterCapacity,
    strategy::check,
};
use serde::{Deserialize, Serialize};

use super::{
    identifiers,
    unsupported::{self, LaunchType},
};
use crate::edge::error::ApiError;

/// ECS's CapacityProviderStrategyItem, in and out.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StrategyItemInput {
    capacity_provider: String,
    #[serde(default)]
    weight: u32,
    #[serde(default)]
    base: u32,
}

/// What CreateCluster and PutClusterCapacityProviders say of a cluster's providers.
pub(crate) fn cluster_capacity(
    identity: &Identity,
    providers: Vec<String>,
    strategy: Vec<StrategyItemInput>,
) -> Result<ClusterCapacity, ApiError> {
    let providers = providers
        .iter()
        .map(|given| {
            identifiers::capacity_provider(identity, given)?.ok_or_else(|| not_found(given))
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(ClusterCapacity { providers, default_strategy: self::strategy(identity, strategy)? })
}

pub(crate) fn strategy(
    identity: &Identity,
    given: Vec<StrategyItemInput>,
) -> Result<Vec<StrategyItem>, ApiError> {
    let item = |StrategyItemInput { capacity_provider, weight, base }| {
        let provider = identifiers::capacity_provider(identity, &capacity_provider)?;
        let provider = provider.ok_or_else(|| not_found(&capacity_provider))?;
        Ok(StrategyItem { provider, base, weight, by_launch_type: false })
    };
    let items: Vec<StrategyItem> = given.into_iter().map(item).collect::<Result<_, ApiError>>()?;
    check(&items).map_err(|bad| ApiError::invalid_parameter(bad.to_string()))?;
    Ok(items)
}

/// What a call says of where its tasks go: by a strategy, by a launch type (an empty strategy), or
/// as the cluster has it.
pub(crate) fn asked(
    identity: &Identity,
    strategy: Vec<StrategyItemInput>,
    launch_type: Option<LaunchType>,
) -> Result<Option<Vec<StrategyItem>>, ApiError> {
    unsupported::only_known_hosts(launch_type)?;
    match (strategy.is_empty(), launch_type) {
        (true, None) => Ok(None),
        (true, Some(LaunchType::Fargate)) => Ok(Some(vec![StrategyItem::launch_type_fargate()])),
        (true, Some(_)) => Ok(Some(Vec::new())),
        (false, None) => self::strategy(identity, strategy).map(Some),
        (false, Some(_)) => Err(ApiError::invalid_parameter(
            "Specifying both a launch type and a capacity provider strategy is not supported. \
             Remove one and try again.",
        )),
    }
}

pub(crate) fn strategy_view(items: &[StrategyItem]) -> Vec<StrategyItemInput> {
    let items = items.iter().filter(|item| !item.by_launch_type);
    let view = |item: &StrategyItem| StrategyItemInput {
        capacity_provider: item.provider.to_string(),
        weight: item.weight,
        base: item.base,
    };
    items.map(view).collect()
}

/// `launchType` beside [`strategy_view`]: absent where a strategy chooses the capacity provider.
pub(crate) fn launch_type_view(items: &[StrategyItem]) -> Option<&'static str> {
    match items {
        [] => Some("EC2"),
        [item] if item.by_launch_type => Some("FARGATE"),
        _ => None,
    }
}

/// What hosts tasks run on, for the filter `launchType` of lists.
pub(crate) fn runs_as(items: &[StrategyItem]) -> LaunchType {
    match items.iter().any(|item| is_fargate(item.provider.as_str())) {
        true => LaunchType::Fargate,
        false => LaunchType::Ec2,
    }
}

/// The error for a provider that a strategy or a cluster names and that does not exist.
fn not_found(given: &str) -> ApiError {
    ApiError::invalid_parameter(format!(
        "The specified capacity provider was not found. Specify a valid name or ARN and try \
         again: there is none named {given}. Make it with CreateCapacityProvider."
    ))
}
