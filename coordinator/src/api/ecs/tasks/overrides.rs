//! `overrides` of RunTask and StartTask: what is wrong with them whatever the task definition says.

use longshore_common::task::{ContainerOverride, TaskOverride};

use crate::{
    api::ecs::task_definitions::{sizes, validate},
    edge::error::ApiError,
};

pub(crate) use longshore_common::limits::OVERRIDES_CHARS_MAX as CHARS_MAX;

/// The overrides, their sizes in units.
pub(super) fn parse(given: Option<TaskOverride>) -> Result<TaskOverride, ApiError> {
    let mut overrides = given.unwrap_or_default();
    let json = serde_json::to_string(&overrides).map_err(|error| {
        ApiError::server(format!("the overrides could not be written: {error}"))
    })?;
    let chars = json.chars().count();
    if chars > CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "Container Overrides length must be at most {CHARS_MAX}; they are {chars} characters \
             long as JSON. Put what is long into the task definition or the image."
        )));
    }
    let mut seen: Vec<&str> = Vec::new();
    for container in &overrides.container_overrides {
        let name = container.name.as_deref().unwrap_or_default();
        check_container(name, container)?;
        if seen.contains(&name) {
            return Err(ApiError::invalid_parameter(format!(
                "containerOverrides names the container `{name}` twice."
            )));
        }
        seen.push(name);
    }
    let empty = |text: &String| !text.is_empty();
    overrides.cpu = overrides.cpu.filter(empty);
    overrides.memory = overrides.memory.filter(empty);
    overrides.task_role_arn = overrides.task_role_arn.filter(empty);
    overrides.execution_role_arn = overrides.execution_role_arn.filter(empty);
    overrides.cpu = size("cpu", overrides.cpu, sizes::cpu_units, sizes::TASK_CPU_MIN)?;
    overrides.memory =
        size("memory", overrides.memory, sizes::memory_mib, sizes::CONTAINER_MEMORY_MIN)?;
    Ok(overrides)
}

fn size(
    member: &str,
    given: Option<String>,
    units: fn(&str) -> Option<u32>,
    least: u32,
) -> Result<Option<String>, ApiError> {
    let Some(text) = given else { return Ok(None) };
    match units(&text).filter(|units| *units >= least) {
        Some(units) => Ok(Some(units.to_string())),
        None => Err(ApiError::invalid_parameter(format!(
            "Invalid '{member}' setting for task: overrides.{member} is `{text}`; give at least \
             {least}."
        ))),
    }
}

fn check_container(name: &str, container: &ContainerOverride) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid_parameter(
            "Container override name should not be null or empty: say which container of the task \
             definition is meant.",
        ));
    }
    // The rules are those of the definition; the error is that of a parameter.
    let invalid = |validate::Invalid(sentence)| ApiError::invalid_parameter(sentence);
    for variable in container.environment.iter().flatten() {
        validate::check_variable(name, &variable.name).map_err(invalid)?;
    }
    for file in container.environment_files.iter().flatten() {
        validate::check_environment_file(name, &file.value).map_err(invalid)?;
    }
    for requirement in container.resource_requirements.iter().flatten() {
        validate::check_overridden_requirement(name, requirement).map_err(invalid)?;
    }
    let sizes = [("memory", container.memory), ("memoryReservation", container.memory_reservation)];
    for (member, value) in sizes {
        if value.is_some_and(|mib| mib < sizes::CONTAINER_MEMORY_MIN) {
            return Err(ApiError::invalid_parameter(format!(
                "The override of '{member}' for container '{name}' must be at least {} MiB.",
                sizes::CONTAINER_MEMORY_MIN
            )));
        }
    }
    if let (Some(memory), Some(reservation)) = (container.memory, container.memory_reservation)
        && memory < reservation
    {
        return Err(ApiError::invalid_parameter(format!(
            "The overrides of container '{name}' give a 'memory' ({memory}) that is less than its \
             'memoryReservation' ({reservation})."
        )));
    }
    Ok(())
}
