//! Settings as they were written, and where.

use std::{collections::BTreeMap, fmt};

use super::table::Setting;

/// The process environment, as a map so that tests can give one.
pub type Environment = BTreeMap<String, String>;

/// One setting as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawSetting {
    pub(crate) value: Value,
    pub(crate) origin: SettingOrigin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// As a flag or a variable gives it; lists are separated by commas.
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

/// In order of precedence, the weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SettingOrigin {
    Default,
    File(String),
    /// A variable of Amazon's agent.
    EcsVariable(String),
    Variable(String),
    Flag(String),
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingOrigin::Default => f.write_str("the default"),
            SettingOrigin::File(key) => write!(f, "{key}"),
            SettingOrigin::EcsVariable(name) | SettingOrigin::Variable(name) => f.write_str(name),
            SettingOrigin::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// The strongest value of each setting.
#[derive(Debug, Default)]
pub(crate) struct SettingValues(BTreeMap<&'static str, RawSetting>);

impl SettingValues {
    pub(crate) fn take(&mut self, name: &str) -> Option<RawSetting> {
        self.0.remove(name)
    }

    pub(super) fn put(&mut self, setting: &Setting, value: Value, origin: SettingOrigin) {
        match self.0.get(setting.name) {
            Some(present) if present.origin > origin => {}
            _ => {
                self.0.insert(setting.name, RawSetting { value, origin });
            }
        }
    }

    /// What no part of the program has asked for.
    pub(crate) fn left(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}
