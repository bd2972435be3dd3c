//! What callers can make a listener hold: connections, unfinished heads, bodies that nobody has
//! proved to have signed yet.
//!
//! All of it is counted in bytes, in two accounts: one of strangers, which is small, and one of
//! callers that have proved who they are. Each is shared out by party ([`one_party`]). When an
//! account is full, the party that holds most gives way with its oldest guest, so that a crowd at one
//! address locks out nobody but itself; of parties that hold little, the one with the oldest guest. A
//! part of the strangers' account is kept for parties of which somebody has proved himself before,
//! and these give way to nobody else.
//!
//! Used by every listener that strangers can reach. Never: a judgement of who a caller is, or a
//! socket.

mod account;
pub(crate) mod bodies;
mod full;
pub(crate) mod head;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_common::{index::FastMap, party::one_party};
use tokio_util::sync::CancellationToken;

use self::account::Account;
pub(crate) use self::account::Room;
pub(crate) use self::full::Full;

/// Maximum number of parties that are remembered to have proved themselves (ours); the one that did
/// so longest ago is forgotten first.
const PROVED_PARTIES_MAX: usize = 4096;

/// How much a listener's guests may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    pub(crate) strangers: Room,
    pub(crate) known: Room,
}

/// The account of one listener.
pub(crate) struct Door {
    inside: Mutex<Inside>,
}

struct Inside {
    next: u64,
    strangers: Account,
    known: Account,
    guests: FastMap<u64, Guest>,
    proved: Proved,
}

/// One connection that is inside.
struct Guest {
    known: bool,
    /// How many [`Served`] there are.
    serving: usize,
    leave: CancellationToken,
}

/// A connection that is inside; it leaves when this is dropped.
pub(crate) struct Visit {
    door: Arc<Door>,
    id: u64,
    party: IpAddr,
    leave: CancellationToken,
}

impl Door {
    pub(crate) fn new(rooms: Rooms) -> Arc<Self> {
        Arc::new(Door {
            inside: Mutex::new(Inside {
                next: 0,
                strangers: Account::new(rooms.strangers),
                known: Account::new(rooms.known),
                guests: FastMap::default(),
                proved: Proved::default(),
            }),
        })
    }

    /// Lets a connection in as a stranger that holds `bytes`.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, bytes: usize) -> Result<Visit, Full> {
        let party = one_party(peer);
        let leave = CancellationToken::new();
        let mut inside = self.lock();
        let id = inside.next;
        inside.next += 1;
        let favoured = inside.proved.has(party);
        let taken = inside.strangers.take(id, party, bytes, favoured);
        inside.turn_out(taken.evicted);
        taken.granted?;
        inside.guests.insert(id, Guest { known: false, serving: 0, leave: leave.clone() });
        Ok(Visit { door: self.clone(), id, party, leave })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn account(&mut self, known: bool) -> &mut Account {
        if known { &mut self.known } else { &mut self.strangers }
    }

    fn turn_out(&mut self, evicted: Vec<u64>) {
        for id in evicted {
            if let Some(guest) = self.guests.remove(&id) {
                guest.leave.cancel();
            }
        }
    }
}

impl Visit {
    /// Counts `bytes` more as held by this connection.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), Full> {
        let mut inside = self.door.lock();
        let Some(guest) = inside.guests.get(&self.id) else { return Err(Full::Left) };
        let known = guest.known;
        let favoured = inside.proved.has(self.party);
        let taken = inside.account(known).take(self.id, self.party, bytes, favoured);
        inside.turn_out(taken.evicted);
        taken.granted
    }

    /// Holds bytes until the guard is dropped.
    pub(crate) fn hold_for(self: &Arc<Self>, bytes: usize) -> Result<Held, Full> {
        self.hold(bytes)?;
        Ok(Held { visit: self.clone(), bytes })
    }

    /// Counts `bytes` less.
    pub(crate) fn let_go(&self, bytes: usize) {
        let mut inside = self.door.lock();
        if let Some(guest) = inside.guests.get(&self.id) {
            let known = guest.known;
            inside.account(known).give(self.id, bytes);
        }
    }

    /// The caller has proved who he is. What his connection holds is counted among those who are known
    /// from now on; it still gives way while he only sends.
    pub(crate) fn prove(self: &Arc<Self>) -> Result<(), Full> {
        self.serve().map(drop)
    }

    /// The same, and he is served: until the guard is dropped the connection gives way to nobody.
    pub(crate) fn serve(self: &Arc<Self>) -> Result<Served, Full> {
        let mut inside = self.door.lock();
        let Some(guest) = inside.guests.get(&self.id) else { return Err(Full::Left) };
        if !guest.known {
            let bytes = inside.strangers.held(self.id);
            let taken = inside.known.take(self.id, self.party, bytes, true);
            inside.turn_out(taken.evicted);
            taken.granted?;
            inside.strangers.leave(self.id);
        }
        if let Some(guest) = inside.guests.get_mut(&self.id) {
            guest.known = true;
            guest.serving += 1;
        }
        inside.known.set_yielding(self.id, false);
        inside.proved.note(self.party);
        inside.strangers.favour(self.party);
        drop(inside);
        Ok(Served(self.clone()))
    }

    pub(crate) fn party(&self) -> IpAddr {
        self.party
    }

    /// True once the caller has proved who he is.
    pub(crate) fn is_known(&self) -> bool {
        self.door.lock().guests.get(&self.id).is_some_and(|guest| guest.known)
    }

    /// Waits until the connection has to give way to another.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.cancelled().await;
    }

    #[cfg(test)]
    pub(crate) fn must_leave(&self) -> bool {
        self.leave.is_cancelled()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        if let Some(guest) = inside.guests.remove(&self.id) {
            inside.account(guest.known).leave(self.id);
        }
    }
}

/// Guard of held bytes.
pub(crate) struct Held {
    visit: Arc<Visit>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.visit.let_go(self.bytes);
    }
}

/// Guard of a known caller who is served.
pub(crate) struct Served(Arc<Visit>);

impl Drop for Served {
    fn drop(&mut self) {
        let mut inside = self.0.door.lock();
        let Some(guest) = inside.guests.get_mut(&self.0.id) else { return };
        guest.serving -= 1;
        if guest.serving == 0 {
            inside.known.set_yielding(self.0.id, true);
        }
    }
}

/// Parties of which somebody has proved himself, and the order in which they did.
#[derive(Default)]
struct Proved {
    next: u64,
    parties: FastMap<IpAddr, u64>,
    by_age: BTreeMap<u64, IpAddr>,
}

impl Proved {
    fn has(&self, party: IpAddr) -> bool {
        self.parties.contains_key(&party)
    }

    fn note(&mut self, party: IpAddr) {
        let now = self.next;
        self.next += 1;
        if let Some(before) = self.parties.insert(party, now) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(now, party);
        if self.parties.len() > PROVED_PARTIES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.parties.remove(&oldest);
        }
    }
}
