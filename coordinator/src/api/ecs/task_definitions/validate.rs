//! What RegisterTaskDefinition refuses (ecs-behaviour 1.3 and 1.4), as pure functions of the spec.
//!
//! ECS's own sentences where they are known. Never looks at the state: a definition is right or
//! wrong by itself, and what this release's hosts cannot do yet is `runnable`'s to say, later.

mod invalid;
mod containers;
mod graph;
mod ports;
mod volumes;

pub(crate) use longshore_common::limits::DEFINITION_BYTES_MAX;
use longshore_common::task_definition::{
    Compatibility, EphemeralStorage, InferenceAccelerator, NetworkMode, ProxyConfiguration,
    RuntimePlatform, TaskDefinitionPlacementConstraint, TaskSpec,
};
use longshore_core::{decide::PLACEMENT_CONSTRAINTS_MAX, query::Expression};

use self::invalid::refuse;
pub(crate) use self::invalid::{Invalid, NAME_CHARS_MAX, check_name};
use super::{compatibilities, sizes};

pub(crate) use containers::{check_environment_file, check_overridden_requirement, check_variable};

/// Maximum number of containers in one definition (ecs-behaviour 1.3, limits).
pub(crate) const CONTAINERS_MAX: usize = 10;
/// Minimum and maximum `ephemeralStorage` in GiB (the member's documentation).
pub(crate) const EPHEMERAL_STORAGE_GIB: std::ops::RangeInclusive<u32> = 21..=200;

/// Refuses with the first thing that is wrong. `spec` has its defaults already.
pub(crate) fn check(family: &str, spec: &TaskSpec) -> Result<(), Invalid> {
    check_family(family)?;
    check_size(spec)?;
    if spec.container_definitions.is_empty() {
        return refuse("Container list cannot be empty.");
    }
    if spec.container_definitions.len() > CONTAINERS_MAX {
        return refuse(format!(
            "Too many containers: {} given, at most {CONTAINERS_MAX} are allowed.",
            spec.container_definitions.len()
        ));
    }
    check_task_size(spec)?;
    volumes::check(&spec.volumes)?;
    for container in &spec.container_definitions {
        containers::check(spec, container)?;
    }
    if !spec.container_definitions.iter().any(|container| container.is_essential()) {
        return refuse("At least one container of the task definition must be essential.");
    }
    check_sums(spec)?;
    ports::check(spec)?;
    graph::check(spec)?;
    containers::check_log_routing(spec)?;
    check_constraints(&spec.placement_constraints)?;
    check_modes(spec)?;
    if let Some(proxy) = &spec.proxy_configuration {
        check_proxy(spec, proxy)?;
    }
    check_accelerators(&spec.inference_accelerators)?;
    if let Some(EphemeralStorage { size_in_gib }) = spec.ephemeral_storage
        && !EPHEMERAL_STORAGE_GIB.contains(&size_in_gib)
    {
        return refuse(format!(
            "ephemeralStorage.sizeInGiB is {size_in_gib}; it must be between 21 and 200."
        ));
    }
    if let Some(platform) = &spec.runtime_platform {
        check_platform(platform)?;
    }
    for required in &spec.requires_compatibilities {
        if let Some(reason) = compatibilities::obstacle(spec, *required) {
            return refuse(reason);
        }
    }
    Ok(())
}

fn check_family(family: &str) -> Result<(), Invalid> {
    check_name("Family", family)
}

fn check_size(spec: &TaskSpec) -> Result<(), Invalid> {
    let bytes = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
    if bytes > DEFINITION_BYTES_MAX {
        return refuse(format!(
            "Actual length: '{bytes}'. Max allowed length is '{DEFINITION_BYTES_MAX}' bytes."
        ));
    }
    Ok(())
}

fn check_task_size(spec: &TaskSpec) -> Result<(), Invalid> {
    if let Some(cpu) = &spec.cpu {
        let units = sizes::cpu_units(cpu);
        if !units.is_some_and(|u| (sizes::TASK_CPU_MIN..=sizes::TASK_CPU_MAX).contains(&u)) {
            return refuse(format!(
                "Invalid 'cpu' setting for task: `{cpu}`. Give CPU units between {} and {} or \
                 virtual CPUs, `1024` or `1 vCPU` for example.",
                sizes::TASK_CPU_MIN,
                sizes::TASK_CPU_MAX
            ));
        }
    }
    if let Some(memory) = &spec.memory {
        let mib = sizes::memory_mib(memory);
        if mib.is_none_or(|mib| mib < sizes::CONTAINER_MEMORY_MIN) {
            return refuse(format!(
                "Invalid 'memory' setting for task: `{memory}`. Give at least {} MiB as a number \
                 or gigabytes, `512` or `1GB` for example.",
                sizes::CONTAINER_MEMORY_MIN
            ));
        }
    }
    Ok(())
}

