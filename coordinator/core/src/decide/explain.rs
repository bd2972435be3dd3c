//! Dry runs: where tasks would go, and why not all of them, from the very placement that would
//! place them. Reads the state and decides nothing: no event, and nothing is reserved.

use longshore_common::{protocol::Attribute, resources::Demand, task::TaskOverride};

use super::{gate, services, tasks};
use crate::{
    command::{RunTask, UpdateService},
    launch::{
        demand::demand,
        request::{NEW_GROUP, required_attributes},
    },
    model::{
        capacity_provider::StrategyItem, name::CapacityProviderName, service::ServiceConfig,
        strategy,
    },
    placement::{GroupKey, HostSlot, MemberOf, Reason, Request, Strategy, Taken, Unfit},
    query::Constraint,
    rejection::{Rejection, ServiceRejection},
    state::{Cluster, Definition, Service, Standing, State, Task, Waiting},
};

/// Maximum number of tasks for which room is counted (ours), which bounds the time under the
/// state's lock.
pub const EXPLAINED_TASKS_MAX: u32 = 500;
/// Maximum number of hosts that an answer names when there is no room for the next task (ours).
pub const CLOSEST_MAX: usize = 5;

/// Where tasks would go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// The capacity provider whose hosts alone are looked at, where a strategy chooses the tasks'
    /// providers.
    pub provider: Option<CapacityProviderName>,
    pub asked: u32,
    /// Number of tasks for which there is room, of those asked for and beyond, up to
    /// [`EXPLAINED_TASKS_MAX`].
    pub room: u32,
    /// One host for each task asked for that has one. Among equally good hosts the choice is
    /// chance's, when the tasks are really placed too.
    pub chosen: Vec<HostSlot>,
    /// Container instances in the cluster.
    pub hosts: u32,
    /// Why there is no room for one more than `room`: how many hosts fail for what first.
    pub reasons: Vec<(Reason, u32)>,
    /// The hosts that come closest to taking one more, and all that each lacks.
    pub closest: Vec<(HostSlot, Vec<Unfit>)>,
}

/// What a task asks of its host.
#[derive(Clone)]
struct Asked {
    demand: Demand,
    required: Vec<Attribute>,
    member_of: Vec<Constraint>,
    images: Vec<String>,
    group_name: String,
    group: GroupKey,
}

/// Shows how RunTask would place its tasks now: the share of each capacity provider by itself, as
/// placement takes them.
pub fn run_task(state: &State, run: &RunTask, entropy: u64) -> Result<Vec<DryRun>, Rejection> {
    let prepared = tasks::prepare(state, &run.launch)?;
    let (distinct_instance, definition) = (run.distinct_instance, prepared.definition);
    let strategy = run.capacity.as_ref();
    let strategy = strategy.unwrap_or(&prepared.cluster.settings.capacity.default_strategy);
    let asked = Asked {
        member_of: tasks::constraints(definition, &run.member_of, distinct_instance)?,
        demand: prepared.demand,
        required: prepared.required,
        images: prepared.definition.images.clone(),
        group: state.group_key(&prepared.group).unwrap_or(NEW_GROUP),
        group_name: prepared.group,
    };
    let (cluster, strategies) = (prepared.cluster, &run.strategies[..]);
    let nothing_yet = vec![0; strategy.len()];
    let shares = shares(strategy, &nothing_yet, run.count);
    Ok(by_provider(state, cluster, (&asked, distinct_instance, strategies), shares, entropy))
}

/// How many of `count` tasks each provider of a strategy gets, or how many are without one.
fn shares<'a>(
    strategy: &'a [StrategyItem],
    placed: &[u32],
    count: u32,
) -> impl Iterator<Item = (Option<&'a CapacityProviderName>, u32)> {
    let of_none = strategy.is_empty().then_some((None, count));
    let shares = strategy::split(strategy, placed, count);
    of_none.into_iter().chain(strategy.iter().map(|item| Some(&item.provider)).zip(shares))
}

