//! Changes of state as the coordinator logs them: after they are durable, so that nobody has to
//! poll to learn when a task runs, and no poller's period is in a figure.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::process::Log;

/// One line of the log that names a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskChange {
    pub at: Timestamp,
    /// The last part of its ARN.
    pub task: String,
    /// For example `task is RUNNING`.
    pub what: String,
}

impl TaskChange {
    /// Reads a line of `--log-format json`.
    pub fn parse(line: &str) -> Option<TaskChange> {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(TaskChange {
            at: line["timestamp"].as_str()?.parse().ok()?,
            task: line["task"].as_str()?.to_owned(),
            what: line["message"].as_str()?.to_owned(),
        })
    }
}

/// Waits until each of these tasks has come to a state; when each was durable there.
pub async fn all_reach(
    log: &Log,
    from: usize,
    tasks: &[String],
    state: &str,
    patience: Duration,
) -> Result<BTreeMap<String, Timestamp>> {
    let wanted = format!("task is {state}");
    let mut left: std::collections::BTreeSet<&str> = tasks.iter().map(|task| id_of(task)).collect();
    let mut reached = BTreeMap::new();
    let pick = |line: &str| {
        let change = TaskChange::parse(line)?;
        if change.what.starts_with(&wanted) && left.remove(change.task.as_str()) {
            reached.insert(change.task, change.at);
        }
        left.is_empty().then_some(())
    };
    let waited = log.wait_for(from, patience, pick).await;
    waited.with_context(|| format!("{} of {} tasks {state}", reached.len(), tasks.len()))?;
    Ok(reached)
}

/// The last part of an ARN.
pub fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_task_is_read_with_its_time() {
        let line = r#"{"timestamp":"2026-01-02T03:04:05.678901Z","level":"INFO","message":"task is RUNNING","cluster":"default","task":"0f"}"#;
        let change = TaskChange::parse(line).unwrap();
        assert_eq!((change.task.as_str(), change.what.as_str()), ("0f", "task is RUNNING"));
        assert_eq!(change.at.subsec_nanosecond(), 678_901_000);
        assert_eq!(TaskChange::parse(r#"{"message":"agent connected","host":"a"}"#), None);
        assert_eq!(TaskChange::parse("not JSON"), None);
    }
}
