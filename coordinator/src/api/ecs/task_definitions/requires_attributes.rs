//! `requiresAttributes`: what a host's agent must have said it can do, for a definition to be
//! placed there (ecs-behaviour 1.7, capabilities).
//!
//! Names are ECS's. Docker's API versions are the ones that brought each feature.

use std::collections::BTreeMap;

use longshore_common::{
    protocol::Attribute,
    task_definition::{
        ContainerDefinition, CpuArchitecture, FirelensType, NetworkMode, Switch, TaskSpec, Volume,
    },
};

/// Sorted by name, each once.
pub(crate) fn of(spec: &TaskSpec) -> Vec<Attribute> {
    let mut required = Required::default();
    task(spec, &mut required);
    for volume in &spec.volumes {
        self::volume(volume, &mut required);
    }
    for container in &spec.container_definitions {
        self::container(spec, container, &mut required);
    }
    required.0.into_iter().map(|(name, value)| Attribute { name, value }).collect()
}

#[derive(Default)]
struct Required(BTreeMap<String, Option<String>>);

impl Required {
    /// One of the agent's own capabilities.
    fn capability(&mut self, name: &str) {
        self.0.insert(format!("ecs.capability.{name}"), None);
    }

    /// One of the older names.
    fn aws_capability(&mut self, name: &str) {
        self.0.insert(format!("com.amazonaws.ecs.capability.{name}"), None);
    }

    fn docker_api(&mut self, version: &str) {
        self.aws_capability(&format!("docker-remote-api.{version}"));
    }

    fn value(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Some(value.to_owned()));
    }
}

fn task(spec: &TaskSpec, required: &mut Required) {
    if spec.network_mode() == NetworkMode::Awsvpc {
        required.capability("task-eni");
        required.docker_api("1.17");
    }
    if spec.task_role_arn.is_some() {
        required.aws_capability("task-iam-role");
        required.docker_api("1.17");
        if spec.network_mode() == NetworkMode::Host {
            required.aws_capability("task-iam-role-network-host");
        }
    }
    if spec.cpu.is_some() || spec.memory.is_some() {
        required.capability("task-cpu-mem-limit");
    }
    if spec.pid_mode.is_some() || spec.ipc_mode.is_some() {
        required.capability("pid-ipc-namespace-sharing");
    }
    if spec.proxy_configuration.is_some() {
        required.capability("aws-appmesh");
    }
    if !spec.inference_accelerators.is_empty() {
        required.capability("task-eia");
    }
    if spec.enable_fault_injection == Some(true) {
        required.capability("fault-injection");
    }
    match spec.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture) {
        Some(CpuArchitecture::X86_64) => required.value("ecs.cpu-architecture", "x86_64"),
        Some(CpuArchitecture::Arm64) => required.value("ecs.cpu-architecture", "arm64"),
        None => {}
    }
    let os = spec.runtime_platform.as_ref().and_then(|p| p.operating_system_family.as_deref());
    match os {
        Some("LINUX") => required.value("ecs.os-type", "linux"),
        Some(_) => required.value("ecs.os-type", "windows"),
        None => {}
    }
}

fn volume(volume: &Volume, required: &mut Required) {
    if let Some(docker) = &volume.docker_volume_configuration {
        required.docker_api("1.21");
        let driver = docker.driver.as_deref().unwrap_or("local");
        required.capability(&format!("docker-plugin.{driver}"));
    }
    if let Some(efs) = &volume.efs_volume_configuration {
        required.capability("efs");
        let authorized = efs.authorization_config.as_ref();
        let secured = efs.transit_encryption == Some(Switch::Enabled) || authorized.is_some();
        if secured {
            required.capability("efsAuth");
        }
    }
    if volume.fsx_windows_file_server_volume_configuration.is_some() {
        required.capability("fsxWindowsFileServer");
    }
    if volume.s3_files_volume_configuration.is_some() {
        required.capability("s3files");
    }
    if volume.configured_at_launch == Some(true) {
        required.capability("storage.ebs-task-volume-attach");
    }
}

