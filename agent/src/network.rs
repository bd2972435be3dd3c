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
mod firewall;
mod probes;

use std::{path::Path, time::Duration};

use longshore_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::{
    changes::{NetworkChange, NetworkChanges},
    probes::Probes,
    report::{NetworkReport, REPORT_FILE},
};
use crate::{
    runtime::docker::{Bridge, DEFAULT_BRIDGE, Docker},
    service_manager,
    settings::Settings,
};

/// Interval of looks without a sign of a change: not every firewall tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Minimum time between two looks: Docker changes the firewall with each container that publishes a
/// port. While something is wrong, the pause doubles with each look.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Timeout of asking Docker for its bridge.
const BRIDGE_WITHIN: Duration = Duration::from_secs(5);

/// Lays, watches and tells until `shutdown`. `tell` hears each change of what is wrong.
pub(crate) async fn keep(
    settings: &Settings,
    docker: Docker,
    mut tell: impl FnMut(Option<String>),
    shutdown: CancellationToken,
) {
    let mut changes = NetworkChanges::subscribe()
        .inspect_err(|error| info!(%error, "changes of the network are looked for each minute"))
        .ok();
    let mut network = HostNetwork::new(settings, docker);
    let mut told = None;
    let mut pause = LOOK_AGAIN;
    loop {
        let Some(problem) = shutdown.run_until_cancelled(network.look()).await else { return };
        if told.as_ref() != Some(&problem) {
            let bridge = &network.bridge.device;
            match (&problem, &told) {
                (Some(problem), _) => error!(problem, "tasks are not served as they should be"),
                (None, Some(_)) => info!("the network is as tasks need it again"),
                (None, None) => info!(bridge, "the network is as tasks need it"),
            }
            tell(problem.clone());
            pause = LOOK_AGAIN;
        }
        let wait = if problem.is_some() { pause } else { LOOK_EVERY };
        pause = (pause * 2).min(LOOK_EVERY);
        told = Some(problem);
        let waiting = async {
            tokio::time::sleep(LOOK_AGAIN).await;
            let heard = tokio::time::timeout(wait - LOOK_AGAIN, next(&mut changes)).await;
            if heard.is_ok_and(|changed| changed.firewall) {
                network.probes.firewall_changed();
            }
        };
        if shutdown.run_until_cancelled(waiting).await.is_none() {
            return;
        }
    }
}

/// Waits for a change that can be heard of.
async fn next(changes: &mut Option<NetworkChanges>) -> NetworkChange {
    let heard = match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    };
    heard.unwrap_or_else(|error| {
        info!(%error, "changes of the network are looked for each minute");
        *changes = None;
        NetworkChange::default()
    })
}

/// This host's network, and what is known of it from one look to the next.
struct HostNetwork<'a> {
    settings: &'a Settings,
    docker: Docker,
    bridge: Bridge,
    probes: Probes,
}

impl<'a> HostNetwork<'a> {
    fn new(settings: &'a Settings, docker: Docker) -> Self {
        let bridge = Bridge { device: DEFAULT_BRIDGE.to_owned(), addresses: None };
        HostNetwork { settings, docker, bridge, probes: Probes::default() }
    }

    /// Lays what is missing; what is wrong all the same.
    async fn look(&mut self) -> Option<String> {
        let asked = tokio::time::timeout(BRIDGE_WITHIN, self.docker.bridge()).await;
        let mut moved = false;
        if let Ok(Ok(Some(found))) = asked {
            moved = found != self.bridge;
            self.bridge = found;
        }
        match wiring::prepare(self.settings, &self.bridge.device).await {
            Ok(false) => {}
            Ok(true) => self.probes.firewall_changed(),
            Err(error) => return Some(chain(&error)),
        }
        let (public, addresses) = (self.settings.task_endpoints_listen?, self.bridge.addresses?);
        let device = &self.bridge.device;
        if self.probes.is_due(Instant::now(), moved) && wiring::is_served(public).await {
            let problem = probe::probe(device, addresses, public).await.err();
            self.probes.ended(Instant::now(), problem);
        }
        let problem = self.probes.problem()?;
        Some(format!(
            "{problem}. Does a firewall drop what comes from {device}? It must let tasks reach {} on \
             this host",
            wiring::listens_at(public)
        ))
    }
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
