//! Groups whose size follows the tasks of a capacity provider: managed scaling and managed termination
//! protection (ecs-behaviour 1.15).
//!
//! One look counts a group's instances and what waits for them; the arithmetic is
//! [`managed_scaling`]'s.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{clock::Timestamp, resources::Capacity};

use super::{
    Pass,
    to_come::{Chance, ToCome},
    waiting,
};
use crate::{
    event::{AutoScalingEvent, Event},
    managed_scaling::{self, Counts, Group as Alike, Reservation, Wanted},
    model::{
        auto_scaling::{Instance, Lifecycle},
        capacity_provider::CapacityProvider,
        name::{CapacityProviderName, ClusterName},
    },
    state::{Cluster, Group, State, Waiting},
};

/// Default time of too many instances after which a group is scaled in (ecs-behaviour 1.15: fifteen
/// datapoints of a minute each).
const SCALE_IN_AFTER_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Timeout of hearing an instance that registered (ours): later, the instance does not count.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// Interval from one step of scaling in to the next (ours).
const STEPS_APART: Duration = Duration::from_secs(60);
/// Maximum number of instances whose protection one look changes (ours); the next look continues.
const PROTECTED_PER_PASS_MAX: usize = 100;

/// Protects what is in use, and says how many instances there are to be.
pub(super) fn scale(state: &State, group: &Group, at: Timestamp, pass: &mut Pass) {
    let Some(provider) = state.scaled_by(group) else { return };
    if provider.termination_protection {
        protect(state, group, pass);
        if !pass.events.is_empty() {
            return;
        }
    }
    let (counts, until) = count(state, group, provider, at);
    pass.wake = until;
    let scaling = &provider.managed_scaling;
    let (name, config) = (&group.name, &group.config);
    match counts.wanted(scaling, config.min, config.max) {
        Wanted::Out(desired) if desired > config.desired => {
            let why = said(provider, &counts);
            let group = name.clone();
            pass.events.push(Event::AutoScaling(AutoScalingEvent::GroupScaled {
                group,
                desired,
                why,
                at,
            }));
        }
        Wanted::Out(_) | Wanted::Stay => {
            if group.excess_since.is_some() {
                pass.events.push(Event::AutoScaling(AutoScalingEvent::GroupExcess {
                    group: name.clone(),
                    since: None,
                }));
            }
        }
        Wanted::In(least) => {
            let Some(since) = group.excess_since else {
                let since = Some(at);
                return pass.events.push(Event::AutoScaling(AutoScalingEvent::GroupExcess {
                    group: name.clone(),
                    since,
                }));
            };
            let due = scale_in_due(group, provider, since);
            if due > at {
                pass.wake = pass.wake.map_or(Some(due), |wake| Some(wake.min(due)));
                return;
            }
            let at_once = provider.scale_in_after_ms.is_some();
            let desired =
                managed_scaling::step_in(counts.in_service + counts.launching, least, at_once);
            // The group is to have no more already, and keeps what is protected.
            if desired >= config.desired {
                return;
            }
            let why = said(provider, &counts);
            let group = name.clone();
            pass.events.push(Event::AutoScaling(AutoScalingEvent::GroupScaled {
                group,
                desired,
                why,
                at,
            }));
        }
    }
}

/// How a capacity provider of a cluster stands.
pub struct Scaled {
    pub cluster: ClusterName,
    pub provider: CapacityProviderName,
    pub counts: Counts,
    pub reservation: Reservation,
}

/// Every capacity provider with managed scaling, as it stands.
pub fn scaled(state: &State, at: Timestamp) -> Vec<Scaled> {
    state.clusters_after(None).flat_map(|cluster| scaled_of(state, cluster, at)).collect()
}

/// The capacity providers of one cluster, in the order in which the cluster has them.
pub fn scaled_of(state: &State, cluster: &Cluster, at: Timestamp) -> impl Iterator<Item = Scaled> {
    cluster.settings.capacity.providers.iter().filter_map(move |name| {
        let group = state.managed_group(name)?;
        let provider = state.scaled_by(group)?;
        let (counts, _) = count(state, group, provider, at);
        let reservation = counts.reservation(&provider.managed_scaling);
        let (cluster, provider) = (cluster.name.clone(), name.clone());
        Some(Scaled { cluster, provider, counts, reservation })
    })
}

/// What there is of a provider and what waits for it, and until when that holds if nothing happens. Costs the group's instances and the tasks that
/// wait, of which there are few.
fn count(
    state: &State,
    group: &Group,
    provider: &CapacityProvider,
    at: Timestamp,
) -> (Counts, Option<Timestamp>) {
    let (mut counts, mut until) = (Counts::default(), None::<Timestamp>);
    for instance in group.instances.values() {
        match instance.lifecycle {
            Lifecycle::Pending { .. } => counts.launching += 1,
            Lifecycle::InService { since } => {
                let heard_by = since.saturating_add(HEARD_WITHIN);
                let heard = state.hosts_of_instance(instance.id).any(|host| host.connected);
                // It takes no task yet, and will take those that wait.
                if !heard && heard_by > at {
                    counts.launching += 1;
                    until = until.map_or(Some(heard_by), |first| Some(first.min(heard_by)));
                    continue;
                }
                counts.in_service += 1;
                counts.busy += u32::from(crate::lifecycle::instance::is_busy(state, instance.id));
            }
            Lifecycle::Draining { .. } | Lifecycle::Terminating { .. } => {}
        }
    }
    let to_come = ToCome::of(state, &provider.name);
    let (waiting, asked_again) = waiting_for(state, provider, &to_come, at);
    until = until.into_iter().chain(asked_again).min();
    counts.waiting = waiting.iter().map(|alike| alike.count).sum();
    let told = || state.launcher_of(group).and_then(|launcher| launcher.size.as_ref());
    counts.needed = match group.size.as_ref().or_else(told) {
        Some(size) => {
            let offered = for_tasks(state, provider, &to_come, size, at);
            managed_scaling::needed(&offered, &waiting).instances
        }
        // One has to be seen before it is known how many are needed.
        None => u32::from(counts.waiting > 0),
    };
    (counts, until)
}

