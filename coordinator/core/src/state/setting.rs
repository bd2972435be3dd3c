//! Account settings.

use std::collections::BTreeMap;

use longshore_common::logs::mode::LogDriverMode;

use crate::model::setting::SettingScope;

/// ECS's account setting for containers whose log configuration names no mode.
pub const DEFAULT_LOG_DRIVER_MODE: &str = "defaultLogDriverMode";
/// Default log driver mode of an account that has set none (ECS's own choice).
const LOG_DRIVER_MODE_OF_ECS: LogDriverMode = LogDriverMode::NonBlocking;

#[derive(Default)]
pub struct AccountSettings {
    pub(super) values: BTreeMap<(SettingScope, String), String>,
    /// The default log driver mode of the root user, which is the account: it holds for tasks,
    /// whoever starts them.
    pub(super) log_driver_mode: Option<LogDriverMode>,
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

pub(super) fn is_log_driver_mode(scope: &SettingScope, name: &str) -> bool {
    let of_account = match scope {
        SettingScope::Default => true,
        SettingScope::Principal(principal) => principal.ends_with(":root"),
    };
    of_account && name == DEFAULT_LOG_DRIVER_MODE
}
