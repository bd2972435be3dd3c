//! Which hosts have which attributes: names and values interned, a set of hosts for each.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{index::FastMap, protocol::Attribute};

use super::bits::Bits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameId(u32);

/// One value of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueId(u32);

/// One attribute of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) name: NameId,
    pub(super) value: Option<ValueId>,
}

/// Names and values last as long as a host has them. Ids are never given twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    ids: FastMap<Arc<str>, NameId>,
    names: FastMap<NameId, Name>,
    values: FastMap<ValueId, Value>,
    ids_given: u32,
}

#[derive(Clone, Debug)]
struct Name {
    text: Arc<str>,
    /// Hosts with the attribute, whatever its value.
    hosts: Bits,
    values: BTreeMap<Arc<str>, ValueId>,
}

#[derive(Clone, Debug)]
struct Value {
    text: Arc<str>,
    hosts: Bits,
}

impl Attributes {
    /// Enters a host's attributes; of several with one name the last counts. Sorted.
    pub(super) fn add(&mut self, row: u32, attributes: &[Attribute]) -> Box<[Held]> {
        let unique: BTreeMap<&str, Option<&str>> = attributes
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute.value.as_deref()))
            .collect();
        let mut held: Vec<Held> =
            unique.into_iter().map(|(name, value)| self.add_one(row, name, value)).collect();
        held.sort_unstable();
        held.into()
    }

    /// Takes `gone` from a host that keeps the attributes `kept`.
    pub(super) fn remove(&mut self, row: u32, gone: &[Held], kept: &[Held]) {
        for Held { name: name_id, value } in gone {
            let Some(name) = self.names.get_mut(name_id) else { continue };
            if let Some(id) = value
                && let Some(value) = self.values.get_mut(id)
            {
                value.hosts.remove(row);
                if value.hosts.is_empty() {
                    name.values.remove(&value.text);
                    self.values.remove(id);
                }
            }
            if has_name(kept, *name_id) {
                continue;
            }
            name.hosts.remove(row);
            if name.hosts.is_empty() {
                self.ids.remove(&name.text);
                self.names.remove(name_id);
            }
        }
    }

    /// Hosts that have the attribute: with this value, or with any when it gives none.
    pub(super) fn hosts_with(&self, required: &Attribute) -> Option<&Bits> {
        let name = &self.names[&self.id(&required.name)?];
        match &required.value {
            None => Some(&name.hosts),
            Some(text) => name.values.get(text.as_str()).map(|id| &self.values[id].hosts),
        }
    }

    pub(super) fn id(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    pub(super) fn hosts_with_name(&self, name: NameId) -> &Bits {
        &self.names[&name].hosts
    }

    /// The values that hosts have for the attribute, in the order of their text.
    pub(super) fn values(&self, name: NameId) -> impl Iterator<Item = (ValueId, &Bits)> {
        self.names[&name].values.values().map(|id| (*id, &self.values[id].hosts))
    }

    fn add_one(&mut self, row: u32, name: &str, value: Option<&str>) -> Held {
        let name_id = match self.ids.get(name) {
            Some(id) => *id,
            None => {
                let (id, text) = (NameId(self.new_id()), Arc::<str>::from(name));
                self.ids.insert(text.clone(), id);
                let name = Name { text, hosts: Bits::default(), values: BTreeMap::new() };
                self.names.insert(id, name);
                id
            }
        };
        let value = value.map(|text| self.add_value(row, name_id, text));
        if let Some(name) = self.names.get_mut(&name_id) {
            name.hosts.insert(row);
        }
        Held { name: name_id, value }
    }

    fn add_value(&mut self, row: u32, name: NameId, text: &str) -> ValueId {
        let id = match self.names[&name].values.get(text) {
            Some(id) => *id,
            None => {
                let (id, text) = (ValueId(self.new_id()), Arc::<str>::from(text));
                if let Some(name) = self.names.get_mut(&name) {
                    name.values.insert(text.clone(), id);
                }
                self.values.insert(id, Value { text, hosts: Bits::default() });
                id
            }
        };
        if let Some(value) = self.values.get_mut(&id) {
            value.hosts.insert(row);
        }
        id
    }

    fn new_id(&mut self) -> u32 {
        self.ids_given += 1;
        self.ids_given
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.names.len(), self.values.len())
    }
}

fn has_name(held: &[Held], name: NameId) -> bool {
    held.binary_search_by_key(&name, |held| held.name).is_ok()
}
