//! What can be asked of account settings.

use crate::model::setting::SettingScope;

#[derive(Clone, Debug)]
pub enum SettingCommand {
    PutAccountSetting { scope: SettingScope, name: String, value: String },
    DeleteAccountSetting { principal: String, name: String },
}
