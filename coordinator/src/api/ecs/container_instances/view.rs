//! A container instance as ECS shows it.

use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    id::HostId,
    protocol::{Attribute, EngineHealth, StorageHealth, Versions},
    resources::{Capacity, HostPort, Transport},
};
use longshore_core::{
    model::{host::HostStatus, name::ClusterName, tags::Tags},
    placement::Remaining,
    state::{Host, State},
};
use serde::{Deserialize, Serialize};

use crate::api::ecs::{
    attributes::AttributeView,
    tags::{self, TagView},
};

const OK: &str = "OK";
const IMPAIRED: &str = "IMPAIRED";

/// What of an instance is shown, taken out of the state.
pub(crate) struct InstanceSnapshot {
    id: HostId,
    cluster: ClusterName,
    status: HostStatus,
    version: u64,
    versions: Versions,
    provider: Option<String>,
    instance_id: Option<String>,
    connected: bool,
    engine: EngineHealth,
    engine_at: Timestamp,
    storage: StorageHealth,
    storage_at: Timestamp,
    running_tasks: u32,
    pending_tasks: u32,
    capacity: Capacity,
    remaining: Remaining,
    free_gpus: Vec<String>,
    attributes: Vec<Attribute>,
    registered_at: Timestamp,
    tags: Tags,
}

/// What DescribeContainerInstances adds where it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ContainerInstanceField {
    Tags,
    ContainerInstanceHealth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerInstanceView {
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_provider_name: Option<String>,
    container_instance_arn: String,
    #[serde(rename = "ec2InstanceId", skip_serializing_if = "Option::is_none")]
    ec2_instance_id: Option<String>,
    version: u64,
    version_info: VersionInfo,
    remaining_resources: Vec<ResourceView>,
    registered_resources: Vec<ResourceView>,
    status: &'static str,
    agent_connected: bool,
    running_tasks_count: u32,
    pending_tasks_count: u32,
    attributes: Vec<AttributeView>,
    registered_at: f64,
    attachments: [String; 0],
    tags: Vec<TagView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_status: Option<HealthView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    agent_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    agent_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_version: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceView {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    double_value: f64,
    long_value: i64,
    integer_value: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    string_set_value: Option<Vec<String>>,
}

/// What is known of the host's container engine and disks, and nothing of a host that is not heard.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthView {
    overall_status: &'static str,
    details: Vec<HealthCheckView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthCheckView {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'static str>,
    last_updated: f64,
    last_status_change: f64,
}

impl HealthView {
    fn of(shown: &InstanceSnapshot) -> Self {
        let engine = if shown.connected { shown.engine } else { EngineHealth::Unknown };
        let lacks = if shown.connected { lacks(shown.storage) } else { None };
        let of_engine = match engine {
            EngineHealth::Answers => OK,
            EngineHealth::Silent => IMPAIRED,
            EngineHealth::Unknown => "INSUFFICIENT_DATA",
        };
        let runtime = (engine != EngineHealth::Unknown)
            .then(|| HealthCheckView::new("CONTAINER_RUNTIME", of_engine, None, shown.engine_at));
        // Of ECS's kinds the one for what the host's own daemons, here the agent, need.
        let storage =
            lacks.map(|why| HealthCheckView::new("DAEMON", IMPAIRED, Some(why), shown.storage_at));
        HealthView {
            overall_status: if storage.is_some() { IMPAIRED } else { of_engine },
            details: runtime.into_iter().chain(storage).collect(),
        }
    }
}

/// Why the host takes no task, and what to do.
fn lacks(storage: StorageHealth) -> Option<&'static str> {
    match storage {
        StorageHealth::Unknown | StorageHealth::Ready => None,
        StorageHealth::Full => Some(
            "The disks have no room for new tasks. The agent's /healthz and log say on which file system: \
             remove what it need not hold, make it larger, or change disk-refuse-at and disk-floor.",
        ),
        StorageHealth::Unwritable => Some(
            "The agent's ledger cannot be written, so that it takes no task. The agent's log says why: \
             make room on the file system of its data directory, or make that writable.",
        ),
    }
}

impl HealthCheckView {
    fn new(
        kind: &'static str,
        status: &'static str,
        status_reason: Option<&'static str>,
        changed: Timestamp,
    ) -> Self {
        let changed = changed.as_epoch_seconds();
        HealthCheckView {
            kind,
            status,
            status_reason,
            last_updated: changed,
            last_status_change: changed,
        }
    }
}

