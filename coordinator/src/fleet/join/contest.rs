//! Agents that claim to be a host that is another machine, or whose own agent is alive: refused, and
//! said loudly, for somebody has copied a machine or stolen its key.
//!
//! Never: a decision about who is right. The state machine's `identity` decides.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;
use longshore_common::{id::HostId, index::FastSet, machine::AgentRun};
use longshore_core::{Rejection, rejection::MemberRejection};

use super::denied::Denied;

/// Counts refused claims.
pub(crate) const IDENTITY_CONFLICTS: &str = "longshore_identity_conflicts_total";

/// Maximum number of refused claims that are remembered (ours); the oldest is forgotten first.
const CLAIMS_MAX: usize = 1_024;

/// An agent that claims to be a host, by the session that it says.
type Claim = (HostId, u64);

/// Who was refused lately.
#[derive(Default)]
pub(super) struct Contests {
    refused: Mutex<Refused>,
}

#[derive(Default)]
struct Refused {
    claims: FastSet<Claim>,
    by_age: VecDeque<Claim>,
}

impl Refused {
    /// Whether the claim was refused before; it was now.
    fn again(&mut self, claim: Claim) -> bool {
        if !self.claims.insert(claim) {
            return true;
        }
        self.by_age.push_back(claim);
        if self.by_age.len() > CLAIMS_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.claims.remove(&oldest);
        }
        false
    }
}

impl Contests {
    /// What the claimant is told. An agent that restarts at another address may be faster than the
    /// end of its old connection: one that finds the host alive is asked to try again, once.
    pub(super) fn refuse(
        &self,
        host: HostId,
        run: Option<&AgentRun>,
        contest: &Rejection,
    ) -> Denied {
        let session = run.map_or(0, |run| run.session);
        let known =
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).again((host, session));
        if !known
            && matches!(contest, Rejection::Member(MemberRejection::HostLivesElsewhere { .. }))
        {
            let sentence = "the agent that this host had before still counts as connected";
            return Denied::new(StatusCode::SERVICE_UNAVAILABLE, sentence);
        }
        metrics::counter!(IDENTITY_CONFLICTS).increment(1);
        tracing::error!(%host, session, "ALARM: two machines claim one identity. {contest}");
        Denied::new(StatusCode::CONFLICT, contest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn status(contests: &Contests, host: u128, session: u64) -> StatusCode {
        let run = AgentRun { session, ..AgentRun::default() };
        let alive = Rejection::Member(MemberRejection::HostLivesElsewhere {
            host: HostId::new(host),
            address: SocketAddr::from(([10, 0, 0, 1], 1)).to_string(),
        });
        contests.refuse(HostId::new(host), Some(&run), &alive).status
    }

    #[test]
    fn claimants_that_take_turns_raise_the_alarm() {
        let contests = Contests::default();
        let said: Vec<_> = [1, 2, 1, 2].map(|session| status(&contests, 7, session)).into();
        let (wait, alarm) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT);
        assert_eq!(said, [wait, wait, alarm, alarm]);
        assert_eq!(status(&contests, 8, 1), wait, "another host");
    }

    #[test]
    fn refused_claims_that_are_remembered_are_bounded() {
        let contests = Contests::default();
        for session in 0..3 * CLAIMS_MAX as u64 {
            status(&contests, 7, session);
        }
        let refused = contests.refused.lock().unwrap();
        assert_eq!((refused.claims.len(), refused.by_age.len()), (CLAIMS_MAX, CLAIMS_MAX));
    }
}
