//! What is done because its time has come: tasks that ran, or waited, for as long as they may.

use longshore_common::{
    clock::Timestamp,
    limits::REASON_CHARS_MAX,
    task::{StopCause, StopCode},
};

use crate::{
    event::{Event, TaskEvent, WaitingEvent},
    lifecycle::attachment,
    model::task_options::{WAIT, seconds},
    state::{Deadline, State, Waiting},
};

/// Maximum number of overdue deadlines that one tick deals with (ours), which bounds the time under
/// the state's lock; the next tick, which follows at once, continues.
const MET_PER_TICK_MAX: usize = 500;

pub(super) fn met(state: &State, at: Timestamp) -> Vec<Event> {
    let overdue = state.overdue(at).take(MET_PER_TICK_MAX);
    overdue.filter_map(|deadline| event(state, deadline, at)).collect()
}

fn event(state: &State, deadline: Deadline, at: Timestamp) -> Option<Event> {
    match deadline {
        Deadline::Run(task) => {
            let timeout = state.task(task)?.timeout_ms?;
            let reason = format!(
                "The task ran for {}, which is as long as its tag longshore:timeout lets it.",
                seconds(timeout)
            );
            let cause = StopCause { code: StopCode::UserInitiated, reason };
            Some(Event::Task(TaskEvent::TaskStopRequested { task, cause, at }))
        }
        Deadline::Attachments(task) => attachment::due(state.task(task)?, at),
        Deadline::Wait(launch) => {
            let waiting = state.waiting(launch)?;
            let waited = seconds(at.since(waiting.launch.at).as_millis() as u64);
            let definition = &state.definition_at(waiting.definition).definition;
            let reason = match state.task_policy().refusal(&definition.spec) {
                Some(member) => format!(
                    "The task waited {waited} and was not started: the operator of this cluster lets no task have {member}."
                ),
                None => found_no_room(state, waiting, &waited),
            };
            let reason = reason.chars().take(REASON_CHARS_MAX).collect();
            let cause = StopCause { code: StopCode::TaskFailedToStart, reason };
            let tasks = waiting.launch.tasks.iter().map(|waiting| waiting.task).collect();
            Some(Event::Waiting(WaitingEvent::WaitingTasksEnded { launch, tasks, cause, at }))
        }
    }
}

fn found_no_room(state: &State, waiting: &Waiting, waited: &str) -> String {
    let unplaced = crate::launch::waiting::place(state, waiting, 0).unplaced;
    let why = unplaced.map(|unplaced| unplaced.sentence(|slot| state.host_at(slot).id.to_string()));
    format!(
        "The task waited {waited} for a container instance, {}: {}.",
        // Without the tag there was room for it when it was asked for.
        match waiting.launch.tags.contains_key(WAIT) {
            true => "as long as its tag longshore:wait says",
            false => "and the room that it was to have is gone",
        },
        why.unwrap_or_else(|| "there was no time to place it".to_owned())
    )
}
