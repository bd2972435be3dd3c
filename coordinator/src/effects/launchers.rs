//! Launches and terminates the instances of Auto Scaling groups, by an operator's programs or by AWS.
//!
//! A program knows three verbs: `launch ID JOIN-TOKEN`, `terminate ID` and `list`, which prints one
//! id a line. Both calls are repeated until they succeed, with the same id, so they must do nothing
//! when it is done already. From time to time the list is compared with what there is to be: what a
//! crash left behind goes, what never came is launched again. What follows from an answer or a list
//! is the state machine's decision. What AWS launches is [`aws`]'s work.

mod aws;
mod exec;
pub mod helper;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Timestamp},
    join_token::CaHash,
};
use longshore_core::{
    Command,
    command::{AutoScalingCommand, TokenCommand},
    model::{
        auto_scaling::{Instance, InstanceId, LauncherVerb, Lifecycle},
        name::ClusterName,
    },
    state::{Group, State},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::exec::CALLS_AT_ONCE_MAX;
use crate::{
    contained::{contained, resume},
    driver::Handle,
    fleet::join::make_token,
    random::Random,
    settings::{Launcher, LauncherKind},
};

/// Interval of asking for a list (ours); what two in a row show to be wrong is put right.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Interval of looking whether the scheduler has begun or is held (ours), which nothing tells.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Interval from one look at an Auto Scaling group of AWS to the next (ours).
const ROUNDS_APART: Duration = Duration::from_secs(2);
/// Maximum number of ids of a list that are looked at (ours): more than all groups of a launcher
/// have.
const LISTED_MAX: usize = 100_000;

/// What launched hosts are told, and by whom they are launched.
#[derive(Clone)]
pub struct Launching {
    pub launchers: BTreeMap<String, Launcher>,
    /// What join tokens pin.
    pub ca: CaHash,
    /// Host and joining port.
    pub coordinator: String,
    /// Where the helper's socket is.
    pub data_dir: PathBuf,
}

impl Launching {
    async fn run(
        &self,
        name: &str,
        launcher: &Launcher,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Result<String, String> {
        let timeout = launcher.timeout;
        match &launcher.kind {
            LauncherKind::Program { path, helper: false } => {
                exec::run(path, arguments, environment, timeout).await
            }
            LauncherKind::Program { helper: true, .. } => {
                let socket = self.data_dir.join(helper::SOCKET_FILE);
                helper::ask(&socket, name, arguments, environment, timeout).await
            }
            LauncherKind::Aws(_) => Err("it runs no program".to_owned()),
        }
    }

    /// The programs by their launcher's name.
    fn programs(&self) -> impl Iterator<Item = &String> {
        let is_program = |launcher: &Launcher| match launcher.kind {
            LauncherKind::Program { .. } => true,
            LauncherKind::Aws(_) => false,
        };
        self.launchers.iter().filter(move |(_, of)| is_program(of)).map(|(name, _)| name)
    }
}

/// How often what happens by itself happens.
#[derive(Clone, Copy)]
struct Pace {
    list_every: Duration,
    look_every: Duration,
    rounds: aws::RoundPace,
}

/// One call, with all that it says.
struct Call {
    launcher: String,
    instance: InstanceId,
    verb: LauncherVerb,
    /// The only cluster that the host can be for, when there is one.
    cluster: Option<ClusterName>,
    environment: Vec<(&'static str, String)>,
}

/// What a launcher had to have when its list was asked for, and what the list was.
#[derive(Default)]
struct Compared {
    unknown: BTreeSet<InstanceId>,
    missing: BTreeSet<InstanceId>,
}

enum Ended {
    Call(InstanceId),
    List(String, Option<Compared>),
    Round(aws::Ended),
}

/// Calls launchers until `shutdown`. A call that was under way when the process ended is made again
/// by the next one.
pub async fn run(
    handle: Handle,
    launching: Launching,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let rounds = aws::RoundPace { apart: ROUNDS_APART, waiting: LOOK_EVERY, idle: LIST_EVERY };
    let pace = Pace { list_every: LIST_EVERY, look_every: LOOK_EVERY, rounds };
    run_at(pace, handle, launching, clock, shutdown).await;
}

async fn run_at(
    pace: Pace,
    handle: Handle,
    launching: Launching,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    if handle.read(|state| warn_of_unknown(state, &launching)).await.is_err()
        || launching.launchers.is_empty()
    {
        return;
    }
    let launching = Arc::new(launching);
    let mut work: JoinSet<Ended> = JoinSet::new();
    let mut under_way = BTreeSet::new();
    let mut lists = Lists::default();
    let mut rounds = aws::Rounds::new(&launching.launchers, pace.rounds, &clock);
    loop {
        let now = clock.wall();
        let room = CALLS_AT_ONCE_MAX.saturating_sub(under_way.len());
        let look = |state: &State| {
            let schedules = state.schedules();
            let rounds_due = if schedules { rounds.due(state, &handle, &clock) } else { vec![] };
            (schedules, due_calls(state, &launching, now, &under_way, room), rounds_due)
        };
        let looked = tokio::select! {
            () = shutdown.cancelled() => return,
            looked = handle.read_to_act(look) => looked,
        };
        let Ok((schedules, (due, next), rounds_due)) = looked else { return };
        for round in rounds_due {
            work.spawn(async move { Ended::Round(round.await) });
        }
        for call in due {
            under_way.insert(call.instance);
            let (handle, launching) = (handle.clone(), launching.clone());
            let clock = clock.clone();
            work.spawn(async move {
                let instance = call.instance;
                let calling = perform(&handle, &launching, &*clock, call);
                contained("call of a launcher", instance, calling).await;
                Ended::Call(instance)
            });
        }
        let lists_due =
            if schedules { lists.due(&launching, now, pace.list_every) } else { vec![] };
        for name in lists_due {
            let (handle, launching) = (handle.clone(), launching.clone());
            work.spawn(async move {
                let comparing = compare(&handle, &launching, &name);
                let compared = contained("list of a launcher", &name, comparing).await;
                Ended::List(name, compared.flatten())
            });
        }
        let next_round = rounds.next(now).filter(|_| schedules);
        let next = next.into_iter().chain(next_round).min();
        let pause = next.map_or(pace.look_every, |at| at.since(now).min(pace.look_every));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = handle.signals().launches() => {}
            Some(ended) = work.join_next() => match ended {
                Ok(Ended::Call(instance)) => {
                    under_way.remove(&instance);
                }
                Ok(Ended::List(name, compared)) => {
                    lists.compared(&handle, name, compared, clock.wall()).await;
                }
                Ok(Ended::Round(ended)) => rounds.ended(ended, clock.wall()),
                // A round that panicked took its memory of the group with it: the coordinator starts
                // again, and asks AWS for all of it.
                Err(broken) => resume(broken),
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Groups outlive the settings: one whose launcher was taken out gets no hosts, and loses none.
fn warn_of_unknown(state: &State, launching: &Launching) {
    for group in state.auto_scaling_groups_from(std::ops::Bound::Unbounded) {
        let launcher = group.config.launch.launcher();
        if !launching.launchers.contains_key(launcher) {
            tracing::warn!(
                group = %group.name, launcher,
                "the settings have no table [launch.{launcher}] for this Auto Scaling group: \
                 nothing is launched or terminated for it. Put the table back, or give the group \
                 another launcher"
            );
        }
        let is_program = launching.programs().any(|name| name == launcher);
        let bound = group.instances.values().filter(|one| one.machine.is_some()).count();
        if is_program && bound > 0 {
            tracing::warn!(
                group = %group.name, launcher, bound,
                "[launch.{launcher}] was of kind \"aws\" when this Auto Scaling group's machines were \
                 launched, and no program can terminate them. Make the table what it was"
            );
        }
    }
}

/// When each launcher was last asked for its list, and what that one showed.
#[derive(Default)]
struct Lists {
    asked: BTreeMap<String, Timestamp>,
    under_way: BTreeSet<String>,
    last: BTreeMap<String, Compared>,
}

impl Lists {
    /// Launchers that are to be asked now; they are under way from now on.
    fn due(&mut self, launching: &Launching, now: Timestamp, every: Duration) -> Vec<String> {
        let is_due = |name: &&String| {
            let asked = self.asked.get(*name);
            asked.is_none_or(|asked| now.since(*asked) >= every) && !self.under_way.contains(*name)
        };
        let due: Vec<String> = launching.programs().filter(is_due).cloned().collect();
        self.under_way.extend(due.iter().cloned());
        due
    }

    /// What this list and the one before it both show is no accident of the moment.
    async fn compared(
        &mut self,
        handle: &Handle,
        name: String,
        compared: Option<Compared>,
        now: Timestamp,
    ) {
        self.under_way.remove(&name);
        self.asked.insert(name.clone(), now);
        let Some(compared) = compared else { return };
        let before = self.last.remove(&name).unwrap_or_default();
        let unknown: Vec<_> = compared.unknown.intersection(&before.unknown).copied().collect();
        let missing: Vec<_> = compared.missing.intersection(&before.missing).copied().collect();
        self.last.insert(name.clone(), compared);
        if !missing.is_empty() {
            let first: Vec<String> = missing.iter().take(5).map(InstanceId::to_string).collect();
            tracing::warn!(
                launcher = %name, count = missing.len(), first = first.join(" "),
                "instances are missing from their launcher's list; those whose agent is heard are \
                 kept, and so are all when half of a group is missing: if they are gone for good, \
                 end them with TerminateInstanceInAutoScalingGroup"
            );
        }
        if !unknown.is_empty() || !missing.is_empty() {
            let listed = Command::AutoScaling(AutoScalingCommand::LauncherListed {
                launcher: name,
                unknown,
                missing,
            });
            // A coordinator that ends asks again when it is back.
            let _ = handle.submit(listed, |_, _| ()).await;
        }
    }
}

/// Calls that are due and not under way, and when the next of the others is.
fn due_calls(
    state: &State,
    launching: &Launching,
    now: Timestamp,
    under_way: &BTreeSet<InstanceId>,
    room: usize,
) -> (Vec<Call>, Option<Timestamp>) {
    let mut due = Vec::new();
    // Nobody launches or terminates by a journal that may be an old one.
    if !state.schedules() {
        return (due, None);
    }
    for (at, group, instance, verb) in state.launcher_calls() {
        if at > now {
            return (due, Some(at));
        }
        let launcher = launching.launchers.get(group.config.launch.launcher());
        let is_program = launcher.is_some_and(|of| matches!(of.kind, LauncherKind::Program { .. }));
        // No program knows a machine of AWS.
        if under_way.contains(&instance.id) || !is_program || instance.machine.is_some() {
            continue;
        }
        if due.len() == room {
            return (due, None);
        }
        due.push(call(state, launching, group, instance, verb));
    }
    (due, None)
}

fn call(
    state: &State,
    launching: &Launching,
    group: &Group,
    instance: &Instance,
    verb: LauncherVerb,
) -> Call {
    let providers: Vec<_> =
        state.providers_of_group(group.name.as_str()).map(|provider| &provider.name).collect();
    let mut clusters = state.clusters_after(None).filter(|cluster| {
        let held = &cluster.settings.capacity.providers;
        cluster.is_active() && held.iter().any(|held| providers.contains(&held))
    });
    let cluster = match (clusters.next(), clusters.next()) {
        (Some(only), None) => Some(only.name.clone()),
        _ => None,
    };
    let config = &group.config;
    let tags: BTreeMap<&str, &str> = config
        .tags
        .iter()
        .filter(|(_, tag)| tag.propagate)
        .map(|(key, tag)| (key.as_str(), tag.value.as_str()))
        .collect();
    let tags = serde_json::to_string(&tags).expect("a map of texts");
    // Named as the agent's own settings, so that a host may be started with them as they are.
    let mut environment = vec![
        ("LONGSHORE_INSTANCE_ID", instance.id.to_string()),
        ("LONGSHORE_COORDINATOR", launching.coordinator.clone()),
        ("LONGSHORE_GROUP", group.name.to_string()),
        ("LONGSHORE_GROUP_TAGS", tags),
    ];
    if let Some(cluster) = &cluster {
        environment.push(("LONGSHORE_CLUSTER", cluster.to_string()));
    }
    if !config.zones.is_empty() {
        environment.push(("LONGSHORE_GROUP_ZONES", config.zones.join(",")));
    }
    if let Some(subnets) = &config.subnets {
        environment.push(("LONGSHORE_GROUP_SUBNETS", subnets.clone()));
    }
    let launcher = config.launch.launcher().to_owned();
    Call { launcher, instance: instance.id, verb, cluster, environment }
}

async fn perform(handle: &Handle, launching: &Launching, clock: &dyn Clock, call: Call) {
    let Some(launcher) = launching.launchers.get(&call.launcher) else { return };
    let (instance, verb) = (call.instance, call.verb);
    let id = instance.to_string();
    tracing::info!(instance = %id, launcher = %call.launcher, ?verb, "calling a launcher");
    let result = match verb {
        LauncherVerb::Terminate => {
            let arguments = ["terminate", &id];
            launching.run(&call.launcher, launcher, &arguments, &call.environment).await
        }
        LauncherVerb::Launch => launch(handle, launching, launcher, clock, &call, &id).await,
    };
    match &result {
        Ok(_) => tracing::info!(instance = %id, ?verb, "a launcher has done its work"),
        Err(why) => tracing::warn!(instance = %id, ?verb, "a launcher failed: {why}"),
    }
    let result = result.map(|_| ());
    let answered =
        Command::AutoScaling(AutoScalingCommand::LauncherAnswered { instance, verb, result });
    // A coordinator that ends asks again when it is back.
    let _ = handle.submit(answered, |_, _| ()).await;
}

/// The token is for one host, and for no longer than it is waited for: it stands in the program's
/// arguments, where the machine's other users may see it.
async fn launch(
    handle: &Handle,
    launching: &Launching,
    launcher: &Launcher,
    clock: &dyn Clock,
    call: &Call,
    id: &str,
) -> Result<String, String> {
    let expires_at = clock.wall().saturating_add(launcher.timeout + launcher.boot_deadline);
    let made =
        make_token(&Random::of_system(), launching.ca, call.cluster.clone(), expires_at, Some(1))
            .map_err(|error| format!("the system gave no random bytes: {error}"))?;
    let kept =
        handle.submit(Command::Token(TokenCommand::CreateJoinToken(made.kept)), |_, _| ()).await;
    kept.map_err(|refused| refused.to_string())?;
    let word = made.word.expose_text();
    let arguments = ["launch", id, &word];
    // A launch that failed may have launched all the same: its host may still join.
    launching.run(&call.launcher, launcher, &arguments, &call.environment).await
}

/// Asks a launcher for its list. What it is to have is looked at before, so that a launch meanwhile
/// is not missed by the list.
async fn compare(handle: &Handle, launching: &Launching, name: &str) -> Option<Compared> {
    let launcher = launching.launchers.get(name)?;
    let expected = handle.read(|state| expected(state, name)).await.ok()?;
    let listed = match launching.run(name, launcher, &["list"], &[]).await {
        Ok(listed) => listed,
        Err(why) => {
            tracing::warn!(launcher = name, "a launcher gave no list: {why}");
            return None;
        }
    };
    // What is none of our ids is somebody else's.
    let words = listed.lines().map(str::trim).take(LISTED_MAX);
    let listed: BTreeSet<InstanceId> = words.filter_map(|word| word.parse().ok()).collect();
    let unknown = |state: &State| {
        let of_ours = |id: &&InstanceId| {
            state.group_by_prefix(**id).is_some() && state.instance(**id).is_none()
        };
        listed.iter().filter(of_ours).copied().collect()
    };
    let unknown = handle.read(unknown).await.ok()?;
    let missing = expected.difference(&listed).copied().collect();
    Some(Compared { unknown, missing })
}

/// Instances that the launcher said it has launched, and was not asked to terminate.
fn expected(state: &State, launcher: &str) -> BTreeSet<InstanceId> {
    let groups = state.auto_scaling_groups_from(std::ops::Bound::Unbounded);
    let groups = groups.filter(|group| group.config.launch.launcher() == launcher);
    let instances = groups.flat_map(|group| group.instances.values());
    let there = instances.filter(|instance| match instance.lifecycle {
        Lifecycle::Pending { launched } => launched.is_some(),
        Lifecycle::InService { .. } | Lifecycle::Draining { .. } => true,
        Lifecycle::Terminating { .. } => false,
    });
    there.map(|instance| instance.id).collect()
}
