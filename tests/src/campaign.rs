//! The full tests of promises (promises.md section 5), by name: `make campaign NAME=p1`.
//!
//! A campaign prints its seed and its counts and fails when one is not what was promised, or when
//! it did less than it was asked to.

mod engine_faults;
mod kept;
mod partitions;
mod untouched;

use anyhow::{Result, bail, ensure};

pub use crate::campaign::{
    engine_faults::EngineFaults, kept::Kept, partitions::Partitions, untouched::Untouched,
};

/// A seed is printed as a figure, which holds whole numbers up to 2^53.
const SEED_BITS: u32 = 48;

#[derive(Clone, Debug, clap::Parser)]
#[command(about = "Runs a promise's full test and prints its seed and counts")]
pub struct Options {
    /// p1: acknowledged is kept. p5: an agent's restart touches nothing. p7: a partition
    /// stops nothing and heals to policy.
    pub name: String,
    /// How many times to kill or cut; the promise's own number when not given.
    #[arg(long)]
    pub count: Option<usize>,
    /// Repeats an earlier run's choices.
    #[arg(long)]
    pub seed: Option<u64>,
}

pub async fn run(options: Options) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64()? >> (u64::BITS - SEED_BITS),
    };
    let count = |default: usize| options.count.unwrap_or(default);
    match options.name.as_str() {
        "p1" => Kept::of(count(kept::KILLS), seed).run().await?.print_and_judge(),
        "p5" => Untouched::of(count(untouched::KILLS), seed).run().await?.print_and_judge(),
        "p6" => EngineFaults::of(count(engine_faults::CELLS), seed).run().await?.print_and_judge(),
        "p7" => Partitions::of(count(partitions::CYCLES), seed).run().await?.print_and_judge(),
        "" => bail!("say which promise: `make campaign NAME=p1`, NAME=p5 or NAME=p7"),
        other => bail!("there is no campaign `{other}`: there are p1, p5 and p7"),
    }
}

fn reached(what: &str, done: usize, wanted: usize) -> Result<()> {
    ensure!(done >= wanted, "{what}: {done}, but {wanted} were asked for");
    Ok(())
}