/// Shows how tasks that wait for hosts would be placed now.
pub fn waiting(state: &State, waiting: &Waiting, entropy: u64) -> DryRun {
    let launch = &waiting.launch;
    let definition = state.definition_at(waiting.definition);
    let asked = Asked {
        demand: launch.demand.clone(),
        required: required_attributes(definition),
        images: definition.images.clone(),
        member_of: [&definition.member_of[..], &launch.member_of[..]].concat(),
        group: state.group_key(&launch.group).unwrap_or(NEW_GROUP),
        group_name: launch.group.clone(),
    };
    let provider = launch.provider.as_ref();
    let asked = asked.of_provider(state, provider);
    let (distinct, nothing) = (launch.distinct_instance, Taken::nothing());
    let request = asked.request(state, distinct, &launch.strategies, nothing, entropy);
    let run = dry_run(state.cluster_at(waiting.cluster), &request, launch.tasks.len() as u32);
    DryRun { provider: provider.cloned(), ..run }
}

/// Shows how a service would place the tasks that it lacks now, or would lack after such an update.
/// What an update would stop makes no room here.
pub fn service(
    state: &State,
    update: &UpdateService,
    entropy: u64,
) -> Result<Vec<DryRun>, Rejection> {
    let service = gate::service(state, &update.service)?;
    let config = services::changed(&service.config, update);
    let current = service.primary();
    let definition = match (&update.definition, current) {
        (Some(definition), _) => services::usable(state, definition)?,
        (None, Some(primary)) => state.definition_at(primary.definition),
        (None, None) => return Err(ServiceRejection::ServiceNeedsDefinition.into()),
    };
    services::check_constraints(definition, &config)?;
    let is_current = current.is_some_and(|primary| {
        let now = state.definition_at(primary.definition);
        now.family == definition.family && now.definition.revision == definition.definition.revision
    });
    let current = current.filter(|_| is_current);
    let has = current.map_or(0, |primary| {
        Standing::WANTED.iter().map(|standing| primary.counts.of(*standing)).sum()
    });
    let images = match current {
        Some(primary) => definition.images_by(&primary.record.image_digests).into_owned(),
        None => definition.images.clone(),
    };
    let asked = Asked::of_service(state, service, definition, &config, images);
    let cluster = state.cluster_at(service.cluster);
    let (distinct_instance, strategies) = (config.distinct_instance, &config.strategies[..]);
    if service.is_daemon() {
        let nothing = Taken::nothing();
        let request = asked.request(state, distinct_instance, strategies, nothing, entropy);
        return Ok(vec![daemon(cluster, &request)]);
    }
    let of_item = |item: &StrategyItem| current?.by_provider.get(&item.provider).copied();
    let placed: Vec<u32> = config.capacity.iter().map(|item| of_item(item).unwrap_or(0)).collect();
    let shares = shares(&config.capacity, &placed, config.desired.saturating_sub(has));
    Ok(by_provider(state, cluster, (&asked, distinct_instance, strategies), shares, entropy))
}

/// What becomes of each share, one after the other: providers may share hosts.
fn by_provider<'a>(
    state: &State,
    cluster: &Cluster,
    (asked, distinct_instance, strategies): (&Asked, bool, &[Strategy]),
    shares: impl Iterator<Item = (Option<&'a CapacityProviderName>, u32)>,
    entropy: u64,
) -> Vec<DryRun> {
    let mut taken = Taken::default();
    let mut runs = Vec::new();
    for (provider, share) in shares {
        let asked = asked.of_provider(state, provider);
        let request = asked.request(state, distinct_instance, strategies, &taken, entropy);
        let run = dry_run(cluster, &request, share);
        run.chosen.iter().for_each(|slot| taken.add(*slot, &asked.demand, asked.group));
        runs.push(DryRun { provider: provider.cloned(), ..run });
    }
    runs
}

/// See [`asked_of`].
pub struct AskedOf<'a> {
    pub required: Vec<Attribute>,
    pub member_of: Vec<Constraint>,
    pub distinct_instance: bool,
    pub strategies: &'a [Strategy],
}

