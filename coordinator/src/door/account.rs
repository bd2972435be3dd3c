//! A bounded amount of bytes, shared out among parties. Pure.

use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr};

use longshore_common::index::FastMap;

use super::full::Full;

/// The bounds of an account, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) bytes_max: usize,
    /// Number of the bytes that are kept for parties that are favoured.
    pub(crate) reserve_bytes: usize,
    /// Maximum that one party may hold.
    pub(crate) party_bytes_max: usize,
    /// What a party needs for a usual request. Parties that hold no more are equally greedy, or a crowd
    /// that asks for nothing would push out those who ask.
    pub(crate) fair_bytes: usize,
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
    /// Number of the bytes that parties hold that are not favoured.
    common_bytes: usize,
    guests: FastMap<u64, Guest>,
    parties: FastMap<IpAddr, Party>,
    /// Parties with a guest that gives way: the last one gives way first.
    favoured: BTreeSet<Greed>,
    common: BTreeSet<Greed>,
}

/// What a party holds, if that is more than fair, then the age of its oldest guest that gives way.
type Greed = (usize, Reverse<u64>, IpAddr);

struct Guest {
    party: IpAddr,
    bytes: usize,
}

#[derive(Default)]
struct Party {
    bytes: usize,
    guests: usize,
    /// True from the moment at which the party is favoured until its last guest leaves.
    favoured: bool,
    /// Guests that give way. Their ids grow with time, so the first is the oldest.
    yielding: BTreeSet<u64>,
}

impl Account {
    pub(super) fn new(room: Room) -> Self {
        Account {
            room,
            bytes: 0,
            common_bytes: 0,
            guests: FastMap::default(),
            parties: FastMap::default(),
            favoured: BTreeSet::new(),
            common: BTreeSet::new(),
        }
    }

    /// Counts `more` bytes for a guest. One that is new gives way until it is set not to. What is not
    /// favoured takes nothing from a party that is.
    pub(super) fn take(&mut self, guest: u64, party: IpAddr, more: usize, favoured: bool) -> Taken {
        if favoured {
            self.favour(party);
        }
        let favoured = favoured || self.parties.get(&party).is_some_and(|party| party.favoured);
        let common_max = self.room.bytes_max.saturating_sub(self.room.reserve_bytes);
        let mut evicted = Vec::new();
        loop {
            let own = self.bytes_of(party) + more;
            let is_full = self.bytes + more > self.room.bytes_max
                || !favoured && self.common_bytes + more > common_max;
            let (victim, full) = if own > self.room.party_bytes_max {
                (self.oldest_of(party, guest), Full::Party)
            } else if is_full {
                (self.oldest_of_the_greediest(party, own, guest, favoured), Full::Account)
            } else {
                break;
            };
            let Some(victim) = victim else { return Taken { granted: Err(full), evicted } };
            self.leave(victim);
            evicted.push(victim);
        }
        self.count(guest, party, more, favoured);
        Taken { granted: Ok(()), evicted }
    }

    /// The guests of a party that is here are favoured from now on.
    pub(super) fn favour(&mut self, party: IpAddr) {
        if self.parties.contains_key(&party) {
            self.change(party, |party| party.favoured = true);
        }
    }

    pub(super) fn give(&mut self, guest: u64, less: usize) {
        let Some(known) = self.guests.get_mut(&guest) else { return };
        let less = less.min(known.bytes);
        known.bytes -= less;
        let party = known.party;
        self.change(party, |party| party.bytes -= less);
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
        self.change(gone.party, |party| {
            party.bytes -= gone.bytes;
            party.guests -= 1;
            party.yielding.remove(&guest);
        });
    }

    fn count(&mut self, guest: u64, party: IpAddr, more: usize, favoured: bool) {
        let is_new = !self.guests.contains_key(&guest);
        self.guests.entry(guest).or_insert(Guest { party, bytes: 0 }).bytes += more;
        self.change(party, |party| {
            party.bytes += more;
            party.favoured |= favoured;
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

    /// A party gives way to one that is no greedier than itself, else with a guest of its own.
    fn oldest_of_the_greediest(
        &self,
        party: IpAddr,
        own: usize,
        but: u64,
        favoured: bool,
    ) -> Option<u64> {
        let own = own.max(self.room.fair_bytes);
        let of = |parties: &BTreeSet<Greed>| {
            let greedy = parties.iter().rev().take_while(|(bytes, ..)| *bytes >= own);
            greedy.filter_map(|(.., greedy)| self.oldest_of(*greedy, but)).next()
        };
        let common = of(&self.common);
        let other = common.or_else(|| favoured.then(|| of(&self.favoured)).flatten());
        other.or_else(|| self.oldest_of(party, but))
    }

    /// Changes a party, its part of the sums, and its place among the greedy.
    fn change(&mut self, name: IpAddr, change: impl FnOnce(&mut Party)) {
        let mut party = self.parties.remove(&name).unwrap_or_default();
        if let Some(greed) = self.greed(name, &party) {
            self.greedy(party.favoured).remove(&greed);
        }
        self.bytes -= party.bytes;
        self.common_bytes -= if party.favoured { 0 } else { party.bytes };
        change(&mut party);
        self.bytes += party.bytes;
        self.common_bytes += if party.favoured { 0 } else { party.bytes };
        if let Some(greed) = self.greed(name, &party) {
            self.greedy(party.favoured).insert(greed);
        }
        if party.guests > 0 {
            self.parties.insert(name, party);
        }
    }

    /// Nothing when no guest of it gives way.
    fn greed(&self, name: IpAddr, party: &Party) -> Option<Greed> {
        let oldest = *party.yielding.first()?;
        Some((party.bytes.max(self.room.fair_bytes), Reverse(oldest), name))
    }

    fn greedy(&mut self, favoured: bool) -> &mut BTreeSet<Greed> {
        if favoured { &mut self.favoured } else { &mut self.common }
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
            let (here, there) = match party.favoured {
                true => (&self.favoured, &self.common),
                false => (&self.common, &self.favoured),
            };
            let greed = self.greed(*name, party);
            assert_eq!(here.iter().find(|(.., party)| party == name).copied(), greed);
            assert!(there.iter().all(|(.., party)| party != name));
        }
        assert!(self.favoured.len() + self.common.len() <= self.parties.len());
        let common = self.parties.values().filter(|party| !party.favoured);
        assert_eq!(self.common_bytes, common.map(|party| party.bytes).sum::<usize>());
        self.guests.values().map(|guest| guest.bytes).sum()
    }
}
