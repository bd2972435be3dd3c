//! What becomes of an instance that its launcher no longer lists.

use longshore_common::clock::Timestamp;

use crate::{
    event::Event,
    lifecycle::instance::set as set_instance,
    model::auto_scaling::{Instance, Lifecycle},
    state::{Group, State},
};

/// Minimum number of instances in service whose absence from one list, when they are also half of
/// their group, is taken for a mistake of the list rather than for their end (ours).
const MASS_LOSS_INSTANCES_MIN: usize = 3;

pub(super) fn is_missing(
    state: &State,
    group: &Group,
    instance: &Instance,
    missing: &[(&Group, &Instance)],
    at: Timestamp,
) -> Option<Event> {
    match instance.lifecycle {
        Lifecycle::Pending { launched: Some(_) } => {
            let again = instance.turned(Lifecycle::Pending { launched: None }, at);
            let again = Instance { machine: None, ..again };
            let why = "its launcher does not list it; it is launched again";
            Some(set_instance(group, again, why))
        }
        Lifecycle::InService { since } => {
            let young = at.since(since).as_secs() < u64::from(group.config.grace_s);
            let heard = state.hosts_of_instance(instance.id).any(|host| host.connected);
            if young || heard || is_mass_loss(group, missing) {
                return None;
            }
            let gone = instance.turned(Lifecycle::Terminating { since: at }, at);
            let why = "its launcher no longer lists it and its agent is not heard";
            Some(set_instance(group, gone, why))
        }
        Lifecycle::Draining { .. } => {
            let gone = instance.turned(Lifecycle::Terminating { since: at }, at);
            let heard = state.hosts_of_instance(instance.id).any(|host| host.connected);
            (!heard).then(|| set_instance(group, gone, "its launcher no longer lists it"))
        }
        Lifecycle::Pending { launched: None } | Lifecycle::Terminating { .. } => None,
    }
}

fn is_mass_loss(group: &Group, missing: &[(&Group, &Instance)]) -> bool {
    let lost = missing.iter().filter(|(of, instance)| {
        of.slot == group.slot && matches!(instance.lifecycle, Lifecycle::InService { .. })
    });
    let lost = lost.count();
    lost >= MASS_LOSS_INSTANCES_MIN && lost * 2 >= group.wanted as usize
}
