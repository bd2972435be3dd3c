//! RunTask: the coordinator chooses the hosts.

use std::collections::BTreeMap;

use longshore_common::{id::TaskId, task::TaskOverride};
use longshore_core::{
    Answer, Command,
    command::{RunTask, TaskCommand},
    model::name::ClusterName,
    state::State,
};
use serde::{Deserialize, Serialize};

use super::{
    TasksOutput,
    launch::{self, LaunchInput},
    view::TaskSnapshot,
};
use crate::{
    api::ecs::{
        identifiers::DEFAULT_CLUSTER,
        placement::{self, PlacementConstraint, PlacementStrategy},
        strategy::{self, StrategyItemInput},
        tags::PropagateTags,
        tags::TagInput,
        unsupported::{self, LaunchType, NetworkConfiguration, VolumeConfiguration},
    },
    edge::{client_token, context::Api, error::ApiError},
};

/// Maximum number of tasks of one call (ecs-behaviour 1.1, batch limits).
const COUNT_MAX: i64 = 10;
/// Maximum length of startedBy in characters (ecs-behaviour 1.5).
const STARTED_BY_CHARS_MAX: usize = 128;
/// Maximum length of a client token in characters (ecs-behaviour 1.1, idempotency).
const CLIENT_TOKEN_CHARS_MAX: usize = 64;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunTaskInput {
    #[serde(default)]
    capacity_provider_strategy: Vec<StrategyItemInput>,
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

pub(crate) async fn run(api: &Api, mut input: RunTaskInput) -> Result<TasksOutput, ApiError> {
    // What is left out means the default, so both are the same call.
    input.cluster.get_or_insert_with(|| DEFAULT_CLUSTER.to_owned());
    input.count.get_or_insert(1);
    let client_token = input.client_token.take();
    let client_token = client_token::parse(client_token, CLIENT_TOKEN_CHARS_MAX, &input)?;
    let strategy = std::mem::take(&mut input.capacity_provider_strategy);
    let capacity = strategy::asked(&api.identity, strategy, input.launch_type)?;
    unsupported::no_platform_version(input.platform_version.as_deref(), input.launch_type)?;
    let count = input.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(ApiError::invalid_parameter(format!(
            "count is {count}; it must be between 1 and {COUNT_MAX}."
        )));
    }
    let constraints = placement::parse_constraints(&input.placement_constraints)?;
    let strategies = placement::parse_strategies(&input.placement_strategy)?;
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
    .parse(api, STARTED_BY_CHARS_MAX)
    .await?;
    let cluster = launch.cluster.clone();
    let command = Command::Task(TaskCommand::RunTask(Box::new(RunTask {
        launch,
        count: count as u32,
        distinct_instance: constraints.distinct_instance,
        member_of: constraints.member_of,
        strategies,
        capacity,
        client_token,
    })));
    submit_and_show(api, &cluster, command).await
}

/// Starts tasks and shows them, in the order in which they were placed, with those that were not.
pub(super) async fn submit_and_show(
    api: &Api,
    cluster: &ClusterName,
    command: Command,
) -> Result<TasksOutput, ApiError> {
    let of_cluster = cluster.clone();
    let started = move |state: &State, answer| {
        let Answer::Tasks { tasks, failures } = answer else { return Default::default() };
        let show = |id: &TaskId| Some((*id, TaskSnapshot::current(state, &of_cluster, *id)?));
        let shown: BTreeMap<TaskId, TaskSnapshot> = tasks.iter().filter_map(show).collect();
        (tasks, shown, failures)
    };
    let submitted = api.try_submit(command, started).await?;
    let (ids, mut shown, failed) = submitted.map_err(|rejection| api.launch_refusal(&rejection))?;
    // A client token that is used again may stand for tasks that have stopped since.
    let gone = ids.iter().copied().filter(|id| !shown.contains_key(id)).collect();
    shown.append(&mut super::stopped(api, cluster, gone).await?);
    let in_order = ids.iter().filter_map(|id| shown.remove(id));
    let tasks = in_order.map(|task| task.view(&api.identity, true)).collect();
    Ok(TasksOutput { tasks, failures: launch::failures(api, cluster, failed) })
}