impl InstanceSnapshot {
    pub(crate) fn of(state: &State, host: &Host) -> Self {
        let cluster = state.cluster_at(host.cluster);
        let remaining = cluster.index.remaining(host.slot).cloned();
        InstanceSnapshot {
            id: host.id,
            cluster: cluster.name.clone(),
            status: host.status,
            version: host.version,
            versions: host.versions.clone(),
            provider: state.provider_of(host).map(|provider| provider.name.to_string()),
            instance_id: host.instance_id.clone(),
            connected: host.connected,
            engine: host.engine,
            engine_at: host.engine_at,
            storage: host.storage,
            storage_at: host.storage_at,
            running_tasks: host.running_tasks,
            pending_tasks: host.pending_tasks,
            capacity: host.capacity.clone(),
            remaining: remaining.unwrap_or_else(|| Remaining {
                cpu: i64::from(host.capacity.cpu.0),
                memory: i64::from(host.capacity.memory.0),
                gpus: host.capacity.gpus.len() as i64,
                ports: host.capacity.reserved_ports.to_vec(),
            }),
            free_gpus: host.free_gpus().cloned().collect(),
            attributes: host.all_attributes().cloned().collect(),
            registered_at: host.registered_at,
            tags: host.tags.clone(),
        }
    }

    pub(crate) fn view(
        &self,
        identity: &Identity,
        include: &[ContainerInstanceField],
    ) -> ContainerInstanceView {
        let asked = |field| include.contains(&field);
        let Versions { agent, agent_hash, docker } = &self.versions;
        ContainerInstanceView {
            capacity_provider_name: self.provider.clone(),
            container_instance_arn: identity.container_instance(self.cluster.as_str(), self.id),
            ec2_instance_id: self.instance_id.clone(),
            version: self.version,
            version_info: VersionInfo {
                agent_version: agent.clone(),
                agent_hash: agent_hash.clone(),
                docker_version: docker.clone(),
            },
            remaining_resources: resources(
                self.remaining.cpu,
                self.remaining.memory,
                &self.remaining.ports,
                (!self.capacity.gpus.is_empty()).then_some(&self.free_gpus),
            ),
            registered_resources: resources(
                i64::from(self.capacity.cpu.0),
                i64::from(self.capacity.memory.0),
                &self.capacity.reserved_ports,
                (!self.capacity.gpus.is_empty()).then_some(&self.capacity.gpus),
            ),
            status: match self.status {
                HostStatus::Active => "ACTIVE",
                HostStatus::Draining => "DRAINING",
                HostStatus::Inactive { .. } => "INACTIVE",
            },
            agent_connected: self.connected,
            running_tasks_count: self.running_tasks,
            pending_tasks_count: self.pending_tasks,
            attributes: self.attributes.iter().map(AttributeView::bare).collect(),
            registered_at: self.registered_at.as_epoch_seconds(),
            attachments: [],
            tags: if asked(ContainerInstanceField::Tags) {
                tags::view(&self.tags)
            } else {
                Vec::new()
            },
            health_status: asked(ContainerInstanceField::ContainerInstanceHealth)
                .then(|| HealthView::of(self)),
        }
    }
}

/// Resources in ECS's order. For ports, those that are taken; GPUs only of a host that has some.
fn resources(
    cpu: i64,
    memory: i64,
    ports: &[HostPort],
    gpus: Option<&[String]>,
) -> Vec<ResourceView> {
    let taken = |transport| -> Vec<String> {
        let of = ports.iter().filter(|port| port.transport == transport);
        of.map(|port| port.port.to_string()).collect()
    };
    let always = [
        integer("CPU", cpu),
        integer("MEMORY", memory),
        string_set("PORTS", taken(Transport::Tcp)),
        string_set("PORTS_UDP", taken(Transport::Udp)),
    ];
    always.into_iter().chain(gpus.map(|gpus| string_set("GPU", gpus.to_vec()))).collect()
}

fn integer(name: &'static str, integer_value: i64) -> ResourceView {
    ResourceView {
        name,
        kind: "INTEGER",
        double_value: 0.0,
        long_value: 0,
        integer_value,
        string_set_value: None,
    }
}

fn string_set(name: &'static str, values: Vec<String>) -> ResourceView {
    ResourceView {
        name,
        kind: "STRINGSET",
        double_value: 0.0,
        long_value: 0,
        integer_value: 0,
        string_set_value: Some(values),
    }
}
