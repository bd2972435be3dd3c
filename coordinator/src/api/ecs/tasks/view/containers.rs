//! The containers of a task as ECS shows them, and what was overridden of them.

use longshore_common::{
    arn::Identity,
    gpus,
    protocol::{ContainerReport, ContainerStatus},
    task::{ContainerOverride, HealthStatus},
    task_definition::ContainerDefinition,
};
use longshore_core::model::task::TaskRecord;
use serde::Serialize;

use super::{
    attachments::shortened,
    bindings::{self, BindingView},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerView {
    container_arn: String,
    task_arn: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_id: Option<String>,
    last_status: ContainerStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    network_bindings: Vec<BindingView>,
    network_interfaces: [String; 0],
    health_status: HealthStatus,
    cpu: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_reservation: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gpu_ids: Vec<String>,
}

/// ECS names every container here, also those of which nothing was overridden.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverridesView {
    container_overrides: Vec<ContainerOverride>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
    inference_accelerator_overrides: [String; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_role_arn: Option<String>,
}

pub(super) fn view(
    identity: &Identity,
    record: &TaskRecord,
    definitions: &[ContainerDefinition],
) -> Vec<ContainerView> {
    let unreported = ContainerReport {
        status: match record.end {
            Some(_) => ContainerStatus::Stopped,
            None => ContainerStatus::Pending,
        },
        ..ContainerReport::default()
    };
    let cluster = record.cluster.as_str();
    let gpus = gpus::shares(definitions, &record.overrides, &record.gpus);
    let container = |(index, definition): (usize, &ContainerDefinition)| {
        let report = record.report.as_ref();
        let reported = report
            .and_then(|report| report.containers.iter().find(|c| c.name == definition.name))
            .unwrap_or(&unreported);
        let over = record.overrides.container(&definition.name);
        let cpu = over.and_then(|over| over.cpu).unwrap_or(definition.cpu);
        let memory = over.and_then(|over| over.memory).or(definition.memory);
        let reservation =
            over.and_then(|over| over.memory_reservation).or(definition.memory_reservation);
        let id = record.containers.get(index).map_or(0, |id| id.0.value());
        ContainerView {
            container_arn: identity.container(cluster, record.id, id),
            task_arn: identity.task(cluster, record.id),
            name: definition.name.clone(),
            image: definition.image.clone(),
            image_digest: reported.image_digest.clone(),
            runtime_id: reported.runtime_id.clone(),
            last_status: reported.status,
            exit_code: reported.exit_code,
            reason: reported.reason.as_deref().map(shortened),
            network_bindings: bindings::view(definition, &reported.network_bindings),
            network_interfaces: [],
            health_status: reported.health.unwrap_or_default(),
            cpu: cpu.to_string(),
            memory: memory.map(|mib| mib.to_string()),
            memory_reservation: reservation.map(|mib| mib.to_string()),
            gpu_ids: gpus.get(index).map(|gpus| gpus.to_vec()).unwrap_or_default(),
        }
    };
    definitions.iter().enumerate().map(container).collect()
}

pub(super) fn overrides(record: &TaskRecord, definitions: &[ContainerDefinition]) -> OverridesView {
    let of = |definition: &ContainerDefinition| {
        let given = record.overrides.container(&definition.name).cloned();
        ContainerOverride { name: Some(definition.name.clone()), ..given.unwrap_or_default() }
    };
    OverridesView {
        container_overrides: definitions.iter().map(of).collect(),
        cpu: record.overrides.cpu.clone(),
        inference_accelerator_overrides: [],
        execution_role_arn: record.overrides.execution_role_arn.clone(),
        memory: record.overrides.memory.clone(),
        task_role_arn: record.overrides.task_role_arn.clone(),
    }
}
