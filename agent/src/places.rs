//! Who has a place at a listener of this agent. A newcomer always finds one: when all are taken, one of
//! those inside goes, of the party that has most the one that has been there for longest. So a crowd
//! makes room out of its own, and whoever comes rarely is not turned away by it. Whose request is being
//! answered goes only when all of his party are in that state.
//!
//! Never: a socket, or a look at what a connection is for.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_common::{index::FastMap, party::one_party};
use tokio_util::sync::CancellationToken;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) total: usize,
    /// Maximum of one party.
    pub(crate) per_party: usize,
}

impl Room {
    /// One party may have all, as long as no other comes.
    pub(crate) const fn shared_by_all(total: usize) -> Self {
        Room { total, per_party: total }
    }
}

pub(crate) struct Places {
    room: Room,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    entered: u64,
    /// The longest inside first.
    guests: VecDeque<Guest>,
}

struct Guest {
    number: u64,
    party: IpAddr,
    answered: bool,
    leaves: CancellationToken,
}

/// A place, until this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Cancelled when the place is needed for somebody else.
    leaves: CancellationToken,
}

/// While a request of the one who has the place is answered.
pub(crate) struct Answering<'p>(&'p Place);

impl Places {
    pub(crate) fn new(room: Room) -> Arc<Self> {
        Arc::new(Places { room, inside: Mutex::default() })
    }

    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        let (party, leaves) = (one_party(peer), CancellationToken::new());
        let mut inside = self.lock();
        inside.make_room(self.room, party);
        inside.entered += 1;
        let number = inside.entered;
        let guest = Guest { number, party, answered: false, leaves: leaves.clone() };
        inside.guests.push_back(guest);
        Place { places: self.clone(), number, leaves }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// For one more of this party. The guests are few, and they are looked through only when there are
    /// too many.
    fn make_room(&mut self, room: Room, newcomer: IpAddr) {
        if self.guests.len() < room.per_party.min(room.total) {
            return;
        }
        let mut of_party: FastMap<IpAddr, usize> = FastMap::default();
        for guest in &self.guests {
            *of_party.entry(guest.party).or_default() += 1;
        }
        let own = of_party.entry(newcomer).or_default();
        *own += 1;
        let most = if *own > room.per_party {
            *own
        } else if self.guests.len() < room.total {
            return;
        } else {
            of_party.values().copied().max().unwrap_or(0)
        };
        let crowd = self.guests.iter().enumerate();
        let crowd = crowd.filter(|(_, guest)| of_party.get(&guest.party) == Some(&most));
        let goes = crowd.min_by_key(|(at, guest)| (guest.answered, *at)).map(|(at, _)| at);
        if let Some(guest) = goes.and_then(|at| self.guests.remove(at)) {
            guest.leaves.cancel();
        }
    }
}

impl Place {
    /// Ends early, without a result, when the place is needed.
    pub(crate) async fn hold<T>(&self, stay: impl Future<Output = T>) -> Option<T> {
        self.leaves.run_until_cancelled(stay).await
    }

    pub(crate) fn answers(&self) -> Answering<'_> {
        self.set_answered(true);
        Answering(self)
    }

    fn set_answered(&self, answered: bool) {
        let mut inside = self.places.lock();
        let at = inside.guests.binary_search_by_key(&self.number, |guest| guest.number);
        if let Some(guest) = at.ok().and_then(|at| inside.guests.get_mut(at)) {
            guest.answered = answered;
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.set_answered(false);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.places.lock();
        inside.guests.retain(|guest| guest.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(places: &Arc<Places>, address: &str) -> Place {
        places.enter(address.parse().unwrap())
    }

    fn left(places: &[Place]) -> Vec<usize> {
        let gone = places.iter().enumerate().filter(|(_, place)| place.leaves.is_cancelled());
        gone.map(|(at, _)| at).collect()
    }

    #[test]
    fn a_crowd_makes_room_out_of_its_own() {
        let places = Places::new(Room::shared_by_all(4));
        let rare = enter(&places, "10.0.0.9");
        let crowd: Vec<Place> = (0..100).map(|_| enter(&places, "172.17.0.2")).collect();
        assert!(!rare.leaves.is_cancelled());
        assert_eq!(left(&crowd), (0..97).collect::<Vec<_>>(), "the newest three stay");
        let another = enter(&places, "10.0.0.8");
        assert!(!rare.leaves.is_cancelled() && !another.leaves.is_cancelled());
        assert_eq!(left(&crowd).len(), 98);
    }

    #[test]
    fn of_equally_large_parties_the_longest_inside_goes() {
        let places = Places::new(Room::shared_by_all(3));
        let many: Vec<Place> = (1..=5).map(|n| enter(&places, &format!("172.17.0.{n}"))).collect();
        assert_eq!(left(&many), [0, 1]);
    }

    #[test]
    fn party_over_its_share_makes_room_though_there_is_more() {
        let places = Places::new(Room { total: 10, per_party: 2 });
        let rare = enter(&places, "10.0.0.9");
        let crowd: Vec<Place> = (0..4).map(|_| enter(&places, "172.17.0.2")).collect();
        assert!(!rare.leaves.is_cancelled());
        assert_eq!(left(&crowd), [0, 1]);
    }

    #[test]
    fn whose_request_is_answered_goes_last_of_his_party() {
        let places = Places::new(Room { total: 4, per_party: 3 });
        let crowd: Vec<Place> = (0..3).map(|_| enter(&places, "172.17.0.2")).collect();
        let answering = (crowd[0].answers(), crowd[1].answers());
        let more: Vec<Place> = (0..3).map(|_| enter(&places, "172.17.0.2")).collect();
        assert_eq!((left(&crowd), left(&more)), (vec![2], vec![0, 1]));
        // Of a crowd that is answered all over, one goes for another party nevertheless.
        let _third = more[2].answers();
        let _others = [enter(&places, "10.0.0.8"), enter(&places, "10.0.0.9")];
        assert_eq!(left(&crowd), [0, 2]);
        drop(answering);
    }

    #[test]
    fn a_place_that_was_left_is_free() {
        let places = Places::new(Room::shared_by_all(2));
        for _ in 0..10 {
            drop(enter(&places, "10.0.0.1"));
        }
        let two = [enter(&places, "10.0.0.1"), enter(&places, "10.0.0.1")];
        assert_eq!(left(&two), [0usize; 0]);
        assert_eq!(places.inside.lock().unwrap().guests.len(), 2);
    }
}
