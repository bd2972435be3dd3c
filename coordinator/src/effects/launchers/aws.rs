//! Launchers that are Auto Scaling groups of AWS.
//!
//! AWS is told how many instances there are to be, as a number that stands for itself, and which are to
//! go, by name. A round looks at the whole of both sides and does what brings them together: it may end
//! anywhere, and be repeated. Which machine fills which instance, and which has to go, is the state
//! machine's decision. Never: a machine that AWS chooses to end, one that is no longer recorded while
//! AWS has it, or an instance asked for twice.

mod api;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use longshore_common::clock::{Clock, Timestamp};
use longshore_core::{
    Command,
    command::AutoScalingCommand,
    model::auto_scaling::{InstanceId, LauncherVerb},
    state::State,
};

use self::{
    api::{AutoScaling, AwsError, Client, Listed, MachineState, PROTECTED_AT_ONCE_MAX},
    plan::{Due, Plan},
};
use crate::{
    driver::Handle,
    settings::{Launcher, LauncherKind},
};

/// Maximum number of calls of one round that end machines (ours); the next round continues.
const TERMINATIONS_PER_ROUND_MAX: usize = 50;
/// Interval until a round that failed is repeated when no call is due (ours), doubled with every
/// further failure.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Maximum interval until a round that failed is repeated (ours).
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Time of launching nothing after which AWS is asked why, and interval of asking (ours).
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How often rounds come.
#[derive(Clone, Copy)]
pub(super) struct RoundPace {
    /// Minimum interval from one round to the next: AWS's answers lag behind what AWS was told.
    pub(super) apart: Duration,
    /// Interval while AWS has yet to launch something.
    pub(super) waiting: Duration,
    /// Interval when nothing is under way.
    pub(super) idle: Duration,
}

/// Every launcher of this kind, with when its next round is.
pub(super) struct Rounds {
    launchers: BTreeMap<String, Rounding>,
    pace: RoundPace,
}

struct Rounding {
    client: Arc<Client>,
    /// Absent while a round is under way.
    memory: Option<Memory>,
    /// Time before which the next round does not begin, whatever is due.
    earliest: Timestamp,
    /// Time at which the next round begins at the latest.
    latest: Timestamp,
}

/// What a round tells the next one. It is lost when the process ends: then everything takes one round
/// more.
#[derive(Default)]
struct Memory {
    /// Machines that no instance was bound to.
    unbound: BTreeSet<InstanceId>,
    /// Machines of instances that the list did not show alive.
    missing: BTreeSet<InstanceId>,
    /// Instances to terminate that have no machine, as far as AWS showed.
    without: BTreeSet<InstanceId>,
    failures: u32,
    /// When AWS was last asked why it launches nothing.
    asked_why: Option<Timestamp>,
    /// What the log was told last, not to repeat it.
    said: BTreeSet<String>,
}

/// When the next round should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// AWS is to show that it did what it was told.
    Soon,
    Waiting,
    Idle,
    /// The round failed; the number counts failures in a row.
    Failed(u32),
}

/// A round that has ended.
pub(super) struct Ended {
    launcher: String,
    memory: Memory,
    next: Next,
}

impl Rounds {
    pub(super) fn new(
        launchers: &BTreeMap<String, Launcher>,
        pace: RoundPace,
        clock: &Arc<dyn Clock>,
    ) -> Rounds {
        let mut rounds = BTreeMap::new();
        for (name, launcher) in launchers {
            let LauncherKind::Aws(group) = &launcher.kind else { continue };
            match Client::new(group, launcher.timeout, clock.clone()) {
                Ok(client) => {
                    let rounding = Rounding {
                        client: Arc::new(client),
                        memory: Some(Memory::default()),
                        earliest: Timestamp(0),
                        latest: Timestamp(0),
                    };
                    rounds.insert(name.clone(), rounding);
                }
                Err(why) => tracing::error!(
                    launcher = name,
                    "nothing is launched or terminated by [launch.{name}]: {why}"
                ),
            }
        }
        Rounds { launchers: rounds, pace }
    }

