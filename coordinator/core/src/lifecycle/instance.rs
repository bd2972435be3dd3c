//! How an instance of an Auto Scaling group changes, and how it is let go.

use longshore_common::clock::Timestamp;

use crate::{
    event::{AutoScalingEvent, Event},
    model::auto_scaling::{Instance, InstanceId, InstanceShape, Lifecycle},
    state::{Group, Host, State},
};

/// Whether an instance has tasks that are no daemon's.
pub fn is_busy(state: &State, instance: InstanceId) -> bool {
    state.hosts_of_instance(instance).any(|host| host.own_tasks > 0)
}

/// Lets an instance go: its tasks first, when a capacity provider drains the group.
pub(crate) fn end(
    state: &State,
    group: &Group,
    instance: &Instance,
    why: &str,
    at: Timestamp,
) -> Event {
    let drains = state.drains(group) && state.hosts_of_instance(instance.id).next().is_some();
    let lifecycle = match drains {
        true => Lifecycle::Draining { since: at },
        false => Lifecycle::Terminating { since: at },
    };
    let host = state.hosts_of_instance(instance.id).next();
    set_with(group, instance.turned(lifecycle, at), why, host.map(|host| shape_of(host, at)))
}

pub(crate) fn set(group: &Group, instance: Instance, why: impl Into<String>) -> Event {
    set_with(group, instance, why, None)
}

pub(crate) fn set_with(
    group: &Group,
    instance: Instance,
    why: impl Into<String>,
    shape: Option<InstanceShape>,
) -> Event {
    let (instance, shape) = (Box::new(instance), shape.map(Box::new));
    Event::AutoScaling(AutoScalingEvent::InstanceSet {
        group: group.name.clone(),
        instance,
        why: why.into(),
        shape,
    })
}

pub(crate) fn shape_of(host: &Host, at: Timestamp) -> InstanceShape {
    InstanceShape {
        seen_at: at,
        attributes: host.all_attributes().cloned().collect(),
        agent_version: host.versions.agent.clone(),
    }
}
