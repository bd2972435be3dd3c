//! Account settings: whose a setting is.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SettingScope {
    /// PutAccountSettingDefault.
    Default,
    /// PutAccountSetting, for one principal's ARN.
    Principal(String),
}
