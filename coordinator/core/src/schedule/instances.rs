//! Auto Scaling groups: as many instances as they are to have, from the wish for one until nothing
//! of it is left (ecs-behaviour 1.15).
//!
//! What a launcher is to be asked follows from an instance's lifecycle; asking is `effects`' work.

use longshore_common::clock::Timestamp;

use super::{Pass, scaling};
use crate::{
    event::{AutoScalingEvent, Event, HostEvent},
    lifecycle::instance::{end, is_busy, set, set_with, shape_of},
    model::{
        auto_scaling::{DRAINING_MAX, Instance, InstanceId, Lifecycle},
        host::HostStatus,
    },
    state::{Group, GroupSlot, Host, State},
};

/// Maximum number of instances that one look wants or lets go (ours), which bounds a row of the
/// journal; the next look continues.
const INSTANCES_PER_PASS_MAX: u32 = 100;

/// Has a group's wishes counted.
pub(super) fn group_pass(state: &State, slot: GroupSlot, at: Timestamp) -> Pass {
    let group = state.auto_scaling_group_at(slot);
    let name = &group.name;
    let mut pass = Pass::default();
    if group.deleting && group.instances.is_empty() {
        pass.events.push(Event::AutoScaling(AutoScalingEvent::AutoScalingGroupDeleted {
            name: name.clone(),
        }));
        return pass;
    }
    // An old journal knows nothing of the tasks that machines have had since.
    if let Some(until) = state.may_come_to_light_until(at) {
        pass.wake = Some(until);
        return pass;
    }
    let desired = if group.deleting { 0 } else { group.config.desired };
    if group.wanted < desired {
        let count = (desired - group.wanted).min(INSTANCES_PER_PASS_MAX);
        pass.events.push(Event::AutoScaling(AutoScalingEvent::InstancesWanted {
            group: name.clone(),
            count,
            at,
        }));
    } else if group.wanted > desired {
        let count = (group.wanted - desired).min(INSTANCES_PER_PASS_MAX);
        let why = match group.deleting {
            true => "the group is deleted",
            false => "the group has more than it is to have",
        };
        for victim in victims(state, group, count as usize) {
            pass.events.push(end(state, group, victim, why, at));
        }
    }
    // An instance that is protected stays although the group has more than it is to have. What is in
    // use and what waits is counted all the same: either may need more, or fewer be protected.
    if pass.events.is_empty() && !group.deleting {
        scaling::scale(state, group, at, &mut pass);
    }
    pass
}

/// Scale-in leaves protected instances alone, and takes first what has no tasks of its own, then
/// what is newest. A group that is deleted takes all.
fn victims<'a>(state: &'a State, group: &'a Group, count: usize) -> Vec<&'a Instance> {
    let wanted = group.instances.values().filter(|instance| instance.lifecycle.is_wanted());
    let mut victims: Vec<&Instance> =
        wanted.filter(|instance| group.deleting || !instance.protected).collect();
    victims.sort_by_key(|instance| {
        let newest_first = std::cmp::Reverse((instance.created_at, instance.id));
        (is_busy(state, instance.id), newest_first)
    });
    victims.truncate(count);
    victims
}

/// Moves one instance on.
pub(super) fn instance_pass(state: &State, id: InstanceId, at: Timestamp) -> Pass {
    let mut pass = Pass::default();
    let Some((group, instance)) = state.instance(id) else { return pass };
    match instance.lifecycle {
        Lifecycle::Pending { launched } => {
            if let Some(host) = state.hosts_of_instance(id).next() {
                pass.events.push(in_service(group, instance, host, at));
            } else if let (Some(launched), Some(launcher)) = (launched, state.launcher_of(group)) {
                let deadline = launched.saturating_add(launcher.boot_deadline);
                if deadline <= at {
                    let seconds = launcher.boot_deadline.as_secs();
                    let why = format!("it did not register within {seconds} s of its launch");
                    pass.events.push(end(state, group, instance, &why, at));
                } else {
                    pass.wake = Some(deadline);
                }
            }
        }
        Lifecycle::InService { since } => {
            let held = instance
                .host
                .filter(|held| state.hosts_of_instance(id).any(|host| host.id == *held));
            // Its agent may have lost its identity and joined anew.
            if let (None, Some(host)) = (held, state.hosts_of_instance(id).next()) {
                let again = Instance { host: Some(host.id), ..instance.clone() };
                let again = again.turned(Lifecycle::InService { since }, at);
                pass.events.push(set(group, again, "another container instance took its place"));
            }
        }
        Lifecycle::Draining { since } => {
            drain(state, id, at, &mut pass);
            let deadline = since.saturating_add(DRAINING_MAX);
            let is_empty = state.hosts_of_instance(id).all(|host| has_left(state, host));
            if let Some(until) = state.may_come_to_light_until(at) {
                pass.wake = Some(until);
            } else if is_empty || deadline <= at {
                let why = match is_empty {
                    true => "its tasks have left",
                    false => "its tasks did not leave in time",
                };
                let over = instance.turned(Lifecycle::Terminating { since: at }, at);
                pass.events.push(set(group, over, why));
            } else {
                pass.wake = Some(deadline);
            }
        }
        // Nothing new is placed there while its launcher is asked.
        Lifecycle::Terminating { .. } => drain(state, id, at, &mut pass),
    }
    pass
}

fn in_service(group: &Group, instance: &Instance, host: &Host, at: Timestamp) -> Event {
    let instance = Instance { host: Some(host.id), ..instance.clone() };
    let instance = instance.turned(Lifecycle::InService { since: at }, at);
    let why = format!("the container instance {} registered as it", host.id);
    set_with(group, instance, why, Some(shape_of(host, at)))
}

/// Tasks of services that were lost with a silent host run elsewhere by now.
fn has_left(state: &State, host: &Host) -> bool {
    host.tasks.values().all(|task| {
        let of = state.task_at(*task).service.as_ref();
        !host.connected && of.is_some_and(|of| of.lost)
    })
}

fn drain(state: &State, id: InstanceId, at: Timestamp, pass: &mut Pass) {
    for host in state.hosts_of_instance(id).filter(|host| host.status == HostStatus::Active) {
        pass.events.push(Event::Host(HostEvent::HostDrained { host: host.id, at }));
    }
}