/// What was asked of the host of a placed task: by its definition, its capacity provider and its call,
/// or its service as it is now.
pub fn asked_of<'a>(state: &'a State, task: &'a Task) -> AskedOf<'a> {
    let definition = state.definition_at(task.definition);
    let (distinct_instance, member_of, strategies) = match (&task.service, &task.asked) {
        (Some(of), _) => {
            let config = &state.service_at(of.service).config;
            (config.distinct_instance, &config.member_of[..], &config.strategies[..])
        }
        (None, Some(call)) => (call.distinct_instance, &call.member_of[..], &call.strategies[..]),
        (None, None) => (false, &[][..], &[][..]),
    };
    let mut required = required_attributes(definition);
    required.extend(task.provider.as_ref().map(|provider| state.provider_attribute(provider)));
    let member_of = [&definition.member_of[..], member_of].concat();
    AskedOf { required, member_of, distinct_instance, strategies }
}

impl Asked {
    fn of_service(
        state: &State,
        service: &Service,
        definition: &Definition,
        config: &ServiceConfig,
        images: Vec<String>,
    ) -> Asked {
        let group_name = service.group();
        Asked {
            demand: demand(&definition.definition.spec, &TaskOverride::default()),
            required: required_attributes(definition),
            member_of: [&definition.member_of[..], &config.member_of[..]].concat(),
            images,
            group: state.group_key(&group_name).unwrap_or(NEW_GROUP),
            group_name,
        }
    }

    /// The same task, to be placed on the hosts of this provider.
    fn of_provider(&self, state: &State, provider: Option<&CapacityProviderName>) -> Asked {
        let mut asked = self.clone();
        asked.required.extend(provider.map(|provider| state.provider_attribute(provider)));
        asked
    }

    fn request<'a>(
        &'a self,
        state: &'a State,
        distinct_instance: bool,
        strategies: &'a [Strategy],
        earlier: &'a Taken,
        entropy: u64,
    ) -> Request<'a> {
        Request {
            demand: &self.demand,
            required_attributes: &self.required,
            member_of: MemberOf {
                constraints: &self.member_of,
                own_group: &self.group_name,
                groups: state.groups(),
            },
            distinct_instance,
            strategies,
            group: self.group,
            count: EXPLAINED_TASKS_MAX,
            images: &self.images,
            earlier,
            entropy,
        }
    }
}

/// Tasks are placed one after the other, so the first ones asked for are the first ones placed.
fn dry_run(cluster: &Cluster, request: &Request<'_>, asked: u32) -> DryRun {
    let explained = cluster.index.explain(request, CLOSEST_MAX);
    let mut chosen = explained.placement.hosts;
    let room = chosen.len() as u32;
    chosen.truncate(asked as usize);
    let reasons = explained.placement.unplaced.map(|unplaced| unplaced.reasons).unwrap_or_default();
    let (hosts, closest) = (cluster.index.len() as u32, explained.closest);
    DryRun { provider: None, asked, room, chosen, hosts, reasons, closest }
}

/// One task on each host that has none and may have one.
fn daemon(cluster: &Cluster, request: &Request<'_>) -> DryRun {
    let index = &cluster.index;
    let bare = index.uncovered(request, EXPLAINED_TASKS_MAX as usize);
    let mut run =
        DryRun { asked: bare.len() as u32, hosts: index.len() as u32, ..DryRun::default() };
    for slot in bare {
        match index.check(slot, request.demand, request.required_attributes) {
            Ok(()) => run.chosen.push(slot),
            Err(unfit) => {
                let first = unfit.first().map(Unfit::reason);
                match run.reasons.iter_mut().find(|(reason, _)| Some(*reason) == first) {
                    Some((_, hosts)) => *hosts += 1,
                    None => run.reasons.extend(first.map(|reason| (reason, 1))),
                }
                if run.closest.len() < CLOSEST_MAX {
                    run.closest.push((slot, unfit));
                }
            }
        }
    }
    run.reasons.sort_unstable();
    run.room = run.chosen.len() as u32;
    run
}
