//! Volumes of a task: host paths, and volumes that the container engine keeps (ecs-behaviour 1.4).
//!
//! Owns their names and which of them go with the task. Never: a call; the engine makes a volume
//! with the first container that mounts it.

use std::collections::BTreeMap;

use longshore_common::task_definition::{
    ContainerDefinition, MountPoint, TaskSpec, Volume, VolumeScope,
};

use super::{Intent, Rules, efs::Mounted, labels};
use crate::{
    preparation::Directory,
    runtime::{Bind, VolumeMount},
};

/// What a container mounts, by what Docker takes it as.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    pub(super) binds: Vec<Bind>,
    pub(super) volumes: Vec<VolumeMount>,
    /// Must be there before.
    pub(super) directories: Vec<Directory>,
}

/// `Err` says what of it cannot be carried out.
pub(super) fn mounts(
    intent: &Intent,
    container: &ContainerDefinition,
    rules: &Rules,
) -> Result<Mounts, String> {
    let mut mounts = Mounts::default();
    for mount in &container.mount_points {
        let name = mount.source_volume.as_deref().unwrap_or_default();
        let volumes = &intent.definition.spec.volumes;
        let volume = volumes.iter().find(|volume| volume.name == name);
        let volume = volume.ok_or_else(|| format!("volume `{name}`, which is not defined"))?;
        let target = mount
            .container_path
            .clone()
            .ok_or_else(|| format!("a mount of volume `{name}` without containerPath"))?;
        if let Some(config) = &volume.efs_volume_configuration {
            match rules.efs.mounted(config)? {
                Mounted::Path(path, directory) => {
                    let source = path.display().to_string();
                    mounts.binds.push(bind(&source, target, mount, name)?);
                    mounts.directories.extend(directory);
                }
                Mounted::Nfs(options) => {
                    let own = volume_mount(intent, volume, target, mount, rules);
                    mounts.volumes.push(VolumeMount { driver_options: options, ..own });
                }
            }
            continue;
        }
        match host_path(volume) {
            Some(source) => mounts.binds.push(bind(source, target, mount, name)?),
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

fn is_mounted(spec: &TaskSpec, volume: &str) -> bool {
    let mounts = spec.container_definitions.iter().flat_map(|container| &container.mount_points);
    mounts.into_iter().any(|mount| mount.source_volume.as_deref() == Some(volume))
}

fn host_path(volume: &Volume) -> Option<&str> {
    let path = volume.host.as_ref().and_then(|host| host.source_path.as_deref());
    path.filter(|path| !path.is_empty() && volume.docker_volume_configuration.is_none())
}

fn is_task_scoped(volume: &Volume) -> bool {
    match &volume.docker_volume_configuration {
        Some(config) => config.scope != Some(VolumeScope::Shared),
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
            labels::volume_name(family, revision, &volume.name, intent.key)
        }
    }
}

fn bind(source: &str, target: String, mount: &MountPoint, volume: &str) -> Result<Bind, String> {
    if source.contains(':') || target.contains(':') {
        return Err(format!("volume `{volume}`: Docker takes no colon in a path"));
    }
    let read_only = mount.read_only.unwrap_or(false);
    Ok(Bind { source: source.to_owned(), target, read_only })
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
        false => labels::of_volume(intent, rules),
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
