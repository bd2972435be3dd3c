//! Whether the container engine answers, as the coordinator is told.
//!
//! Two see it: the event stream, which ends with the engine, and whoever asks the engine from time to
//! time, who notices one that hangs. And whether the disks let tasks be taken, and whether the host is
//! about to leave. Never: a conclusion about a container.

use longshore_common::protocol::{EngineHealth, StorageHealth};
use tokio::sync::watch;
use tracing::info;

use super::{Engine, record::LedgerState};
use crate::{host::docker_reach::Reach, runtime::ContainerRuntime};

/// What those see who ask the engine from time to time.
#[derive(Clone, Debug)]
pub struct ReachWatch(pub(crate) watch::Receiver<Reach>);

/// Whether the host's machine is about to be taken away.
#[derive(Clone, Debug)]
pub struct LeaveWatch(pub(crate) watch::Receiver<bool>);

pub(super) struct Health {
    reach: Option<watch::Receiver<Reach>>,
    leaving: Option<watch::Receiver<bool>>,
    leaves: bool,
    /// What the coordinator was told last.
    told: EngineHealth,
    told_looked: bool,
    told_leaving: bool,
    /// Also for those on this host who ask.
    told_storage: watch::Sender<StorageHealth>,
    /// What the last answer said of all that.
    answered: Option<Said>,
}

/// What an answer says of the engine, of the look at its containers, of a leave, and of the disks.
type Said = (EngineHealth, bool, bool, StorageHealth);

impl Health {
    pub(super) fn watched(reach: Option<ReachWatch>, leaving: Option<LeaveWatch>) -> Self {
        Health {
            reach: reach.map(|watch| watch.0),
            leaving: leaving.map(|watch| watch.0),
            leaves: false,
            told: EngineHealth::Unknown,
            told_looked: false,
            told_leaving: false,
            told_storage: watch::Sender::default(),
            answered: None,
        }
    }

    /// When somebody has asked with another result; never when nobody asks.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.reach) => {}
            () = changed(&mut self.leaving) => {}
        }
        // What was said last stays said, also once nobody watches any more.
        self.leaves = self.is_leaving();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.as_ref().map_or(self.leaves, |leaving| *leaving.borrow())
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

async fn changed<T>(watched: &mut Option<watch::Receiver<T>>) {
    let Some(receiver) = watched else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        *watched = None;
    }
}

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn health(&self) -> EngineHealth {
        self.health.now(self.synced)
    }

    pub(super) fn storage(&self) -> StorageHealth {
        match self.ledger_state {
            LedgerState::Written => self.rooms.storage(),
            LedgerState::Failing | LedgerState::TriedAgain => StorageHealth::Unwritable,
        }
    }

    pub(super) fn storage_told(&self) -> watch::Receiver<StorageHealth> {
        self.health.told_storage.subscribe()
    }

    fn said(&self) -> Said {
        (self.health(), self.has_looked(), self.health.is_leaving(), self.storage())
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
        let (now, looked) = (self.health(), self.has_looked());
        if now != self.health.told {
            info!(host = %self.config.host, engine = ?now, "telling the coordinator of Docker");
        }
        if (now, looked) != (self.health.told, self.health.told_looked) {
            (self.health.told, self.health.told_looked) = (now, looked);
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
