//! Capacity providers: CreateCapacityProvider, UpdateCapacityProvider, DeleteCapacityProvider,
//! DescribeCapacityProviders, PutClusterCapacityProviders (ecs-behaviour 1.15).

mod managed_instances;

use std::ops::Bound;

use longshore_common::{arn::Identity, task_definition::Switch};
use longshore_core::{
    command::{CapacityProviderCommand, ClusterCommand, Command},
    model::{
        auto_scaling::AutoScalingGroupName,
        capacity_provider::{
            CapacityProvider, CapacityProviderChange, CapacityProviderStatus, FARGATE,
            FARGATE_SPOT, ManagedScaling, ProviderUpdate, is_fargate,
        },
        name::CapacityProviderName,
    },
    rejection::{CapacityProviderRejection, Rejection},
    state::State,
};
use serde::{Deserialize, Serialize};

use self::managed_instances::ManagedInstancesProvider;
use super::{
    clusters::{self, ClusterOutput},
    failure::Failure,
    identifiers,
    strategy::{self, StrategyItemInput},
    tags::{self, TagInput, TagView},
};
use crate::edge::{context::Api, error::ApiError, page::Page};

/// Maximum number of capacity providers that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 100;
/// Maximum size of a page of capacity providers, and its default (ECS's).
const PAGE_MAX: usize = 10;
/// ecs-behaviour 1.15.
const RESERVED_PREFIXES: [&str; 3] = ["aws", "ecs", "fargate"];
/// Minimum and maximum step size (botocore: ManagedScalingStepSize).
const STEP_SIZES: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Minimum and maximum warmup period in seconds (botocore: ManagedScalingInstanceWarmupPeriod).
const WARMUP_S: std::ops::RangeInclusive<u32> = 0..=10_000;
/// Minimum and maximum target capacity in percent (botocore: ManagedScalingTargetCapacity).
const TARGET_CAPACITIES: std::ops::RangeInclusive<u32> = 1..=100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateCapacityProviderInput {
    name: String,
    cluster: Option<String>,
    auto_scaling_group_provider: Option<GroupProviderInput>,
    managed_instances_provider: Option<ManagedInstancesProvider>,
    #[serde(default)]
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupProviderInput {
    auto_scaling_group_arn: String,
    managed_scaling: Option<ManagedScalingInput>,
    managed_termination_protection: Option<Switch>,
    managed_draining: Option<Switch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateCapacityProviderInput {
    name: String,
    cluster: Option<String>,
    auto_scaling_group_provider: Option<GroupProviderUpdateInput>,
    managed_instances_provider: Option<ManagedInstancesProvider>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupProviderUpdateInput {
    managed_scaling: Option<ManagedScalingInput>,
    managed_termination_protection: Option<Switch>,
    managed_draining: Option<Switch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedScalingInput {
    status: Option<Switch>,
    target_capacity: Option<u32>,
    minimum_scaling_step_size: Option<u32>,
    maximum_scaling_step_size: Option<u32>,
    instance_warmup_period: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteCapacityProviderInput {
    capacity_provider: String,
    cluster: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeCapacityProvidersInput {
    #[serde(default)]
    capacity_providers: Vec<String>,
    cluster: Option<String>,
    #[serde(default)]
    include: Vec<CapacityProviderField>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CapacityProviderField {
    Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutClusterCapacityProvidersInput {
    cluster: String,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<StrategyItemInput>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapacityProviderOutput {
    capacity_provider: CapacityProviderView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeCapacityProvidersOutput {
    capacity_providers: Vec<CapacityProviderView>,
    failures: Vec<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapacityProviderView {
    capacity_provider_arn: String,
    name: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_scaling_group_provider: Option<GroupProviderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_status: Option<&'static str>,
    tags: Vec<TagView>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupProviderView {
    auto_scaling_group_arn: String,
    managed_scaling: ManagedScalingView,
    managed_termination_protection: &'static str,
    managed_draining: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManagedScalingView {
    status: &'static str,
    target_capacity: u32,
    minimum_scaling_step_size: u32,
    maximum_scaling_step_size: u32,
    instance_warmup_period: u32,
}

pub(crate) async fn create(
    api: &Api,
    input: CreateCapacityProviderInput,
) -> Result<CapacityProviderOutput, ApiError> {
    no_managed_instances(input.cluster, input.managed_instances_provider.is_some())?;
    let name = new_name(&input.name)?;
    let Some(given) = input.auto_scaling_group_provider else {
        return Err(ApiError::invalid_parameter(
            "autoScalingGroupProvider is required: give the Auto Scaling group whose hosts the \
             capacity provider hands out.",
        ));
    };
    let (tags, scale_in_after_ms) = tags::parse_of_provider(input.tags)?;
    let provider = CapacityProvider {
        name: name.clone(),
        group: group(&api.identity, &given.auto_scaling_group_arn)?,
        managed_scaling: match given.managed_scaling {
            Some(given) => managed_scaling(given, None)?,
            None => ManagedScaling::default(),
        },
        termination_protection: given.managed_termination_protection == Some(Switch::Enabled),
        draining: given.managed_draining != Some(Switch::Disabled),
        scale_in_after_ms,
        tags,
        status: CapacityProviderStatus::Active,
        update: None,
    };
    submit_and_show(
        api,
        Command::CapacityProvider(CapacityProviderCommand::CreateCapacityProvider(Box::new(
            provider,
        ))),
        name,
    )
    .await
}

pub(crate) async fn update(
    api: &Api,
    input: UpdateCapacityProviderInput,
) -> Result<CapacityProviderOutput, ApiError> {
    no_managed_instances(input.cluster, input.managed_instances_provider.is_some())?;
    let name =
        identifiers::capacity_provider(&api.identity, &input.name)?.ok_or_else(does_not_exist)?;
    let Some(given) = input.auto_scaling_group_provider else {
        return Err(ApiError::invalid_parameter(
            "autoScalingGroupProvider is required: give the settings to change.",
        ));
    };
    let looked_at = name.clone();
    let held = move |state: &State| {
        state.capacity_provider(looked_at.as_str()).map(|provider| provider.managed_scaling)
    };
    let held = api.read(held).await?;
    let change = CapacityProviderChange {
        managed_scaling: match given.managed_scaling {
            Some(given) => Some(managed_scaling(given, held)?),
            None => None,
        },
        termination_protection: given
            .managed_termination_protection
            .map(|switch| switch == Switch::Enabled),
        draining: given.managed_draining.map(|switch| switch == Switch::Enabled),
    };
    let command = Command::CapacityProvider(CapacityProviderCommand::UpdateCapacityProvider {
        name: name.clone(),
        change,
    });
    submit_and_show(api, command, name).await
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteCapacityProviderInput,
) -> Result<CapacityProviderOutput, ApiError> {
    no_managed_instances(input.cluster, false)?;
    let given = &input.capacity_provider;
    let name = identifiers::capacity_provider(&api.identity, given)?.ok_or_else(does_not_exist)?;
    submit_and_show(
        api,
        Command::CapacityProvider(CapacityProviderCommand::DeleteCapacityProvider {
            name: name.clone(),
        }),
        name,
    )
    .await
}

async fn submit_and_show(
    api: &Api,
    command: Command,
    name: CapacityProviderName,
) -> Result<CapacityProviderOutput, ApiError> {
    let identity = api.identity.clone();
    let shown = name.clone();
    let show = move |state: &State, _| {
        state.capacity_provider(shown.as_str()).map(|found| view(&identity, state, found, true))
    };
    let shown = match api.try_submit(command, show).await? {
        Ok(shown) => shown,
        Err(Rejection::CapacityProvider(CapacityProviderRejection::CapacityProviderNotFound(
            missing,
        ))) if missing == name => None,
        Err(rejection) => return Err(api.refusal(&rejection)),
    };
    let capacity_provider = shown.ok_or_else(does_not_exist)?;
    Ok(CapacityProviderOutput { capacity_provider })
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeCapacityProvidersInput,
) -> Result<DescribeCapacityProvidersOutput, ApiError> {
    if input.capacity_providers.len() > DESCRIBED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "capacityProviders has {} entries; at most {DESCRIBED_MAX} can be described at once.",
            input.capacity_providers.len()
        )));
    }
    let page = Page::parse_with(
        &api.page_scope,
        input.max_results,
        input.next_token.as_deref(),
        PAGE_MAX,
        PAGE_MAX,
    )?;
    let cluster = match &input.cluster {
        Some(given) => Some(identifiers::cluster(&api.identity, Some(given))?),
        None => None,
    };
    let mut failures = Vec::new();
    let mut asked = Vec::new();
    for given in &input.capacity_providers {
        match identifiers::capacity_provider(&api.identity, given)? {
            Some(name) => asked.push(name),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    let names_given = !input.capacity_providers.is_empty();
    asked.sort();
    asked.dedup();
    let with_tags = input.include.contains(&CapacityProviderField::Tags);
    let identity = api.identity.clone();
    let describe = move |state: &State| {
        let of_cluster = match &cluster {
            None => None,
            Some(name) => {
                let cluster = state.cluster(name.as_str()).filter(|cluster| cluster.is_active());
                Some(&cluster.ok_or_else(ApiError::cluster_not_found)?.settings.capacity.providers)
            }
        };
        let belongs =
            |name: &CapacityProviderName| of_cluster.is_none_or(|held| held.contains(name));
        let candidates = match names_given {
            true => asked,
            false => every_name(state),
        };
        let rest = candidates.into_iter().filter(|name| {
            page.after.as_deref().is_none_or(|after| name.as_str() > after) && belongs(name)
        });
        let (names, next_token) = page.take(rest, CapacityProviderName::to_string);
        let mut shown = Vec::new();
        for name in names {
            match (is_fargate(name.as_str()), state.capacity_provider(name.as_str())) {
                (true, _) => shown.push(fargate_view(&identity, name.as_str())),
                (false, Some(found)) => shown.push(view(&identity, state, found, with_tags)),
                (false, None) => {
                    failures.push(Failure::missing(identity.capacity_provider(name.as_str())));
                }
            }
        }
        Ok(DescribeCapacityProvidersOutput { capacity_providers: shown, failures, next_token })
    };
    api.read(describe).await?
}

/// Names of all ACTIVE providers, FARGATE and FARGATE_SPOT among them, in order.
fn every_name(state: &State) -> Vec<CapacityProviderName> {
    let made = state.capacity_providers_from(Bound::Unbounded).filter(|made| made.is_active());
    let given = [FARGATE, FARGATE_SPOT].into_iter().filter_map(|name| name.parse().ok());
    let mut names: Vec<CapacityProviderName> =
        made.map(|made| made.name.clone()).chain(given).collect();
    names.sort();
    names
}

pub(crate) async fn put_for_cluster(
    api: &Api,
    input: PutClusterCapacityProvidersInput,
) -> Result<ClusterOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    let capacity = strategy::cluster_capacity(
        &api.identity,
        input.capacity_providers,
        input.default_capacity_provider_strategy,
    )?;
    let command = Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
        cluster: cluster.clone(),
        capacity,
    });
    clusters::submit_and_show(api, command, cluster).await
}

fn new_name(given: &str) -> Result<CapacityProviderName, ApiError> {
    let lower = given.to_ascii_lowercase();
    if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| lower.starts_with(**prefix)) {
        return Err(ApiError::invalid_parameter(format!(
            "The specified capacity provider name is invalid: `{given}` begins with `{prefix}`, \
             which is reserved. Up to 255 characters are allowed, including letters, numbers, \
             underscores, and hyphens."
        )));
    }
    given.parse().map_err(|_| identifiers::bad_provider_name(given))
}

/// The error for a provider that a call is about and that does not exist.
fn does_not_exist() -> ApiError {
    ApiError::client(
        "The specified capacity provider does not exist. Specify a valid name or ARN and try \
         again.",
    )
}

/// `arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:UUID:autoScalingGroupName/NAME`, or the
/// name alone.
fn group(identity: &Identity, given: &str) -> Result<AutoScalingGroupName, ApiError> {
    let invalid = |why: &str| {
        ApiError::invalid_parameter(format!(
            "The specified Auto Scaling group ARN is not valid: `{given}`{why}. Specify a valid \
             Auto Scaling group ARN, or the group's name, and try again."
        ))
    };
    let name = match given.strip_prefix("arn:") {
        None => given,
        Some(rest) => {
            let fields: Vec<&str> = rest.splitn(7, ':').collect();
            let [_, "autoscaling", region, account, "autoScalingGroup", _, name] = fields[..]
            else {
                return Err(invalid(" is no ARN of one"));
            };
            if region != identity.region || account != identity.account {
                return Err(invalid(" is of another region or account"));
            }
            let name = name.strip_prefix("autoScalingGroupName/");
            name.ok_or_else(|| invalid(" names no group"))?
        }
    };
    name.parse().map_err(|_| invalid(""))
}

fn managed_scaling(
    given: ManagedScalingInput,
    held: Option<ManagedScaling>,
) -> Result<ManagedScaling, ApiError> {
    let within = |member: &str, value: u32, range: &std::ops::RangeInclusive<u32>| {
        if range.contains(&value) {
            return Ok(value);
        }
        let (min, max) = range.clone().into_inner();
        Err(ApiError::invalid_parameter(format!(
            "The managed scaling {member} is {value}; it must be between {min} and {max}."
        )))
    };
    let before = held.unwrap_or_default();
    Ok(ManagedScaling {
        // Whoever gives managedScaling wants it, unless it says otherwise.
        enabled: match given.status {
            Some(status) => status == Switch::Enabled,
            None => held.is_none_or(|held| held.enabled),
        },
        target_capacity: within(
            "targetCapacity",
            given.target_capacity.unwrap_or(before.target_capacity),
            &TARGET_CAPACITIES,
        )?,
        minimum_step: within(
            "minimumScalingStepSize",
            given.minimum_scaling_step_size.unwrap_or(before.minimum_step),
            &STEP_SIZES,
        )?,
        maximum_step: within(
            "maximumScalingStepSize",
            given.maximum_scaling_step_size.unwrap_or(before.maximum_step),
            &STEP_SIZES,
        )?,
        warmup_s: within(
            "instanceWarmupPeriod",
            given.instance_warmup_period.unwrap_or(before.warmup_s),
            &WARMUP_S,
        )?,
    })
}

/// `cluster` belongs to Managed Instances only.
fn no_managed_instances(cluster: Option<String>, given: bool) -> Result<(), ApiError> {
    let asked = match (given, cluster.is_some_and(|cluster| !cluster.is_empty())) {
        (true, _) => "managedInstancesProvider",
        (false, true) => "cluster",
        (false, false) => return Ok(()),
    };
    Err(ApiError::unsupported_feature(format!(
        "{asked} is of Amazon ECS Managed Instances, which Longshore does not have. Give \
         autoScalingGroupProvider with an Auto Scaling group instead."
    )))
}

fn view(
    identity: &Identity,
    state: &State,
    provider: &CapacityProvider,
    with_tags: bool,
) -> CapacityProviderView {
    let group = provider.group.as_str();
    let uid = state.auto_scaling_group(group).map_or(0, |group| group.uid);
    let scaling = &provider.managed_scaling;
    CapacityProviderView {
        capacity_provider_arn: identity.capacity_provider(provider.name.as_str()),
        name: provider.name.to_string(),
        status: match provider.status {
            CapacityProviderStatus::Active => "ACTIVE",
            CapacityProviderStatus::Inactive { .. } => "INACTIVE",
        },
        auto_scaling_group_provider: Some(GroupProviderView {
            auto_scaling_group_arn: identity.auto_scaling_group(uid, group),
            managed_scaling: ManagedScalingView {
                status: switch(scaling.enabled),
                target_capacity: scaling.target_capacity,
                minimum_scaling_step_size: scaling.minimum_step,
                maximum_scaling_step_size: scaling.maximum_step,
                instance_warmup_period: scaling.warmup_s,
            },
            managed_termination_protection: switch(provider.termination_protection),
            managed_draining: switch(provider.draining),
        }),
        update_status: provider.update.map(|update| match update {
            ProviderUpdate::Create => "CREATE_COMPLETE",
            ProviderUpdate::Update => "UPDATE_COMPLETE",
            ProviderUpdate::Delete => "DELETE_COMPLETE",
        }),
        tags: if with_tags { tags::view(&provider.tags) } else { Vec::new() },
        kind: "EC2_AUTOSCALING",
    }
}

fn fargate_view(identity: &Identity, name: &str) -> CapacityProviderView {
    CapacityProviderView {
        capacity_provider_arn: identity.capacity_provider(name),
        name: name.to_owned(),
        status: "ACTIVE",
        auto_scaling_group_provider: None,
        update_status: None,
        tags: Vec::new(),
        kind: if name == FARGATE { "FARGATE" } else { "FARGATE_SPOT" },
    }
}

fn switch(on: bool) -> &'static str {
    if on { "ENABLED" } else { "DISABLED" }
}
