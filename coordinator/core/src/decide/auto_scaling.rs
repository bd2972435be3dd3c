//! Auto Scaling groups: made, changed and deleted by users, and what launchers say of instances.

use longshore_common::{
    clock::Timestamp,
    task::{StopCause, StopCode},
};

use super::{Decision, each_once, gate, machines, missing_instances::is_missing};
use crate::{
    command::AutoScalingCommand,
    event::{AutoScalingEvent, Event, HostEvent, TaskEvent},
    launch::ids::Ids,
    lifecycle::attachment,
    lifecycle::instance::{end as end_instance, set as set_instance},
    model::auto_scaling::{
        AutoScalingGroupName, GROUP_SIZE_MAX, GROUPS_MAX, GroupChange, GroupConfig, GroupTag,
        Instance, InstanceId, LaunchSource, LauncherVerb, Lifecycle, Tries,
    },
    rejection::{AutoScalingRejection, Rejection, TagRejection},
    state::{Group, State},
};

/// Maximum number of tags of one group (Auto Scaling's limit).
const TAGS_MAX: usize = 50;

pub(super) fn decide_auto_scaling(
    state: &State,
    command: &AutoScalingCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        AutoScalingCommand::CreateAutoScalingGroup { name, config } => {
            create(state, name, config, at, ids)
        }
        AutoScalingCommand::UpdateAutoScalingGroup { name, change } => {
            update(state, name, change, at)
        }
        AutoScalingCommand::DeleteAutoScalingGroup { name, force } => {
            delete(state, name, *force, at)
        }
        AutoScalingCommand::SetDesiredCapacity { name, desired, honour_cooldown } => {
            set_desired(state, name, *desired, *honour_cooldown, at)
        }
        AutoScalingCommand::SetInstanceProtection { name, instances, protected } => {
            protect(state, name, instances, *protected)
        }
        AutoScalingCommand::TerminateInstance { instance, decrement } => {
            terminate(state, *instance, *decrement, at)
        }
        AutoScalingCommand::PutGroupTags(tags) => put_tags(state, tags, at),
        AutoScalingCommand::DeleteGroupTags(tags) => delete_tags(state, tags, at),
        AutoScalingCommand::LauncherAnswered { instance, verb, result } => {
            Ok(launcher_answered(state, *instance, *verb, result, at))
        }
        AutoScalingCommand::LauncherListed { launcher, unknown, missing } => {
            Ok(launcher_listed(state, launcher, unknown, missing, at))
        }
        AutoScalingCommand::MachinesListed(listed) => Ok(machines::listed(state, listed, at)),
    }
}

fn create(
    state: &State,
    name: &AutoScalingGroupName,
    config: &GroupConfig,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    if let Some(group) = state.auto_scaling_group(name.as_str()) {
        return Err(match group.deleting {
            true => Rejection::AutoScaling(AutoScalingRejection::GroupDeleting(name.clone())),
            false => Rejection::AutoScaling(AutoScalingRejection::GroupExists(name.clone())),
        });
    }
    if state.auto_scaling_groups_len() >= GROUPS_MAX {
        return Err(AutoScalingRejection::TooManyGroups { limit: GROUPS_MAX }.into());
    }
    check(state, name, config)?;
    let mut uids = (0..).map(|n| ids.nth(n));
    let free = |uid: &u128| {
        let id = InstanceId { group: InstanceId::group_of(*uid), number: 0 };
        state.group_by_prefix(id).is_none()
    };
    let uid = uids.find(free).expect("fewer groups than prefixes");
    let (name, config) = (name.clone(), Box::new(config.clone()));
    Ok(Decision::of(vec![Event::AutoScaling(AutoScalingEvent::AutoScalingGroupCreated {
        name,
        uid,
        config,
        at,
    })]))
}