fn container(spec: &TaskSpec, container: &ContainerDefinition, required: &mut Required) {
    let has_execution_role = spec.execution_role_arn.is_some();
    if container.image.as_deref().is_some_and(is_ecr) {
        required.aws_capability("ecr-auth");
        required.docker_api("1.19");
        if has_execution_role {
            required.capability("execution-role-ecr-pull");
        }
    }
    if let Some(log) = &container.log_configuration {
        required.aws_capability(&format!("logging-driver.{}", log.log_driver));
        required.docker_api(match log.log_driver.as_str() {
            "awslogs" => "1.19",
            "splunk" => "1.22",
            _ => "1.18",
        });
        if log.log_driver == "awslogs" && has_execution_role {
            required.capability("execution-role-awslogs");
        }
        secret_stores(
            log.secret_options.iter().map(|s| s.value_from.as_str()),
            "bootstrap.log-driver",
            required,
        );
    }
    if let Some(firelens) = &container.firelens_configuration {
        required.capability(match firelens.kind {
            FirelensType::Fluentd => "firelens.fluentd",
            FirelensType::Fluentbit => "firelens.fluentbit",
        });
        if firelens.options.get("config-file-type").is_some_and(|kind| kind == "s3") {
            required.capability("firelens.options.config.s3");
        }
    }
    secret_stores(
        container.secrets.iter().map(|s| s.value_from.as_str()),
        "environment-variables",
        required,
    );
    if container.repository_credentials.is_some() {
        required.capability("private-registry-authentication.secretsmanager");
    }
    if !container.environment_files.is_empty() {
        required.capability("env-files.s3");
    }
    if container.health_check.is_some() {
        required.capability("container-health-check");
        required.docker_api("1.24");
    }
    if !container.depends_on.is_empty()
        || container.start_timeout.is_some()
        || container.stop_timeout.is_some()
    {
        required.capability("container-ordering");
    }
    if container.restart_policy.as_ref().is_some_and(|policy| policy.enabled) {
        required.capability("container-restart-policy");
    }
    if container.port_mappings.iter().any(|mapping| mapping.container_port_range.is_some()) {
        required.capability("network.container-port-range");
    }
    if container.privileged == Some(true) {
        required.aws_capability("privileged-container");
    }
    for option in &container.docker_security_options {
        if option.starts_with("apparmor:") {
            required.aws_capability("apparmor");
        } else if option.starts_with("label:") {
            required.aws_capability("selinux");
        }
    }
    if !container.ulimits.is_empty() {
        required.docker_api("1.18");
    }
    let linux = container.linux_parameters.as_ref();
    if linux.is_some_and(|linux| linux.init_process_enabled == Some(true)) {
        required.docker_api("1.25");
    }
    if linux.is_some_and(|linux| linux.shared_memory_size.is_some() || !linux.tmpfs.is_empty()) {
        required.docker_api("1.22");
    }
    if linux.is_some_and(|linux| linux.swappiness.is_some() || linux.max_swap.is_some()) {
        required.docker_api("1.20");
    }
    if !container.system_controls.is_empty() {
        required.docker_api("1.24");
    }
}

/// `<account>.dkr.ecr.<region>.amazonaws.com/…`: the agent signs in there by itself.
fn is_ecr(image: &str) -> bool {
    let registry = image.split('/').next().unwrap_or_default();
    registry.contains(".dkr.ecr.") && registry.contains(".amazonaws.com")
}

