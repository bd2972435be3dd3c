//! DescribeServiceRevisions: what a service was made of, each time that it was deployed.

use std::collections::BTreeMap;

use longshore_common::{arn::Identity, task_definition::ContainerDefinition};
use longshore_core::{
    State,
    model::{
        revision::RevisionRecord,
        service::{RevisionId, ServiceId, ServiceRef},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    identifiers,
    strategy::{StrategyItemInput, launch_type_view, strategy_view},
};
use crate::{
    edge::{context::Api, error::ApiError},
    journal::{DeploymentFilter, History, JournalError},
};

/// Maximum number of revisions that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeServiceRevisionsInput {
    service_revision_arns: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeServiceRevisionsOutput {
    service_revisions: Vec<ServiceRevisionView>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceRevisionView {
    cluster_arn: String,
    container_images: Vec<ContainerImage>,
    created_at: f64,
    guard_duty_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    /// The service's own: it can change without a new revision here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capacity_provider_strategy: Vec<StrategyItemInput>,
    load_balancers: [String; 0],
    service_arn: String,
    service_registries: [String; 0],
    service_revision_arn: String,
    task_definition: String,
    volume_configurations: [String; 0],
    vpc_lattice_configurations: [String; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerImage {
    container_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// Absent until a task of the revision has said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
}

/// A revision that is known, and the service that it is of, if that is known still.
struct Known {
    record: RevisionRecord,
    service: ServiceId,
    named: Option<ServiceRef>,
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeServiceRevisionsInput,
) -> Result<DescribeServiceRevisionsOutput, ApiError> {
    let count = input.service_revision_arns.len();
    if count == 0 || count > DESCRIBED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "serviceRevisionArns has {count} entries; give 1 to {DESCRIBED_MAX}."
        )));
    }
    let mut asked: Vec<(String, (ServiceRef, RevisionId))> = Vec::new();
    let mut failures = Vec::new();
    for given in input.service_revision_arns {
        match identifiers::service_revision(&api.identity, &given)? {
            Some(found) if asked.iter().any(|(_, other)| *other == found) => {}
            Some(found) => asked.push((given, found)),
            None => failures.push(Failure::missing(given)),
        }
    }
    let ids: Vec<RevisionId> = asked.iter().map(|(_, (_, id))| *id).collect();
    let known = api.history(move |history| known(history, &ids)).await?;
    let identity = &api.identity;
    let describe = |state: &State| {
        let mut shown = Vec::new();
        for (given, (service, id)) in asked {
            match known.get(&id).filter(|known| is_of(state, known, &service)) {
                Some(known) => shown.push(view(identity, state, &service, &known.record)),
                None => failures.push(Failure::missing(given)),
            }
        }
        shown
    };
    Ok(DescribeServiceRevisionsOutput { service_revisions: api.read(describe).await?, failures })
}

fn known(
    history: &dyn History,
    ids: &[RevisionId],
) -> Result<BTreeMap<RevisionId, Known>, JournalError> {
    let mut found = BTreeMap::new();
    for (service, record) in history.revisions(ids)? {
        // Every revision came with a deployment, which knows the service's name for ever; a task
        // set did not.
        let last = DeploymentFilter {
            service,
            created_after: None,
            created_before: None,
            before: None,
            limit: 1,
        };
        let named = history.deployments(&last)?.pop().map(|entry| entry.deployment.service);
        found.insert(record.id, Known { record, service, named });
    }
    Ok(found)
}

/// Task sets are no service revisions.
fn is_of(state: &State, known: &Known, asked: &ServiceRef) -> bool {
    let current = || state.service(known.service).map(|service| service.named(state));
    known.record.task_set.is_none() && known.named.clone().or_else(current).as_ref() == Some(asked)
}

fn view(
    identity: &Identity,
    state: &State,
    service: &ServiceRef,
    record: &RevisionRecord,
) -> ServiceRevisionView {
    let (family, revision) = (record.family.as_str(), record.revision);
    let containers = state.definitions().get(family, revision).map(|found| {
        let containers = found.definition.spec.container_definitions.iter();
        let image = |container: &ContainerDefinition| ContainerImage {
            container_name: container.name.clone(),
            image: container.image.clone(),
            image_digest: record.image_digests.get(&container.name).cloned(),
        };
        containers.map(image).collect()
    });
    let capacity = state.service_named(service).map(|service| &service.config.capacity[..]);
    let capacity = capacity.unwrap_or_default();
    ServiceRevisionView {
        cluster_arn: identifiers::cluster_arn(identity, &service.cluster),
        container_images: containers.unwrap_or_default(),
        created_at: record.created_at.as_epoch_seconds(),
        guard_duty_enabled: false,
        launch_type: launch_type_view(capacity),
        capacity_provider_strategy: strategy_view(capacity),
        load_balancers: [],
        service_arn: identifiers::service_arn(identity, service),
        service_registries: [],
        service_revision_arn: identity.service_revision(
            service.cluster.as_str(),
            service.name.as_str(),
            record.id,
        ),
        task_definition: identity.task_definition(family, revision),
        volume_configurations: [],
        vpc_lattice_configurations: [],
    }
}
