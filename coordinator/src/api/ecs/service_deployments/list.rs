//! ListServiceDeployments: the latest first.

use longshore_common::clock::Timestamp;
use longshore_core::{State, model::deployment::DeploymentRecord};
use serde::{Deserialize, Serialize};

use super::view::{self, DeploymentBrief, DeploymentStatusName};
use crate::{
    api::ecs::services,
    edge::{
        context::Api,
        error::ApiError,
        page::{PAGE_MAX, Page},
    },
    journal::{DeploymentEntry, DeploymentFilter, History, JournalError},
};

/// Default size of a page (ecs-behaviour 1.1, page sizes).
const PAGE_DEFAULT: usize = 20;
/// Maximum number of deployments that one page looks at (ours), so that a filter that few pass does
/// not read the whole history. The page may then be short, with a token to continue.
const LOOKED_AT_MAX: usize = 1000;
/// Maximum number of deployments that are in memory at once beside those of the page (ours).
const READ_AT_ONCE: usize = 50;
/// Maximum time in seconds since the Unix epoch, the end of the year 9999 (ours): a later time is
/// taken for a mistake, in milliseconds for example.
const EPOCH_SECONDS_MAX: f64 = 253_402_300_799.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceDeploymentsInput {
    service: String,
    cluster: Option<String>,
    #[serde(default)]
    status: Vec<DeploymentStatusName>,
    created_at: Option<CreatedAt>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

/// Bounds in epoch seconds.
#[derive(Deserialize)]
struct CreatedAt {
    before: Option<f64>,
    after: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceDeploymentsOutput {
    service_deployments: Vec<DeploymentBrief>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(crate) async fn list(
    api: &Api,
    input: ListServiceDeploymentsInput,
) -> Result<ListServiceDeploymentsOutput, ApiError> {
    let token = input.next_token.as_deref();
    let page = Page::parse_with(&api.page_scope, input.max_results, token, PAGE_DEFAULT, PAGE_MAX)?;
    let before = match &page.after {
        None => None,
        Some(number) => {
            Some(number.parse().map_err(|_| ApiError::invalid_parameter("Invalid token."))?)
        }
    };
    let created = input.created_at.unwrap_or(CreatedAt { before: None, after: None });
    // Whole milliseconds are kept: what is after 1.5 ms is after 1 ms, before it before 2 ms.
    let created_after = moment("createdAt.after", created.after, f64::floor)?;
    let created_before = moment("createdAt.before", created.before, f64::ceil)?;
    let named = services::named(api, input.cluster.as_deref(), &input.service)?;
    let service = |state: &State| {
        state.cluster(named.cluster.as_str()).filter(|cluster| cluster.is_active())?;
        Some(state.service_named(&named).map(|service| service.id))
    };
    let service = api.read(service).await?.ok_or_else(ApiError::cluster_not_found)?;
    let service = service.ok_or_else(services::not_found)?;
    let limit = READ_AT_ONCE;
    let filter = DeploymentFilter { service, created_after, created_before, before, limit };
    let (statuses, size) = (input.status, page.size);
    let (taken, next) = api.history(move |history| take(history, filter, &statuses, size)).await?;
    let identity = &api.identity;
    let briefs = taken.iter().map(|deployment| view::brief(identity, deployment)).collect();
    let next_token = next.map(|number| page.token(&number.to_string()));
    Ok(ListServiceDeploymentsOutput { service_deployments: briefs, next_token })
}

/// A page of those that have one of the statuses, and the number after which the next one begins.
fn take(
    history: &dyn History,
    mut filter: DeploymentFilter,
    statuses: &[DeploymentStatusName],
    size: usize,
) -> Result<(Vec<DeploymentRecord>, Option<u64>), JournalError> {
    let mut taken = Vec::new();
    for _ in 0..LOOKED_AT_MAX / READ_AT_ONCE {
        let entries = history.deployments(&filter)?;
        let is_end = entries.len() < filter.limit;
        for DeploymentEntry { number, deployment } in entries {
            let status = DeploymentStatusName::from(deployment.status);
            let takes = statuses.is_empty() || statuses.contains(&status);
            if takes && taken.len() == size {
                return Ok((taken, filter.before));
            }
            filter.before = Some(number);
            if takes {
                taken.push(deployment);
            }
        }
        if is_end {
            return Ok((taken, None));
        }
    }
    Ok((taken, filter.before))
}

fn moment(
    member: &str,
    given: Option<f64>,
    round: fn(f64) -> f64,
) -> Result<Option<Timestamp>, ApiError> {
    match given {
        None => Ok(None),
        Some(seconds) if (0.0..=EPOCH_SECONDS_MAX).contains(&seconds) => {
            Ok(Some(Timestamp(round(seconds * 1000.0) as u64)))
        }
        Some(seconds) => Err(ApiError::invalid_parameter(format!(
            "{member} is {seconds}; it must be a time in seconds since 1970."
        ))),
    }
}
