//! How often one address may fail to join.
//!
//! A secret of 128 bits is not guessed at any rate; this keeps guessers from taking the
//! coordinator's time and log from others. A token is judged before its address is: hosts with a good one
//! join from wherever others fail.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use longshore_common::{clock::Monotonic, gate, index::FastMap};

use super::Denied;

/// Failures that one address may have at once.
const FAILURES_MAX: u32 = 10;
/// One more is forgiven after this long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);
/// Addresses that are remembered. When there are more, the ones beyond share one account.
const ADDRESSES_MAX: usize = 10_000;

/// The account of each address that failed lately.
#[derive(Default)]
pub(super) struct Throttle {
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    by_address: FastMap<IpAddr, Account>,
    beyond: Account,
}

#[derive(Clone, Copy, Default)]
struct Account {
    failures: u32,
    /// Up to when forgiveness is counted in.
    settled: Duration,
}

impl Throttle {
    /// Counts a failure of an address; `why` is what the caller is told, unless it has failed too
    /// often.
    pub(super) fn failed(&self, address: IpAddr, now: Monotonic, why: Denied) -> Denied {
        let address = gate::one_party(address);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.of(address, now);
        account.settle(now);
        if account.failures >= FAILURES_MAX {
            let sentence = format!(
                "too many failed attempts to join from this address: try again in {} s",
                FORGIVEN_AFTER.as_secs()
            );
            return Denied::new(StatusCode::TOO_MANY_REQUESTS, sentence);
        }
        account.failures += 1;
        why
    }
}

impl Accounts {
    fn of(&mut self, address: IpAddr, now: Monotonic) -> &mut Account {
        if !self.by_address.contains_key(&address) && self.by_address.len() >= ADDRESSES_MAX {
            self.by_address.retain(|_, account| {
                account.settle(now);
                account.failures > 0
            });
            if self.by_address.len() >= ADDRESSES_MAX {
                return &mut self.beyond;
            }
        }
        self.by_address.entry(address).or_insert(Account { failures: 0, settled: now.0 })
    }
}

impl Account {
    fn settle(&mut self, now: Monotonic) {
        let passed = now.0.saturating_sub(self.settled);
        let forgiven = (passed.as_millis() / FORGIVEN_AFTER.as_millis()) as u32;
        self.failures = self.failures.saturating_sub(forgiven);
        self.settled =
            if self.failures == 0 { now.0 } else { self.settled + FORGIVEN_AFTER * forgiven };
    }
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
    }
}
