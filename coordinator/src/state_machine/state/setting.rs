//! Account settings.

use std::collections::BTreeMap;

use super::{EntityKey, State};
use crate::state_machine::command::SettingScope;

#[derive(Default)]
pub struct AccountSettings {
    values: BTreeMap<(SettingScope, String), String>,
}

impl AccountSettings {
    /// What was set at this scope and not deleted since.
    pub fn get(&self, scope: &SettingScope, name: &str) -> Option<&str> {
        self.values.get(&(scope.clone(), name.to_owned())).map(String::as_str)
    }

    /// Everything that was set, in the order of scopes and names.
    pub fn iter(&self) -> impl Iterator<Item = (&SettingScope, &str, &str)> {
        self.values.iter().map(|((scope, name), value)| (scope, name.as_str(), value.as_str()))
    }

    pub(super) fn insert(&mut self, scope: SettingScope, name: String, value: String) {
        self.values.insert((scope, name), value);
    }
}

impl State {
    pub(super) fn account_setting_put(&mut self, scope: &SettingScope, name: &str, value: &str) {
        self.touch(EntityKey::Setting(scope.clone(), name.to_owned()));
        self.account_settings.insert(scope.clone(), name.to_owned(), value.to_owned());
    }

    pub(super) fn account_setting_deleted(&mut self, principal: &str, name: &str) {
        let scope = SettingScope::Principal(principal.to_owned());
        self.touch(EntityKey::Setting(scope.clone(), name.to_owned()));
        self.account_settings.values.remove(&(scope, name.to_owned()));
    }
}
