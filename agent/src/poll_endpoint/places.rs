//! Who has a place at the poll endpoint. A newcomer always finds one: when all are taken, one of those
//! inside goes, of the party that has most the one that has been there for longest. So a crowd makes
//! room out of its own, and whoever comes rarely is not turned away by it.
//!
//! Never: a socket, or a look at what a connection is for.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_common::gate::one_party;
use tokio_util::sync::CancellationToken;

/// So many places.
pub(super) struct Places {
    max: usize,
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
    leaves: CancellationToken,
}

/// A place, until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Cancelled when the place is needed for somebody else.
    leaves: CancellationToken,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Places { max, inside: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        let (party, leaves) = (one_party(peer), CancellationToken::new());
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.entered += 1;
        let number = inside.entered;
        inside.guests.push_back(Guest { number, party, leaves: leaves.clone() });
        if inside.guests.len() > self.max {
            inside.make_room();
        }
        Place { places: self.clone(), number, leaves }
    }
}

impl Inside {
    /// The guests are few, and this happens only while there are too many.
    fn make_room(&mut self) {
        let of_party = |party| self.guests.iter().filter(|guest| guest.party == party).count();
        let most = self.guests.iter().map(|guest| of_party(guest.party)).max();
        let longest = self.guests.iter().position(|guest| Some(of_party(guest.party)) == most);
        if let Some(guest) = longest.and_then(|at| self.guests.remove(at)) {
            guest.leaves.cancel();
        }
    }
}

impl Place {
    /// Ends early, without a result, when the place is needed.
    pub(super) async fn hold<T>(&self, stay: impl Future<Output = T>) -> Option<T> {
        self.leaves.run_until_cancelled(stay).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.places.inside.lock().unwrap_or_else(PoisonError::into_inner);
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
        let places = Places::new(4);
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
        let places = Places::new(3);
        let many: Vec<Place> = (1..=5).map(|n| enter(&places, &format!("172.17.0.{n}"))).collect();
        assert_eq!(left(&many), [0, 1]);
    }

    #[test]
    fn a_place_that_was_left_is_free() {
        let places = Places::new(2);
        for _ in 0..10 {
            drop(enter(&places, "10.0.0.1"));
        }
        let two = [enter(&places, "10.0.0.1"), enter(&places, "10.0.0.1")];
        assert_eq!(left(&two), [0usize; 0]);
        assert_eq!(places.inside.lock().unwrap().guests.len(), 2);
    }
}
