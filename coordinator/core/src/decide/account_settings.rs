//! PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting.

use super::Decision;
use crate::{
    command::SettingCommand,
    event::{Event, SettingEvent},
    model::setting::SettingScope,
    state::State,
};

pub(super) fn decide_setting(state: &State, command: &SettingCommand) -> Decision {
    match command {
        SettingCommand::PutAccountSetting { scope, name, value } => put(scope, name, value),
        SettingCommand::DeleteAccountSetting { principal, name } => delete(state, principal, name),
    }
}

fn put(scope: &SettingScope, name: &str, value: &str) -> Decision {
    let (scope, name, value) = (scope.clone(), name.to_owned(), value.to_owned());
    Decision::of(vec![Event::Setting(SettingEvent::AccountSettingPut { scope, name, value })])
}

/// Deleting what was never set is fine.
fn delete(state: &State, principal: &str, name: &str) -> Decision {
    let scope = SettingScope::Principal(principal.to_owned());
    if state.account_settings().get(&scope, name).is_none() {
        return Decision::default();
    }
    let (principal, name) = (principal.to_owned(), name.to_owned());
    Decision::of(vec![Event::Setting(SettingEvent::AccountSettingDeleted { principal, name })])
}
