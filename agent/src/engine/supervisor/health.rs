//! Whether the container engine answers, as the coordinator is told.
//!
//! Two see it: the event stream, which ends with the engine, and whoever asks the engine from time to
//! time, who notices one that hangs. And whether the disks let tasks be taken, and whether the host is
//! about to leave. Never: a conclusion about a container.

use longshore_common::protocol::{EngineHealth, StorageHealth};
use tokio::sync::watch;

use crate::host::docker_reach::DockerReach;

/// What those see who ask the engine from time to time.
#[derive(Clone, Debug)]
pub struct ReachWatch(pub(crate) watch::Receiver<DockerReach>);

/// Whether the host's machine is about to be taken away.
#[derive(Clone, Debug)]
pub struct LeaveWatch(pub(crate) watch::Receiver<bool>);

pub(super) struct HostHealth {
    pub(super) reach: Option<watch::Receiver<DockerReach>>,
    pub(super) leaving: Option<watch::Receiver<bool>>,
    pub(super) leaves: bool,
    /// What the coordinator was told last.
    pub(super) told: EngineHealth,
    pub(super) told_inspected: bool,
    pub(super) told_leaving: bool,
    /// Also for those on this host who ask.
    pub(super) told_storage: watch::Sender<StorageHealth>,
    /// What the last answer said of all that.
    pub(super) answered: Option<ToldHealth>,
}

/// What an answer says of the engine, of the look at its containers, of a leave, and of the disks.
pub(super) type ToldHealth = (EngineHealth, bool, bool, StorageHealth);

impl HostHealth {
    pub(super) fn watched(reach: Option<ReachWatch>, leaving: Option<LeaveWatch>) -> Self {
        HostHealth {
            reach: reach.map(|watch| watch.0),
            leaving: leaving.map(|watch| watch.0),
            leaves: false,
            told: EngineHealth::Unknown,
            told_inspected: false,
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
    pub(super) fn now(&self, synced: bool) -> EngineHealth {
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

pub(super) async fn changed<T>(watched: &mut Option<watch::Receiver<T>>) {
    let Some(receiver) = watched else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        *watched = None;
    }
}
