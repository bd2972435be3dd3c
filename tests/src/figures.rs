//! Figures as lines `name value unit` on standard output; everything else goes to standard error.

use std::{
    io::{Seek, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// Writes and syncs of one disk baseline: a journal's small batch each.
const BASELINE_SYNCS: usize = 200;
const BASELINE_BYTES: usize = 4096;

/// Prints one figure. A closed pipe is an error: nobody would read the rest.
pub fn figure(name: &str, value: f64, unit: &str) -> Result<()> {
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    writeln!(std::io::stdout().lock(), "{name} {text} {unit}")?;
    Ok(())
}

pub fn count(name: &str, value: usize) -> Result<()> {
    figure(name, value as f64, "count")
}

/// Fails when less was done than was asked for.
pub fn reached(what: &str, done: usize, wanted: usize) -> Result<()> {
    ensure!(done >= wanted, "{what}: {done}, but {wanted} were asked for");
    Ok(())
}

/// Says what goes on while figures are made.
pub fn progress(text: &str) {
    eprintln!("# {text}");
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The value that half of them do not pass.
pub fn median(values: &[f64]) -> Result<f64> {
    percentile(values, 0.5)
}

pub fn percentile(values: &[f64], part: f64) -> Result<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1).context("no value was measured")?;
    Ok(sorted[(last as f64 * part).round() as usize])
}

/// What a write and an fdatasync cost on this disk right now: figures that contain one cannot be
/// better, and comparing runs means comparing this first.
pub fn disk_baseline(folder: &Path) -> Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    let block = [0x5a; BASELINE_BYTES];
    // Allocated beforehand, as a journal's pages mostly are.
    file.write_all(&vec![0; BASELINE_BYTES * BASELINE_SYNCS])?;
    file.sync_data()?;
    file.rewind()?;
    let mut took = Vec::with_capacity(BASELINE_SYNCS);
    for _ in 0..BASELINE_SYNCS {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        took.push(milliseconds(start.elapsed()));
    }
    figure("fdatasync_p50_ms", median(&took)?, "ms")?;
    figure("fdatasync_p99_ms", percentile(&took, 0.99)?, "ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).unwrap(), 2.0);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0, 5.0], 1.0).unwrap(), 5.0);
        assert!(median(&[]).is_err());
    }
}
