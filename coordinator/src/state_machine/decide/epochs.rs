//! Starts of the coordinator, the operator's `recover`, and the passing of time.

use std::time::Duration;

use longshore_common::{clock::Timestamp, id::HostId, protocol::Epoch};

use super::{Decision, Note, deadlines};
use crate::state_machine::{command::next_epoch, event::Event, state::State};

/// How long deleted clusters and deregistered instances are still described.
const INACTIVE_SHOWN: Duration = Duration::from_secs(3600);

/// How long it is remembered that an agent joined whose host is deregistered or was never
/// registered: twice as long as any certificate lives, which is a day.
const IDLE_MEMBERS_KEPT: Duration = Duration::from_secs(48 * 3600);

pub(super) fn start(state: &State, incarnation: u64, at: Timestamp) -> Decision {
    let epoch = next_epoch(state.epoch(), incarnation);
    Decision::of(vec![Event::EpochStarted { epoch, at }])
}

/// The new epoch is above all that any agent has seen, so that agents obey again.
pub(super) fn recover(state: &State, beyond: u64, incarnation: u64, at: Timestamp) -> Decision {
    let counter = beyond.max(state.epoch().counter) + 1;
    Decision::of(vec![Event::Recovered { epoch: Epoch { counter, incarnation }, at }])
}

/// Only after `recover`: before it, such an agent proves that the journal went back.
pub(super) fn skip_lost_orders(state: &State, host: HostId, to: u64) -> Decision {
    let lost = state.host(host).is_some_and(|host| host.last_order < to);
    match state.recovered() {
        Some(_) if lost => Decision::of(vec![Event::LostOrdersSkipped { host, to }]),
        _ => Decision::default(),
    }
}

/// Expires what is due. Costs what expires, not what exists.
pub(super) fn tick(state: &State, at: Timestamp) -> Decision {
    let mut events = deadlines::met(state, at);
    let tokens = state.expired_client_tokens(at);
    if !tokens.is_empty() {
        events.push(Event::ClientTokensExpired { tokens });
    }
    for (family, revision) in state.definitions().deletable() {
        events.push(Event::TaskDefinitionDeleted { family, revision });
    }
    let before = Timestamp(at.0.saturating_sub(INACTIVE_SHOWN.as_millis() as u64));
    let ids = state.join_tokens().expired(before);
    if !ids.is_empty() {
        events.push(Event::JoinTokensExpired { ids });
    }
    let forgotten = state.forgettable(before);
    events
        .extend(forgotten.services.into_iter().map(|service| Event::ServiceForgotten { service }));
    events.extend(forgotten.hosts.into_iter().map(|host| Event::HostForgotten { host }));
    events.extend(forgotten.clusters.into_iter().map(|name| Event::ClusterForgotten { name }));
    let before = Timestamp(at.0.saturating_sub(IDLE_MEMBERS_KEPT.as_millis() as u64));
    let hosts = state.forgettable_members(before);
    if !hosts.is_empty() {
        events.push(Event::MembersForgotten { hosts });
    }
    let providers = forgotten.providers.into_iter();
    events.extend(providers.map(|name| Event::CapacityProviderForgotten { name }));
    Decision { events, notes: vec![Note::RoomWanted], ..Decision::default() }
}
