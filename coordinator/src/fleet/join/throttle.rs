//! How often one address may fail to join.
//!
//! A secret of 128 bits is not guessed at any rate; this keeps guessers from taking the
//! coordinator's time and log from others. A token is judged before its address is: hosts with a good one
//! join from wherever others fail.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use longshore_common::{clock::Monotonic, index::FastMap, party::one_party};

use super::denied::Denied;

/// Maximum number of failures that one address may have at once (ours).
const FAILURES_MAX: u32 = 10;
/// Interval after which one more failure is forgiven (ours).
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);
/// Maximum number of addresses that are remembered (ours). When there are more, the ones beyond
/// share one account.
const ADDRESSES_MAX: usize = 10_000;

/// When all failures of an address are forgiven: each one moves it by [`FORGIVEN_AFTER`].
type ForgivenAt = Duration;

/// The account of each address that failed lately.
#[derive(Default)]
pub(super) struct Throttle {
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    by_address: FastMap<IpAddr, ForgivenAt>,
    /// The same, so that the one to forget is found at once.
    by_time: BTreeSet<(ForgivenAt, IpAddr)>,
    beyond: ForgivenAt,
}

impl Throttle {
    /// Counts a failure of an address; `why` is what the caller is told, unless it has failed too
    /// often.
    pub(super) fn failed(&self, address: IpAddr, now: Monotonic, why: Denied) -> Denied {
        let address = one_party(address);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.count(address, now.0) {
            return why;
        }
        let sentence = format!(
            "too many failed attempts to join from this address: try again in {} s",
            FORGIVEN_AFTER.as_secs()
        );
        Denied::new(StatusCode::TOO_MANY_REQUESTS, sentence)
    }
}

impl Accounts {
    /// Counts one more failure; false when the address has as many as it may have.
    fn count(&mut self, address: IpAddr, now: Duration) -> bool {
        self.forget_forgiven(now);
        let known = self.by_address.get(&address).copied();
        if known.is_none() && self.by_address.len() >= ADDRESSES_MAX {
            let counted = one_more(self.beyond, now);
            self.beyond = counted.unwrap_or(self.beyond);
            return counted.is_some();
        }
        let Some(forgiven_at) = one_more(known.unwrap_or_default(), now) else { return false };
        if let Some(before) = self.by_address.insert(address, forgiven_at) {
            self.by_time.remove(&(before, address));
        }
        self.by_time.insert((forgiven_at, address));
        true
    }

    fn forget_forgiven(&mut self, now: Duration) {
        while let Some((forgiven_at, address)) = self.by_time.first().copied()
            && forgiven_at <= now
        {
            self.by_time.remove(&(forgiven_at, address));
            self.by_address.remove(&address);
        }
    }
}

/// Nothing when that would be more failures than are allowed at once.
fn one_more(forgiven_at: ForgivenAt, now: Duration) -> Option<ForgivenAt> {
    let next = forgiven_at.max(now) + FORGIVEN_AFTER;
    (next <= now + FORGIVEN_AFTER * FAILURES_MAX).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    /// Whether the caller is told why, and not to try later.
    fn is_told(throttle: &Throttle, address: IpAddr, now: Monotonic) -> bool {
        let why = Denied::new(StatusCode::FORBIDDEN, "because");
        throttle.failed(address, now, why).status == StatusCode::FORBIDDEN
    }

    #[test]
    fn failures_of_one_address_are_throttled_and_forgiven_one_by_one() {
        let throttle = Throttle::default();
        let (bad, good): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let failed = |now| is_told(&throttle, bad, now);
        let allowed = (0..1_000).filter(|_| failed(at(0))).count();
        assert_eq!(allowed, 10);
        assert!(is_told(&throttle, good, at(0)), "another address is not concerned");
        assert!(!failed(at(5)));
        assert!(failed(at(6)));
        assert!(!failed(at(11)));
        assert!(failed(at(12)));
    }

    #[test]
    fn a_flood_from_many_addresses_stays_bounded_and_throttled() {
        let throttle = Throttle::default();
        let addresses = (0..2 * ADDRESSES_MAX as u32).map(|n| IpAddr::V4(n.into()));
        let allowed = addresses.filter(|a| is_told(&throttle, *a, at(0))).count();
        assert_eq!(allowed, ADDRESSES_MAX + FAILURES_MAX as usize);
        assert_eq!(throttle.accounts.lock().unwrap().by_address.len(), ADDRESSES_MAX);
        assert!(is_told(&throttle, [10, 0, 0, 1].into(), at(60)), "all is forgiven");
        let accounts = throttle.accounts.lock().unwrap();
        assert_eq!((accounts.by_address.len(), accounts.by_time.len()), (1, 1));
    }
}
