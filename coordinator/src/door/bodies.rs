//! How much of large bodies is in memory at once, and which of them gives way.
//!
//! The [door](super) says what its guests may hold, and takes that back from strangers when others need
//! it; a body that it took back is in memory until its connection's task has noticed. Here each body
//! has its room until its memory is free, and one for which there is none yet stays where it is, with
//! its sender. The parties ([`one_party`](longshore_common::party::one_party)) share the room: of those
//! that wait, the one that has least of it is first. While a body waits, one that comes slowly gives way
//! to it, and so does one of a party that has more than its own.
//!
//! Never: who may have a body read at all, or a look into one.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_common::index::FastMap;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Interval at which whoever waits looks for bodies that have become slow (ours).
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Bounds of the bodies of one kind of callers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRoom {
    /// Maximum bytes of all together.
    pub(crate) bytes_max: usize,
    /// Timeout of the wait for room.
    pub(crate) wait_max: Duration,
    /// How bodies have to arrive while others wait. None where the door alone says who gives way.
    pub(crate) pace: Option<BodyPace>,
}

/// A body that comes more slowly gives way to one that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyPace {
    pub(crate) grace: Duration,
    pub(crate) bytes_per_second: u32,
}

/// Why a body has no room, or no longer any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error(
        "Other large requests have the memory that there is for bodies, and none gave way in time."
    )]
    NoneGaveWay,
    #[error(
        "The bodies from this address had more memory than those of others that waited for it."
    )]
    MoreThanOthers,
    #[error("The request's body came slowly while others waited for its memory.")]
    Slow,
}

/// The bodies of one kind of callers. They are few: each is larger than what needs no room.
pub(crate) struct Bodies {
    room: BodyRoom,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// Bodies that wait, by age.
    waiting: BTreeMap<u64, Waiting>,
    bodies: BTreeMap<u64, Body>,
}

struct Waiting {
    party: IpAddr,
    bytes: usize,
    called: Arc<Notify>,
}

struct Body {
    party: IpAddr,
    bytes: usize,
    state: State,
    called: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum State {
    Arriving {
        since: Instant,
        arrived: usize,
    },
    /// Gives way to nobody: it is worked on.
    Whole,
    GivesWay(NoRoom),
}

/// The room of one body, or its place in the line, until it is dropped.
pub(crate) struct InMemory {
    bodies: Arc<Bodies>,
    id: u64,
    called: Arc<Notify>,
}

impl Bodies {
    pub(crate) fn new(room: BodyRoom) -> Arc<Self> {
        Arc::new(Bodies { room, inside: Mutex::default() })
    }

    /// Waits until a body of `bytes` has room.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        party: IpAddr,
        bytes: usize,
    ) -> Result<InMemory, NoRoom> {
        let place = self.stand_in_line(party, bytes);
        let until = Instant::now() + self.room.wait_max;
        loop {
            let now = Instant::now();
            let has_room = {
                let mut inside = self.lock();
                inside.settle(&self.room, now);
                inside.bodies.contains_key(&place.id)
            };
            if has_room {
                return Ok(place);
            }
            if now >= until {
                return Err(NoRoom::NoneGaveWay);
            }
            let _ = timeout_at((now + LOOK_EVERY).min(until), place.called.notified()).await;
        }
    }

    fn stand_in_line(self: &Arc<Self>, party: IpAddr, bytes: usize) -> InMemory {
        let called = Arc::new(Notify::new());
        let mut inside = self.lock();
        let id = inside.new_id();
        let bytes = bytes.min(self.room.bytes_max);
        inside.waiting.insert(id, Waiting { party, bytes, called: called.clone() });
        InMemory { bodies: self.clone(), id, called }
    }

