//! Task protection: GetTaskProtection, UpdateTaskProtection (ecs-behaviour 1.13).

use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    id::TaskId,
    limits::{TASK_PROTECTION_MINUTES as MINUTES, TASK_PROTECTION_MINUTES_DEFAULT as DEFAULT},
};
use longshore_core::{Answer, Command, State, command::TaskCommand, model::name::ClusterName};
use serde::{Deserialize, Serialize};

use super::{failure::Failure, identifiers};
use crate::edge::{context::Api, error::ApiError};

/// Maximum number of tasks whose protection one call shows (ecs-behaviour 1.1, batch limits).
const SHOWN_MAX: usize = 100;
/// Maximum number of tasks whose protection one call updates (ecs-behaviour 1.1, batch limits).
const UPDATED_MAX: usize = 10;

#[derive(Deserialize)]
pub(crate) struct GetTaskProtectionInput {
    cluster: String,
    #[serde(default)]
    tasks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTaskProtectionInput {
    cluster: String,
    tasks: Vec<String>,
    protection_enabled: bool,
    expires_in_minutes: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskProtectionOutput {
    protected_tasks: Vec<ProtectedTask>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtectedTask {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<f64>,
    protection_enabled: bool,
    task_arn: String,
}

pub(crate) async fn get(
    api: &Api,
    input: GetTaskProtectionInput,
) -> Result<TaskProtectionOutput, ApiError> {
    let cluster = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    let (ids, mut failures) = tasks(api, &cluster, &input.tasks, SHOWN_MAX)?;
    let (identity, now) = (&api.identity, api.clock.wall());
    let find = |state: &State| {
        let found = state.cluster(cluster.as_str()).filter(|found| found.is_active())?;
        let mut shown = Vec::new();
        for id in ids {
            let task = found.tasks.get(&id).map(|slot| state.task_at(*slot));
            let failure = |reason| Failure::of(identity.task(cluster.as_str(), id), reason);
            match task.map(|task| task.service.is_some()) {
                None => failures.push(failure("MISSING")),
                Some(false) => failures.push(failure("TASK_NOT_VALID")),
                Some(true) => shown.extend(view(identity, state, &cluster, id, now)),
            }
        }
        Some(shown)
    };
    let protected_tasks = api.read(find).await?.ok_or_else(ApiError::cluster_not_found)?;
    Ok(TaskProtectionOutput { protected_tasks, failures })
}

pub(crate) async fn update(
    api: &Api,
    input: UpdateTaskProtectionInput,
) -> Result<TaskProtectionOutput, ApiError> {
    let minutes = minutes(input.protection_enabled, input.expires_in_minutes)?;
    let cluster = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    let (ids, mut failures) = tasks(api, &cluster, &input.tasks, UPDATED_MAX)?;
    let (identity, now) = (api.identity.clone(), api.clock.wall());
    let of = cluster.clone();
    let show = move |state: &State, answer| {
        let Answer::Protected { tasks, failures } = answer else { return Default::default() };
        let shown = tasks.iter().filter_map(|id| view(&identity, state, &of, *id, now));
        (shown.collect::<Vec<_>>(), failures)
    };
    let command = Command::Task(TaskCommand::UpdateTaskProtection {
        cluster: cluster.clone(),
        tasks: ids,
        minutes,
    });
    let (protected_tasks, failed) = api.submit(command, show).await?;
    let failed = failed.into_iter();
    failures.extend(
        failed.map(|(id, reason)| Failure::of(api.identity.task(cluster.as_str(), id), reason)),
    );
    Ok(TaskProtectionOutput { protected_tasks, failures })
}

/// How long tasks are to be protected; `None` takes the protection away.
fn minutes(enabled: bool, given: Option<i64>) -> Result<Option<u32>, ApiError> {
    let minutes = match given {
        None => DEFAULT,
        Some(minutes) => {
            let fits = u32::try_from(minutes).ok().filter(|minutes| MINUTES.contains(minutes));
            fits.ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "expiresInMinutes is {minutes}; it must be between {} and {}.",
                    MINUTES.start(),
                    MINUTES.end()
                ))
            })?
        }
    };
    Ok(enabled.then_some(minutes))
}

fn tasks(
    api: &Api,
    cluster: &ClusterName,
    given: &[String],
    most: usize,
) -> Result<(Vec<TaskId>, Vec<Failure>), ApiError> {
    let count = given.len();
    if count == 0 || count > most {
        return Err(ApiError::invalid_parameter(format!(
            "tasks has {count} entries; give 1 to {most}."
        )));
    }
    let mut ids: Vec<TaskId> = Vec::new();
    let mut failures = Vec::new();
    for given in given {
        match identifiers::task(&api.identity, cluster, given)? {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => failures.push(Failure::missing(given.clone())),
        }
    }
    Ok((ids, failures))
}

/// A protection whose time is over is none.
fn view(
    identity: &Identity,
    state: &State,
    cluster: &ClusterName,
    id: TaskId,
    now: Timestamp,
) -> Option<ProtectedTask> {
    let of = state.task(id)?.service.as_ref()?;
    let until = of.protected_until.filter(|_| of.is_protected(now));
    Some(ProtectedTask {
        expiration_date: until.map(Timestamp::as_epoch_seconds),
        protection_enabled: until.is_some(),
        task_arn: identity.task(cluster.as_str(), id),
    })
}
