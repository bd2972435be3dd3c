//! StartTask: the caller chooses the hosts, and each is checked.

use longshore_common::{id::HostId, task::TaskOverride};
use longshore_core::{
    Command,
    command::{StartTask, TaskCommand},
};
use serde::Deserialize;

use super::{TasksOutput, launch::LaunchInput, run::submit_and_show};
use crate::{
    api::ecs::{
        failure::Failure,
        identifiers,
        tags::PropagateTags,
        tags::TagInput,
        unsupported::{NetworkConfiguration, VolumeConfiguration},
    },
    edge::{context::Api, error::ApiError},
};

/// Maximum number of container instances of one call (ecs-behaviour 1.1, batch limits).
const INSTANCES_MAX: usize = 10;
/// Maximum length of startedBy in characters (ecs-behaviour 1.5).
const STARTED_BY_CHARS_MAX: usize = 36;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartTaskInput {
    cluster: Option<String>,
    container_instances: Vec<String>,
    #[serde(default, rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    #[serde(default)]
    enable_execute_command: bool,
    group: Option<String>,
    network_configuration: Option<NetworkConfiguration>,
    overrides: Option<TaskOverride>,
    propagate_tags: Option<PropagateTags>,
    reference_id: Option<String>,
    started_by: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
    task_definition: String,
    #[serde(default)]
    volume_configurations: Vec<VolumeConfiguration>,
}

pub(crate) async fn start(api: &Api, input: StartTaskInput) -> Result<TasksOutput, ApiError> {
    let count = input.container_instances.len();
    if count == 0 || count > INSTANCES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "containerInstances has {count} entries; give 1 to {INSTANCES_MAX}."
        )));
    }
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
    if launch.options.wait_ms.is_some() {
        return Err(ApiError::invalid_parameter(
            "The tag longshore:wait is for RunTask: tasks of StartTask are for container instances \
             that you chose, and never wait for others. Leave it out.",
        ));
    }
    let cluster = launch.cluster.clone();
    let mut hosts: Vec<HostId> = Vec::new();
    let mut elsewhere = Vec::new();
    for given in input.container_instances {
        match identifiers::container_instance(&api.identity, &cluster, &given)? {
            Some(host) => hosts.push(host),
            None => elsewhere.push(Failure::missing(given)),
        }
    }
    let command = Command::Task(TaskCommand::StartTask(Box::new(StartTask { launch, hosts })));
    let mut output = submit_and_show(api, &cluster, command).await?;
    output.failures.append(&mut elsewhere);
    Ok(output)
}
