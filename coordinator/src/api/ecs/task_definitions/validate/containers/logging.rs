//! `logConfiguration` and `firelensConfiguration` (ecs-behaviour 1.3, 1.22).

use longshore_common::{
    boolean,
    logs::options::{AWSLOGS, AwslogsOptions},
    task_definition::{FirelensConfiguration, LogConfiguration, TaskSpec},
};

use super::super::{Invalid, refuse};

/// ECS's model, LogDriver.
const LOG_DRIVERS: [&str; 8] =
    ["json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "awsfirelens"];

pub(super) fn check(name: &str, log: &LogConfiguration) -> Result<(), Invalid> {
    if !LOG_DRIVERS.contains(&log.log_driver.as_str()) {
        return refuse(format!(
            "Container '{name}' has the logDriver `{}`, which is not known. Valid values: {}.",
            log.log_driver,
            LOG_DRIVERS.join(", ")
        ));
    }
    let required: &[&str] = match log.log_driver.as_str() {
        "awslogs" => &["awslogs-group", "awslogs-region"],
        "splunk" => &["splunk-url"],
        _ => &[],
    };
    let missing: Vec<&str> =
        required.iter().copied().filter(|option| !log.options.contains_key(*option)).collect();
    if !missing.is_empty() {
        return refuse(format!(
            "Log driver {} requires options: {} (container '{name}').",
            log.log_driver,
            missing.join(", ")
        ));
    }
    if log.log_driver == AWSLOGS
        && let Err(invalid) = AwslogsOptions::parse(&log.options)
    {
        return refuse(format!("Log driver {AWSLOGS} {invalid} (container '{name}')."));
    }
    Ok(())
}

/// One container routes the logs of the others.
pub(crate) fn check_routing(spec: &TaskSpec) -> Result<(), Invalid> {
    let mut routers = 0;
    for container in &spec.container_definitions {
        if let Some(firelens) = &container.firelens_configuration {
            routers += 1;
            check_firelens(&container.name, firelens)?;
        }
    }
    if routers > 1 {
        return refuse("Only one container of a task definition can have a firelensConfiguration.");
    }
    let routed = |log: &LogConfiguration| log.log_driver == "awsfirelens";
    let user = spec
        .container_definitions
        .iter()
        .find(|container| container.log_configuration.as_ref().is_some_and(routed));
    if let Some(container) = user
        && routers == 0
    {
        return refuse(format!(
            "Container '{}' has the log driver awsfirelens, and no container of the task \
             definition has a firelensConfiguration.",
            container.name
        ));
    }
    Ok(())
}

fn check_firelens(name: &str, firelens: &FirelensConfiguration) -> Result<(), Invalid> {
    for (option, value) in &firelens.options {
        let valid = match option.as_str() {
            "enable-ecs-log-metadata" => boolean::parse(value).is_some(),
            "config-file-type" => matches!(value.as_str(), "s3" | "file"),
            "config-file-value" => !value.is_empty(),
            _ => false,
        };
        if !valid {
            return refuse(format!(
                "Container '{name}' has the firelensConfiguration option `{option}` with the value \
                 `{value}`. Valid: enable-ecs-log-metadata true or false, config-file-type s3 or \
                 file, config-file-value."
            ));
        }
    }
    let has = |option: &str| firelens.options.contains_key(option);
    if has("config-file-type") != has("config-file-value") {
        return refuse(format!(
            "Container '{name}' needs both config-file-type and config-file-value in its \
             firelensConfiguration, or neither."
        ));
    }
    Ok(())
}
