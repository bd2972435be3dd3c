//! SubmitAttachmentStateChanges: programs of the user's say how far the attachments are that they make
//! for tasks (ecs-behaviour 1.6).
//!
//! In ECS only its agent calls this. Longshore's agent has no need to: the call is open to whoever makes
//! what the tags `longshore:external-resources` and `longshore:external-targets` name.

use longshore_core::command::{
    ATTACHMENT_CHANGES_MAX, AttachmentCommand, AttachmentStateChange, AttachmentStatus, Command,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::ecs::identifiers,
    edge::{context::Api, error::ApiError},
};

#[derive(Deserialize)]
pub(crate) struct SubmitAttachmentStateChangesInput {
    cluster: Option<String>,
    attachments: Vec<ChangeInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeInput {
    attachment_arn: String,
    status: String,
}

#[derive(Serialize)]
pub(crate) struct Acknowledgment {
    acknowledgment: &'static str,
}

pub(crate) async fn submit(
    api: &Api,
    input: SubmitAttachmentStateChangesInput,
) -> Result<Acknowledgment, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let count = input.attachments.len();
    if count == 0 || count > ATTACHMENT_CHANGES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "attachments has {count} entries; give 1 to {ATTACHMENT_CHANGES_MAX}."
        )));
    }
    let mut changes = Vec::with_capacity(count);
    for ChangeInput { attachment_arn, status } in &input.attachments {
        let (task, attachment) = identifiers::attachment(&api.identity, &cluster, attachment_arn)?;
        let status = parse_status(status)?;
        changes.push(AttachmentStateChange { task, attachment, status });
    }
    let command = AttachmentCommand::SubmitAttachmentStateChanges { cluster, changes };
    api.submit(Command::Attachment(command), |_, _| Acknowledgment { acknowledgment: "ACCEPT" })
        .await
}

fn parse_status(given: &str) -> Result<AttachmentStatus, ApiError> {
    let known = AttachmentStatus::ALL;
    known.into_iter().find(|status| status.name() == given).ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "status is `{given}`; it can be submitted as {}.",
            known.map(AttachmentStatus::name).join(", ")
        ))
    })
}
