//! RunTask: the coordinator chooses the hosts.

use std::collections::BTreeMap;

use longshore_common::{id::TaskId, task::TaskOverride};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    TasksOutput,
    launch::{self, LaunchInput, PropagateTags},
    unsupported::{
        self, CapacityProviderStrategyItem, LaunchType, NetworkConfiguration, VolumeConfiguration,
    },
    view::Shown,
};
use crate::{
    api::{
        Api,
        error::ApiError,
        identifiers::DEFAULT_CLUSTER,
        tags::TagInput,
        task_definitions::validate::{EXPRESSION_CHARS_MAX, PLACEMENT_CONSTRAINTS_MAX},
    },
    placement::{Resource, SpreadOver, Strategy},
    state_machine::{
        Answer, Command,
        command::{ClientToken, RunTask},
        name::ClusterName,
        state::State,
    },
};

/// ecs-behaviour 1.1, batch limits.
const COUNT_MAX: i64 = 10;
/// ecs-behaviour 1.5.
const STARTED_BY_CHARS_MAX: usize = 128;
/// ecs-behaviour 1.1, idempotency.
const CLIENT_TOKEN_CHARS_MAX: usize = 64;
/// ecs-behaviour 1.5.
const STRATEGIES_MAX: usize = 5;
/// What a spread over an attribute begins with.
const ATTRIBUTE_PREFIX: &str = "attribute:";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunTaskInput {
    #[serde(default)]
    capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    cluster: Option<String>,
    count: Option<i64>,
    #[serde(default, rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    #[serde(default)]
    enable_execute_command: bool,
    group: Option<String>,
    launch_type: Option<LaunchType>,
    network_configuration: Option<NetworkConfiguration>,
    overrides: Option<TaskOverride>,
    #[serde(default)]
    placement_constraints: Vec<PlacementConstraint>,
    #[serde(default)]
    placement_strategy: Vec<PlacementStrategy>,
    platform_version: Option<String>,
    propagate_tags: Option<PropagateTags>,
    reference_id: Option<String>,
    started_by: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
    task_definition: String,
    client_token: Option<String>,
    #[serde(default)]
    volume_configurations: Vec<VolumeConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
struct PlacementConstraint {
    #[serde(rename = "type")]
    kind: Option<ConstraintType>,
    expression: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum ConstraintType {
    DistinctInstance,
    MemberOf,
}

#[derive(Debug, Deserialize, Serialize)]
struct PlacementStrategy {
    #[serde(rename = "type")]
    kind: Option<StrategyType>,
    field: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum StrategyType {
    Random,
    Spread,
    Binpack,
}

pub(crate) async fn run(api: &Api, mut input: RunTaskInput) -> Result<TasksOutput, ApiError> {
    let client_token = client_token(&mut input)?;
    unsupported::no_capacity_providers(&input.capacity_provider_strategy)?;
    unsupported::only_own_hosts(input.launch_type)?;
    unsupported::no_platform_version(input.platform_version.as_deref())?;
    let count = input.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(ApiError::invalid_parameter(format!(
            "count is {count}; it must be between 1 and {COUNT_MAX}."
        )));
    }
    let distinct_instance = parse_constraints(&input.placement_constraints)?;
    let strategies = parse_strategies(&input.placement_strategy)?;
    let launch = LaunchInput {
        cluster: input.cluster,
        enable_ecs_managed_tags: input.enable_ecs_managed_tags,
        enable_execute_command: input.enable_execute_command,
        group: input.group,
        network_configuration: input.network_configuration,
        overrides: input.overrides,
        propagate_tags: input.propagate_tags,
        reference_id: input.reference_id,
        started_by: input.started_by,
        tags: input.tags,
        task_definition: input.task_definition,
        volume_configurations: input.volume_configurations,
    }
    .parse(api, STARTED_BY_CHARS_MAX)?;
    let cluster = launch.cluster.clone();
    let command = Command::RunTask(Box::new(RunTask {
        launch,
        count: count as u32,
        distinct_instance,
        strategies,
        client_token,
    }));
    submit_and_show(api, &cluster, command).await
}

/// Starts tasks and shows them, in the order in which they were placed, with those that were not.
pub(super) async fn submit_and_show(
    api: &Api,
    cluster: &ClusterName,
    command: Command,
) -> Result<TasksOutput, ApiError> {
    let started = |state: &State, answer| {
        let Answer::Tasks { tasks, failures } = answer else { return Default::default() };
        let show = |id: &TaskId| state.task(*id).map(|task| (*id, Shown::live(state, task)));
        let shown: BTreeMap<TaskId, Shown> = tasks.iter().filter_map(show).collect();
        (tasks, shown, failures)
    };
    let submitted = api.try_submit(command, started).await?;
    let (ids, mut shown, failed) =
        submitted.map_err(|rejection| launch::refusal(api, &rejection))?;
    // A client token that is used again may stand for tasks that have stopped since.
    let gone = ids.iter().copied().filter(|id| !shown.contains_key(id)).collect();
    shown.append(&mut super::stopped(api, cluster, gone).await?);
    let in_order = ids.iter().filter_map(|id| shown.remove(id));
    let tasks = in_order.map(|task| task.view(&api.identity, true)).collect();
    Ok(TasksOutput { tasks, failures: launch::failures(api, cluster, failed) })
}

/// The token, taken out of the input, with a hash of all that is left: the same token with other
/// parameters is another call (promises.md 2.8).
fn client_token(input: &mut RunTaskInput) -> Result<Option<ClientToken>, ApiError> {
    let Some(token) = input.client_token.take().filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let printable = |b: u8| (33..=126).contains(&b);
    if token.len() > CLIENT_TOKEN_CHARS_MAX || !token.bytes().all(printable) {
        return Err(ApiError::invalid_parameter(format!(
            "clientToken must be at most {CLIENT_TOKEN_CHARS_MAX} printable characters without \
             spaces."
        )));
    }
    // What is left out means the default, so both are the same call.
    input.cluster.get_or_insert_with(|| DEFAULT_CLUSTER.to_owned());
    input.count.get_or_insert(1);
    let json = serde_json::to_vec(&*input)
        .map_err(|error| ApiError::server(format!("the input could not be written: {error}")))?;
    let digest = Sha256::digest(json);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Ok(Some(ClientToken { token, parameters_hash: u64::from_be_bytes(first) }))
}

/// Whether the tasks must be on hosts of their own.
fn parse_constraints(given: &[PlacementConstraint]) -> Result<bool, ApiError> {
    if given.len() > PLACEMENT_CONSTRAINTS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "placementConstraints has {} entries; at most {PLACEMENT_CONSTRAINTS_MAX} are allowed.",
            given.len()
        )));
    }
    let mut distinct_instance = false;
    for PlacementConstraint { kind, expression } in given {
        let expression = expression.as_deref().unwrap_or_default();
        if expression.chars().count() > EXPRESSION_CHARS_MAX {
            return Err(ApiError::invalid_parameter(format!(
                "placementConstraints.expression is longer than {EXPRESSION_CHARS_MAX} characters."
            )));
        }
        match kind {
            None => {
                return Err(ApiError::invalid_parameter(
                    "placementConstraints.type should not be null or empty: say distinctInstance.",
                ));
            }
            Some(ConstraintType::DistinctInstance) if expression.is_empty() => {
                distinct_instance = true;
            }
            Some(ConstraintType::DistinctInstance) => {
                return Err(ApiError::invalid_parameter(
                    "The placement constraint distinctInstance takes no expression.",
                ));
            }
            Some(ConstraintType::MemberOf) => {
                return Err(ApiError::unsupported_feature(
                    "The placement constraint memberOf cannot be honoured: this release of \
                     Longshore has no cluster query language yet. Use distinctInstance or a \
                     placement strategy, or choose the instances with StartTask.",
                ));
            }
        }
    }
    Ok(distinct_instance)
}

