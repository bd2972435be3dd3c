//! P6: Docker may fail in any way, and every task comes to what it should.
//!
//! A cell is one agent's engine with a real Docker client, on a real Docker Engine behind a proxy:
//! one task is started and stopped while one kind of call meets one fault, then the faults end.
//! The engine's own events judge: nothing started twice, nothing left, nothing reported as stopped
//! that runs. Docker's timeouts are a twentieth of the shipped ones, but for some cells at the end.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, stream};
use longshore_harness::{
    docker_engine::{DockerEngine, EngineSettings},
    engine_history::EngineHistory,
    image,
    namespaces::Network,
    recording_proxy::{CALL_KINDS, CallKind, Fault},
    slot::Slot,
};

use crate::{
    campaign::reached,
    chance::Chance,
    figures::{count, figure, progress},
};

mod cell;
mod model;

pub(super) const CELLS: usize = 700;
/// Kinds of call times kinds of fault.
const MATRIX: usize = 140;
/// One of so many cells is run once more at shipped timeouts.
const SHIPPED_ONE_IN: usize = 35;
/// Steps through the matrix by one call and a fault less.
const SHIPPED_STEP: usize = 29;
/// What a second of Docker's patience is in a scaled cell.
const SCALE: u32 = 20;
const SLOW: Duration = Duration::from_secs(60);
/// Cells mostly wait; more of them at once would wait for the engine.
const CELLS_AT_ONCE: usize = 40;
/// A call meets its fault so often, at most.
const TIMES_MAX: usize = 3;

/// One way in which Docker fails.
#[derive(Clone, Debug)]
struct Cell {
    number: usize,
    kind: CallKind,
    fault: Fault,
    /// How many calls meet it.
    times: usize,
    variant: Variant,
    /// What Docker's timeouts are divided by.
    scale: u32,
}

/// What chance decides of a cell beside its fault.
#[derive(Clone, Copy, Debug)]
struct Variant {
    /// The fault comes when the task runs, where it could come before too.
    late: bool,
    /// Docker picks the host's port, so that one more inspect is needed.
    dynamic_port: bool,
    /// Whether a failed pull is final.
    always_pull: bool,
}

pub struct EngineFaults {
    cells: usize,
    /// Of them, so many once more at shipped timeouts.
    shipped: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct EngineFaultCounts {
    asked_cells: usize,
    seed: u64,
    pub cells: usize,
    pub shipped_cells: usize,
    pub faults: usize,
    pub ran: usize,
    pub failed_to_start: usize,
    pub state_changing_calls: usize,
    pub wrong: Vec<String>,
}

/// What all cells share.
struct Place {
    engine: PathBuf,
    folder: PathBuf,
    history: EngineHistory,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { number, kind, fault, times, variant, scale } = self;
        write!(f, "cell {number}: {times} x {kind:?} {fault:?}, {variant:?}, 1:{scale}")
    }
}

impl EngineFaults {
    pub fn of(cells: usize, seed: u64) -> EngineFaults {
        EngineFaults { cells, shipped: cells / SHIPPED_ONE_IN, seed }
    }

    /// Without the cells that take minutes.
    pub fn scaled_only(cells: usize, seed: u64) -> EngineFaults {
        EngineFaults { cells, shipped: 0, seed }
    }

    pub async fn run(self) -> Result<EngineFaultCounts> {
        let EngineFaults { cells: scaled, shipped, seed } = self;
        progress(&format!("p6: {scaled} cells and {shipped} at shipped timeouts, seed {seed}"));
        let slot = Slot::take()?;
        let network = Network::create(&slot, 1)?;
        let engine = DockerEngine::start(EngineSettings {
            name: "engine".to_owned(),
            folder: slot.folder().join("engine"),
            host: network.hosts().first().cloned(),
            control_group: slot.control_group(),
            live_restore: true,
        })
        .await?;
        image::import_sample(&engine.api(), slot.folder()).await?;
        let place = Arc::new(Place {
            engine: engine.socket(),
            folder: slot.folder().to_owned(),
            history: EngineHistory::follow(&engine.socket()).await?,
        });
        let mut counts =
            EngineFaultCounts { asked_cells: scaled + shipped, seed, ..Default::default() };
        // Those that take minutes first.
        let (patient, quick): (Vec<Cell>, Vec<Cell>) =
            cells(scaled, shipped, seed).into_iter().partition(|cell| cell.scale == 1);
        let at_once = CELLS_AT_ONCE.max(patient.len());
        let mut running = stream::iter(patient.into_iter().chain(quick))
            .map(|cell| {
                let place = place.clone();
                async move { (cell.clone(), tokio::spawn(cell::run(cell, place)).await) }
            })
            .buffer_unordered(at_once);
        while let Some((cell, ended)) = running.next().await {
            counts.take(&cell, ended.map_err(anyhow::Error::from).flatten());
        }
        Ok(counts)
    }
}

