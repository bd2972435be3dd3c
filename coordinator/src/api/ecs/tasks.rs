//! Tasks: StopTask and DescribeTasks here; RunTask, StartTask, ListTasks and
//! SubmitAttachmentStateChanges in files of their own.
//!
//! A task that has stopped is not in the state but in the history: whoever looks for one looks in
//! the state first, then there.

pub(crate) mod launch;
pub(crate) mod overrides;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod attachment_states;
pub(crate) mod list;
pub(crate) mod view;

use std::collections::BTreeMap;

use longshore_common::{id::TaskId, limits::REASON_CHARS_MAX};
use longshore_core::{
    Command, Rejection, State, command::TaskCommand, model::name::ClusterName,
    rejection::TaskRejection,
};
use serde::{Deserialize, Serialize};

use self::view::{TaskSnapshot, TaskView};
use super::{failure::Failure, identifiers};
use crate::edge::{context::Api, error::ApiError};

/// Maximum number of tasks that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 100;

#[derive(Deserialize)]
pub(crate) struct StopTaskInput {
    cluster: Option<String>,
    task: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct DescribeTasksInput {
    cluster: Option<String>,
    tasks: Vec<String>,
    #[serde(default)]
    include: Vec<TaskField>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TaskField {
    Tags,
}

#[derive(Serialize)]
pub(crate) struct TaskOutput {
    task: TaskView,
}

#[derive(Serialize)]
pub(crate) struct TasksOutput {
    tasks: Vec<TaskView>,
    failures: Vec<Failure>,
}

pub(crate) async fn stop(api: &Api, input: StopTaskInput) -> Result<TaskOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let task = identifiers::task(&api.identity, &cluster, &input.task)?.ok_or_else(not_found)?;
    let reason = input.reason.filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        return Err(ApiError::invalid_parameter(format!(
            "reason is longer than {REASON_CHARS_MAX} characters."
        )));
    }
    let command = Command::Task(TaskCommand::StopTask { cluster: cluster.clone(), task, reason });
    let show = move |state: &State, _| state.task(task).map(|task| TaskSnapshot::live(state, task));
    let shown = match api.try_submit(command, show).await? {
        Ok(shown) => shown,
        // One that has stopped already stays as it is, and that is no error (ecs-behaviour 1.5).
        Err(Rejection::Task(TaskRejection::TaskNotFound(_))) => None,
        Err(rejection) => return Err(api.refusal(&rejection)),
    };
    let shown = match shown {
        Some(shown) => shown,
        None => stopped(api, &cluster, vec![task]).await?.remove(&task).ok_or_else(not_found)?,
    };
    Ok(TaskOutput { task: shown.view(&api.identity, true) })
}

fn not_found() -> ApiError {
    ApiError::invalid_parameter("The referenced task was not found.")
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeTasksInput,
) -> Result<TasksOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let count = input.tasks.len();
    if count == 0 || count > DESCRIBED_MAX {
        let empty = if count == 0 { "Tasks cannot be empty. " } else { "" };
        return Err(ApiError::invalid_parameter(format!(
            "{empty}tasks has {count} entries; give 1 to {DESCRIBED_MAX}."
        )));
    }
    let mut ids: Vec<TaskId> = Vec::new();
    let mut failures = Vec::new();
    for given in &input.tasks {
        match identifiers::task(&api.identity, &cluster, given)? {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    let mut found = find(api, &cluster, &ids).await?;
    let with_tags = input.include.contains(&TaskField::Tags);
    let mut tasks = Vec::new();
    for id in ids {
        match found.remove(&id) {
            Some(shown) => tasks.push(shown.view(&api.identity, with_tags)),
            None => failures.push(Failure::missing(api.identity.task(cluster.as_str(), id))),
        }
    }
    Ok(TasksOutput { tasks, failures })
}

/// Those of `ids` that are tasks of the cluster, live or stopped.
pub(crate) async fn find(
    api: &Api,
    cluster: &ClusterName,
    ids: &[TaskId],
) -> Result<BTreeMap<TaskId, TaskSnapshot>, ApiError> {
    let live = |state: &State| {
        state.cluster(cluster.as_str())?;
        let shown = |id: &TaskId| Some((*id, TaskSnapshot::current(state, cluster, *id)?));
        Some(ids.iter().filter_map(shown).collect::<BTreeMap<_, _>>())
    };
    let mut found = api.read(live).await?.ok_or_else(ApiError::cluster_not_found)?;
    let gone = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    found.append(&mut stopped(api, cluster, gone).await?);
    Ok(found)
}

/// Those of `ids` that stopped in this cluster.
async fn stopped(
    api: &Api,
    cluster: &ClusterName,
    ids: Vec<TaskId>,
) -> Result<BTreeMap<TaskId, TaskSnapshot>, ApiError> {
    let mut records = api.stopped_tasks(ids).await?;
    records.retain(|record| record.cluster == *cluster);
    if records.is_empty() {
        return Ok(BTreeMap::new());
    }
    let show = |state: &State| {
        records
            .into_iter()
            .map(|record| (record.id, TaskSnapshot::stopped(state, record)))
            .collect()
    };
    api.read(show).await
}
