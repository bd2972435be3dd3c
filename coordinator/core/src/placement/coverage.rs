//! Which hosts a task belongs on, however full they are: those that a daemon covers and those of
//! them that lack it, and whether hosts of a group could ever take a task. Whether it fits there now
//! is asked host by host ([`ClusterIndex::check`]).

use longshore_common::protocol::Attribute;

use super::{
    ClusterIndex, HostSlot, MemberOf, Reason, Request,
    candidates::Candidates,
    filter::Term,
    member_of::{Members, is_live},
};

impl ClusterIndex {
    /// How many hosts are ready and have what is required of their attributes, however full they are.
    pub fn daemon_hosts(&self, request: &Request<'_>) -> u32 {
        self.eligible(request).len()
    }

    /// Those of these hosts that have no task of the request's group, at most `limit`.
    pub fn uncovered(&self, request: &Request<'_>, limit: usize) -> Vec<HostSlot> {
        let distinct = Request { distinct_instance: true, ..*request };
        let mut hosts = self.eligible(request);
        self.filter(Reason::DistinctInstance, &distinct, &mut hosts);
        let bare = hosts.rows().map(|row| self.host(row).slot);
        let bare = bare.filter(|slot| request.earlier.of_group(*slot, request.group) == 0);
        bare.take(limit).collect()
    }

    /// Whether a host like those that have `mark` may be given such a task once it is empty: one of
    /// them meets all that no task changes. `None` where no host has the mark.
    pub fn suits(&self, request: &Request<'_>, mark: &Attribute) -> Option<bool> {
        let marked = self.attributes.hosts_with(mark).filter(|hosts| !hosts.is_empty())?;
        let mut terms = Vec::new();
        self.terms(Reason::Attribute, request, &mut terms);
        let MemberOf { constraints, groups, .. } = request.member_of;
        let lasting = constraints.iter().filter(|constraint| !is_live(constraint));
        let members = lasting.map(|one| self.members(&one.expression().0, groups));
        terms.extend(members.map(Term::Member));
        Some(!Candidates::new(marked, |block, line| Term::all(&terms, block, line)).is_empty())
    }

    fn eligible(&self, request: &Request<'_>) -> Candidates {
        let mut terms = Vec::new();
        self.terms(Reason::Attribute, request, &mut terms);
        // What a daemon changes of its host by being there, the number of tasks for one, does not
        // take the host from it.
        let MemberOf { constraints, groups, .. } = request.member_of;
        for constraint in constraints {
            let met = self.members(&constraint.expression().0, groups);
            let here = self.groups.get(request.group).filter(|_| is_live(constraint));
            let here = here.map(|group| Members::Some(&group.on));
            terms.push(Term::Member(Members::Any(here.into_iter().chain([met]).collect())));
        }
        Candidates::new(&self.ready, |block, line| Term::all(&terms, block, line))
    }
}
