//! Why commands about log groups are refused.

use crate::model::log_group::LogGroupName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogGroupRejection {
    #[error("The specified log group already exists")]
    LogGroupExists(LogGroupName),
    #[error("The specified log group does not exist.")]
    LogGroupNotFound,
    #[error("The limit of {limit} log groups is reached. Delete one that is no longer used.")]
    TooManyLogGroups { limit: usize },
}
