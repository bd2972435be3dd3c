//! Agents that claim to be a host that is another machine, or whose own agent is alive: refused, and
//! said loudly, for somebody has copied a machine or stolen its key.
//!
//! Never: a decision about who is right. The state machine's `identity` decides.

use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use longshore_common::{id::HostId, index::FastMap, machine::AgentRun};

use super::admission::Denied;
use crate::state_machine::Rejection;

/// Counts refused claims.
pub(crate) const IDENTITY_CONFLICTS: &str = "longshore_identity_conflicts_total";

/// Who was refused last, per host: as many as there are hosts.
#[derive(Default)]
pub(super) struct Contests {
    claimants: Mutex<FastMap<HostId, u64>>,
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
        let mut claimants = self.claimants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = claimants.insert(host, session) == Some(session);
        drop(claimants);
        if !known && matches!(contest, Rejection::HostLivesElsewhere { .. }) {
            let sentence = "the agent that this host had before still counts as connected";
            return Denied::new(StatusCode::SERVICE_UNAVAILABLE, sentence);
        }
        metrics::counter!(IDENTITY_CONFLICTS).increment(1);
        tracing::error!(%host, session, "ALARM: two machines claim one identity. {contest}");
        Denied::new(StatusCode::CONFLICT, contest.to_string())
    }
}
