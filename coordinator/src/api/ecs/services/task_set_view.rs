//! A task set as ECS shows it.

use longshore_common::arn::Identity;
use longshore_core::{State, model::service::RevisionId, schedule, state::Service};
use serde::Serialize;

use crate::api::ecs::{
    identifiers,
    tags::{self, TagView},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskSetView {
    cluster_arn: String,
    computed_desired_count: u32,
    created_at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    id: String,
    launch_type: &'static str,
    load_balancers: [String; 0],
    pending_count: u32,
    running_count: u32,
    scale: ScaleView,
    service_arn: String,
    service_registries: [String; 0],
    stability_status: &'static str,
    stability_status_at: f64,
    status: &'static str,
    tags: Vec<TagView>,
    task_definition: String,
    task_set_arn: String,
    updated_at: f64,
}

#[derive(Serialize)]
struct ScaleView {
    value: f64,
    unit: &'static str,
}

/// All task sets of a service, in the order of their creation.
pub(crate) fn of_service(
    identity: &Identity,
    state: &State,
    service: &Service,
) -> Vec<TaskSetView> {
    let ids = service.revisions.iter().map(|revision| revision.record.id);
    ids.filter_map(|id| of(identity, state, service, id, false)).collect()
}

pub(crate) fn of(
    identity: &Identity,
    state: &State,
    service: &Service,
    id: RevisionId,
    with_tags: bool,
) -> Option<TaskSetView> {
    let revision = service.revision(id)?;
    let set = revision.record.task_set.as_ref()?;
    let named = service.named(state);
    let desired = if set.draining { 0 } else { schedule::desired(state, service) };
    Some(TaskSetView {
        cluster_arn: identifiers::cluster_arn(identity, &named.cluster),
        computed_desired_count: set.computed_desired(desired),
        created_at: revision.record.created_at.as_epoch_seconds(),
        external_id: set.external_id.clone(),
        id: format!("ecs-svc/{id}"),
        launch_type: "EC2",
        load_balancers: [],
        pending_count: revision.counts.pending(),
        running_count: revision.counts.running(),
        scale: ScaleView { value: f64::from(set.scale_permille) / 10.0, unit: "PERCENT" },
        service_arn: identifiers::service_arn(identity, &named),
        service_registries: [],
        stability_status: if set.stable { "STEADY_STATE" } else { "STABILIZING" },
        stability_status_at: set.stability_at.as_epoch_seconds(),
        status: match (set.draining, service.primary == Some(id)) {
            (true, _) => "DRAINING",
            (false, true) => "PRIMARY",
            (false, false) => "ACTIVE",
        },
        tags: if with_tags { tags::view(&set.tags) } else { Vec::new() },
        task_definition: identifiers::definition_arn(identity, revision),
        task_set_arn: identity.task_set(named.cluster.as_str(), named.name.as_str(), id),
        updated_at: revision.record.updated_at.as_epoch_seconds(),
    })
}
