//! How often one address may fail to join.
//!
//! A secret of 128 bits is not guessed at any rate; this keeps guessers from taking the
//! coordinator's time and log from others.

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

/// One attempt, counted as a failure until it has succeeded.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    address: IpAddr,
}

impl Throttle {
    /// Refused when the address has failed too often.
    pub(super) fn attempt(&self, address: IpAddr, now: Monotonic) -> Result<Attempt<'_>, Denied> {
        let address = gate::one_party(address);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.of(address, now);
        account.settle(now);
        if account.failures >= FAILURES_MAX {
            let sentence = format!(
                "too many failed attempts to join from this address: try again in {} s",
                FORGIVEN_AFTER.as_secs()
            );
            return Err(Denied::new(StatusCode::TOO_MANY_REQUESTS, sentence));
        }
        account.failures += 1;
        Ok(Attempt { throttle: self, address })
    }
}

impl Attempt<'_> {
    pub(super) fn succeeded(self) {
        let accounts = &self.throttle.accounts;
        let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = match accounts.by_address.get_mut(&self.address) {
            Some(account) => account,
            None => &mut accounts.beyond,
        };
        account.failures = account.failures.saturating_sub(1);
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

    #[test]
    fn failures_of_one_address_are_throttled_and_forgiven_one_by_one() {
        let throttle = Throttle::default();
        let (bad, good): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let failed = |now| throttle.attempt(bad, now).is_ok();
        let allowed = (0..1_000).filter(|_| failed(at(0))).count();
        assert_eq!(allowed, 10);
        assert!(throttle.attempt(good, at(0)).is_ok(), "another address is not concerned");
        assert!(!failed(at(5)));
        assert!(failed(at(6)));
        assert!(!failed(at(11)));
        assert!(failed(at(12)));
    }

    #[test]
    fn good_tokens_are_never_throttled_however_many_hosts_share_an_address() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.attempt([10, 0, 0, 1].into(), at(0)).ok().unwrap().succeeded();
        }
    }

    #[test]
    fn a_flood_from_many_addresses_stays_bounded_and_throttled() {
        let throttle = Throttle::default();
        let addresses = (0..2 * ADDRESSES_MAX as u32).map(|n| IpAddr::V4(n.into()));
        let allowed = addresses.filter(|a| throttle.attempt(*a, at(0)).is_ok()).count();
        assert_eq!(allowed, ADDRESSES_MAX + FAILURES_MAX as usize);
        assert_eq!(throttle.accounts.lock().unwrap().by_address.len(), ADDRESSES_MAX);
        assert!(throttle.attempt([10, 0, 0, 1].into(), at(60)).is_ok(), "all is forgiven");
    }
}
