//! RegisterContainerInstance: a host without an agent, for schedulers and tools of one's own.
//!
//! Its `agentConnected` is false, so nothing is placed there, until an agent with this identity is
//! polled.

use longshore_common::{
    protocol::{Attribute, Versions},
    resources::{Capacity, CpuUnits, DEFAULT_RESERVED_PORTS, HostPort, MemoryMib, Transport},
};
use longshore_core::command::{Command, HostCommand, RegisterContainerInstance};
use serde::Deserialize;

use super::{ContainerInstanceOutput, no_such_instance, submit_and_show};
use crate::{
    api::ecs::{
        attributes::{self, AttributeInput},
        identifiers,
        tags::{self, TagInput},
    },
    edge::{context::Api, error::ApiError},
};

/// Attributes for what a document says: in which zone an instance is, of which type, from which image.
const AVAILABILITY_ZONE: &str = "ecs.availability-zone";
const INSTANCE_TYPE: &str = "ecs.instance-type";
const IMAGE: &str = "ecs.ami-id";
/// Maximum number of reserved ports of one instance (ecs-behaviour 1.3, portMappings).
const RESERVED_PORTS_MAX: usize = 100;
/// Maximum number of GPUs of one instance (ours): far above what a machine holds; its agent names
/// no more.
const GPUS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisterContainerInstanceInput {
    cluster: Option<String>,
    instance_identity_document: Option<String>,
    instance_identity_document_signature: Option<String>,
    #[serde(default)]
    total_resources: Vec<ResourceInput>,
    version_info: Option<VersionInfoInput>,
    container_instance_arn: Option<String>,
    #[serde(default)]
    attributes: Vec<AttributeInput>,
    #[serde(default)]
    platform_devices: Vec<PlatformDevice>,
    #[serde(default)]
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceInput {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    double_value: Option<f64>,
    long_value: Option<i64>,
    integer_value: Option<i32>,
    string_set_value: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfoInput {
    agent_version: Option<String>,
    agent_hash: Option<String>,
    docker_version: Option<String>,
}

#[derive(Deserialize)]
struct PlatformDevice {
    id: String,
    #[serde(rename = "type")]
    kind: PlatformDeviceType,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum PlatformDeviceType {
    Gpu,
    NeuronDevice,
}

/// The members of EC2's document that concern us. Whoever calls has signed the request, so the
/// document's own signature has nothing to add.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityDocument {
    instance_id: Option<String>,
    availability_zone: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
}

pub(crate) async fn register(
    api: &Api,
    input: RegisterContainerInstanceInput,
) -> Result<ContainerInstanceOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let given = input.container_instance_arn.filter(|arn| !arn.is_empty());
    let host = match given {
        None => None,
        Some(given) => {
            let host = identifiers::container_instance(&api.identity, &cluster, &given)?;
            Some(host.ok_or_else(|| no_such_instance(&given, &cluster))?)
        }
    };
    let document = parse_document(
        input.instance_identity_document.as_deref(),
        input.instance_identity_document_signature.as_deref(),
    )?;
    let versions = input.version_info.unwrap_or_default();
    let tags = tags::parse(input.tags)?;
    let command = Command::Host(HostCommand::RegisterContainerInstance(Box::new(
        RegisterContainerInstance {
            cluster,
            host,
            capacity: Capacity {
                gpus: parse_devices(input.platform_devices)?,
                ..parse_resources(&input.total_resources)?
            },
            attributes: parse_attributes(&input.attributes, &document)?,
            versions: Versions {
                agent: versions.agent_version.unwrap_or_default(),
                agent_hash: versions.agent_hash.unwrap_or_default(),
                docker: versions.docker_version,
            },
            instance_id: document.instance_id,
            tags,
        },
    )));
    submit_and_show(api, command).await
}

fn parse_document(
    document: Option<&str>,
    signature: Option<&str>,
) -> Result<IdentityDocument, ApiError> {
    let Some(document) = document.filter(|document| !document.is_empty()) else {
        if signature.is_some_and(|signature| !signature.is_empty()) {
            return Err(ApiError::invalid_parameter(
                "instanceIdentityDocumentSignature is given without instanceIdentityDocument.",
            ));
        }
        return Ok(IdentityDocument::default());
    };
    let read: IdentityDocument = serde_json::from_str(document).map_err(|error| {
        ApiError::invalid_parameter(format!(
            "instanceIdentityDocument is not the JSON document that EC2 gives an instance: {error}."
        ))
    })?;
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(IdentityDocument {
        instance_id: said(read.instance_id),
        availability_zone: said(read.availability_zone),
        instance_type: said(read.instance_type),
        image_id: said(read.image_id),
    })
}

/// Ids of the GPUs, in their order.
fn parse_devices(given: Vec<PlatformDevice>) -> Result<Box<[String]>, ApiError> {
    let mut gpus: Vec<String> = Vec::new();
    for PlatformDevice { id, kind } in given {
        let wrong = match kind {
            PlatformDeviceType::NeuronDevice => {
                "is a Neuron device, which this release of Longshore does not assign to tasks"
            }
            PlatformDeviceType::Gpu if id.is_empty() => "has no id",
            PlatformDeviceType::Gpu if gpus.contains(&id) => "is given twice",
            PlatformDeviceType::Gpu => {
                gpus.push(id);
                continue;
            }
        };
        return Err(ApiError::invalid_parameter(format!(
            "platformDevices: `{id}` {wrong}. Leave it out."
        )));
    }
    if gpus.len() > GPUS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "platformDevices names {} GPUs; at most {GPUS_MAX} can be.",
            gpus.len()
        )));
    }
    Ok(gpus.into())
}

