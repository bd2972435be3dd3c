//! What became true of tasks' attachments, and of tasks by them.

use longshore_common::{clock::Timestamp, id::TaskId, protocol::TaskReport, task::StopCause};
use serde::{Deserialize, Serialize};

use crate::model::attachment::AttachmentState;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AttachmentEvent {
    AttachmentsMoved {
        task: TaskId,
        moves: Vec<AttachmentMove>,
        at: Timestamp,
    },
    /// What must be attached before the start is: the task is PENDING, and its host is ordered to run it.
    TaskProvisioned {
        task: TaskId,
        at: Timestamp,
    },
    /// The task's host runs the task by an order of the lost part of the journal, as the host said
    /// after `recover`. What had to be attached before that order is attached.
    TaskTakenBack {
        task: TaskId,
        at: Timestamp,
    },
    /// The containers run, and what is attached after the start is: the task is RUNNING.
    TaskActivated {
        task: TaskId,
        at: Timestamp,
    },
    /// What must be detached before the stop is: the task's host is ordered to stop it.
    TaskDeactivated {
        task: TaskId,
        at: Timestamp,
    },
    /// The containers have ended, and attachments are left: the task is DEPROVISIONING.
    TaskExecutionStopped {
        task: TaskId,
        cause: StopCause,
        report: Option<Box<TaskReport>>,
        /// As in [`super::TaskEvent::TaskStopped`].
        ran_briefly: bool,
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttachmentMove {
    /// Position in the task's list.
    pub attachment: u32,
    pub to: AttachmentState,
}
