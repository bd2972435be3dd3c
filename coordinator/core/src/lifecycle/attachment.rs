//! What follows for a task from its attachments, and what the end of its containers means while it has
//! some.
//!
//! Never: a kind of attachment.

use longshore_common::{
    clock::Timestamp,
    limits::REASON_CHARS_MAX,
    protocol::TaskReport,
    task::{StopCause, StopCode},
};

use crate::{
    event::{AttachmentEvent, AttachmentMove, Event, TaskEvent},
    model::{
        attachment::{Attachment, AttachmentState},
        task::Phase,
    },
    state::{AttachmentStep, Task},
};

/// What is due for a task's attachments: the step that follows, else the end of those that took too long.
pub(crate) fn due(task: &Task, at: Timestamp) -> Option<Event> {
    let Some(step) = task.attachment_step() else { return overdue(task, at) };
    let id = task.id;
    Some(match step {
        AttachmentStep::Fail => fail(task, at)?,
        AttachmentStep::Provision => {
            Event::Attachment(AttachmentEvent::TaskProvisioned { task: id, at })
        }
        AttachmentStep::Activate => {
            Event::Attachment(AttachmentEvent::TaskActivated { task: id, at })
        }
        AttachmentStep::Deactivate => {
            Event::Attachment(AttachmentEvent::TaskDeactivated { task: id, at })
        }
        AttachmentStep::End => {
            let stop = task.attachments.as_ref()?.execution_stop.clone()?;
            Event::Task(TaskEvent::TaskStopped {
                task: id,
                cause: stop.cause,
                report: None,
                ran_briefly: stop.ran_briefly,
                at,
            })
        }
    })
}

/// The containers of a task have ended: the task has, too, unless something is left to detach. `None`
/// when that is known.
pub(crate) fn execution_stopped(
    task: &Task,
    cause: StopCause,
    report: Option<Box<TaskReport>>,
    ran_briefly: bool,
    at: Timestamp,
) -> Option<Event> {
    let task_id = task.id;
    match (&task.attachments, task.phase) {
        (_, Phase::Deprovisioning { .. }) => None,
        (Some(attachments), _) if !attachments.are_gone() => {
            Some(Event::Attachment(AttachmentEvent::TaskExecutionStopped {
                task: task_id,
                cause,
                report,
                ran_briefly,
                at,
            }))
        }
        _ => Some(Event::Task(TaskEvent::TaskStopped {
            task: task_id,
            cause,
            report,
            ran_briefly,
            at,
        })),
    }
}

/// Why a task ended whose host goes: because its containers ended, if they did before.
pub(crate) fn cause_of_end(task: &Task, with_host: &StopCause) -> StopCause {
    let stop = task.attachments.as_ref().and_then(|held| held.execution_stop.as_ref());
    stop.map_or_else(|| with_host.clone(), |stop| stop.cause.clone())
}

/// An attachment failed: the task stops, and that counts against its service as a failed start does.
fn fail(task: &Task, at: Timestamp) -> Option<Event> {
    let (name, why) = task.attachments.as_ref()?.failure()?;
    let reason = format!("ResourceInitializationError: the attachment {name} failed: {why}");
    let code = match task.phase.started_at() {
        None => StopCode::TaskFailedToStart,
        Some(_) => StopCode::UserInitiated,
    };
    let cause = StopCause { code, reason: reason.chars().take(REASON_CHARS_MAX).collect() };
    let task_id = task.id;
    Some(Event::Task(match task.service.is_some() {
        true => TaskEvent::TasksStopRequested { tasks: vec![task_id], cause, failed: true, at },
        false => TaskEvent::TaskStopRequested { task: task_id, cause, at },
    }))
}

/// The event of attachments that were not attached, or not detached, in time.
fn overdue(task: &Task, at: Timestamp) -> Option<Event> {
    let attachments = task.attachments.as_ref()?;
    let late = |attachment: &Attachment| {
        let kind = attachment.kind;
        let (done, timeout) = match attachment.state {
            AttachmentState::Attaching { until } if until <= at => {
                ("attached", kind.attach_timeout())
            }
            AttachmentState::Detaching { until } if until <= at => {
                ("detached", kind.detach_timeout())
            }
            _ => return None,
        };
        let reason = format!("nobody said within {} s that it is {done}", timeout.as_secs());
        Some(AttachmentState::Failed { reason })
    };
    let moves: Vec<AttachmentMove> = (0..)
        .zip(&attachments.list)
        .filter_map(|(position, attachment)| {
            Some(AttachmentMove { attachment: position, to: late(attachment)? })
        })
        .collect();
    let task_id = task.id;
    (!moves.is_empty())
        .then(|| Event::Attachment(AttachmentEvent::AttachmentsMoved { task: task_id, moves, at }))
}
