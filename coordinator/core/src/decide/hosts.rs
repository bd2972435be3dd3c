//! Container instances: registered by the API or by their agent, drained, deregistered, and their
//! custom attributes.

use longshore_common::{
    clock::Timestamp,
    id::HostId,
    protocol::{Attribute, RegisterRequest},
    task::{StopCause, StopCode},
};

use super::{Answer, Decision, each_once, gate, identity, reports};
use crate::{
    command::{HostCommand, RegisterContainerInstance, SettableHostStatus, TargetedAttribute},
    event::{ClusterEvent, Event, HostEvent, HostRegistered, MemberEvent, TaskEvent},
    launch::ids::Ids,
    lifecycle::attachment,
    model::{
        auto_scaling::AutoScalingGroupName,
        capacity_provider::GROUP_ATTRIBUTE,
        cluster::ClusterSettings,
        host::{AgentPlace, HostStatus},
        name::ClusterName,
        tags::Tags,
    },
    rejection::{ClusterRejection, HostRejection, MemberRejection, Rejection, TokenRejection},
    state::{Cluster, Host, State, TaskSlot, managed_instance_id},
};

/// Maximum number of container instances in one cluster (ecs-behaviour 1.22, quotas).
const HOSTS_PER_CLUSTER_MAX: usize = 5_000;
/// Maximum number of custom attributes of one container instance (ecs-behaviour 1.2, attributes).
const CUSTOM_ATTRIBUTES_MAX: usize = 10;
/// The cluster that exists as soon as a host asks for it, as ECS's agent makes it.
const DEFAULT_CLUSTER: &str = "default";

pub(super) fn decide_host(
    state: &State,
    command: &HostCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        HostCommand::RegisterContainerInstance(asked) => register_by_api(state, asked, at, ids),
        HostCommand::RegisterHost { host, request } => register(state, *host, request, at),
        HostCommand::DeregisterContainerInstance { cluster, host, force } => {
            deregister(state, cluster, *host, *force, at)
        }
        HostCommand::UpdateContainerInstancesState { cluster, hosts, status } => {
            update_state(state, cluster, hosts, *status, at)
        }
        HostCommand::PutAttributes { cluster, attributes } => {
            put_attributes(state, cluster, attributes)
        }
        HostCommand::DeleteAttributes { cluster, attributes } => {
            delete_attributes(state, cluster, attributes)
        }
        HostCommand::AgentAnswered(answered) => Ok(reports::answered(state, answered, at)),
        HostCommand::AgentSilent { host, why, refused } => {
            Ok(reports::silent(state, *host, why, *refused, at))
        }
    }
}

fn register_by_api(
    state: &State,
    register: &RegisterContainerInstance,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, &register.cluster)?;
    let id = match register.host {
        None => {
            room(cluster)?;
            HostId::new(ids.nth(0))
        }
        Some(id) => gate::host(state, cluster, id)?.id,
    };
    let instance = instance_id(state, id, register.instance_id.as_ref());
    let event = Event::Host(HostEvent::HostRegistered(Box::new(HostRegistered {
        host: id,
        cluster: register.cluster.clone(),
        capacity: register.capacity.clone(),
        attributes: with_group(state, &register.attributes, instance.as_deref()),
        given: Some(register.attributes.clone()),
        versions: register.versions.clone(),
        instance_id: instance,
        agent: None,
        tags: register.tags.clone(),
        at,
    })));
    Ok(Decision::with(vec![event], Answer::Host(id)))
}

/// What is said of a host's instance, else what was said before, else an id that follows from the
/// host's: there always is one.
fn instance_id(state: &State, id: HostId, said: Option<&String>) -> Option<String> {
    let known = state.host(id).and_then(|host| host.instance_id.as_ref());
    let said = said.filter(|said| !said.is_empty());
    said.or(known).cloned().or_else(|| Some(managed_instance_id(id)))
}

/// What a caller of the API registered of a host: all of it while the host has no agent.
fn given(state: &State, id: HostId) -> &[Attribute] {
    match state.host(id) {
        Some(host) if host.agent.is_none() => &host.attributes,
        Some(host) => &host.given_attributes,
        None => &[],
    }
}

/// What an agent registers, and of what was given the attributes that it does not name.
fn with_given(given: &[Attribute], registered: &[Attribute]) -> Vec<Attribute> {
    let is_new = |given: &&Attribute| !registered.iter().any(|said| said.name == given.name);
    let mut attributes: Vec<Attribute> =
        registered.iter().chain(given.iter().filter(is_new)).cloned().collect();
    attributes.sort_unstable();
    attributes
}

