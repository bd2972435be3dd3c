//! PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting.

use super::Decision;
use crate::{
    event::{Event, SettingEvent},
    model::setting::SettingScope,
    state::State,
};

pub(super) fn put(scope: &SettingScope, name: &str, value: &str) -> Decision {
    let (scope, name, value) = (scope.clone(), name.to_owned(), value.to_owned());
    Decision::of(vec![Event::Setting(SettingEvent::AccountSettingPut { scope, name, value })])
}

/// Deleting what was never set is fine.
pub(super) fn delete(state: &State, principal: &str, name: &str) -> Decision {
    let scope = SettingScope::Principal(principal.to_owned());
    if state.account_settings().get(&scope, name).is_none() {
        return Decision::default();
    }
    let (principal, name) = (principal.to_owned(), name.to_owned());
    Decision::of(vec![Event::Setting(SettingEvent::AccountSettingDeleted { principal, name })])
}
