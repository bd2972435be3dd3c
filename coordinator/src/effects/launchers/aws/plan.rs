//! What follows from the state and from one list of AWS's. Pure.

use std::collections::BTreeMap;

use longshore_common::clock::Timestamp;
use longshore_core::{
    command::MachinesListed,
    model::auto_scaling::{Instance, InstanceId, LauncherVerb, Lifecycle},
    state::State,
};

use super::api::{Listed, MachineState};

/// What is to be done of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Machines that there are to be.
    pub(super) wanted: u32,
    /// Machines that are to go, at a later time.
    pub(super) staying: u32,
    /// Instances to terminate whose machine AWS has.
    pub(super) terminate: Vec<(InstanceId, InstanceId)>,
    /// Instances whose machine is on its way out.
    pub(super) over: Vec<InstanceId>,
    /// Instances of which this list shows no machine, if the next one does not either.
    pub(super) without: Vec<InstanceId>,
    /// Instances to ask for, those that wait longest first.
    pub(super) launch: Vec<InstanceId>,
    /// True when some instances are to be asked for later, since asking failed.
    pub(super) launches_later: bool,
    /// AWS has yet to launch something, or it is not known to have.
    pub(super) is_waiting: bool,
}

/// A call that an instance waits for.
pub(super) struct Due {
    pub(super) instance: InstanceId,
    pub(super) verb: LauncherVerb,
}

/// Whether an instance of this launcher waits for a call now.
pub(super) fn has_due_call(state: &State, launcher: &str, now: Timestamp) -> bool {
    let calls = state.launcher_calls().take_while(|(at, ..)| *at <= now);
    let mut launchers = calls.map(|(_, group, ..)| group.config.launch.launcher());
    launchers.any(|of| of == launcher)
}

pub(super) fn due_calls(state: &State, launcher: &str, now: Timestamp) -> Vec<Due> {
    let calls = state.launcher_calls().take_while(|(at, ..)| *at <= now);
    let ours = calls.filter(|(_, group, ..)| group.config.launch.launcher() == launcher);
    ours.map(|(_, _, instance, verb)| Due { instance: instance.id, verb }).collect()
}

/// Absent when nobody may act, or no group is this launcher's.
pub(super) fn compare(state: &State, launcher: &str, listed: &Listed) -> Option<MachinesListed> {
    let group = state.group_on_machines_of(launcher).filter(|_| state.schedules())?;
    let known = states(listed);
    let is_alive =
        |id: &InstanceId| known.get(id).is_some_and(|state| *state != MachineState::Leaving);
    let is_bound = |id: &InstanceId| state.bound_to(*id).is_some();
    let (mut alive, mut unbound) = (0, Vec::new());
    for (id, machine) in &known {
        match machine {
            MachineState::Leaving => {}
            // What a user of AWS has put aside is nobody's surplus.
            MachineState::Standby => alive += u32::from(is_bound(id)),
            MachineState::Coming | MachineState::InService => {
                alive += 1;
                if !is_bound(id) {
                    unbound.push(*id);
                }
            }
        }
    }
    let there = group.instances.values().filter(|instance| match instance.lifecycle {
        Lifecycle::Pending { .. } | Lifecycle::InService { .. } | Lifecycle::Draining { .. } => {
            true
        }
        Lifecycle::Terminating { .. } => false,
    });
    let missing =
        there.filter_map(|instance| instance.machine).filter(|id| !is_alive(id)).collect();
    let launcher = launcher.to_owned();
    let (lasting, stalled) = (Vec::new(), None);
    Some(MachinesListed { launcher, alive, unbound, lasting, missing, stalled })
}

/// Time since which an instance is waited for that AWS was asked for and does not show.
pub(super) fn waiting_since(state: &State, launcher: &str) -> Option<Timestamp> {
    let group = state.group_on_machines_of(launcher)?;
    let empty = group.instances.values().filter(|instance| instance.machine.is_none());
    let asked = empty.filter_map(|instance| match instance.lifecycle {
        Lifecycle::Pending { launched } => launched,
        Lifecycle::InService { .. }
        | Lifecycle::Draining { .. }
        | Lifecycle::Terminating { .. } => None,
    });
    asked.min()
}

/// Absent when nobody may act, or no group is this launcher's.
pub(super) fn plan(state: &State, launcher: &str, listed: &Listed, now: Timestamp) -> Option<Plan> {
    let group = state.group_on_machines_of(launcher).filter(|_| state.schedules())?;
    let known = states(listed);
    let mut plan = Plan::default();
    let mut launch: Vec<&Instance> = Vec::new();
    let mut without = Vec::new();
    for instance in group.instances.values() {
        let machine = instance.machine.map(|id| (id, known.get(&id).copied()));
        match (instance.lifecycle, machine) {
            // AWS does not count what was put aside.
            (
                Lifecycle::Pending { .. }
                | Lifecycle::InService { .. }
                | Lifecycle::Draining { .. },
                Some((_, Some(MachineState::Standby))),
            ) => {}
            (Lifecycle::Pending { launched }, machine) => {
                plan.wanted += 1;
                plan.is_waiting |= machine.is_none();
                match launched {
                    None if instance.tries.next <= now => launch.push(instance),
                    None => plan.launches_later = true,
                    Some(_) => {}
                }
            }
            (Lifecycle::InService { .. } | Lifecycle::Draining { .. }, Some(_)) => plan.wanted += 1,
            // Another launcher made it, of which the settings no longer know.
            (Lifecycle::InService { .. } | Lifecycle::Draining { .. }, None) => {}
            (Lifecycle::Terminating { .. }, Some((id, state))) => match state {
                Some(MachineState::Leaving) => plan.over.push(instance.id),
                Some(MachineState::Coming | MachineState::InService | MachineState::Standby) => {
                    match instance.tries.next <= now {
                        true => plan.terminate.push((instance.id, id)),
                        false => plan.staying += 1,
                    }
                }
                None => plan.without.push(instance.id),
            },
            (Lifecycle::Terminating { .. }, None) => without.push(instance.id),
        }
    }
    // What was asked for and given up may still come: not if AWS is to have no more than are wanted,
    // and all that it has is somebody's.
    let is_spare = |(id, machine): (&InstanceId, &MachineState)| match machine {
        MachineState::Coming | MachineState::InService => state.bound_to(*id).is_none(),
        MachineState::Standby | MachineState::Leaving => false,
    };
    let to_end = plan.terminate.len() as u32;
    let most = (plan.wanted + plan.staying + to_end).max(listed.min);
    let none_comes = listed.desired <= most && !known.iter().any(is_spare);
    plan.is_waiting |= !without.is_empty() || !plan.without.is_empty();
    if none_comes {
        plan.without.append(&mut without);
    }
    launch.sort_by_key(|instance| (instance.created_at, instance.id));
    plan.launch = launch.into_iter().map(|instance| instance.id).collect();
    Some(plan)
}

fn states(listed: &Listed) -> BTreeMap<InstanceId, MachineState> {
    listed.machines.iter().map(|machine| (machine.id, machine.state)).collect()
}
