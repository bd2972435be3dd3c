//! `linuxParameters`, ulimits, kernel settings and security options in Docker's terms
//! (ecs-behaviour 1.3).

use std::collections::BTreeMap;

use longshore_common::task_definition::{
    ContainerDefinition, Device, DevicePermission, IpcMode, PidMode, Tmpfs,
};

use crate::{
    engine::plan::{namespaces::joined, task_limits::MIB},
    runtime::{DeviceMapping, IpcNamespace, LinuxConfig, PidNamespace},
    task::intent::Intent,
};

/// `memory_bytes` is the container's hard limit, if it has one.
pub(super) fn linux_config(
    intent: &Intent,
    container: &ContainerDefinition,
    memory_bytes: Option<u64>,
) -> LinuxConfig {
    let spec = &intent.definition.spec;
    let (joined_processes, joined_ipc) = joined(intent);
    let given = container.linux_parameters.clone().unwrap_or_default();
    let capabilities = given.capabilities.unwrap_or_default();
    // Docker's limit of swap counts memory in. Without maxSwap, swappiness says nothing
    // (botocore's documentation of LinuxParameters).
    let swap = given.max_swap.map(|mib| memory_bytes.unwrap_or(0) + u64::from(mib) * MIB);
    LinuxConfig {
        capabilities_added: capabilities.add,
        capabilities_dropped: capabilities.drop,
        devices: given.devices.iter().map(device).collect(),
        init: given.init_process_enabled.unwrap_or(false),
        shared_memory_bytes: given.shared_memory_size.map(|mib| u64::from(mib) * MIB),
        tmpfs: given.tmpfs.iter().map(tmpfs).collect(),
        memory_and_swap_bytes: swap,
        swappiness: given.swappiness.filter(|_| given.max_swap.is_some()),
        ulimits: container.ulimits.clone(),
        kernel_settings: kernel_settings(container),
        security_options: container.docker_security_options.iter().map(|o| option(o)).collect(),
        processes: match spec.pid_mode {
            Some(PidMode::Host) => PidNamespace::Host,
            Some(PidMode::Task) | None => joined_processes.unwrap_or_default(),
        },
        ipc: match spec.ipc_mode {
            Some(IpcMode::Host) => IpcNamespace::Host,
            Some(IpcMode::None) => IpcNamespace::None,
            Some(IpcMode::Task) | None => joined_ipc.unwrap_or_default(),
        },
    }
}

fn device(device: &Device) -> DeviceMapping {
    let letter = |permission: &DevicePermission| match permission {
        DevicePermission::Read => 'r',
        DevicePermission::Write => 'w',
        DevicePermission::Mknod => 'm',
    };
    let permissions: String = device.permissions.iter().map(letter).collect();
    DeviceMapping {
        host_path: device.host_path.clone(),
        container_path: device.container_path.clone().unwrap_or_else(|| device.host_path.clone()),
        // All three when none is given.
        permissions: if permissions.is_empty() { "rwm".to_owned() } else { permissions },
    }
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    let size = format!("size={}m", tmpfs.size);
    let options = [size].into_iter().chain(tmpfs.mount_options.iter().cloned());
    (tmpfs.container_path.clone(), options.collect::<Vec<_>>().join(","))
}

/// Kernel settings that belong to the IPC namespace (ECS's documentation of SystemControl).
pub(in crate::engine::plan) fn is_of_ipc(setting: &str) -> bool {
    let names = ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"];
    let begins = ["kernel.shm", "fs.mqueue."];
    names.contains(&setting) || begins.iter().any(|begin| setting.starts_with(begin))
}

pub(in crate::engine::plan) fn kernel_settings(
    container: &ContainerDefinition,
) -> BTreeMap<String, String> {
    let settings = container.system_controls.iter();
    settings
        .filter_map(|setting| Some((setting.namespace.clone()?, setting.value.clone()?)))
        .collect()
}

/// ECS writes `apparmor:PROFILE`, Docker `apparmor=PROFILE`.
fn option(option: &str) -> String {
    option.replacen(':', "=", 1)
}
