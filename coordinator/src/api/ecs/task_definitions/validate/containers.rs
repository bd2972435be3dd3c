//! One container definition, by itself and against the task it is in (ecs-behaviour 1.3).

mod linux;
mod logging;

use longshore_common::task_definition::{
    Compatibility, ContainerDefinition, HealthCheck, NetworkMode, ResourceRequirement,
    ResourceType, RestartPolicy, SecretReference, SharingStrategy, TaskSpec, Ulimit,
};

use super::{Invalid, check_name, refuse};
use crate::api::ecs::task_definitions::sizes::CONTAINER_MEMORY_MIN;

pub(super) use logging::check_routing as check_log_routing;

/// Maximum length of an image's name without its digest, in characters (the member's
/// documentation).
const IMAGE_CHARS_MAX: usize = 255;
/// Maximum number of ignored exit codes (ecs-behaviour 1.3, restartPolicy).
const IGNORED_EXIT_CODES_MAX: usize = 50;
/// Minimum and maximum attempt period of restarts in seconds (ecs-behaviour 1.3, restartPolicy).
const RESTART_ATTEMPT_PERIOD: std::ops::RangeInclusive<u32> = 60..=1800;
/// Maximum number of environment files of one container (ecs-behaviour 1.3, environmentFiles).
const ENVIRONMENT_FILES_MAX: usize = 10;
/// Maximum number of credential specs of one container (ecs-behaviour 1.3, credentialSpecs).
const CREDENTIAL_SPECS_MAX: usize = 1;
/// Minimum and maximum startTimeout and stopTimeout on Fargate, in seconds (ecs-behaviour 1.3).
const FARGATE_TIMEOUT: std::ops::RangeInclusive<u32> = 2..=120;
/// Maximum share of a GPU's compute in percent (ECS's model, NvidiaMpsAllocation).
const COMPUTE_PERCENT_MAX: u32 = 100;
/// ECS's model, UlimitName.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

pub(super) fn check(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    let name = container.name.as_str();
    check_name("Container.name", name)?;
    check_image(container)?;
    check_memory(spec, container)?;
    if let Some(policy) = &container.restart_policy {
        check_restart_policy(name, policy)?;
    }
    if let Some(health) = &container.health_check {
        check_health(name, health)?;
    }
    check_environment(container)?;
    check_secrets(spec, name, "secrets", &container.secrets)?;
    check_mounts(spec, container)?;
    check_network_members(spec, container)?;
    if let Some(parameters) = &container.linux_parameters {
        linux::check(name, parameters)?;
    }
    linux::check_system_controls(spec, container)?;
    if let Some(log) = &container.log_configuration {
        logging::check(name, log)?;
        check_secrets(spec, name, "logConfiguration.secretOptions", &log.secret_options)?;
    }
    for ulimit in &container.ulimits {
        check_ulimit(name, ulimit)?;
    }
    check_requirements(spec, container)?;
    check_security(container)?;
    check_timeouts(spec, container)?;
    if let Some(credentials) = &container.repository_credentials
        && credentials.credentials_parameter.is_empty()
    {
        return refuse(format!(
            "Container '{name}' needs a credentialsParameter in its repositoryCredentials."
        ));
    }
    Ok(())
}

fn check_image(container: &ContainerDefinition) -> Result<(), Invalid> {
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        return refuse("Container.image should not be null or empty.");
    }
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    if named.len() > IMAGE_CHARS_MAX {
        return refuse(format!(
            "Container.image should not be longer than {IMAGE_CHARS_MAX} characters."
        ));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_:./#".contains(&b);
    if named.is_empty() || !named.bytes().all(allowed) {
        return refuse(format!(
            "Container.image contains invalid characters: `{image}`. Use letters, numbers and \
             -_:./#, and @sha256:… for a digest."
        ));
    }
    let valid = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(valid)) {
        return refuse(format!(
            "Container.image `{image}` has an invalid digest: it must be sha256: and 64 \
             hexadecimal digits."
        ));
    }
    Ok(())
}

