//! Spreading over the values of an attribute: the hosts of the values that have the fewest tasks.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    ClusterIndex,
    attributes::{NameId, ValueId},
    bits::{Bits, Planes},
    candidates::Candidates,
    groups::Group,
    index::Host,
};

/// The hosts of one cluster by how many tasks of the group run on their value of one attribute.
pub(super) struct ValueCounts<'a> {
    name: Option<NameId>,
    /// Sorted by id. Hosts with no value of their own share `None`, the first.
    values: Vec<(Option<ValueId>, Cow<'a, Bits>, u32)>,
    by_count: BTreeMap<u32, Bits>,
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
        let name = index.attributes.id(name);
        let mut values = Vec::new();
        let mut rest = match name {
            Some(id) if required => index.attributes.hosts_with_name(id).clone(),
            _ => index.present.clone(),
        };
        for (value, hosts) in name.into_iter().flat_map(|name| index.attributes.values(name)) {
            rest.remove_all(hosts);
            let count = group.map_or(0, |group| group.on_value(value));
            values.push((Some(value), Cow::Borrowed(hosts), count));
        }
        if !rest.is_empty() {
            let none = Planes::default();
            let count = group.map_or(&none, |group| &group.on).sum(&rest);
            values.push((None, Cow::Owned(rest), count.min(u64::from(u32::MAX)) as u32));
        }
        if values.len() < 2 {
            return None;
        }
        values.sort_unstable_by_key(|(value, ..)| *value);
        let mut by_count: BTreeMap<u32, Bits> = BTreeMap::new();
        for (_, hosts, count) in &values {
            by_count.entry(*count).or_default().insert_all(hosts);
        }
        Some(ValueCounts { name, values, by_count })
    }

    pub(super) fn narrow(&self, candidates: &mut Candidates) {
        for hosts in self.by_count.values() {
            if candidates.keep_if_any(hosts) {
                return;
            }
        }
    }

    /// One more task of the group is on this host.
    pub(super) fn add_task(&mut self, host: &Host) {
        let value = self.name.and_then(|name| host.value_of(name));
        let Ok(at) = self.values.binary_search_by_key(&value, |(value, ..)| *value) else { return };
        let (_, hosts, count) = &mut self.values[at];
        if let Some(equals) = self.by_count.get_mut(count) {
            equals.remove_all(hosts);
            if equals.is_empty() {
                self.by_count.remove(count);
            }
        }
        *count += 1;
        self.by_count.entry(*count).or_default().insert_all(hosts);
    }
}
