//! Why commands about the attachments of tasks are refused.

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentRejection {
    #[error(
        "The attachment {attachment} is not of a task of the cluster {cluster} that has not stopped. DescribeTasks shows the ids of a task's attachments."
    )]
    AttachmentNotFound { attachment: String, cluster: ClusterName },
    #[error("The attachment {0} is named twice; name each once.")]
    AttachmentTwice(String),
    #[error(
        "The attachment {attachment} is {from} and cannot be {to} next. It can be ATTACHED while it is ATTACHING, DETACHED while it is DETACHING, and FAILED from ATTACHING on."
    )]
    AttachmentStateConflict { attachment: String, from: &'static str, to: &'static str },
}