    /// Rounds that are to begin now, as futures that end with what [`Rounds::ended`] is to hear.
    pub(super) fn due(
        &mut self,
        state: &State,
        handle: &Handle,
        clock: &Arc<dyn Clock>,
    ) -> Vec<impl Future<Output = Ended> + Send + use<>> {
        let now = clock.wall();
        let mut due = Vec::new();
        for (name, rounding) in &mut self.launchers {
            let is_due = rounding.latest <= now
                || (rounding.earliest <= now && plan::has_due_call(state, name, now));
            if !is_due {
                continue;
            }
            let Some(mut memory) = rounding.memory.take() else { continue };
            let (client, handle, clock) = (rounding.client.clone(), handle.clone(), clock.clone());
            let launcher = name.clone();
            due.push(async move {
                let next = round(&handle, &*client, &launcher, &mut memory, &*clock).await;
                Ended { launcher, memory, next }
            });
        }
        due
    }

    pub(super) fn ended(&mut self, ended: Ended, now: Timestamp) {
        let Some(rounding) = self.launchers.get_mut(&ended.launcher) else { return };
        rounding.memory = Some(ended.memory);
        let pause = match ended.next {
            Next::Soon => self.pace.apart,
            Next::Waiting => self.pace.waiting,
            Next::Idle => self.pace.idle,
            Next::Failed(times) => {
                let doublings = times.saturating_sub(1).min(16);
                RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX)
            }
        };
        rounding.earliest = now.saturating_add(self.pace.apart);
        rounding.latest = now.saturating_add(pause);
    }

    /// When something may be due though nothing is heard.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.launchers.values().filter(|rounding| rounding.memory.is_some());
        idle.map(|rounding| match rounding.earliest > now {
            true => rounding.earliest,
            false => rounding.latest,
        })
        .min()
    }
}

/// One look at both sides, and what follows from it.
async fn round(
    handle: &Handle,
    aws: &impl AutoScaling,
    launcher: &str,
    memory: &mut Memory,
    clock: &dyn Clock,
) -> Next {
    let is_on = |state: &State| state.schedules() && state.group_on_machines_of(launcher).is_some();
    if !handle.read(is_on).await.unwrap_or(false) {
        return Next::Idle;
    }
    match steps(handle, aws, launcher, memory, clock).await {
        Ok(next) => next,
        Err(error) => {
            let why = error.to_string();
            memory.say_once(&why, || tracing::warn!(launcher, "a launcher failed: {why}"));
            let now = clock.wall();
            let due = handle.read(|state| plan::due_calls(state, launcher, now)).await;
            let due = due.unwrap_or_default().into_iter();
            join_all(
                due.map(|Due { instance, verb }| answer(handle, instance, verb, Err(why.clone()))),
            )
            .await;
            memory.failures = memory.failures.saturating_add(1);
            Next::Failed(memory.failures)
        }
    }
}

/// An error is one that nothing else can be done with; what fails of a single instance is told of it.
async fn steps(
    handle: &Handle,
    aws: &impl AutoScaling,
    launcher: &str,
    memory: &mut Memory,
    clock: &dyn Clock,
) -> Result<Next, AwsError> {
    let listed = aws.describe().await?;
    warn(launcher, &listed, memory);
    protect(aws, launcher, &listed, memory).await?;
    let now = clock.wall();
    let stalled = why_stalled(handle, aws, launcher, memory, now).await;
    let has_unbound = compare(handle, launcher, &listed, stalled, memory).await;

    let now = clock.wall();
    let Ok(Some(plan)) = handle.read(|state| plan::plan(state, launcher, &listed, now)).await
    else {
        return Ok(Next::Idle);
    };
    let mut next = match plan.is_waiting {
        // The rest of many that came.
        true if has_unbound => Next::Soon,
        true => Next::Waiting,
        false => Next::Idle,
    };
    let mut desired = listed.desired;
    let counts = |state| matches!(state, MachineState::Coming | MachineState::InService);
    let alive = listed.machines.iter().filter(|one| counts(one.state)).map(|one| one.id);
    let mut alive: BTreeSet<InstanceId> = alive.collect();
    // Machines that are to go and stay for now count until they have gone.
    let mut staying =
        plan.staying + plan.terminate.len().saturating_sub(TERMINATIONS_PER_ROUND_MAX) as u32;
    for (instance, machine) in plan.terminate.iter().take(TERMINATIONS_PER_ROUND_MAX) {
        let decrement = desired > plan.wanted + staying;
        if decrement && desired <= listed.min {
            // AWS would launch another in its place.
            staying += 1;
            let why = format!(
                "AWS's Auto Scaling group keeps {} instances (MinSize), needed or not. Set it to 0",
                listed.min
            );
            answer(handle, *instance, LauncherVerb::Terminate, Err(why)).await;
            continue;
        }
        tracing::info!(launcher, %instance, %machine, decrement, "terminating a machine of AWS");
        match aws.terminate(*machine, decrement).await {
            // It is over when AWS shows it.
            Ok(()) => {
                desired -= u32::from(decrement);
                alive.remove(machine);
                next = Next::Soon;
            }
            Err(error) => {
                staying += 1;
                let why = error.to_string();
                tracing::warn!(launcher, %instance, %machine, "a launcher failed: {why}");
                answer(handle, *instance, LauncherVerb::Terminate, Err(why)).await;
            }
        }
    }
    if end_what_is_over(handle, &plan, memory).await {
        next = Next::Soon;
    }
    // Never fewer than are there: AWS is not to choose.
    let target = (plan.wanted + staying).max(alive.len() as u32);
    let Capacity { allowed, sets } = capacity(&plan, &listed, desired, target);
    let result = match sets {
        true => {
            tracing::info!(
                launcher,
                desired = allowed,
                was = desired,
                "AWS is asked for this number of instances"
            );
            next = Next::Soon;
            aws.set_desired(allowed).await.map_err(|error| error.to_string())
        }
        false => Ok(()),
    };
    answer_launches(handle, &plan, target, allowed, &result).await;
    match result {
        Ok(()) => memory.is_well(),
        Err(why) => {
            memory.say_once(&why, || tracing::warn!(launcher, "a launcher failed: {why}"));
            memory.failures = memory.failures.saturating_add(1);
            next = Next::Failed(memory.failures);
        }
    }
    Ok(next)
}

