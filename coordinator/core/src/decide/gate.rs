//! May this still be changed? One question for each kind of resource, which every command on a
//! resource that exists passes: what has ended refuses, with ECS's error, and changes no more.
//!
//! Never: what a change would lead to, or limits.

use super::task_definitions;
use crate::{
    model::{
        auto_scaling::AutoScalingGroupName,
        capacity_provider::CapacityProvider,
        definition::{DefinitionStatus, RevisionRef},
        name::{CapacityProviderName, ClusterName},
        revision::TaskSetRecord,
        service::{RevisionId, ServiceRef},
        service_status::ServiceStatus,
        tagged::Resource,
        tags::Tags,
    },
    rejection::{
        AutoScalingRejection, CapacityProviderRejection, ClusterRejection, DefinitionRejection,
        HostRejection, Rejection, ServiceRejection, TagRejection, TaskSetRejection,
    },
    state::{Cluster, Definition, Group, Host, Revision, Service, State},
};
use longshore_common::id::HostId;

/// An ACTIVE cluster.
pub(super) fn cluster<'a>(state: &'a State, name: &ClusterName) -> Result<&'a Cluster, Rejection> {
    match state.cluster(name.as_str()) {
        Some(cluster) if cluster.is_active() => Ok(cluster),
        _ => Err(ClusterRejection::ClusterNotFound(name.clone()).into()),
    }
}

/// An ACTIVE service of an ACTIVE cluster.
pub(super) fn service<'a>(state: &'a State, named: &ServiceRef) -> Result<&'a Service, Rejection> {
    cluster(state, &named.cluster)?;
    match state.service_named(named) {
        None => Err(ServiceRejection::ServiceNotFound(named.clone()).into()),
        Some(service) => match service.status {
            ServiceStatus::Active => Ok(service),
            ServiceStatus::Draining | ServiceStatus::Inactive { .. } => {
                Err(ServiceRejection::ServiceNotActive(named.clone()).into())
            }
        },
    }
}

/// A task set that is not being deleted.
pub(super) fn task_set(
    service: &Service,
    id: RevisionId,
) -> Result<(&Revision, &TaskSetRecord), Rejection> {
    let found = service.revision(id).and_then(|r| Some((r, r.record.task_set.as_ref()?)));
    found
        .filter(|(_, set)| !set.draining)
        .ok_or(Rejection::TaskSet(TaskSetRejection::TaskSetNotFound(id)))
}

/// A container instance of the cluster that is ACTIVE or DRAINING.
pub(super) fn host<'a>(
    state: &'a State,
    cluster: &Cluster,
    id: HostId,
) -> Result<&'a Host, Rejection> {
    match state.host_in(cluster, id) {
        None => Err(HostRejection::ContainerInstanceNotFound(id, cluster.name.clone()).into()),
        Some(host) if !host.is_registered() => {
            Err(HostRejection::ContainerInstanceInactive(id).into())
        }
        Some(host) => Ok(host),
    }
}

/// An ACTIVE revision of a task definition.
pub(super) fn definition<'a>(
    state: &'a State,
    named: &RevisionRef,
) -> Result<&'a Definition, Rejection> {
    let found = task_definitions::find(state, named)?;
    match found.status {
        DefinitionStatus::Active => Ok(found),
        DefinitionStatus::Inactive { .. } | DefinitionStatus::DeleteInProgress { .. } => {
            let (family, revision) = (found.family.clone(), found.definition.revision);
            Err(DefinitionRejection::TaskDefinitionInactive { family, revision }.into())
        }
    }
}

/// An ACTIVE capacity provider.
pub(super) fn capacity_provider<'a>(
    state: &'a State,
    name: &CapacityProviderName,
) -> Result<&'a CapacityProvider, Rejection> {
    let found = state.capacity_provider(name.as_str()).filter(|provider| provider.is_active());
    found.ok_or_else(|| {
        Rejection::CapacityProvider(CapacityProviderRejection::CapacityProviderNotFound(
            name.clone(),
        ))
    })
}

