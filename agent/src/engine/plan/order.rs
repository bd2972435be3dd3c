//! The order of a task's containers: who waits for whom to begin, and who stops first
//! (ecs-behaviour 1.7).
//!
//! Pure functions of what is desired and observed. Never: a conclusion from what is unknown; a
//! dependency that was not asked for since the agent started is neither met nor out of reach.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    task::HealthStatus,
    task_definition::{ContainerDefinition, DependencyCondition, TaskSpec},
};

use super::{DesiredTask, firelens, pause};
use crate::engine::task::observed::{ContainerState, ObservedContainer, ObservedTask};

#[cfg(test)]
mod tests;

/// One container needs something of another before it is pulled and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Index of the container that is waited for.
    pub(crate) on: usize,
    pub(crate) condition: Condition,
}

/// ECS's conditions, and what `volumesFrom` asks without saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Created,
    Start,
    Complete,
    Success,
    Healthy,
}

/// How one dependency stands.
enum Standing {
    Met,
    Waits,
    /// What became of the dependency; it can never be met now.
    OutOfReach(String),
}

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
    let pause = pause::index(spec).map(|on| Dependency { on, condition: Condition::Start });
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

/// Whether everything that this container waits for is so.
pub(crate) fn may_begin(desired: &DesiredTask, observed: &ObservedTask, index: usize) -> bool {
    let all = &desired.containers[index].depends_on;
    all.iter().all(|one| matches!(standing(*one, desired, observed), Standing::Met))
}

/// The first container that can never begin, and why.
pub(crate) fn never_begins(
    desired: &DesiredTask,
    observed: &ObservedTask,
    now: Timestamp,
) -> Option<(usize, String)> {
    for index in 0..desired.containers.len() {
        for one in waiting_for(desired, observed, index) {
            let dependency = &desired.containers[one.on].name;
            let what = match standing(one, desired, observed) {
                Standing::Met => continue,
                Standing::OutOfReach(what) => what,
                Standing::Waits => match gives_up_at(one, desired, observed) {
                    Some(at) if at <= now => format!(
                        "was not {} within its startTimeout of {} s",
                        one.condition.in_words(),
                        (at.since(started(one, observed)?)).as_secs()
                    ),
                    Some(_) | None => continue,
                },
            };
            let container = &desired.containers[index].name;
            let why = format!(
                "CannotStartContainerError: container {container} depends on {dependency}, which \
                 {what}"
            );
            return Some((index, why));
        }
    }
    None
}

/// When the next `startTimeout` runs out for a container that still waits.
pub(crate) fn next_deadline(desired: &DesiredTask, observed: &ObservedTask) -> Option<Timestamp> {
    (0..desired.containers.len())
        .flat_map(|index| waiting_for(desired, observed, index))
        .filter(|one| matches!(standing(*one, desired, observed), Standing::Waits))
        .filter_map(|one| gives_up_at(one, desired, observed))
        .min()
}

/// Shutdown is the other way round: nobody that depends on this container runs any more.
pub(crate) fn may_stop(desired: &DesiredTask, observed: &ObservedTask, index: usize) -> bool {
    let depends = |other: usize| desired.containers[other].depends_on.iter().any(|d| d.on == index);
    (0..desired.containers.len())
        .filter(|other| depends(*other))
        .all(|other| observed.containers[other].is_over())
}

/// What a container that was not begun with still waits for.
fn waiting_for<'a>(
    desired: &'a DesiredTask,
    observed: &'a ObservedTask,
    index: usize,
) -> impl Iterator<Item = Dependency> + 'a {
    let container = &observed.containers[index];
    let waits = container.state == ContainerState::Absent && !container.in_flight;
    desired.containers[index].depends_on.iter().copied().filter(move |_| waits)
}

fn standing(one: Dependency, desired: &DesiredTask, observed: &ObservedTask) -> Standing {
    let dependency = &observed.containers[one.on];
    let ended = match dependency.state {
        ContainerState::Unknown | ContainerState::Absent => return Standing::Waits,
        ContainerState::Created => false,
        ContainerState::Running | ContainerState::Restarting => false,
        ContainerState::Stopped | ContainerState::Removed => true,
    };
    let runs = dependency.state == ContainerState::Running;
    match (one.condition, ended) {
        // One that never was made holds nothing that another could use.
        (Condition::Created, true) if !dependency.ever_ran && dependency.id.is_none() => {
            Standing::OutOfReach(end_of(dependency, one.condition))
        }
        (Condition::Created, _) => Standing::Met,
        (Condition::Start, _) if runs || dependency.ever_ran => Standing::Met,
        (Condition::Complete, true) if dependency.ever_ran => Standing::Met,
        (Condition::Success, true) if dependency.exit_code == Some(0) => Standing::Met,
        (Condition::Healthy, false) if runs && is_healthy(one, desired, dependency) => {
            Standing::Met
        }
        (_, true) => Standing::OutOfReach(end_of(dependency, one.condition)),
        (
            Condition::Start | Condition::Complete | Condition::Success | Condition::Healthy,
            false,
        ) => Standing::Waits,
    }
}

fn is_healthy(one: Dependency, desired: &DesiredTask, container: &ObservedContainer) -> bool {
    desired.containers[one.on].health_check && container.health == Some(HealthStatus::Healthy)
}

fn end_of(dependency: &ObservedContainer, condition: Condition) -> String {
    let condition = condition.in_words();
    match dependency.exit_code {
        _ if !dependency.ever_ran => "never ran".to_owned(),
        Some(code) => format!("ended with exit code {code} before it was {condition}"),
        None => format!("ended before it was {condition}"),
    }
}

/// ecs-behaviour 1.7: measured from the dependency's start, for what comes after a start.
fn gives_up_at(
    one: Dependency,
    desired: &DesiredTask,
    observed: &ObservedTask,
) -> Option<Timestamp> {
    let timeout: Duration = desired.containers[one.on].start_timeout?;
    match one.condition {
        Condition::Created | Condition::Start => None,
        Condition::Complete | Condition::Success | Condition::Healthy => {
            Some(started(one, observed)?.saturating_add(timeout))
        }
    }
}

fn started(one: Dependency, observed: &ObservedTask) -> Option<Timestamp> {
    observed.containers[one.on].start_by_this_clock()
}

impl Condition {
    fn in_words(self) -> &'static str {
        match self {
            Condition::Created => "created",
            Condition::Start => "started",
            Condition::Complete => "COMPLETE",
            Condition::Success => "a SUCCESS",
            Condition::Healthy => "HEALTHY",
        }
    }
}
