//! Tasks of RunTask that wait for a host: they get one as soon as there is room.

use longshore_common::{
    clock::Timestamp,
    task::{StopCause, StopCode},
};

use super::{
    Pass,
    to_come::{Chance, ToCome},
};
use crate::{
    event::{Event, PlacedTask, TaskEvent, TasksStarted, WaitingEvent},
    launch::{
        ids::Ids,
        waiting::{is_forbidden, place, with_request},
    },
    model::task::AskedPlacement,
    state::{State, Waiting, WaitingSlot},
};

/// Whether hosts that are to come may be given the launch's tasks.
pub(super) fn chance(state: &State, waiting: &Waiting, to_come: &ToCome, at: Timestamp) -> Chance {
    if is_forbidden(state, waiting) || state.may_have_run(waiting) {
        return Chance::No { until: None };
    }
    let index = &state.cluster_at(waiting.cluster).index;
    with_request(state, waiting, 0, |request| to_come.chance(index, request, at))
}

pub(super) fn pass(state: &State, slot: WaitingSlot, at: Timestamp, ids: Ids) -> Pass {
    let waiting = state.waiting_at(slot);
    let launch = &waiting.launch;
    if state.may_have_run(waiting) {
        return given_up(state, waiting, at);
    }
    if is_forbidden(state, waiting) {
        // It ends when it has waited for as long as it may.
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
        pass.events.push(Event::Task(TaskEvent::TasksStarted(Box::new(TasksStarted {
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
            attachments: launch.attachments.clone(),
            at,
        }))));
    }
    pass
}

/// Tasks that waited when a backup was made may have run since, and under these ids nothing is run a
/// second time. Those that still run are adopted from their hosts; the others are ended when hosts
/// have had their time to say what they run.
fn given_up(state: &State, waiting: &Waiting, at: Timestamp) -> Pass {
    if let Some(until) = state.may_come_to_light_until(at) {
        return Pass { wake: Some(until), ..Pass::default() };
    }
    let tasks = waiting.launch.tasks.iter().map(|waiting| waiting.task).collect();
    let reason = "The task waited for a container instance when the backup was made that the \
                  coordinator was recovered from. Whether it has run since is not known: run it \
                  anew if it has not.";
    let cause = StopCause { code: StopCode::TaskFailedToStart, reason: reason.to_owned() };
    let launch = waiting.launch.launch;
    let ended = Event::Waiting(WaitingEvent::WaitingTasksEnded { launch, tasks, cause, at });
    Pass { events: vec![ended], ..Pass::default() }
}
