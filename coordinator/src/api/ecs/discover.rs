//! DiscoverPollEndpoint: where ECS's agent would find its control plane.

use serde::{Deserialize, Serialize};

use super::identifiers;
use crate::edge::{context::Api, error::ApiError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiscoverPollEndpointInput {
    container_instance: Option<String>,
    cluster: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiscoverPollEndpointOutput {
    endpoint: String,
    telemetry_endpoint: String,
    service_connect_endpoint: String,
}

/// The coordinator is all of them. Its own agents need none: the coordinator polls them.
pub(crate) async fn poll_endpoint(
    api: &Api,
    input: DiscoverPollEndpointInput,
) -> Result<DiscoverPollEndpointOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    if let Some(given) = input.container_instance.as_deref().filter(|given| !given.is_empty()) {
        identifiers::container_instance(&api.identity, &cluster, given)?;
    }
    let own = api.endpoint.to_string();
    Ok(DiscoverPollEndpointOutput {
        endpoint: own.clone(),
        telemetry_endpoint: own.clone(),
        service_connect_endpoint: own,
    })
}
