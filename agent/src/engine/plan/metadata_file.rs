//! The file in which a container reads of itself (`ECS_ENABLE_CONTAINER_METADATA`; ECS's
//! documentation of the container metadata file).
//!
//! Owns where it is and what is in it. What is known beforehand is there when the container starts,
//! the rest once it runs: then `MetadataFileStatus` is `READY`. Never: a write of its own.

use std::path::PathBuf;

use longshore_common::{protocol::NetworkBinding, task_definition::NetworkMode};
use serde::Serialize;

use crate::{
    preparation::needs::{FileContents, NeededDirectory, NeededFile, Needs, SEARCHABLE},
    runtime::{Bind, BindSource, ContainerDetails},
    task::{
        intent::Intent,
        names::{engine_name, task_directory},
        rules::Rules,
    },
};

pub(crate) const VARIABLE: &str = "ECS_CONTAINER_METADATA_FILE";
const FILE: &str = "ecs-container-metadata.json";
/// Among a task's files: a directory for each container.
const FOLDER: &str = "metadata";
const MOUNTED_BELOW: &str = "/opt/ecs/metadata";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetadataDocument<'a> {
    cluster: &'a str,
    #[serde(rename = "ContainerInstanceARN")]
    container_instance_arn: &'a str,
    #[serde(rename = "TaskARN")]
    task_arn: &'a str,
    task_definition_family: &'a str,
    task_definition_revision: String,
    container_name: &'a str,
    docker_container_name: String,
    image_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<&'a str>,
    #[serde(rename = "HostPrivateIPv4Address", skip_serializing_if = "Option::is_none")]
    host_address: Option<&'a str>,
    #[serde(flatten)]
    running: Option<Running<'a>>,
}

/// What only the engine can tell.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Running<'a> {
    #[serde(rename = "ContainerID")]
    container_id: &'a str,
    #[serde(rename = "ImageID", skip_serializing_if = "Option::is_none")]
    image_id: Option<&'a str>,
    port_mappings: Vec<PortEntry>,
    networks: [NetworkEntry; 1],
    metadata_file_status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PortEntry {
    container_port: u16,
    host_port: u16,
    bind_ip: String,
    protocol: String,
}

#[derive(Serialize)]
struct NetworkEntry {
    #[serde(rename = "NetworkMode")]
    mode: &'static str,
    #[serde(rename = "IPv4Addresses")]
    addresses: Vec<String>,
}

/// Whether there are such files at all.
pub(crate) fn are_written(rules: &Rules) -> bool {
    rules.metadata_files.is_some()
}

/// On the host.
pub(crate) fn path(intent: &Intent, index: usize, rules: &Rules) -> PathBuf {
    directory(intent, index, rules).join(FILE)
}

fn directory(intent: &Intent, index: usize, rules: &Rules) -> PathBuf {
    let name = &intent.definition.spec.container_definitions[index].name;
    task_directory(intent.key, rules).join(FOLDER).join(name)
}

/// In the container: a name of its own, as ECS gives each one, and the same at each attempt.
fn mounted_at(intent: &Intent, index: usize) -> String {
    let name = &intent.definition.spec.container_definitions[index].name;
    let engine_name = engine_name(intent, name);
    let own = engine_name.rsplit('-').next().unwrap_or_default();
    format!("{MOUNTED_BELOW}/{own}")
}

/// The variable that names the file to the container.
pub(super) fn variable(intent: &Intent, index: usize, rules: &Rules) -> Option<(String, String)> {
    let value = format!("{}/{FILE}", mounted_at(intent, index));
    are_written(rules).then(|| (VARIABLE.to_owned(), value))
}

/// The directory is mounted, not the file: what is written later is seen too.
pub(super) fn bind(intent: &Intent, index: usize, rules: &Rules) -> Option<Bind> {
    are_written(rules).then(|| Bind {
        source: directory(intent, index, rules).display().to_string(),
        target: mounted_at(intent, index),
        read_only: true,
        from: BindSource::Agent,
    })
}

/// `Err` never comes of a definition that was read.
pub(super) fn needs(
    intent: &Intent,
    index: usize,
    rules: &Rules,
    needs: &mut Needs,
) -> Result<(), String> {
    if let Some(text) = text(intent, index, rules, None)? {
        let path = directory(intent, index, rules);
        needs.directories.push(NeededDirectory { path, mode: SEARCHABLE });
        let path = self::path(intent, index, rules);
        needs.files.push(NeededFile { path, contents: FileContents::Text(text) });
    }
    Ok(())
}

/// What the file is to hold; nothing where there are none. `details` once the container runs.
pub(crate) fn text(
    intent: &Intent,
    index: usize,
    rules: &Rules,
    details: Option<&ContainerDetails>,
) -> Result<Option<String>, String> {
    let Some(host) = &rules.metadata_files else { return Ok(None) };
    let definition = &intent.definition;
    let container = &definition.spec.container_definitions[index];
    let metadata = MetadataDocument {
        cluster: &intent.order.cluster,
        container_instance_arn: &host.container_instance_arn,
        task_arn: &intent.order.task_arn,
        task_definition_family: &definition.family,
        task_definition_revision: definition.revision.to_string(),
        container_name: &container.name,
        docker_container_name: format!("/{}", engine_name(intent, &container.name)),
        image_name: container.image.as_deref().unwrap_or_default(),
        availability_zone: host.availability_zone.as_deref(),
        host_address: host.host_address.as_deref(),
        running: details.map(|details| running(definition.spec.network_mode(), details)),
    };
    let text = serde_json::to_string_pretty(&metadata);
    text.map(Some).map_err(|error| format!("its metadata file: {error}"))
}

fn running(mode: NetworkMode, details: &ContainerDetails) -> Running<'_> {
    let port = |binding: &'_ NetworkBinding| PortEntry {
        container_port: binding.container_port,
        host_port: binding.host_port,
        bind_ip: binding.bind_ip.clone(),
        protocol: binding.protocol.to_string(),
    };
    let ports = details.bindings.iter().map(port);
    let ipv4 = details.addresses.iter().filter(|address| address.is_ipv4());
    let mode = match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Awsvpc => "awsvpc",
    };
    Running {
        container_id: &details.id,
        image_id: details.image_id.as_deref(),
        port_mappings: ports.collect(),
        networks: [NetworkEntry { mode, addresses: ipv4.map(ToString::to_string).collect() }],
        metadata_file_status: "READY",
    }
}

#[cfg(test)]
mod tests;
