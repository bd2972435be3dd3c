//! The metadata answers, in ECS's member names (ecs-behaviour 1.20). Pure.
//!
//! A member that nothing is known of is left out, as ECS's agent does. What only ECS on EC2 knows
//! (VPCID) is never invented.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use http::StatusCode;
use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    task::{ContainerOverride, HealthStatus},
    task_definition::{ContainerDefinition, NetworkMode},
};
use serde::Serialize;

use super::{
    directory::{DirectoryEntry, InspectedContainer},
    route::EndpointVersion,
};
use crate::{
    engine::plan::{awslogs, task_limits::TaskLimits, volumes},
    task::{
        labels,
        shown::{KnownStatus, ShownContainer, ShownTask},
    },
};

#[cfg(test)]
mod tests;

const LAUNCH_TYPE: &str = "EC2";
const SERVICE_GROUP: &str = "service:";
const CPU_UNITS_PER_VCPU: f64 = 1024.0;

/// What of the answers is not a task's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) availability_zone: Option<String>,
    pub(crate) region: String,
    pub(crate) account: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskMetadata<'a> {
    cluster: &'a str,
    #[serde(rename = "TaskARN")]
    task_arn: &'a str,
    family: &'a str,
    /// The revision is text here.
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TaskLimitsMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    containers: Vec<ContainerMetadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_instance_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<TagsError<'a>>,
}

/// Limits of a whole task: CPU in vCPUs, memory in MiB.
#[derive(Serialize)]
struct TaskLimitsMetadata {
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    cpu: Option<f64>,
    #[serde(rename = "Memory", skip_serializing_if = "Option::is_none")]
    memory: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerMetadata<'a> {
    /// Empty until Docker has made it.
    docker_id: &'a str,
    name: &'a str,
    docker_name: &'a str,
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<PortMetadata<'a>>,
    labels: BTreeMap<String, String>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    limits: ContainerLimitsMetadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<VolumeMetadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    log_options: BTreeMap<&'a str, String>,
    #[serde(rename = "ContainerARN", skip_serializing_if = "Option::is_none")]
    container_arn: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<NetworkMetadata>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PortMetadata<'a> {
    container_port: u16,
    protocol: String,
    host_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ip: Option<&'a str>,
}

/// Limits of a container: CPU in units, memory in MiB; 0 for no limit.
#[derive(Default, Serialize)]
struct ContainerLimitsMetadata {
    #[serde(rename = "CPU")]
    cpu: u32,
    #[serde(rename = "Memory")]
    memory: u32,
}

#[derive(Serialize)]
struct HealthMetadata {
    status: HealthStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeMetadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    docker_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: Cow<'a, str>,
    destination: &'a str,
}

#[derive(Serialize)]
struct NetworkMetadata {
    #[serde(rename = "NetworkMode")]
    mode: &'static str,
    #[serde(rename = "IPv4Addresses")]
    ipv4: Vec<String>,
    #[serde(rename = "IPv6Addresses", skip_serializing_if = "Vec::is_empty")]
    ipv6: Vec<String>,
}

/// Why tags could not be shown.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagsError<'a> {
    error_field: &'static str,
    error_code: &'static str,
    error_message: String,
    status_code: u16,
    #[serde(rename = "ResourceARN")]
    resource_arn: &'a str,
}

/// What `taskWithTags` adds.
#[derive(Clone, Debug)]
pub(crate) struct Tags {
    pub(crate) task: Vec<(String, String)>,
    pub(crate) container_instance: Vec<(String, String)>,
}