fn update(
    state: &State,
    name: &AutoScalingGroupName,
    change: &GroupChange,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let group = gate::auto_scaling_group(state, name)?;
    let mut config = group.config.clone();
    let replace = |held: &mut u32, given: Option<u32>| *held = given.unwrap_or(*held);
    replace(&mut config.min, change.min);
    replace(&mut config.max, change.max);
    replace(&mut config.cooldown_s, change.cooldown_s);
    replace(&mut config.grace_s, change.grace_s);
    if let Some(protects) = change.protects_new {
        config.protects_new = protects;
    }
    if let Some(launch) = &change.launch {
        keeps_machines(state, group, launch)?;
        config.launch = launch.clone();
    }
    if let Some(zones) = &change.zones {
        config.zones = zones.clone();
    }
    if let Some(subnets) = &change.subnets {
        config.subnets = (!subnets.is_empty()).then(|| subnets.clone());
    }
    // Auto Scaling moves a desired capacity that was not given into the new bounds.
    config.desired = match change.desired {
        Some(desired) => desired,
        None => config.desired.min(config.max).max(config.min),
    };
    check(state, name, &config)?;
    Ok(configured(group, config, at))
}

fn delete(
    state: &State,
    name: &AutoScalingGroupName,
    force: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let group = found(state, name)?;
    if group.deleting {
        return Ok(Decision::default());
    }
    if !force && !group.instances.is_empty() {
        let count = group.instances.len();
        return Err(AutoScalingRejection::GroupHasInstances { name: name.clone(), count }.into());
    }
    Ok(Decision::of(vec![Event::AutoScaling(AutoScalingEvent::AutoScalingGroupDeleting {
        name: name.clone(),
        at,
    })]))
}

fn set_desired(
    state: &State,
    name: &AutoScalingGroupName,
    desired: u32,
    honour_cooldown: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let group = gate::auto_scaling_group(state, name)?;
    if honour_cooldown && let Some(scaled_at) = group.scaled_at {
        let past = at.since(scaled_at).as_secs();
        if past < u64::from(group.config.cooldown_s) {
            let left_s = u64::from(group.config.cooldown_s) - past;
            return Err(AutoScalingRejection::GroupCoolsDown { name: name.clone(), left_s }.into());
        }
    }
    let config = GroupConfig { desired, ..group.config.clone() };
    check(state, name, &config)?;
    Ok(configured(group, config, at))
}

fn protect(
    state: &State,
    name: &AutoScalingGroupName,
    instances: &[InstanceId],
    protected: bool,
) -> Result<Decision, Rejection> {
    let group = gate::auto_scaling_group(state, name)?;
    let mut events = Vec::new();
    for id in &each_once(instances) {
        let known = state.instance_known_as(*id).filter(|(of, _)| of.slot == group.slot);
        let Some((_, instance)) = known else {
            return Err(AutoScalingRejection::InstanceNotInGroup(*id, name.clone()).into());
        };
        if !matches!(instance.lifecycle, Lifecycle::InService { .. }) {
            return Err(AutoScalingRejection::InstanceNotInService(*id).into());
        }
        if instance.protected != protected {
            let instance = Instance { protected, ..instance.clone() };
            let why = if protected { "protected from scale-in" } else { "protected no longer" };
            events.push(set_instance(group, instance, why));
        }
    }
    Ok(Decision::of(events))
}

/// The group replaces it, unless it is to have one less.
fn terminate(
    state: &State,
    id: InstanceId,
    decrement: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let Some((group, instance)) = state.instance_known_as(id) else {
        return Err(AutoScalingRejection::InstanceNotFound(id).into());
    };
    if !instance.lifecycle.is_wanted() {
        return Ok(Decision::default());
    }
    let mut events = Vec::new();
    if decrement && !group.deleting {
        if group.config.desired <= group.config.min {
            return Err(AutoScalingRejection::InvalidGroup(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                group.config.min
            )).into());
        }
        let config = GroupConfig { desired: group.config.desired - 1, ..group.config.clone() };
        events.extend(configured(group, config, at).events);
    }
    events.push(end_instance(state, group, instance, "a user asked for it", at));
    Ok(Decision::of(events))
}

fn put_tags(
    state: &State,
    tags: &[(AutoScalingGroupName, String, GroupTag)],
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let mut changed = Changed::default();
    for (name, key, tag) in tags {
        changed.of(state, name)?.tags.insert(key.clone(), tag.clone());
    }
    changed.decide(state, at)
}

fn delete_tags(
    state: &State,
    tags: &[(AutoScalingGroupName, String)],
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let mut changed = Changed::default();
    for (name, key) in tags {
        changed.of(state, name)?.tags.remove(key);
    }
    changed.decide(state, at)
}

