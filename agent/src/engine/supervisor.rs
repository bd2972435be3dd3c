//! The agent's engine: the one owner of what is desired and observed of every task on this host.
//!
//! Everything reaches it as a message: polls, the container engine's events, the outcomes of its
//! own calls. Each message changes one task, and [`Engine::advance`] then plans that task anew.
//! Never: a stop that nobody ordered, a conclusion from an unknown outcome, a Docker call for a task
//! before the order to run it is in the ledger.

use std::sync::Arc;

use longshore_common::clock::Clock;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{engine::ledger::Ledger, runtime::ContainerRuntime};

mod config;
mod handle;
mod timer;
mod task;
mod registry;
mod lanes;
mod known_images;
mod disk_pressure;
mod health;
mod ledger_state;
mod polls;
mod finished;
mod watch;
mod state;
mod view;
mod inspections;
mod disk_cleanup;
mod images;
mod pulls;
mod steps;
mod metadata_files;
mod health_news;
mod record;
mod tasks;
mod intake;
mod wake;
#[cfg(test)]
mod tests;

pub use self::{
    config::{EngineConfig, TaskEndpoints},
    handle::{ContainerView, EngineHandle, EngineStopped, TaskView},
    health::{LeaveWatch, ReachWatch},
    state::EngineError,
};
use self::{handle::EngineRequest, state::Engine, watch::EngineNews};
pub use crate::{engine::ledger::LedgerError, mounts::MountHelper, task::rules::MetadataFiles};

/// Maximum of requests that wait for the engine.
const REQUESTS_QUEUED_MAX: usize = 64;
/// Maximum of the container engine's events that wait to be taken.
const WATCHED_QUEUED_MAX: usize = 256;

/// Opens the ledger and starts the engine. It runs until `shutdown` or until every handle is gone,
/// and touches no container by ending.
pub fn start<R: ContainerRuntime>(
    config: EngineConfig,
    runtime: R,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(EngineHandle, JoinHandle<Result<(), EngineError>>), LedgerError> {
    let (ledger, contents) = Ledger::open(&config.ledger, config.fleet, config.host)?;
    let (requests, inbox) = mpsc::channel(REQUESTS_QUEUED_MAX);
    let engine = Engine::new(config, Arc::new(runtime), clock, ledger, contents);
    let storage = engine.storage_told();
    let running = tokio::spawn(engine.run(inbox, shutdown));
    Ok((EngineHandle { requests, storage }, running))
}

impl<R: ContainerRuntime> Engine<R> {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<EngineRequest>,
        shutdown: CancellationToken,
    ) -> Result<(), EngineError> {
        self.set_image_cleanup();
        let (sender, mut watched) = mpsc::channel(WATCHED_QUEUED_MAX);
        let watcher = tokio::spawn(watch::watch(
            self.runtime.clone(),
            self.clock.clone(),
            self.config.owner(),
            self.config.resync,
            sender,
        ));
        let ended = self.serve(&mut inbox, &mut watched, &shutdown).await;
        watcher.abort();
        ended
    }

    async fn serve(
        &mut self,
        inbox: &mut mpsc::Receiver<EngineRequest>,
        watched: &mut mpsc::Receiver<EngineNews>,
        shutdown: &CancellationToken,
    ) -> Result<(), EngineError> {
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.cancelled() => break,
                request = inbox.recv() => match request {
                    Some(EngineRequest::Poll(request, reply)) => self.poll_arrived(request, reply),
                    Some(EngineRequest::Tasks(reply)) => drop(reply.send(self.view())),
                    None => break,
                },
                Some(news) = watched.recv() => self.watched(news),
                Some(finished) = self.steps.join_next(), if !self.steps.is_empty() => {
                    match finished {
                        Ok(finished) => self.finished(finished),
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic());
                        }
                        Err(_) => {}
                    }
                }
                Some((source, amount)) = self.pull_news.1.recv() => {
                    self.pull_progressed(&source, amount);
                }
                Some(ended) = self.processes.join_next(), if !self.processes.is_empty() => {
                    if let Ok(Some((process, end))) = ended {
                        self.process_ended(&process, end);
                    }
                }
                () = self.disk_pressure.changed() => self.disk_seen(),
                () = self.health.changed() => {}
                written = record::written(&mut self.writing) => {
                    let (ledger, batch, result) = written;
                    self.written(ledger, batch, result)?;
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.wake();
                }
            }
            self.tell_health();
            self.release_news();
            self.write_what_is_open();
        }
        self.write_at_the_end().await
    }
}
