//! RunTask, StartTask, StopTask.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    limits::REASON_CHARS_MAX,
    logs::mode::LogDriverMode,
    protocol::{Attribute, ContainerId},
    resources::Demand,
    task::{StopCause, StopCode},
};

use super::{Answer, Decision, capacity_providers, gate, task_definitions, task_protection};
use crate::{
    command::{ClientToken, RunTask, StartTask, TaskCommand, TaskLaunch},
    event::{Event, TaskEvent, TasksStarted, TasksWaiting, WaitingEvent, WaitingTask},
    launch::{
        demand::demand,
        ids::Ids,
        placed::placed_on,
        request::{NEW_GROUP, required_attributes},
    },
    model::{
        capacity_provider::StrategyItem,
        client_token::{FailedPlacement, UsedClientToken},
        honoured::needs_not_honoured,
        name::ClusterName,
        strategy,
        tags::Tags,
        task::{AskedPlacement, Wish},
    },
    placement::{self, MemberOf, Taken, Unfit, Unplaced},
    query::Constraint,
    rejection::{DefinitionRejection, HostRejection, Rejection, TaskRejection},
    state::{Cluster, Definition, Host, State, WAITING_TASKS_MAX},
};

/// Maximum number of tasks that one step of a list looks at (ours), which bounds the time under the
/// state's lock.
pub const CLUSTER_TASKS_LISTED_MAX: usize = 5_000;

/// Maximum number of placement constraints of one task, from its definition and from who runs it
/// together (ecs-behaviour 1.5).
pub const PLACEMENT_CONSTRAINTS_MAX: usize = 10;

/// Timeout of placing tasks for which there is room (ours): the scheduler may not be at work yet,
/// after a start.
const PLACED_WITHIN: Duration = Duration::from_secs(60);

/// What RunTask and StartTask settle before they look at hosts.
pub(super) struct Prepared<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) definition: &'a Definition,
    pub(super) demand: Demand,
    pub(super) required: Vec<Attribute>,
    pub(super) group: String,
    tags: Tags,
    log_driver_mode: LogDriverMode,
}

pub(super) fn decide_task(
    state: &State,
    command: &TaskCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        TaskCommand::RunTask(asked) => run(state, asked, at, ids),
        TaskCommand::StartTask(asked) => start(state, asked, at, ids),
        TaskCommand::StopTask { cluster, task, reason } => {
            stop(state, cluster, *task, reason.as_deref(), at)
        }
        TaskCommand::UpdateTaskProtection { cluster, tasks, minutes } => {
            task_protection::update(state, cluster, tasks, *minutes, at)
        }
    }
}

fn run(state: &State, run: &RunTask, at: Timestamp, ids: Ids) -> Result<Decision, Rejection> {
    let launch = &run.launch;
    if let Some(repeated) = repeated(state, run)? {
        return Ok(repeated);
    }
    let prepared = prepare(state, launch)?;
    let member_of = constraints(prepared.definition, &run.member_of, run.distinct_instance)?;
    let strategy = match &run.capacity {
        None => &prepared.cluster.settings.capacity.default_strategy,
        Some(strategy) => strategy,
    };
    if !strategy.is_empty() {
        return by_strategy(state, run, (prepared, &member_of), strategy, at, ids);
    }
    if let Some(wait) = launch.options.wait_ms.filter(|_| may_wait(prepared.cluster, run.count)) {
        let until = Some(at.saturating_add(Duration::from_millis(wait)));
        let mut waiting = waiting(run, &prepared, (0, run.count), until, at, ids);
        waiting.client_token = run.client_token.as_ref().map(|token| used(token, Vec::new()));
        return Ok(wait_for_hosts(vec![waiting], Vec::new()));
    }
    if prepared.cluster.registered_hosts == 0 {
        return Err(TaskRejection::NoContainerInstances.into());
    }
    let placement = prepared.cluster.index.place(&placement::Request {
        demand: &prepared.demand,
        required_attributes: &prepared.required,
        member_of: MemberOf {
            constraints: &member_of,
            own_group: &prepared.group,
            groups: state.groups(),
        },
        distinct_instance: run.distinct_instance,
        strategies: &run.strategies,
        group: state.group_key(&prepared.group).unwrap_or(NEW_GROUP),
        count: run.count,
        images: &prepared.definition.images,
        earlier: Taken::nothing(),
        entropy: ids.entropy(),
    });
    let hosts = placement.hosts.iter().map(|&slot| state.host_at(slot)).collect();
    let mut failures = Vec::new();
    if let Some(unplaced) = &placement.unplaced {
        let mut failure = unplaced_failure(state, unplaced);
        if launch.options.wait_ms.is_some() {
            failure.detail.push_str(&cannot_wait(prepared.cluster));
        }
        failures = vec![failure; unplaced.count as usize];
    }
    let token = run.client_token.as_ref().map(|token| used(token, failures.clone()));
    Ok(started(launch, prepared, asked(run), (hosts, failures), token, at, ids))
}

