//! A service as ECS shows it (ecs-behaviour 1.8, 1.9). Defaults are shown too: Terraform compares
//! what it reads back.

use longshore_common::{arn::Identity, task_definition::Switch};
use longshore_core::{
    State,
    model::{
        revision::Rollout,
        service::{Controller, PropagateTags, Scheduling, ServiceId, ServiceRef},
        service_status::ServiceStatus,
    },
    schedule,
    state::{Revision, Service},
};
use serde::Serialize;

use super::{
    deployment_configuration::{self, DeploymentConfigurationView},
    kinds::{DeploymentController, DeploymentControllerType, SchedulingStrategy},
    task_set_view::{self, TaskSetView},
};
use crate::api::ecs::{
    identifiers,
    placement::{self, PlacementConstraint, PlacementStrategy},
    strategy::{StrategyItemInput, launch_type_view, strategy_view},
    tags::{self, TagView},
};

/// A service's view, whose events are still to be added.
pub(crate) struct ServiceWithoutEvents {
    pub(super) id: ServiceId,
    pub(super) view: ServiceView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceView {
    availability_zone_rebalancing: Switch,
    cluster_arn: String,
    created_at: f64,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_service_deployment: Option<String>,
    current_service_revisions: Vec<RevisionSummary>,
    deployment_configuration: DeploymentConfigurationView,
    deployment_controller: DeploymentController,
    deployments: Vec<DeploymentView>,
    desired_count: u32,
    #[serde(rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    enable_execute_command: bool,
    pub(super) events: Vec<EventView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_grace_period_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capacity_provider_strategy: Vec<StrategyItemInput>,
    load_balancers: [String; 0],
    pending_count: u32,
    placement_constraints: Vec<PlacementConstraint>,
    placement_strategy: Vec<PlacementStrategy>,
    propagate_tags: tags::PropagateTags,
    resource_management_type: &'static str,
    running_count: u32,
    scheduling_strategy: SchedulingStrategy,
    service_arn: String,
    service_name: String,
    service_registries: [String; 0],
    status: &'static str,
    tags: Vec<TagView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_definition: Option<String>,
    task_sets: Vec<TaskSetView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    pub(super) id: String,
    pub(super) created_at: f64,
    pub(super) message: String,
}

/// A revision of a service as the `deployments` of ECS have it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentView {
    created_at: f64,
    desired_count: u32,
    failed_tasks: u32,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capacity_provider_strategy: Vec<StrategyItemInput>,
    pending_count: u32,
    rollout_state: &'static str,
    rollout_state_reason: String,
    running_count: u32,
    status: &'static str,
    task_definition: String,
    updated_at: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionSummary {
    arn: String,
    pending_task_count: u32,
    requested_task_count: u32,
    running_task_count: u32,
}

pub(crate) fn of(
    identity: &Identity,
    state: &State,
    service: &Service,
    with_tags: bool,
) -> ServiceWithoutEvents {
    let named = service.named(state);
    let (cluster, name) = (named.cluster.as_str(), named.name.as_str());
    let config = &service.config;
    let desired = schedule::desired(state, service);
    let shown = shown_revisions(service);
    let definition =
        service.primary().map(|primary| identifiers::definition_arn(identity, primary));
    let deployment = service.deployment.as_ref().map(|deployment| deployment.id);
    let summaries =
        shown.iter().map(|revision| summary(identity, &named, service, revision, desired));
    let view = ServiceView {
        availability_zone_rebalancing: match config.az_rebalancing {
            true => Switch::Enabled,
            false => Switch::Disabled,
        },
        cluster_arn: identifiers::cluster_arn(identity, &named.cluster),
        created_at: service.created_at.as_epoch_seconds(),
        created_by: service.created_by.clone(),
        current_service_deployment: deployment
            .map(|id| identity.service_deployment(cluster, name, id)),
        current_service_revisions: summaries.collect(),
        deployment_configuration: deployment_configuration::view(&config.deployment),
        deployment_controller: DeploymentController {
            kind: match config.controller {
                Controller::Ecs => DeploymentControllerType::Ecs,
                Controller::External => DeploymentControllerType::External,
            },
        },
        deployments: shown
            .iter()
            .map(|revision| deployment_view(identity, service, revision, desired))
            .collect(),
        desired_count: desired,
        enable_ecs_managed_tags: config.managed_tags,
        enable_execute_command: false,
        events: Vec::new(),
        health_check_grace_period_seconds: config.grace_s,
        launch_type: launch_type_view(&config.capacity),
        capacity_provider_strategy: strategy_view(&config.capacity),
        load_balancers: [],
        pending_count: service.pending(),
        placement_constraints: placement::constraints(config.distinct_instance, &config.member_of),
        placement_strategy: placement::strategies(&config.strategies),
        propagate_tags: match config.propagate_tags {
            PropagateTags::None => tags::PropagateTags::None,
            PropagateTags::TaskDefinition => tags::PropagateTags::TaskDefinition,
            PropagateTags::Service => tags::PropagateTags::Service,
        },
        resource_management_type: "CUSTOMER",
        running_count: service.running(),
        scheduling_strategy: match config.scheduling {
            Scheduling::Replica => SchedulingStrategy::Replica,
            Scheduling::Daemon => SchedulingStrategy::Daemon,
        },
        service_arn: identifiers::service_arn(identity, &named),
        service_name: name.to_owned(),
        service_registries: [],
        status: match service.status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive { .. } => "INACTIVE",
        },
        tags: if with_tags { tags::view(&service.tags) } else { Vec::new() },
        task_definition: definition,
        task_sets: task_set_view::of_service(identity, state, service),
    };
    ServiceWithoutEvents { id: service.id, view }
}

