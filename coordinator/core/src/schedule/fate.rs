//! What becomes of one task of a service: the one table that replicas, daemons, task sets and
//! blue/green read.
//!
//! Owns the answer for each cell, with its reason. Never: how many tasks may go at once, or which
//! of equal ones go (`balance.rs`, `victims.rs`).

use crate::state::Standing;

/// What a task's revision is to its service now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The revision's tasks count towards what the service is to have; a task that ends is
    /// replaced.
    Current,
    /// Tasks of another revision take the place of its own.
    Outdated,
    /// The deployment of the service failed and there is no revision to go back to: nothing can take
    /// the place of a task that goes.
    Stranded,
    /// The service was deleted.
    Ended,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// A task whose checks fail within its grace period stands as one that is settling.
    pub(super) standing: Standing,
    /// Whether the task's host is DRAINING.
    pub(super) draining: bool,
    pub(super) role: Role,
    /// Whether UpdateTaskProtection protects the task.
    pub(super) protected: bool,
    /// Whether the task's service has one task on each host.
    pub(super) daemon: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The task stays, unless the service has too many.
    Keep,
    /// The task stops once minimumHealthyPercent holds without it.
    ReplaceFirst,
    /// The task stops at once.
    StopFirst,
    /// The task stops when nothing but daemons is left on its host.
    StopLast,
}

/// What becomes of such a task, and why.
pub(super) fn fate(cell: Cell) -> (Fate, &'static str) {
    let Cell { standing, draining, role, protected, daemon } = cell;
    match standing {
        Standing::LeavingPending
        | Standing::LeavingRunning
        | Standing::Stopping
        | Standing::Deprovisioning => {
            return (Fate::Keep, "it is stopping already");
        }
        Standing::Lost => return (Fate::Keep, "its host is silent, so nobody knows of it"),
        Standing::Pending
        | Standing::Blocked
        | Standing::Settling
        | Standing::Healthy
        | Standing::Unhealthy => {}
    }
    match role {
        Role::Ended => return (Fate::StopFirst, "its service was deleted"),
        Role::Outdated if protected => return (Fate::Keep, "it is protected from deployments"),
        Role::Current | Role::Outdated | Role::Stranded => {}
    }
    if standing == Standing::Blocked {
        return (Fate::StopFirst, "a container that it waits for is unhealthy");
    }
    match (standing, daemon) {
        (Standing::Unhealthy, true) => {
            return (Fate::StopFirst, "it is unhealthy, and two never share a host");
        }
        (Standing::Unhealthy, false) => return unhealthy(role, draining),
        _ => {}
    }
    if protected && draining {
        return (Fate::Keep, "it is protected while its host drains");
    }
    if daemon && !draining && role == Role::Outdated && standing == Standing::Settling {
        return (Fate::StopFirst, "it is outdated and was not healthy yet");
    }
    match (daemon, draining) {
        (true, true) => (Fate::StopLast, "a daemon serves the other tasks of its host to the end"),
        (true, false) => staying(role, standing, "it makes room on its host for its successor"),
        (false, true) => leaving(role, standing),
        (false, false) => staying(role, standing, "its successor is healthy by then"),
    }
}

/// An unhealthy task does not count towards `minimumHealthyPercent`. It is kept, where it is, until its
/// replacement runs.
fn unhealthy(role: Role, draining: bool) -> (Fate, &'static str) {
    match (role, draining) {
        (Role::Current, false) => (Fate::ReplaceFirst, "it is unhealthy"),
        (Role::Current, true) => (Fate::StopFirst, "it is unhealthy and its host drains"),
        (Role::Outdated, _) => (Fate::StopFirst, "it is unhealthy and outdated"),
        (Role::Stranded, _) => (Fate::StopFirst, "it is unhealthy and nothing replaces it"),
        (Role::Ended, _) => (Fate::StopFirst, "its service was deleted"),
    }
}

/// The fate of a task on a host that drains.
fn leaving(role: Role, standing: Standing) -> (Fate, &'static str) {
    match (role, standing) {
        (_, Standing::Pending) => (Fate::StopFirst, "it has not run yet and its host drains"),
        (Role::Current | Role::Outdated, _) => (Fate::ReplaceFirst, "its host drains"),
        (Role::Stranded | Role::Ended, _) => {
            (Fate::StopFirst, "its host drains and nothing can replace it")
        }
    }
}

/// The fate of a task on a host that stays.
fn staying(role: Role, standing: Standing, outdated: &'static str) -> (Fate, &'static str) {
    match (role, standing) {
        (Role::Current, _) => (Fate::Keep, "the service wants it"),
        (Role::Stranded, _) => (Fate::Keep, "it is what the service has left"),
        (Role::Outdated, Standing::Pending) => {
            (Fate::StopFirst, "it is outdated and has not run yet")
        }
        (Role::Outdated, _) => (Fate::ReplaceFirst, outdated),
        (Role::Ended, _) => (Fate::StopFirst, "its service was deleted"),
    }
}

#[cfg(test)]
mod tests;