fn parse_resources(given: &[ResourceInput]) -> Result<Capacity, ApiError> {
    let mut capacity = Capacity::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut ports: Vec<HostPort> = Vec::new();
    for resource in given {
        let name = resource.name.as_deref().unwrap_or_default();
        if seen.contains(&name) {
            return Err(ApiError::invalid_parameter(format!("totalResources names {name} twice.")));
        }
        seen.push(name);
        match name {
            "CPU" => capacity.cpu = CpuUnits(amount(name, resource)?),
            "MEMORY" => capacity.memory = MemoryMib(amount(name, resource)?),
            "PORTS" => ports.extend(reserved(name, Transport::Tcp, resource)?),
            "PORTS_UDP" => ports.extend(reserved(name, Transport::Udp, resource)?),
            other => {
                return Err(ApiError::invalid_parameter(format!(
                    "totalResources names `{other}`, which is not known. Valid names: CPU, MEMORY, \
                     PORTS, PORTS_UDP."
                )));
            }
        }
    }
    for required in ["CPU", "MEMORY"] {
        if !seen.contains(&required) {
            return Err(ApiError::invalid_parameter(format!(
                "totalResources has no {required}: give what the instance offers, as \
                 {{\"name\": \"{required}\", \"type\": \"INTEGER\", \"integerValue\": 2048}}."
            )));
        }
    }
    if !seen.contains(&"PORTS") {
        let port = |port| HostPort { transport: Transport::Tcp, port };
        ports.extend(DEFAULT_RESERVED_PORTS.map(port));
    }
    if ports.len() > RESERVED_PORTS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "totalResources reserves {} ports; at most {RESERVED_PORTS_MAX} can be.",
            ports.len()
        )));
    }
    ports.sort();
    ports.dedup();
    capacity.reserved_ports = ports.into();
    Ok(capacity)
}

/// The value of CPU or MEMORY: an integer, not negative.
fn amount(name: &str, resource: &ResourceInput) -> Result<u32, ApiError> {
    let value = resource.integer_value.and_then(|value| u32::try_from(value).ok());
    let others = resource.long_value.is_some_and(|value| value != 0)
        || resource.double_value.is_some_and(|value| value != 0.0)
        || resource.string_set_value.as_ref().is_some_and(|values| !values.is_empty());
    match value {
        Some(value) if resource.kind.as_deref() == Some("INTEGER") && !others => Ok(value),
        _ => Err(ApiError::invalid_parameter(format!(
            "The resource {name} of totalResources must have the type INTEGER and an integerValue \
             of 0 or more, and no other value."
        ))),
    }
}

fn reserved(
    name: &str,
    transport: Transport,
    resource: &ResourceInput,
) -> Result<Vec<HostPort>, ApiError> {
    let wrong = || {
        ApiError::invalid_parameter(format!(
            "The resource {name} of totalResources must have the type STRINGSET and a \
             stringSetValue of ports between 1 and 65535."
        ))
    };
    let values = resource.string_set_value.as_ref().ok_or_else(wrong)?;
    if resource.kind.as_deref() != Some("STRINGSET") {
        return Err(wrong());
    }
    let port = |text: &String| match text.parse() {
        Ok(port) if port > 0 => Ok(HostPort { transport, port }),
        Ok(_) | Err(_) => Err(wrong()),
    };
    values.iter().map(port).collect()
}

fn parse_attributes(
    given: &[AttributeInput],
    document: &IdentityDocument,
) -> Result<Vec<Attribute>, ApiError> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for input in given {
        let attribute = attributes::parse(input)?;
        if input.target_id.is_some() {
            return Err(ApiError::invalid_parameter(format!(
                "The attribute `{}` has a targetId, and the instance that it is for is the one \
                 being registered: leave it out.",
                attribute.name
            )));
        }
        if attributes.iter().any(|other| other.name == attribute.name) {
            return Err(ApiError::invalid_parameter(format!(
                "The attribute `{}` is given twice.",
                attribute.name
            )));
        }
        attributes.push(attribute);
    }
    for (name, value) in [
        (AVAILABILITY_ZONE, &document.availability_zone),
        (INSTANCE_TYPE, &document.instance_type),
        (IMAGE, &document.image_id),
    ] {
        if value.is_some() && !attributes.iter().any(|attribute| attribute.name == name) {
            attributes.push(Attribute { name: name.to_owned(), value: value.clone() });
        }
    }
    attributes.sort();
    Ok(attributes)
}