pub(crate) fn task<'a>(
    entry: &'a DirectoryEntry,
    seen: &'a [Option<Arc<InspectedContainer>>],
    version: EndpointVersion,
    around: &'a Surroundings,
) -> TaskMetadata<'a> {
    let task = &entry.task;
    let of = |index: usize| {
        container(task, index, seen.get(index).and_then(Option::as_deref), version, around)
    };
    let v4 = version == EndpointVersion::V4;
    let group = task.intent.as_ref().map(|intent| intent.order.group.as_str());
    TaskMetadata {
        cluster: &task.cluster,
        task_arn: &task.arn,
        family: &task.family,
        revision: task.revision.to_string(),
        service_name: group.filter(|_| v4).and_then(|group| group.strip_prefix(SERVICE_GROUP)),
        desired_status: task.desired_status(),
        known_status: task.known_status(),
        limits: task_limits(task),
        pull_started_at: task.pull_started_at.map(time),
        pull_stopped_at: task.pull_stopped_at.map(time),
        execution_stopped_at: task.execution_stopped_at.map(time),
        availability_zone: around.availability_zone.as_deref(),
        launch_type: v4.then_some(LAUNCH_TYPE),
        containers: (0..task.containers.len()).map(of).collect(),
        task_tags: None,
        container_instance_tags: None,
        errors: Vec::new(),
    }
}

impl<'a> TaskMetadata<'a> {
    pub(crate) fn with_tags(mut self, tags: Tags) -> Self {
        let some = |tags: Vec<(String, String)>| {
            let tags: BTreeMap<_, _> = tags.into_iter().collect();
            (!tags.is_empty()).then_some(tags)
        };
        self.task_tags = some(tags.task);
        self.container_instance_tags = some(tags.container_instance);
        self
    }

    /// The rest is answered all the same, as ECS does.
    pub(crate) fn without_tags(mut self, reason: &str) -> Self {
        self.errors = ["TaskTags", "ContainerInstanceTags"]
            .map(|error_field| TagsError {
                error_field,
                error_code: "ServerException",
                error_message: reason.to_owned(),
                status_code: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
                resource_arn: self.task_arn,
            })
            .into();
        self
    }
}

pub(crate) fn container<'a>(
    task: &'a ShownTask,
    index: usize,
    seen: Option<&'a InspectedContainer>,
    version: EndpointVersion,
    around: &Surroundings,
) -> ContainerMetadata<'a> {
    let shown = &task.containers[index];
    let definition = definition(task, index);
    let v4 = version == EndpointVersion::V4;
    let log = definition.and_then(|of| of.log_configuration.as_ref()).filter(|_| v4);
    let ended = shown.known == KnownStatus::Stopped;
    ContainerMetadata {
        docker_id: shown.docker_id.as_deref().unwrap_or_default(),
        name: &shown.name,
        docker_name: &shown.docker_name,
        image: &shown.image,
        image_id: seen.and_then(|seen| seen.image_id.clone()).unwrap_or_default(),
        ports: shown
            .bindings
            .iter()
            .map(|binding| PortMetadata {
                container_port: binding.container_port,
                protocol: binding.protocol.to_string(),
                host_port: binding.host_port,
                host_ip: v4.then_some(binding.bind_ip.as_str()),
            })
            .collect(),
        labels: container_labels(task, shown, definition),
        desired_status: task.desired_status(),
        known_status: shown.known.word(),
        exit_code: shown.exit_code.filter(|_| ended),
        limits: container_limits(task, shown, definition),
        created_at: seen.and_then(|seen| seen.created_at).map(time),
        started_at: shown.started_at.map(time),
        finished_at: shown.finished_at.filter(|_| ended).map(time),
        r#type: "NORMAL",
        health: shown.health.map(|health| HealthMetadata { status: health }),
        restart_count: shown.restarts.filter(|_| v4),
        volumes: seen
            .into_iter()
            .flat_map(|seen| &seen.mounts)
            .map(|mount| VolumeMetadata {
                docker_name: &mount.volume,
                source: source(task, &mount.source),
                destination: &mount.target,
            })
            .collect(),
        log_driver: log.map(|log| log.log_driver.as_str()),
        log_options: definition.filter(|_| v4).map(|of| log_options(task, of)).unwrap_or_default(),
        container_arn: container_arn(task, index, around).filter(|_| v4),
        networks: network(task, seen).into_iter().collect(),
    }
}

