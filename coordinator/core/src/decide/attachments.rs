//! SubmitAttachmentStateChanges: how far the attachments are that programs of the user's make.

use longshore_common::{clock::Timestamp, id::TaskId};

use super::{Answer, Decision, gate};
use crate::{
    command::{AttachmentCommand, AttachmentStateChange, AttachmentStatus},
    event::{AttachmentEvent, AttachmentMove, Event},
    model::{
        attachment::{Attachment, AttachmentState},
        name::ClusterName,
    },
    rejection::{AttachmentRejection, Rejection},
    state::{Cluster, State, Task},
};

/// What a caller says when it gives no reason; ECS's call has no member for one.
const FAILED: &str = "whoever attaches it said FAILED";

pub(super) fn decide_attachment(
    state: &State,
    command: &AttachmentCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        AttachmentCommand::SubmitAttachmentStateChanges { cluster, changes } => {
            submit(state, cluster, changes, at)
        }
    }
}

/// Takes all of the changes when all are valid, else none.
fn submit(
    state: &State,
    cluster: &ClusterName,
    changes: &[AttachmentStateChange],
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let in_cluster = gate::cluster(state, cluster)?;
    let mut events: Vec<(TaskId, Vec<AttachmentMove>)> = Vec::new();
    for change in changes {
        if waits(state, in_cluster, change) {
            return Err(conflict(change, &AttachmentState::Precreated).into());
        }
        let slot = in_cluster.tasks.get(&change.task);
        let task = slot.map(|slot| state.task_at(*slot));
        let attachment = task.and_then(|task| attachment_of(task, change.attachment));
        let Some(attachment) = attachment else {
            return Err(AttachmentRejection::AttachmentNotFound {
                attachment: change.id(),
                cluster: cluster.clone(),
            }
            .into());
        };
        let Some(to) = next(attachment, change)? else { continue };
        let moved = AttachmentMove { attachment: change.attachment, to };
        match events.iter_mut().find(|(task, _)| *task == change.task) {
            None => events.push((change.task, vec![moved])),
            Some((_, moves)) if moves.iter().any(|m| m.attachment == change.attachment) => {
                return Err(AttachmentRejection::AttachmentTwice(change.id()).into());
            }
            Some((_, moves)) => moves.push(moved),
        }
    }
    let event =
        |(task, moves)| Event::Attachment(AttachmentEvent::AttachmentsMoved { task, moves, at });
    Ok(Decision::with(events.into_iter().map(event).collect(), Answer::Done))
}

/// Whether it is an attachment of a task that has no host yet.
fn waits(state: &State, cluster: &Cluster, change: &AttachmentStateChange) -> bool {
    cluster.waiting_tasks.get(&change.task).is_some_and(|slot| {
        let specs = &state.waiting_at(*slot).launch.attachments;
        (change.attachment as usize) < specs.len()
    })
}

fn conflict(change: &AttachmentStateChange, from: &AttachmentState) -> AttachmentRejection {
    AttachmentRejection::AttachmentStateConflict {
        attachment: change.id(),
        from: from.name(),
        to: change.status.name(),
    }
}

fn attachment_of(task: &Task, position: u32) -> Option<&Attachment> {
    task.attachments.as_ref()?.list.get(position as usize)
}

/// The state that an attachment has next; `None` when it is in that state already.
fn next(
    attachment: &Attachment,
    change: &AttachmentStateChange,
) -> Result<Option<AttachmentState>, AttachmentRejection> {
    let failed = || AttachmentState::Failed { reason: FAILED.to_owned() };
    Ok(match (&attachment.state, change.status) {
        (AttachmentState::Attaching { .. }, AttachmentStatus::Attached) => {
            Some(AttachmentState::Attached)
        }
        (AttachmentState::Detaching { .. }, AttachmentStatus::Detached) => {
            Some(AttachmentState::Detached)
        }
        (
            AttachmentState::Attaching { .. }
            | AttachmentState::Attached
            | AttachmentState::Detaching { .. },
            AttachmentStatus::Failed,
        ) => Some(failed()),
        (AttachmentState::Attached, AttachmentStatus::Attached)
        // Gone is gone, whoever said it first.
        | (
            AttachmentState::Detached | AttachmentState::Failed { .. },
            AttachmentStatus::Detached | AttachmentStatus::Failed,
        ) => None,
        (from, _) => return Err(conflict(change, from)),
    })
}