fn asked(run: &RunTask) -> Option<AskedPlacement> {
    AskedPlacement::new(run.distinct_instance, &run.member_of, &run.strategies)
}

fn may_wait(cluster: &Cluster, count: u32) -> bool {
    cluster.waiting_tasks.len() + count as usize <= WAITING_TASKS_MAX
}

fn cannot_wait(cluster: &Cluster) -> String {
    format!(
        "; it cannot wait, because {} tasks wait in this cluster already and {WAITING_TASKS_MAX} may",
        cluster.waiting_tasks.len()
    )
}

fn unplaced_failure(state: &State, unplaced: &Unplaced) -> FailedPlacement {
    let reason = unplaced.reason().map_or("RESOURCE", |reason| reason.as_ecs());
    let host = unplaced.closest.as_ref().map(|(slot, _)| state.host_at(*slot).id);
    let detail = unplaced.sentence(|slot| state.host_at(slot).id.to_string());
    FailedPlacement { host, reason: reason.to_owned(), detail }
}

/// Tasks of a call with capacity providers: each provider gets its share (ecs-behaviour 1.15).
/// Tasks of a provider whose group follows its tasks wait for hosts; of other providers' tasks,
/// those without room fail, as any task does.
fn by_strategy(
    state: &State,
    run: &RunTask,
    (prepared, member_of): (Prepared<'_>, &[Constraint]),
    strategy: &[StrategyItem],
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let providers = &prepared.cluster.settings.capacity.providers;
    capacity_providers::check_strategy(state, strategy, providers)?;
    let wait = run.launch.options.wait_ms.map(Duration::from_millis);
    let (mut launches, mut failures) = (Vec::new(), Vec::new());
    let mut first = 0;
    // Providers may share hosts: each sees what those before it took.
    let mut taken = Taken::default();
    let group = state.group_key(&prepared.group).unwrap_or(NEW_GROUP);
    let shares = strategy::split(strategy, &vec![0; strategy.len()], run.count);
    for (item, &share) in strategy.iter().zip(&shares).filter(|(_, share)| **share > 0) {
        let provider = &item.provider;
        let waits = wait.is_some() || state.managed_group(provider).is_some();
        let until = match (waits, wait) {
            (true, None) => None,
            (true, Some(wait)) => Some(at.saturating_add(wait)),
            // There is room for these: they are placed at once.
            (false, _) => Some(at.saturating_add(PLACED_WITHIN)),
        };
        let mut placed = share;
        if waits && !may_wait(prepared.cluster, run.count) {
            placed = 0;
            let detail = format!(
                "the capacity provider {provider} has no room now{}",
                cannot_wait(prepared.cluster)
            );
            let failure = FailedPlacement { host: None, reason: "RESOURCE".to_owned(), detail };
            failures.extend(vec![failure; share as usize]);
        } else if !waits {
            let mut required = prepared.required.clone();
            required.push(state.provider_attribute(provider));
            let placement = prepared.cluster.index.place(&placement::Request {
                demand: &prepared.demand,
                required_attributes: &required,
                member_of: MemberOf {
                    constraints: member_of,
                    own_group: &prepared.group,
                    groups: state.groups(),
                },
                distinct_instance: run.distinct_instance,
                strategies: &run.strategies,
                group,
                count: share,
                images: &prepared.definition.images,
                earlier: &taken,
                entropy: ids.entropy(),
            });
            placed = placement.hosts.len() as u32;
            for slot in &placement.hosts {
                taken.add(*slot, &prepared.demand, group);
            }
            if let Some(unplaced) = &placement.unplaced {
                let failure = unplaced_failure(state, unplaced);
                failures.extend(vec![failure; unplaced.count as usize]);
            }
        }
        if placed > 0 {
            let waiting = waiting(run, &prepared, (first, placed), until, at, ids);
            launches.push(TasksWaiting { provider: Some(provider.clone()), ..waiting });
            first += placed;
        }
    }
    let shared_out: u32 = shares.iter().sum();
    if shared_out < run.count {
        let detail = strategy::no_weight(strategy);
        let failure = FailedPlacement { host: None, reason: "RESOURCE".to_owned(), detail };
        failures.extend(vec![failure; (run.count - shared_out) as usize]);
    }
    let mut token = run.client_token.as_ref().map(|token| used(token, failures.clone()));
    let Some((last, earlier)) = launches.split_last_mut() else {
        let nowhere = (Vec::new(), failures);
        return Ok(started(&run.launch, prepared, None, nowhere, token, at, ids));
    };
    if let Some(token) = &mut token {
        token.others = earlier.iter().flat_map(|l| &l.tasks).map(|waiting| waiting.task).collect();
    }
    last.client_token = token;
    Ok(wait_for_hosts(launches, failures))
}

/// All tasks of a call wait at first, be there room or not: the scheduler places them at once, and
/// there is one way to a host and not two.
fn wait_for_hosts(launches: Vec<TasksWaiting>, failures: Vec<FailedPlacement>) -> Decision {
    let tasks = launches.iter().flat_map(|l| &l.tasks).map(|waiting| waiting.task).collect();
    let event = |launch| Event::Waiting(WaitingEvent::TasksWaiting(Box::new(launch)));
    Decision::with(launches.into_iter().map(event).collect(), Answer::Tasks { tasks, failures })
}

/// `count` tasks of a call, those before `first` apart.
fn waiting(
    run: &RunTask,
    prepared: &Prepared<'_>,
    (first, count): (u32, u32),
    until: Option<Timestamp>,
    at: Timestamp,
    ids: Ids,
) -> TasksWaiting {
    let containers = prepared.definition.definition.spec.container_definitions.len() as u64;
    let mut next = u64::from(first) * (1 + containers)..;
    let mut id = || ids.nth(next.next().unwrap_or_default());
    let tasks: Vec<WaitingTask> = (0..count)
        .map(|_| WaitingTask {
            task: TaskId::new(id()),
            containers: (0..containers).map(|_| ContainerId(TaskId::new(id()))).collect(),
        })
        .collect();
    let launch = &run.launch;
    TasksWaiting {
        launch: tasks[0].task,
        cluster: launch.cluster.clone(),
        family: prepared.definition.family.clone(),
        revision: prepared.definition.definition.revision,
        group: prepared.group.clone(),
        started_by: launch.started_by.clone(),
        overrides: launch.overrides.clone(),
        demand: prepared.demand.clone(),
        tags: prepared.tags.clone(),
        tasks,
        distinct_instance: run.distinct_instance,
        member_of: run.member_of.clone(),
        strategies: run.strategies.clone(),
        until,
        timeout_ms: launch.options.timeout_ms,
        provider: None,
        attachments: launch.options.attachments.clone(),
        client_token: None,
        asked_seq: 0,
        at,
    }
}

fn used(token: &ClientToken, failures: Vec<FailedPlacement>) -> UsedClientToken {
    UsedClientToken {
        token: token.token.clone(),
        parameters_hash: token.parameters_hash,
        failures,
        others: Vec::new(),
    }
}

/// The constraints of a task definition and those given with it, at most
/// [`PLACEMENT_CONSTRAINTS_MAX`] (ecs-behaviour 1.5).
pub(super) fn constraints(
    definition: &Definition,
    given: &[Constraint],
    distinct_instance: bool,
) -> Result<Vec<Constraint>, Rejection> {
    let all = [&definition.member_of[..], given].concat();
    let would_be = all.len() + usize::from(distinct_instance);
    match would_be > PLACEMENT_CONSTRAINTS_MAX {
        true => {
            let limit = PLACEMENT_CONSTRAINTS_MAX;
            Err(TaskRejection::TooManyPlacementConstraints { limit, would_be }.into())
        }
        false => Ok(all),
    }
}

/// The first answer again, when this client token has been used for the same call.
fn repeated(state: &State, run: &RunTask) -> Result<Option<Decision>, Rejection> {
    let cluster = &run.launch.cluster;
    let Some(token) = &run.client_token else { return Ok(None) };
    let Some(earlier) = state.client_token(cluster, &token.token) else { return Ok(None) };
    if earlier.used.parameters_hash != token.parameters_hash {
        let (task_ids, cluster) = (earlier.tasks.clone(), cluster.clone());
        return Err(TaskRejection::ClientTokenConflict { task_ids, cluster }.into());
    }
    let (tasks, failures) = (earlier.tasks.clone(), earlier.used.failures.clone());
    Ok(Some(Decision::with(vec![], Answer::Tasks { tasks, failures })))
}

/// The caller chose the hosts; they are only checked (ecs-behaviour 1.5).
fn start(state: &State, start: &StartTask, at: Timestamp, ids: Ids) -> Result<Decision, Rejection> {
    let prepared = prepare(state, &start.launch)?;
    let mut hosts: Vec<&Host> = Vec::new();
    let mut failures = Vec::new();
    for &id in &start.hosts {
        let found = state.host_in(prepared.cluster, id);
        let Some(host) = found else {
            let detail = format!("{id} is not a container instance of this cluster");
            failures.push(FailedPlacement { host: Some(id), reason: "MISSING".into(), detail });
            continue;
        };
        if hosts.iter().any(|chosen| chosen.id == id) {
            return Err(HostRejection::ContainerInstanceTwice(id).into());
        }
        match prepared.cluster.index.check(host.slot, &prepared.demand, &prepared.required) {
            Ok(()) => hosts.push(host),
            Err(unfit) => failures.push(unfit_failure(id, &unfit)),
        }
    }
    Ok(started(&start.launch, prepared, None, (hosts, failures), None, at, ids))
}

fn unfit_failure(host: HostId, unfit: &[Unfit]) -> FailedPlacement {
    let reason = unfit.first().map_or("RESOURCE", |first| first.reason().as_ecs());
    let lacks: Vec<String> = unfit.iter().map(Unfit::to_string).collect();
    let detail = format!("the container instance {host} {}", lacks.join(" and "));
    FailedPlacement { host: Some(host), reason: reason.to_owned(), detail }
}

pub(super) fn prepare<'a>(
    state: &'a State,
    launch: &TaskLaunch,
) -> Result<Prepared<'a>, Rejection> {
    let cluster = gate::cluster(state, &launch.cluster)?;
    let definition = gate::definition(state, &launch.definition)?;
    let (family, revision) = (&definition.family, definition.definition.revision);
    let spec = &definition.definition.spec;
    for container in &launch.overrides.container_overrides {
        let name = container.name.as_deref().unwrap_or_default();
        if !spec.container_definitions.iter().any(|c| c.name == name) {
            return Err(TaskRejection::InvalidOverride(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            ))
            .into());
        }
    }
    task_definitions::allowed(state, spec)?;
    let needs = needs_not_honoured(spec, &launch.overrides);
    if !needs.is_empty() {
        let (family, needs) = (family.clone(), needs.join(", "));
        return Err(DefinitionRejection::NotHonoured { family, revision, needs }.into());
    }
    let mut tags = Tags::new();
    if launch.propagate_tags {
        tags.extend(definition.tags.clone());
    }
    tags.extend(launch.tags.clone());
    if launch.managed_tags {
        tags.insert("aws:ecs:clusterName".to_owned(), cluster.name.as_str().to_owned());
    }
    Ok(Prepared {
        cluster,
        definition,
        demand: demand(spec, &launch.overrides),
        required: required_attributes(definition),
        group: launch.group.clone().unwrap_or_else(|| format!("family:{family}")),
        tags,
        log_driver_mode: state.account_settings().log_driver_mode(),
    })
}

