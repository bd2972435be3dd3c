//! What became true of account settings.

use serde::{Deserialize, Serialize};

use crate::model::setting::SettingScope;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SettingEvent {
    AccountSettingPut { scope: SettingScope, name: String, value: String },
    AccountSettingDeleted { principal: String, name: String },
}
