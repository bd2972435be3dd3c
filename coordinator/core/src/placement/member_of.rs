//! `memberOf`: expressions of the cluster query language as sets of hosts.
//!
//! An expression becomes sets that the index has anyway, joined line by line: a value's hosts, the
//! hosts of each value that a regular expression matches, digit planes for numbers and times, the
//! hosts of a group. What changes with every task is read as it is now. Nothing here looks at
//! single hosts, except to explain one.

use std::cmp;

use super::{
    ClusterIndex, HostSlot, MemberOf, Request,
    bits::{Bits, EMPTY, Line, Planes, and, and_not, or},
    groups::GroupNames,
};
use crate::query::{Compared, Condition, Constraint, Expression, Facts, Node, Text, Version, said};

/// Whether what it says of a host changes when a task comes, starts or goes there.
pub(super) fn is_live(constraint: &Constraint) -> bool {
    names_groups(constraint)
        || constraint.expression().0.any(&|is| matches!(is, Condition::RunningTasks(..)))
}

/// Whether a task that is only placed changes what it says.
pub(super) fn names_groups(constraint: &Constraint) -> bool {
    let of_groups = |is: &Condition| matches!(is, Condition::HasTasks | Condition::TaskGroup(_));
    constraint.expression().0.any(&of_groups)
}

/// The hosts of one cluster that an expression holds of.
#[derive(Clone, Debug)]
pub(super) enum Members<'a> {
    None,
    In(&'a Bits),
    /// Line by line.
    Lines(Vec<Line>),
    /// Hosts whose number compares so with the last one.
    Number(&'a Planes, Compared, u32),
    /// The number is not 0.
    Some(&'a Planes),
    Not(Box<Members<'a>>),
    All(Vec<Members<'a>>),
    Any(Vec<Members<'a>>),
}

impl Members<'_> {
    /// Those of a line's rows that are in the set.
    pub(super) fn of(&self, block: u32, line: &Line) -> Line {
        match self {
            Members::None => EMPTY,
            Members::In(rows) => and(line, rows.line(block)),
            Members::Lines(lines) => and(line, lines.get(block as usize).unwrap_or(&EMPTY)),
            Members::Number(planes, compared, with) => {
                compare(planes.digits(block), line, *compared, *with)
            }
            Members::Some(planes) => and(line, &planes.nonzero_line(block)),
            Members::Not(members) => and_not(line, &members.of(block, line)),
            Members::All(all) => all.iter().fold(*line, |line, members| members.of(block, &line)),
            Members::Any(any) => {
                any.iter().fold(EMPTY, |found, members| or(&found, &members.of(block, line)))
            }
        }
    }
}

/// The rows whose number compares so, digit by digit from the greatest.
fn compare(digits: &[Line], line: &Line, compared: Compared, with: u32) -> Line {
    let (mut less, mut equal, mut greater) = (EMPTY, *line, EMPTY);
    if with.checked_shr(digits.len() as u32).unwrap_or(0) > 0 {
        (less, equal) = (*line, EMPTY);
    }
    for (digit, ones) in digits.iter().enumerate().rev() {
        if with >> digit & 1 == 1 {
            less = or(&less, &and_not(&equal, ones));
            equal = and(&equal, ones);
        } else {
            greater = or(&greater, &and(&equal, ones));
            equal = and_not(&equal, ones);
        }
    }
    let orders = [
        (cmp::Ordering::Less, less),
        (cmp::Ordering::Equal, equal),
        (cmp::Ordering::Greater, greater),
    ];
    let wanted = orders.iter().filter(|(order, _)| compared.holds(*order));
    wanted.fold(EMPTY, |found, (_, rows)| or(&found, rows))
}

/// The union of sets; what it costs is what they hold.
fn union<'a>(sets: impl Iterator<Item = &'a Bits>) -> Members<'a> {
    let mut sets = sets.peekable();
    let Some(first) = sets.next() else { return Members::None };
    if sets.peek().is_none() {
        return Members::In(first);
    }
    let mut lines = Vec::new();
    std::iter::once(first).chain(sets).flat_map(Bits::lines).for_each(|(block, line)| {
        add(&mut lines, block, line);
    });
    Members::Lines(lines)
}

fn add(lines: &mut Vec<Line>, block: u32, line: &Line) {
    if lines.len() <= block as usize {
        lines.resize(block as usize + 1, EMPTY);
    }
    let own = &mut lines[block as usize];
    *own = or(own, line);
}

impl ClusterIndex {
    /// The hosts that meet a constraint, however full they are; for lists.
    pub fn meeting(&self, constraint: &Constraint, groups: &dyn GroupNames) -> Meeting<'_> {
        let Expression(node) = constraint.expression();
        Meeting { index: self, members: self.members(node, groups) }
    }

    /// The hosts on which a daemon may stay, as far as they are not its own doing: those that meet
    /// the constraints which no task changes. `None`: any.
    pub fn keeping(&self, member_of: &MemberOf<'_>) -> Option<Meeting<'_>> {
        let constraints = member_of.constraints.iter().filter(|one| !is_live(one));
        let members: Vec<Members<'_>> =
            constraints.map(|one| self.members(&one.expression().0, member_of.groups)).collect();
        (!members.is_empty()).then_some(Meeting { index: self, members: Members::All(members) })
    }

    pub(super) fn members<'a>(&'a self, node: &Node, groups: &dyn GroupNames) -> Members<'a> {
        match node {
            Node::Not(node) => Members::Not(Box::new(self.members(node, groups))),
            Node::All(nodes) => {
                Members::All(nodes.iter().map(|node| self.members(node, groups)).collect())
            }
            Node::Any(nodes) => {
                Members::Any(nodes.iter().map(|node| self.members(node, groups)).collect())
            }
            Node::Is(condition) => self.hosts_that(condition, groups),
        }
    }

    fn hosts_that<'a>(&'a self, are: &Condition, groups: &dyn GroupNames) -> Members<'a> {
        match are {
            Condition::AgentConnected(text) => match [true, false].map(|is| text.holds(said(is))) {
                [true, true] => Members::In(&self.present),
                [true, false] => Members::In(&self.connected),
                [false, true] => Members::Not(Box::new(Members::In(&self.connected))),
                [false, false] => Members::None,
            },
            Condition::AgentVersion(compared, than) => {
                let versions = self.particulars.versions.iter();
                union(
                    versions.filter(|(own, _)| compared.holds((*own).cmp(than))).map(|(_, on)| on),
                )
            }
            Condition::InstanceId(text) => match text {
                Text::OneOf(ids) => {
                    let ids = ids.iter().filter_map(|id| self.particulars.instance_ids.get(&**id));
                    union(ids)
                }
                Text::Matches(pattern) => {
                    let ids = self.particulars.instance_ids.iter();
                    union(ids.filter(|(id, _)| pattern.matches(id)).map(|(_, on)| on))
                }
            },
            Condition::RegisteredAt(compared, than) => {
                Members::Number(&self.particulars.registered_at_s, *compared, *than)
            }
            Condition::RunningTasks(compared, than) => {
                Members::Number(&self.particulars.running, *compared, *than)
            }
            Condition::HasAttribute(name) => {
                self.attributes.hosts_with_name(name).map_or(Members::None, Members::In)
            }
            Condition::Attribute(name, Text::OneOf(values)) => {
                let values = values.iter();
                union(values.filter_map(|value| self.attributes.hosts_with_value(name, value)))
            }
            Condition::Attribute(name, Text::Matches(pattern)) => {
                let values = self.attributes.values_of(name);
                union(values.filter(|(value, _)| pattern.matches(value)).map(|(_, on)| on))
            }
            Condition::AttributeOrder(name, compared, than) => {
                let values = self.attributes.values_of(name);
                let is = |value: &str| compared.holds(crate::query::in_order(value, than));
                union(values.filter(|(value, _)| is(value)).map(|(_, on)| on))
            }
            Condition::HasTasks => Members::In(&self.busy),
            Condition::TaskGroup(Text::OneOf(names)) => {
                let keys = names.iter().filter_map(|name| groups.key(name));
                let on = keys.filter_map(|key| Some(Members::Some(&self.groups.get(key)?.on)));
                Members::Any(on.collect())
            }
            Condition::TaskGroup(Text::Matches(pattern)) => {
                let here = self.groups.iter().filter(|(key, _)| pattern.matches(groups.name(*key)));
                let mut lines = Vec::new();
                let rows = here.flat_map(|(_, group)| group.on.nonzero());
                rows.for_each(|(block, line)| add(&mut lines, block, &line));
                Members::Lines(lines)
            }
        }
    }

    /// The constraints that one host does not meet once it has `taken` tasks like the one
    /// asked for.
    pub(super) fn unmet<'a>(
        &self,
        row: u32,
        request: &Request<'a>,
        taken: u32,
    ) -> Vec<&'a Constraint> {
        let earlier = request.earlier.of_group(self.host(row).slot, request.group);
        let taken = taken + earlier;
        let host = HostFacts { index: self, row, of: &request.member_of, taken };
        let constraints = request.member_of.constraints.iter();
        constraints.filter(|constraint| !constraint.expression().holds(&host)).collect()
    }
}

