//! ListTasks: live tasks from the state, stopped ones from the history.

use longshore_common::id::{HostId, TaskId};
use longshore_core::{
    model::{
        capacity_provider::is_fargate,
        name::{CapacityProviderName, ClusterName, Family},
        service::ServiceRef,
    },
    state::{Revision, State, Task, TaskSlot, WaitingSlot},
};
use serde::{Deserialize, Serialize};

use super::view::is_to_stop;
use crate::{
    api::ecs::{identifiers, services, unsupported::LaunchType},
    edge::{context::Api, error::ApiError, page::Page},
    journal::{StoppedEntry, StoppedFilter},
};

/// Maximum number of live tasks that one page looks at (ours), so that a filter that few tasks pass
/// does not hold the state for long. The page may then be short, with a token to continue.
const LOOKED_AT_MAX: usize = 5_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTasksInput {
    cluster: Option<String>,
    container_instance: Option<String>,
    family: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    started_by: Option<String>,
    service_name: Option<String>,
    desired_status: Option<DesiredStatus>,
    launch_type: Option<LaunchType>,
    daemon_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum DesiredStatus {
    Running,
    Pending,
    Stopped,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTasksOutput {
    task_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Which tasks are wanted; absent members do not restrict.
struct Filter {
    cluster: ClusterName,
    host: Option<HostId>,
    family: Option<Family>,
    service: Option<ServiceRef>,
    started_by: Option<String>,
    to_stop: bool,
    launch_type: Option<LaunchType>,
}

/// Where a list continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cursor {
    Start,
    /// The list continues after this live task.
    Live(TaskId),
    /// The list continues after every live task, and after this stopped one, if any.
    Stopped(Option<StoppedEntry>),
}

pub(crate) async fn list(api: &Api, input: ListTasksInput) -> Result<ListTasksOutput, ApiError> {
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let cursor = page.after.as_deref().map_or(Ok(Cursor::Start), Cursor::parse)?;
    let status = input.desired_status.unwrap_or(DesiredStatus::Running);
    let Some(filter) = parse_filter(api, input, status)? else {
        return Ok(ListTasksOutput { task_arns: Vec::new(), next_token: None });
    };
    let cluster = filter.cluster.clone();
    let (mut ids, mut next) = match cursor {
        Cursor::Stopped(_) => (Vec::new(), Some(cursor)),
        Cursor::Start | Cursor::Live(_) => {
            let live = |state: &State| live(state, &filter, cursor, page.size);
            api.read(live).await?.map_err(|no_page| match no_page {
                NoPage::ClusterNotFound => ApiError::cluster_not_found(),
                NoPage::ServiceNotFound => services::not_found(),
            })?
        }
    };
    // ECS sets no task's desired status to PENDING.
    if status == DesiredStatus::Pending {
        return Ok(ListTasksOutput { task_arns: Vec::new(), next_token: None });
    }
    if let Some(Cursor::Stopped(before)) = next {
        let room = page.size - ids.len();
        (ids, next) = stopped(api, &filter, before, ids, room).await?;
    }
    let arn = |id: TaskId| api.identity.task(cluster.as_str(), id);
    Ok(ListTasksOutput {
        task_arns: ids.into_iter().map(arn).collect(),
        next_token: next.map(|next| page.token(&next.to_string())),
    })
}

/// `None`: no task can be wanted.
fn parse_filter(
    api: &Api,
    input: ListTasksInput,
    status: DesiredStatus,
) -> Result<Option<Filter>, ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (instance, family) = (given(input.container_instance), given(input.family));
    let started_by = given(input.started_by);
    let service_name = given(input.service_name);
    if let Some(name) = given(input.daemon_name) {
        return Err(ApiError::invalid_parameter(format!(
            "The daemon `{name}` was not found: this release of Longshore has no managed daemons. \
             Filter by family or startedBy."
        )));
    }
    let others = instance.is_some()
        || family.is_some()
        || service_name.is_some()
        || input.launch_type.is_some();
    if started_by.is_some() && others {
        return Err(ApiError::invalid_parameter(
            "cannot specify startedBy with any other filter: leave containerInstance, family, \
             serviceName and launchType out.",
        ));
    }
    let service = match service_name {
        None => None,
        Some(given) => match identifiers::service(&api.identity, &cluster, &given)? {
            Some(service) => Some(service),
            None => return Err(services::not_found()),
        },
    };
    let host = match instance {
        None => None,
        Some(given) => match identifiers::container_instance(&api.identity, &cluster, &given)? {
            Some(host) => Some(host),
            None => return Ok(None),
        },
    };
    let family = match family {
        None => None,
        Some(given) => Some(given.parse().map_err(|_| {
            ApiError::invalid_parameter(format!(
                "`{given}` is not a family: give its name, without a revision."
            ))
        })?),
    };
    let to_stop = status == DesiredStatus::Stopped;
    let launch_type = input.launch_type;
    Ok(Some(Filter { cluster, host, family, service, started_by, to_stop, launch_type }))
}

impl Filter {
    /// Where the list continues after the live tasks: those that stopped come after those that
    /// stop.
    fn end(&self) -> Option<Cursor> {
        self.to_stop.then_some(Cursor::Stopped(None))
    }

    fn takes(&self, state: &State, listed: Listed) -> bool {
        match listed {
            Listed::Placed(slot) => self.takes_placed(state, state.task_at(slot)),
            Listed::Waiting(slot) => {
                let launch = &state.waiting_at(slot).launch;
                let family = self.family.as_ref();
                !self.to_stop
                    && self.runs_as(launch.provider.as_ref())
                    && family.is_none_or(|family| launch.family == *family)
                    && self.is_started_by(launch.started_by.as_deref())
            }
        }
    }

    /// Whether a task of this capacity provider has the launch type.
    fn runs_as(&self, provider: Option<&CapacityProviderName>) -> bool {
        let own = match provider.is_some_and(|provider| is_fargate(provider.as_str())) {
            true => LaunchType::Fargate,
            false => LaunchType::Ec2,
        };
        self.launch_type.is_none_or(|asked| asked == own)
    }

    fn is_started_by(&self, started_by: Option<&str>) -> bool {
        self.started_by.as_deref().is_none_or(|wanted| started_by == Some(wanted))
    }

    fn takes_placed(&self, state: &State, task: &Task) -> bool {
        is_to_stop(&task.wish, task.phase) == self.to_stop
            && self.runs_as(task.provider.as_ref())
            && self
                .family
                .as_ref()
                .is_none_or(|family| state.definition_at(task.definition).family == *family)
            && self.host.is_none_or(|host| state.host_at(task.host).id == host)
            && self.is_started_by(task.started_by.as_deref())
    }
}

/// A task that has not stopped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    Placed(TaskSlot),
    /// The task has no host yet.
    Waiting(WaitingSlot),
}

