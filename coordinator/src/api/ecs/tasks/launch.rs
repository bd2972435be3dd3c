//! What RunTask and StartTask have in common.

use longshore_common::task::TaskOverride;
use longshore_core::{
    command::TaskLaunch,
    model::{client_token::FailedPlacement, name::ClusterName},
};

use super::overrides;
use crate::{
    api::ecs::{
        failure::Failure,
        identifiers,
        tags::{self, PropagateTags, TagInput},
        unsupported::{self, NetworkConfiguration, VolumeConfiguration},
    },
    edge::{context::Api, error::ApiError},
};

/// Maximum length of a task group's name in characters (ecs-behaviour 1.5).
const GROUP_CHARS_MAX: usize = 255;

/// The members that both operations have.
pub(super) struct LaunchInput {
    pub(super) cluster: Option<String>,
    pub(super) enable_ecs_managed_tags: bool,
    pub(super) enable_execute_command: bool,
    pub(super) group: Option<String>,
    pub(super) network_configuration: Option<NetworkConfiguration>,
    pub(super) overrides: Option<TaskOverride>,
    pub(super) propagate_tags: Option<PropagateTags>,
    pub(super) reference_id: Option<String>,
    pub(super) started_by: Option<String>,
    pub(super) tags: Vec<TagInput>,
    pub(super) task_definition: String,
    pub(super) volume_configurations: Vec<VolumeConfiguration>,
}

impl LaunchInput {
    pub(super) async fn parse(
        self,
        api: &Api,
        started_by_chars_max: usize,
    ) -> Result<TaskLaunch, ApiError> {
        let volume = self.volume_configurations.first().map(|volume| volume.name.as_str());
        unsupported::no_volumes(volume)?;
        unsupported::no_exec(self.enable_execute_command)?;
        unsupported::no_reference_id(self.reference_id.as_deref())?;
        let propagate_tags = match self.propagate_tags {
            None | Some(PropagateTags::None) => false,
            Some(PropagateTags::TaskDefinition) => true,
            Some(PropagateTags::Service) => {
                return Err(ApiError::invalid_parameter(
                    "propagateTags SERVICE is for the tasks of a service: say TASK_DEFINITION or \
                     NONE.",
                ));
            }
        };
        let (tags, options) = tags::parse_with_task_options(self.tags)?;
        let definition = identifiers::task_definition(&api.identity, &self.task_definition)?;
        let network = self.network_configuration.as_ref();
        unsupported::no_network(api, network, definition.as_ref()).await?;
        Ok(TaskLaunch {
            cluster: identifiers::cluster(&api.identity, self.cluster.as_deref())?,
            definition: definition.ok_or_else(ApiError::task_definition_not_found)?,
            overrides: overrides::parse(self.overrides)?,
            group: group(self.group)?,
            started_by: started_by(self.started_by, started_by_chars_max)?,
            tags,
            options,
            propagate_tags,
            managed_tags: self.enable_ecs_managed_tags,
        })
    }
}

pub(crate) fn group(given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(group) = given.filter(|group| !group.is_empty()) else { return Ok(None) };
    if group.chars().count() > GROUP_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "group is longer than {GROUP_CHARS_MAX} characters."
        )));
    }
    if group.chars().any(char::is_control) {
        return Err(ApiError::invalid_parameter("group contains a control character."));
    }
    if group.starts_with("service:") {
        return Err(ApiError::invalid_parameter(
            "Invalid namespace for group. Groups that begin with service: belong to services.",
        ));
    }
    Ok(Some(group))
}

fn started_by(given: Option<String>, chars_max: usize) -> Result<Option<String>, ApiError> {
    let Some(started_by) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_/".contains(&b);
    if started_by.len() > chars_max || !started_by.bytes().all(allowed) {
        return Err(ApiError::invalid_parameter(format!(
            "startedBy `{started_by}` must be at most {chars_max} letters, numbers, hyphens, \
             underscores and slashes."
        )));
    }
    Ok(Some(started_by))
}

/// Entries of `failures[]`; `arn` is the container instance that was closest.
pub(super) fn failures(
    api: &Api,
    cluster: &ClusterName,
    failed: Vec<FailedPlacement>,
) -> Vec<Failure> {
    let failure = |FailedPlacement { host, reason, detail }| Failure {
        arn: host.map(|host| api.identity.container_instance(cluster.as_str(), host)),
        reason,
        detail: Some(detail),
    };
    failed.into_iter().map(failure).collect()
}
