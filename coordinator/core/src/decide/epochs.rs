//! Starts of the coordinator, the operator's `recover`, and the passing of time.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    id::HostId,
    limits::{ORDERS_EVER_MAX, STARTS_LOST_MAX},
    protocol::Epoch,
};

use super::{Decision, Note, deadlines};
use crate::{
    command::{EpochCommand, next_epoch},
    event::{DefinitionEvent, EpochEvent, Event, HostEvent, MemberEvent, TokenEvent},
    state::{Host, State},
};

/// Time for which deleted clusters and deregistered instances are still described (ours).
const INACTIVE_SHOWN: Duration = Duration::from_secs(3600);

/// Time for which the joining of an agent is remembered whose host is deregistered or was never
/// registered (ours): twice as long as any certificate lives, which is a day.
const IDLE_MEMBERS_KEPT: Duration = Duration::from_secs(48 * 3600);

/// Maximum number of entities that one tick expires or forgets (ours), which bounds a row of the
/// journal; the next tick continues.
const EXPIRED_PER_TICK_MAX: usize = 1_000;

pub(super) fn decide_epoch(state: &State, command: &EpochCommand, at: Timestamp) -> Decision {
    match command {
        EpochCommand::StartEpoch { incarnation } => start(state, *incarnation, at),
        EpochCommand::BeginScheduling => {
            Decision { notes: vec![Note::SchedulingBegins], ..Decision::default() }
        }
        EpochCommand::Recover { beyond, incarnation, proved } => {
            recover(state, *beyond, *incarnation, *proved, at)
        }
        EpochCommand::SkipLostOrders { host, to } => skip_lost_orders(state, *host, *to),
        EpochCommand::Tick => tick(state, at),
    }
}

fn start(state: &State, incarnation: u64, at: Timestamp) -> Decision {
    let epoch = next_epoch(state.epoch(), incarnation);
    Decision::of(vec![Event::Epoch(EpochEvent::EpochStarted { epoch, at })])
}

/// The new epoch is above all that any agent has seen, so that agents obey again.
/// `proved` is what showed the journal to be old; without it, all that it holds is from before.
fn recover(
    state: &State,
    beyond: u64,
    incarnation: u64,
    proved: Option<Epoch>,
    at: Timestamp,
) -> Decision {
    let ours = state.epoch().counter;
    let beyond = beyond.clamp(ours, ours.saturating_add(STARTS_LOST_MAX));
    let epoch = Epoch { counter: beyond.saturating_add(1), incarnation };
    let everything = state.seq().saturating_add(1);
    let below = proved.map_or(everything, |seen| state.first_start_beside(seen).seq);
    let (unsure_before, unsure_below) = (None, Some(below));
    Decision::of(vec![Event::Epoch(EpochEvent::Recovered {
        epoch,
        at,
        unsure_before,
        unsure_below,
    })])
}

/// Only after `recover`: before it, such an agent proves that the journal went back. A number that
/// no host reaches is not taken over: those after it must be left to count with.
fn skip_lost_orders(state: &State, host: HostId, to: u64) -> Decision {
    let fewer_given = |host: &Host| host.orders_at_starts.at(0) < to;
    let lost = to <= ORDERS_EVER_MAX && state.host(host).is_some_and(fewer_given);
    match state.recovered() {
        Some(_) if lost => {
            Decision::of(vec![Event::Host(HostEvent::LostOrdersSkipped { host, to })])
        }
        _ => Decision::default(),
    }
}

/// Takes what there is still room for in a tick.
fn take<T>(left: &mut usize, found: impl Iterator<Item = T>) -> Vec<T> {
    let found: Vec<T> = found.take(*left).collect();
    *left -= found.len();
    found
}

/// Expires what is due. Costs what expires, not what exists.
fn tick(state: &State, at: Timestamp) -> Decision {
    // What an old journal takes for expired may have been used since.
    if state.is_held() {
        return Decision::default();
    }
    // A start hears first what hosts have to say.
    let mut events = if state.schedules() { deadlines::met(state, at) } else { Vec::new() };
    if state.word_awaited_until().is_some_and(|until| until <= at) {
        events.push(Event::Epoch(EpochEvent::WordAwaited));
    }
    let mut left = EXPIRED_PER_TICK_MAX;
    let left = &mut left;
    let tokens = take(left, state.expired_client_tokens(at));
    if !tokens.is_empty() {
        events.push(Event::Token(TokenEvent::ClientTokensExpired { tokens }));
    }
    let deletable = take(left, state.definitions().deletable());
    events.extend(deletable.into_iter().map(|(family, revision)| {
        Event::Definition(DefinitionEvent::TaskDefinitionDeleted { family, revision })
    }));
    let before = Timestamp(at.0.saturating_sub(INACTIVE_SHOWN.as_millis() as u64));
    let ids = take(left, state.join_tokens().expired(before));
    if !ids.is_empty() {
        events.push(Event::Token(TokenEvent::JoinTokensExpired { ids }));
    }
    events.extend(take(left, state.forgettable(before)));
    let before = Timestamp(at.0.saturating_sub(IDLE_MEMBERS_KEPT.as_millis() as u64));
    let hosts = take(left, state.forgettable_members(before));
    if !hosts.is_empty() {
        events.push(Event::Member(MemberEvent::MembersForgotten { hosts }));
    }
    Decision { events, notes: vec![Note::RoomWanted], ..Decision::default() }
}
