//! Volumes of a task: host paths, and volumes that the container engine keeps (ecs-behaviour 1.4).
//!
//! Owns their names and which of them go with the task. Never: a call; the engine makes a volume
//! with the first container that mounts it.

use std::collections::BTreeMap;

use longshore_common::{
    task_definition::{ContainerDefinition, MountPoint, TaskSpec, Volume, VolumeScope},
    task_policy::bound_path,
};

use super::efs::Efs;
use crate::{
    mounts::protocol::{BindOptions, BindRequest, MountSource, TaskMounts},
    preparation::needs::HostMount,
    runtime::VolumeMount,
    task::{
        intent::Intent,
        key::TaskKey,
        labels::{ECS_TASK_ARN, FLEET, HOST, TASK},
        names::volume_name,
        rules::Rules,
    },
};

/// The mounts of a container: those that the helper makes, and the volumes of Docker.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerMounts {
    /// By the helper, before.
    pub(super) of_host: Vec<HostMount>,
    pub(super) volumes: Vec<VolumeMount>,
}

/// `Err` names the mount that cannot be made, and why.
pub(super) fn mounts(
    intent: &Intent,
    container: &ContainerDefinition,
    rules: &Rules,
) -> Result<ContainerMounts, String> {
    let mut mounts = ContainerMounts::default();
    for mount in &container.mount_points {
        let name = mount.source_volume.as_deref().unwrap_or_default();
        let volumes = &intent.definition.spec.volumes;
        let index = volumes.iter().position(|volume| volume.name == name);
        let index = index.ok_or_else(|| format!("volume `{name}`, which is not defined"))?;
        let volume = &volumes[index];
        let target = mount
            .container_path
            .clone()
            .ok_or_else(|| format!("a mount of volume `{name}` without containerPath"))?;
        if let Some(config) = &volume.efs_volume_configuration {
            match rules.efs.mounted(config)? {
                Efs::Mounted(source) => {
                    rules.efs.check_user(&source, container)?;
                    mounts.of_host.push(host_mount(intent, rules, index, source, target, mount)?);
                }
                Efs::Nfs(options) => {
                    let own = volume_mount(intent, volume, target, mount, rules);
                    mounts.volumes.push(VolumeMount { driver_options: options, ..own });
                }
            }
            continue;
        }
        match host_path(volume) {
            Some(path) => {
                let source = MountSource::Host { path: path.into() };
                mounts.of_host.push(host_mount(intent, rules, index, source, target, mount)?);
            }
            None => mounts.volumes.push(volume_mount(intent, volume, target, mount, rules)),
        }
    }
    Ok(mounts)
}

/// Names of the volumes that are removed with the task.
pub(crate) fn of_task(intent: &Intent) -> Vec<String> {
    let spec = &intent.definition.spec;
    let mounted = |volume: &&Volume| is_mounted(spec, &volume.name);
    let volumes = spec.volumes.iter().filter(|volume| is_task_scoped(volume)).filter(mounted);
    volumes.map(|volume| engine_name(intent, volume)).collect()
}

/// Whether the helper may have mounted something for a task of this.
pub(crate) fn may_mount_of_host(spec: &TaskSpec) -> bool {
    let by_helper =
        |volume: &Volume| host_path(volume).is_some() || volume.efs_volume_configuration.is_some();
    spec.volumes.iter().any(by_helper)
}

fn is_mounted(spec: &TaskSpec, volume: &str) -> bool {
    let mounts = spec.container_definitions.iter().flat_map(|container| &container.mount_points);
    mounts.into_iter().any(|mount| mount.source_volume.as_deref() == Some(volume))
}

/// The host path that a volume binds, also by Docker's driver `local`; none where the volume exists already.
fn host_path(volume: &Volume) -> Option<&str> {
    if let Some(config) = &volume.docker_volume_configuration {
        let is_made =
            config.scope == Some(VolumeScope::Shared) && config.autoprovision != Some(true);
        return bound_path(config).filter(|_| !is_made);
    }
    let path = volume.host.as_ref().and_then(|host| host.source_path.as_deref());
    path.filter(|path| !path.is_empty())
}

