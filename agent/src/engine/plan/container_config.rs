//! What one container is made with: its definition, the order's overrides, and ECS's defaults
//! (ecs-behaviour 1.3 and 1.7).

use std::time::Duration;

use longshore_common::{
    gpus,
    image_reference::by_digest,
    resources::Transport,
    task::ContainerOverride,
    task_definition::{
        ContainerDefinition, HealthCheck, KeyValuePair, NetworkMode, PortMapping, TaskSpec,
        VolumeFrom,
    },
};

use super::{
    awslogs, firelens, metadata_file,
    task_limits::{TaskLimits, bytes, shares, task_group},
    volumes::{self, ContainerMounts},
};
use crate::{
    engine::plan::{dependencies::linked, labels::labels},
    preparation::needs::{FileContents, NeededFile, Needs, PortRange},
    runtime::{ContainerConfig, HealthProbe, LogTarget, Network, PublishedPort},
    task::{intent::Intent, key::TaskKey, names::engine_name, rules::Rules},
};

mod linux;
pub(super) use linux::{is_of_ipc, kernel_settings};
#[cfg(test)]
mod tests;

/// What the engine is asked for: the container's image, by its digest once the coordinator says one.
pub(crate) fn image_reference(intent: &Intent, index: usize) -> Option<String> {
    let named = intent.definition.spec.container_definitions[index].image.as_ref()?;
    Some(match intent.order.image_digests.get(index) {
        Some(Some(digest)) => by_digest(named, digest),
        Some(None) | None => named.clone(),
    })
}

/// `Err` names the part of the definition that cannot be carried out.
pub(crate) fn container_config(
    intent: &Intent,
    index: usize,
    rules: &Rules,
) -> Result<ContainerConfig, String> {
    let spec = &intent.definition.spec;
    let container = &spec.container_definitions[index];
    let none = ContainerOverride::default();
    let overrides = intent.order.overrides.container(&container.name).unwrap_or(&none);
    let (task, group) = (TaskLimits::held(intent, rules)?, task_group(intent, rules));
    let mode = spec.network_mode();

    let memory_mib = overrides.memory.or(container.memory).or(task.memory_mib);
    let memory_bytes = memory_mib.map(|mib| bytes(mib.min(task.memory_mib.unwrap_or(u32::MAX))));
    let ContainerMounts { volumes, .. } = volumes::mounts(intent, container, rules)?;
    let mut binds = firelens::binds(intent, container, rules);
    binds.extend(metadata_file::bind(intent, index, rules));
    let gpus = own_gpus(intent, index)?;
    let mut environment = environment(intent.key, spec, container, overrides, &gpus, rules);
    if let Some((name, value)) = metadata_file::variable(intent, index, rules) {
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
    }
    Ok(ContainerConfig {
        image: image_reference(intent, index).ok_or("it names no image")?,
        entry_point: container.entry_point.clone(),
        command: overrides.command.clone().unwrap_or_else(|| container.command.clone()),
        environment,
        environment_defaults: environment_defaults(spec, container, rules),
        gpus,
        gpu_runtime: rules.gpu_runtime.clone(),
        labels: labels(intent, index, rules),
        user: container.user.clone(),
        working_directory: container.working_directory.clone(),
        hostname: container.hostname.clone(),
        cpu_shares: shares(overrides.cpu.unwrap_or(container.cpu)),
        cpu_quota: task.cpu_quota(rules).filter(|_| group.is_none()),
        processes: rules.limits.processes.filter(|_| group.is_none()),
        memory_bytes,
        group: group.map(|group| group.name),
        memory_reservation_bytes: overrides
            .memory_reservation
            .or(container.memory_reservation)
            .map(bytes),
        network: match mode {
            NetworkMode::Bridge => Network::Bridge,
            NetworkMode::Host => Network::Host,
            NetworkMode::None => Network::None,
            NetworkMode::Awsvpc => return Err("network mode awsvpc".to_owned()),
        },
        ports: published_ports(container, mode),
        dynamic_ports: rules.dynamic_ports,
        links: links(intent, container),
        dns_servers: container.dns_servers.clone(),
        dns_search_domains: container.dns_search_domains.clone(),
        extra_hosts: container.extra_hosts.clone(),
        network_disabled: container.disable_networking.unwrap_or(false),
        binds,
        volumes,
        volumes_from: volumes_from(intent, container),
        interactive: container.interactive.unwrap_or(false),
        terminal: container.pseudo_terminal.unwrap_or(false),
        linux: linux::linux_config(intent, container, memory_bytes),
        log: log_target(intent, container, rules),
        health: container.health_check.as_ref().map(health_probe),
        privileged: container.privileged.unwrap_or(false),
        readonly_root: container.readonly_root_filesystem.unwrap_or(false),
    })
}

/// The GPUs of the task that are this container's.
fn own_gpus(intent: &Intent, index: usize) -> Result<Vec<String>, String> {
    let containers = &intent.definition.spec.container_definitions;
    let (overrides, gpus) = (&intent.order.overrides, &intent.order.gpus);
    let asked = gpus::asked(&containers[index], overrides) as usize;
    let own = gpus::shares(containers, overrides, gpus).get(index).copied().unwrap_or_default();
    if own.len() < asked {
        return Err(format!("{asked} GPUs, of which the order names {}", own.len()));
    }
    Ok(own.to_vec())
}

