//! How many tasks of each group are where: by host, and by each value of the hosts' attributes.

use longshore_common::index::FastMap;

use super::{GroupKey, attributes::ValueId, bits::Planes};

/// A group is here as long as it has tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(FastMap<GroupKey, Group>);

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    tasks: u32,
    /// Number of the group's tasks on each host.
    pub(super) on: Planes,
    by_value: FastMap<ValueId, u32>,
}

impl Groups {
    pub(super) fn get(&self, key: GroupKey) -> Option<&Group> {
        self.0.get(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupKey, &Group)> {
        self.0.iter().map(|(key, group)| (*key, group))
    }

    /// Counts one more task on a host that had `before` of them and has such attributes.
    pub(super) fn add(
        &mut self,
        key: GroupKey,
        row: u32,
        before: u32,
        values: impl Iterator<Item = ValueId>,
    ) {
        let group = self.0.entry(key).or_default();
        group.tasks += 1;
        group.on.change(row, before, before + 1);
        group.add_values(values, 1);
    }

    /// The reverse of [`Groups::add`] for `n` of `before` tasks.
    pub(super) fn subtract(
        &mut self,
        key: GroupKey,
        row: u32,
        before: u32,
        n: u32,
        values: impl Iterator<Item = ValueId>,
    ) {
        let Some(group) = self.0.get_mut(&key) else { return };
        group.tasks -= n;
        if group.tasks == 0 {
            self.0.remove(&key);
            return;
        }
        group.on.change(row, before, before - n);
        group.subtract_values(values, n);
    }

    /// Moves the counts of `n` tasks on one host from its old attributes to its new ones.
    pub(super) fn change_values(
        &mut self,
        key: GroupKey,
        n: u32,
        old: impl Iterator<Item = ValueId>,
        new: impl Iterator<Item = ValueId>,
    ) {
        if let Some(group) = self.0.get_mut(&key) {
            group.add_values(new, n);
            group.subtract_values(old, n);
        }
    }

    /// Stops counting for values of which there have become too many.
    pub(super) fn forget(&mut self, values: &[ValueId]) {
        if values.is_empty() {
            return;
        }
        for group in self.0.values_mut() {
            for value in values {
                group.by_value.remove(value);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Group {
    pub(super) fn on_value(&self, value: ValueId) -> u32 {
        self.by_value.get(&value).copied().unwrap_or(0)
    }

    fn add_values(&mut self, values: impl Iterator<Item = ValueId>, n: u32) {
        for value in values {
            *self.by_value.entry(value).or_default() += n;
        }
    }

    fn subtract_values(&mut self, values: impl Iterator<Item = ValueId>, n: u32) {
        for value in values {
            if let Some(count) = self.by_value.get_mut(&value) {
                *count -= n;
                if *count == 0 {
                    self.by_value.remove(&value);
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn tasks(&self) -> u32 {
        self.tasks
    }

    #[cfg(test)]
    pub(super) fn values_counted(&self) -> usize {
        self.by_value.len()
    }
}

/// How the caller calls the groups that it interned.
pub trait GroupNames {
    fn key(&self, name: &str) -> Option<GroupKey>;
    fn name(&self, key: GroupKey) -> &str;
}

pub(super) struct NoGroups;

impl GroupNames for NoGroups {
    fn key(&self, _: &str) -> Option<GroupKey> {
        None
    }
    fn name(&self, _: GroupKey) -> &str {
        ""
    }
}