/// As the definition says it.
fn source<'a>(task: &ShownTask, seen: &'a str) -> Cow<'a, str> {
    let spec = task.intent.as_ref().map(|intent| &intent.definition.spec);
    let said = spec.and_then(|spec| volumes::source_of_place(spec, task.key, seen));
    said.map_or(Cow::Borrowed(seen), Cow::Owned)
}

fn definition(task: &ShownTask, index: usize) -> Option<&ContainerDefinition> {
    task.intent.as_ref()?.definition.spec.container_definitions.get(index)
}

fn task_limits(task: &ShownTask) -> Option<TaskLimitsMetadata> {
    let limits = TaskLimits::of(task.intent.as_ref()?).ok()?;
    let cpu = limits.cpu_units.map(|units| f64::from(units) / CPU_UNITS_PER_VCPU);
    let memory = limits.memory_mib;
    (cpu.is_some() || memory.is_some()).then_some(TaskLimitsMetadata { cpu, memory })
}

fn container_limits(
    task: &ShownTask,
    shown: &ShownContainer,
    definition: Option<&ContainerDefinition>,
) -> ContainerLimitsMetadata {
    let (Some(definition), Some(intent)) = (definition, &task.intent) else {
        return ContainerLimitsMetadata::default();
    };
    let none = ContainerOverride::default();
    let overrides = intent.order.overrides.container(&shown.name).unwrap_or(&none);
    ContainerLimitsMetadata {
        cpu: overrides.cpu.unwrap_or(definition.cpu),
        memory: overrides.memory.or(definition.memory).unwrap_or_default(),
    }
}

/// The definition's own and ECS's.
fn container_labels(
    task: &ShownTask,
    shown: &ShownContainer,
    definition: Option<&ContainerDefinition>,
) -> BTreeMap<String, String> {
    let mut labels = definition.map(|of| of.docker_labels.clone()).unwrap_or_default();
    labels.extend(labels::of_ecs(
        &task.cluster,
        &task.arn,
        &shown.name,
        &task.family,
        task.revision,
    ));
    labels
}

/// With the stream that the lines of an `awslogs` container go to.
fn log_options<'a>(
    task: &ShownTask,
    definition: &'a ContainerDefinition,
) -> BTreeMap<&'a str, String> {
    let Some(log) = &definition.log_configuration else { return BTreeMap::new() };
    let given = log.options.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let mut options: BTreeMap<&str, String> = given.collect();
    if let Some(stream) = awslogs::stream(definition, task.key) {
        options.remove("awslogs-stream-prefix");
        options.insert("awslogs-stream", stream);
    }
    options
}

fn container_arn(task: &ShownTask, index: usize, around: &Surroundings) -> Option<String> {
    let id = task.intent.as_ref()?.order.container_ids.get(index)?.0;
    let Surroundings { region, account, .. } = around.clone();
    let identity = Identity { region, account };
    Some(identity.container(&task.cluster, task.key.task, id.value()))
}

fn network(task: &ShownTask, seen: Option<&InspectedContainer>) -> Option<NetworkMetadata> {
    let mode = task.intent.as_ref().map(|intent| intent.definition.spec.network_mode())?;
    let addresses = |wanted: fn(&std::net::IpAddr) -> bool| {
        let all = seen.map(|seen| &seen.addresses[..]).unwrap_or_default();
        all.iter().filter(|address| wanted(address)).map(ToString::to_string).collect::<Vec<_>>()
    };
    let mode = match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Awsvpc => "awsvpc",
    };
    Some(NetworkMetadata {
        mode,
        ipv4: addresses(std::net::IpAddr::is_ipv4),
        ipv6: addresses(std::net::IpAddr::is_ipv6),
    })
}

fn time(at: Timestamp) -> String {
    at.to_string()
}
