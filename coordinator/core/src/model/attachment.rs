//! What is attached to a task beside its containers: each attachment is made before or after the
//! containers start, and removed before or after they stop (ecs-behaviour 1.6).
//!
//! Owns the kinds, the states and the moves between them. Never: what a kind's attachment is made of,
//! or who makes it. The life of a task asks a kind for nothing but when and how long.

use std::time::Duration;

use longshore_common::{clock::Timestamp, id::TaskId, task::StopCause};
use serde::{Deserialize, Serialize};

/// The tag of tasks and services that names their attachments of the kind `ExternalResource`.
pub const RESOURCES_TAG: &str = "longshore:external-resources";

/// The tag of tasks and services that names their attachments of the kind `ExternalTarget`.
pub const TARGETS_TAG: &str = "longshore:external-targets";

/// Maximum number of attachments of one task (ours).
pub const ATTACHMENTS_MAX: usize = 10;

/// Maximum length of an attachment's name in characters (ours).
pub const ATTACHMENT_NAME_CHARS_MAX: usize = 64;

/// Timeout of attaching, from the moment at which attaching may begin (ours): longer than a cloud
/// needs for a network interface or a volume.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(600);

/// Timeout of detaching (ECS's default for the deregistration of a load balancer's target).
const DETACH_TIMEOUT: Duration = Duration::from_secs(300);

/// What an attachment is, and with it when it is made and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttachmentKind {
    /// A program of the user's makes it before the containers start, and removes it after they ended.
    ExternalResource,
    /// A program of the user's makes it once the containers run, and removes it before they are told to
    /// stop.
    ExternalTarget,
}

/// When an attachment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachTime {
    /// The task is PROVISIONING meanwhile.
    BeforeStart,
    /// The task is ACTIVATING meanwhile.
    AfterStart,
}

/// When an attachment is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetachTime {
    /// The task is DEACTIVATING meanwhile.
    BeforeStop,
    /// The task is DEPROVISIONING meanwhile.
    AfterStop,
}

impl AttachmentKind {
    pub const ALL: [AttachmentKind; 2] =
        [AttachmentKind::ExternalResource, AttachmentKind::ExternalTarget];

    /// ECS's `type`.
    pub fn name(self) -> &'static str {
        match self {
            AttachmentKind::ExternalResource => "LongshoreExternalResource",
            AttachmentKind::ExternalTarget => "LongshoreExternalTarget",
        }
    }

    pub(crate) fn attaches(self) -> AttachTime {
        match self {
            AttachmentKind::ExternalResource => AttachTime::BeforeStart,
            AttachmentKind::ExternalTarget => AttachTime::AfterStart,
        }
    }

    pub(crate) fn detaches(self) -> DetachTime {
        match self {
            AttachmentKind::ExternalResource => DetachTime::AfterStop,
            AttachmentKind::ExternalTarget => DetachTime::BeforeStop,
        }
    }

    pub(crate) fn attach_timeout(self) -> Duration {
        match self {
            AttachmentKind::ExternalResource | AttachmentKind::ExternalTarget => ATTACH_TIMEOUT,
        }
    }

    pub(crate) fn detach_timeout(self) -> Duration {
        match self {
            AttachmentKind::ExternalResource | AttachmentKind::ExternalTarget => DETACH_TIMEOUT,
        }
    }
}

/// What a task is to have attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentSpec {
    pub kind: AttachmentKind,
    /// Unique among the attachments of one task.
    pub name: String,
}

/// The id of an attachment: its task's, and its position in the task's list.
pub fn attachment_id(task: TaskId, position: u32) -> String {
    format!("{task}-{position}")
}

/// Reads what [`attachment_id`] writes.
pub fn parse_attachment_id(id: &str) -> Option<(TaskId, u32)> {
    let (task, position) = id.rsplit_once('-')?;
    let position = position.parse().ok()?;
    let task = task.parse().ok()?;
    (attachment_id(task, position) == id).then_some((task, position))
}

/// How far an attachment is. It only ever moves down this list; from any state but the last two it may
/// be `Failed` next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachmentState {
    /// The attachment's time has not come.
    Precreated,
    /// The attachment is to be made, and has failed if it is not made by `until`.
    Attaching {
        until: Timestamp,
    },
    Attached,
    /// The attachment is to be removed, and has failed if it is not removed by `until`.
    Detaching {
        until: Timestamp,
    },
    Detached,
    /// The attachment does not exist, or nobody knows: nothing waits for it any more.
    Failed {
        reason: String,
    },
}

