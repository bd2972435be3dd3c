//! Every operation of the API in sequences that a seed decides, from several clients, while hosts
//! come, fail and go, the clock is set, and the coordinator dies and is started again. After each
//! step, and more thoroughly from time to time, what must hold is looked at: nothing panics, nothing
//! is a server's fault, no host has less than nothing left, a restart changes nothing, lists and
//! counts agree, what is deleted or drained comes to its end, and nothing grows with history.

mod agents;
mod calm;
mod clients;
mod coordinator;
mod counts;
mod course;
mod coverage;
mod effects;
mod inputs;
mod judge;
mod known;
mod planted;
mod views;

use anyhow::{Context, Result};

use self::{
    counts::ChaosCounts,
    course::Course,
    planted::{BUGS, Planted},
};
use crate::chance::Chance;

/// Calls of a full run.
pub(super) const CALLS: usize = 1_000_000;

/// What a run is to do.
pub struct Chaos {
    calls: usize,
    seed: u64,
    planted: Planted,
}

impl Chaos {
    pub fn of(calls: usize, seed: u64) -> Self {
        Chaos { calls, seed, planted: Planted::default() }
    }

    /// With a bug at one of the coordinator's doors, which is to be found.
    pub fn with_bug(self, name: &str) -> Result<Self> {
        let names = || BUGS.map(|bug| format!("{bug:?}")).join(", ");
        let planted = Planted::named(name);
        let planted = planted.with_context(|| format!("there is no bug {name}: {}", names()))?;
        Ok(Chaos { planted, ..self })
    }

    /// On a runtime of its own: one thread, so that one seed has one course.
    pub fn run(&self) -> Result<ChaosCounts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = runtime.block_on(async {
            let course = Course::begin(Chance::from_seed(self.seed), self.planted.clone()).await?;
            Ok::<_, anyhow::Error>(course.run(self.calls).await)
        });
        Ok(ChaosCounts { asked: self.calls, seed: self.seed, ..counts? })
    }
}

#[cfg(test)]
mod tests {
    use super::{planted::Bug, *};

    /// Under ten seconds of a small machine, with some calm times and some emptied states.
    const CALLS_OF_A_TEST: usize = 3_000;
    /// Calls of a run with a bug, and runs in which it must be found. Most are in the first.
    const CALLS_WITH_A_BUG: usize = 1_500;
    const SEEDS_MAX: u64 = 3;

    #[test]
    fn chaos_finds_nothing_wrong() {
        Chaos::of(CALLS_OF_A_TEST, 7).run().unwrap().judge().unwrap();
    }

    #[test]
    fn one_seed_has_one_course() {
        let course = || {
            let counts = Chaos::of(CALLS_WITH_A_BUG, 3).run().unwrap();
            (counts.course, counts.calls, counts.restarts, counts.seen, counts.answered)
        };
        assert_eq!(course(), course());
    }

    /// Each as what it is: another fault does not count for it.
    fn is_found(bug: Bug) {
        let found = (1..=SEEDS_MAX).any(|seed| {
            let chaos = Chaos { calls: CALLS_WITH_A_BUG, seed, planted: Planted::bug(bug) };
            let counts = chaos.run().unwrap();
            bug.shows_as().iter().any(|fault| counts.faults.contains_key(fault))
        });
        assert!(found, "{bug:?} was not found");
    }

    /// A test for each bug, so that they run side by side.
    macro_rules! planted_bugs_are_found {
        ($($test:ident $bug:ident,)*) => {
            mod planted_bugs_are_found {
                use super::*;

                $(#[test]
                fn $test() {
                    is_found(Bug::$bug);
                })*

                #[test]
                fn each_has_a_test() {
                    assert_eq!(BUGS, [$(Bug::$bug),*]);
                }
            }
        };
    }

    planted_bugs_are_found! {
        stale_snapshot StaleSnapshot,
        count_kept_by_hand CountKeptByHand,
        gate_forgotten GateForgotten,
        not_marked_changed NotMarkedChanged,
        kind_missing KindMissing,
        history_unbounded HistoryUnbounded,
        draining_kept DrainingKept,
        service_kept ServiceKept,
        bad_token_breaks BadTokenBreaks,
        list_disagrees ListDisagrees,
    }
}
