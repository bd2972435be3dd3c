//! SubmitAttachmentStateChanges: programs of the user's say how far the attachments are that they make
//! for tasks (ecs-behaviour 1.6).
//!
//! In ECS only its agent calls this. Longshore's agent has no need to: the call is open to whoever makes
//! what the tags `longshore:external-resources` and `longshore:external-targets` name.

use longshore_common::id::TaskId;
use longshore_core::{
    Command, Rejection,
    command::{ATTACHMENT_CHANGES_MAX, AttachmentCommand, AttachmentStateChange, AttachmentStatus},
    model::{attachment::parse_attachment_id, name::ClusterName},
    rejection::AttachmentRejection,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::ecs::identifiers,
    edge::{context::Api, error::ApiError},
};

const ATTACHED: AttachmentStatus = AttachmentStatus::Attached;

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
    let acknowledgment = Acknowledgment { acknowledgment: "ACCEPT" };
    // Each round leaves out a task that has ended, or is the last.
    loop {
        let submit = AttachmentCommand::SubmitAttachmentStateChanges {
            cluster: cluster.clone(),
            changes: changes.clone(),
        };
        let Err(rejection) = api.try_submit(Command::Attachment(submit), |_, _| ()).await? else {
            return Ok(acknowledgment);
        };
        let before = changes.len();
        if let Rejection::Attachment(AttachmentRejection::AttachmentNotFound { attachment, .. }) =
            &rejection
            && let Some((task, position)) = parse_attachment_id(attachment)
            && ended_with(api, &cluster, task, position).await?
        {
            changes.retain(|change| change.task != task || change.status == ATTACHED);
        }
        match changes.len() {
            0 => return Ok(acknowledgment),
            left if left == before => return Err(api.refusal(&rejection)),
            _ => {}
        }
    }
}

/// Whether the task has STOPPED and had such an attachment: what is said of it then is said again, or
/// came too late, and changes nothing.
async fn ended_with(
    api: &Api,
    cluster: &ClusterName,
    task: TaskId,
    position: u32,
) -> Result<bool, ApiError> {
    let records = api.stopped_tasks(vec![task]).await?;
    Ok(records.iter().any(|record| {
        record.cluster == *cluster && (position as usize) < record.attachments.list.len()
    }))
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
