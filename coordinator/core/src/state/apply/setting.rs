//! What events do to account settings, and their rows.

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::SettingRecord,
    },
    event::SettingEvent,
    model::setting::SettingScope,
    state::{State, setting::is_log_driver_mode},
};

impl State {
    pub(super) fn apply_setting(&mut self, event: &SettingEvent) {
        match event {
            SettingEvent::AccountSettingPut { scope, name, value } => {
                self.account_setting_put(scope, name, value);
            }
            SettingEvent::AccountSettingDeleted { principal, name } => {
                self.account_setting_deleted(principal, name);
            }
        }
    }

    pub(super) fn account_setting_put(&mut self, scope: &SettingScope, name: &str, value: &str) {
        self.touch(EntityKey::Setting((scope.clone(), name.to_owned())));
        self.account_settings.insert(scope.clone(), name.to_owned(), value.to_owned());
    }

    pub(super) fn account_setting_deleted(&mut self, principal: &str, name: &str) {
        let scope = SettingScope::Principal(principal.to_owned());
        self.touch(EntityKey::Setting((scope.clone(), name.to_owned())));
        if is_log_driver_mode(&scope, name) {
            self.account_settings.log_driver_mode = None;
        }
        self.account_settings.values.remove(&(scope, name.to_owned()));
    }
}

impl Entity for kind::Setting {
    fn keys(state: &State) -> Vec<(SettingScope, String)> {
        state.account_settings.values.keys().cloned().collect()
    }

    fn row(state: &State, (scope, name): &(SettingScope, String)) -> Option<SettingRecord> {
        let value = state.account_settings.get(scope, name)?.to_owned();
        Some(SettingRecord { scope: scope.clone(), name: name.clone(), value })
    }

    fn restore(state: &mut State, row: SettingRecord) {
        state.account_settings.insert(row.scope, row.name, row.value);
    }
}
