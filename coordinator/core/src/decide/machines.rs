//! Machines that a launcher gives ids of their own: which instance each of them fills, and which of
//! them nobody asked for.
//!
//! Nothing here ends a machine. One that is to go becomes an instance that is terminated, so that the
//! records have it for as long as it is there.

use std::collections::BTreeSet;

use longshore_common::clock::Timestamp;

use super::{Decision, hosts, missing_instances::is_missing};
use crate::{
    command::{AutoScalingCommand, Command, MachinesListed},
    event::Event,
    lifecycle::instance::set as set_instance,
    model::auto_scaling::{Instance, InstanceId, Lifecycle, Tries},
    state::{Group, State},
};

/// Maximum number of changes that one list of machines makes (ours), which bounds a row of the
/// journal; the next list continues.
const CHANGES_PER_LIST_MAX: usize = 100;

/// Missing machines first: what one of them filled may be filled by another.
pub(super) fn listed(state: &State, listed: &MachinesListed, at: Timestamp) -> Decision {
    let Some(group) = state.group_on_machines_of(&listed.launcher) else {
        return Decision::default();
    };
    let of_missing = |machine: &InstanceId| state.instance(state.bound_to(*machine)?);
    let missing: Vec<(&Group, &Instance)> = (listed.missing.iter())
        .filter_map(of_missing)
        .filter(|(of, _)| of.slot == group.slot)
        .collect();
    let mut events: Vec<Event> = (missing.iter())
        .filter_map(|(group, instance)| is_missing(state, group, instance, &missing, at))
        .take(CHANGES_PER_LIST_MAX)
        .collect();
    if !events.is_empty() {
        let rest = MachinesListed { missing: Vec::new(), ..listed.clone() };
        let rest = Some(Box::new(Command::AutoScaling(AutoScalingCommand::MachinesListed(
            Box::new(rest),
        ))));
        return Decision { events, rest, ..Decision::default() };
    }

    let unbound: BTreeSet<InstanceId> =
        listed.unbound.iter().filter(|id| state.bound_to(**id).is_none()).copied().collect();
    let mut unbound = unbound.into_iter();
    let mut expected = group.instances.values().filter(|instance| is_expected(instance)).count();
    let empty = to_be_filled(group);
    let (filled, still_empty) = empty.split_at(empty.len().min(unbound.len()));
    for (instance, machine) in filled.iter().zip(unbound.by_ref()) {
        if !instance.lifecycle.is_wanted() {
            expected += 1;
        }
        bind(state, group, instance, machine, at, &mut events);
    }
    if let Some(why) = &listed.stalled {
        events.extend(still_empty.iter().filter_map(|instance| stalls(group, instance, why)));
    }

    let surplus = (listed.alive as usize).saturating_sub(expected).min(CHANGES_PER_LIST_MAX);
    let lasting = unbound.filter(|machine| listed.lasting.contains(machine));
    for (number, machine) in (group.next_number..).zip(lasting.take(surplus)) {
        surplus_machine(state, group, number, machine, at, &mut events);
    }
    Decision::of(events)
}

/// Whether the launcher is to have a machine for it, or still has one.
fn is_expected(instance: &Instance) -> bool {
    match instance.lifecycle {
        Lifecycle::Pending { .. } | Lifecycle::InService { .. } | Lifecycle::Draining { .. } => {
            true
        }
        Lifecycle::Terminating { .. } => instance.machine.is_some(),
    }
}

/// Instances without a machine. Those that are given up may have been asked for too, and are over
/// only when what came of it is.
fn to_be_filled(group: &Group) -> Vec<&Instance> {
    let urgency = |instance: &Instance| match instance.lifecycle {
        Lifecycle::Pending { launched: Some(_) } => Some(0),
        Lifecycle::Pending { launched: None } => Some(1),
        Lifecycle::Terminating { .. } => Some(2),
        Lifecycle::InService { .. } | Lifecycle::Draining { .. } => None,
    };
    let empty = group.instances.values().filter(|instance| instance.machine.is_none());
    let mut found: Vec<_> = empty.filter_map(|one| Some((urgency(one)?, one))).collect();
    found.sort_by_key(|(urgency, instance)| (*urgency, instance.created_at, instance.id));
    found.truncate(CHANGES_PER_LIST_MAX);
    found.into_iter().map(|(_, instance)| instance).collect()
}

/// The time that it may take to register begins now.
fn bind(
    state: &State,
    group: &Group,
    instance: &Instance,
    machine: InstanceId,
    at: Timestamp,
    events: &mut Vec<Event>,
) {
    let machine_of = |instance: Instance| Instance { machine: Some(machine), ..instance };
    if !instance.lifecycle.is_wanted() {
        let why = format!("{machine} was launched for it after it was given up");
        events.push(set_instance(group, machine_of(instance.clone()), why));
        return;
    }
    let launched = instance.turned(Lifecycle::Pending { launched: Some(at) }, at);
    let why = format!("{machine} was launched for it and has yet to register");
    events.push(set_instance(group, machine_of(launched), why));
    join_early(state, group, machine, at, events);
}

/// What is said of an instance that was asked for and does not come, when it was not said before.
fn stalls(group: &Group, instance: &Instance, why: &str) -> Option<Event> {
    let is_asked_for = matches!(instance.lifecycle, Lifecycle::Pending { launched: Some(_) });
    let error = Some(why.to_owned());
    if !is_asked_for || instance.tries.error == error {
        return None;
    }
    let tries = Tries { error, ..instance.tries.clone() };
    let stalled = Instance { tries, ..instance.clone() };
    Some(set_instance(group, stalled, format!("its launcher launches nothing: {why}")))
}

/// A host that is here may run tasks, of which a journal that is lost knew: it leaves as any other does
/// when its group has too many.
fn surplus_machine(
    state: &State,
    group: &Group,
    number: u64,
    machine: InstanceId,
    at: Timestamp,
    events: &mut Vec<Event>,
) {
    let id = InstanceId {
        group: InstanceId::group_of(group.uid),
        number: number & InstanceId::NUMBER_MAX,
    };
    let is_here = state.hosts_that_say(machine).next().is_some();
    let (lifecycle, why) = match is_here {
        true => (
            Lifecycle::Pending { launched: Some(at) },
            format!("its launcher has {machine}, of which this journal did not know"),
        ),
        false => (
            Lifecycle::Terminating { since: at },
            format!("its launcher has {machine}, which nobody asked for"),
        ),
    };
    let instance = Instance {
        id,
        lifecycle,
        protected: group.config.protects_new,
        created_at: at,
        host: None,
        tries: Tries { next: at, ..Tries::default() },
        machine: Some(machine),
    };
    events.push(set_instance(group, instance, why));
    join_early(state, group, machine, at, events);
}

/// Makes a host join the group whose agent has said the machine earlier than the list showed it.
fn join_early(
    state: &State,
    group: &Group,
    machine: InstanceId,
    at: Timestamp,
    events: &mut Vec<Event>,
) {
    let early = state.hosts_that_say(machine);
    events.extend(early.map(|host| hosts::joins_group(state, host, &group.name, at)));
}
