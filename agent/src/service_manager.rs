//! What the service manager is told of this program in a word: waiting, ready, stopping.

use longshore_common::service_manager::ServiceManager;
use sd_notify::NotifyState;

pub(crate) fn stopping(status: &str) {
    let states = [NotifyState::Stopping, NotifyState::Status(status)];
    ServiceManager::of_this_program().tell(&states);
}

/// Tells that a program works, which has nothing more to say.
pub(crate) fn ready(status: &str) {
    ServiceManager::of_this_program().tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub(crate) fn waiting(status: &str) {
    ServiceManager::of_this_program().tell(&[NotifyState::Status(status)]);
}