/// A host that registered before its machine was known to be a group's becomes one of the group.
pub(super) fn joins_group(
    state: &State,
    host: &Host,
    group: &AutoScalingGroupName,
    at: Timestamp,
) -> Event {
    Event::Host(HostEvent::HostRegistered(Box::new(HostRegistered {
        host: host.id,
        cluster: state.cluster_at(host.cluster).name.clone(),
        capacity: host.capacity.clone(),
        attributes: with_attribute(&host.attributes, Some(group)),
        given: None,
        versions: host.versions.clone(),
        instance_id: host.instance_id.clone(),
        agent: host.agent.clone(),
        tags: Tags::new(),
        at,
    })))
}

/// The attributes that a host registers, and which Auto Scaling group it is of: that follows from
/// its instance id alone.
fn with_group(state: &State, attributes: &[Attribute], instance: Option<&str>) -> Vec<Attribute> {
    let group = instance.and_then(|said| state.group_of_said(said));
    with_attribute(attributes, group.map(|group| &group.name))
}

fn with_attribute(
    attributes: &[Attribute],
    group: Option<&AutoScalingGroupName>,
) -> Vec<Attribute> {
    let given = attributes.iter().filter(|given| given.name != GROUP_ATTRIBUTE).cloned();
    let of_group = group
        .map(|name| Attribute { name: GROUP_ATTRIBUTE.to_owned(), value: Some(name.to_string()) });
    given.chain(of_group).collect()
}

/// An agent says what its host is; the same words again change nothing.
fn register(
    state: &State,
    id: HostId,
    request: &RegisterRequest,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    // An older journal may not know of a join; the certificate proves it.
    let membership = state.membership(id);
    if membership.is_none() && !state.has_recovered() {
        return Err(MemberRejection::HostUnknown(id).into());
    }
    if membership.is_some_and(|membership| membership.revoked) {
        return Err(MemberRejection::HostDeregistered(id).into());
    }
    identity::uncontested(state, id, request.run.as_ref(), Some(&request.poll_address))?;
    let asked: ClusterName = match request.cluster.parse() {
        Ok(name) => name,
        Err(_) => {
            return Err(ClusterRejection::InvalidClusterName(request.cluster.clone()).into());
        }
    };
    let allowed = membership.and_then(|membership| membership.cluster.as_ref());
    if let Some(allowed) = allowed.filter(|allowed| **allowed != asked) {
        return Err(
            TokenRejection::JoinTokenForOtherCluster { allowed: allowed.clone(), asked }.into()
        );
    }
    let mut events = Vec::new();
    if membership.is_none() {
        events.push(Event::Member(MemberEvent::HostJoined { host: id, cluster: None, at }));
    }
    match state.cluster(asked.as_str()).filter(|cluster| cluster.is_active()) {
        Some(cluster) if state.host(id).is_none() => room(cluster)?,
        Some(_) => {}
        None if asked.as_str() == DEFAULT_CLUSTER => {
            events.push(Event::Cluster(ClusterEvent::ClusterCreated {
                name: asked.clone(),
                settings: ClusterSettings::default(),
                tags: Tags::new(),
                at,
            }))
        }
        None => return Err(ClusterRejection::ClusterNotFound(asked).into()),
    }
    let agent = AgentPlace {
        poll_address: request.poll_address.clone(),
        advertise: request.advertise.clone(),
        boot_id: request.boot_id.clone(),
        machine: identity::marks(state, id, request.run.as_ref()),
    };
    let instance = instance_id(state, id, request.instance_id.as_ref());
    let given = given(state, id);
    let attributes = with_given(given, &request.attributes);
    let event = HostRegistered {
        host: id,
        cluster: asked.clone(),
        capacity: request.capacity.clone(),
        attributes: with_group(state, &attributes, instance.as_deref()),
        given: (!given.is_empty()).then(|| given.to_vec()),
        versions: request.versions.clone(),
        instance_id: instance,
        agent: Some(agent),
        tags: request.tags.iter().cloned().collect(),
        at,
    };
    if let Some(host) = state.host(id) {
        let current = &state.cluster_at(host.cluster).name;
        if *current != asked {
            let (current, asked) = (current.clone(), asked.as_str().to_owned());
            return Err(HostRejection::HostInOtherCluster { host: id, current, asked }.into());
        }
        if says_nothing_new(host, &event) {
            return Ok(Decision::with(vec![], Answer::Host(id)));
        }
    }
    events.push(Event::Host(HostEvent::HostRegistered(Box::new(event))));
    Ok(Decision::with(events, Answer::Host(id)))
}

fn says_nothing_new(host: &Host, registered: &HostRegistered) -> bool {
    host.is_registered()
        && host.capacity == registered.capacity
        && host.attributes == registered.attributes
        && host.versions == registered.versions
        && host.instance_id == registered.instance_id
        && host.agent == registered.agent
        && registered.tags.iter().all(|(key, value)| host.tags.get(key) == Some(value))
}

fn room(cluster: &Cluster) -> Result<(), Rejection> {
    if cluster.registered_hosts as usize >= HOSTS_PER_CLUSTER_MAX {
        let (cluster, limit) = (cluster.name.clone(), HOSTS_PER_CLUSTER_MAX);
        return Err(HostRejection::TooManyContainerInstances { cluster, limit }.into());
    }
    Ok(())
}