/// What the containers reserve together must fit in what the task asks for.
fn check_sums(spec: &TaskSpec) -> Result<(), Invalid> {
    let containers = &spec.container_definitions;
    if let Some(cpu) = spec.cpu.as_deref().and_then(sizes::cpu_units) {
        let sum: u64 = containers.iter().map(|c| u64::from(c.cpu)).sum();
        if sum > u64::from(cpu) {
            return refuse(format!(
                "The total of the containers' 'cpu' is {sum}, which is more than the task's {cpu}."
            ));
        }
    }
    if let Some(memory) = spec.memory.as_deref().and_then(sizes::memory_mib) {
        let sum: u64 = containers.iter().filter_map(|c| c.memory_reservation).map(u64::from).sum();
        if sum > u64::from(memory) {
            return refuse(format!(
                "The total of the containers' 'memoryReservation' is {sum} MiB, which is more \
                 than the task's {memory} MiB."
            ));
        }
        if let Some(large) = containers.iter().find(|c| c.memory.is_some_and(|m| m > memory)) {
            return refuse(format!(
                "Invalid setting for container '{}'. Its 'memory' is more than the task's {memory} \
                 MiB.",
                large.name
            ));
        }
    }
    Ok(())
}

fn check_constraints(constraints: &[TaskDefinitionPlacementConstraint]) -> Result<(), Invalid> {
    if constraints.len() > PLACEMENT_CONSTRAINTS_MAX {
        return refuse(format!(
            "Too many placement constraints: {} given, at most {PLACEMENT_CONSTRAINTS_MAX} are \
             allowed.",
            constraints.len()
        ));
    }
    for constraint in constraints {
        if constraint.kind.is_none() {
            return refuse("placementConstraints.type should not be null or empty.");
        }
        let expression = constraint.expression.as_deref().unwrap_or_default();
        if expression.is_empty() {
            return refuse(
                "placementConstraints.expression should not be null or empty: `memberOf` needs one.",
            );
        }
        if let Err(error) = Expression::parse(expression) {
            return refuse(format!("Invalid expression in placementConstraints: {error}."));
        }
    }
    Ok(())
}

fn check_modes(spec: &TaskSpec) -> Result<(), Invalid> {
    let mode = spec.network_mode();
    if spec.enable_fault_injection == Some(true)
        && !matches!(mode, NetworkMode::Awsvpc | NetworkMode::Host)
    {
        return refuse(
            "enableFaultInjection is only supported with the awsvpc and host network modes.",
        );
    }
    if spec.trusted_execution_configuration.is_some()
        && !spec.requires_compatibilities.contains(&Compatibility::ManagedInstances)
    {
        return refuse(
            "trustedExecutionConfiguration is only supported when requiresCompatibilities names \
             MANAGED_INSTANCES.",
        );
    }
    Ok(())
}

fn check_proxy(spec: &TaskSpec, proxy: &ProxyConfiguration) -> Result<(), Invalid> {
    if spec.network_mode() != NetworkMode::Awsvpc {
        return refuse("proxyConfiguration is only supported when networkMode=awsvpc.");
    }
    if !spec.container_definitions.iter().any(|c| c.name == proxy.container_name) {
        return refuse(format!(
            "proxyConfiguration.containerName `{}` is not a container of the task definition.",
            proxy.container_name
        ));
    }
    if proxy.properties.iter().any(|property| property.name.as_deref().unwrap_or("").is_empty()) {
        return refuse("proxyConfiguration.properties.name should not be null or empty.");
    }
    Ok(())
}

fn check_accelerators(accelerators: &[InferenceAccelerator]) -> Result<(), Invalid> {
    for (index, accelerator) in accelerators.iter().enumerate() {
        if accelerator.device_name.is_empty() || accelerator.device_type.is_empty() {
            return refuse(
                "inferenceAccelerators.deviceName and deviceType should not be null or empty.",
            );
        }
        if accelerators[..index].iter().any(|a| a.device_name == accelerator.device_name) {
            return refuse(format!(
                "inferenceAccelerators.deviceName `{}` is used twice.",
                accelerator.device_name
            ));
        }
    }
    Ok(())
}

/// `runtimePlatform.operatingSystemFamily` (ECS's model, OSFamily).
const OS_FAMILIES: [&str; 10] = [
    "LINUX",
    "WINDOWS_SERVER_2004_CORE",
    "WINDOWS_SERVER_2016_FULL",
    "WINDOWS_SERVER_2019_CORE",
    "WINDOWS_SERVER_2019_FULL",
    "WINDOWS_SERVER_2022_CORE",
    "WINDOWS_SERVER_2022_FULL",
    "WINDOWS_SERVER_2025_CORE",
    "WINDOWS_SERVER_2025_FULL",
    "WINDOWS_SERVER_20H2_CORE",
];

fn check_platform(platform: &RuntimePlatform) -> Result<(), Invalid> {
    if let Some(family) = &platform.operating_system_family
        && !OS_FAMILIES.contains(&family.as_str())
    {
        return refuse(format!(
            "runtimePlatform.operatingSystemFamily `{family}` is not known. Valid values: {}.",
            OS_FAMILIES.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
