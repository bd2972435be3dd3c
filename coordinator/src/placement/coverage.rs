//! One task on every host: which hosts a daemon belongs on, and which lack it. Whether it fits
//! there now is asked host by host ([`ClusterIndex::check`]).

use super::{ClusterIndex, HostSlot, Reason, Request, candidates::Candidates, filter::Term};

impl ClusterIndex {
    /// How many hosts are ready and have the required attributes, however full they are.
    pub fn daemon_hosts(&self, request: &Request<'_>) -> u32 {
        self.eligible(request).len()
    }

    /// Of these hosts, up to `limit` that have no task of the request's group.
    pub fn uncovered(&self, request: &Request<'_>, limit: usize) -> Vec<HostSlot> {
        let distinct = Request { distinct_instance: true, ..*request };
        let mut hosts = self.eligible(request);
        self.filter(Reason::DistinctInstance, &distinct, &mut hosts);
        hosts.rows().take(limit).map(|row| self.host(row).slot).collect()
    }

    fn eligible(&self, request: &Request<'_>) -> Candidates {
        let mut terms = Vec::new();
        self.terms(Reason::Attribute, request, &mut terms);
        Candidates::new(&self.ready, |block, line| Term::all(&terms, block, line))
    }
}