/// The revisions that are `deployments`: the primary one first, then those that still run and the
/// one whose deployment is rolled back, so that its failure is seen.
fn shown_revisions(service: &Service) -> Vec<&Revision> {
    let gone = match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => false,
        ServiceStatus::Inactive { .. } => true,
    };
    if gone || service.is_external() {
        return Vec::new();
    }
    let is_primary = |revision: &&Revision| Some(revision.record.id) == service.primary;
    let runs = |revision: &&Revision| revision.counts.running() + revision.counts.pending() > 0;
    let is_shown = |revision: &&Revision| runs(revision) || service.is_target(revision.record.id);
    let mut shown: Vec<&Revision> = service.primary().into_iter().collect();
    let newest_first = service.revisions.iter().rev();
    shown.extend(newest_first.filter(|r| !is_primary(r)).filter(is_shown));
    shown
}

fn deployment_view(
    identity: &Identity,
    service: &Service,
    revision: &Revision,
    desired: u32,
) -> DeploymentView {
    let record = &revision.record;
    DeploymentView {
        created_at: record.created_at.as_epoch_seconds(),
        desired_count: requested(service, revision, desired),
        failed_tasks: record.failed_tasks,
        id: format!("ecs-svc/{}", record.id),
        launch_type: launch_type_view(&service.config.capacity),
        capacity_provider_strategy: strategy_view(&service.config.capacity),
        pending_count: revision.counts.pending(),
        rollout_state: match record.rollout {
            Rollout::InProgress => "IN_PROGRESS",
            Rollout::Completed => "COMPLETED",
            Rollout::Failed => "FAILED",
        },
        rollout_state_reason: record.reason.clone(),
        running_count: revision.counts.running(),
        status: match service.primary == Some(record.id) {
            true => "PRIMARY",
            false => "ACTIVE",
        },
        task_definition: identifiers::definition_arn(identity, revision),
        updated_at: record.updated_at.as_epoch_seconds(),
    }
}

pub(crate) fn summary(
    identity: &Identity,
    named: &ServiceRef,
    service: &Service,
    revision: &Revision,
    desired: u32,
) -> RevisionSummary {
    let (cluster, name) = (named.cluster.as_str(), named.name.as_str());
    RevisionSummary {
        arn: identity.service_revision(cluster, name, revision.record.id),
        pending_task_count: revision.counts.pending(),
        requested_task_count: requested(service, revision, desired),
        running_task_count: revision.counts.running(),
    }
}

impl RevisionSummary {
    /// The summary of a revision that has no tasks any more.
    pub(crate) fn gone(arn: String, requested_task_count: u32) -> Self {
        RevisionSummary { arn, pending_task_count: 0, requested_task_count, running_task_count: 0 }
    }
}

/// The primary revision is to have what the service is to have; another one what it still keeps.
fn requested(service: &Service, revision: &Revision, desired: u32) -> u32 {
    match service.primary == Some(revision.record.id) {
        true => desired,
        false => revision.counts.wanted(),
    }
}
