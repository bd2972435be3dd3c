//! What must hold of every state.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use longshore_common::id::HostId;
use longshore_core::{State, state::Host};

/// What was found, by the figure that it counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Panic,
    ServerError,
    NegativeRemaining,
    Unsound,
    RestartDifference,
    Disagreement,
    Stuck,
    Grown,
}

impl Fault {
    pub(super) const ALL: [Fault; 8] = [
        Fault::Panic,
        Fault::ServerError,
        Fault::NegativeRemaining,
        Fault::Unsound,
        Fault::RestartDifference,
        Fault::Disagreement,
        Fault::Stuck,
        Fault::Grown,
    ];

    pub(super) fn figure(self) -> &'static str {
        match self {
            Fault::Panic => "panics",
            Fault::ServerError => "server_errors",
            Fault::NegativeRemaining => "negative_remaining",
            Fault::Unsound => "unsound_states",
            Fault::RestartDifference => "restart_differences",
            Fault::Disagreement => "disagreements",
            Fault::Stuck => "stuck",
            Fault::Grown => "grown",
        }
    }
}

/// Hosts that may have less than nothing left: their capacity was lowered, or they brought tasks
/// that the journal did not know.
pub(super) type Overfull = BTreeSet<HostId>;

/// Hosts of which more is given away than they have.
pub(super) fn overfull(state: &State) -> Overfull {
    let left = |host: &Host| state.cluster_at(host.cluster).index.remaining(host.slot);
    let lacks = |host: &&Host| {
        left(host)
            .is_some_and(|left| [left.cpu, left.memory, left.gpus].iter().any(|left| *left < 0))
    };
    state.hosts().filter(lacks).map(|host| host.id).collect()
}

/// What every host has left is what it has less what is placed there, and not below zero.
pub(super) fn hosts(state: &State, overfull: &mut Overfull) -> Vec<(Fault, String)> {
    let mut found = Vec::new();
    for host in state.hosts().filter(|host| host.is_registered()) {
        let cluster = state.cluster_at(host.cluster);
        let Some(left) = cluster.index.remaining(host.slot) else {
            found.push((Fault::Unsound, format!("host {} is in no index", host.id)));
            continue;
        };
        let mut expected = [
            i64::from(host.capacity.cpu.0),
            i64::from(host.capacity.memory.0),
            host.capacity.gpus.len() as i64,
        ];
        for task in host.tasks.values().map(|slot| state.task_at(*slot)) {
            let demand = &task.demand;
            let takes =
                [i64::from(demand.cpu.0), i64::from(demand.memory.0), i64::from(demand.gpus)];
            expected.iter_mut().zip(takes).for_each(|(left, takes)| *left -= takes);
        }
        let left = [left.cpu, left.memory, left.gpus];
        if left != expected {
            let what = format!("host {}: {left:?} is left, {expected:?} by its tasks", host.id);
            found.push((Fault::Unsound, what));
        }
        if left.iter().all(|left| *left >= 0) {
            overfull.remove(&host.id);
        } else if !overfull.contains(&host.id) {
            let what = format!("host {} has {left:?} left", host.id);
            found.push((Fault::NegativeRemaining, what));
            // Told once.
            overfull.insert(host.id);
        }
    }
    found
}

/// What the state after a restart is otherwise than before.
pub(super) fn differences(before: &State, after: &State) -> Vec<String> {
    guarded(|| before.picture().differences(&after.picture()))
}

/// Counters and indexes that are not what the entities say.
pub(super) fn unsound(state: &State) -> Vec<String> {
    guarded(|| state.check())
}

/// A state that cannot even be looked at is told as well.
fn guarded(look: impl FnOnce() -> Vec<String>) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| vec![said(&*panic)])
}

/// How much there is, in bytes by kind; epochs are kept on purpose, one for each start, with where in
/// the journal each began.
pub(super) fn sizes(state: &State) -> BTreeMap<String, usize> {
    let picture = catch_unwind(AssertUnwindSafe(|| state.picture().to_string()));
    let picture = picture.unwrap_or_default();
    let mut sizes = BTreeMap::new();
    let mut kind = String::new();
    let of_each_start = |line: &&str| line.starts_with("epochs:") || line.starts_with("starts:");
    for line in picture.lines().filter(|line| !of_each_start(line)) {
        if let Some(what) = line.strip_prefix("== ") {
            kind = what.split(' ').next().unwrap_or_default().to_owned();
        }
        *sizes.entry(kind.clone()).or_default() += line.len();
    }
    sizes
}

/// What a panic said.
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
