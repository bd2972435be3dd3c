//! Task groups, interned: placement counts per group, and a name is stored once.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::index::FastMap;

use super::{arena::Arena, counter};
use crate::placement::{GroupKey, GroupNames};

#[derive(Default)]
pub(super) struct Groups {
    by_name: FastMap<Arc<str>, GroupKey>,
    groups: Arena<GroupKey, Group>,
}

struct Group {
    name: Arc<str>,
    tasks: u32,
}

impl GroupNames for Groups {
    fn key(&self, name: &str) -> Option<GroupKey> {
        self.key(name)
    }
    fn name(&self, key: GroupKey) -> &str {
        self.name(key)
    }
}

impl Groups {
    pub(super) fn key(&self, name: &str) -> Option<GroupKey> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, key: GroupKey) -> &str {
        &self.groups[key].name
    }

    /// How many tasks each group has.
    pub(super) fn sizes(&self) -> BTreeMap<&str, u32> {
        self.by_name.iter().map(|(name, key)| (&**name, self.groups[*key].tasks)).collect()
    }

    /// Counts one task more in the group, which is made if need be.
    pub(super) fn join(&mut self, name: &str) -> GroupKey {
        let key = match self.by_name.get(name) {
            Some(&key) => key,
            None => {
                let name: Arc<str> = name.into();
                let key = self.groups.insert(Group { name: name.clone(), tasks: 0 });
                self.by_name.insert(name, key);
                key
            }
        };
        self.groups[key].tasks += 1;
        key
    }

    /// Counts one task less; a group without tasks is forgotten.
    pub(super) fn leave(&mut self, key: GroupKey) {
        let group = &mut self.groups[key];
        counter::count(&mut group.tasks, -1);
        if group.tasks == 0 {
            let group = self.groups.remove(key);
            self.by_name.remove(&group.name);
        }
    }
}
