//! `Longshore_2026.Explain`: why a task is where it is, where tasks would go, and why not more of
//! them. `longshore-coordinator explain` is its client.
//!
//! Reads only. A dry run is the scheduler's own placement over the state as it is now; of a task
//! that was placed, only what is recorded is told, beside the numbers of now, which are called so.

mod task;

use std::collections::BTreeMap;

use longshore_core::{
    Rejection,
    command::{DeploymentChange, RunTask, TaskLaunch, UpdateService},
    decide::explain::{self, DryRun, EXPLAINED_TASKS_MAX},
    model::{definition::RevisionRef, name::ClusterName, tags::Tags, task_options::TaskOptions},
    placement::{HostSlot, Reason, Unfit},
    state::State,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::task::TaskExplained;
use crate::{
    api::ecs::{
        identifiers,
        placement::{self, PlacementConstraint, PlacementStrategy},
        services,
        tasks::launch,
    },
    edge::{context::Api, error::ApiError},
};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainInput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// Why this task is where it is, or waits. Nothing else goes with it but the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// A dry run of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// A dry run of RunTask, or what the service would be updated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task_definition: Option<String>,
    /// Tasks, without a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<i64>,
    /// The task group, without a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// With a service: instead of what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) desired_count: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) placement_constraints: Option<Vec<PlacementConstraint>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) placement_strategy: Option<Vec<PlacementStrategy>>,
}

/// One of the three.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskExplained>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run: Option<DryRunView>,
    /// One dry run for each capacity provider, where tasks have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dry_runs: Vec<DryRunView>,
}

