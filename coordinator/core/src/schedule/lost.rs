//! Hosts that fell silent, and those that are back (design.md rules 5 and 6).

use std::{collections::BTreeMap, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    limits::{BEATS_UNTIL_LOST, beat},
};

use super::{Pass, messages};
use crate::{
    event::{ClusterEvent, Event, ServiceEvent, TaskEvent},
    model::cluster::Replacing,
    placement::HostSlot,
    state::{Cluster, Host, ServiceSlot, State},
};

/// Minimum time that an agent has to come back on a host that answers though nobody listens there,
/// which is up therefore (ours).
const AGENT_RESTART_GRACE: Duration = Duration::from_secs(120);
/// Time within which hosts that fall silent are lost together (ours).
const MASS_LOSS_WINDOW: Duration = Duration::from_secs(60);
/// Time that the other hosts of a mass loss have to follow after some came back (ours).
const MASS_LOSS_SETTLES: Duration = Duration::from_secs(30);
/// Minimum number of lost hosts that can be a mass loss (ours).
const MASS_LOSS_HOSTS_MIN: usize = 3;

pub(super) fn pass(state: &State, slot: HostSlot, at: Timestamp) -> Pass {
    let host = state.host_at(slot);
    let cluster = state.cluster_at(host.cluster);
    let mut pass = Pass::default();
    // Whatever happened to a host: the brake is judged by all that is true now.
    match brake(cluster, at) {
        Brake::Off | Brake::Holds => {}
        Brake::ReleasedAt(over) => pass.wake = Some(over),
        Brake::Released => pass.events.push(Event::Cluster(ClusterEvent::ReplacingResumed {
            cluster: cluster.name.clone(),
            overridden: false,
            at,
        })),
    }
    match state.silent_since(host) {
        Some(since) => silent(state, cluster, host, since, at, &mut pass),
        None => back(state, host, at, &mut pass),
    }
    pass
}

/// Whether the tasks of lost hosts wait because too many hosts were lost at once.
enum Brake {
    Off,
    Holds,
    /// The loss is no mass loss any more, and hosts have had time to follow from then on.
    ReleasedAt(Timestamp),
    Released,
}

/// Whether an earlier mass loss still is one: it ends when hosts come back, when lost ones are
/// deregistered and when others join. Then the hosts that are still lost are lost like any other.
fn brake(cluster: &Cluster, at: Timestamp) -> Brake {
    if cluster.replacing == Replacing::Normal {
        return Brake::Off;
    }
    if cluster.silent.is_empty() {
        return Brake::Released;
    }
    if is_mass_loss(cluster, cluster.silent.len()) {
        return Brake::Holds;
    }
    match cluster.last_return.saturating_add(MASS_LOSS_SETTLES) {
        over if over <= at => Brake::Released,
        over => Brake::ReleasedAt(over),
    }
}

fn silent(
    state: &State,
    cluster: &Cluster,
    host: &Host,
    since: Timestamp,
    at: Timestamp,
    pass: &mut Pass,
) {
    let mut tasks: Vec<TaskId> = Vec::new();
    for task in host.tasks.values().map(|slot| state.task_at(*slot)) {
        let Some(of) = task.service.as_ref().filter(|of| !of.lost) else { continue };
        let policy = state.policy(state.service_at(of.service));
        let Some(lost_after) = policy.lost_after.duration() else { continue };
        let due = lost_at(state, host, since, lost_after);
        if due <= at {
            tasks.push(task.id);
        } else {
            pass.wake = Some(pass.wake.map_or(due, |earlier| earlier.min(due)));
        }
    }
    if tasks.is_empty() {
        return;
    }
    if cluster.replacing == Replacing::Normal {
        let from = Timestamp(since.0.saturating_sub(MASS_LOSS_WINDOW.as_millis() as u64));
        let lost = lost_together(state, cluster, from);
        if is_mass_loss(cluster, lost) {
            pass.events.push(Event::Cluster(ClusterEvent::ReplacingPaused {
                cluster: cluster.name.clone(),
                lost_hosts: lost as u32,
                hosts: cluster.registered_hosts,
                at,
            }));
        }
    }
    say_what_is_lost(state, host, since, &tasks, at, pass);
    pass.events.push(Event::Task(TaskEvent::TasksLost { host: host.id, tasks, at }));
}

