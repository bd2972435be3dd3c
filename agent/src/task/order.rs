//! The order of a task's containers: which waits for which to begin, and which stops first
//! (ecs-behaviour 1.7).
//!
//! Pure functions of what is desired and observed. Never: a conclusion from what is unknown; a
//! dependency that was not asked for since the agent started is neither met nor out of reach.

use std::time::Duration;

use longshore_common::{clock::Timestamp, task::HealthStatus};

use super::desired::DesiredTask;
use crate::task::{
    desired::{Condition, Dependency},
    observed::{ContainerState, ObservedContainer, ObservedTask},
};

#[cfg(test)]
mod tests;

/// Whether a dependency is met.
enum DependencyStanding {
    Met,
    Waits,
    /// The dependency can never be met any more; the text says what became of it.
    OutOfReach(String),
}

/// Whether every dependency of this container is met.
pub(crate) fn may_begin(desired: &DesiredTask, observed: &ObservedTask, index: usize) -> bool {
    let all = &desired.containers[index].depends_on;
    all.iter().all(|one| matches!(standing(*one, desired, observed), DependencyStanding::Met))
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
                DependencyStanding::Met => continue,
                DependencyStanding::OutOfReach(what) => what,
                DependencyStanding::Waits => match gives_up_at(one, desired, observed) {
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
        .filter(|one| matches!(standing(*one, desired, observed), DependencyStanding::Waits))
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

/// The dependencies of a container for which no call was made yet.
fn waiting_for<'a>(
    desired: &'a DesiredTask,
    observed: &'a ObservedTask,
    index: usize,
) -> impl Iterator<Item = Dependency> + 'a {
    let container = &observed.containers[index];
    let waits = matches!(container.state, ContainerState::Absent { .. }) && !container.is_called();
    desired.containers[index].depends_on.iter().copied().filter(move |_| waits)
}

fn standing(one: Dependency, desired: &DesiredTask, observed: &ObservedTask) -> DependencyStanding {
    let dependency = &observed.containers[one.on];
    let ended = match dependency.state {
        ContainerState::Unknown(_) | ContainerState::Absent { .. } => {
            return DependencyStanding::Waits;
        }
        ContainerState::Created { .. }
        | ContainerState::Started { .. }
        | ContainerState::Running { .. }
        | ContainerState::Restarting { .. } => false,
        ContainerState::Stopped { .. } | ContainerState::Removed { .. } => true,
    };
    let runs = dependency.runs();
    match (one.condition, ended) {
        // One that never was made holds nothing that another could use.
        (Condition::Created, true) if !dependency.ever_ran() && dependency.id().is_none() => {
            DependencyStanding::OutOfReach(end_of(dependency, one.condition))
        }
        (Condition::Created, _) => DependencyStanding::Met,
        (Condition::Start, _) if dependency.ever_ran() => DependencyStanding::Met,
        (Condition::Complete, true) if dependency.ever_ran() => DependencyStanding::Met,
        (Condition::Success, true) if dependency.exit_code() == Some(0) => DependencyStanding::Met,
        (Condition::Healthy, false) if runs && is_healthy(one, desired, dependency) => {
            DependencyStanding::Met
        }
        (_, true) => DependencyStanding::OutOfReach(end_of(dependency, one.condition)),
        (
            Condition::Start | Condition::Complete | Condition::Success | Condition::Healthy,
            false,
        ) => DependencyStanding::Waits,
    }
}

fn is_healthy(one: Dependency, desired: &DesiredTask, container: &ObservedContainer) -> bool {
    desired.containers[one.on].health_check && container.health() == Some(HealthStatus::Healthy)
}

fn end_of(dependency: &ObservedContainer, condition: Condition) -> String {
    let condition = condition.in_words();
    match dependency.exit_code() {
        _ if !dependency.ever_ran() => "never ran".to_owned(),
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