fn check_memory(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    let name = &container.name;
    let (memory, reservation) = (container.memory, container.memory_reservation);
    let given = memory.filter(|m| *m > 0).or(reservation.filter(|r| *r > 0));
    if given.is_none() && spec.memory.is_none() {
        return refuse(format!(
            "Invalid setting for container '{name}'. At least one of 'memory' or \
             'memoryReservation' must be specified."
        ));
    }
    for (member, value) in [("memory", memory), ("memoryReservation", reservation)] {
        if value.is_some_and(|mib| mib < CONTAINER_MEMORY_MIN) {
            return refuse(format!(
                "Invalid setting for container '{name}'. '{member}' must be at least \
                 {CONTAINER_MEMORY_MIN} MiB, the least that Docker gives a container."
            ));
        }
    }
    if let (Some(memory), Some(reservation)) = (memory, reservation)
        && memory < reservation
    {
        return refuse(format!(
            "Invalid setting for container '{name}'. 'memory' ({memory}) must be greater than \
             'memoryReservation' ({reservation})."
        ));
    }
    Ok(())
}

fn check_restart_policy(name: &str, policy: &RestartPolicy) -> Result<(), Invalid> {
    if policy.ignored_exit_codes.len() > IGNORED_EXIT_CODES_MAX {
        return refuse(format!(
            "Container '{name}' has {} ignoredExitCodes, at most {IGNORED_EXIT_CODES_MAX} are \
             allowed.",
            policy.ignored_exit_codes.len()
        ));
    }
    if let Some(period) = policy.restart_attempt_period {
        in_range(name, "restartPolicy.restartAttemptPeriod", period, RESTART_ATTEMPT_PERIOD)?;
    }
    Ok(())
}

fn check_health(name: &str, health: &HealthCheck) -> Result<(), Invalid> {
    let kind = health.command.first().map(String::as_str);
    let has_words = health.command.len() > 1;
    if !matches!(kind, Some("CMD" | "CMD-SHELL")) || !has_words {
        return refuse(format!(
            "The health check command of container '{name}' must begin with CMD or CMD-SHELL, \
             followed by what to run."
        ));
    }
    for (member, value, range) in [
        ("healthCheck.interval", health.interval, 5..=300),
        ("healthCheck.timeout", health.timeout, 2..=60),
        ("healthCheck.retries", health.retries, 1..=10),
        ("healthCheck.startPeriod", health.start_period, 0..=300),
    ] {
        if let Some(value) = value {
            in_range(name, member, value, range)?;
        }
    }
    Ok(())
}

fn in_range(
    name: &str,
    member: &str,
    value: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<(), Invalid> {
    if range.contains(&value) {
        return Ok(());
    }
    refuse(format!(
        "The {member} of container '{name}' is {value}; it must be between {} and {}.",
        range.start(),
        range.end()
    ))
}

fn check_environment(container: &ContainerDefinition) -> Result<(), Invalid> {
    let name = &container.name;
    // One name may be there twice, as in Docker: the last one counts.
    for variable in &container.environment {
        check_variable(name, &variable.name)?;
    }
    if container.environment_files.len() > ENVIRONMENT_FILES_MAX {
        return refuse(format!(
            "Container '{name}' has {} environmentFiles, at most {ENVIRONMENT_FILES_MAX} are \
             allowed.",
            container.environment_files.len()
        ));
    }
    for file in &container.environment_files {
        check_environment_file(name, &file.value)?;
    }
    Ok(())
}

/// Checks a variable's name, in overrides too.
pub(crate) fn check_variable(container: &str, variable: &str) -> Result<(), Invalid> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return refuse(format!(
            "Container '{container}' has the environment variable name `{variable}`; it must not \
             be empty or hold `=` or NUL."
        ));
    }
    Ok(())
}

