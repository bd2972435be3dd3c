//! What this agent cannot carry out. The coordinator refuses such a definition first; an agent of
//! another version must still fail the task with a reason, and drop nothing silently.

use longshore_common::{
    gpus,
    logs::options::AWSLOGS,
    task_definition::{ContainerDefinition, NetworkMode, TaskSpec, Volume},
};

use super::{awslogs, container_config, firelens::AWSFIRELENS};
use crate::task::{intent::Intent, rules::Rules};

/// Drivers that write through Docker itself, the one that the agent follows, and the one that a
/// router of the task reads.
const LOG_DRIVERS: [&str; 10] = [
    "json-file",
    "local",
    "none",
    "syslog",
    "journald",
    "gelf",
    "fluentd",
    "splunk",
    AWSLOGS,
    AWSFIRELENS,
];

/// The part of the order that cannot be carried out, if there is one: the task's `stoppedReason`.
pub(crate) fn refusal(intent: &Intent, rules: &Rules) -> Option<String> {
    let spec = &intent.definition.spec;
    let told = |what: &str| {
        format!(
            "ResourceInitializationError: this agent cannot carry out {what}; remove it from the \
             task definition, or update the agent"
        )
    };
    if let Some(member) = rules.policy.refusal(spec) {
        return Some(format!(
            "HostConfigError: the operator of this host lets no task have {member} (the agent's \
             settings forbid, bind_roots, allow_volumes and disable_privileged)"
        ));
    }
    if let Some(what) = in_task(spec).or_else(|| in_overrides(intent)) {
        return Some(told(what));
    }
    for (index, container) in spec.container_definitions.iter().enumerate() {
        let name = &container.name;
        if let Some(what) = in_container(container) {
            return Some(told(&format!("{what} of container {name}")));
        }
        if let Err(what) = rules.repository_credentials.login(container) {
            return Some(told(&format!("container {name}: {what}")));
        }
        if let Some(what) = awslogs::problem(container) {
            return Some(told(&format!("the {what}, of container {name}")));
        }
        let config = container_config::container_config(intent, index, rules).map(|_| ());
        let needs = || container_config::needs(intent, index, rules).map(|_| ());
        if let Err(what) = config.and_then(|()| needs()) {
            return Some(told(&format!("container {name}: {what}")));
        }
    }
    None
}

fn in_task(spec: &TaskSpec) -> Option<&'static str> {
    let needs = [
        (spec.network_mode() == NetworkMode::Awsvpc, "network mode awsvpc"),
        (spec.task_role_arn.is_some(), "taskRoleArn"),
        (spec.proxy_configuration.is_some(), "proxyConfiguration"),
        (!spec.inference_accelerators.is_empty(), "inferenceAccelerators"),
        (spec.ephemeral_storage.is_some(), "ephemeralStorage"),
        (spec.enable_fault_injection == Some(true), "enableFaultInjection"),
        (spec.trusted_execution_configuration.is_some(), "trustedExecutionConfiguration"),
        (
            spec.volumes.iter().any(is_kept_elsewhere),
            "a volume of FSx, S3 or EBS (configuredAtLaunch)",
        ),
    ];
    first(&needs)
}

fn is_kept_elsewhere(volume: &Volume) -> bool {
    volume.fsx_windows_file_server_volume_configuration.is_some()
        || volume.s3_files_volume_configuration.is_some()
        || volume.configured_at_launch == Some(true)
}

fn in_overrides(intent: &Intent) -> Option<&'static str> {
    let overrides = &intent.order.overrides;
    let any = |needs: fn(&longshore_common::task::ContainerOverride) -> bool| {
        overrides.container_overrides.iter().any(needs)
    };
    let needs = [
        (overrides.task_role_arn.is_some(), "an override of taskRoleArn"),
        (!overrides.inference_accelerator_overrides.is_empty(), "inferenceAcceleratorOverrides"),
        (overrides.ephemeral_storage.is_some(), "an override of ephemeralStorage"),
        (
            any(|c| c.resource_requirements.iter().flatten().any(|r| gpus::count(r).is_none())),
            "an override of resourceRequirements other than a number of GPUs",
        ),
    ];
    first(&needs)
}

fn in_container(container: &ContainerDefinition) -> Option<&'static str> {
    let log = container.log_configuration.as_ref();
    let needs = [
        (!container.secrets.is_empty(), "secrets"),
        (
            container.resource_requirements.iter().any(|r| gpus::count(r).is_none()),
            "resourceRequirements other than a number of GPUs",
        ),
        (!container.credential_specs.is_empty(), "credentialSpecs"),
        (log.is_some_and(|l| !l.secret_options.is_empty()), "logConfiguration.secretOptions"),
        (log.is_some_and(|l| !LOG_DRIVERS.contains(&l.log_driver.as_str())), "the log driver"),
    ];
    first(&needs)
}

fn first(needs: &[(bool, &'static str)]) -> Option<&'static str> {
    needs.iter().find(|(needed, _)| *needed).map(|(_, what)| *what)
}
