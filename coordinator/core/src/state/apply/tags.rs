//! Tags, of whatever can carry them.

use std::sync::Arc;

use crate::{
    checkpoint::entity::EntityKey,
    event::TagEvent,
    model::{tagged::Resource, tags::Tags},
    state::State,
};

impl State {
    pub(super) fn apply_tag(&mut self, event: &TagEvent) {
        match event {
            TagEvent::Tagged { resource, tags } => self.tagged(resource, tags),
            TagEvent::Untagged { resource, keys } => self.untagged(resource, keys),
        }
    }

    /// The tags of a resource that is there.
    pub fn tags(&self, resource: &Resource) -> Option<&Tags> {
        match resource {
            Resource::Cluster(name) => {
                self.cluster(name.as_str()).filter(|c| c.is_active()).map(|c| &c.tags)
            }
            Resource::TaskDefinition { family, revision } => {
                self.definitions().get(family.as_str(), *revision).map(|d| &d.tags)
            }
            Resource::Task { cluster, task } => {
                let cluster = self.cluster(cluster.as_str())?;
                if let Some(&slot) = cluster.waiting_tasks.get(task) {
                    return Some(&self.waiting_at(slot).launch.tags);
                }
                cluster.tasks.get(task).map(|slot| &*self.task_at(*slot).tags)
            }
            Resource::ContainerInstance { cluster, host } => self
                .host(*host)
                .filter(|h| h.is_registered() && self.cluster_at(h.cluster).name == *cluster)
                .map(|h| &h.tags),
            Resource::Service(named) => self.service_named(named).map(|service| &service.tags),
            Resource::TaskSet { service, task_set } => {
                let revision = self.service_named(service)?.revision(*task_set)?;
                revision.record.task_set.as_ref().map(|set| &set.tags)
            }
            Resource::CapacityProvider(name) => {
                let provider = self.capacity_provider(name.as_str());
                provider.filter(|provider| provider.is_active()).map(|provider| &provider.tags)
            }
            Resource::LogGroup(name) => self.log_group(name.as_str()).map(|group| &group.tags),
            Resource::Alarm(name) => self.alarm(name.as_str()).map(|alarm| &alarm.tags),
        }
    }

    pub(super) fn tagged(&mut self, resource: &Resource, tags: &Tags) {
        if let Some(held) = self.tags_mut(resource) {
            held.extend(tags.clone());
        }
        self.retagged(resource);
    }

    pub(super) fn untagged(&mut self, resource: &Resource, keys: &[String]) {
        if let Some(held) = self.tags_mut(resource) {
            held.retain(|key, _| !keys.contains(key));
        }
        self.retagged(resource);
    }

    /// A tag of a capacity provider may say when its instances go.
    fn retagged(&mut self, resource: &Resource) {
        if let Resource::CapacityProvider(name) = resource {
            self.provider_is_wanted(Some(name));
        }
    }

    fn tags_mut(&mut self, resource: &Resource) -> Option<&mut Tags> {
        match resource {
            Resource::Cluster(name) => {
                self.touch(EntityKey::Cluster(name.clone()));
                let slot = self.cluster_slot(name)?;
                Some(&mut self.clusters[slot].tags)
            }
            Resource::TaskDefinition { family, revision } => {
                self.touch(EntityKey::Definition((family.clone(), *revision)));
                let slot = self.definitions.slot(family.as_str(), *revision)?;
                Some(&mut self.definitions.at_mut(slot).tags)
            }
            Resource::Task { task, .. } => {
                self.touch(EntityKey::Task(*task));
                let slot = *self.tasks_by_id.get(task)?;
                Some(Arc::make_mut(&mut self.tasks[slot].tags))
            }
            Resource::ContainerInstance { host, .. } => {
                self.touch(EntityKey::Host(*host));
                let slot = *self.hosts_by_id.get(host)?;
                Some(&mut self.hosts[slot].tags)
            }
            Resource::Service(named) => {
                let service = self.service_named(named)?;
                let (id, slot) = (service.id, service.slot);
                self.touch(EntityKey::Service(id));
                Some(&mut self.services[slot].tags)
            }
            Resource::TaskSet { service, task_set } => {
                let service = self.service_named(service)?;
                let (id, slot) = (service.id, service.slot);
                self.touch(EntityKey::Service(id));
                let mut sets = self.services[slot].revisions.iter_mut();
                let set = sets.find(|revision| revision.record.id == *task_set)?;
                set.record.task_set.as_mut().map(|set| &mut set.tags)
            }
            Resource::CapacityProvider(name) => {
                self.touch(EntityKey::CapacityProvider(name.clone()));
                self.capacity_providers.get_mut(name).map(|provider| &mut provider.tags)
            }
            Resource::LogGroup(name) => self.log_group_tags_mut(name),
            Resource::Alarm(name) => {
                self.touch(EntityKey::Alarm(name.clone()));
                self.alarms.get_mut(name).map(|alarm| &mut alarm.tags)
            }
        }
    }
}