impl AttachmentState {
    /// ECS's `status`.
    pub fn name(&self) -> &'static str {
        match self {
            AttachmentState::Precreated => "PRECREATED",
            AttachmentState::Attaching { .. } => "ATTACHING",
            AttachmentState::Attached => "ATTACHED",
            AttachmentState::Detaching { .. } => "DETACHING",
            AttachmentState::Detached => "DETACHED",
            AttachmentState::Failed { .. } => "FAILED",
        }
    }

    /// Whether nothing of it is left that is to be removed.
    pub fn is_gone(&self) -> bool {
        match self {
            AttachmentState::Detached | AttachmentState::Failed { .. } => true,
            AttachmentState::Precreated
            | AttachmentState::Attaching { .. }
            | AttachmentState::Attached
            | AttachmentState::Detaching { .. } => false,
        }
    }

    /// When the change under way has taken too long.
    fn until(&self) -> Option<Timestamp> {
        match self {
            AttachmentState::Attaching { until } | AttachmentState::Detaching { until } => {
                Some(*until)
            }
            AttachmentState::Precreated
            | AttachmentState::Attached
            | AttachmentState::Detached
            | AttachmentState::Failed { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub kind: AttachmentKind,
    pub name: String,
    pub state: AttachmentState,
}

/// Attachments of the user's own by the names in a tag, which spaces separate; the error is a sentence
/// for the user.
pub(crate) fn parse_tag(tag: &str, value: &str) -> Result<Vec<AttachmentSpec>, String> {
    let kind = match tag {
        RESOURCES_TAG => AttachmentKind::ExternalResource,
        _ => AttachmentKind::ExternalTarget,
    };
    let is_name = |name: &&str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        name.len() <= ATTACHMENT_NAME_CHARS_MAX && name.chars().all(known)
    };
    let names: Vec<&str> = value.split_ascii_whitespace().collect();
    if names.is_empty() || !names.iter().all(is_name) {
        return Err(format!(
            "The tag {tag} is `{value}`; say names with spaces between them, each of 1 to \
             {ATTACHMENT_NAME_CHARS_MAX} letters, digits, hyphens, dots and underscores."
        ));
    }
    Ok(names.iter().map(|name| AttachmentSpec { kind, name: (*name).to_owned() }).collect())
}

/// Whether a task can have all of these; the error is a sentence for the user.
pub(crate) fn check(specs: &[AttachmentSpec]) -> Result<(), String> {
    if specs.len() > ATTACHMENTS_MAX {
        let count = specs.len();
        return Err(format!(
            "A task has at most {ATTACHMENTS_MAX} attachments; {RESOURCES_TAG} and {TARGETS_TAG} name \
             {count}."
        ));
    }
    let twice = specs
        .iter()
        .enumerate()
        .find(|(at, spec)| specs[..*at].iter().any(|earlier| earlier.name == spec.name));
    match twice {
        Some((_, spec)) => {
            Err(format!("The attachment {} is named twice; name each once.", spec.name))
        }
        None => Ok(()),
    }
}

/// How a task's containers ended while its attachments are still to be removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionStop {
    pub cause: StopCause,
    /// As in [`crate::event::TaskEvent::TaskStopped`].
    pub ran_briefly: bool,
}

/// The attachments of one task, in the order in which they were asked for; their positions are part of
/// their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attachments {
    pub list: Vec<Attachment>,
    /// Only while the task is DEPROVISIONING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_stop: Option<ExecutionStop>,
}

impl Attachments {
    /// The attachments of a new task, of which none has begun.
    pub fn precreated(specs: &[AttachmentSpec]) -> Self {
        let attachment = |spec: &AttachmentSpec| Attachment {
            kind: spec.kind,
            name: spec.name.clone(),
            state: AttachmentState::Precreated,
        };
        Attachments { list: specs.iter().map(attachment).collect(), execution_stop: None }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether all that are attached at this time are.
    pub(crate) fn are_attached(&self, when: AttachTime) -> bool {
        let mut of_time = self.list.iter().filter(|attachment| attachment.kind.attaches() == when);
        of_time.all(|attachment| attachment.state == AttachmentState::Attached)
    }

    /// Whether nothing is left of those that are removed at this time.
    pub(crate) fn are_detached(&self, when: DetachTime) -> bool {
        let mut of_time = self.list.iter().filter(|attachment| attachment.kind.detaches() == when);
        of_time.all(|attachment| attachment.state.is_gone())
    }

    pub(crate) fn are_gone(&self) -> bool {
        self.list.iter().all(|attachment| attachment.state.is_gone())
    }

    /// The first that could not be attached, or was lost, and why.
    pub(crate) fn failure(&self) -> Option<(&str, &str)> {
        self.list.iter().find_map(|attachment| match &attachment.state {
            AttachmentState::Failed { reason } => Some((&*attachment.name, &**reason)),
            _ => None,
        })
    }

    /// When the first attachment that is being made or removed has taken too long.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.list.iter().filter_map(|attachment| attachment.state.until()).min()
    }

