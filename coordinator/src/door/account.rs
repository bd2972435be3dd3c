//! A bounded amount of bytes, shared out among parties. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use longshore_common::index::FastMap;

use super::Full;

/// The bounds of an account, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) bytes_max: usize,
    /// Of them, kept for parties that are favoured.
    pub(crate) reserve_bytes: usize,
    /// Maximum that one party may hold.
    pub(crate) party_bytes_max: usize,
}

/// What became of a wish for more.
pub(super) struct Taken {
    pub(super) granted: Result<(), Full>,
    /// Guests that have to leave; they are counted no longer.
    pub(super) evicted: Vec<u64>,
}

pub(super) struct Account {
    room: Room,
    bytes: usize,
    guests: FastMap<u64, Guest>,
    parties: FastMap<IpAddr, Party>,
    /// Parties with a guest that gives way, by what they hold.
    by_greed: BTreeSet<(usize, IpAddr)>,
}

struct Guest {
    party: IpAddr,
    bytes: usize,
}

#[derive(Default)]
struct Party {
    bytes: usize,
    guests: usize,
    /// Guests that give way. Their ids grow with time, so the first is the oldest.
    yielding: BTreeSet<u64>,
}

impl Account {
    pub(super) fn new(room: Room) -> Self {
        Account {
            room,
            bytes: 0,
            guests: FastMap::default(),
            parties: FastMap::default(),
            by_greed: BTreeSet::new(),
        }
    }

    /// Counts `more` bytes for a guest. One that is new gives way until it is set not to.
    pub(super) fn take(&mut self, guest: u64, party: IpAddr, more: usize, favoured: bool) -> Taken {
        let kept_back = if favoured { 0 } else { self.room.reserve_bytes };
        let bytes_max = self.room.bytes_max.saturating_sub(kept_back);
        let mut evicted = Vec::new();
        loop {
            let own = self.bytes_of(party) + more;
            let victim = if own > self.room.party_bytes_max {
                self.oldest_of(party, guest)
            } else if self.bytes + more > bytes_max {
                self.oldest_of_the_greediest(party, own, guest)
            } else {
                break;
            };
            let Some(victim) = victim else { return Taken { granted: Err(Full), evicted } };
            self.leave(victim);
            evicted.push(victim);
        }
        self.count(guest, party, more);
        Taken { granted: Ok(()), evicted }
    }

    pub(super) fn give(&mut self, guest: u64, less: usize) {
        let Some(known) = self.guests.get_mut(&guest) else { return };
        let less = less.min(known.bytes);
        known.bytes -= less;
        let party = known.party;
        self.change(party, |party| party.bytes -= less);
        self.bytes -= less;
    }

    pub(super) fn held(&self, guest: u64) -> usize {
        self.guests.get(&guest).map_or(0, |guest| guest.bytes)
    }

    pub(super) fn set_yielding(&mut self, guest: u64, yielding: bool) {
        let Some(known) = self.guests.get(&guest) else { return };
        self.change(known.party, |party| {
            match yielding {
                true => party.yielding.insert(guest),
                false => party.yielding.remove(&guest),
            };
        });
    }

    pub(super) fn leave(&mut self, guest: u64) {
        let Some(gone) = self.guests.remove(&guest) else { return };
        self.bytes -= gone.bytes;
        self.change(gone.party, |party| {
            party.bytes -= gone.bytes;
            party.guests -= 1;
            party.yielding.remove(&guest);
        });
    }

    fn count(&mut self, guest: u64, party: IpAddr, more: usize) {
        let is_new = !self.guests.contains_key(&guest);
        self.guests.entry(guest).or_insert(Guest { party, bytes: 0 }).bytes += more;
        self.bytes += more;
        self.change(party, |party| {
            party.bytes += more;
            if is_new {
                party.guests += 1;
                party.yielding.insert(guest);
            }
        });
    }

    fn bytes_of(&self, party: IpAddr) -> usize {
        self.parties.get(&party).map_or(0, |party| party.bytes)
    }

    /// Never `but`, who asks.
    fn oldest_of(&self, party: IpAddr, but: u64) -> Option<u64> {
        self.parties.get(&party)?.yielding.iter().find(|guest| **guest != but).copied()
    }

    /// A party gives way to one that holds no more than itself, else with a guest of its own.
    fn oldest_of_the_greediest(&self, party: IpAddr, own: usize, but: u64) -> Option<u64> {
        let mut greediest = self.by_greed.iter().rev();
        greediest
            .by_ref()
            .take_while(|(bytes, _)| *bytes >= own)
            .find_map(|(_, greedy)| self.oldest_of(*greedy, but))
            .or_else(|| self.oldest_of(party, but))
    }

    /// Changes a party and its place among the greedy.
    fn change(&mut self, name: IpAddr, change: impl FnOnce(&mut Party)) {
        let party = self.parties.entry(name).or_default();
        self.by_greed.remove(&(party.bytes, name));
        change(party);
        if party.guests == 0 {
            self.parties.remove(&name);
        } else if !party.yielding.is_empty() {
            self.by_greed.insert((party.bytes, name));
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew; every bound and every order is checked on the way.
    #[cfg(test)]
    pub(super) fn sums(&self) -> usize {
        for (name, party) in &self.parties {
            let guests = || self.guests.values().filter(|guest| guest.party == *name);
            assert_eq!(party.bytes, guests().map(|guest| guest.bytes).sum::<usize>());
            assert_eq!(party.guests, guests().count());
            assert!(party.bytes <= self.room.party_bytes_max);
            let greedy = self.by_greed.contains(&(party.bytes, *name));
            assert_eq!(greedy, !party.yielding.is_empty());
        }
        assert!(self.by_greed.len() <= self.parties.len());
        self.guests.values().map(|guest| guest.bytes).sum()
    }
}