fn parse_strategies(given: &[PlacementStrategy]) -> Result<Vec<Strategy>, ApiError> {
    if given.len() > STRATEGIES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "placementStrategy has {} entries; at most {STRATEGIES_MAX} are allowed.",
            given.len()
        )));
    }
    given.iter().map(parse_strategy).collect()
}

fn parse_strategy(
    PlacementStrategy { kind, field }: &PlacementStrategy,
) -> Result<Strategy, ApiError> {
    let field = field.as_deref().unwrap_or_default();
    let invalid = |valid: &str| {
        ApiError::invalid_parameter(format!(
            "The placement strategy has the field `{field}`, which is not valid. {valid}"
        ))
    };
    match kind {
        None => Err(ApiError::invalid_parameter(
            "placementStrategy.type should not be null or empty: say random, spread or binpack.",
        )),
        Some(StrategyType::Random) if field.is_empty() => Ok(Strategy::Random),
        Some(StrategyType::Random) => Err(invalid("random takes none.")),
        Some(StrategyType::Binpack) => match field.to_ascii_lowercase().as_str() {
            "cpu" => Ok(Strategy::Binpack(Resource::Cpu)),
            "memory" => Ok(Strategy::Binpack(Resource::Memory)),
            _ => Err(invalid("binpack takes cpu or memory.")),
        },
        Some(StrategyType::Spread) => match field {
            "instanceId" | "host" => Ok(Strategy::Spread(SpreadOver::Instance)),
            _ => match field.strip_prefix(ATTRIBUTE_PREFIX).filter(|name| !name.is_empty()) {
                Some(name) => Ok(Strategy::Spread(SpreadOver::Attribute(name.to_owned()))),
                None => Err(invalid(
                    "spread takes instanceId, host or attribute:NAME, \
                     attribute:ecs.availability-zone for example.",
                )),
            },
        },
    }
}
