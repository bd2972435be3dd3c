//! `longshore-agent network`: keeps this host's network as tasks need it.
//!
//! Owns the address of the task endpoints, the way to it, and what keeps tasks from EC2's instance
//! metadata. Others change a host's network beside it: a restarted systemd-networkd removes routing
//! rules that it does not know, a flushed firewall takes every rule, Docker may get another bridge.
//! This lays again what is missing and tells the agent when tasks are not served. It runs as a unit of
//! its own, because the agent's has no capability. Never: a change of what others made.

pub(crate) mod probe;
pub(crate) mod report;
pub(crate) mod wiring;
mod changes;

use std::{path::Path, time::Duration};

use longshore_common::telemetry::chain;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::{
    changes::Changes,
    report::{NetworkReport, REPORT_FILE},
};
use crate::{
    runtime::docker::{Bridge, DEFAULT_BRIDGE, Docker},
    service_manager,
    settings::Settings,
};

/// How often is looked without a sign of a change: not every firewall tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often a look is repeated while something is wrong, and the shortest time between two: Docker
/// changes the firewall with each container that publishes a port.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long Docker is asked for its bridge.
const BRIDGE_WITHIN: Duration = Duration::from_secs(5);

/// Lays, watches and tells until `shutdown`. `tell` hears each change of what is wrong.
pub(crate) async fn keep(
    settings: &Settings,
    docker: Docker,
    mut tell: impl FnMut(Option<String>),
    shutdown: CancellationToken,
) {
    let mut changes = Changes::subscribe()
        .inspect_err(|error| info!(%error, "changes of the network are looked for each minute"))
        .ok();
    let mut bridge = Bridge { device: DEFAULT_BRIDGE.to_owned(), addresses: None };
    let mut told = None;
    loop {
        let look = look(settings, &docker, &mut bridge);
        let Some(problem) = shutdown.run_until_cancelled(look).await else { return };
        if told.as_ref() != Some(&problem) {
            match (&problem, &told) {
                (Some(problem), _) => error!(problem, "tasks are not served as they should be"),
                (None, Some(_)) => info!("the network is as tasks need it again"),
                (None, None) => info!(bridge = bridge.device, "the network is as tasks need it"),
            }
            tell(problem.clone());
        }
        let wait_longer = problem.is_none();
        told = Some(problem);
        let pause = async {
            tokio::time::sleep(LOOK_AGAIN).await;
            if wait_longer {
                let _ = tokio::time::timeout(LOOK_EVERY, next(&mut changes)).await;
            }
        };
        if shutdown.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Waits for a change that can be heard of.
async fn next(changes: &mut Option<Changes>) {
    let heard = match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    };
    if let Err(error) = heard {
        info!(%error, "changes of the network are looked for each minute");
        *changes = None;
    }
}

/// Lays what is missing; what is wrong all the same.
async fn look(settings: &Settings, docker: &Docker, bridge: &mut Bridge) -> Option<String> {
    if let Ok(Ok(Some(found))) = tokio::time::timeout(BRIDGE_WITHIN, docker.bridge()).await {
        *bridge = found;
    }
    if let Err(error) = wiring::prepare(settings, &bridge.device).await {
        return Some(chain(&error));
    }
    let (Some(public), Some(addresses)) = (settings.task_endpoints_listen, bridge.addresses) else {
        return None;
    };
    let problem = probe::probe(&bridge.device, addresses, public).await.err()?;
    Some(format!(
        "{problem}. Does a firewall drop what comes from {}? It must let tasks reach {} on this host",
        bridge.device,
        wiring::listens_at(public)
    ))
}

/// The program of the unit.
pub(crate) async fn run(settings: &Settings, docker: Docker, shutdown: CancellationToken) {
    let file = Path::new(REPORT_FILE);
    let mut ready = false;
    let tell = |problem: Option<String>| {
        if let Err(error) = (NetworkReport { problem }).write(file) {
            error!(%error, "the agent is not told: this is for the unit longshore-agent-network");
        }
        if !std::mem::replace(&mut ready, true) {
            service_manager::ready("Keeping this host's network as tasks need it");
        }
    };
    keep(settings, docker, tell, shutdown).await;
    // Nobody keeps it from here on: what was told last may not be true any more.
    let _ = fs_err::remove_file(file);
}