    /// Begins to attach those whose time this is.
    pub(crate) fn attach(&mut self, when: AttachTime, at: Timestamp) {
        for attachment in &mut self.list {
            let kind = attachment.kind;
            if kind.attaches() == when && attachment.state == AttachmentState::Precreated {
                let until = at.saturating_add(kind.attach_timeout());
                attachment.state = AttachmentState::Attaching { until };
            }
        }
    }

    /// Makes attachments under way whose time is `when` attached: what had to wait for them has
    /// happened.
    pub(crate) fn were_attached(&mut self, when: AttachTime) {
        for attachment in &mut self.list {
            let is_under_way = matches!(attachment.state, AttachmentState::Attaching { .. });
            if attachment.kind.attaches() == when && is_under_way {
                attachment.state = AttachmentState::Attached;
            }
        }
    }

    /// Begins to remove those whose time this is. What has not begun to be attached is gone at once.
    pub(crate) fn detach(&mut self, when: DetachTime, at: Timestamp) {
        for attachment in &mut self.list {
            let kind = attachment.kind;
            if kind.detaches() != when {
                continue;
            }
            match attachment.state {
                AttachmentState::Precreated => attachment.state = AttachmentState::Detached,
                AttachmentState::Attaching { .. } | AttachmentState::Attached => {
                    let until = at.saturating_add(kind.detach_timeout());
                    attachment.state = AttachmentState::Detaching { until };
                }
                AttachmentState::Detaching { .. }
                | AttachmentState::Detached
                | AttachmentState::Failed { .. } => {}
            }
        }
    }

    /// Gives those that are being attached or detached their whole time, counted from now.
    pub(crate) fn begin_anew(&mut self, at: Timestamp) {
        for attachment in &mut self.list {
            match &mut attachment.state {
                AttachmentState::Attaching { until } => {
                    *until = at.saturating_add(attachment.kind.attach_timeout());
                }
                AttachmentState::Detaching { until } => {
                    *until = at.saturating_add(attachment.kind.detach_timeout());
                }
                AttachmentState::Precreated
                | AttachmentState::Attached
                | AttachmentState::Detached
                | AttachmentState::Failed { .. } => {}
            }
        }
    }

    /// The task is over: what is left is not waited for.
    pub(crate) fn give_up(&mut self) {
        self.execution_stop = None;
        for attachment in self.list.iter_mut().filter(|attachment| !attachment.state.is_gone()) {
            attachment.state = match attachment.state {
                AttachmentState::Precreated => AttachmentState::Detached,
                _ => AttachmentState::Failed {
                    reason: "its task ended before it was removed".to_owned(),
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_move_only_when_their_time_has_come() {
        let spec = |kind: AttachmentKind| AttachmentSpec { kind, name: kind.name().to_owned() };
        let mut attachments = Attachments::precreated(&AttachmentKind::ALL.map(spec));
        let at = Timestamp(1_000);
        let names = |attachments: &Attachments| -> Vec<&str> {
            attachments.list.iter().map(|attachment| attachment.state.name()).collect()
        };
        attachments.attach(AttachTime::BeforeStart, at);
        assert_eq!(names(&attachments), ["ATTACHING", "PRECREATED"]);
        assert_eq!(attachments.until(), Some(at.saturating_add(ATTACH_TIMEOUT)));
        attachments.list[0].state = AttachmentState::Attached;
        assert!(attachments.are_attached(AttachTime::BeforeStart));
        assert!(!attachments.are_attached(AttachTime::AfterStart));

        let mut stopped_early = attachments.clone();
        stopped_early.detach(DetachTime::BeforeStop, at);
        assert_eq!(names(&stopped_early), ["ATTACHED", "DETACHED"]);
        stopped_early.detach(DetachTime::AfterStop, at);
        assert_eq!(names(&stopped_early), ["DETACHING", "DETACHED"]);
        assert!(!stopped_early.are_gone());
        stopped_early.give_up();
        assert_eq!(names(&stopped_early), ["FAILED", "DETACHED"]);
        assert!(stopped_early.are_gone());
    }
}
