//! P6: Docker may fail in any way, and every task comes to what it should.
//!
//! A cell is one agent's engine with a real Docker client, on a real Docker Engine behind a proxy:
//! one task is started and stopped while one kind of call meets one fault, then the faults end.
//! The engine's own events judge: nothing started twice, nothing left, nothing reported as stopped
//! that runs. Docker's timeouts are a twentieth of the shipped ones, but for some cells at the end.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, stream};
use longshore_harness::{
    docker_engine::{DockerEngine, EngineSettings},
    engine_history::EngineHistory,
    image,
    namespaces::Network,
    slot::Slot,
};

use self::{
    cell::Place,
    matrix::{Cell, SHIPPED_ONE_IN, cells},
};
use crate::figures::{count, figure, progress, reached};

mod cell;
mod matrix;
mod model;

pub(super) const CELLS: usize = 700;
/// Cells mostly wait; more of them at once would wait for the engine.
const CELLS_AT_ONCE: usize = 40;

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
