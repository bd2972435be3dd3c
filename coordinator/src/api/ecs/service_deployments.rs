//! Service deployments: ListServiceDeployments, DescribeServiceDeployments, StopServiceDeployment,
//! ContinueServiceDeployment (ecs-behaviour 1.10, 1.11).
//!
//! All of them are in the history; the one under way is in the state too, with what its revisions
//! run at the moment.

pub(crate) mod list;
mod view;

use longshore_core::{
    Command, Rejection, State,
    command::ServiceCommand,
    model::{
        deployment::{DeploymentRecord, DeploymentRef},
        service::{DeploymentId, HookAction, ServiceId},
    },
    rejection::{ClusterRejection, ServiceRejection},
};
use serde::{Deserialize, Serialize};

use self::view::ServiceDeploymentView;
use super::{failure::Failure, identifiers};
use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
};

/// Maximum number of deployments that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeServiceDeploymentsInput {
    service_deployment_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StopServiceDeploymentInput {
    service_deployment_arn: String,
    stop_type: Option<StopType>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum StopType {
    Abort,
    Rollback,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContinueServiceDeploymentInput {
    service_deployment_arn: String,
    hook_id: String,
    action: Option<ContinueAction>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ContinueAction {
    Rollback,
    Continue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeServiceDeploymentsOutput {
    service_deployments: Vec<ServiceDeploymentView>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceDeploymentOutput {
    service_deployment_arn: String,
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeServiceDeploymentsInput,
) -> Result<DescribeServiceDeploymentsOutput, ApiError> {
    let count = input.service_deployment_arns.len();
    if count == 0 || count > DESCRIBED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "serviceDeploymentArns has {count} entries; give 1 to {DESCRIBED_MAX}."
        )));
    }
    let mut asked: Vec<(String, DeploymentRef)> = Vec::new();
    let mut failures = Vec::new();
    for given in input.service_deployment_arns {
        match identifiers::service_deployment(&api.identity, &given)? {
            Some(deployment) if asked.iter().any(|(_, other)| *other == deployment) => {}
            Some(deployment) => asked.push((given, deployment)),
            None => failures.push(Failure::missing(given)),
        }
    }
    let ids: Vec<DeploymentId> =
        asked.iter().map(|(_, deployment)| deployment.deployment).collect();
    let known = api.history(move |history| history.deployments_by_id(&ids)).await?;
    let mut found = Vec::new();
    for (given, asked) in asked {
        let is_asked = |(_, known): &&(ServiceId, DeploymentRecord)| {
            known.id == asked.deployment && known.service == asked.service
        };
        match known.iter().find(is_asked) {
            Some(known) => found.push(known),
            None => failures.push(Failure::missing(given)),
        }
    }
    let identity = &api.identity;
    let show = |state: &State| {
        let shown = found.iter().map(|(service, known)| view::of(identity, state, *service, known));
        shown.collect()
    };
    Ok(DescribeServiceDeploymentsOutput { service_deployments: api.read(show).await?, failures })
}

pub(crate) async fn stop(
    api: &Api,
    input: StopServiceDeploymentInput,
) -> Result<ServiceDeploymentOutput, ApiError> {
    let deployment = named(api, &input.service_deployment_arn)?;
    let rollback = match input.stop_type {
        None | Some(StopType::Rollback) => true,
        Some(StopType::Abort) => false,
    };
    let command = Command::Service(ServiceCommand::StopServiceDeployment {
        deployment: deployment.clone(),
        rollback,
    });
    submit(api, command, deployment, input.service_deployment_arn).await
}

/// Answers a PAUSE hook; without an action the deployment continues.
pub(crate) async fn continue_deployment(
    api: &Api,
    input: ContinueServiceDeploymentInput,
) -> Result<ServiceDeploymentOutput, ApiError> {
    let deployment = named(api, &input.service_deployment_arn)?;
    let hook = input.hook_id.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "hookId `{}` is not the id of a hook: DescribeServiceDeployments shows it in \
             lifecycleHookDetails.",
            input.hook_id
        ))
    })?;
    let action = match input.action {
        None | Some(ContinueAction::Continue) => HookAction::Continue,
        Some(ContinueAction::Rollback) => HookAction::Rollback,
    };
    let command = Command::Service(ServiceCommand::ContinueServiceDeployment {
        deployment: deployment.clone(),
        hook,
        action,
    });
    submit(api, command, deployment, input.service_deployment_arn).await
}

async fn submit(
    api: &Api,
    command: Command,
    deployment: DeploymentRef,
    service_deployment_arn: String,
) -> Result<ServiceDeploymentOutput, ApiError> {
    let rejection = match api.try_submit(command, |_, _| ()).await? {
        Ok(()) => return Ok(ServiceDeploymentOutput { service_deployment_arn }),
        Err(rejection) => rejection,
    };
    match rejection {
        // Of these operations, ECS knows deployments only.
        Rejection::Cluster(ClusterRejection::ClusterNotFound(_))
        | Rejection::Service(
            ServiceRejection::ServiceNotFound(_)
            | ServiceRejection::ServiceNotActive(_)
            | ServiceRejection::ServiceDeploymentNotFound(_),
        ) => {
            let id = deployment.deployment;
            let known = api.history(move |history| history.deployments_by_id(&[id])).await?;
            let over = known.iter().any(|(_, known)| known.service == deployment.service);
            Err(match over {
                true => api.refusal(&Rejection::Service(
                    ServiceRejection::ServiceDeploymentNotStoppable(deployment),
                )),
                false => not_found(&service_deployment_arn),
            })
        }
        rejection => Err(api.refusal(&rejection)),
    }
}

fn named(api: &Api, given: &str) -> Result<DeploymentRef, ApiError> {
    identifiers::service_deployment(&api.identity, given)?.ok_or_else(|| not_found(given))
}

fn not_found(arn: &str) -> ApiError {
    let sentence = format!("The service deployment {arn} was not found.");
    ApiError::new(ErrorCode::ServiceDeploymentNotFound, sentence)
}
