//! Account settings.

use std::collections::BTreeMap;

use longshore_common::logs::mode::LogDriverMode;

use super::{
    EntityKey, State,
    entity::{Entity, kind},
};
use crate::{checkpoint::record::SettingRecord, model::setting::SettingScope};

/// ECS's account setting for containers whose log configuration names no mode.
pub const DEFAULT_LOG_DRIVER_MODE: &str = "defaultLogDriverMode";
/// ECS's own choice where the account has set none.
const LOG_DRIVER_MODE_OF_ECS: LogDriverMode = LogDriverMode::NonBlocking;

#[derive(Default)]
pub struct AccountSettings {
    values: BTreeMap<(SettingScope, String), String>,
    /// Of the root user, which is the account: what holds for tasks, whoever starts them.
    log_driver_mode: Option<LogDriverMode>,
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

    /// The mode of containers whose log configuration names none.
    pub fn log_driver_mode(&self) -> LogDriverMode {
        self.log_driver_mode.unwrap_or(LOG_DRIVER_MODE_OF_ECS)
    }

    pub(super) fn insert(&mut self, scope: SettingScope, name: String, value: String) {
        if is_log_driver_mode(&scope, &name) {
            self.log_driver_mode = LogDriverMode::parse(&value);
        }
        self.values.insert((scope, name), value);
    }
}

fn is_log_driver_mode(scope: &SettingScope, name: &str) -> bool {
    let of_account = match scope {
        SettingScope::Default => true,
        SettingScope::Principal(principal) => principal.ends_with(":root"),
    };
    of_account && name == DEFAULT_LOG_DRIVER_MODE
}

impl State {
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
    type Key = (SettingScope, String);
    type Row = SettingRecord;

    fn id((scope, name): &(SettingScope, String)) -> Vec<u8> {
        match scope {
            SettingScope::Default => format!("/{name}").into(),
            SettingScope::Principal(principal) => format!("{principal}/{name}").into(),
        }
    }

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
