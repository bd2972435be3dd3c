//! A task as ECS shows it, live or stopped (ecs-behaviour 1.6).

mod attachments;
mod bindings;
mod containers;

use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    id::TaskId,
    protocol::{Attribute, ReportedPhase},
    task::{HealthStatus, StopCause, StopCode},
    task_definition::ContainerDefinition,
};
use longshore_core::{
    event::WaitingTask,
    model::{
        capacity_provider::is_fargate,
        name::ClusterName,
        task::{Phase, TaskRecord, Wish},
    },
    placement::AVAILABILITY_ZONE,
    state::{Host, State, Task, Waiting, checked_health},
};
use serde::Serialize;

use self::{
    attachments::AttachmentView,
    containers::{ContainerView, OverridesView},
};
use crate::api::ecs::{
    attributes::AttributeView,
    tags::{self, TagView},
};

/// The attribute of its host that a task shows.
const CPU_ARCHITECTURE: &str = "ecs.cpu-architecture";

/// What of a task is shown, taken out of the state or the history.
pub(crate) struct TaskSnapshot {
    record: TaskRecord,
    containers: Vec<ContainerDefinition>,
    connected: bool,
    /// When the host was last found connected; absent while it is not.
    connected_at: Option<Timestamp>,
    zone: Option<String>,
    architecture: Option<Attribute>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskView {
    attachments: Vec<AttachmentView>,
    attributes: Vec<AttributeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_provider_name: Option<String>,
    cluster_arn: String,
    connectivity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connectivity_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_instance_arn: Option<String>,
    containers: Vec<ContainerView>,
    cpu: String,
    created_at: f64,
    desired_status: &'static str,
    enable_execute_command: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<f64>,
    group: String,
    health_status: HealthStatus,
    inference_accelerators: [String; 0],
    last_status: &'static str,
    /// Absent for a task that a capacity provider started.
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    memory: String,
    overrides: OverridesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_code: Option<StopCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopping_at: Option<f64>,
    tags: Vec<TagView>,
    task_arn: String,
    task_definition_arn: String,
    version: u32,
}

/// Whether ECS would call this task's `desiredStatus` STOPPED: somebody stopped it, or it stops
/// by itself.
pub(crate) fn is_to_stop(wish: &Wish, phase: Phase) -> bool {
    match (wish, phase) {
        (Wish::Stop { .. }, _)
        | (
            Wish::Run,
            Phase::Deactivating { .. } | Phase::Stopping { .. } | Phase::Deprovisioning { .. },
        ) => true,
        (
            Wish::Run,
            Phase::Provisioning | Phase::Pending | Phase::Activating | Phase::Running { .. },
        ) => false,
    }
}

impl TaskSnapshot {
    /// A task of the cluster that has not stopped, with a host or without.
    pub(crate) fn current(state: &State, cluster: &ClusterName, id: TaskId) -> Option<Self> {
        let cluster = state.cluster(cluster.as_str())?;
        if let Some(slot) = cluster.tasks.get(&id) {
            return Some(TaskSnapshot::live(state, state.task_at(*slot)));
        }
        let waiting = state.waiting_at(*cluster.waiting_tasks.get(&id)?);
        Some(TaskSnapshot::waiting(state, waiting, waiting.task(id)?))
    }

    pub(crate) fn live(state: &State, task: &Task) -> Self {
        let definition = &state.definition_at(task.definition).definition;
        let host = state.host_at(task.host);
        let connected_at = task.created_at.max(host.connectivity_at);
        TaskSnapshot {
            record: task.record(state),
            containers: definition.spec.container_definitions.clone(),
            connected: host.connected,
            connected_at: host.connected.then_some(connected_at),
            zone: zone(host),
            architecture: architecture(host),
        }
    }

    pub(crate) fn waiting(state: &State, waiting: &Waiting, task: &WaitingTask) -> Self {
        let definition = &state.definition_at(waiting.definition).definition;
        TaskSnapshot {
            record: waiting.record(task),
            containers: definition.spec.container_definitions.clone(),
            connected: false,
            connected_at: None,
            zone: None,
            architecture: None,
        }
    }

    pub(crate) fn stopped(state: &State, mut record: TaskRecord) -> Self {
        let host = record.host.and_then(|host| state.host(host));
        let end = record.end.as_mut();
        let containers = end.map(|end| std::mem::take(&mut end.containers)).unwrap_or_default();
        let connected = record.end.as_ref().is_some_and(|end| end.host_connected);
        TaskSnapshot {
            containers,
            connected,
            connected_at: connected.then_some(record.created_at),
            zone: host.and_then(zone),
            architecture: host.and_then(architecture),
            record,
        }
    }

