//! Which connections a listener of this agent keeps. A newcomer always gets a permit: when all are held,
//! one is revoked, of the party that holds most, and there the oldest. So a crowd costs its own members
//! their permits, and a rare caller is not turned away by it. A permit whose request is being answered
//! is revoked only when all permits of its party are in that state.
//!
//! Never: a socket, or a look at what a connection is for.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_common::{index::FastMap, party::one_party};
use tokio_util::sync::CancellationToken;

/// Maximum of connections that are held at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) total: usize,
    /// Maximum of one party.
    pub(crate) per_party: usize,
}

impl ConnectionLimits {
    /// Limits under which one party may hold all permits, as long as no other comes.
    pub(crate) const fn shared_by_all(total: usize) -> Self {
        ConnectionLimits { total, per_party: total }
    }
}

pub(crate) struct ConnectionPermits {
    limits: ConnectionLimits,
    inside: Mutex<PermitHolders>,
}

#[derive(Default)]
struct PermitHolders {
    admitted: u64,
    /// The oldest first.
    holders: VecDeque<PermitHolder>,
}

struct PermitHolder {
    number: u64,
    party: IpAddr,
    answered: bool,
    revoked: CancellationToken,
}

/// The permit of one connection, given back when it is dropped.
pub(crate) struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    number: u64,
    /// Cancelled when the permit goes to somebody else.
    revoked: CancellationToken,
}

/// Held while a request of the permit's holder is answered.
pub(crate) struct AnswerGuard<'p>(&'p ConnectionPermit);

impl ConnectionPermits {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(ConnectionPermits { limits, inside: Mutex::default() })
    }

    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> ConnectionPermit {
        let (party, revoked) = (one_party(peer), CancellationToken::new());
        let mut inside = self.lock();
        inside.revoke_for(self.limits, party);
        inside.admitted += 1;
        let number = inside.admitted;
        let holder = PermitHolder { number, party, answered: false, revoked: revoked.clone() };
        inside.holders.push_back(holder);
        ConnectionPermit { permits: self.clone(), number, revoked }
    }

    fn lock(&self) -> MutexGuard<'_, PermitHolders> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PermitHolders {
    /// Revokes a permit where one more of this party is too many. The holders are few, and they are looked
    /// through only then.
    fn revoke_for(&mut self, limits: ConnectionLimits, newcomer: IpAddr) {
        if self.holders.len() < limits.per_party.min(limits.total) {
            return;
        }
        let mut of_party: FastMap<IpAddr, usize> = FastMap::default();
        for holder in &self.holders {
            *of_party.entry(holder.party).or_default() += 1;
        }
        let own = of_party.entry(newcomer).or_default();
        *own += 1;
        let most = if *own > limits.per_party {
            *own
        } else if self.holders.len() < limits.total {
            return;
        } else {
            of_party.values().copied().max().unwrap_or(0)
        };
        let crowd = self.holders.iter().enumerate();
        let crowd = crowd.filter(|(_, holder)| of_party.get(&holder.party) == Some(&most));
        let goes = crowd.min_by_key(|(at, holder)| (holder.answered, *at)).map(|(at, _)| at);
        if let Some(holder) = goes.and_then(|at| self.holders.remove(at)) {
            holder.revoked.cancel();
        }
    }
}

impl ConnectionPermit {
    /// Runs `stay` to its end; without a result when the permit is revoked before.
    pub(crate) async fn hold<T>(&self, stay: impl Future<Output = T>) -> Option<T> {
        self.revoked.run_until_cancelled(stay).await
    }

    pub(crate) fn answers(&self) -> AnswerGuard<'_> {
        self.set_answered(true);
        AnswerGuard(self)
    }

    fn set_answered(&self, answered: bool) {
        let mut inside = self.permits.lock();
        let at = inside.holders.binary_search_by_key(&self.number, |holder| holder.number);
        if let Some(holder) = at.ok().and_then(|at| inside.holders.get_mut(at)) {
            holder.answered = answered;
        }
    }
}

impl Drop for AnswerGuard<'_> {
    fn drop(&mut self) {
        self.0.set_answered(false);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut inside = self.permits.lock();
        inside.holders.retain(|holder| holder.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(permits: &Arc<ConnectionPermits>, address: &str) -> ConnectionPermit {
        permits.admit(address.parse().unwrap())
    }

    fn left(permits: &[ConnectionPermit]) -> Vec<usize> {
        let gone = permits.iter().enumerate().filter(|(_, permit)| permit.revoked.is_cancelled());
        gone.map(|(at, _)| at).collect()
    }

    #[test]
    fn crowd_loses_its_own_permits_to_newcomers() {
        let permits = ConnectionPermits::new(ConnectionLimits::shared_by_all(4));
        let rare = admit(&permits, "10.0.0.9");
        let crowd: Vec<ConnectionPermit> =
            (0..100).map(|_| admit(&permits, "172.17.0.2")).collect();
        assert!(!rare.revoked.is_cancelled());
        assert_eq!(left(&crowd), (0..97).collect::<Vec<_>>(), "the newest three stay");
        let another = admit(&permits, "10.0.0.8");
        assert!(!rare.revoked.is_cancelled() && !another.revoked.is_cancelled());
        assert_eq!(left(&crowd).len(), 98);
    }

    #[test]
    fn oldest_permit_of_equally_large_parties_is_revoked() {
        let permits = ConnectionPermits::new(ConnectionLimits::shared_by_all(3));
        let many: Vec<ConnectionPermit> =
            (1..=5).map(|n| admit(&permits, &format!("172.17.0.{n}"))).collect();
        assert_eq!(left(&many), [0, 1]);
    }

    #[test]
    fn party_over_its_share_loses_permits_though_some_are_free() {
        let permits = ConnectionPermits::new(ConnectionLimits { total: 10, per_party: 2 });
        let rare = admit(&permits, "10.0.0.9");
        let crowd: Vec<ConnectionPermit> = (0..4).map(|_| admit(&permits, "172.17.0.2")).collect();
        assert!(!rare.revoked.is_cancelled());
        assert_eq!(left(&crowd), [0, 1]);
    }

    #[test]
    fn permit_with_a_request_is_revoked_last_of_its_party() {
        let permits = ConnectionPermits::new(ConnectionLimits { total: 4, per_party: 3 });
        let crowd: Vec<ConnectionPermit> = (0..3).map(|_| admit(&permits, "172.17.0.2")).collect();
        let answering = (crowd[0].answers(), crowd[1].answers());
        let more: Vec<ConnectionPermit> = (0..3).map(|_| admit(&permits, "172.17.0.2")).collect();
        assert_eq!((left(&crowd), left(&more)), (vec![2], vec![0, 1]));
        // Of a crowd that is answered all over, one goes for another party nevertheless.
        let _third = more[2].answers();
        let _others = [admit(&permits, "10.0.0.8"), admit(&permits, "10.0.0.9")];
        assert_eq!(left(&crowd), [0, 2]);
        drop(answering);
    }

    #[test]
    fn permit_that_was_dropped_is_free() {
        let permits = ConnectionPermits::new(ConnectionLimits::shared_by_all(2));
        for _ in 0..10 {
            drop(admit(&permits, "10.0.0.1"));
        }
        let two = [admit(&permits, "10.0.0.1"), admit(&permits, "10.0.0.1")];
        assert_eq!(left(&two), [0usize; 0]);
        assert_eq!(permits.inside.lock().unwrap().holders.len(), 2);
    }
}