/// See [`ClusterIndex::meeting`].
pub struct Meeting<'a> {
    index: &'a ClusterIndex,
    members: Members<'a>,
}

impl Meeting<'_> {
    pub fn has(&self, slot: HostSlot) -> bool {
        let Some(row) = self.index.row_of(slot) else { return false };
        let (block, word, mask) = super::bits::place_of(row);
        let mut line = EMPTY;
        line[word] = mask;
        self.members.of(block, &line)[word] & mask != 0
    }
}

struct HostFacts<'a, 'b> {
    index: &'a ClusterIndex,
    row: u32,
    of: &'a MemberOf<'b>,
    taken: u32,
}

impl Facts for HostFacts<'_, '_> {
    fn agent_connected(&self) -> bool {
        self.index.connected.contains(self.row)
    }
    fn agent_version(&self) -> Option<&Version> {
        self.index.host(self.row).agent_version.as_ref()
    }
    fn instance_id(&self) -> Option<&str> {
        self.index.host(self.row).instance_id.as_deref()
    }
    fn registered_at_s(&self) -> u32 {
        self.index.particulars.registered_at_s.get(self.row)
    }
    fn running_tasks(&self) -> u32 {
        self.index.particulars.running.get(self.row)
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.index.attributes.held(&self.index.host(self.row).attributes, name)
    }
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        let here = &self.index.host(self.row).groups;
        here.iter().any(|(key, _)| wanted(self.of.groups.name(*key)))
            || (self.taken > 0 && wanted(self.of.own_group))
    }
}
