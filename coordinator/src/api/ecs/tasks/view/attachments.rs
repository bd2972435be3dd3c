//! A task's attachments, and what ECS's own members have no room for: how far an image's pull is, the
//! end of each container's log, and reasons longer than `reason` may be. ECS leaves `attachments` open
//! for more types.

use longshore_common::{
    limits::REASON_CHARS_MAX,
    protocol::{ContainerReport, PullReport},
    task::StopCause,
};
use longshore_core::model::{
    attachment::{AttachmentState, attachment_id},
    task::TaskRecord,
};
use serde::Serialize;

const IMAGE_PULL: &str = "LongshoreImagePull";
const DIAGNOSIS: &str = "LongshoreDiagnosis";
/// Bytes in a MiB.
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Serialize)]
pub(super) struct AttachmentView {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    details: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    name: String,
    value: String,
}

/// The task's own attachments; then one for what the agent does and one for what went wrong, each only
/// with something in it.
pub(super) fn view(record: &TaskRecord, cause: Option<&StopCause>) -> Vec<AttachmentView> {
    let report = record.report.as_ref();
    let pulls = report.iter().flat_map(|report| &report.pulls).map(pull).collect();
    let mut diagnosis = Vec::new();
    if let Some(cause) = cause {
        diagnosis.extend(whole("stoppedReason".to_owned(), &cause.reason));
    }
    for container in report.iter().flat_map(|report| &report.containers) {
        diagnosis.extend(details(container));
    }
    let attachment = |kind, status, details: Vec<Detail>| {
        let id = format!("{kind}-{}", record.id);
        (!details.is_empty()).then_some(AttachmentView { id, kind, status, details })
    };
    let said =
        [attachment(IMAGE_PULL, "ATTACHING", pulls), attachment(DIAGNOSIS, "ATTACHED", diagnosis)];
    own(record).chain(said.into_iter().flatten()).collect()
}

fn own(record: &TaskRecord) -> impl Iterator<Item = AttachmentView> {
    (0..).zip(&record.attachments.list).map(|(position, attachment)| {
        let mut details = vec![Detail { name: "name".to_owned(), value: attachment.name.clone() }];
        if let AttachmentState::Failed { reason } = &attachment.state {
            details.push(Detail { name: "statusReason".to_owned(), value: reason.clone() });
        }
        AttachmentView {
            id: attachment_id(record.id, position),
            kind: attachment.kind.name(),
            status: attachment.state.name(),
            details,
        }
    })
}

/// The reason, as long as ECS's API allows.
pub(super) fn shortened(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

fn pull(pull: &PullReport) -> Detail {
    let mib = |bytes: u64| bytes as f64 / MIB;
    let amount = format!("{:.1} of {:.1} MiB", mib(pull.bytes), mib(pull.of_bytes));
    let value = match &pull.last_error {
        None => amount,
        Some(error) if pull.of_bytes == 0 => failed(pull.failed_attempts, error),
        Some(error) => format!("{amount}; {}", failed(pull.failed_attempts, error)),
    };
    Detail { name: pull.image.clone(), value }
}

fn failed(attempts: u32, error: &str) -> String {
    format!("attempt {attempts} failed, another follows: {error}")
}

fn details(container: &ContainerReport) -> Vec<Detail> {
    let name = &container.name;
    let mut details = Vec::new();
    if let Some(reason) = &container.reason {
        details.extend(whole(format!("{name}.reason"), reason));
    }
    if !container.last_lines.is_empty() {
        let value = container.last_lines.join("\n");
        details.push(Detail { name: format!("{name}.lastLines"), value });
    }
    details
}

fn whole(name: String, reason: &str) -> Option<Detail> {
    let cut = reason.chars().nth(REASON_CHARS_MAX).is_some();
    cut.then(|| Detail { name, value: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_tells_its_amount_and_how_its_last_attempt_failed() {
        let report = PullReport {
            image: "web:1".to_owned(),
            bytes: 1 << 19,
            of_bytes: 3 << 20,
            ..PullReport::default()
        };
        assert_eq!(pull(&report).value, "0.5 of 3.0 MiB");
        let last_error = Some("dial tcp: connection refused".to_owned());
        let report = PullReport { failed_attempts: 2, last_error, ..report };
        let told = "attempt 2 failed, another follows: dial tcp: connection refused";
        assert_eq!(pull(&report).value, format!("0.5 of 3.0 MiB; {told}"));
        assert_eq!(pull(&PullReport { of_bytes: 0, ..report }).value, told);
    }
}