/// The whole matrix as often as it fits, each time with other chances.
fn cells(scaled: usize, shipped: usize, seed: u64) -> Vec<Cell> {
    let chance = Chance::from_seed(seed);
    let cell = |number: usize, scale: u32| {
        let mut chance = chance.part(number as u64);
        let place = number % MATRIX;
        let kind = CALL_KINDS[place / Fault::all(SLOW).len()];
        let fault = Fault::all(SLOW / scale)[place % Fault::all(SLOW).len()];
        let times = 1 + chance.below(TIMES_MAX);
        let variant = Variant {
            late: chance.one_in(2),
            dynamic_port: chance.one_in(4),
            always_pull: chance.one_in(2),
        };
        // Two 404s for one id are believed: that is the rule, and not a fault of Docker's.
        let believed = kind == CallKind::Inspect && fault == Fault::Status(404);
        Cell { number, kind, fault, times: if believed { 1 } else { times }, variant, scale }
    };
    let quick = (0..scaled).map(|number| cell(number, SCALE));
    // Of each kind of call one or two, with other faults each.
    let patient = (0..shipped).map(|n| cell(scaled + n * SHIPPED_STEP, 1));
    quick.chain(patient).collect()
}

impl EngineFaultCounts {
    fn take(&mut self, cell: &Cell, ended: Result<cell::Course>) {
        match ended {
            Ok(course) => {
                self.cells += 1;
                self.shipped_cells += usize::from(cell.scale == 1);
                self.faults += course.faults;
                self.ran += usize::from(course.ran);
                self.failed_to_start += usize::from(!course.ran);
                self.state_changing_calls += course.state_changing_calls;
            }
            Err(error) => {
                progress(&format!("p6: WRONG: {cell}: {error:#}"));
                self.wrong.push(format!("{cell}: {error:#}"));
            }
        }
        let all = self.cells + self.wrong.len();
        if all.is_multiple_of(50) {
            progress(&format!("p6: {all} cells"));
        }
    }

    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("cells", self.cells)?;
        count("cells_at_shipped_timeouts", self.shipped_cells)?;
        count("faults_met", self.faults)?;
        count("tasks_that_ran", self.ran)?;
        count("tasks_that_failed_to_start_with_a_reason", self.failed_to_start)?;
        count("state_changing_calls", self.state_changing_calls)?;
        count("cells_that_did_not_converge", self.wrong.len())?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        let wrong = self.wrong.len();
        ensure!(wrong == 0, "{wrong} cells came to something else, the first: {}", self.wrong[0]);
        reached("cells", self.cells, self.asked_cells)?;
        reached("faults", self.faults, self.asked_cells)
    }
}

impl Place {
    fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_140_cells_are_every_call_with_every_fault() {
        let all = cells(280, 8, 5);
        for round in all[..280].chunks(MATRIX) {
            let pairs: BTreeSet<_> = round.iter().map(|cell| (cell.kind, cell.fault)).collect();
            assert_eq!(pairs.len(), MATRIX);
        }
        assert_eq!(all.len(), 280 + 8);
        let kinds: BTreeSet<_> =
            cells(CELLS, CELLS / SHIPPED_ONE_IN, 5)[CELLS..].iter().map(|cell| cell.kind).collect();
        assert_eq!(kinds.len(), CALL_KINDS.len(), "{kinds:?}");
    }
}
