//! What can be asked of log groups.

use crate::model::{log_group::LogGroupName, tags::Tags};

#[derive(Clone, Debug)]
pub enum LogGroupCommand {
    CreateLogGroup { name: LogGroupName, tags: Tags },
    PutLogRetention { name: LogGroupName, days: Option<u32> },
    DeleteLogGroup { name: LogGroupName },
}
