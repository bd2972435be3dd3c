//! RegisterTaskDefinition's input, and the spec it becomes once ECS's defaults are in.

use longshore_common::{
    resources::Transport,
    task_definition::{
        Compatibility, ContainerDefinition, EphemeralStorage, HealthCheck, InferenceAccelerator,
        IpcMode, NetworkMode, PidMode, PortMapping, ProxyConfiguration, ProxyType, RuntimePlatform,
        TaskDefinitionPlacementConstraint, TaskSpec, TrustedExecutionConfiguration, Volume,
        VolumeScope,
    },
};
use serde::{Deserialize, Deserializer, de::Error};

use super::sizes;
use crate::api::ecs::tags::TagInput;

/// Default interval of a health check in seconds, which ECS writes into the definition
/// (ecs-behaviour 1.3).
const HEALTH_INTERVAL: u32 = 30;
/// Default timeout of a health check in seconds, which ECS writes into the definition
/// (ecs-behaviour 1.3).
const HEALTH_TIMEOUT: u32 = 5;
/// Default number of a health check's tries, which ECS writes into the definition (ecs-behaviour
/// 1.3).
const HEALTH_RETRIES: u32 = 3;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisterTaskDefinitionInput {
    pub(crate) family: String,
    pub(crate) container_definitions: Vec<ContainerDefinition>,
    pub(crate) task_role_arn: Option<String>,
    pub(crate) execution_role_arn: Option<String>,
    #[serde(default, deserialize_with = "network_mode")]
    pub(crate) network_mode: Option<NetworkMode>,
    #[serde(default)]
    pub(crate) volumes: Vec<Volume>,
    #[serde(default)]
    pub(crate) placement_constraints: Vec<TaskDefinitionPlacementConstraint>,
    #[serde(default)]
    pub(crate) requires_compatibilities: Vec<Compatibility>,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<TagInput>,
    pub(crate) pid_mode: Option<PidMode>,
    pub(crate) ipc_mode: Option<IpcMode>,
    pub(crate) proxy_configuration: Option<ProxyConfiguration>,
    #[serde(default)]
    pub(crate) inference_accelerators: Vec<InferenceAccelerator>,
    pub(crate) ephemeral_storage: Option<EphemeralStorage>,
    pub(crate) runtime_platform: Option<RuntimePlatform>,
    pub(crate) enable_fault_injection: Option<bool>,
    pub(crate) trusted_execution_configuration: Option<TrustedExecutionConfiguration>,
}

/// `default` is Docker's for Windows; on Linux it would mean bridge, and other things to those who
/// write it.
fn network_mode<'de, D: Deserializer<'de>>(given: D) -> Result<Option<NetworkMode>, D::Error> {
    let Some(text) = Option::<String>::deserialize(given)? else { return Ok(None) };
    match text.as_str() {
        "bridge" => Ok(Some(NetworkMode::Bridge)),
        "host" => Ok(Some(NetworkMode::Host)),
        "awsvpc" => Ok(Some(NetworkMode::Awsvpc)),
        "none" => Ok(Some(NetworkMode::None)),
        "default" => Err(D::Error::custom(
            "`default` is a network mode of Windows; leave it out or write bridge",
        )),
        _ => Err(D::Error::unknown_variant(&text, &["bridge", "host", "awsvpc", "none"])),
    }
}

impl RegisterTaskDefinitionInput {
    /// Family, spec with ECS's defaults, tags: none of them checked yet.
    pub(crate) fn into_parts(self) -> (String, TaskSpec, Vec<TagInput>) {
        let spec = TaskSpec {
            container_definitions: self.container_definitions,
            task_role_arn: self.task_role_arn.filter(|role| !role.is_empty()),
            execution_role_arn: self.execution_role_arn.filter(|role| !role.is_empty()),
            network_mode: self.network_mode,
            volumes: self.volumes,
            placement_constraints: self.placement_constraints,
            requires_compatibilities: self.requires_compatibilities,
            cpu: self.cpu.filter(|cpu| !cpu.is_empty()),
            memory: self.memory.filter(|memory| !memory.is_empty()),
            pid_mode: self.pid_mode,
            ipc_mode: self.ipc_mode,
            proxy_configuration: self.proxy_configuration,
            inference_accelerators: self.inference_accelerators,
            ephemeral_storage: self.ephemeral_storage,
            runtime_platform: self.runtime_platform,
            enable_fault_injection: self.enable_fault_injection,
            trusted_execution_configuration: self.trusted_execution_configuration,
        };
        (self.family, with_defaults(spec), self.tags)
    }
}