/// Configurations of several groups as they will be.
#[derive(Default)]
struct Changed(std::collections::BTreeMap<AutoScalingGroupName, GroupConfig>);

impl Changed {
    fn of(
        &mut self,
        state: &State,
        name: &AutoScalingGroupName,
    ) -> Result<&mut GroupConfig, Rejection> {
        let group = gate::auto_scaling_group(state, name)?;
        Ok(self.0.entry(name.clone()).or_insert_with(|| group.config.clone()))
    }

    fn decide(self, state: &State, at: Timestamp) -> Result<Decision, Rejection> {
        let mut events = Vec::new();
        for (name, config) in self.0 {
            if config.tags.len() > TAGS_MAX {
                let would_be = config.tags.len();
                return Err(TagRejection::TooManyTags { limit: TAGS_MAX, would_be }.into());
            }
            events.extend(configured(found(state, &name)?, config, at).events);
        }
        Ok(Decision::of(events))
    }
}

/// What a launcher said of an instance that it was asked for. One that is no longer waited for
/// changes nothing.
fn launcher_answered(
    state: &State,
    id: InstanceId,
    verb: LauncherVerb,
    result: &Result<(), String>,
    at: Timestamp,
) -> Decision {
    let Some((group, instance)) = state.instance(id) else { return Decision::default() };
    let waited_for = instance.call().is_some_and(|(_, waited_for)| waited_for == verb);
    if !waited_for {
        return Decision::default();
    }
    match (verb, result) {
        (_, Err(error)) => {
            let tries = instance.tries.failed(error.clone(), at);
            let failed = match verb {
                LauncherVerb::Launch => "launching it failed",
                LauncherVerb::Terminate => "terminating it failed",
            };
            let seconds = tries.next.since(at).as_secs();
            let why = format!("{failed}, to be tried again in {seconds} s: {error}");
            let instance = Instance { tries, ..instance.clone() };
            Decision::of(vec![set_instance(group, instance, why)])
        }
        (LauncherVerb::Launch, Ok(())) => {
            let launched = instance.turned(Lifecycle::Pending { launched: Some(at) }, at);
            let why = "it is launched and has yet to register";
            Decision::of(vec![set_instance(group, launched, why)])
        }
        (LauncherVerb::Terminate, Ok(())) => {
            let mut events = gone(state, instance, at);
            let group = group.name.clone();
            events.push(Event::AutoScaling(AutoScalingEvent::InstanceGone {
                group,
                instance: id,
                at,
            }));
            Decision::of(events)
        }
    }
}

/// Deregisters the container instances of an instance that is gone; tasks that were left there
/// ended with it.
fn gone(state: &State, instance: &Instance, at: Timestamp) -> Vec<Event> {
    let (mut events, id) = (Vec::new(), instance.known_as());
    for host in state.hosts_of_instance(instance.id) {
        let cause = StopCause {
            code: StopCode::TerminationNotice,
            reason: format!("The instance {id} was terminated by its Auto Scaling group."),
        };
        events.extend(host.tasks.values().map(|slot| {
            let task = state.task_at(*slot);
            Event::Task(TaskEvent::TaskStopped {
                task: task.id,
                cause: attachment::cause_of_end(task, &cause),
                report: None,
                ran_briefly: false,
                at,
            })
        }));
        events.push(Event::Host(HostEvent::HostDeregistered { host: host.id, at }));
    }
    events
}

