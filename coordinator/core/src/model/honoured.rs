//! Which members of a task definition this release's agent does not carry out yet.
//!
//! A task that needs one is refused when it is to run, never run with the member dropped
//! (design.md rule 9). A member leaves this file when the agent honours it.

use longshore_common::{
    gpus,
    logs::options::AWSLOGS,
    task::TaskOverride,
    task_definition::{
        ContainerDefinition, NetworkMode, ResourceRequirement, ResourceType, TaskSpec, Volume,
    },
};

/// Docker's own log drivers, which the agent passes through, the one that it follows, and the one
/// that a router of the task reads.
const LOG_DRIVERS: [&str; 10] = [
    "json-file",
    "local",
    "syslog",
    "journald",
    "gelf",
    "fluentd",
    "splunk",
    "none",
    AWSLOGS,
    "awsfirelens",
];

/// The members that stand in the way, as paths in ECS's document; empty when all can be honoured.
pub fn needs_not_honoured(spec: &TaskSpec, overrides: &TaskOverride) -> Vec<String> {
    let mut needs = Vec::new();
    let mut need = |unmet: bool, member: &str| {
        if unmet {
            needs.push(member.to_owned());
        }
    };
    need(spec.network_mode() == NetworkMode::Awsvpc, "networkMode awsvpc");
    need(spec.task_role_arn.is_some(), "taskRoleArn");
    need(spec.proxy_configuration.is_some(), "proxyConfiguration");
    need(!spec.inference_accelerators.is_empty(), "inferenceAccelerators");
    need(spec.ephemeral_storage.is_some(), "ephemeralStorage");
    need(spec.enable_fault_injection == Some(true), "enableFaultInjection");
    need(spec.trusted_execution_configuration.is_some(), "trustedExecutionConfiguration");
    let windows = |family: &str| family.starts_with("WINDOWS");
    let os = spec.runtime_platform.as_ref().and_then(|p| p.operating_system_family.as_deref());
    need(os.is_some_and(windows), "runtimePlatform.operatingSystemFamily other than LINUX");
    need(overrides.task_role_arn.is_some(), "overrides.taskRoleArn");
    need(overrides.ephemeral_storage.is_some(), "overrides.ephemeralStorage");
    need(
        !overrides.inference_accelerator_overrides.is_empty(),
        "overrides.inferenceAcceleratorOverrides",
    );
    for volume in &spec.volumes {
        volume_needs(volume, &mut needs);
    }
    for container in &spec.container_definitions {
        container_needs(container, &mut needs);
    }
    for container in &overrides.container_overrides {
        let name = container.name.as_deref().unwrap_or_default();
        let mut need = |unmet: bool, member: &str| {
            if unmet {
                needs.push(format!("overrides.containerOverrides[{name}].{member}"));
            }
        };
        for requirement in container.resource_requirements.iter().flatten() {
            need(gpus::count(requirement).is_none(), &requirement_in_words(requirement));
        }
    }
    needs
}

/// What does the same here as these members would; the text follows "Remove it from the task
/// definition".
pub fn instead_of(needs: &str) -> String {
    let others: Vec<&str> = INSTEAD
        .iter()
        .filter(|(member, _)| needs.split(", ").any(|need| need.contains(member)))
        .map(|(_, other)| *other)
        .collect();
    match others.is_empty() {
        true => ".".to_owned(),
        false => format!(": {}.", others.join("; ")),
    }
}

/// Parts of members' names, and what to use in their place.
const INSTEAD: [(&str, &str); 4] = [
    ("networkMode awsvpc", "use the network mode bridge or host instead of awsvpc"),
    ("askRoleArn", "give credentials by environmentFiles or a mounted file instead of a task role"),
    ("secret", "use environmentFiles or a mounted file instead of secrets"),
    ("configuredAtLaunch", "use a volume with host.sourcePath instead of one configured at launch"),
];