/// What ECS fills in, and shows when the revision is described.
pub(crate) fn with_defaults(mut spec: TaskSpec) -> TaskSpec {
    // A size that does not parse stays as it is, for the validation to name it.
    let in_units = |text: String, units: fn(&str) -> Option<u32>| {
        units(&text).map_or(text, |units| units.to_string())
    };
    spec.cpu = spec.cpu.map(|text| in_units(text, sizes::cpu_units));
    spec.memory = spec.memory.map(|text| in_units(text, sizes::memory_mib));
    let mode = spec.network_mode();
    for container in &mut spec.container_definitions {
        container.essential.get_or_insert(true);
        for mapping in &mut container.port_mappings {
            default_mapping(mode, mapping);
        }
        if let Some(HealthCheck { interval, timeout, retries, .. }) = &mut container.health_check {
            interval.get_or_insert(HEALTH_INTERVAL);
            timeout.get_or_insert(HEALTH_TIMEOUT);
            retries.get_or_insert(HEALTH_RETRIES);
        }
    }
    for volume in &mut spec.volumes {
        default_volume(volume);
    }
    if let Some(ProxyConfiguration { kind, .. }) = &mut spec.proxy_configuration {
        kind.get_or_insert(ProxyType::Appmesh);
    }
    spec
}

fn default_mapping(mode: NetworkMode, mapping: &mut PortMapping) {
    mapping.protocol.get_or_insert(Transport::Tcp);
    if mapping.container_port_range.is_some() {
        return;
    }
    let host_port = mapping.host_port.unwrap_or(0);
    mapping.host_port = match mode {
        NetworkMode::Bridge | NetworkMode::None => Some(host_port),
        NetworkMode::Host | NetworkMode::Awsvpc if host_port == 0 => mapping.container_port,
        NetworkMode::Host | NetworkMode::Awsvpc => Some(host_port),
    };
}

fn default_volume(volume: &mut Volume) {
    if let Some(docker) = &mut volume.docker_volume_configuration {
        docker.scope.get_or_insert(VolumeScope::Task);
    }
    if let Some(efs) = &mut volume.efs_volume_configuration {
        efs.root_directory.get_or_insert_with(|| "/".to_owned());
    }
    let has_kind = volume.docker_volume_configuration.is_some()
        || volume.efs_volume_configuration.is_some()
        || volume.fsx_windows_file_server_volume_configuration.is_some()
        || volume.s3_files_volume_configuration.is_some()
        || volume.configured_at_launch == Some(true);
    if !has_kind {
        volume.host.get_or_insert_default();
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(task: Value, defaulted: Expect) {
        let spec: TaskSpec = serde_json::from_value(task).unwrap();
        defaulted.assert_eq(&serde_json::to_string_pretty(&with_defaults(spec)).unwrap());
    }

    #[test]
    fn what_ecs_fills_in_is_filled_in() {
        check(
            json!({
                "containerDefinitions": [{
                    "name": "app",
                    "portMappings": [{"containerPort": 80}],
                    "healthCheck": {"command": ["CMD", "true"]},
                }],
                "cpu": "1 vCPU",
                "memory": "0.5GB",
                "volumes": [{"name": "scratch"}],
            }),
            expect![[r#"
                {
                  "containerDefinitions": [
                    {
                      "name": "app",
                      "cpu": 0,
                      "portMappings": [
                        {
                          "containerPort": 80,
                          "hostPort": 0,
                          "protocol": "tcp"
                        }
                      ],
                      "essential": true,
                      "environment": [],
                      "mountPoints": [],
                      "volumesFrom": [],
                      "healthCheck": {
                        "command": [
                          "CMD",
                          "true"
                        ],
                        "interval": 30,
                        "timeout": 5,
                        "retries": 3
                      },
                      "systemControls": []
                    }
                  ],
                  "volumes": [
                    {
                      "name": "scratch",
                      "host": {}
                    }
                  ],
                  "placementConstraints": [],
                  "cpu": "1024",
                  "memory": "512"
                }"#]],
        );
    }

    #[test]
    fn in_host_mode_the_host_port_is_the_containers() {
        check(
            json!({
                "networkMode": "host",
                "containerDefinitions": [{"name": "app", "portMappings": [{"containerPort": 80}]}],
            }),
            expect![[r#"
                {
                  "containerDefinitions": [
                    {
                      "name": "app",
                      "cpu": 0,
                      "portMappings": [
                        {
                          "containerPort": 80,
                          "hostPort": 80,
                          "protocol": "tcp"
                        }
                      ],
                      "essential": true,
                      "environment": [],
                      "mountPoints": [],
                      "volumesFrom": [],
                      "systemControls": []
                    }
                  ],
                  "networkMode": "host",
                  "volumes": [],
                  "placementConstraints": []
                }"#]],
        );
    }
}
