//! Capacity providers by name.

use std::ops::Bound;

use longshore_common::protocol::Attribute;

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::CapacityProviderEvent,
    model::{
        capacity_provider::{
            CapacityProvider, CapacityProviderStatus, GROUP_ATTRIBUTE, ProviderUpdate,
        },
        name::CapacityProviderName,
    },
    state::{
        ClusterSlot, Forgettable, Group, Host, ServiceTask, State, TaskSlot, changes::LogTo,
        counter,
    },
};

impl State {
    pub(super) fn apply_capacity_provider(&mut self, event: &CapacityProviderEvent) {
        match event {
            CapacityProviderEvent::CapacityProviderSet(provider) => {
                self.capacity_provider_set(provider)
            }
            CapacityProviderEvent::CapacityProviderForgotten { name } => {
                self.capacity_provider_forgotten(name)
            }
        }
    }

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

    /// What a host must have for a capacity provider's tasks.
    pub fn provider_attribute(&self, name: &CapacityProviderName) -> Attribute {
        if let Some(mark) = self.capacity_policy().fargate.get(name) {
            let (name, value) = (mark.attribute.clone(), mark.value.clone());
            return Attribute { name, value };
        }
        // No host is of a provider that is gone: FARGATE may leave the settings under its tasks.
        let group =
            self.capacity_provider(name.as_str()).map(|provider| provider.group.to_string());
        let value = Some(group.unwrap_or_default());
        Attribute { name: GROUP_ATTRIBUTE.to_owned(), value }
    }

    /// The provider that hands out a host.
    pub fn provider_of(&self, host: &Host) -> Option<&CapacityProvider> {
        let group = self.group_of_said(host.instance_id.as_deref()?)?;
        self.providers_of_group(group.name.as_str()).next()
    }

    /// The group whose size follows the tasks of this provider.
    pub fn managed_group(&self, name: &CapacityProviderName) -> Option<&Group> {
        let provider = self.capacity_provider(name.as_str()).filter(|p| p.is_active())?;
        let managed = provider.managed_scaling.enabled;
        self.auto_scaling_group(provider.group.as_str()).filter(|_| managed)
    }

    /// The provider by whose tasks a group is scaled.
    pub fn scaled_by(&self, group: &Group) -> Option<&CapacityProvider> {
        let mut providers = self.providers_of_group(group.name.as_str());
        providers.find(|provider| provider.managed_scaling.enabled)
    }

    /// Counts tasks and services of a cluster that use a provider.
    pub(super) fn use_provider(
        &mut self,
        cluster: ClusterSlot,
        provider: Option<&CapacityProviderName>,
        by: i32,
    ) {
        let Some(provider) = provider.filter(|_| by != 0) else { return };
        let uses = &mut self.clusters[cluster].provider_uses;
        let count = uses.entry(provider.clone()).or_default();
        counter::count(count, by);
        if *count == 0 {
            uses.remove(provider);
        }
    }

    /// What waits for a provider's hosts is not what it was: its group may have to grow.
    pub(super) fn provider_is_wanted(&mut self, provider: Option<&CapacityProviderName>) {
        let group = provider.and_then(|provider| self.managed_group(provider));
        if let Some(slot) = group.map(|group| group.slot) {
            self.group_is_due(slot);
        }
    }

    /// A task that is no daemon's came to its host or leaves it; the first or the last one changes
    /// what the host's group needs.
    pub(super) fn count_busy(&mut self, slot: TaskSlot, by: i32) {
        let task = &self.tasks[slot];
        let of_daemon = |of: &ServiceTask| self.services[of.service].is_daemon();
        if task.service.as_deref().is_some_and(of_daemon) {
            return;
        }
        let host = &mut self.hosts[task.host];
        let before = host.own_tasks;
        counter::count(&mut host.own_tasks, by);
        let changed = (before == 0) != (host.own_tasks == 0);
        let instance = host.instance_id.clone().filter(|_| changed);
        let group = instance.and_then(|said| self.group_of_said(&said));
        if let Some(slot) = group.map(|group| group.slot) {
            self.group_is_due(slot);
        }
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
        self.provider_is_wanted(Some(name));
    }

    pub(super) fn insert_capacity_provider(&mut self, provider: CapacityProvider) {
        let name = provider.name.clone();
        if let CapacityProviderStatus::Inactive { since } = provider.status {
            self.inactive.insert((since, Forgettable::CapacityProvider(name.clone())));
        }
        let now = provider.status;
        let before = self.capacity_providers.insert(name.clone(), provider);
        if let Some(status @ CapacityProviderStatus::Inactive { since }) = before.map(|p| p.status)
            && now != status
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

impl Entity for kind::CapacityProvider {
    fn keys(state: &State) -> Vec<CapacityProviderName> {
        state.capacity_providers.keys().cloned().collect()
    }

    fn row(state: &State, name: &CapacityProviderName) -> Option<CapacityProvider> {
        state.capacity_provider(name.as_str()).cloned()
    }

    fn restore(state: &mut State, row: CapacityProvider) {
        state.insert_capacity_provider(row);
    }
}
