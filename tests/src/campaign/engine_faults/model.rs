//! What a task may come to when Docker fails in this way: the model that P6's cells are held to.

use super::matrix::Cell;
use longshore_harness::recording_proxy::{CallKind, Fault};

/// Attempts at a call that Docker answers with 5xx, or with what makes no sense, before its word is
/// final.
const ENGINE_ERRORS_MAX: usize = 3;

/// How the reason may begin of a task that did not start; none if it has to start.
pub(super) fn may_fail_to_start(cell: &Cell) -> Option<&'static str> {
    let is_final = cell.times >= ENGINE_ERRORS_MAX;
    match (cell.kind, cell.fault) {
        // Docker's word, and it says no.
        (CallKind::Create | CallKind::VolumeInspect, Fault::Status(404)) => {
            Some("CannotCreateContainerError: ")
        }
        (CallKind::Create, Fault::Status(500)) if is_final => Some("CannotCreateContainerError: "),
        (CallKind::VolumeInspect, Fault::Status(304 | 500)) if is_final => {
            Some("CannotCreateContainerError: ")
        }
        (CallKind::Start, Fault::Status(409)) => Some("CannotStartContainerError: "),
        (CallKind::Start, Fault::Status(304 | 404 | 500)) if is_final => {
            Some("CannotStartContainerError: ")
        }
        (CallKind::Pull, Fault::Status(404 | 409)) if cell.variant.always_pull => {
            Some("CannotPullContainerError: ")
        }
        // ECS waits no longer than its timeouts either.
        (CallKind::Create | CallKind::VolumeInspect | CallKind::Start, Fault::Hang) => {
            Some("DockerTimeoutError: ")
        }
        (CallKind::Pull, Fault::Hang) if cell.variant.always_pull => Some("DockerTimeoutError: "),
        // A slow volume is one that does not answer in time.
        (CallKind::VolumeInspect | CallKind::Pull, Fault::Slow(_)) => Some("DockerTimeoutError: "),
        (
            CallKind::Version
            | CallKind::Info
            | CallKind::ImageInspect
            | CallKind::Pull
            | CallKind::Create
            | CallKind::Start
            | CallKind::Stop
            | CallKind::Kill
            | CallKind::Remove
            | CallKind::Inspect
            | CallKind::List
            | CallKind::Events
            | CallKind::VolumeInspect
            | CallKind::VolumeRemove,
            Fault::Status(_)
            | Fault::Hang
            | Fault::Reset
            | Fault::HalfBody
            | Fault::Junk
            | Fault::ReplyLost
            | Fault::Slow(_),
        ) => None,
    }
}

/// Whether the task's volume may be there in the end: Docker said that there is none, that it is
/// in use for good, or that it has removed it.
pub(super) fn may_leave_its_volume(cell: &Cell) -> bool {
    cell.kind == CallKind::VolumeRemove && matches!(cell.fault, Fault::Status(404 | 409 | 304))
}
