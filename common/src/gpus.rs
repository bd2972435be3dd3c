//! GPUs of a task: how many each container is to have, and which (ecs-behaviour 1.3,
//! resourceRequirements).
//!
//! Both programs read it here, so that what the API shows of a container is what it has. Never: a
//! choice of GPUs, which is the coordinator's.

use crate::{
    task::TaskOverride,
    task_definition::{ContainerDefinition, ResourceRequirement, ResourceType, TaskSpec},
};

/// What a container asks of one kind, with an override in place of what its definition says.
fn requirement<'a>(
    container: &'a ContainerDefinition,
    overrides: &'a TaskOverride,
) -> Option<&'a ResourceRequirement> {
    let gpu = |requirement: &&ResourceRequirement| requirement.kind == ResourceType::Gpu;
    let overridden = overrides.container(&container.name);
    let overridden = overridden.and_then(|over| over.resource_requirements.as_ref());
    overridden
        .and_then(|all| all.iter().find(gpu))
        .or_else(|| container.resource_requirements.iter().find(gpu))
}

/// GPUs that a container is to have for itself.
pub fn asked(container: &ContainerDefinition, overrides: &TaskOverride) -> u32 {
    requirement(container, overrides).and_then(count).unwrap_or(0)
}

/// A positive whole number of GPUs; absent for every other way to ask.
pub fn count(requirement: &ResourceRequirement) -> Option<u32> {
    let counts = requirement.kind == ResourceType::Gpu && requirement.sharing_strategy.is_none();
    let value = requirement.value.as_deref().filter(|_| counts)?;
    value.parse().ok().filter(|count| *count > 0)
}

/// GPUs that a task's containers are to have together.
pub fn of_task(spec: &TaskSpec, overrides: &TaskOverride) -> u32 {
    let containers = spec.container_definitions.iter();
    containers.map(|container| asked(container, overrides)).fold(0, u32::saturating_add)
}

/// Which of a task's GPUs each of its containers has, in the order of its containers.
pub fn shares<'a>(
    containers: &[ContainerDefinition],
    overrides: &TaskOverride,
    gpus: &'a [String],
) -> Vec<&'a [String]> {
    let mut left = gpus;
    let share = |container: &ContainerDefinition| {
        let count = asked(container, overrides) as usize;
        let (own, rest) = left.split_at(count.min(left.len()));
        left = rest;
        own
    };
    containers.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn containers(asked: &[Value]) -> Vec<ContainerDefinition> {
        let container = |(n, asked): (usize, &Value)| {
            let asked = json!([{ "type": "GPU", "value": asked }]);
            json!({ "name": format!("c{n}"), "resourceRequirements": asked })
        };
        let all: Vec<Value> = asked.iter().enumerate().map(container).collect();
        serde_json::from_value(json!(all)).unwrap()
    }

    fn over(name: &str, value: &str) -> TaskOverride {
        let asked = json!([{ "type": "GPU", "value": value }]);
        let container = json!({ "name": name, "resourceRequirements": asked });
        serde_json::from_value(json!({ "containerOverrides": [container] })).unwrap()
    }

    #[test]
    fn each_container_has_as_many_as_it_asks_for_and_an_override_decides() {
        let containers = containers(&[json!("2"), json!("1")]);
        let gpus = ["a", "b", "c", "d"].map(str::to_owned);
        let none = TaskOverride::default();
        assert_eq!(shares(&containers, &none, &gpus), [&gpus[..2], &gpus[2..3]]);
        assert_eq!(shares(&containers, &over("c0", "1"), &gpus), [&gpus[..1], &gpus[1..2]]);
        // An order that names too few leaves the last without.
        assert_eq!(shares(&containers, &none, &gpus[..2]), [&gpus[..2], &[]]);
    }

    #[test]
    fn only_a_positive_whole_number_counts() {
        for (value, expected) in [("3", 3), ("0", 0), ("ALL", 0), ("-1", 0), ("1.5", 0)] {
            let containers = containers(&[json!(value)]);
            assert_eq!(asked(&containers[0], &TaskOverride::default()), expected, "{value}");
        }
    }
}