/// What AWS would otherwise choose to end when there are to be fewer.
async fn protect(
    aws: &impl AutoScaling,
    launcher: &str,
    listed: &Listed,
    memory: &mut Memory,
) -> Result<(), AwsError> {
    if !listed.protects_new {
        aws.protect_new().await?;
        tracing::info!(
            launcher,
            "AWS's Auto Scaling group protects its new instances from scale-in from now on: which of \
             them goes is decided here"
        );
    }
    let in_service = listed.machines.iter().filter(|one| one.state == MachineState::InService);
    let bare: Vec<InstanceId> = in_service.filter(|one| !one.protected).map(|one| one.id).collect();
    for some in bare.chunks(PROTECTED_AT_ONCE_MAX) {
        // One of them may be on its way out by now. AWS has no choice either way while it is to have no
        // fewer than are there.
        if let Err(error) = aws.protect(some).await {
            let why = error.to_string();
            memory.say_once(&why, || tracing::warn!(launcher, "a launcher failed: {why}"));
        }
    }
    Ok(())
}

/// What AWS says of its last try, when it lets an instance wait.
async fn why_stalled(
    handle: &Handle,
    aws: &impl AutoScaling,
    launcher: &str,
    memory: &mut Memory,
    now: Timestamp,
) -> Option<String> {
    let since = handle.read(|state| plan::waiting_since(state, launcher)).await.ok()??;
    let lately = memory.asked_why.is_some_and(|asked| now.since(asked) < STALLED_AFTER);
    if now.since(since) < STALLED_AFTER || lately {
        return None;
    }
    memory.asked_why = Some(now);
    match aws.last_failure().await {
        Ok(why) => why,
        // It is good to know, and not needed.
        Err(error) => {
            let why = error.to_string();
            memory.say_once(&why, || {
                tracing::warn!(launcher, "AWS does not tell why it launches nothing: {why}");
            });
            None
        }
    }
}

/// Tells the state machine what the list shows, when it shows anything that is to be decided on. Returns
/// whether it showed machines that no instance was bound to.
async fn compare(
    handle: &Handle,
    launcher: &str,
    listed: &Listed,
    stalled: Option<String>,
    memory: &mut Memory,
) -> bool {
    let compared = handle.read(|state| plan::compare(state, launcher, listed)).await;
    let Ok(Some(mut compared)) = compared else { return false };
    let missing =
        std::mem::replace(&mut memory.missing, compared.missing.iter().copied().collect());
    compared.missing.retain(|machine| missing.contains(machine));
    let unbound =
        std::mem::replace(&mut memory.unbound, compared.unbound.iter().copied().collect());
    compared.lasting = compared.unbound.iter().filter(|id| unbound.contains(id)).copied().collect();
    compared.stalled = stalled;
    if compared.unbound.is_empty() && compared.missing.is_empty() && compared.stalled.is_none() {
        return false;
    }
    let has_unbound = !compared.unbound.is_empty();
    if !compared.missing.is_empty() {
        let first: Vec<String> =
            compared.missing.iter().take(5).map(InstanceId::to_string).collect();
        let (count, first) = (compared.missing.len(), first.join(" "));
        memory.say_once(&format!("missing {count} {first}"), || {
            tracing::warn!(
                launcher,
                count,
                first,
                "AWS no longer has these machines; what runs on those whose agent is heard is kept, and \
                 all is when half of a group is missing: if they are gone for good, end them with \
                 TerminateInstanceInAutoScalingGroup"
            );
        });
    }
    // A coordinator that ends looks again when it is back.
    let _ = handle
        .submit(
            Command::AutoScaling(AutoScalingCommand::MachinesListed(Box::new(compared))),
            |_, _| (),
        )
        .await;
    has_unbound
}

