//! How many connections a server keeps open, in all and from one address: a crowd at one address
//! must not lock out the others.
//!
//! Never: a socket. Who accepts connections asks here first.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::index::FastMap;

/// Lets connections in while there is room.
pub struct Gate {
    total_max: usize,
    per_address_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    total: usize,
    by_address: FastMap<IpAddr, usize>,
}

/// One connection that is inside. It leaves when this is dropped.
pub struct Permit {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Gate { total_max, per_address_max, inside: Mutex::default() })
    }

    /// Nothing when it is full for this peer.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Permit> {
        let address = one_party(peer);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = inside.by_address.get(&address).copied().unwrap_or(0);
        if inside.total >= self.total_max || from_there >= self.per_address_max {
            return None;
        }
        inside.total += 1;
        inside.by_address.insert(address, from_there + 1);
        Some(Permit { gate: self.clone(), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        if let Some(count) = inside.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or a /64 of IPv6, which one machine may have whole.
pub fn one_party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_at_one_address_does_not_lock_out_another() {
        let gate = Gate::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(a).unwrap();
        assert!(gate.enter(a).is_none());
        let _third = gate.enter(b).unwrap();
        assert!(gate.enter(b).is_none(), "full in all");
        drop(first);
        assert!(gate.enter(a).is_some());
    }

    #[test]
    fn a_64_of_ipv6_is_one_party_and_a_mapped_address_is_its_ipv4() {
        let party = |text: &str| one_party(text.parse().unwrap());
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:1"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        assert_eq!(party("::ffff:10.0.0.1"), party("10.0.0.1"));
    }
}
