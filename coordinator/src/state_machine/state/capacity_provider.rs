//! Capacity providers by name.

use std::{collections::BTreeMap, ops::Bound};

use super::{EntityKey, Forgettable, Group, State, dirty::LogTo};
use crate::state_machine::{
    capacity_provider::{CapacityProvider, CapacityProviderStatus, ProviderUpdate},
    name::CapacityProviderName,
};

pub(super) type CapacityProviders = BTreeMap<CapacityProviderName, CapacityProvider>;

impl State {
    /// INACTIVE ones included.
    pub fn capacity_provider(&self, name: &str) -> Option<&CapacityProvider> {
        self.capacity_providers.get(name)
    }

    pub fn capacity_providers_len(&self) -> usize {
        self.capacity_providers.len()
    }

    /// All providers from this name on, in the order of their names.
    pub fn capacity_providers_from(
        &self,
        first: Bound<&str>,
    ) -> impl Iterator<Item = &CapacityProvider> + use<'_> {
        self.capacity_providers.range::<str, _>((first, Bound::Unbounded)).map(|(_, p)| p)
    }

    /// The ACTIVE providers that hand out a group's hosts.
    pub fn providers_of_group(&self, group: &str) -> impl Iterator<Item = &CapacityProvider> {
        let providers = self.capacity_providers.values();
        providers.filter(move |provider| provider.is_active() && provider.group.as_str() == group)
    }

    /// Whether hosts of a group are drained before they are terminated.
    pub fn drains(&self, group: &Group) -> bool {
        self.providers_of_group(group.name.as_str()).any(|provider| provider.draining)
    }

    pub(super) fn capacity_provider_set(&mut self, provider: &CapacityProvider) {
        let name = &provider.name;
        self.touch(EntityKey::CapacityProvider(name.clone()));
        self.log(
            LogTo::nothing(),
            format_args!(
                "capacity provider {name} {}",
                match provider.update {
                    None | Some(ProviderUpdate::Create) => "made",
                    Some(ProviderUpdate::Update) => "updated",
                    Some(ProviderUpdate::Delete) => "deleted",
                }
            ),
        );
        self.insert_capacity_provider(provider.clone());
    }

    pub(super) fn insert_capacity_provider(&mut self, provider: CapacityProvider) {
        let name = provider.name.clone();
        if let CapacityProviderStatus::Inactive { since } = provider.status {
            self.inactive.insert((since, Forgettable::CapacityProvider(name.clone())));
        }
        let before = self.capacity_providers.insert(name.clone(), provider);
        if let Some(CapacityProviderStatus::Inactive { since }) = before.map(|p| p.status)
            && self.capacity_providers[&name].is_active()
        {
            self.inactive.remove(&(since, Forgettable::CapacityProvider(name)));
        }
    }

    pub(super) fn capacity_provider_forgotten(&mut self, name: &CapacityProviderName) {
        self.touch(EntityKey::CapacityProvider(name.clone()));
        let Some(provider) = self.capacity_providers.remove(name) else { return };
        if let CapacityProviderStatus::Inactive { since } = provider.status {
            self.inactive.remove(&(since, Forgettable::CapacityProvider(name.clone())));
        }
    }
}