/// What a launcher's list shows to be wrong: instances that it has and we do not, and the reverse.
fn launcher_listed(
    state: &State,
    launcher: &str,
    unknown: &[InstanceId],
    missing: &[InstanceId],
    at: Timestamp,
) -> Decision {
    let mut events = Vec::new();
    for id in unknown {
        let Some(group) = state.group_by_prefix(*id) else { continue };
        if group.config.launch.launcher() != launcher || group.instances.contains_key(id) {
            continue;
        }
        // A number that was given here was let go here. A later one was given by a journal that is
        // lost: the host may run tasks, and is taken back.
        let (lifecycle, why) = match id.number < group.next_number {
            true => (
                Lifecycle::Terminating { since: at },
                "its launcher still has it though it was terminated",
            ),
            false => (
                Lifecycle::Pending { launched: Some(at) },
                "its launcher has it though this journal did not know of it",
            ),
        };
        let tries = Tries { next: at, ..Tries::default() };
        let found = Instance {
            id: *id,
            lifecycle,
            protected: group.config.protects_new,
            created_at: at,
            host: None,
            tries,
            machine: None,
        };
        events.push(set_instance(group, found, why));
    }
    let missing: Vec<(&Group, &Instance)> = missing
        .iter()
        .filter_map(|id| state.instance(*id))
        .filter(|(group, _)| group.config.launch.launcher() == launcher)
        .collect();
    for (group, instance) in &missing {
        events.extend(is_missing(state, group, instance, &missing, at));
    }
    Decision::of(events)
}

fn found<'a>(state: &'a State, name: &AutoScalingGroupName) -> Result<&'a Group, Rejection> {
    state
        .auto_scaling_group(name.as_str())
        .ok_or_else(|| Rejection::AutoScaling(AutoScalingRejection::GroupNotFound(name.clone())))
}

fn configured(group: &Group, config: GroupConfig, at: Timestamp) -> Decision {
    if config == group.config {
        return Decision::default();
    }
    let (name, config) = (group.name.clone(), Box::new(config));
    Decision::of(vec![Event::AutoScaling(AutoScalingEvent::AutoScalingGroupConfigured {
        name,
        config,
        at,
    })])
}

/// Machines with ids of their own are ended by the launcher that has them, and by no other.
fn keeps_machines(state: &State, group: &Group, launch: &LaunchSource) -> Result<(), Rejection> {
    let names_machines = |launcher: &str| {
        state.capacity_policy().launchers.get(launcher).is_some_and(|known| known.names_machines)
    };
    let (now, then) = (group.config.launch.launcher(), launch.launcher());
    if now == then || group.instances.is_empty() {
        return Ok(());
    }
    match names_machines(now) || names_machines(then) {
        true => Err(AutoScalingRejection::InvalidGroup(format!(
            "The group has instances of the launcher `{now}`, which `{then}` cannot take over. \
             Scale the group to 0 first, or make another group."
        ))
        .into()),
        false => Ok(()),
    }
}

fn check(
    state: &State,
    name: &AutoScalingGroupName,
    config: &GroupConfig,
) -> Result<(), Rejection> {
    let invalid = |message: String| Err(AutoScalingRejection::InvalidGroup(message).into());
    let GroupConfig { min, max, desired, .. } = *config;
    if max > GROUP_SIZE_MAX {
        return invalid(format!(
            "MaxSize is {max}; a group has at most {GROUP_SIZE_MAX} instances."
        ));
    }
    if min > max {
        return invalid(format!("MinSize is {min}; it cannot be above MaxSize, {max}."));
    }
    if desired < min {
        return invalid(format!(
            "The desired capacity is {desired}; it cannot be below MinSize, {min}."
        ));
    }
    if desired > max {
        return invalid(format!(
            "The desired capacity is {desired}; it cannot be above MaxSize, {max}."
        ));
    }
    let launcher = config.launch.launcher();
    let known = &state.capacity_policy().launchers;
    let member = match config.launch {
        LaunchSource::Configuration { .. } => "LaunchConfigurationName",
        LaunchSource::Template { .. } => "LaunchTemplate",
    };
    let holder = state.group_on_machines_of(launcher).filter(|holder| holder.name != *name);
    if let Some(holder) = holder {
        return invalid(format!(
            "{member} is `{launcher}`, which is a group of AWS and serves one group here; {} has it. Add a table [launch.NAME] for another group of AWS.",
            holder.name
        ));
    }
    if !known.contains_key(launcher) {
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        return invalid(match known.is_empty() {
            true => format!(
                "{member} is `{launcher}`: it must name a table [launch.NAME] of the coordinator's settings, and they have none. Add one with the program that launches hosts."
            ),
            false => format!(
                "{member} is `{launcher}`: it must name a table [launch.NAME] of the coordinator's settings. They have: {}.",
                known.join(", ")
            ),
        });
    }
    Ok(())
}
