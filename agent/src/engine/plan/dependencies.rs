//! What a container waits for before it is pulled and made, by its definition.

use longshore_common::task_definition::{ContainerDefinition, DependencyCondition, TaskSpec};

use super::{firelens, namespaces};
use crate::task::desired::{Condition, Dependency};

/// Everything that a container waits for: `dependsOn`, and what `links`, `volumesFrom` and shared
/// namespaces imply.
pub(crate) fn dependencies(spec: &TaskSpec, container: &ContainerDefinition) -> Vec<Dependency> {
    let index_of = |name: &str| spec.container_definitions.iter().position(|c| c.name == name);
    let explicit = container.depends_on.iter().map(|depends| {
        let condition = match depends.condition {
            DependencyCondition::Start => Condition::Start,
            DependencyCondition::Complete => Condition::Complete,
            DependencyCondition::Success => Condition::Success,
            DependencyCondition::Healthy => Condition::Healthy,
        };
        (depends.container_name.as_str(), condition)
    });
    let links = container.links.iter().map(|link| (linked(link).0, Condition::Start));
    let volumes = container
        .volumes_from
        .iter()
        .map(|from| (from.source_container.as_deref().unwrap_or_default(), Condition::Created));
    let router = firelens::router_of(spec, container).into_iter();
    let router = router.map(|router| (router.name.as_str(), Condition::Start));
    let pause =
        namespaces::pause_index(spec).map(|on| Dependency { on, condition: Condition::Start });
    explicit
        .chain(links)
        .chain(router)
        .chain(volumes)
        .filter_map(|(name, condition)| Some(Dependency { on: index_of(name)?, condition }))
        .chain(pause)
        .collect()
}

/// `name` or `name:alias` of `links`: the container, and the name it is to be known by.
pub(crate) fn linked(link: &str) -> (&str, &str) {
    link.split_once(':').unwrap_or((link, link))
}
