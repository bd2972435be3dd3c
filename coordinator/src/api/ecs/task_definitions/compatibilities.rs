//! Which launch types a definition fits: `compatibilities`, and why it does not fit one.

use longshore_common::task_definition::{
    Compatibility, ContainerDefinition, IpcMode, NetworkMode, PidMode, TaskSpec,
};

use super::sizes;

const ALL: [Compatibility; 4] = [
    Compatibility::Ec2,
    Compatibility::External,
    Compatibility::Fargate,
    Compatibility::ManagedInstances,
];

/// ECS's `compatibilities`.
pub(crate) fn of(spec: &TaskSpec) -> Vec<Compatibility> {
    ALL.into_iter().filter(|launch| obstacle(spec, *launch).is_none()).collect()
}

/// The first thing in `spec` that `launch` cannot do, as ECS says it.
pub(crate) fn obstacle(spec: &TaskSpec, launch: Compatibility) -> Option<String> {
    match launch {
        Compatibility::Ec2 => ec2(spec),
        Compatibility::External => external(spec),
        Compatibility::Fargate => fargate(spec),
        Compatibility::ManagedInstances => managed_instances(spec),
    }
}

fn ec2(spec: &TaskSpec) -> Option<String> {
    spec.ephemeral_storage
        .as_ref()
        .map(|_| "ephemeralStorage is only supported on Fargate: leave it out for EC2.".to_owned())
}

fn external(spec: &TaskSpec) -> Option<String> {
    if spec.network_mode() == NetworkMode::Awsvpc {
        return Some("EXTERNAL does not support network mode 'awsvpc'.".to_owned());
    }
    if spec.volumes.iter().any(|v| v.efs_volume_configuration.is_some()) {
        return Some("EXTERNAL does not support EFS volumes.".to_owned());
    }
    if spec.volumes.iter().any(|v| v.configured_at_launch == Some(true)) {
        return Some("EXTERNAL does not support volumes configured at launch.".to_owned());
    }
    ec2(spec).map(|_| "EXTERNAL does not support ephemeralStorage.".to_owned())
}

fn fargate(spec: &TaskSpec) -> Option<String> {
    if spec.network_mode() != NetworkMode::Awsvpc {
        return Some("Fargate only supports network mode 'awsvpc'.".to_owned());
    }
    let Some(cpu) = spec.cpu.as_deref().and_then(sizes::cpu_units) else {
        return Some("Fargate requires that 'cpu' be defined at the task level.".to_owned());
    };
    let Some(memory) = spec.memory.as_deref().and_then(sizes::memory_mib) else {
        return Some("Fargate requires that 'memory' be defined at the task level.".to_owned());
    };
    if !is_fargate_size(cpu, memory) {
        return Some(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See \
             the Amazon ECS documentation for the valid values."
        ));
    }
    if !spec.placement_constraints.is_empty() {
        return Some("Fargate does not support placementConstraints.".to_owned());
    }
    if !spec.inference_accelerators.is_empty() {
        return Some("Fargate does not support inferenceAccelerators.".to_owned());
    }
    if spec.pid_mode == Some(PidMode::Host) {
        return Some(
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'."
                .to_owned(),
        );
    }
    match spec.ipc_mode {
        Some(IpcMode::Host | IpcMode::Task | IpcMode::None) => {
            return Some("Fargate does not support ipcMode.".to_owned());
        }
        None => {}
    }
    for volume in &spec.volumes {
        if volume.host.as_ref().is_some_and(|host| host.source_path.is_some()) {
            return Some("Fargate does not support 'host.sourcePath' volumes.".to_owned());
        }
        if volume.docker_volume_configuration.is_some() {
            return Some("Fargate does not support Docker volumes.".to_owned());
        }
    }
    spec.container_definitions.iter().find_map(fargate_container)
}

fn fargate_container(container: &ContainerDefinition) -> Option<String> {
    let linux = container.linux_parameters.as_ref();
    let log = container.log_configuration.as_ref().map(|log| log.log_driver.as_str());
    let given = [
        ("privileged", container.privileged == Some(true)),
        ("dockerSecurityOptions", !container.docker_security_options.is_empty()),
        ("resourceRequirements", !container.resource_requirements.is_empty()),
        ("linuxParameters.devices", linux.is_some_and(|l| !l.devices.is_empty())),
        ("linuxParameters.sharedMemorySize", linux.is_some_and(|l| l.shared_memory_size.is_some())),
        ("linuxParameters.tmpfs", linux.is_some_and(|l| !l.tmpfs.is_empty())),
        ("linuxParameters.maxSwap", linux.is_some_and(|l| l.max_swap.is_some())),
        ("linuxParameters.swappiness", linux.is_some_and(|l| l.swappiness.is_some())),
        (
            "logConfiguration.logDriver other than awslogs, splunk and awsfirelens",
            log.is_some_and(|driver| !matches!(driver, "awslogs" | "splunk" | "awsfirelens")),
        ),
    ];
    let (member, _) = given.iter().find(|(_, given)| *given)?;
    Some(format!("Fargate does not support {member} (container '{}').", container.name))
}

/// The sizes in the documentation of RegisterTaskDefinition's `memory`.
fn is_fargate_size(cpu: u32, memory: u32) -> bool {
    let (min, max, step) = match cpu {
        256 => return matches!(memory, 512 | 1024 | 2048),
        512 => (1024, 4096, 1024),
        1024 => (2048, 8192, 1024),
        2048 => (4096, 16_384, 1024),
        4096 => (8192, 30_720, 1024),
        8192 => (16_384, 61_440, 4096),
        16_384 => (32_768, 122_880, 8192),
        _ => return false,
    };
    (min..=max).contains(&memory) && memory.is_multiple_of(step)
}

fn managed_instances(spec: &TaskSpec) -> Option<String> {
    match spec.network_mode() {
        NetworkMode::Awsvpc | NetworkMode::Host => {}
        NetworkMode::Bridge | NetworkMode::None => {
            return Some(
                "Managed Instances only support the network modes 'awsvpc' and 'host'.".to_owned(),
            );
        }
    }
    if !spec.inference_accelerators.is_empty() {
        return Some("Managed Instances do not support inferenceAccelerators.".to_owned());
    }
    if spec.cpu.is_none() || spec.memory.is_none() {
        return Some(
            "Managed Instances require that 'cpu' and 'memory' be defined at the task level."
                .to_owned(),
        );
    }
    ec2(spec).map(|_| "Managed Instances do not support ephemeralStorage.".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fits(task: Value) -> Vec<Compatibility> {
        let mut spec = json!({"containerDefinitions": [{"name": "app", "image": "nginx"}]});
        for (key, value) in task.as_object().unwrap() {
            spec[key] = value.clone();
        }
        of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn compatibilities_follow_from_network_mode_and_size() {
        use Compatibility::{Ec2, External, Fargate, ManagedInstances};
        assert_eq!(fits(json!({})), [Ec2, External]);
        assert_eq!(fits(json!({"networkMode": "awsvpc"})), [Ec2]);
        assert_eq!(
            fits(json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512"})),
            [Ec2, Fargate, ManagedInstances]
        );
        assert_eq!(
            fits(json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512",
                "pidMode": "host"})),
            [Ec2, ManagedInstances]
        );
        assert_eq!(
            fits(json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512",
                "ephemeralStorage": {"sizeInGiB": 30}})),
            [Fargate]
        );
    }
}