/// Why no page of live tasks can be made.
enum NoPage {
    ClusterNotFound,
    ServiceNotFound,
}

/// A page of live tasks, in the order of their ids.
fn live(
    state: &State,
    filter: &Filter,
    cursor: Cursor,
    size: usize,
) -> Result<(Vec<TaskId>, Option<Cursor>), NoPage> {
    use std::ops::Bound::{Excluded, Unbounded};
    let cluster = state.cluster(filter.cluster.as_str()).filter(|cluster| cluster.is_active());
    let cluster = cluster.ok_or(NoPage::ClusterNotFound)?;
    let from = match cursor {
        Cursor::Live(last) => Excluded(last),
        Cursor::Start | Cursor::Stopped(_) => Unbounded,
    };
    let range = (from, Unbounded);
    if let Some(named) = &filter.service {
        let service = state.service_named(named).ok_or(NoPage::ServiceNotFound)?;
        // As many of each revision as are looked at: the rest comes after all of these.
        let of_revision = |revision: &'_ Revision| {
            let tasks = revision.tasks.range(range).take(LOOKED_AT_MAX + 1);
            tasks.map(|(&id, &slot)| (id, Listed::Placed(slot))).collect::<Vec<_>>()
        };
        let mut tasks: Vec<_> = service.revisions.iter().flat_map(of_revision).collect();
        tasks.sort_unstable();
        return Ok(page_of(state, filter, tasks.into_iter(), size));
    }
    let tasks = match filter.host.map(|host| state.host_in(cluster, host)) {
        None => &cluster.tasks,
        Some(Some(host)) => &host.tasks,
        Some(None) => return Ok((Vec::new(), filter.end())),
    };
    let placed = tasks.range(range).map(|(&id, &slot)| (id, Listed::Placed(slot)));
    // At most a few hundred of them.
    let mut waiting = match filter.host {
        None => cluster.waiting_tasks.range(range).collect(),
        Some(_) => Vec::new(),
    }
    .into_iter()
    .map(|(&id, &slot)| (id, Listed::Waiting(slot)))
    .peekable();
    let mut placed = placed.peekable();
    let in_order = std::iter::from_fn(|| match (placed.peek(), waiting.peek()) {
        (Some(one), Some(other)) if other < one => waiting.next(),
        (Some(_), _) => placed.next(),
        (None, _) => waiting.next(),
    });
    Ok(page_of(state, filter, in_order, size))
}