/// Checks an environment file's ARN, in overrides too.
pub(crate) fn check_environment_file(container: &str, arn: &str) -> Result<(), Invalid> {
    let object = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:::"));
    if !object.is_some_and(|(_, object)| object.contains('/') && object.ends_with(".env")) {
        return refuse(format!(
            "Container '{container}' has the environment file `{arn}`; it must be the ARN of an S3 \
             object that ends in .env, as in arn:aws:s3:::bucket/file.env."
        ));
    }
    Ok(())
}

fn check_secrets(
    spec: &TaskSpec,
    container: &str,
    member: &str,
    secrets: &[SecretReference],
) -> Result<(), Invalid> {
    if secrets.is_empty() {
        return Ok(());
    }
    for (index, secret) in secrets.iter().enumerate() {
        if secret.name.is_empty() || secret.value_from.is_empty() {
            return refuse(format!(
                "Container '{container}' has an entry in {member} whose name or valueFrom is empty."
            ));
        }
        if secrets[..index].iter().any(|other| other.name == secret.name) {
            return refuse(format!(
                "Container '{container}' has the name `{}` twice in {member}.",
                secret.name
            ));
        }
    }
    if spec.execution_role_arn.as_deref().unwrap_or_default().is_empty() {
        return refuse(
            "When you are specifying container secrets, you must also specify a value for \
             'executionRoleArn'. Hosts of this release read no secrets all the same: use \
             environmentFiles or a mounted file.",
        );
    }
    Ok(())
}

fn check_mounts(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    let name = &container.name;
    let mut paths: Vec<&str> = Vec::new();
    for mount in &container.mount_points {
        let volume = mount.source_volume.as_deref().unwrap_or_default();
        if !spec.volumes.iter().any(|v| v.name == volume) {
            return refuse(format!("Unknown volume '{volume}' in container '{name}'."));
        }
        let path = mount.container_path.as_deref().unwrap_or_default();
        if path.is_empty() {
            return refuse(format!(
                "Container '{name}' mounts the volume '{volume}' without a containerPath."
            ));
        }
        if paths.contains(&path) {
            return refuse(format!("Container '{name}' mounts two volumes at `{path}`."));
        }
        paths.push(path);
    }
    Ok(())
}

