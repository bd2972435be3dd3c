//! Who needs whom: `dependsOn`, `links` and `volumesFrom` name containers of the task, without
//! a cycle (ecs-behaviour 1.7: the agent could never begin with one).

use longshore_common::task_definition::{
    ContainerDefinition, DependencyCondition, NetworkMode, TaskSpec,
};

use super::{Invalid, refuse};

pub(super) fn check(spec: &TaskSpec) -> Result<(), Invalid> {
    let containers = &spec.container_definitions;
    for (index, container) in containers.iter().enumerate() {
        if containers[..index].iter().any(|c| c.name == container.name) {
            return refuse(format!("Container name '{}' is used twice.", container.name));
        }
    }
    // For each container, the indexes of those that must come first.
    let mut needs: Vec<Vec<usize>> = Vec::with_capacity(containers.len());
    for container in containers {
        let mut first = Vec::new();
        check_dependencies(spec, container, &mut first)?;
        check_links(spec, container, &mut first)?;
        for from in &container.volumes_from {
            let source = from.source_container.as_deref().unwrap_or_default();
            first.push(named(spec, container, "volumesFrom.sourceContainer", source)?);
        }
        needs.push(first);
    }
    if let Some(index) = in_a_cycle(&needs) {
        return refuse(format!(
            "Container '{}' depends on itself through dependsOn, links or volumesFrom.",
            containers[index].name
        ));
    }
    Ok(())
}

fn check_dependencies(
    spec: &TaskSpec,
    container: &ContainerDefinition,
    first: &mut Vec<usize>,
) -> Result<(), Invalid> {
    for dependency in &container.depends_on {
        let index = named(spec, container, "dependsOn", &dependency.container_name)?;
        let other = &spec.container_definitions[index];
        match dependency.condition {
            DependencyCondition::Start => {}
            DependencyCondition::Complete | DependencyCondition::Success => {
                if other.is_essential() {
                    return refuse(format!(
                        "Container '{}' cannot depend on the completion of container '{}', which \
                         is essential: its end ends the task.",
                        container.name, other.name
                    ));
                }
            }
            DependencyCondition::Healthy => {
                if other.health_check.is_none() {
                    return refuse(format!(
                        "Container '{}' depends on the health of container '{}', which has no \
                         healthCheck.",
                        container.name, other.name
                    ));
                }
            }
        }
        first.push(index);
    }
    Ok(())
}

fn check_links(
    spec: &TaskSpec,
    container: &ContainerDefinition,
    first: &mut Vec<usize>,
) -> Result<(), Invalid> {
    if container.links.is_empty() {
        return Ok(());
    }
    let mode = match spec.network_mode() {
        NetworkMode::Bridge => None,
        NetworkMode::Host => Some("host"),
        NetworkMode::Awsvpc => Some("awsvpc"),
        NetworkMode::None => Some("none"),
    };
    if let Some(mode) = mode {
        return refuse(format!("Links are not supported when networkMode={mode}."));
    }
    for link in &container.links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        if alias.is_empty() {
            return refuse(format!(
                "Container '{}' has the link `{link}`, whose alias is empty.",
                container.name
            ));
        }
        first.push(named(spec, container, "links", name)?);
    }
    Ok(())
}

/// The index of the container called `name`, which must not be `container` itself.
fn named(
    spec: &TaskSpec,
    container: &ContainerDefinition,
    member: &str,
    name: &str,
) -> Result<usize, Invalid> {
    if name == container.name {
        return refuse(format!("Container '{name}' names itself in {member}."));
    }
    let index = spec.container_definitions.iter().position(|c| c.name == name);
    index.map_or_else(
        || {
            refuse(format!(
                "Container '{}' names `{name}` in {member}, which is not a container of the task \
                 definition.",
                container.name
            ))
        },
        Ok,
    )
}

/// A node that can reach itself, if there is one. At most ten nodes: removing those that need
/// nothing until none is left is enough.
fn in_a_cycle(needs: &[Vec<usize>]) -> Option<usize> {
    let mut done = vec![false; needs.len()];
    loop {
        let free = (0..needs.len()).find(|&i| !done[i] && needs[i].iter().all(|&n| done[n]));
        match free {
            Some(index) => done[index] = true,
            None => return done.iter().position(|done| !done),
        }
    }
}
