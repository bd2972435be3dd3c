//! Which hosts have which attributes: names and values interned, a set of hosts for each.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{index::FastMap, protocol::Attribute};

use super::bits::Bits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameId(u32);

/// One value of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueId(u32);

/// The attributes of one host, each name once; both sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) valued: Box<[(NameId, ValueId)]>,
    /// Names without a value.
    pub(super) bare: Box<[NameId]>,
}

/// Maximum number of values of one attribute's name for which tasks are counted by value all the
/// time (ours). The values of a name that has more are rather names of hosts: tasks are counted by
/// them only when a request spreads over them.
pub(super) const COUNTED_VALUES_MAX: usize = 256;

/// Names and values last as long as a host has them. Ids are never given twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    ids: FastMap<Arc<str>, NameId>,
    names: FastMap<NameId, Name>,
    values: FastMap<ValueId, Value>,
    /// Names that had more than [`COUNTED_VALUES_MAX`] values at some time.
    wide: Vec<NameId>,
    ids_given: u32,
}

#[derive(Clone, Debug)]
struct Name {
    text: Arc<str>,
    /// Hosts with the attribute, whatever its value.
    hosts: Bits,
    /// Hosts with the attribute but no value.
    bare: Bits,
    values: BTreeMap<Arc<str>, ValueId>,
}

#[derive(Clone, Debug)]
struct Value {
    text: Arc<str>,
    hosts: Bits,
}

impl Held {
    pub(super) fn value_of(&self, name: NameId) -> Option<ValueId> {
        let at = self.valued.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        Some(self.valued[at].1)
    }

    fn has(&self, name: NameId) -> bool {
        self.value_of(name).is_some() || self.bare.binary_search(&name).is_ok()
    }
}

impl Attributes {
    /// Enters a host's attributes; of several with one name the last counts. Second come the
    /// values that are no longer counted from now on.
    pub(super) fn add(&mut self, row: u32, attributes: &[Attribute]) -> (Held, Vec<ValueId>) {
        let unique: BTreeMap<&str, Option<&str>> = attributes
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute.value.as_deref()))
            .collect();
        let (mut valued, mut bare, mut uncounted) = (Vec::new(), Vec::new(), Vec::new());
        for (text, value) in unique {
            let id = self.name(text);
            match value {
                Some(value) => valued.push((id, self.add_value(row, id, value))),
                None => bare.push(id),
            }
            let name = self.names.get_mut(&id).expect("the name was just entered");
            name.hosts.insert(row);
            name.bare.set(row, value.is_none());
            if name.values.len() > COUNTED_VALUES_MAX && !self.wide.contains(&id) {
                self.wide.push(id);
                uncounted.extend(name.values.values());
            }
        }
        valued.sort_unstable();
        bare.sort_unstable();
        (Held { valued: valued.into(), bare: bare.into() }, uncounted)
    }

    /// Takes from a host what is in `gone` but not in `kept`.
    pub(super) fn remove(&mut self, row: u32, gone: &Held, kept: &Held) {
        for (name, value) in &gone.valued {
            if kept.value_of(*name) != Some(*value) {
                self.remove_value(row, *name, *value);
            }
        }
        let names = gone.valued.iter().map(|(name, _)| name).chain(&gone.bare);
        for id in names.filter(|name| !kept.has(**name)) {
            let Some(name) = self.names.get_mut(id) else { continue };
            name.hosts.remove(row);
            name.bare.remove(row);
            if name.hosts.is_empty() {
                self.ids.remove(&name.text);
                self.names.remove(id);
                self.wide.retain(|wide| wide != id);
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

    /// Hosts with this value of the attribute, as in [`Attributes::hosts_with`].
    pub(super) fn hosts_with_value(&self, name: &str, value: &str) -> Option<&Bits> {
        let id = self.names[&self.id(name)?].values.get(value)?;
        Some(&self.values[id].hosts)
    }

    /// The texts that hosts have for the attribute, in order; none when no host has it.
    pub(super) fn values_of(&self, name: &str) -> impl Iterator<Item = (&str, &Bits)> {
        let name = self.id(name).map(|id| &self.names[&id]);
        let values = name.into_iter().flat_map(|name| &name.values);
        values.map(|(text, id)| (&**text, &self.values[id].hosts))
    }

    /// What a host has for the attribute; `Some(None)` when it has no value.
    pub(super) fn held(&self, held: &Held, name: &str) -> Option<Option<&str>> {
        let name = self.id(name)?;
        match held.value_of(name) {
            Some(value) => Some(Some(&self.values[&value].text)),
            None => held.has(name).then_some(None),
        }
    }

    pub(super) fn id(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// Hosts that have the attribute, with whatever value.
    pub(super) fn hosts_with_name(&self, name: &str) -> Option<&Bits> {
        self.id(name).map(|id| &self.names[&id].hosts)
    }

    /// Hosts that have the attribute without a value.
    pub(super) fn hosts_without_value(&self, name: NameId) -> &Bits {
        &self.names[&name].bare
    }

    /// The values that hosts have for the attribute, in the order of their text.
    pub(super) fn values(&self, name: NameId) -> impl ExactSizeIterator<Item = (ValueId, &Bits)> {
        self.names[&name].values.values().map(|id| (*id, &self.values[id].hosts))
    }

    /// Whether tasks of groups are counted for each value of the attribute as they come and go.
    pub(super) fn is_counted(&self, name: NameId) -> bool {
        !self.wide.contains(&name)
    }

    /// The values of a host for which its tasks are counted.
    pub(super) fn counted<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = ValueId> + 'a {
        let valued = held.valued.iter().filter(|(name, _)| self.is_counted(*name));
        valued.map(|(_, value)| *value)
    }

    fn name(&mut self, text: &str) -> NameId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let (id, text) = (NameId(self.new_id()), Arc::<str>::from(text));
        self.ids.insert(text.clone(), id);
        let (hosts, bare) = (Bits::default(), Bits::default());
        self.names.insert(id, Name { text, hosts, bare, values: BTreeMap::new() });
        id
    }

    fn add_value(&mut self, row: u32, name: NameId, text: &str) -> ValueId {
        let known = self.names[&name].values.get(text).copied();
        let id = known.unwrap_or_else(|| {
            let (id, text) = (ValueId(self.new_id()), Arc::<str>::from(text));
            if let Some(name) = self.names.get_mut(&name) {
                name.values.insert(text.clone(), id);
            }
            self.values.insert(id, Value { text, hosts: Bits::default() });
            id
        });
        if let Some(value) = self.values.get_mut(&id) {
            value.hosts.insert(row);
        }
        id
    }

    fn remove_value(&mut self, row: u32, name: NameId, id: ValueId) {
        let Some(value) = self.values.get_mut(&id) else { return };
        value.hosts.remove(row);
        if value.hosts.is_empty() {
            if let Some(name) = self.names.get_mut(&name) {
                name.values.remove(&value.text);
            }
            self.values.remove(&id);
        }
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
