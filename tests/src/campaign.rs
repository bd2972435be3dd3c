//! The full tests of promises (promises.md section 5), by name: `make campaign NAME=p1`.
//!
//! A campaign prints its seed and its counts and fails when one is not what was promised, or when
//! it did less than it was asked to.

mod chaos;
mod confused;
mod deadlines;
mod engine_faults;
mod engine_outages;
mod guest;
mod escapes;
mod kept;
mod partitions;
mod placements;
mod queries;
mod static_stability;
mod untouched;

use std::time::Duration;

use anyhow::{Result, bail};

pub use crate::campaign::{
    chaos::Chaos, confused::Confused, deadlines::Deadlines, engine_faults::EngineFaults,
    engine_outages::EngineOutages, escapes::Escapes, guest::GuestRun, kept::Kept,
    partitions::Partitions, placements::Placements, queries::Queries,
    static_stability::StaticStability, untouched::Untouched,
};

const OTHERS: &str = "p4, p5, p6, p7, p8, deadlines, query, placement, chaos, escapes, guest";
/// A seed is printed as a figure, which holds whole numbers up to 2^53.
const SEED_BITS: u32 = 48;

#[derive(Clone, Debug, clap::Parser)]
#[command(about = "Runs a promise's full test and prints its seed and counts")]
pub struct Options {
    /// p1: acknowledged is kept. p4: nothing needs a coordinator to go on. p5: an agent's restart
    /// touches nothing. p6: Docker may fail in any way. p7: a partition stops nothing and heals to
    /// policy. p8: a confused coordinator stops nothing. deadlines: tasks that wait are not lost, and
    /// end in time. query: no expression harms its reader.
    /// placement: every choice is one of the best. chaos: no sequence of calls and faults breaks what
    /// must hold. escapes: no recipe gets around a policy. guest: on a
    /// host with systemd and control groups version 2, in QEMU.
    pub name: String,
    /// How many times to kill, cut or fail, or for how many seconds no coordinator is there (p4);
    /// the promise's own number when not given.
    #[arg(long)]
    pub count: Option<usize>,
    /// Repeats an earlier run's choices.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A bug that chaos is to find.
    #[arg(long)]
    pub bug: Option<String>,
    /// Of guest: only the rows whose names contain one of these, separated by commas.
    #[arg(long)]
    pub only: Option<String>,
}

pub async fn run(options: Options) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64()? >> (u64::BITS - SEED_BITS),
    };
    let count = |default: usize| options.count.unwrap_or(default);
    match options.name.as_str() {
        "p1" => Kept::of(count(kept::KILLS), seed).run().await?.print_and_judge(),
        "p4" => {
            let outage = Duration::from_secs(count(static_stability::OUTAGE_S) as u64);
            StaticStability::of(outage).run().await?.print_and_judge()
        }
        "p5" => Untouched::of(count(untouched::KILLS), seed).run().await?.print_and_judge(),
        "p6" => {
            let cells = count(engine_faults::CELLS);
            EngineFaults::of(cells, seed).run().await?.print_and_judge()?;
            let outages = (cells * engine_outages::OUTAGES).div_ceil(engine_faults::CELLS);
            EngineOutages::of(outages, seed).run().await?.print_and_judge()
        }
        "p7" => Partitions::of(count(partitions::CYCLES), seed).run().await?.print_and_judge(),
        "p8" => Confused::of(count(confused::POLLS), seed).run().await?.print_and_judge(),
        "deadlines" => Deadlines::of(count(deadlines::KILLS), seed).run().await?.print_and_judge(),
        "escapes" => {
            let definitions = options.count.map_or(escapes::DEFINITIONS, |count| count * 1000);
            let escapes = Escapes::of(count(escapes::ALL), definitions, seed);
            escapes.run().await?.print_and_judge()
        }
        "placement" => {
            let placements = Placements::of(count(placements::PLACEMENTS), seed);
            tokio::task::spawn_blocking(|| placements.run()).await??.print_and_judge()
        }
        "query" => {
            let queries = Queries::of(count(queries::EXECUTIONS), seed);
            tokio::task::spawn_blocking(|| queries.run()).await??.print_and_judge()
        }
        "chaos" => {
            let chaos = Chaos::of(count(chaos::CALLS), seed);
            let chaos = match &options.bug {
                Some(bug) => chaos.with_bug(bug)?,
                None => chaos,
            };
            tokio::task::spawn_blocking(move || chaos.run()).await??.print_and_judge()
        }
        "guest" => GuestRun::of(options.only).run().await?.print_and_judge(),
        "" => bail!("say which promise: `make campaign NAME=p1`, {OTHERS}"),
        other => bail!("there is no campaign `{other}`: there are p1, {OTHERS}"),
    }
}
