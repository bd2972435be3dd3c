//! The texts of a service's events, as ECS words them (ecs-behaviour 1.9).

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    task::{StopCause, StopCode},
};

use crate::{
    model::{service::RevisionId, strategy},
    placement::{Unfit, Unplaced},
    state::{Service, State},
};

/// Time for which identical events are suppressed (ecs-behaviour 1.8).
pub(super) const REPEATED_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Maximum number of tasks that one message names (ours); the others are counted.
const TASKS_NAMED_MAX: usize = 20;
/// Maximum number of container instances that one message names (ours); the others are counted.
const HOSTS_NAMED_MAX: usize = 10;

pub(super) fn started(service: &Service, tasks: &[TaskId]) -> String {
    format!("(service {}) has started {} tasks:{}.", service.name, tasks.len(), named(tasks))
}

pub(super) fn stopped(service: &Service, tasks: &[TaskId]) -> String {
    let (name, count) = (&service.name, tasks.len());
    format!("(service {name}) has stopped {count} running tasks:{}.", named(tasks))
}

/// The message of lost tasks, which ECS does not have: its hosts are not lost, they are replaced.
pub(super) fn lost(service: &Service, host: HostId, since: Timestamp, tasks: &[TaskId]) -> String {
    format!(
        "(service {}) has lost {} tasks with the (container-instance {host}), whose agent has not been heard since {since}:{}.",
        service.name,
        tasks.len(),
        named(tasks)
    )
}

pub(super) fn failed_health_checks(service: &Service, task: TaskId) -> String {
    format!("(service {}) (task {task}) failed container health checks.", service.name)
}

fn named(tasks: &[TaskId]) -> String {
    let mut text = String::new();
    for task in tasks.iter().take(TASKS_NAMED_MAX) {
        text.push_str(&format!(" (task {task})"));
    }
    if tasks.len() > TASKS_NAMED_MAX {
        text.push_str(&format!(" and {} more", tasks.len() - TASKS_NAMED_MAX));
    }
    text
}

pub(super) fn deadlock(service: &Service) -> String {
    format!(
        "(service {}) was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
        service.name
    )
}

pub(super) fn waits_for_silent_hosts(service: &Service, tasks: &[TaskId]) -> String {
    format!(
        "(service {}) waits in its deployment for {} tasks on container instances whose agents are not connected:{}. They are never taken for lost (longshore:lost-after). Connect the container instances, or deregister them by force.",
        service.name,
        tasks.len(),
        named(tasks)
    )
}

pub(super) fn waits_for_engines(service: &Service, hosts: &BTreeSet<HostId>) -> String {
    let named: Vec<String> = hosts
        .iter()
        .take(HOSTS_NAMED_MAX)
        .map(|host| format!(" (container-instance {host})"))
        .collect();
    let more = match hosts.len().saturating_sub(HOSTS_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "(service {}) was unable to reach steady state because it is not known how its tasks are on {} container instances:{}{more}. Their agents are connected, and their container engines have not answered. See to the engines there, or deregister the container instances by force.",
        service.name,
        hosts.len(),
        named.concat()
    )
}

pub(super) fn forbidden(service: &Service, member: &str) -> String {
    format!(
        "(service {}) was unable to place a task because the operator of this cluster lets no task have {member}. Update the service with another task definition, or have the coordinator's settings forbid, bind_roots and allow_volumes changed.",
        service.name
    )
}

pub(super) fn does_not_start(service: &Service) -> String {
    format!("(service {}) is unable to consistently start tasks successfully.", service.name)
}

/// ECS's sentence, and the numbers of the closest host after it.
pub(super) fn unplaced(state: &State, service: &Service, unplaced: &Unplaced) -> String {
    let name = &service.name;
    let Some((closest, lacks)) = &unplaced.closest else {
        return format!(
            "(service {name}) was unable to place a task because no container instance met all of its requirements. Reason: No Container Instances were found in your cluster."
        );
    };
    let host = state.host_at(*closest).id;
    let lacking = match lacks.first() {
        Some(Unfit::Cpu { .. }) => "has insufficient CPU units available",
        Some(Unfit::Gpu { .. }) => "has insufficient GPU resource available",
        Some(Unfit::Memory { .. }) => "has insufficient memory available",
        Some(Unfit::Port(_)) => "is already using a port required by your task",
        Some(Unfit::Attribute(_)) => "is missing an attribute required by your task",
        Some(Unfit::MemberOf(_)) => "does not satisfy a placement constraint",
        Some(Unfit::DistinctInstance) => "is already running a task of the service",
        Some(Unfit::AgentDisconnected | Unfit::EngineSilent | Unfit::NoRoom | Unfit::NotActive)
        | None => "encountered error \"AGENT\"",
    };
    let numbers: Vec<String> = lacks.iter().map(Unfit::to_string).collect();
    format!(
        "(service {name}) was unable to place a task because no container instance met all of its requirements. The closest matching (container-instance {host}) {lacking}: it {}.",
        numbers.join(" and ")
    )
}

pub(super) fn no_weight(service: &Service) -> String {
    let why = strategy::no_weight(&service.config.capacity);
    format!("(service {}) was unable to place a task because {why}.", service.name)
}

pub(super) fn deployment_completed(service: &Service, revision: RevisionId) -> String {
    format!("(service {}) (deployment ecs-svc/{revision}) deployment completed.", service.name)
}

pub(super) fn deployment_failed(service: &Service, revision: RevisionId, why: &str) -> String {
    format!("(service {}) (deployment ecs-svc/{revision}) deployment failed: {why}.", service.name)
}

pub(super) fn rolling_back(service: &Service, to: RevisionId) -> String {
    format!("(service {}) rolling back to deployment ecs-svc/{to}.", service.name)
}

pub(super) fn protected(service: &Service, what: &str) -> String {
    format!(
        "(service {}) was unable to reach steady state because {what} was unable to scale in. Reason: The number of protected tasks are more than the desired count of tasks",
        service.name
    )
}

pub(super) fn scaling(revision: RevisionId) -> StopCause {
    by_scheduler(format!("Scaling activity initiated by (deployment ecs-svc/{revision})"))
}

pub(super) fn unhealthy() -> StopCause {
    by_scheduler("Task failed container health checks".to_owned())
}

pub(super) fn superseded_by_replacement() -> StopCause {
    StopCause {
        code: StopCode::InfrastructureHealth,
        reason: "The container instance of this task was lost and is back; another task of the service has taken its place.".to_owned(),
    }
}

pub(super) fn not_balanced(service: &Service, counts: &str) -> String {
    format!(
        "(service {}) is not AZ balanced with {counts}; AZ Rebalancing in progress.",
        service.name
    )
}

pub(super) fn rebalanced(revision: RevisionId) -> StopCause {
    by_scheduler(format!(
        "Availability-zone rebalancing initiated by (deployment ecs-svc/{revision})"
    ))
}

fn by_scheduler(reason: String) -> StopCause {
    StopCause { code: StopCode::ServiceSchedulerInitiated, reason }
}