fn check_network_members(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    let mode = match spec.network_mode() {
        NetworkMode::Awsvpc => "awsvpc",
        NetworkMode::Host | NetworkMode::Bridge | NetworkMode::None => return Ok(()),
    };
    let given = [
        ("Hostname", container.hostname.is_some()),
        ("Extra hosts", !container.extra_hosts.is_empty()),
        ("DNS servers", !container.dns_servers.is_empty()),
        ("DNS search domains", !container.dns_search_domains.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((what, _)) => {
            refuse(format!("{what} is not supported on container when networkMode={mode}."))
        }
        None => Ok(()),
    }
}

fn check_ulimit(name: &str, ulimit: &Ulimit) -> Result<(), Invalid> {
    if !ULIMITS.contains(&ulimit.name.as_str()) {
        return refuse(format!(
            "Container '{name}' has a ulimit with the name `{}`, which is not known. Valid values: {}.",
            ulimit.name,
            ULIMITS.join(", ")
        ));
    }
    let unlimited = -1;
    let (soft, hard) = (ulimit.soft_limit, ulimit.hard_limit);
    if soft < unlimited || hard < unlimited || hard != unlimited && (soft > hard || soft < 0) {
        return refuse(format!(
            "The ulimit `{}` of container '{name}' has the softLimit {soft}, which must not be more \
             than its hardLimit {hard}; -1 is no limit.",
            ulimit.name
        ));
    }
    Ok(())
}

fn check_requirements(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    for requirement in &container.resource_requirements {
        check_requirement(spec, &container.name, requirement)?;
    }
    Ok(())
}

fn check_requirement(
    spec: &TaskSpec,
    container: &str,
    requirement: &ResourceRequirement,
) -> Result<(), Invalid> {
    let value = requirement.value.as_deref().unwrap_or_default();
    let shared = requirement.sharing_strategy.is_some();
    check_sharing(container, requirement)?;
    let whole = |text: &str| text.parse::<u32>().is_ok_and(|count| count > 0);
    let valid = match requirement.kind {
        ResourceType::Gpu => shared && value.is_empty() || whole(value) || value == "ALL",
        ResourceType::NeuronDevice => value == "ALL",
        ResourceType::InferenceAccelerator => {
            spec.inference_accelerators.iter().any(|a| a.device_name == value)
        }
    };
    if valid {
        return Ok(());
    }
    refuse(match requirement.kind {
        ResourceType::Gpu => format!(
            "Container '{container}' asks for `{value}` GPUs; give a whole number above 0 or ALL."
        ),
        ResourceType::NeuronDevice => format!(
            "Container '{container}' asks for `{value}` Neuron devices; the value must be ALL."
        ),
        ResourceType::InferenceAccelerator => format!(
            "Container '{container}' asks for the inference accelerator `{value}`, which is not a \
             deviceName of inferenceAccelerators."
        ),
    })
}

/// What can be said without the definition.
pub(crate) fn check_overridden_requirement(
    container: &str,
    requirement: &ResourceRequirement,
) -> Result<(), Invalid> {
    match requirement.kind {
        ResourceType::Gpu | ResourceType::NeuronDevice => {
            check_requirement(&TaskSpec::default(), container, requirement)
        }
        ResourceType::InferenceAccelerator => check_sharing(container, requirement),
    }
}

fn check_sharing(container: &str, requirement: &ResourceRequirement) -> Result<(), Invalid> {
    if let Some(SharingStrategy { nvidia_mps: Some(mps) }) = &requirement.sharing_strategy {
        let percent = mps.max_compute_percent.unwrap_or(COMPUTE_PERCENT_MAX);
        if mps.memory == 0 || !(1..=COMPUTE_PERCENT_MAX).contains(&percent) {
            return refuse(format!(
                "Container '{container}' shares a GPU by nvidiaMps, which needs a memory of at \
                 least 1 MiB, and a maxComputePercent of 1 to {COMPUTE_PERCENT_MAX} if it has one."
            ));
        }
    }
    Ok(())
}

fn check_security(container: &ContainerDefinition) -> Result<(), Invalid> {
    let name = &container.name;
    for option in &container.docker_security_options {
        let known = option == "no-new-privileges"
            || ["apparmor:", "label:", "credentialspec:", "credentialspecdomainless:"]
                .iter()
                .any(|prefix| option.len() > prefix.len() && option.starts_with(prefix));
        if !known {
            return refuse(format!(
                "Container '{name}' has the dockerSecurityOptions entry `{option}`. Valid values: \
                 no-new-privileges, apparmor:PROFILE, label:VALUE, credentialspec:PATH."
            ));
        }
    }
    if container.credential_specs.len() > CREDENTIAL_SPECS_MAX {
        return refuse(format!(
            "Container '{name}' has {} credentialSpecs, at most {CREDENTIAL_SPECS_MAX} is allowed.",
            container.credential_specs.len()
        ));
    }
    for credential in &container.credential_specs {
        let arn = credential
            .strip_prefix("credentialspec:")
            .or_else(|| credential.strip_prefix("credentialspecdomainless:"));
        if !arn.is_some_and(|arn| arn.starts_with("arn:")) {
            return refuse(format!(
                "Container '{name}' has the credentialSpecs entry `{credential}`; write \
                 credentialspec:ARN or credentialspecdomainless:ARN."
            ));
        }
    }
    Ok(())
}

fn check_timeouts(spec: &TaskSpec, container: &ContainerDefinition) -> Result<(), Invalid> {
    if !spec.requires_compatibilities.contains(&Compatibility::Fargate) {
        return Ok(());
    }
    let timeouts =
        [("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)];
    for (member, value) in timeouts {
        if let Some(value) = value {
            in_range(&container.name, member, value, FARGATE_TIMEOUT)?;
        }
    }
    Ok(())
}
