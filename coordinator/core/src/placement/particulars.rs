//! What else expressions may ask of hosts, turned round: who has an id or a version, and numbers.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use longshore_common::clock::Timestamp;

use super::bits::{Bits, Planes};
use crate::query::Version;

/// Particulars of one host, as it registered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Particulars<'a> {
    pub instance_id: Option<&'a str>,
    pub agent_version: &'a str,
    pub registered_at: Timestamp,
}

/// Particulars of all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct AllParticulars {
    pub(super) instance_ids: Holders<Arc<str>>,
    pub(super) versions: Holders<Version>,
    /// Seconds since the Unix epoch.
    pub(super) registered_at_s: Planes,
    /// Tasks that are RUNNING.
    pub(super) running: Planes,
}

/// Hosts by something that they have.
#[derive(Clone, Debug)]
pub(super) struct Holders<K>(BTreeMap<K, Bits>);

impl Particulars<'_> {
    pub(super) fn registered_at_s(&self) -> u32 {
        u32::try_from(self.registered_at.0 / 1000).unwrap_or(u32::MAX)
    }
}

impl<K: Ord> Holders<K> {
    pub(super) fn add(&mut self, key: K, row: u32) {
        self.0.entry(key).or_default().insert(row);
    }

    pub(super) fn remove(&mut self, key: &K, row: u32) {
        if let Some(rows) = self.0.get_mut(key) {
            rows.remove(row);
            if rows.is_empty() {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Bits>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Bits)> {
        self.0.iter()
    }
}

impl Holders<Arc<str>> {
    /// As [`Holders::add`]; returns the name as it is kept once for all hosts.
    pub(super) fn add_named(&mut self, name: &str, row: u32) -> Arc<str> {
        let name = match self.0.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => Arc::from(name),
        };
        self.add(name.clone(), row);
        name
    }
}

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Holders(BTreeMap::new())
    }
}