fn secret_stores<'a>(
    sources: impl Iterator<Item = &'a str>,
    purpose: &str,
    required: &mut Required,
) {
    for source in sources {
        let store = if source.contains(":secretsmanager:") { "asm" } else { "ssm" };
        required.capability(&format!("secrets.{store}.{purpose}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn required(task: serde_json::Value, container: serde_json::Value) -> Vec<String> {
        let mut spec = json!({"containerDefinitions": [{"name": "app", "image": "nginx"}]});
        for (key, value) in container.as_object().unwrap() {
            spec["containerDefinitions"][0][key] = value.clone();
        }
        for (key, value) in task.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spec: TaskSpec = serde_json::from_value(spec).unwrap();
        let text = |attribute: Attribute| match attribute.value {
            Some(value) => format!("{}={value}", attribute.name),
            None => attribute.name,
        };
        of(&spec).into_iter().map(text).collect()
    }

    #[test]
    fn a_plain_definition_requires_nothing() {
        assert_eq!(required(json!({}), json!({})), [""; 0]);
    }

    #[test]
    fn what_a_definition_uses_is_required_under_ecs_names() {
        let cases = [
            (
                json!({}),
                json!({"logConfiguration": {"logDriver": "journald"}}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.18 \
                 com.amazonaws.ecs.capability.logging-driver.journald",
            ),
            (
                json!({"executionRoleArn": "r"}),
                json!({"logConfiguration": {"logDriver": "awslogs"}}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.19 \
                 com.amazonaws.ecs.capability.logging-driver.awslogs \
                 ecs.capability.execution-role-awslogs",
            ),
            (
                json!({"executionRoleArn": "r"}),
                json!({"image": "1.dkr.ecr.us-east-1.amazonaws.com/a:b"}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.19 \
                 com.amazonaws.ecs.capability.ecr-auth ecs.capability.execution-role-ecr-pull",
            ),
            (
                json!({"taskRoleArn": "r", "networkMode": "host"}),
                json!({}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.17 \
                 com.amazonaws.ecs.capability.task-iam-role \
                 com.amazonaws.ecs.capability.task-iam-role-network-host",
            ),
            (json!({"cpu": "256"}), json!({}), "ecs.capability.task-cpu-mem-limit"),
            (json!({"pidMode": "task"}), json!({}), "ecs.capability.pid-ipc-namespace-sharing"),
            (
                json!({"networkMode": "awsvpc"}),
                json!({}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.17 ecs.capability.task-eni",
            ),
            (
                json!({"runtimePlatform": {"cpuArchitecture": "ARM64",
                    "operatingSystemFamily": "LINUX"}}),
                json!({}),
                "ecs.cpu-architecture=arm64 ecs.os-type=linux",
            ),
            (
                json!({}),
                json!({"healthCheck": {"command": ["CMD", "true"]}}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.24 \
                 ecs.capability.container-health-check",
            ),
            (json!({}), json!({"stopTimeout": 5}), "ecs.capability.container-ordering"),
            (
                json!({}),
                json!({"privileged": true}),
                "com.amazonaws.ecs.capability.privileged-container",
            ),
            (
                json!({}),
                json!({"secrets": [
                    {"name": "A", "valueFrom": "/p"},
                    {"name": "B", "valueFrom": "arn:aws:secretsmanager:us-east-1:0:secret:s"}]}),
                "ecs.capability.secrets.asm.environment-variables \
                 ecs.capability.secrets.ssm.environment-variables",
            ),
            (
                json!({"volumes": [{"name": "d", "dockerVolumeConfiguration": {"driver": "rexray"}}]}),
                json!({}),
                "com.amazonaws.ecs.capability.docker-remote-api.1.21 \
                 ecs.capability.docker-plugin.rexray",
            ),
            (
                json!({"volumes": [{"name": "d", "efsVolumeConfiguration":
                    {"fileSystemId": "fs-1", "transitEncryption": "ENABLED"}}]}),
                json!({}),
                "ecs.capability.efs ecs.capability.efsAuth",
            ),
        ];
        for (task, container, names) in cases {
            assert_eq!(required(task.clone(), container).join(" "), names, "{task}");
        }
    }
}
