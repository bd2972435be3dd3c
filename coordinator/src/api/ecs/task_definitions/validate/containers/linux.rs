//! `linuxParameters` and `systemControls`: what ECS lets through to the kernel.

use longshore_common::task_definition::{
    ContainerDefinition, IpcMode, LinuxParameters, NetworkMode, TaskSpec,
};

use super::super::{Invalid, refuse};

/// KernelCapabilities' documentation.
const CAPABILITIES: [&str; 38] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Tmpfs' documentation. Those with a value are given as `name=value`.
const TMPFS_OPTIONS: [&str; 38] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
];

/// Maximum swappiness (ecs-behaviour 1.3, linuxParameters).
const SWAPPINESS_MAX: u32 = 100;

/// SystemControl's documentation: parameters of the container's own IPC namespace.
const IPC_PARAMETERS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn check(name: &str, parameters: &LinuxParameters) -> Result<(), Invalid> {
    if let Some(capabilities) = &parameters.capabilities {
        for capability in capabilities.add.iter().chain(&capabilities.drop) {
            if !CAPABILITIES.contains(&capability.as_str()) {
                return refuse(format!(
                    "Container '{name}' names the capability `{capability}`, which is not known. \
                     Valid values: {}.",
                    CAPABILITIES.join(", ")
                ));
            }
        }
    }
    if parameters.devices.iter().any(|device| device.host_path.is_empty()) {
        return refuse(format!("Container '{name}' has a device without a hostPath."));
    }
    if parameters.shared_memory_size == Some(0) {
        return refuse(format!(
            "Container '{name}' has the sharedMemorySize 0; give at least 1 MiB."
        ));
    }
    for tmpfs in &parameters.tmpfs {
        if !tmpfs.container_path.starts_with('/') || tmpfs.size == 0 {
            return refuse(format!(
                "Container '{name}' has a tmpfs that needs an absolute containerPath and a size \
                 of at least 1 MiB."
            ));
        }
        for option in &tmpfs.mount_options {
            let key = option.split_once('=').map_or(option.as_str(), |(key, _)| key);
            if !TMPFS_OPTIONS.contains(&key) && key != "mpol" {
                return refuse(format!(
                    "Container '{name}' has the tmpfs mount option `{option}`, which is not known. \
                     Valid values: {}, mpol.",
                    TMPFS_OPTIONS.join(", ")
                ));
            }
        }
    }
    if parameters.swappiness.is_some_and(|swappiness| swappiness > SWAPPINESS_MAX) {
        return refuse(format!(
            "Container '{name}' has a swappiness that is not between 0 and {SWAPPINESS_MAX}."
        ));
    }
    Ok(())
}

pub(super) fn check_system_controls(
    spec: &TaskSpec,
    container: &ContainerDefinition,
) -> Result<(), Invalid> {
    let name = &container.name;
    for control in &container.system_controls {
        let parameter = control.namespace.as_deref().unwrap_or_default();
        if control.value.as_deref().unwrap_or_default().is_empty() {
            return refuse(format!(
                "Container '{name}' has the system control `{parameter}` without a value."
            ));
        }
        let network = parameter.starts_with("net.");
        let ipc = IPC_PARAMETERS.contains(&parameter) || parameter.starts_with("fs.mqueue.");
        if !network && !ipc {
            return refuse(format!(
                "Container '{name}' has the system control `{parameter}`, which is not one of a \
                 container's own namespaces. Valid values: {}, and those that begin with \
                 fs.mqueue. or net.",
                IPC_PARAMETERS.join(", ")
            ));
        }
        if network && spec.network_mode() == NetworkMode::Host {
            return refuse(format!(
                "Container '{name}' has the system control `{parameter}`; network system controls \
                 are not supported when networkMode=host."
            ));
        }
        if ipc && spec.ipc_mode == Some(IpcMode::Host) {
            return refuse(format!(
                "Container '{name}' has the system control `{parameter}`; IPC system controls are \
                 not supported when ipcMode=host."
            ));
        }
    }
    Ok(())
}