/// With force, the host's tasks end for us though their containers may continue: ECS calls them
/// orphaned. No stop is ordered.
fn deregister(
    state: &State,
    cluster: &ClusterName,
    id: HostId,
    force: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, cluster)?;
    let host = gate::host(state, cluster, id)?;
    if !force && !host.tasks.is_empty() {
        return Err(HostRejection::ContainerInstanceHasTasks { count: host.tasks.len() }.into());
    }
    let cause = StopCause {
        code: StopCode::InfrastructureHealth,
        reason: "The container instance was deregistered by force; its containers are no longer \
                 watched."
            .to_owned(),
    };
    let orphaned = |slot: &TaskSlot| {
        let task = state.task_at(*slot);
        Event::Task(TaskEvent::TaskStopped {
            task: task.id,
            cause: attachment::cause_of_end(task, &cause),
            report: None,
            ran_briefly: false,
            at,
        })
    };
    let mut events: Vec<Event> = host.tasks.values().map(orphaned).collect();
    events.push(Event::Host(HostEvent::HostDeregistered { host: id, at }));
    Ok(Decision::with(events, Answer::Host(id)))
}

fn update_state(
    state: &State,
    cluster: &ClusterName,
    ids: &[HostId],
    status: SettableHostStatus,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, cluster)?;
    let mut events = Vec::new();
    let mut changed = Vec::new();
    let mut failures = Vec::new();
    for host in each_once(ids) {
        let found = state.host_in(cluster, host);
        match (found.map(|host| host.status), status) {
            (None, _) => {
                failures.push((host, "MISSING"));
                continue;
            }
            (Some(HostStatus::Inactive { .. }), _) => {
                failures.push((host, "INACTIVE"));
                continue;
            }
            (Some(HostStatus::Active), SettableHostStatus::Draining) => {
                events.push(Event::Host(HostEvent::HostDrained { host, at }));
            }
            (Some(HostStatus::Draining), SettableHostStatus::Active) => {
                events.push(Event::Host(HostEvent::HostActivated { host, at }));
            }
            (Some(HostStatus::Active), SettableHostStatus::Active)
            | (Some(HostStatus::Draining), SettableHostStatus::Draining) => {}
        }
        changed.push(host);
    }
    Ok(Decision::with(events, Answer::Hosts { changed, failures }))
}

fn put_attributes(
    state: &State,
    cluster: &ClusterName,
    targeted: &[TargetedAttribute],
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, cluster)?;
    let mut events = Vec::new();
    for (id, attributes) in by_host(targeted) {
        let host = target(state, cluster, id)?;
        let new = |name: &String| !host.custom_attributes.iter().any(|a| a.name == *name);
        let added = attributes.iter().filter(|a| new(&a.name)).count();
        if host.custom_attributes.len() + added > CUSTOM_ATTRIBUTES_MAX {
            return Err(HostRejection::TooManyAttributes(id, CUSTOM_ATTRIBUTES_MAX).into());
        }
        events.push(Event::Host(HostEvent::AttributesPut { host: id, attributes }));
    }
    Ok(Decision::of(events))
}

fn delete_attributes(
    state: &State,
    cluster: &ClusterName,
    targeted: &[TargetedAttribute],
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, cluster)?;
    let mut events = Vec::new();
    for (id, attributes) in by_host(targeted) {
        let host = target(state, cluster, id)?;
        for asked in &attributes {
            let held = host
                .custom_attributes
                .iter()
                .any(|a| a.name == asked.name && (asked.value.is_none() || a.value == asked.value));
            if !held {
                return Err(HostRejection::AttributeNotFound(id, asked.name.clone()).into());
            }
        }
        let names = attributes.into_iter().map(|a| a.name).collect();
        events.push(Event::Host(HostEvent::CustomAttributesDeleted { host: id, names }));
    }
    Ok(Decision::of(events))
}

/// ECS says of one that it does not find, and of one that has ended, that it is no target.
fn target<'a>(state: &'a State, cluster: &Cluster, id: HostId) -> Result<&'a Host, Rejection> {
    let host = gate::host(state, cluster, id);
    host.map_err(|_| Rejection::Host(HostRejection::TargetNotFound(id, cluster.name.clone())))
}

/// Attributes by host. Of an attribute that is given twice, the last counts.
fn by_host(
    targeted: &[TargetedAttribute],
) -> std::collections::BTreeMap<HostId, Vec<longshore_common::protocol::Attribute>> {
    let mut hosts = std::collections::BTreeMap::<HostId, Vec<_>>::new();
    for TargetedAttribute { host, attribute } in targeted {
        let attributes = hosts.entry(*host).or_default();
        attributes.retain(|earlier: &Attribute| earlier.name != attribute.name);
        attributes.push(attribute.clone());
    }
    hosts
}