impl Explanation {
    fn of_runs(mut runs: Vec<DryRunView>) -> Self {
        let only = if runs.len() == 1 { runs.pop() } else { None };
        Explanation { task: None, dry_run: only, dry_runs: runs }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DryRunView {
    /// The capacity provider whose hosts alone are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity_provider: Option<String>,
    /// Epoch seconds until which a task waits for a host; of one that waits only, and not for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waits_until: Option<f64>,
    /// Tasks asked for; with a service, those that it lacks.
    pub(crate) asked: u32,
    pub(crate) placed: u32,
    pub(crate) missing: u32,
    /// Number of tasks for which there is room in all.
    pub(crate) room: u32,
    /// Room is not counted any further: there may be more.
    pub(crate) room_is_more: bool,
    pub(crate) container_instances: u32,
    pub(crate) placements: Vec<PlacementView>,
    /// Why there is no room for another one.
    pub(crate) reasons: Vec<ReasonView>,
    pub(crate) closest: Vec<ClosestView>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlacementView {
    pub(crate) container_instance_arn: String,
    pub(crate) tasks: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReasonView {
    /// The reason as in RunTask's `failures`.
    pub(crate) reason: String,
    pub(crate) explanation: String,
    /// Container instances that fail for it first.
    pub(crate) container_instances: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClosestView {
    pub(crate) container_instance_arn: String,
    pub(crate) gaps: Vec<GapView>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GapView {
    pub(crate) reason: String,
    pub(crate) explanation: String,
    /// Number of CPU units, MiB or GPUs that are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) needed: Option<u32>,
    /// What remains as DescribeContainerInstances shows it, less what this dry run has put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remaining: Option<i64>,
}

pub(crate) async fn explain(api: &Api, input: ExplainInput) -> Result<Explanation, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    if let Some(task) = &input.task {
        if !input.is_of_task_alone() {
            return Err(ApiError::invalid_parameter(
                "task is explained by itself: leave everything but cluster out.",
            ));
        }
        if let Some(run) = waiting_run(api, &cluster, task).await? {
            return Ok(Explanation::of_runs(run));
        }
        let task = Some(task::explain(api, &cluster, task).await?);
        return Ok(Explanation { task, ..Explanation::of_runs(Vec::new()) });
    }
    let runs = match &input.service {
        Some(service) => service_run(api, &cluster, service, &input).await?,
        None => task_run(api, &cluster, &input).await?,
    };
    Ok(Explanation::of_runs(runs))
}

impl ExplainInput {
    fn is_of_task_alone(&self) -> bool {
        self.service.is_none()
            && self.task_definition.is_none()
            && self.count.is_none()
            && self.group.is_none()
            && self.desired_count.is_none()
            && self.placement_constraints.is_none()
            && self.placement_strategy.is_none()
    }

    fn definition(&self, api: &Api) -> Result<Option<RevisionRef>, ApiError> {
        let Some(given) = self.task_definition.as_deref().filter(|given| !given.is_empty()) else {
            return Ok(None);
        };
        let found = identifiers::task_definition(&api.identity, given)?;
        found.map(Some).ok_or_else(ApiError::task_definition_not_found)
    }
}

fn number(name: &str, given: Option<i64>, default: u32) -> Result<u32, ApiError> {
    let Some(given) = given else { return Ok(default) };
    let found = u32::try_from(given).ok().filter(|given| *given <= EXPLAINED_TASKS_MAX);
    found.ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "{name} is {given}; it must be between 0 and {EXPLAINED_TASKS_MAX}."
        ))
    })
}

async fn task_run(
    api: &Api,
    cluster: &ClusterName,
    input: &ExplainInput,
) -> Result<Vec<DryRunView>, ApiError> {
    if input.desired_count.is_some() {
        return Err(ApiError::invalid_parameter("desiredCount is of a service: say count."));
    }
    let Some(definition) = input.definition(api)? else {
        return Err(ApiError::invalid_parameter(
            "Say what to explain: task, taskDefinition or service.",
        ));
    };
    let constraints =
        placement::parse_constraints(input.placement_constraints.as_deref().unwrap_or_default())?;
    let strategies = input.placement_strategy.as_deref().unwrap_or_default();
    let run = RunTask {
        launch: TaskLaunch {
            cluster: cluster.clone(),
            definition,
            overrides: Default::default(),
            group: launch::group(input.group.clone())?,
            started_by: None,
            tags: Tags::new(),
            options: TaskOptions::default(),
            propagate_tags: false,
            managed_tags: false,
        },
        count: number("count", input.count, 1)?,
        distinct_instance: constraints.distinct_instance,
        member_of: constraints.member_of,
        strategies: placement::parse_strategies(strategies)?,
        capacity: None,
        client_token: None,
    };
    dry_run(api, cluster, move |state, entropy| explain::run_task(state, &run, entropy)).await
}

/// Dry runs of the tasks that wait together with this one; `None` when it does not wait.
async fn waiting_run(
    api: &Api,
    cluster: &ClusterName,
    task: &str,
) -> Result<Option<Vec<DryRunView>>, ApiError> {
    let Some(id) = identifiers::task(&api.identity, cluster, task)? else { return Ok(None) };
    let slot = |state: &State| state.cluster(cluster.as_str())?.waiting_tasks.get(&id).copied();
    let until = |state: &State| slot(state).map(|slot| state.waiting_at(slot).launch.until);
    let Some(until) = api.read(until).await? else { return Ok(None) };
    let run = |state: &State, entropy| match slot(state) {
        Some(slot) => Ok(vec![explain::waiting(state, state.waiting_at(slot), entropy)]),
        // It has been given a host, or up, since.
        None => Ok(vec![DryRun::default()]),
    };
    let mut runs = dry_run(api, cluster, run).await?;
    let waits_until = until.map(|until| until.as_epoch_seconds());
    runs.iter_mut().for_each(|run| run.waits_until = waits_until);
    Ok(Some(runs))
}

async fn service_run(
    api: &Api,
    cluster: &ClusterName,
    service: &str,
    input: &ExplainInput,
) -> Result<Vec<DryRunView>, ApiError> {
    if input.count.is_some() || input.group.is_some() {
        return Err(ApiError::invalid_parameter(
            "count and group are not for a service: say desiredCount, or leave service out.",
        ));
    }
    let service = services::named(api, Some(cluster.as_str()), service)?;
    let constraints = input.placement_constraints.as_deref();
    let constraints = constraints.map(placement::parse_constraints).transpose()?;
    let strategies = input.placement_strategy.as_deref();
    let desired = input.desired_count.map(|given| number("desiredCount", Some(given), 0));
    let update = UpdateService {
        service,
        definition: input.definition(api)?,
        desired: desired.transpose()?,
        deployment: DeploymentChange::default(),
        distinct_instance: constraints.as_ref().map(|given| given.distinct_instance),
        member_of: constraints.map(|given| given.member_of),
        strategies: strategies.map(placement::parse_strategies).transpose()?,
        capacity: None,
        grace_s: None,
        az_rebalancing: None,
        propagate_tags: None,
        managed_tags: None,
        force_new_deployment: false,
    };
    dry_run(api, cluster, move |state, entropy| explain::service(state, &update, entropy)).await
}

async fn dry_run(
    api: &Api,
    cluster: &ClusterName,
    run: impl FnOnce(&State, u64) -> Result<Vec<DryRun>, Rejection>,
) -> Result<Vec<DryRunView>, ApiError> {
    let entropy = api
        .random
        .number()
        .map_err(|error| ApiError::server(format!("the system gave no random bytes: {error}")))?;
    let arn = |state: &State, slot: HostSlot| {
        api.identity.container_instance(cluster.as_str(), state.host_at(slot).id)
    };
    let views = |state: &State| {
        let runs = run(state, entropy)?;
        Ok(runs.iter().map(|run| view(run, |slot| arn(state, slot))).collect())
    };
    let shown = api.read(views).await?;
    shown.map_err(|rejection| api.launch_refusal(&rejection))
}

fn view(run: &DryRun, arn: impl Fn(HostSlot) -> String) -> DryRunView {
    let placed = run.chosen.len() as u32;
    let mut by_host: BTreeMap<HostSlot, u32> = BTreeMap::new();
    run.chosen.iter().for_each(|slot| *by_host.entry(*slot).or_default() += 1);
    let mut placements: Vec<PlacementView> = by_host
        .into_iter()
        .map(|(slot, tasks)| PlacementView { container_instance_arn: arn(slot), tasks })
        .collect();
    placements.sort_by(|a, b| a.container_instance_arn.cmp(&b.container_instance_arn));
    let reason = |(reason, hosts): &(Reason, u32)| ReasonView {
        reason: reason.as_ecs().to_owned(),
        explanation: reason.to_string(),
        container_instances: *hosts,
    };
    let closest = |(slot, unfit): &(HostSlot, Vec<Unfit>)| ClosestView {
        container_instance_arn: arn(*slot),
        gaps: unfit.iter().map(gap).collect(),
    };
    DryRunView {
        capacity_provider: run.provider.as_ref().map(ToString::to_string),
        waits_until: None,
        asked: run.asked,
        placed,
        missing: run.asked - placed,
        room: run.room,
        room_is_more: run.room == EXPLAINED_TASKS_MAX,
        container_instances: run.hosts,
        placements,
        reasons: run.reasons.iter().map(reason).collect(),
        closest: run.closest.iter().map(closest).collect(),
    }
}

fn gap(unfit: &Unfit) -> GapView {
    let (needed, remaining) = match unfit {
        Unfit::Cpu { needed, remaining }
        | Unfit::Memory { needed, remaining }
        | Unfit::Gpu { needed, remaining } => (Some(*needed), Some(*remaining)),
        Unfit::NotActive
        | Unfit::AgentDisconnected
        | Unfit::EngineSilent
        | Unfit::NoRoom
        | Unfit::Attribute(_)
        | Unfit::MemberOf(_)
        | Unfit::DistinctInstance
        | Unfit::Port(_) => (None, None),
    };
    let reason = unfit.reason().as_ecs().to_owned();
    GapView { reason, explanation: unfit.to_string(), needed, remaining }
}