/// Tells each service in its events what is lost: without that, tasks are started there that
/// nothing explains.
fn say_what_is_lost(
    state: &State,
    host: &Host,
    since: Timestamp,
    tasks: &[TaskId],
    at: Timestamp,
    pass: &mut Pass,
) {
    let mut by_service: BTreeMap<ServiceSlot, Vec<TaskId>> = BTreeMap::new();
    for task in tasks {
        let of = state.task(*task).and_then(|task| task.service.as_ref());
        of.into_iter().for_each(|of| by_service.entry(of.service).or_default().push(*task));
    }
    for (slot, tasks) in by_service {
        let service = state.service_at(slot);
        let message = messages::lost(service, host.id, since, &tasks);
        pass.events.push(Event::Service(ServiceEvent::ServiceLogged {
            service: service.id,
            message,
            at,
        }));
    }
}

/// When a host is lost that is silent since `since`. A host that refuses connections is up, and has
/// [`AGENT_RESTART_GRACE`]. Of a host that refused them until lately, silence counts from the last refusal;
/// it is lost no later than one that still refuses.
fn lost_at(state: &State, host: &Host, since: Timestamp, lost_after: Duration) -> Timestamp {
    let with_grace = since.saturating_add(lost_after.max(AGENT_RESTART_GRACE));
    if host.refused {
        return with_grace;
    }
    let silence = lost_after.max(beat(state.hosts_len()) * BEATS_UNTIL_LOST);
    since.max(host.refused_until).saturating_add(silence).min(with_grace)
}

/// The earliest time at which a silent host can be lost; `None` while it is heard.
pub(super) fn earliest_loss_at(state: &State, host: &Host) -> Option<Timestamp> {
    Some(lost_at(state, host, state.silent_since(host)?, Duration::ZERO))
}

/// Hosts of a cluster that are LOST by the cluster's own policy. Costs what is silent.
pub fn lost_hosts(state: &State, cluster: &Cluster, at: Timestamp) -> usize {
    let Some(lost_after) = state.policy_of_cluster(cluster).lost_after.duration() else { return 0 };
    let silent = cluster.silent.iter().map(|(_, slot)| state.host_at(*slot));
    let lost = silent.filter(|host| {
        let since = state.silent_since(host);
        since.is_some_and(|since| lost_at(state, host, since, lost_after) <= at)
    });
    lost.count()
}

/// Hosts that are silent since about the same time. A new coordinator hears nobody at first: from
/// its start on every silence counts as begun then.
fn lost_together(state: &State, cluster: &Cluster, from: Timestamp) -> usize {
    let silent = cluster.silent.iter().map(|(_, slot)| state.host_at(*slot));
    silent.filter_map(|host| state.silent_since(host)).filter(|since| *since >= from).count()
}

fn is_mass_loss(cluster: &Cluster, lost: usize) -> bool {
    lost >= MASS_LOSS_HOSTS_MIN && lost * 2 >= cluster.registered_hosts as usize
}

/// Tasks come back once their agent has said how they are. Before that they may be over, and what
/// replaced them is all that runs.
fn back(state: &State, host: &Host, at: Timestamp, pass: &mut Pass) {
    if !host.connected || state.heard_since(host.slot).is_none() {
        return;
    }
    let tasks = host.tasks.values().map(|slot| state.task_at(*slot));
    let lost = tasks.filter(|task| task.service.as_ref().is_some_and(|of| of.lost));
    let tasks: Vec<TaskId> = lost.map(|task| task.id).collect();
    if !tasks.is_empty() {
        pass.events.push(Event::Task(TaskEvent::TasksReturned { host: host.id, tasks, at }));
    }
}
