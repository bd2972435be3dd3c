//! Whom a question goes to, and what it means when somebody does not answer.
//!
//! A host that is known to be disconnected is not asked: its logs are missing, and the answer says so
//! where it can. A connected host that gives no answer makes the question fail, so that a client asks
//! again: who follows a log by the time of the last event would never see what was left out.

use std::collections::BTreeSet;

use longshore_common::{
    id::{HostId, TaskId},
    logs::query::{LogAsk, LogReply},
};

use super::unavailable;
use crate::{
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
    },
    fleet::logs::{Holder, Source, holders},
};

/// Maximum number of hosts that one message names (ours).
const HOSTS_NAMED_MAX: usize = 5;

/// What was answered.
pub(super) struct Heard {
    pub(super) replies: Vec<(Source, LogReply)>,
    /// Disconnected, and not asked.
    pub(super) away: Vec<HostId>,
}

/// Asks every host, or only those that can hold what is asked for.
pub(super) async fn ask(
    api: &Api,
    only: Option<BTreeSet<HostId>>,
    question: impl Fn(Source) -> LogAsk,
) -> Result<Heard, ApiError> {
    let all = api.read(|state| holders(state, only.as_ref())).await?;
    let (connected, away): (Vec<Holder>, Vec<Holder>) =
        all.into_iter().partition(|holder| holder.connected);
    let away: Vec<HostId> = away.into_iter().map(|holder| holder.host).collect();
    if only.is_some() && !away.is_empty() {
        return Err(unavailable(format!(
            "These logs are on {}, which is disconnected. Try again when it is back.",
            named(&away)
        )));
    }
    let answers = api.logs.ask(connected, question).await.map_err(ApiError::server)?;
    if !answers.silent.is_empty() {
        return Err(unavailable(format!(
            "{} did not answer for the logs there. Try again.",
            named(&answers.silent)
        )));
    }
    Ok(Heard { replies: answers.replies, away })
}

impl Heard {
    /// Nothing was found: `error`, unless hosts are away that may have it. Then only what could not
    /// be done is said before that: whether the thing exists is not known.
    pub(super) fn not_found(&self, error: ApiError) -> ApiError {
        if self.away.is_empty() {
            return error;
        }
        let undone = match error.code {
            ErrorCode::ServiceUnavailable => format!("{} ", error.message),
            _ => String::new(),
        };
        unavailable(format!(
            "{undone}No connected host has what was asked for, and {} may: disconnected now. Try again \
             when it is back.",
            named(&self.away)
        ))
    }
}

fn named(hosts: &[HostId]) -> String {
    let mut text: Vec<String> = hosts
        .iter()
        .take(HOSTS_NAMED_MAX)
        .map(|host| format!("container instance {host}"))
        .collect();
    if hosts.len() > HOSTS_NAMED_MAX {
        text.push(format!("{} more", hosts.len() - HOSTS_NAMED_MAX));
    }
    text.join(", ")
}

/// The hosts of the tasks that these streams are of; absent unless it is known of each.
pub(super) async fn hosts_of(
    api: &Api,
    streams: &[String],
) -> Result<Option<BTreeSet<HostId>>, ApiError> {
    let task = |stream: &String| stream.rsplit('/').next().and_then(|id| id.parse().ok());
    let Some(tasks) = streams.iter().map(task).collect::<Option<Vec<TaskId>>>() else {
        return Ok(None);
    };
    let (mut hosts, stopped) = api
        .read(|state| {
            let (mut hosts, mut stopped) = (BTreeSet::new(), Vec::new());
            for task in tasks {
                match state.task(task) {
                    Some(task) => drop(hosts.insert(state.host_at(task.host).id)),
                    None => stopped.push(task),
                }
            }
            (hosts, stopped)
        })
        .await?;
    let wanted = stopped.len();
    let records = api.stopped_tasks(stopped).await?;
    if records.len() < wanted {
        return Ok(None);
    }
    hosts.extend(records.into_iter().filter_map(|record| record.host));
    Ok(Some(hosts))
}
