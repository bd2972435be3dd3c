//! Tells the coordinator, by a poll that is kept, how the host and its container engine are.

use longshore_common::protocol::{EngineHealth, StorageHealth};
use tokio::sync::watch;
use tracing::info;

use super::{health::ToldHealth, ledger_state::LedgerState, state::Engine};
use crate::runtime::ContainerRuntime;

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn health(&self) -> EngineHealth {
        self.health.now(self.synced)
    }

    pub(super) fn storage(&self) -> StorageHealth {
        match self.ledger_state {
            LedgerState::Written => self.disk_pressure.storage(),
            LedgerState::Failing | LedgerState::Retrying => StorageHealth::Unwritable,
        }
    }

    pub(super) fn storage_told(&self) -> watch::Receiver<StorageHealth> {
        self.health.told_storage.subscribe()
    }

    fn said(&self) -> ToldHealth {
        (self.health(), self.has_inspected(), self.health.is_leaving(), self.storage())
    }

    pub(super) fn health_is_answered(&mut self) {
        self.health.answered = Some(self.said());
    }

    /// Something came up while no poll was kept: the next one leaves with it at once.
    pub(super) fn health_has_news(&self) -> bool {
        self.health.answered.is_some_and(|answered| answered != self.said())
    }

    /// A poll that is kept leaves with the news.
    pub(super) fn tell_health(&mut self) {
        let (now, looked) = (self.health(), self.has_inspected());
        if now != self.health.told {
            info!(host = %self.config.host, engine = ?now, "telling the coordinator of Docker");
        }
        if (now, looked) != (self.health.told, self.health.told_inspected) {
            (self.health.told, self.health.told_inspected) = (now, looked);
            self.release_parked();
        }
        let leaves = self.health.is_leaving();
        if std::mem::replace(&mut self.health.told_leaving, leaves) != leaves {
            info!(host = %self.config.host, leaves, "telling the coordinator whether this host leaves");
            self.release_parked();
        }
        let storage = self.storage();
        let was = self.health.told_storage.send_replace(storage);
        if was != storage {
            info!(host = %self.config.host, ?storage, "telling the coordinator of the disks");
            self.release_parked();
        }
    }
}
