//! ListServices and ListServicesByNamespace.

use longshore_core::{
    State,
    model::name::{ClusterName, ServiceName},
    state::Service,
};
use serde::{Deserialize, Serialize};

use super::SchedulingStrategy;
use crate::{
    api::ecs::{identifiers, strategy::runs_as, unsupported::LaunchType},
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
        page::{PAGE_MAX, Page},
    },
};

/// Default size of a page (ecs-behaviour 1.1, page sizes).
const PAGE_DEFAULT: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServicesInput {
    cluster: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    launch_type: Option<LaunchType>,
    scheduling_strategy: Option<SchedulingStrategy>,
    resource_management_type: Option<ResourceManagementType>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ResourceManagementType {
    Customer,
    Ecs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServicesByNamespaceInput {
    namespace: String,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServicesOutput {
    service_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(crate) async fn list(
    api: &Api,
    input: ListServicesInput,
) -> Result<ListServicesOutput, ApiError> {
    let token = input.next_token.as_deref();
    let page = Page::parse_with(&api.page_scope, input.max_results, token, PAGE_DEFAULT, PAGE_MAX)?;
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    // Every service of ours is its user's own.
    let none = input.resource_management_type == Some(ResourceManagementType::Ecs);
    let of_type = |service: &Service, asked| runs_as(&service.config.capacity) == asked;
    let takes = |service: &Service| {
        let asked = |strategy| service.is_daemon() == (strategy == SchedulingStrategy::Daemon);
        !none
            && service.is_active()
            && input.launch_type.is_none_or(|launch_type| of_type(service, launch_type))
            && input.scheduling_strategy.is_none_or(asked)
    };
    let list = |state: &State| names(state, &cluster, &page, takes);
    let (names, next_token) = api.read(list).await?.ok_or_else(ApiError::cluster_not_found)?;
    let arn = |name: &ServiceName| api.identity.service(cluster.as_str(), name.as_str());
    Ok(ListServicesOutput { service_arns: names.iter().map(arn).collect(), next_token })
}

/// `None` if there is no such cluster.
fn names(
    state: &State,
    cluster: &ClusterName,
    page: &Page,
    takes: impl Fn(&Service) -> bool,
) -> Option<(Vec<ServiceName>, Option<String>)> {
    use std::ops::Bound::{Excluded, Unbounded};
    let cluster = state.cluster(cluster.as_str()).filter(|cluster| cluster.is_active())?;
    let from = page.after.as_deref().map_or(Unbounded, Excluded);
    let services = cluster.services.range::<str, _>((from, Unbounded));
    let services = services.filter(|(_, slot)| takes(state.service_at(**slot)));
    Some(page.take(services.map(|(name, _)| name.clone()), ServiceName::to_string))
}

/// There are no namespaces, so none of them is known.
pub(crate) async fn by_namespace(
    api: &Api,
    input: ListServicesByNamespaceInput,
) -> Result<ListServicesOutput, ApiError> {
    let token = input.next_token.as_deref();
    Page::parse_with(&api.page_scope, input.max_results, token, PAGE_DEFAULT, PAGE_MAX)?;
    if input.namespace.is_empty() {
        return Err(ApiError::invalid_parameter(
            "namespace is empty: give the name or the ARN of a namespace.",
        ));
    }
    Err(ApiError::new(
        ErrorCode::NamespaceNotFound,
        format!(
            "The namespace `{}` was not found: this release of Longshore has no namespaces. Use \
             ListServices.",
            input.namespace
        ),
    ))
}
