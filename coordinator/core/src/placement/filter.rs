//! Which hosts may be given a task at all, filter by filter, over all hosts at once or for one.
//!
//! A filter is a [`Reason`] to be turned away.

use longshore_common::{protocol::Attribute, resources::Demand};

use super::{
    ClusterIndex, HostSlot, MemberOf, Reason, Request, Resource, SpreadOver, Strategy, Unfit,
    bits::{Bits, EMPTY, Line, Planes, and, and_not},
    candidates::Candidates,
    column::AtLeast,
    index::quantity,
    member_of::Members,
    taken::TakenOnHost,
};
use crate::query::Constraint;

/// The strategies that have a say: nothing is left to choose after `random`.
pub(super) fn effective(strategies: &[Strategy]) -> impl Iterator<Item = &Strategy> {
    strategies.iter().take_while(|strategy| **strategy != Strategy::Random)
}

/// A condition on a host.
#[derive(Clone, Debug)]
pub(super) enum Term<'a> {
    In(&'a Bits),
    NotIn(&'a Bits),
    /// The host's number is 0.
    None(&'a Planes),
    AtLeast(AtLeast<'a>),
    Member(Members<'a>),
    Never,
}

impl Term<'_> {
    /// Those of a line's rows that meet all conditions.
    pub(super) fn all(terms: &[Term<'_>], block: u32, line: &Line) -> Line {
        let mut line = *line;
        for term in terms {
            line = match term {
                Term::In(rows) => and(&line, rows.line(block)),
                Term::NotIn(rows) => and_not(&line, rows.line(block)),
                Term::None(numbers) => and_not(&line, &numbers.nonzero_line(block)),
                Term::AtLeast(enough) => enough.of(block, &line),
                Term::Member(members) => members.of(block, &line),
                Term::Never => EMPTY,
            };
        }
        line
    }
}

impl ClusterIndex {
    /// Whether one task fits on the host that the caller picked (ECS's StartTask, which knows no
    /// constraints and no strategies); else all that is wrong, in the order of [`Reason`]. A host
    /// that is not in the cluster is not active.
    pub fn check(
        &self,
        slot: HostSlot,
        demand: &Demand,
        required_attributes: &[Attribute],
    ) -> Result<(), Vec<Unfit>> {
        let Some(row) = self.row_of(slot) else { return Err(vec![Unfit::NotActive]) };
        let mut unfit = self.ineligible(row);
        unfit.extend(required_attributes.iter().filter_map(|wanted| self.lacks(row, wanted)));
        unfit.extend(self.lacks_resources(row, demand, 0, None));
        if unfit.is_empty() { Ok(()) } else { Err(unfit) }
    }

    /// What one filter asks, as sets of hosts; nothing when every host passes.
    pub(super) fn terms<'a>(
        &'a self,
        by: Reason,
        request: &Request<'_>,
        terms: &mut Vec<Term<'a>>,
    ) {
        match by {
            Reason::NotActive => terms.push(Term::In(&self.active)),
            Reason::AgentDisconnected => terms.push(Term::In(&self.connected)),
            Reason::EngineSilent => terms.push(Term::In(&self.engine_answers)),
            Reason::NoRoom => terms.push(Term::In(&self.has_room)),
            Reason::Attribute => {
                let wanted = request.required_attributes.iter();
                let mut sets = wanted.map(|wanted| self.attributes.hosts_with(wanted));
                terms.extend(sets.by_ref().filter_map(|hosts| self.in_some(hosts)));
                for name in spread_names(request) {
                    terms.extend(self.in_some(self.attributes.hosts_with_name(name)));
                }
            }
            Reason::MemberOf => {
                let MemberOf { constraints, groups, .. } = request.member_of;
                let members =
                    |constraint: &Constraint| self.members(&constraint.expression().0, groups);
                terms.extend(constraints.iter().map(members).map(Term::Member));
            }
            Reason::DistinctInstance => {
                if request.distinct_instance {
                    let group = self.groups.get(request.group);
                    terms.extend(group.map(|group| Term::None(&group.on)));
                }
            }
            Reason::Port => {
                let taken = request.demand.ports.iter().filter_map(|port| self.ports.get(port));
                terms.extend(taken.map(Term::NotIn));
            }
            Reason::Gpu => {
                let need = request.demand.gpus;
                terms.extend((need > 0).then(|| Term::AtLeast(self.gpus.at_least(need))));
            }
            Reason::Cpu => {
                let need = request.demand.cpu.0;
                terms.extend((need > 0).then(|| Term::AtLeast(self.cpu.at_least(need))));
            }
            Reason::Memory => {
                let need = request.demand.memory.0;
                terms.extend((need > 0).then(|| Term::AtLeast(self.memory.at_least(need))));
            }
        }
    }

    /// Keeps the hosts that pass one filter.
    pub(super) fn filter(&self, by: Reason, request: &Request<'_>, candidates: &mut Candidates) {
        let mut terms = Vec::new();
        self.terms(by, request, &mut terms);
        candidates.map(|block, line| Term::all(&terms, block, line));
    }

    /// The hosts that pass every filter.
    pub(super) fn fitting(&self, request: &Request<'_>) -> Candidates {
        let mut terms = Vec::with_capacity(8);
        for reason in Reason::ALL {
            let of_ready_hosts = matches!(
                reason,
                Reason::NotActive
                    | Reason::AgentDisconnected
                    | Reason::EngineSilent
                    | Reason::NoRoom
            );
            if !of_ready_hosts {
                self.terms(reason, request, &mut terms);
            }
        }
        Candidates::new(&self.ready, |block, line| Term::all(&terms, block, line))
    }

    fn in_some<'a>(&self, hosts: Option<&'a Bits>) -> Option<Term<'a>> {
        match hosts {
            None => Some(Term::Never),
            Some(hosts) if hosts.len() == self.present.len() => None,
            Some(hosts) => Some(Term::In(hosts)),
        }
    }

    /// All that one host fails, in the order of [`Reason`], once it has `taken` tasks like the one
    /// asked for.
    pub(super) fn unfit(&self, row: u32, request: &Request<'_>, taken: u32) -> Vec<Unfit> {
        let mut unfit = self.ineligible(row);
        let wanted = request.required_attributes;
        unfit.extend(wanted.iter().filter_map(|wanted| self.lacks(row, wanted)));
        for name in spread_names(request) {
            unfit.extend(self.lacks(row, &Attribute { name: name.to_owned(), value: None }));
        }
        unfit.extend(self.unmet(row, request, taken).into_iter().cloned().map(Unfit::MemberOf));
        let earlier = request.earlier.on(self.host(row).slot);
        let has_one = || {
            let groups = &self.host(row).groups;
            taken > 0
                || earlier.is_some_and(|here| here.of_group(request.group) > 0)
                || groups.binary_search_by_key(&request.group, |(key, _)| *key).is_ok()
        };
        if request.distinct_instance && has_one() {
            unfit.push(Unfit::DistinctInstance);
        }
        unfit.extend(self.lacks_resources(row, request.demand, taken, earlier));
        unfit
    }

    /// What a host has left once it has `taken` tasks with such a demand beside what the decision
    /// took `earlier`.
    pub(super) fn left(
        &self,
        row: u32,
        of: Resource,
        demand: &Demand,
        taken: u32,
        earlier: Option<&TakenOnHost>,
    ) -> i64 {
        let remaining = &self.host(row).remaining;
        let (remaining, demand, earlier) = match of {
            Resource::Cpu => (remaining.cpu, demand.cpu.0, earlier.map_or(0, |here| here.cpu)),
            Resource::Memory => {
                (remaining.memory, demand.memory.0, earlier.map_or(0, |here| here.memory))
            }
        };
        remaining - earlier - i64::from(demand) * i64::from(taken)
    }

    /// As [`ClusterIndex::left`].
    pub(super) fn gpus_left(
        &self,
        row: u32,
        demand: &Demand,
        taken: u32,
        earlier: Option<&TakenOnHost>,
    ) -> i64 {
        let earlier = earlier.map_or(0, |here| here.gpus);
        self.host(row).remaining.gpus - earlier - i64::from(demand.gpus) * i64::from(taken)
    }

    fn ineligible(&self, row: u32) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        if !self.active.contains(row) {
            unfit.push(Unfit::NotActive);
        }
        if !self.connected.contains(row) {
            unfit.push(Unfit::AgentDisconnected);
        }
        if !self.engine_answers.contains(row) {
            unfit.push(Unfit::EngineSilent);
        }
        if !self.has_room.contains(row) {
            unfit.push(Unfit::NoRoom);
        }
        unfit
    }

    fn lacks(&self, row: u32, wanted: &Attribute) -> Option<Unfit> {
        let has = self.attributes.hosts_with(wanted).is_some_and(|hosts| hosts.contains(row));
        (!has).then(|| Unfit::Attribute(wanted.clone()))
    }

    fn lacks_resources(
        &self,
        row: u32,
        demand: &Demand,
        taken: u32,
        earlier: Option<&TakenOnHost>,
    ) -> Vec<Unfit> {
        let ports = &self.host(row).remaining.ports;
        let is_taken = |port: &&_| {
            taken > 0
                || ports.binary_search(port).is_ok()
                || earlier.is_some_and(|here| here.ports.contains(port))
        };
        let mut unfit: Vec<Unfit> =
            demand.ports.iter().filter(is_taken).map(|port| Unfit::Port(*port)).collect();
        let (needed, remaining) = (demand.gpus, self.gpus_left(row, demand, taken, earlier));
        if needed > quantity(remaining) {
            unfit.push(Unfit::Gpu { needed, remaining });
        }
        let left = |of| self.left(row, of, demand, taken, earlier);
        let (needed, remaining) = (demand.cpu.0, left(Resource::Cpu));
        if needed > quantity(remaining) {
            unfit.push(Unfit::Cpu { needed, remaining });
        }
        let (needed, remaining) = (demand.memory.0, left(Resource::Memory));
        if needed > quantity(remaining) {
            unfit.push(Unfit::Memory { needed, remaining });
        }
        unfit
    }
}

/// Attributes that a host must have because the request asks to spread over them.
fn spread_names<'a>(request: &Request<'a>) -> impl Iterator<Item = &'a str> {
    effective(request.strategies).filter_map(|strategy| match strategy {
        Strategy::Spread(SpreadOver::Attribute(name)) => Some(name.as_str()),
        Strategy::Spread(SpreadOver::Instance) | Strategy::Binpack(_) | Strategy::Random => None,
    })
}