/// What an empty instance has for tasks: its daemons come before them.
fn for_tasks(
    state: &State,
    provider: &CapacityProvider,
    to_come: &ToCome,
    size: &Capacity,
    at: Timestamp,
) -> Capacity {
    let mut left = size.clone();
    let has = |cluster: &&Cluster| cluster.settings.capacity.providers.contains(&provider.name);
    let daemons = state.clusters_after(None).filter(has).flat_map(|cluster| &cluster.daemons);
    for daemon in daemons.map(|slot| state.service_at(*slot)) {
        let Some(demand) = to_come.daemon_demand(state, daemon, at) else { continue };
        left.cpu.0 = left.cpu.0.saturating_sub(demand.cpu.0);
        left.memory.0 = left.memory.0.saturating_sub(demand.memory.0);
        let gpus = left.gpus.len().saturating_sub(demand.gpus as usize);
        left.gpus = left.gpus[..gpus].into();
        left.reserved_ports = [&left.reserved_ports[..], &demand.ports[..]].concat().into();
    }
    left
}

/// Tasks that wait for a host of this provider, those left out that such hosts may never be given;
/// and when one of those is to be asked about again.
fn waiting_for(
    state: &State,
    provider: &CapacityProvider,
    to_come: &ToCome,
    at: Timestamp,
) -> (Vec<Alike>, Option<Timestamp>) {
    let has = |cluster: &&Cluster| cluster.settings.capacity.providers.contains(&provider.name);
    let (mut found, mut asked_again) = (Vec::new(), None);
    // However many launches wait that no earlier instance would have done for: one host shows it to all.
    let mut is_tried = false;
    for cluster in state.clusters_after(None).filter(has) {
        let launches: BTreeSet<_> = cluster.waiting_tasks.values().copied().collect();
        let launches = launches.into_iter().map(|slot| state.waiting_at(slot));
        for waiting in launches.filter(|w| w.launch.provider.as_ref() == Some(&provider.name)) {
            let chance = waiting::chance(state, waiting, to_come, at);
            asked_again = asked_again.into_iter().chain(chance.until()).min();
            if chance == Chance::Untried && std::mem::replace(&mut is_tried, true) {
                continue;
            }
            let Waiting { launch, .. } = waiting;
            found.extend(chance.of(Alike {
                demand: launch.demand.clone(),
                count: launch.tasks.len() as u32,
                distinct_instance: launch.distinct_instance,
            }));
        }
        for service in &cluster.wanting {
            let wanted = state.service_at(*service).wanted.iter();
            found.extend(wanted.filter(|(by, _)| *by == provider.name).map(|(_, a)| a.clone()));
        }
    }
    (found, asked_again)
}

/// When a group is scaled in: not before instances have warmed up, and one step after the other,
/// unless the operator chose a time.
fn scale_in_due(group: &Group, provider: &CapacityProvider, since: Timestamp) -> Timestamp {
    if let Some(after) = provider.scale_in_after_ms {
        return since.saturating_add(Duration::from_millis(after));
    }
    let warmup = Duration::from_secs(provider.managed_scaling.warmup_s.into());
    let came = |instance: &Instance| match instance.lifecycle {
        Lifecycle::InService { since } => Some(since.saturating_add(warmup)),
        Lifecycle::Pending { .. } | Lifecycle::Draining { .. } | Lifecycle::Terminating { .. } => {
            None
        }
    };
    let warm = group.instances.values().filter_map(came).max();
    let next = group.scaled_at.map(|scaled| scaled.saturating_add(STEPS_APART));
    let usual = since.saturating_add(SCALE_IN_AFTER_DEFAULT);
    [Some(usual), warm, next].into_iter().flatten().max().unwrap_or(usual)
}

/// Managed termination protection: an instance is protected while a task runs on it that is no
/// daemon's.
fn protect(state: &State, group: &Group, pass: &mut Pass) {
    let otherwise = group.instances.values().filter(|instance| {
        instance.lifecycle.is_wanted()
            && instance.protected != crate::lifecycle::instance::is_busy(state, instance.id)
    });
    for instance in otherwise.take(PROTECTED_PER_PASS_MAX) {
        let protected = !instance.protected;
        let why = match protected {
            true => "tasks run on it: protected from scale-in",
            false => "no tasks run on it: no longer protected from scale-in",
        };
        let changed = Instance { protected, ..instance.clone() };
        pass.events.push(crate::lifecycle::instance::set(group, changed, why));
    }
}

fn said(provider: &CapacityProvider, counts: &Counts) -> String {
    let scaling = &provider.managed_scaling;
    format!(
        "capacity provider {}: {} (target {} %), {} in use, {} launching, {} tasks wait and need {}",
        provider.name,
        counts.reservation(scaling),
        scaling.target_capacity,
        counts.busy,
        counts.launching,
        counts.waiting,
        counts.needed,
    )
}