    pub(crate) fn view(&self, identity: &Identity, with_tags: bool) -> TaskView {
        let record = &self.record;
        let report = record.report.as_ref();
        let ended = record.end.as_ref();
        let cause = self.cause();
        let cluster = record.cluster.as_str();
        let to_stop = ended.is_some() || is_to_stop(&record.wish, record.phase);
        let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_epoch_seconds);
        let attributes = self.architecture.iter().map(AttributeView::bare).collect();
        TaskView {
            attachments: attachments::view(record, cause),
            attributes,
            availability_zone: self.zone.clone(),
            capacity_provider_name: record.provider.as_ref().map(ToString::to_string),
            cluster_arn: identity.cluster(cluster),
            connectivity: if self.connected { "CONNECTED" } else { "DISCONNECTED" },
            connectivity_at: seconds(self.connected_at),
            container_instance_arn: record
                .host
                .map(|host| identity.container_instance(cluster, host)),
            containers: containers::view(identity, record, &self.containers),
            cpu: record.demand.cpu.0.to_string(),
            created_at: record.created_at.as_epoch_seconds(),
            desired_status: if to_stop { "STOPPED" } else { "RUNNING" },
            enable_execute_command: false,
            execution_stopped_at: seconds(report.and_then(|report| report.execution_stopped_at)),
            group: record.group.clone(),
            health_status: checked_health(&self.containers, report).unwrap_or_default(),
            inference_accelerators: [],
            last_status: self.last_status(),
            launch_type: match &record.provider {
                None => Some("EC2"),
                Some(provider) if is_fargate(provider.as_str()) => Some("FARGATE"),
                Some(_) => None,
            },
            memory: record.demand.memory.0.to_string(),
            overrides: containers::overrides(record, &self.containers),
            pull_started_at: seconds(report.and_then(|report| report.pull_started_at)),
            pull_stopped_at: seconds(report.and_then(|report| report.pull_stopped_at)),
            started_at: seconds(record.phase.started_at()),
            started_by: record.started_by.clone(),
            stop_code: cause.map(|cause| cause.code),
            stopped_at: seconds(ended.map(|end| end.at)),
            stopped_reason: cause.map(|cause| attachments::shortened(&cause.reason)),
            stopping_at: seconds(self.stopping_at()),
            tags: if with_tags { tags::view(&record.tags) } else { Vec::new() },
            task_arn: identity.task(cluster, record.id),
            task_definition_arn: identity.task_definition(record.family.as_str(), record.revision),
            version: record.version,
        }
    }

    fn last_status(&self) -> &'static str {
        match &self.record.end {
            Some(_) => "STOPPED",
            None => self.record.phase.name(),
        }
    }

    /// Why it stopped, stops, or is to stop.
    fn cause(&self) -> Option<&StopCause> {
        let reported = self.record.report.as_ref().and_then(|report| match &report.phase {
            ReportedPhase::Stopping(cause) | ReportedPhase::Stopped(cause) => Some(cause),
            ReportedPhase::Pending | ReportedPhase::Activating | ReportedPhase::Running => None,
        });
        let wished = match &self.record.wish {
            Wish::Stop { cause, .. } => Some(cause),
            Wish::Run => None,
        };
        let ended = self.record.attachments.execution_stop.as_ref().map(|stop| &stop.cause);
        self.record.end.as_ref().map(|end| &end.cause).or(ended).or(wished).or(reported)
    }

    fn stopping_at(&self) -> Option<Timestamp> {
        let wished = match &self.record.wish {
            Wish::Stop { at, .. } => Some(*at),
            Wish::Run => None,
        };
        let reported = self.record.report.as_ref().and_then(|report| report.stopping_at);
        match self.record.phase {
            Phase::Stopping { stopping_at, .. } | Phase::Deprovisioning { stopping_at, .. } => {
                Some(wished.unwrap_or(stopping_at))
            }
            Phase::Provisioning
            | Phase::Pending
            | Phase::Activating
            | Phase::Running { .. }
            | Phase::Deactivating { .. } => wished.or(reported),
        }
    }
}

fn zone(host: &Host) -> Option<String> {
    host.attribute(AVAILABILITY_ZONE).flatten().map(str::to_owned)
}

fn architecture(host: &Host) -> Option<Attribute> {
    let value = host.attribute(CPU_ARCHITECTURE)?.map(str::to_owned);
    Some(Attribute { name: CPU_ARCHITECTURE.to_owned(), value })
}
