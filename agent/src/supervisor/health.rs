//! Whether the container engine answers, as the coordinator is told.
//!
//! Two see it: the event stream, which ends with the engine, and whoever asks the engine from time to
//! time, who notices one that hangs. Never: a conclusion about a container.

use longshore_common::protocol::EngineHealth;
use tokio::sync::watch;
use tracing::info;

use super::Engine;
use crate::{docker_reach::Reach, runtime::ContainerRuntime};

/// What those see who ask the engine from time to time.
#[derive(Clone, Debug)]
pub struct ReachWatch(pub(crate) watch::Receiver<Reach>);

pub(super) struct Health {
    reach: Option<watch::Receiver<Reach>>,
    /// What the coordinator was told last.
    told: EngineHealth,
}

impl Health {
    pub(super) fn watched(reach: Option<ReachWatch>) -> Self {
        Health { reach: reach.map(|watch| watch.0), told: EngineHealth::Unknown }
    }

    /// When somebody has asked with another result; never when nobody asks.
    pub(super) async fn changed(&mut self) {
        let Some(reach) = &mut self.reach else { return std::future::pending().await };
        if reach.changed().await.is_err() {
            self.reach = None;
        }
    }

    /// Before the engine was listed for the first time, only an answer that failed says something.
    fn now(&self, synced: bool) -> EngineHealth {
        let (asked, answers) = match &self.reach {
            Some(reach) => (reach.borrow().asked, reach.borrow().answers),
            None => (false, false),
        };
        match (synced, self.told) {
            _ if asked && !answers => EngineHealth::Silent,
            (true, _) => EngineHealth::Answers,
            (false, EngineHealth::Unknown) => EngineHealth::Unknown,
            (false, _) => EngineHealth::Silent,
        }
    }
}

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn health(&self) -> EngineHealth {
        self.health.now(self.synced)
    }

    /// A poll that is kept leaves with the news.
    pub(super) fn tell_health(&mut self) {
        let now = self.health();
        if now != self.health.told {
            self.health.told = now;
            info!(host = %self.config.host, engine = ?now, "telling the coordinator of Docker");
            self.release_parked();
        }
    }
}