fn volume_needs(volume: &Volume, needs: &mut Vec<String>) {
    let other = if volume.fsx_windows_file_server_volume_configuration.is_some() {
        "fsxWindowsFileServerVolumeConfiguration"
    } else if volume.s3_files_volume_configuration.is_some() {
        "s3filesVolumeConfiguration"
    } else if volume.configured_at_launch == Some(true) {
        "configuredAtLaunch"
    } else {
        return;
    };
    needs.push(format!("volumes[{}].{other}", volume.name));
}

fn container_needs(container: &ContainerDefinition, needs: &mut Vec<String>) {
    let mut need = |unmet: bool, member: &str| {
        if unmet {
            needs.push(format!("containerDefinitions[{}].{member}", container.name));
        }
    };
    need(!container.secrets.is_empty(), "secrets");
    for requirement in &container.resource_requirements {
        need(gpus::count(requirement).is_none(), &requirement_in_words(requirement));
    }
    need(!container.credential_specs.is_empty(), "credentialSpecs");
    if let Some(log) = &container.log_configuration {
        let docker_own = LOG_DRIVERS.contains(&log.log_driver.as_str());
        need(!docker_own, &format!("logConfiguration.logDriver {}", log.log_driver));
        need(!log.secret_options.is_empty(), "logConfiguration.secretOptions");
    }
}

/// Other than a number of GPUs.
fn requirement_in_words(requirement: &ResourceRequirement) -> String {
    let kind = match requirement.kind {
        ResourceType::Gpu if requirement.sharing_strategy.is_some() => "GPU sharingStrategy",
        ResourceType::Gpu => "GPU",
        ResourceType::InferenceAccelerator => "InferenceAccelerator",
        ResourceType::NeuronDevice => "NeuronDevice",
    };
    let value = requirement.value.as_deref().unwrap_or_default();
    format!("resourceRequirements {kind} {value}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(json: serde_json::Value) -> Vec<String> {
        let spec = serde_json::from_value(json).unwrap();
        needs_not_honoured(&spec, &TaskOverride::default())
    }

    #[test]
    fn a_plain_web_server_needs_nothing_special() {
        let spec = serde_json::json!({ "containerDefinitions": [{
            "name": "web", "image": "nginx", "memory": 64, "cpu": 10,
            "portMappings": [{ "containerPort": 80 }], "stopTimeout": 5,
            "healthCheck": { "command": ["CMD", "true"] }, "privileged": true,
            "logConfiguration": { "logDriver": "json-file" },
            "mountPoints": [{ "sourceVolume": "data", "containerPath": "/data" }],
        }], "volumes": [{ "name": "data", "host": { "sourcePath": "/srv" } }] });
        assert_eq!(needs(spec), Vec::<String>::new());
    }

    #[test]
    fn what_is_refused_is_told_with_what_to_use_instead() {
        assert_eq!(instead_of("ephemeralStorage"), ".");
        assert_eq!(
            instead_of("networkMode awsvpc, containerDefinitions[web].secrets"),
            ": use the network mode bridge or host instead of awsvpc; use environmentFiles or a \
             mounted file instead of secrets."
        );
        for (member, _) in INSTEAD {
            assert!(instead_of(member).starts_with(": "), "{member}");
        }
    }

    #[test]
    fn every_member_that_would_be_dropped_is_named() {
        let spec = serde_json::json!({ "networkMode": "awsvpc", "containerDefinitions": [{
            "name": "web", "memory": 64, "secrets": [{ "name": "A", "valueFrom": "/a" }], "pseudoTerminal": true,
            "logConfiguration": { "logDriver": "odd" },
            "resourceRequirements": [
                { "type": "GPU", "value": "ALL" }, { "type": "GPU", "value": "2" },
            ],
        }], "volumes": [{ "name": "scratch", "configuredAtLaunch": true }] });
        expect_test::expect![[r#"
            [
                "networkMode awsvpc",
                "volumes[scratch].configuredAtLaunch",
                "containerDefinitions[web].secrets",
                "containerDefinitions[web].resourceRequirements GPU ALL",
                "containerDefinitions[web].logConfiguration.logDriver odd",
            ]
        "#]]
        .assert_debug_eq(&needs(spec));
    }
}