fn started(
    launch: &TaskLaunch,
    prepared: Prepared<'_>,
    asked: Option<AskedPlacement>,
    (hosts, failures): (Vec<&Host>, Vec<FailedPlacement>),
    client_token: Option<UsedClientToken>,
    at: Timestamp,
    ids: Ids,
) -> Decision {
    let tasks = placed_on(prepared.definition, &hosts, ids);
    let answer =
        Answer::Tasks { tasks: tasks.iter().map(|placed| placed.task).collect(), failures };
    if tasks.is_empty() && client_token.is_none() {
        return Decision::with(vec![], answer);
    }
    let event = Event::Task(TaskEvent::TasksStarted(Box::new(TasksStarted {
        cluster: launch.cluster.clone(),
        family: prepared.definition.family.clone(),
        revision: prepared.definition.definition.revision,
        group: prepared.group,
        started_by: launch.started_by.clone(),
        overrides: launch.overrides.clone(),
        demand: prepared.demand,
        tags: prepared.tags,
        tasks,
        client_token,
        service: None,
        timeout_ms: launch.options.timeout_ms,
        waited: None,
        provider: None,
        asked,
        log_driver_mode: Some(prepared.log_driver_mode),
        attachments: launch.options.attachments.clone(),
        at,
    })));
    Decision::with(vec![event], answer)
}

/// Stopping a task that is stopping changes nothing, as in ECS. One that has stopped is history:
/// the API looks there before it says that there is no such task.
fn stop(
    state: &State,
    cluster: &ClusterName,
    id: TaskId,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let in_cluster = gate::cluster(state, cluster)?;
    let reason = reason.unwrap_or("Task stopped by user");
    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
    let cause = StopCause { code: StopCode::UserInitiated, reason };
    if let Some(&slot) = in_cluster.waiting_tasks.get(&id) {
        let launch = state.waiting_at(slot).launch.launch;
        let event =
            Event::Waiting(WaitingEvent::WaitingTasksEnded { launch, tasks: vec![id], cause, at });
        return Ok(Decision::of(vec![event]));
    }
    let found = state.task(id).filter(|t| in_cluster.tasks.contains_key(&t.id));
    let task = found.ok_or(TaskRejection::TaskNotFound(id))?;
    match task.wish {
        Wish::Stop { .. } => Ok(Decision::default()),
        Wish::Run => Ok(Decision::of(vec![Event::Task(TaskEvent::TaskStopRequested {
            task: id,
            cause,
            at,
        })])),
    }
}
