//! Who is connected, counted: in all, and from each address.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

/// The places that there are for connections.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    max: usize,
    per_peer_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_peer: BTreeMap<IpAddr, usize>,
}

/// A place, free again when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    peer: IpAddr,
}

impl Connections {
    pub(super) fn new(max: usize, per_peer_max: usize) -> Self {
        Connections(Arc::new(Shared { max, per_peer_max, taken: Mutex::default() }))
    }

    /// A place for one more connection from `peer`, if there is one.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        // An IPv4 client is the same one behind a listener for both.
        let peer = peer.to_canonical();
        let mut taken = self.0.taken();
        let Taken { total, by_peer } = &mut *taken;
        if *total >= self.0.max {
            return None;
        }
        let of_peer = by_peer.entry(peer).or_default();
        if *of_peer >= self.0.per_peer_max {
            return None;
        }
        *of_peer += 1;
        *total += 1;
        Some(Place { shared: self.0.clone(), peer })
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        taken.total -= 1;
        if let Some(of_peer) = taken.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let connections = Connections::new(3, 2);
        let peer = |last| IpAddr::from([127, 0, 0, last]);
        let first = connections.take(peer(1)).unwrap();
        let _second = connections.take(peer(1)).unwrap();
        assert!(connections.take(peer(1)).is_none(), "two from one address");
        let _third = connections.take(peer(2)).unwrap();
        assert!(connections.take(peer(3)).is_none(), "three in all");
        drop(first);
        assert!(connections.take(peer(1)).is_some());
        assert_eq!(connections.0.taken().by_peer.len(), 2, "addresses that left are forgotten");
    }
}
