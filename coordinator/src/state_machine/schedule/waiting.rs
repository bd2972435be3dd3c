//! Tasks of RunTask that wait for a host: they get one as soon as there is room.

use longshore_common::clock::Timestamp;

use super::{
    Pass,
    to_come::{Chance, ToCome},
};
use crate::{
    placement::{MemberOf, Placement, Request, Taken},
    state_machine::{
        decide::{Ids, NEW_GROUP, required_attributes},
        event::{AskedPlacement, Event, PlacedTask, TasksStarted},
        state::{State, Waiting, WaitingSlot},
    },
};

/// Where the launch's tasks would go now.
pub(in crate::state_machine) fn place(state: &State, waiting: &Waiting, entropy: u64) -> Placement {
    let index = &state.cluster_at(waiting.cluster).index;
    with_request(state, waiting, entropy, |request| index.place(request))
}

/// Whether hosts that are to come may be given the launch's tasks.
pub(super) fn chance(state: &State, waiting: &Waiting, to_come: &ToCome, at: Timestamp) -> Chance {
    let index = &state.cluster_at(waiting.cluster).index;
    with_request(state, waiting, 0, |request| to_come.chance(index, request, at))
}

fn with_request<T>(
    state: &State,
    waiting: &Waiting,
    entropy: u64,
    ask: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let launch = &waiting.launch;
    let definition = state.definition_at(waiting.definition);
    let mut required = required_attributes(definition);
    let member_of = [&definition.member_of[..], &launch.member_of[..]].concat();
    let provider = launch.provider.as_ref();
    required.extend(provider.map(|provider| state.provider_attribute(provider)));
    ask(&Request {
        demand: &launch.demand,
        required_attributes: &required,
        member_of: MemberOf {
            constraints: &member_of,
            own_group: &launch.group,
            groups: state.groups(),
        },
        distinct_instance: launch.distinct_instance,
        strategies: &launch.strategies,
        group: state.group_key(&launch.group).unwrap_or(NEW_GROUP),
        count: launch.tasks.len() as u32,
        images: &definition.images,
        earlier: Taken::nothing(),
        entropy,
    })
}

pub(super) fn pass(state: &State, slot: WaitingSlot, at: Timestamp, ids: Ids) -> Pass {
    let waiting = state.waiting_at(slot);
    let launch = &waiting.launch;
    let spec = &state.definition_at(waiting.definition).definition.spec;
    if state.task_policy().refusal(spec).is_some() {
        // Forbidden since it was asked for. It ends as one that found no room.
        return Pass::default();
    }
    let placement = place(state, waiting, ids.entropy());
    let mut pass = Pass { waits_for_room: placement.unplaced.is_some(), ..Pass::default() };
    let placed = launch.tasks.iter().zip(&placement.hosts);
    let tasks: Vec<PlacedTask> = placed
        .map(|(waiting, host)| PlacedTask {
            task: waiting.task,
            host: state.host_at(*host).id,
            containers: waiting.containers.clone(),
        })
        .collect();
    if !tasks.is_empty() {
        pass.events.push(Event::TasksStarted(Box::new(TasksStarted {
            cluster: launch.cluster.clone(),
            family: launch.family.clone(),
            revision: launch.revision,
            group: launch.group.clone(),
            started_by: launch.started_by.clone(),
            overrides: launch.overrides.clone(),
            demand: launch.demand.clone(),
            tags: launch.tags.clone(),
            tasks,
            client_token: None,
            service: None,
            timeout_ms: launch.timeout_ms,
            waited: Some(launch.launch),
            provider: launch.provider.clone(),
            asked: AskedPlacement::new(
                launch.distinct_instance,
                &launch.member_of,
                &launch.strategies,
            ),
            log_driver_mode: Some(state.account_settings().log_driver_mode()),
            at,
        })));
    }
    pass
}
