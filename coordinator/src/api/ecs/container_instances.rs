//! Container instances: DeregisterContainerInstance, DescribeContainerInstances,
//! ListContainerInstances, UpdateContainerInstancesState; registering is in `register`.

pub(crate) mod register;
pub(crate) mod view;

use longshore_common::id::HostId;
use longshore_core::{
    command::{Command, HostCommand, SettableHostStatus},
    decide::Answer,
    model::{host::HostStatus, name::ClusterName},
    query::Constraint,
    state::State,
};
use serde::{Deserialize, Serialize};

use self::view::{ContainerInstanceField, ContainerInstanceView, InstanceSnapshot};
use super::{failure::Failure, identifiers};
use crate::edge::{context::Api, error::ApiError, page::Page};

/// Maximum number of container instances that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 100;
/// Maximum number of container instances that one call updates (ecs-behaviour 1.1, batch limits).
const UPDATED_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeregisterContainerInstanceInput {
    cluster: Option<String>,
    container_instance: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeContainerInstancesInput {
    cluster: Option<String>,
    container_instances: Vec<String>,
    #[serde(default)]
    include: Vec<ContainerInstanceField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListContainerInstancesInput {
    cluster: Option<String>,
    filter: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateContainerInstancesStateInput {
    cluster: Option<String>,
    container_instances: Vec<String>,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Active,
    Draining,
    Registering,
    Deregistering,
    RegistrationFailed,
}

impl Status {
    /// No instance of ours is ever on its way in or out.
    fn is(self, status: HostStatus) -> bool {
        match status {
            HostStatus::Active => self == Status::Active,
            HostStatus::Draining => self == Status::Draining,
            HostStatus::Inactive { .. } => false,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerInstanceOutput {
    container_instance: ContainerInstanceView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerInstancesOutput {
    container_instances: Vec<ContainerInstanceView>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListContainerInstancesOutput {
    container_instance_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(crate) async fn deregister(
    api: &Api,
    input: DeregisterContainerInstanceInput,
) -> Result<ContainerInstanceOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let given = &input.container_instance;
    let host = identifiers::container_instance(&api.identity, &cluster, given)?
        .ok_or_else(|| no_such_instance(given, &cluster))?;
    let command = Command::Host(HostCommand::DeregisterContainerInstance {
        cluster,
        host,
        force: input.force,
    });
    submit_and_show(api, command).await
}

/// What operations on one instance answer: the instance, tags included.
async fn submit_and_show(api: &Api, command: Command) -> Result<ContainerInstanceOutput, ApiError> {
    let shown = api
        .submit(command, |state, answer| match answer {
            Answer::Host(host) => state.host(host).map(|host| InstanceSnapshot::of(state, host)),
            _ => None,
        })
        .await?
        .ok_or_else(|| ApiError::server("The container instance was forgotten at once."))?;
    Ok(ContainerInstanceOutput { container_instance: shown.view(&api.identity, EVERYTHING) })
}

const EVERYTHING: &[ContainerInstanceField] = &[ContainerInstanceField::Tags];

fn no_such_instance(given: &str, cluster: &ClusterName) -> ApiError {
    ApiError::invalid_parameter(format!(
        "The container instance {given} was not found in the cluster {cluster}."
    ))
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeContainerInstancesInput,
) -> Result<ContainerInstancesOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let (hosts, mut failures) = hosts(api, &cluster, &input.container_instances, DESCRIBED_MAX)?;
    let of = cluster.clone();
    let found = api
        .read(move |state| {
            let cluster = state.cluster(of.as_str())?;
            let show =
                |host| (host, state.host_in(cluster, host).map(|h| InstanceSnapshot::of(state, h)));
            Some(hosts.into_iter().map(show).collect::<Vec<_>>())
        })
        .await?
        .ok_or_else(ApiError::cluster_not_found)?;
    let mut container_instances = Vec::new();
    for (host, shown) in found {
        match shown {
            Some(shown) => container_instances.push(shown.view(&api.identity, &input.include)),
            None => {
                let arn = api.identity.container_instance(cluster.as_str(), host);
                failures.push(Failure::missing(arn));
            }
        }
    }
    Ok(ContainerInstancesOutput { container_instances, failures })
}

/// The instances named, each once, and failures for those that cannot be here.
pub(crate) fn hosts(
    api: &Api,
    cluster: &ClusterName,
    given: &[String],
    max: usize,
) -> Result<(Vec<HostId>, Vec<Failure>), ApiError> {
    if given.is_empty() || given.len() > max {
        return Err(ApiError::invalid_parameter(format!(
            "containerInstances has {} entries; give 1 to {max}.",
            given.len()
        )));
    }
    let mut hosts = Vec::new();
    let mut failures = Vec::new();
    for given in given {
        match identifiers::container_instance(&api.identity, cluster, given)? {
            Some(host) if hosts.contains(&host) => {}
            Some(host) => hosts.push(host),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    Ok((hosts, failures))
}

pub(crate) async fn list(
    api: &Api,
    input: ListContainerInstancesInput,
) -> Result<ListContainerInstancesOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let filter = input.filter.filter(|filter| !filter.is_empty());
    let filter = filter.as_deref().map(Constraint::parse).transpose().map_err(|error| {
        ApiError::invalid_parameter(format!("Invalid expression in filter: {error}."))
    })?;
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let after = page.after.as_deref().map(parse_cursor).transpose()?;
    let (of, status) = (cluster.clone(), input.status);
    let list = move |state: &State| {
        use std::ops::Bound::{Excluded, Unbounded};
        let cluster = state.cluster(of.as_str()).filter(|cluster| cluster.is_active())?;
        let hosts = cluster.hosts.range((after.map_or(Unbounded, Excluded), Unbounded));
        let meeting = filter.as_ref().map(|filter| cluster.index.meeting(filter, state.groups()));
        let wanted = hosts.map(|(_, slot)| state.host_at(*slot)).filter(|host| {
            let has_status = match status {
                Some(status) => status.is(host.status),
                None => host.is_registered(),
            };
            has_status && meeting.as_ref().is_none_or(|meeting| meeting.has(host.slot))
        });
        Some(page.take(wanted.map(|host| host.id), HostId::to_string))
    };
    let (found, next_token) = api.read(list).await?.ok_or_else(ApiError::cluster_not_found)?;
    let arn = |host: HostId| api.identity.container_instance(cluster.as_str(), host);
    let container_instance_arns = found.into_iter().map(arn).collect();
    Ok(ListContainerInstancesOutput { container_instance_arns, next_token })
}

fn parse_cursor(cursor: &str) -> Result<HostId, ApiError> {
    cursor.parse().map_err(|_| ApiError::invalid_parameter("Invalid token."))
}

pub(crate) async fn update_state(
    api: &Api,
    input: UpdateContainerInstancesStateInput,
) -> Result<ContainerInstancesOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let status = match input.status {
        Status::Active => SettableHostStatus::Active,
        Status::Draining => SettableHostStatus::Draining,
        Status::Registering | Status::Deregistering | Status::RegistrationFailed => {
            return Err(ApiError::invalid_parameter(
                "Container instance status must be ACTIVE or DRAINING: the others are not set by \
                 users.",
            ));
        }
    };
    let (hosts, mut failures) = hosts(api, &cluster, &input.container_instances, UPDATED_MAX)?;
    let command = Command::Host(HostCommand::UpdateContainerInstancesState {
        cluster: cluster.clone(),
        hosts,
        status,
    });
    let (shown, refused) = api
        .submit(command, |state, answer| match answer {
            Answer::Hosts { changed, failures } => {
                let show =
                    |host: HostId| state.host(host).map(|host| InstanceSnapshot::of(state, host));
                (changed.into_iter().filter_map(show).collect::<Vec<_>>(), failures)
            }
            _ => (Vec::new(), Vec::new()),
        })
        .await?;
    failures.extend(refused.into_iter().map(|(host, reason)| {
        Failure::of(api.identity.container_instance(cluster.as_str(), host), reason)
    }));
    let container_instances =
        shown.iter().map(|shown| shown.view(&api.identity, EVERYTHING)).collect();
    Ok(ContainerInstancesOutput { container_instances, failures })
}