/// Instances of which AWS has nothing any more. One without a machine is over when two lists showed
/// nothing that could be it.
async fn end_what_is_over(handle: &Handle, plan: &Plan, memory: &mut Memory) -> bool {
    let before = std::mem::replace(&mut memory.without, plan.without.iter().copied().collect());
    let confirmed = plan.without.iter().filter(|instance| before.contains(instance));
    let mut pending = plan.without.len();
    for instance in plan.over.iter().chain(confirmed) {
        pending = pending.saturating_sub(usize::from(plan.without.contains(instance)));
        answer(handle, *instance, LauncherVerb::Terminate, Ok(())).await;
    }
    pending > 0
}

/// How many AWS is to have.
struct Capacity {
    /// The target, as far as the bounds of AWS's group allow it.
    allowed: u32,
    /// Whether it has to be told.
    sets: bool,
}

fn capacity(plan: &Plan, listed: &Listed, desired: u32, target: u32) -> Capacity {
    let allowed = target.clamp(listed.min, listed.max.max(listed.min));
    // Those that failed a moment ago are asked for again at their time.
    let may_rise = !plan.launch.is_empty() || !plan.launches_later;
    let sets = allowed < desired || (allowed > desired && may_rise);
    Capacity { allowed, sets }
}

/// Tells of each instance that is to be launched whether AWS was asked for it.
async fn answer_launches(
    handle: &Handle,
    plan: &Plan,
    target: u32,
    allowed: u32,
    result: &Result<(), String>,
) {
    let beyond = target.saturating_sub(allowed) as usize;
    let fit = plan.launch.len().saturating_sub(beyond);
    // All at once: they share a flush.
    join_all(plan.launch.iter().enumerate().map(|(n, instance)| {
        let answered = match n < fit {
            true => result.clone(),
            false => Err(format!(
                "AWS's Auto Scaling group may have {allowed} instances (MaxSize), and {target} are \
                 needed. Raise it in AWS, or lower MaxSize here"
            )),
        };
        answer(handle, *instance, LauncherVerb::Launch, answered)
    }))
    .await;
}

async fn answer(
    handle: &Handle,
    instance: InstanceId,
    verb: LauncherVerb,
    result: Result<(), String>,
) {
    let answered =
        Command::AutoScaling(AutoScalingCommand::LauncherAnswered { instance, verb, result });
    // A coordinator that ends looks again when it is back.
    let _ = handle.submit(answered, |_, _| ()).await;
}

/// What an operator should know of the group, once.
fn warn(launcher: &str, listed: &Listed, memory: &mut Memory) {
    if listed.min > 0 {
        let min = listed.min;
        memory.say_once(&format!("min {min}"), || {
            tracing::warn!(
                launcher,
                min,
                "AWS's Auto Scaling group has a MinSize: it keeps so many instances, needed or not. Set \
                 it to 0"
            );
        });
    }
    for id in &listed.strange {
        memory.say_once(id, || {
            tracing::warn!(
                launcher,
                id,
                "AWS's Auto Scaling group has an instance whose id has another form than EC2's; it is \
                 left alone"
            );
        });
    }
}

impl Memory {
    /// What is said of a failure is said again of the next one.
    fn is_well(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.said.clear();
        }
    }

    fn say_once(&mut self, what: &str, say: impl FnOnce()) {
        /// Maximum number of messages that are remembered so as not to be repeated (ours).
        const SAID_MAX: usize = 100;
        if self.said.len() >= SAID_MAX {
            self.said.clear();
        }
        if self.said.insert(what.to_owned()) {
            say();
        }
    }
}
