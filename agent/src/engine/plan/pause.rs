//! The container that holds a task's shared namespaces (`pidMode` and `ipcMode` of `task`).
//!
//! Owns when a task has one and what it is made with. It is made and started before the task's
//! other containers, which join it, and is the last to go. It is the agent's, not the
//! definition's: its index comes after theirs, and no report, metadata or API shows it. Never: a
//! need of the network or of a registry; its image is made here (`crate::pause`).

use super::{
    container_config::{is_of_ipc, kernel_settings},
    task_limits::{MIB, shares, task_group},
};
use crate::{
    engine::plan::{labels::of_pause, namespaces::shares_ipc},
    pause::REFERENCE,
    runtime::{ContainerConfig, IpcNamespace, LinuxConfig, LogTarget, Network},
    task::{intent::Intent, rules::Rules},
};

/// The pause container has no network, no capability, nothing to write to, and writes nothing.
pub(super) fn container_config(intent: &Intent, rules: &Rules) -> ContainerConfig {
    let spec = &intent.definition.spec;
    let ipc = shares_ipc(spec);
    let containers = || spec.container_definitions.iter().filter(|_| ipc);
    // The task's /dev/shm is this container's: it is as large as the largest that was asked for.
    let shared_memory = containers()
        .filter_map(|c| c.linux_parameters.as_ref()?.shared_memory_size)
        .max()
        .map(|mib| u64::from(mib) * MIB);
    // ECS: such settings of any container apply to all of them.
    let settings = containers().flat_map(kernel_settings).filter(|(name, _)| is_of_ipc(name));
    ContainerConfig {
        image: REFERENCE.clone(),
        labels: of_pause(intent, rules),
        cpu_shares: shares(0),
        group: task_group(intent, rules).map(|group| group.name),
        network: Network::None,
        linux: LinuxConfig {
            capabilities_dropped: vec!["ALL".to_owned()],
            security_options: vec!["no-new-privileges".to_owned()],
            shared_memory_bytes: shared_memory,
            kernel_settings: settings.collect(),
            ipc: if ipc { IpcNamespace::Shareable } else { IpcNamespace::EngineDefault },
            ..LinuxConfig::default()
        },
        log: Some(LogTarget { driver: "none".to_owned(), options: Default::default() }),
        readonly_root: true,
        ..ContainerConfig::default()
    }
}

#[cfg(test)]
mod tests;