/// An Auto Scaling group that is not being deleted.
pub(super) fn auto_scaling_group<'a>(
    state: &'a State,
    name: &AutoScalingGroupName,
) -> Result<&'a Group, Rejection> {
    match state.auto_scaling_group(name.as_str()) {
        None => Err(AutoScalingRejection::GroupNotFound(name.clone()).into()),
        Some(group) if group.deleting => {
            Err(AutoScalingRejection::GroupDeleting(name.clone()).into())
        }
        Some(group) => Ok(group),
    }
}

/// The tags of a resource that may be tagged: a service until it is INACTIVE, anything else as
/// long as it may be changed.
pub(super) fn tags<'a>(state: &'a State, resource: &Resource) -> Result<&'a Tags, Rejection> {
    let inactive = |kind| Rejection::Tag(TagRejection::ResourceInactive { kind });
    match resource {
        Resource::Cluster(name) => match state.cluster(name.as_str()) {
            Some(cluster) if !cluster.is_active() => return Err(inactive("cluster")),
            _ => {}
        },
        Resource::TaskDefinition { family, revision } => {
            match state.definitions().get(family.as_str(), *revision).map(|found| found.status) {
                Some(
                    DefinitionStatus::Inactive { .. } | DefinitionStatus::DeleteInProgress { .. },
                ) => {
                    return Err(inactive("task definition"));
                }
                Some(DefinitionStatus::Active) | None => {}
            }
        }
        // One that has stopped, or was deleted, is not found.
        Resource::Task { .. } | Resource::LogGroup(_) | Resource::Alarm(_) => {}
        Resource::ContainerInstance { host, .. } => match state.host(*host) {
            Some(host) if !host.is_registered() => return Err(inactive("container instance")),
            _ => {}
        },
        Resource::Service(named) => living(state, named)?,
        Resource::TaskSet { service, task_set } => {
            living(state, service)?;
            let found = state.service_named(service).and_then(|one| one.revision(*task_set));
            if found.and_then(|set| set.record.task_set.as_ref()).is_some_and(|set| set.draining) {
                return Err(inactive("task set"));
            }
        }
        Resource::CapacityProvider(name) => match state.capacity_provider(name.as_str()) {
            Some(provider) if !provider.is_active() => return Err(inactive("capacity provider")),
            _ => {}
        },
    }
    state
        .tags(resource)
        .ok_or_else(|| Rejection::Tag(TagRejection::ResourceNotFound(in_words(resource))))
}

fn living(state: &State, named: &ServiceRef) -> Result<(), Rejection> {
    match state.service_named(named).map(|service| service.status) {
        Some(ServiceStatus::Inactive { .. }) => {
            Err(TagRejection::ResourceInactive { kind: "service" }.into())
        }
        Some(ServiceStatus::Active | ServiceStatus::Draining) | None => Ok(()),
    }
}

fn in_words(resource: &Resource) -> String {
    match resource {
        Resource::Cluster(name) => format!("the cluster {name}"),
        Resource::TaskDefinition { family, revision } => {
            format!("the task definition {family}:{revision}")
        }
        Resource::Task { cluster, task } => format!("the task {task} in the cluster {cluster}"),
        Resource::ContainerInstance { cluster, host } => {
            format!("the container instance {host} in the cluster {cluster}")
        }
        Resource::Service(named) => {
            format!("the service {} in the cluster {}", named.name, named.cluster)
        }
        Resource::TaskSet { service, task_set } => {
            format!("the task set ecs-svc/{task_set} of the service {}", service.name)
        }
        Resource::CapacityProvider(name) => format!("the capacity provider {name}"),
        Resource::LogGroup(name) => format!("the log group {name}"),
        Resource::Alarm(name) => format!("the alarm {name}"),
    }
}
