//! Log groups as CloudWatch Logs has them: what CreateLogGroup and PutRetentionPolicy said.
//!
//! Streams and events are no part of the state: they lie where they were written, on the hosts. A group
//! that only a host knows of, because a task wrote to it, is none here.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use longshore_common::{clock::Timestamp, logs::options::check_group_name};
use serde::{Deserialize, Serialize};

use crate::model::tags::Tags;

/// Maximum number of log groups that exist at once (ours: smaller than CloudWatch Logs' quota).
pub const LOG_GROUPS_MAX: usize = 10_000;

/// CloudWatch Logs' rule: 1 to 512 of `a-z A-Z 0-9 . _ - / #`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogGroupName(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotALogGroupName(String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroup {
    pub name: LogGroupName,
    pub created_at: Timestamp,
    /// Absent: events are kept as long as their hosts keep any.
    pub retention_days: Option<u32>,
    #[serde(default)]
    pub tags: Tags,
}

impl LogGroupName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogGroupName {
    type Err = NotALogGroupName;

    fn from_str(text: &str) -> Result<Self, NotALogGroupName> {
        check_group_name(text).map_err(NotALogGroupName)?;
        Ok(LogGroupName(text.into()))
    }
}

impl TryFrom<String> for LogGroupName {
    type Error = NotALogGroupName;

    fn try_from(text: String) -> Result<Self, NotALogGroupName> {
        text.parse()
    }
}

impl From<LogGroupName> for String {
    fn from(name: LogGroupName) -> String {
        name.as_str().to_owned()
    }
}

impl Borrow<str> for LogGroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
