//! Seeded simulations of the whole system under faults: lost and late polls, crashes of the
//! coordinator and of agents, cut hosts, a slow and forgetful Docker (promises.md P11).
//!
//! `LONGSHORE_SEED=n` runs one seed; `LONGSHORE_SEEDS=n` so many.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that prints its seeds")]

use std::time::Duration;

use longshore_tests::simulation::{Course, Outage, jump, run, suffer};

/// Simulations in a normal run.
const SEEDS: u64 = 30;
const MOVES: usize = 120;

/// All of promise P13's: they cost seconds.
const JUMPS: usize = 300;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn simulate(seed: u64) -> Vec<String> {
    let course = Course { seed, hosts: 3 + (seed % 3) as usize, moves: MOVES };
    let verdict = runtime().block_on(run(course)).unwrap();
    println!(
        "seed {seed}: {} tasks acknowledged, {} containers, {} polls, {} messages lost, \
         {} runs of the singleton, {} wrong",
        verdict.acknowledged,
        verdict.containers,
        verdict.polls,
        verdict.messages_lost,
        verdict.singleton_runs,
        verdict.wrong.len()
    );
    assert!(verdict.acknowledged > 0 && verdict.messages_lost > 0, "the course was too tame");
    verdict.wrong
}

#[test]
fn no_fault_loses_doubles_or_stops_what_was_not_to_be() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Vec<u64> = match number("LONGSHORE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("LONGSHORE_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    for seed in seeds {
        let wrong = simulate(seed);
        assert!(wrong.is_empty(), "seed {seed} (LONGSHORE_SEED={seed}):\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_wall_clock_that_jumps_stops_nothing_and_loses_no_host() {
    let seen = runtime().block_on(jump(JUMPS, 20_26)).unwrap();
    println!("{} jumps over {} containers", seen.jumps, seen.containers);
    assert!(seen.wrong.is_empty(), "{} wrong:\n{}", seen.wrong.len(), seen.wrong.join("\n"));
    assert_eq!((seen.jumps, seen.containers), (JUMPS, 9));
}

#[test]
fn whoever_is_away_for_a_while_costs_nothing_that_runs() {
    let engines = [0, 5, 20].map(Duration::from_secs);
    let boots = engines.map(|engine_after| Outage::HostBoots { engine_after });
    let cuts = engines.map(|engines_after| Outage::PowerCut { engines_after });
    for outage in [Outage::AgentStops].into_iter().chain(boots).chain(cuts) {
        let wrong = runtime().block_on(suffer(outage, 20_26)).unwrap();
        assert!(wrong.is_empty(), "{outage:?}:\n{}", wrong.join("\n"));
    }
}
