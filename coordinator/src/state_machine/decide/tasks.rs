//! RunTask, StartTask, StopTask.

mod demand;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    limits::REASON_CHARS_MAX,
    protocol::{Attribute, ContainerId},
    resources::Demand,
    task::{StopCause, StopCode},
    task_definition::CpuArchitecture,
};

pub(in crate::state_machine) use self::demand::demand;
use super::{Answer, Decision, clusters, honoured::needs_not_honoured, ids::Ids, task_definitions};
use crate::{
    placement::{self, GroupKey, MemberOf, Unfit},
    query::Constraint,
    state_machine::{
        command::{RunTask, StartTask, Tags, TaskLaunch},
        event::{Event, FailedPlacement, PlacedTask, TasksStarted, UsedClientToken},
        name::ClusterName,
        rejection::Rejection,
        state::{Cluster, Definition, DefinitionStatus, Host, State, Wish},
    },
};

/// Tasks that one step of a list looks at: bounds the time under the state's lock.
pub const CLUSTER_TASKS_LISTED_MAX: usize = 5_000;

/// Of one task, from its definition and from who runs it (ecs-behaviour 1.5).
pub const PLACEMENT_CONSTRAINTS_MAX: usize = 10;

/// A group that no task is in yet: no host counts for it.
pub(in crate::state_machine) const NEW_GROUP: GroupKey = GroupKey(u32::MAX);

/// One task that has no host: an entry of ECS's `failures[]`.
pub type PlacementFailure = FailedPlacement;

/// What RunTask and StartTask settle before they look at hosts.
pub(super) struct Prepared<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) definition: &'a Definition,
    pub(super) demand: Demand,
    pub(super) required: Vec<Attribute>,
    pub(super) group: String,
    tags: Tags,
}

pub(super) fn run(
    state: &State,
    run: &RunTask,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let launch = &run.launch;
    if let Some(repeated) = repeated(state, run)? {
        return Ok(repeated);
    }
    let prepared = prepare(state, launch)?;
    if prepared.cluster.registered_hosts == 0 {
        return Err(Rejection::NoContainerInstances);
    }
    let member_of = constraints(prepared.definition, &run.member_of, run.distinct_instance)?;
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
        entropy: ids.entropy(),
    });
    let hosts = placement.hosts.iter().map(|&slot| state.host_at(slot)).collect();
    let mut failures = Vec::new();
    if let Some(unplaced) = &placement.unplaced {
        let reason = unplaced.reason().map_or("RESOURCE", |reason| reason.as_ecs());
        let host = unplaced.closest.as_ref().map(|(slot, _)| state.host_at(*slot).id);
        let detail = unplaced.sentence(|slot| state.host_at(slot).id.to_string());
        let failure = FailedPlacement { host, reason: reason.to_owned(), detail };
        failures = vec![failure; unplaced.count as usize];
    }
    let token = run.client_token.as_ref().map(|token| UsedClientToken {
        token: token.token.clone(),
        parameters_hash: token.parameters_hash,
        failures: failures.clone(),
    });
    Ok(started(launch, prepared, hosts, failures, token, at, ids))
}

/// Those of a task definition and those given with it (ecs-behaviour 1.5: at most so many).
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
            Err(Rejection::TooManyPlacementConstraints { limit, would_be })
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
        return Err(Rejection::ClientTokenConflict { task_ids, cluster });
    }
    let (tasks, failures) = (earlier.tasks.clone(), earlier.used.failures.clone());
    Ok(Some(Decision::with(vec![], Answer::Tasks { tasks, failures })))
}

/// The caller chose the hosts; they are only checked (ecs-behaviour 1.5).
pub(super) fn start(
    state: &State,
    start: &StartTask,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
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
            return Err(Rejection::ContainerInstanceTwice(id));
        }
        match prepared.cluster.index.check(host.slot, &prepared.demand, &prepared.required) {
            Ok(()) => hosts.push(host),
            Err(unfit) => failures.push(unfit_failure(id, &unfit)),
        }
    }
    Ok(started(&start.launch, prepared, hosts, failures, None, at, ids))
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
    let cluster = clusters::active(state, &launch.cluster)?;
    let definition = task_definitions::find(state, &launch.definition)?;
    let (family, revision) = (&definition.family, definition.definition.revision);
    match definition.status {
        DefinitionStatus::Active => {}
        DefinitionStatus::Inactive { .. } | DefinitionStatus::DeleteInProgress { .. } => {
            let family = family.clone();
            return Err(Rejection::TaskDefinitionInactive { family, revision });
        }
    }
    let spec = &definition.definition.spec;
    for container in &launch.overrides.container_overrides {
        let name = container.name.as_deref().unwrap_or_default();
        if !spec.container_definitions.iter().any(|c| c.name == name) {
            return Err(Rejection::InvalidOverride(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
    }
    task_definitions::allowed(state, spec)?;
    let needs = needs_not_honoured(spec, &launch.overrides);
    if !needs.is_empty() {
        let (family, needs) = (family.clone(), needs.join(", "));
        return Err(Rejection::NotHonoured { family, revision, needs });
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
    })
}

/// What a host must have to be given a task of this definition.
pub(in crate::state_machine) fn required_attributes(definition: &Definition) -> Vec<Attribute> {
    let mut required = definition.requires_attributes.clone();
    let spec = &definition.definition.spec;
    let architecture = spec.runtime_platform.as_ref().and_then(|p| p.cpu_architecture);
    if let Some(architecture) = architecture {
        let value = match architecture {
            CpuArchitecture::X86_64 => "x86_64",
            CpuArchitecture::Arm64 => "arm64",
        };
        let name = "ecs.cpu-architecture".to_owned();
        required.push(Attribute { name, value: Some(value.to_owned()) });
    }
    required
}

/// New tasks, one for each of these hosts, with ids for themselves and their containers.
pub(in crate::state_machine) fn placed_on(
    definition: &Definition,
    hosts: &[&Host],
    ids: Ids,
) -> Vec<PlacedTask> {
    let containers = definition.definition.spec.container_definitions.len() as u64;
    let mut next = 0..;
    let mut id = || ids.nth(next.next().unwrap_or_default());
    let placed = |host: &&Host| PlacedTask {
        task: TaskId::new(id()),
        host: host.id,
        containers: (0..containers).map(|_| ContainerId(TaskId::new(id()))).collect(),
    };
    hosts.iter().map(placed).collect()
}

fn started(
    launch: &TaskLaunch,
    prepared: Prepared<'_>,
    hosts: Vec<&Host>,
    failures: Vec<FailedPlacement>,
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
    let event = Event::TasksStarted(Box::new(TasksStarted {
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
        at,
    }));
    Decision::with(vec![event], answer)
}

/// Stopping a task that is stopping changes nothing, as in ECS. One that has stopped is history:
/// the API looks there before it says that there is no such task.
pub(super) fn stop(
    state: &State,
    cluster: &ClusterName,
    id: TaskId,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let in_cluster = clusters::active(state, cluster)?;
    let found = state.task(id).filter(|t| in_cluster.tasks.contains_key(&t.id));
    let task = found.ok_or(Rejection::TaskNotFound(id))?;
    match task.wish {
        Wish::Stop { .. } => Ok(Decision::default()),
        Wish::Run => {
            let reason = reason.unwrap_or("Task stopped by user");
            let reason = reason.chars().take(REASON_CHARS_MAX).collect();
            let cause = StopCause { code: StopCode::UserInitiated, reason };
            Ok(Decision::of(vec![Event::TaskStopRequested { task: id, cause, at }]))
        }
    }
}
