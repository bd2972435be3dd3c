//! Spreading over the values of an attribute: the hosts of the values that have the fewest tasks.

use std::borrow::Cow;

use longshore_common::index::FastMap;

use super::{
    ClusterIndex,
    attributes::{NameId, ValueId},
    bits::{Bits, EMPTY, Line, Planes, and_not, or, rows_of},
    candidates::Candidates,
    groups::Group,
    index::Host,
};

/// The hosts of one cluster by how many tasks of the group run on their value of one attribute.
pub(super) struct ValueCounts<'a> {
    name: NameId,
    /// All hosts with a value: each has exactly one.
    scope: &'a Bits,
    /// Hosts that have no value of their own share `None`.
    values: Vec<Counted<'a>>,
    /// Made when looked for, so mostly the first alone; in order of count.
    levels: Vec<Level>,
}

struct Counted<'a> {
    value: Option<ValueId>,
    hosts: Cow<'a, Bits>,
    tasks: u32,
}

/// The hosts of all values that have equally many tasks.
struct Level {
    tasks: u32,
    lines: Vec<Line>,
}

impl<'a> ValueCounts<'a> {
    /// `required`: hosts without the attribute are out of the question. `None` when there is but
    /// one value, so that nothing is to be chosen.
    pub(super) fn new(
        index: &'a ClusterIndex,
        group: Option<&Group>,
        name: &str,
        required: bool,
    ) -> Option<Self> {
        let (named, name) = (index.attributes.hosts_with_name(name)?, index.attributes.id(name)?);
        let scope = if required { named } else { &index.present };
        let values = index.attributes.values(name);
        let mut counted = Vec::with_capacity(values.len() + 1);
        let rest = valueless(index, name, named, scope);
        if !rest.is_empty() {
            let tasks = group.map_or(0, |group| group.on.sum(&rest));
            let tasks = tasks.min(u64::from(u32::MAX)) as u32;
            counted.push(Counted { value: None, hosts: rest, tasks });
        }
        if values.len() + counted.len() < 2 {
            return None;
        }
        let wide = match group {
            Some(group) if !index.attributes.is_counted(name) => count(index, name, &group.on),
            _ => FastMap::default(),
        };
        let tasks_on = |value: ValueId| match group {
            None => 0,
            Some(group) => group.on_value(value) + wide.get(&value).unwrap_or(&0),
        };
        counted.extend(values.map(|(value, hosts)| {
            let hosts = Cow::Borrowed(hosts);
            Counted { value: Some(value), hosts, tasks: tasks_on(value) }
        }));
        Some(ValueCounts { name, scope, values: counted, levels: Vec::new() })
    }

    pub(super) fn narrow(&mut self, candidates: &mut Candidates) {
        let mut at = 0;
        loop {
            if at == self.levels.len() {
                let above = self.levels.last().map_or(0, |level| level.tasks + 1);
                let tasks = self.values.iter().map(|counted| counted.tasks);
                let Some(next) = tasks.filter(|tasks| *tasks >= above).min() else { return };
                self.levels.push(self.level(next));
            }
            if candidates.keep_if_any(&self.levels[at].lines) {
                return;
            }
            at += 1;
        }
    }

    /// One more task of the group is on this host.
    pub(super) fn add_task(&mut self, host: &Host) {
        let value = host.attributes.value_of(self.name);
        let found = self.values.iter_mut().find(|counted| counted.value == value);
        let Some(Counted { hosts, tasks, .. }) = found else { return };
        if let Some(level) = self.levels.iter_mut().find(|level| level.tasks == *tasks) {
            level.remove(hosts);
        }
        *tasks += 1;
        let at = self.levels.partition_point(|level| level.tasks < *tasks);
        match self.levels.get_mut(at) {
            Some(level) if level.tasks == *tasks => level.add(hosts),
            // Between levels that were made already.
            Some(_) => {
                let mut level = Level { tasks: *tasks, lines: Vec::new() };
                level.add(hosts);
                self.levels.insert(at, level);
            }
            None => {}
        }
    }

    fn level(&self, tasks: u32) -> Level {
        let mut level = Level { tasks, lines: vec![EMPTY; self.scope.blocks_end() as usize] };
        let is_equal = |counted: &&Counted<'_>| counted.tasks == tasks;
        if self.values.iter().filter(is_equal).count() * 2 <= self.values.len() {
            self.values.iter().filter(is_equal).for_each(|counted| level.add(&counted.hosts));
        } else {
            level.add(self.scope);
            let others = self.values.iter().filter(|counted| !is_equal(counted));
            others.for_each(|counted| level.remove(&counted.hosts));
        }
        level
    }
}

impl Level {
    fn add(&mut self, hosts: &Bits) {
        if self.lines.len() < hosts.blocks_end() as usize {
            self.lines.resize(hosts.blocks_end() as usize, EMPTY);
        }
        for (block, line) in hosts.lines() {
            let own = &mut self.lines[block as usize];
            *own = or(own, line);
        }
    }

    fn remove(&mut self, hosts: &Bits) {
        for (block, line) in hosts.lines() {
            let own = &mut self.lines[block as usize];
            *own = and_not(own, line);
        }
    }
}

/// Hosts of the scope that have no value: the attribute without one, or no such attribute.
fn valueless<'a>(
    index: &'a ClusterIndex,
    name: NameId,
    named: &Bits,
    scope: &Bits,
) -> Cow<'a, Bits> {
    let bare = index.attributes.hosts_without_value(name);
    if named.len() == scope.len() {
        return Cow::Borrowed(bare);
    }
    let mut rest = bare.clone();
    for (block, line) in scope.lines() {
        let unnamed = and_not(line, named.line(block));
        rows_of(block, &unnamed).for_each(|row| rest.insert(row));
    }
    Cow::Owned(rest)
}

/// Tasks by value, from the hosts that have any.
fn count(index: &ClusterIndex, name: NameId, on: &Planes) -> FastMap<ValueId, u32> {
    let mut counts = FastMap::default();
    for (block, line) in on.nonzero() {
        for row in rows_of(block, &line) {
            if let Some(value) = index.host(row).attributes.value_of(name) {
                *counts.entry(value).or_insert(0) += on.get(row);
            }
        }
    }
    counts
}
