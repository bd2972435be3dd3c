//! Answers what the coordinator asks of the logs on this host.

use std::{path::PathBuf, sync::Arc};

use longshore_common::{
    id::{FleetId, HostId},
    logs::{
        query::{LogReply, LogRequest},
        store::{Durability, LogStore},
    },
    protocol::PROTOCOL_VERSION,
    telemetry::chain,
};
use tokio::sync::{Mutex, Semaphore};

/// Maximum of questions that wait for one another: more would only fill memory.
const QUESTIONS_WAITING_MAX: usize = 8;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("no logs are served here")]
    NotServed,
    #[error("this is another host, or of another fleet")]
    OtherHost,
    #[error("this agent speaks protocol {PROTOCOL_VERSION}")]
    UnknownProtocol,
    #[error("too many questions wait already")]
    Busy,
    /// With the reason.
    #[error("{0}")]
    Failed(String),
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogReader {
    /// A connection of its own, so that nobody who reads holds up the follower. Questions wait for
    /// it here and not on the few threads that the ledger needs as well.
    /// Opened by the first question that finds it.
    store: Arc<Mutex<Option<LogStore>>>,
    path: PathBuf,
    room: Arc<Semaphore>,
    fleet: FleetId,
    host: HostId,
}

impl LogReader {
    pub(crate) fn of(path: PathBuf, fleet: FleetId, host: HostId) -> Self {
        let room = Arc::new(Semaphore::new(QUESTIONS_WAITING_MAX));
        LogReader { store: Arc::default(), path, room, fleet, host }
    }

    pub(crate) async fn answer(&self, request: LogRequest) -> Result<LogReply, Unanswered> {
        if request.protocol != PROTOCOL_VERSION {
            return Err(Unanswered::UnknownProtocol);
        }
        if (request.fleet, request.host) != (self.fleet, self.host) {
            return Err(Unanswered::OtherHost);
        }
        let room = self.room.clone().try_acquire_owned().map_err(|_| Unanswered::Busy)?;
        let mut store = self.store.clone().lock_owned().await;
        let path = self.path.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let _room = room;
            let open = match store.take() {
                Some(open) => open,
                None => LogStore::open(&path, Durability::WithItsSource)?,
            };
            store.insert(open).answer(&request.ask)
        });
        match answered.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::warn!(error, "a question about logs could not be answered");
                Err(Unanswered::Failed(error.to_string()))
            }
            Err(error) => Err(Unanswered::Failed(error.to_string())),
        }
    }
}
