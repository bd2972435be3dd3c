//! Services: CreateService, UpdateService, DeleteService, DescribeServices, ListServices and
//! ListServicesByNamespace (ecs-behaviour 1.8 to 1.13).
//!
//! What a service did is not in the state but in the history: its events, and deployments of the
//! past (`service_deployments.rs`).

mod kinds;
pub(crate) mod unsupported;
pub(crate) mod deployment_configuration;
pub(crate) mod create;
pub(crate) mod update;
pub(crate) mod list;
pub(crate) mod task_set_view;
pub(crate) mod view;
mod events;
mod range;

use longshore_common::{arn::Identity, task_definition::Switch};
use longshore_core::{Command, State, command::ServiceCommand, model::service::ServiceRef};
use serde::{Deserialize, Serialize};

pub(crate) use self::kinds::SchedulingStrategy;
use self::{
    events::Looked,
    kinds::{DeploymentController, DeploymentControllerType},
    view::ServiceView,
};
use super::{failure::Failure, identifiers};
use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
};

/// Maximum number of services that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 10;
/// Maximum desired count of a service (ours: Amazon's quota of 5,000 tasks, ecs-behaviour 1.22, can
/// be raised there too).
const DESIRED_COUNT_MAX: i64 = 100_000;
/// Maximum grace period of health checks in seconds (ecs-behaviour 1.9, grace period).
const GRACE_SECONDS_MAX: i64 = 2_147_483_647;

#[derive(Deserialize)]
pub(crate) struct DeleteServiceInput {
    cluster: Option<String>,
    service: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
pub(crate) struct DescribeServicesInput {
    cluster: Option<String>,
    services: Vec<String>,
    #[serde(default)]
    include: Vec<ServiceField>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ServiceField {
    Tags,
}

#[derive(Serialize)]
pub(crate) struct ServiceOutput {
    service: ServiceView,
}

#[derive(Serialize)]
pub(crate) struct DescribeServicesOutput {
    services: Vec<ServiceView>,
    failures: Vec<Failure>,
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteServiceInput,
) -> Result<ServiceOutput, ApiError> {
    let service = named(api, input.cluster.as_deref(), &input.service)?;
    let command = Command::Service(ServiceCommand::DeleteService {
        service: service.clone(),
        force: input.force,
    });
    submit_and_show(api, command, service).await
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeServicesInput,
) -> Result<DescribeServicesOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let count = input.services.len();
    if count == 0 || count > DESCRIBED_MAX {
        let empty = if count == 0 { "Services cannot be empty. " } else { "" };
        return Err(ApiError::invalid_parameter(format!(
            "{empty}services has {count} entries; give 1 to {DESCRIBED_MAX}."
        )));
    }
    let mut asked: Vec<ServiceRef> = Vec::new();
    let mut failures = Vec::new();
    for given in &input.services {
        match identifiers::service(&api.identity, &cluster, given)? {
            Some(service) if asked.contains(&service) => {}
            Some(service) => asked.push(service),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    let identity = &api.identity;
    let with_tags = input.include.contains(&ServiceField::Tags);
    let look = |state: &State| {
        let found = state.cluster(cluster.as_str()).filter(|cluster| cluster.is_active());
        found.ok_or_else(ApiError::cluster_not_found)?;
        let mut looked = Looked { shown: Vec::new(), missing: Vec::new() };
        for service in &asked {
            match state.service_named(service) {
                Some(found) => looked.shown.push(view::of(identity, state, found, with_tags)),
                None => looked.missing.push(missing_arn(identity, service)),
            }
        }
        Ok(looked)
    };
    let (services, missing) = events::together(api, look).await?;
    failures.extend(missing.into_iter().map(Failure::missing));
    Ok(DescribeServicesOutput { services, failures })
}

/// The service that `cluster` and `service` of an input name.
pub(crate) fn named(
    api: &Api,
    cluster: Option<&str>,
    service: &str,
) -> Result<ServiceRef, ApiError> {
    let cluster = identifiers::cluster(&api.identity, cluster)?;
    identifiers::service(&api.identity, &cluster, service)?.ok_or_else(not_found)
}

pub(crate) fn not_found() -> ApiError {
    ApiError::new(ErrorCode::ServiceNotFound, "Service not found.")
}

/// What `failures[]` calls a service that is not there: the old form of ARN, as ECS has it.
fn missing_arn(identity: &Identity, service: &ServiceRef) -> String {
    let arn = identifiers::service_arn(identity, service);
    arn.replacen(&format!("service/{}/", service.cluster), "service/", 1)
}

/// What writing operations answer: everything of the service right after the command, with the
/// messages of all that was written before it.
async fn submit_and_show(
    api: &Api,
    command: Command,
    service: ServiceRef,
) -> Result<ServiceOutput, ApiError> {
    let identity = api.identity.clone();
    let show = move |state: &State, _| {
        let service = state.service_named(&service)?;
        // The command's own batch has yet to be closed, with all that the scheduler makes of it.
        Some((view::of(&identity, state, service, true), state.seq()))
    };
    let submitted = api.try_submit(command, show).await?;
    let shown = submitted.map_err(|rejection| api.launch_refusal(&rejection))?;
    let (shown, before) = shown.ok_or_else(not_found)?;
    let messages = events::of_services(api, vec![shown.id], before).await?.pop();
    Ok(ServiceOutput { service: events::added(shown, messages.unwrap_or_default()) })
}