    /// Counts a body that is in memory already, even above `bytes_max`.
    fn adopt(self: &Arc<Self>, party: IpAddr, bytes: usize) -> InMemory {
        let called = Arc::new(Notify::new());
        let mut inside = self.lock();
        let id = inside.new_id();
        let body = Body { party, bytes, state: State::Whole, called: called.clone() };
        inside.bodies.insert(id, body);
        InMemory { bodies: self.clone(), id, called }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InMemory {
    /// Counts that `bytes` more of the body are here.
    pub(crate) fn came(&self, bytes: usize) {
        if let Some(Body { state: State::Arriving { arrived, .. }, .. }) =
            self.bodies.lock().bodies.get_mut(&self.id)
        {
            *arrived += bytes;
        }
    }

    /// Counts that all of the body is here, unless it gives way already.
    pub(crate) fn is_whole(&self) -> Result<(), NoRoom> {
        match self.bodies.lock().bodies.get_mut(&self.id).map(|body| &mut body.state) {
            Some(State::GivesWay(why)) => Err(*why),
            Some(state) => {
                *state = State::Whole;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Waits until the body has to give way to another.
    pub(crate) async fn told_to_give_way(&self) -> NoRoom {
        loop {
            if let Some(Body { state: State::GivesWay(why), .. }) =
                self.bodies.lock().bodies.get(&self.id)
            {
                return *why;
            }
            self.called.notified().await;
        }
    }

    /// Counts the body, of which `bytes` bytes are here, among those of known callers from now on.
    pub(crate) fn move_to(self, known: &Arc<Bodies>, bytes: usize) -> InMemory {
        let party = self.bodies.lock().bodies.get(&self.id).map(|body| body.party);
        match party {
            Some(party) => known.adopt(party, bytes),
            None => self,
        }
    }

    pub(crate) fn is_among(&self, bodies: &Arc<Bodies>) -> bool {
        Arc::ptr_eq(&self.bodies, bodies)
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        let mut inside = self.bodies.lock();
        inside.waiting.remove(&self.id);
        inside.bodies.remove(&self.id);
        inside.settle(&self.bodies.room, Instant::now());
    }
}

impl Inside {
    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets in who is first in the line while there is room, then makes room for the next.
    fn settle(&mut self, room: &BodyRoom, now: Instant) {
        while let Some((id, first)) = self.first_in_line() {
            let (party, bytes) = (first.party, first.bytes);
            let held: usize = self.bodies.values().map(|body| body.bytes).sum();
            let missing = (held + bytes).saturating_sub(room.bytes_max);
            if missing > 0 {
                if let Some(pace) = room.pace {
                    self.make_room(party, bytes, missing, pace, now);
                }
                return;
            }
            if let Some(Waiting { called, .. }) = self.waiting.remove(&id) {
                called.notify_one();
                let state = State::Arriving { since: now, arrived: 0 };
                self.bodies.insert(id, Body { party, bytes, state, called });
            }
        }
    }

    /// The body that is next: of the waiting parties, the one that holds least; of that party's
    /// bodies, the one that waits longest.
    fn first_in_line(&self) -> Option<(u64, &Waiting)> {
        let held = self.held();
        let has = |waiting: &Waiting| held.get(&waiting.party).copied().unwrap_or(0);
        let first = self.waiting.iter().min_by_key(|(id, waiting)| (has(waiting), **id));
        first.map(|(id, waiting)| (*id, waiting))
    }

    /// Tells bodies to give way, if that makes enough room for one of `bytes`.
    fn make_room(
        &mut self,
        party: IpAddr,
        bytes: usize,
        missing: usize,
        pace: BodyPace,
        now: Instant,
    ) {
        let leaves = |body: &&Body| matches!(body.state, State::GivesWay(_));
        let leaving: usize = self.bodies.values().filter(leaves).map(|body| body.bytes).sum();
        let mut missing = missing.saturating_sub(leaving);
        let mut held = self.held();
        let own = held.get(&party).copied().unwrap_or(0) + bytes;
        let mut told = BTreeMap::new();
        while missing > 0 {
            let yielding = self.bodies.iter().filter(|(id, _)| !told.contains_key(*id));
            let yielding = yielding.filter_map(|(id, body)| {
                let State::Arriving { since, arrived } = body.state else { return None };
                let has = held.get(&body.party).copied().unwrap_or(0);
                let why = if pace.is_behind(now.duration_since(since), arrived) {
                    NoRoom::Slow
                } else if has > own {
                    NoRoom::MoreThanOthers
                } else {
                    return None;
                };
                Some((why, has, Reverse(arrived), *id))
            });
            // The slow ones first, then those of the party that has most, of which least is here.
            let Some((why, .., id)) = yielding.max() else { return };
            let body = &self.bodies[&id];
            missing = missing.saturating_sub(body.bytes);
            held.entry(body.party).and_modify(|held| *held -= body.bytes);
            told.insert(id, why);
        }
        for (id, why) in told {
            if let Some(body) = self.bodies.get_mut(&id) {
                body.state = State::GivesWay(why);
                body.called.notify_one();
            }
        }
    }

    /// What each party has, without what gives way.
    fn held(&self) -> FastMap<IpAddr, usize> {
        let mut held = FastMap::default();
        for body in self.bodies.values() {
            if !matches!(body.state, State::GivesWay(_)) {
                *held.entry(body.party).or_default() += body.bytes;
            }
        }
        held
    }
}

impl BodyPace {
    fn is_behind(&self, after: Duration, arrived: usize) -> bool {
        let due = after.saturating_sub(self.grace).as_secs_f64() * f64::from(self.bytes_per_second);
        (arrived as f64) < due
    }
}

#[cfg(test)]
mod tests;
