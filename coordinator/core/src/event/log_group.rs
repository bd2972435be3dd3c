//! What became true of log groups.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{log_group::LogGroupName, tags::Tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogGroupEvent {
    LogGroupCreated {
        name: LogGroupName,
        #[serde(default)]
        tags: Tags,
        at: Timestamp,
    },
    LogRetentionPut {
        name: LogGroupName,
        days: Option<u32>,
    },
    LogGroupDeleted {
        name: LogGroupName,
    },
}
