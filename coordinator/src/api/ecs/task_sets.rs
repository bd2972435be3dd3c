//! Task sets of services with the EXTERNAL deployment controller: CreateTaskSet, UpdateTaskSet,
//! DeleteTaskSet, DescribeTaskSets, UpdateServicePrimaryTaskSet (ecs-behaviour 1.12).

use longshore_core::{
    Answer, Command, Rejection, State,
    command::{CreateTaskSet, TaskSetCommand},
    model::{
        service::{RevisionId, ServiceRef},
        service_status::ServiceStatus,
    },
    rejection::{ClusterRejection, ServiceRejection, TaskSetRejection},
    state::Service,
};
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    identifiers,
    services::{
        self,
        create::CLIENT_TOKEN_CHARS_MAX,
        task_set_view::{self as view, TaskSetView},
        unsupported::{self as not_here, LoadBalancer, ServiceRegistry},
    },
    tags::{self, TagInput},
    unsupported::{self, CapacityProviderStrategyItem, LaunchType, NetworkConfiguration},
};
use crate::edge::{
    client_token,
    context::Api,
    error::{ApiError, ErrorCode},
};

/// Maximum number of task sets that one call describes (ours: more than a service can have).
const DESCRIBED_MAX: usize = 10;
/// Maximum length of an external id in characters (ours: ECS documents no limit).
const EXTERNAL_ID_CHARS_MAX: usize = 255;
/// Maximum scale of a task set in percent (ecs-behaviour 1.12: a percentage).
const SCALE_MAX: f64 = 100.0;
/// Default scale of a task set, in tenths of a percent.
const SCALE_DEFAULT_PERMILLE: u32 = 1000;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateTaskSetInput {
    service: String,
    cluster: String,
    external_id: Option<String>,
    task_definition: String,
    network_configuration: Option<NetworkConfiguration>,
    #[serde(default)]
    load_balancers: Vec<LoadBalancer>,
    #[serde(default)]
    service_registries: Vec<ServiceRegistry>,
    launch_type: Option<LaunchType>,
    #[serde(default)]
    capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    platform_version: Option<String>,
    scale: Option<Scale>,
    client_token: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Scale {
    value: Option<f64>,
    unit: Option<ScaleUnit>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum ScaleUnit {
    Percent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTaskSetInput {
    cluster: String,
    service: String,
    task_set: String,
    scale: Scale,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTaskSetInput {
    cluster: String,
    service: String,
    task_set: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServicePrimaryTaskSetInput {
    cluster: String,
    service: String,
    primary_task_set: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTaskSetsInput {
    cluster: String,
    service: String,
    #[serde(default)]
    task_sets: Vec<String>,
    #[serde(default)]
    include: Vec<TaskSetField>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TaskSetField {
    Tags,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskSetOutput {
    task_set: TaskSetView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTaskSetsOutput {
    task_sets: Vec<TaskSetView>,
    failures: Vec<Failure>,
}

pub(crate) async fn create(
    api: &Api,
    mut input: CreateTaskSetInput,
) -> Result<TaskSetOutput, ApiError> {
    let token = input.client_token.take();
    let client_token = client_token::parse(token, CLIENT_TOKEN_CHARS_MAX, &input)?;
    not_here::no_load_balancers(&input.load_balancers)?;
    not_here::no_registries(&input.service_registries)?;
    unsupported::no_capacity_providers(&input.capacity_provider_strategy)?;
    unsupported::only_own_hosts(input.launch_type)?;
    unsupported::no_platform_version(input.platform_version.as_deref(), input.launch_type)?;
    let scale_permille = match input.scale {
        None => SCALE_DEFAULT_PERMILLE,
        Some(scale) => permille(scale)?,
    };
    let external_id = external_id(input.external_id)?;
    let tags = tags::parse(input.tags)?;
    let definition = identifiers::task_definition(&api.identity, &input.task_definition)?
        .ok_or_else(ApiError::task_definition_not_found)?;
    let network = input.network_configuration.as_ref();
    unsupported::no_network(api, network, Some(&definition)).await?;
    let service = services::named(api, Some(&input.cluster), &input.service)?;
    let command = Command::TaskSet(TaskSetCommand::CreateTaskSet(Box::new(CreateTaskSet {
        service: service.clone(),
        definition,
        external_id,
        scale_permille,
        tags,
        client_token,
    })));
    submit_and_show(api, command, service, None).await
}

pub(crate) async fn update(
    api: &Api,
    input: UpdateTaskSetInput,
) -> Result<TaskSetOutput, ApiError> {
    let scale_permille = permille(input.scale)?;
    let (service, task_set) = named(api, &input.cluster, &input.service, &input.task_set)?;
    let command = Command::TaskSet(TaskSetCommand::UpdateTaskSet {
        service: service.clone(),
        task_set,
        scale_permille,
    });
    submit_and_show(api, command, service, Some(task_set)).await
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteTaskSetInput,
) -> Result<TaskSetOutput, ApiError> {
    let (service, task_set) = named(api, &input.cluster, &input.service, &input.task_set)?;
    let force = input.force;
    let command = Command::TaskSet(TaskSetCommand::DeleteTaskSet {
        service: service.clone(),
        task_set,
        force,
    });
    submit_and_show(api, command, service, Some(task_set)).await
}

pub(crate) async fn set_primary(
    api: &Api,
    input: UpdateServicePrimaryTaskSetInput,
) -> Result<TaskSetOutput, ApiError> {
    let (service, task_set) = named(api, &input.cluster, &input.service, &input.primary_task_set)?;
    let command = Command::TaskSet(TaskSetCommand::UpdateServicePrimaryTaskSet {
        service: service.clone(),
        task_set,
    });
    submit_and_show(api, command, service, Some(task_set)).await
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeTaskSetsInput,
) -> Result<DescribeTaskSetsOutput, ApiError> {
    let count = input.task_sets.len();
    if count > DESCRIBED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "taskSets has {count} entries; at most {DESCRIBED_MAX} can be described at once."
        )));
    }
    let service = services::named(api, Some(&input.cluster), &input.service)?;
    let mut asked: Vec<RevisionId> = Vec::new();
    let mut failures = Vec::new();
    for given in &input.task_sets {
        match identifiers::task_set(&api.identity, &service, given)? {
            Some(id) if asked.contains(&id) => {}
            Some(id) => asked.push(id),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    let identity = &api.identity;
    let with_tags = input.include.contains(&TaskSetField::Tags);
    let all = count == 0;
    let found = |state: &State| {
        let found = external(state, &service)?;
        if all {
            asked = found.revisions.iter().map(|revision| revision.record.id).collect();
        }
        let mut shown = Vec::new();
        for id in asked {
            match view::of(identity, state, found, id, with_tags) {
                Some(task_set) => shown.push(task_set),
                None => failures.push(Failure::missing(arn(api, &service, id))),
            }
        }
        Ok(shown)
    };
    let found: Result<Vec<TaskSetView>, Rejection> = api.read(found).await?;
    let task_sets = found.map_err(|rejection| api.refusal(&rejection))?;
    Ok(DescribeTaskSetsOutput { task_sets, failures })
}

/// The service, if it is one that has task sets.
fn external<'a>(state: &'a State, service: &ServiceRef) -> Result<&'a Service, Rejection> {
    let cluster = state.cluster(service.cluster.as_str());
    if cluster.is_none_or(|cluster| !cluster.is_active()) {
        return Err(ClusterRejection::ClusterNotFound(service.cluster.clone()).into());
    }
    let Some(found) = state.service_named(service) else {
        return Err(ServiceRejection::ServiceNotFound(service.clone()).into());
    };
    match found.status {
        ServiceStatus::Inactive { .. } => {
            Err(ServiceRejection::ServiceNotActive(service.clone()).into())
        }
        ServiceStatus::Active | ServiceStatus::Draining if !found.is_external() => {
            Err(TaskSetRejection::NotExternal(service.clone()).into())
        }
        ServiceStatus::Active | ServiceStatus::Draining => Ok(found),
    }
}

fn named(
    api: &Api,
    cluster: &str,
    service: &str,
    task_set: &str,
) -> Result<(ServiceRef, RevisionId), ApiError> {
    let service = services::named(api, Some(cluster), service)?;
    let id = identifiers::task_set(&api.identity, &service, task_set)?;
    let id = id.ok_or_else(|| {
        let sentence = format!("The task set {task_set} was not found.");
        ApiError::new(ErrorCode::TaskSetNotFound, sentence)
    })?;
    Ok((service, id))
}

fn arn(api: &Api, service: &ServiceRef, id: RevisionId) -> String {
    api.identity.task_set(service.cluster.as_str(), service.name.as_str(), id)
}

/// `task_set` is absent where the answer says which one it is.
async fn submit_and_show(
    api: &Api,
    command: Command,
    service: ServiceRef,
    task_set: Option<RevisionId>,
) -> Result<TaskSetOutput, ApiError> {
    let identity = api.identity.clone();
    let show = move |state: &State, answer| {
        let id = match answer {
            Answer::TaskSet(id) => Some(id),
            _ => task_set,
        };
        view::of(&identity, state, state.service_named(&service)?, id?, true)
    };
    let submitted = api.try_submit(command, show).await?;
    let shown = submitted.map_err(|rejection| api.launch_refusal(&rejection))?;
    let task_set = shown.ok_or_else(|| {
        ApiError::new(ErrorCode::TaskSetNotFound, "The task set is gone already.")
    })?;
    Ok(TaskSetOutput { task_set })
}

/// The scale in tenths of a percent.
fn permille(Scale { value, unit: _ }: Scale) -> Result<u32, ApiError> {
    let value = value.unwrap_or(SCALE_MAX);
    let tenths = (value * 10.0).round();
    if !(0.0..=SCALE_MAX).contains(&value)
        || (tenths / 10.0 - value).abs() > f64::EPSILON * SCALE_MAX
    {
        return Err(ApiError::invalid_parameter(format!(
            "scale.value is {value}; it must be between 0 and {SCALE_MAX}, in steps of 0.1 percent."
        )));
    }
    Ok(tenths as u32)
}

fn external_id(given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(id) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    if id.chars().count() > EXTERNAL_ID_CHARS_MAX || id.chars().any(char::is_control) {
        return Err(ApiError::invalid_parameter(format!(
            "externalId must be at most {EXTERNAL_ID_CHARS_MAX} characters without control \
             characters."
        )));
    }
    Ok(Some(id))
}