/// What must be there before the container is made. `Err` says what cannot be carried out.
pub(crate) fn needs(intent: &Intent, index: usize, rules: &Rules) -> Result<Needs, String> {
    let spec = &intent.definition.spec;
    let container = &spec.container_definitions[index];
    let overridden = intent.order.overrides.container(&container.name);
    let files = overridden.and_then(|overrides| overrides.environment_files.as_ref());
    let files = files.into_iter().flatten().chain(&container.environment_files);
    let range = |mapping: &PortMapping| {
        let (first, last) = mapping.range()?;
        let transport = mapping.protocol.unwrap_or(Transport::Tcp);
        Some(PortRange { first, last, transport })
    };
    let ranges = container.port_mappings.iter().filter_map(range);
    let mut needs = Needs {
        environment_files: files.map(|file| file.value.clone()).collect(),
        port_ranges: ranges.filter(|_| spec.network_mode() == NetworkMode::Bridge).collect(),
        of_host: volumes::mounts(intent, container, rules)?.of_host,
        directories: Vec::new(),
        files: Vec::new(),
    };
    firelens::needs(intent, container, rules, &mut needs)?;
    metadata_file::needs(intent, index, rules, &mut needs)?;
    let reads_object = |file: &NeededFile| matches!(file.contents, FileContents::Object(_));
    let reads = !needs.environment_files.is_empty() || needs.files.iter().any(reads_object);
    if reads && !rules.has_objects {
        return Err("objects of S3, for which this host's setting s3 names no store".to_owned());
    }
    Ok(needs)
}

fn log_target(
    intent: &Intent,
    container: &ContainerDefinition,
    rules: &Rules,
) -> Option<LogTarget> {
    let mode = intent.order.log_driver_mode;
    awslogs::log_target(container, mode)
        .or_else(|| firelens::log_target(intent, container, rules))
        .or_else(|| Some(awslogs::passed_through(container.log_configuration.as_ref()?, mode)))
}

/// Ports that Docker binds on the host: only bridge mode has any.
pub(crate) fn published_ports(
    container: &ContainerDefinition,
    mode: NetworkMode,
) -> Vec<PublishedPort> {
    if mode != NetworkMode::Bridge {
        return Vec::new();
    }
    let published = |mapping: &PortMapping| {
        let port = mapping.container_port.map(|port| (port, port));
        let (first, last) = mapping.range().or(port)?;
        let (transport, host_port) =
            (mapping.protocol.unwrap_or(Transport::Tcp), mapping.host_port);
        Some((first..=last).map(move |container_port| PublishedPort {
            container_port,
            transport,
            host_port: host_port.filter(|port| *port != 0),
        }))
    };
    container.port_mappings.iter().filter_map(published).flatten().collect()
}

/// Overrides replace by name; ECS's own variables never replace what a container was given.
fn environment(
    task: TaskKey,
    spec: &TaskSpec,
    container: &ContainerDefinition,
    overrides: &ContainerOverride,
    gpus: &[String],
    rules: &Rules,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => entry.1 = value.to_owned(),
        None => all.push((name.to_owned(), value.to_owned())),
    };
    let given = container.environment.iter();
    for KeyValuePair { name, value } in given.chain(overrides.environment.iter().flatten()) {
        set(name, value);
    }
    // NVIDIA's runtime reads this variable. A container of an image that sets `all` must not have all.
    if !gpus.is_empty() {
        set("NVIDIA_VISIBLE_DEVICES", &gpus.join(","));
    }
    set("AWS_EXECUTION_ENV", "AWS_ECS_EC2");
    // Without a network they could not be reached.
    let reached =
        spec.network_mode() != NetworkMode::None && container.disable_networking != Some(true);
    for (name, value) in rules
        .endpoints
        .iter()
        .filter(|_| reached)
        .flat_map(|names| names.variables(task, &container.name))
    {
        set(name, &value);
    }
    all
}

/// What a container finds unless its definition, the call or an environment file says otherwise.
fn environment_defaults(
    spec: &TaskSpec,
    container: &ContainerDefinition,
    rules: &Rules,
) -> Vec<(String, String)> {
    let router = firelens::environment(spec, container).into_iter().flatten();
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].map(|name| (name, rules.region.clone()));
    router.chain(region).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// ECS names containers as the definition does, Docker as we named them.
fn links(intent: &Intent, container: &ContainerDefinition) -> Vec<String> {
    let link = |link: &String| {
        let (name, alias) = linked(link);
        format!("{}:{alias}", engine_name(intent, name))
    };
    let spec = &intent.definition.spec;
    let bridge = spec.network_mode() == NetworkMode::Bridge;
    let router = firelens::router_of(spec, container).filter(|_| bridge);
    container.links.iter().chain(router.map(|router| &router.name)).map(link).collect()
}

fn volumes_from(intent: &Intent, container: &ContainerDefinition) -> Vec<String> {
    let from = |from: &VolumeFrom| {
        let name = engine_name(intent, from.source_container.as_deref().unwrap_or_default());
        if from.read_only == Some(true) { format!("{name}:ro") } else { name }
    };
    container.volumes_from.iter().map(from).collect()
}

fn health_probe(check: &HealthCheck) -> HealthProbe {
    let seconds =
        |given: Option<u32>, default| Duration::from_secs(given.unwrap_or(default).into());
    HealthProbe {
        test: check.command.clone(),
        interval: seconds(check.interval, 30),
        timeout: seconds(check.timeout, 5),
        retries: check.retries.unwrap_or(3),
        start_period: seconds(check.start_period, 0),
    }
}
