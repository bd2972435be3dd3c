//! What can be asked of the attachments of tasks.

use longshore_common::id::TaskId;

use crate::model::{attachment::attachment_id, name::ClusterName};

/// Maximum number of changes in one call of SubmitAttachmentStateChanges (ours).
pub const ATTACHMENT_CHANGES_MAX: usize = 100;

#[derive(Clone, Debug)]
pub enum AttachmentCommand {
    /// Whoever makes attachments of tasks says how far they are; at most
    /// [`ATTACHMENT_CHANGES_MAX`] in a call.
    SubmitAttachmentStateChanges { cluster: ClusterName, changes: Vec<AttachmentStateChange> },
}

/// How far one attachment of a task is.
#[derive(Clone, Debug)]
pub struct AttachmentStateChange {
    pub task: TaskId,
    /// Position in the task's list.
    pub attachment: u32,
    pub status: AttachmentStatus,
}

impl AttachmentStateChange {
    /// The attachment's id, as the API shows it.
    pub fn id(&self) -> String {
        attachment_id(self.task, self.attachment)
    }
}

/// What may be said of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentStatus {
    Attached,
    Detached,
    Failed,
}

impl AttachmentStatus {
    pub const ALL: [AttachmentStatus; 3] =
        [AttachmentStatus::Attached, AttachmentStatus::Detached, AttachmentStatus::Failed];

    pub fn name(self) -> &'static str {
        match self {
            AttachmentStatus::Attached => "ATTACHED",
            AttachmentStatus::Detached => "DETACHED",
            AttachmentStatus::Failed => "FAILED",
        }
    }
}