fn page_of(
    state: &State,
    filter: &Filter,
    tasks: impl Iterator<Item = (TaskId, Listed)>,
    size: usize,
) -> (Vec<TaskId>, Option<Cursor>) {
    let mut ids = Vec::new();
    let mut last = None;
    for (looked_at, (id, listed)) in tasks.enumerate() {
        if ids.len() == size || looked_at == LOOKED_AT_MAX {
            return (ids, last.map(Cursor::Live));
        }
        if filter.takes(state, listed) {
            ids.push(id);
        }
        last = Some(id);
    }
    (ids, filter.end())
}

/// Fills a page with `room` left from the history.
async fn stopped(
    api: &Api,
    filter: &Filter,
    before: Option<StoppedEntry>,
    mut ids: Vec<TaskId>,
    room: usize,
) -> Result<(Vec<TaskId>, Option<Cursor>), ApiError> {
    if room == 0 {
        return Ok((ids, Some(Cursor::Stopped(before))));
    }
    let entries = api
        .list_stopped(StoppedFilter {
            cluster: filter.cluster.to_string(),
            host: filter.host,
            family: filter.family.as_ref().map(Family::to_string),
            group: filter.service.as_ref().map(|service| format!("service:{}", service.name)),
            started_by: filter.started_by.clone(),
            before,
            limit: room + 1,
        })
        .await?;
    let more = entries.len() > room;
    let last = entries.iter().take(room).next_back().copied();
    let found: Vec<TaskId> = entries.iter().take(room).map(|entry| entry.task).collect();
    // The history lists without launch types: a page may be short, with a token to continue.
    let others: Vec<TaskId> = match filter.launch_type {
        None => Vec::new(),
        Some(_) => {
            let records = api.stopped_tasks(found.clone()).await?;
            let others = records.iter().filter(|record| !filter.runs_as(record.provider.as_ref()));
            others.map(|record| record.id).collect()
        }
    };
    ids.extend(found.into_iter().filter(|id| !others.contains(id)));
    Ok((ids, more.then_some(Cursor::Stopped(last))))
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let parsed = match text.split_once(' ') {
            Some(("live", id)) => id.parse().ok().map(Cursor::Live),
            Some(("stopped", "")) => Some(Cursor::Stopped(None)),
            Some(("stopped", entry)) => entry.split_once(' ').and_then(|(number, task)| {
                let (number, task) = (number.parse().ok()?, task.parse().ok()?);
                Some(Cursor::Stopped(Some(StoppedEntry { number, task })))
            }),
            Some(_) | None => None,
        };
        parsed.ok_or_else(|| ApiError::invalid_parameter("Invalid token."))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cursor::Start => Ok(()),
            Cursor::Live(id) => write!(f, "live {id}"),
            Cursor::Stopped(None) => f.write_str("stopped "),
            Cursor::Stopped(Some(entry)) => write!(f, "stopped {} {}", entry.number, entry.task),
        }
    }
}