fn is_task_scoped(volume: &Volume) -> bool {
    match &volume.docker_volume_configuration {
        Some(config) => config.scope != Some(VolumeScope::Shared) && host_path(volume).is_none(),
        None => host_path(volume).is_none(),
    }
}

/// A shared volume has its own name, which other tasks and `docker volume` know; one of the task
/// is named like its containers.
fn engine_name(intent: &Intent, volume: &Volume) -> String {
    match is_task_scoped(volume) {
        false => volume.name.clone(),
        true => {
            let definition = &intent.definition;
            let (family, revision) = (&definition.family, definition.revision);
            volume_name(family, revision, &volume.name, intent.key)
        }
    }
}

/// What a container's mount is of, where the engine only knows a place of the helper's: a path of the
/// host, or a file system and a directory of it as mount(8) writes them.
pub(crate) fn source_of_place(spec: &TaskSpec, key: TaskKey, place: &str) -> Option<String> {
    let (folder, volume) = place.rsplit_once('/')?;
    let own = TaskMounts::folder_name(key.task, key.generation);
    if folder.rsplit('/').next() != Some(own.as_str()) {
        return None;
    }
    let volume = spec.volumes.get(volume.parse::<usize>().ok()?)?;
    if let Some(config) = &volume.efs_volume_configuration {
        let root = config.root_directory.as_deref().unwrap_or("/");
        return Some(format!("{}:{root}", config.file_system_id));
    }
    host_path(volume).map(str::to_owned)
}

/// Whose the helper's mounts for this task are.
pub(crate) fn owner(key: TaskKey, rules: &Rules) -> TaskMounts {
    TaskMounts { host: rules.host, task: key.task, generation: key.generation }
}

fn host_mount(
    intent: &Intent,
    rules: &Rules,
    index: usize,
    source: MountSource,
    target: String,
    mount: &MountPoint,
) -> Result<HostMount, String> {
    let spec = &intent.definition.spec;
    let volume = u16::try_from(index).map_err(|_| format!("{index} volumes"))?;
    let config = spec.volumes[index].docker_volume_configuration.as_ref();
    let words = config.and_then(|config| config.driver_opts.get("o"));
    let has = |word: &str| words.is_some_and(|words| words.split(',').any(|other| other == word));
    let request = BindRequest {
        task: owner(intent.key, rules),
        volume,
        source,
        devices: spec.container_definitions.iter().any(has_devices),
        options: BindOptions {
            nosuid: has("nosuid"),
            nodev: has("nodev"),
            noexec: has("noexec"),
            // As mount(2) has it, and Docker's driver `local` with it.
            alone: has("bind") && !has("rbind"),
        },
    };
    let read_only = has("ro") || mount.read_only.unwrap_or(false);
    Ok(HostMount { request, target, read_only })
}

fn has_devices(container: &ContainerDefinition) -> bool {
    let linux = container.linux_parameters.as_ref();
    container.privileged == Some(true) || linux.is_some_and(|linux| !linux.devices.is_empty())
}

fn volume_mount(
    intent: &Intent,
    volume: &Volume,
    target: String,
    mount: &MountPoint,
    rules: &Rules,
) -> VolumeMount {
    let config = volume.docker_volume_configuration.clone().unwrap_or_default();
    let shared = !is_task_scoped(volume);
    let ours = match shared {
        true => BTreeMap::new(),
        false => of_volume(intent, rules),
    };
    VolumeMount {
        name: engine_name(intent, volume),
        target,
        read_only: mount.read_only.unwrap_or(false),
        driver: config.driver,
        driver_options: config.driver_opts,
        labels: config.labels.into_iter().chain(ours).collect(),
        must_exist: shared && config.autoprovision != Some(true),
    }
}

/// What a volume of a task carries, so that an operator sees whose it is.
fn of_volume(intent: &Intent, rules: &Rules) -> BTreeMap<String, String> {
    let ours = [
        (ECS_TASK_ARN, intent.order.task_arn.clone()),
        (FLEET, rules.fleet.to_string()),
        (HOST, rules.host.to_string()),
        (TASK, intent.key.task.to_string()),
    ];
    ours.map(|(name, value)| (name.to_owned(), value)).into()
}
