//! The logs that lie on the fleet's hosts, and those that clients put here, as one set of sources.
//!
//! Never: an answer for a host that gave none, or a merge of answers (that is the API's).

use std::{
    collections::BTreeSet,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::StatusCode;
use longshore_common::{
    clock::{Clock, Timestamp},
    id::{FleetId, HostId},
    logs::{
        aging::Aging,
        query::{LogAsk, LogReply, LogRequest},
        store::{Append, Durability, Keep, LogStore, NewEvent, StoreError},
    },
    protocol::PROTOCOL_VERSION,
    telemetry::chain,
};
use longshore_core::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::{LogClient, Peer, PollError};
use crate::blocking::Blocking;

/// Maximum number of hosts that one question asks at once (ours).
const ASKED_AT_ONCE: usize = 64;
/// Maximum number of bytes that PutLogEvents may store here (ours); the oldest events are removed
/// first.
const OWN_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Maximum age of events in groups without a retention policy (ours): CloudWatch Logs keeps them
/// for ever.
const OWN_AGE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Maximum number of Live Tail sessions (CloudWatch Logs' quota).
const LIVE_TAILS_MAX: usize = 15;
const OWN_FILE: &str = "logs.sqlite";

/// Orders sources, and tells events of one from those of another. Zero is what clients put here.
pub(crate) type Source = u128;
/// Source of the events that clients put here.
pub(crate) const OWN: Source = 0;

type Asking = Pin<Box<dyn Future<Output = Result<LogReply, String>> + Send>>;

/// A host at the other end.
trait Hosts: Send + Sync {
    fn ask(&self, host: HostId, address: String, ask: LogAsk) -> Asking;
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    hosts: Arc<dyn Hosts>,
    own: Arc<Mutex<Own>>,
    live_tails: Arc<Semaphore>,
    /// Where the own store is read and written.
    blocking: Blocking,
}

/// What clients put here, and by which time it grows old: not by a clock that has jumped.
struct Own {
    store: LogStore,
    aging: Aging,
    clock: Arc<dyn Clock>,
}

/// A host that may hold logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) host: HostId,
    pub(crate) address: String,
    pub(crate) connected: bool,
}

/// What came of a question to all its sources.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) replies: Vec<(Source, LogReply)>,
    /// Hosts that were not heard.
    pub(crate) silent: Vec<HostId>,
}

impl Logs {
    /// `directory` holds what clients put.
    pub fn open<C: LogClient>(
        directory: &Path,
        client: Arc<C>,
        fleet: FleetId,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Logs::of(Arc::new(Agents { client, fleet }), Own::open(directory, clock)?))
    }

    fn of(hosts: Arc<dyn Hosts>, own: Own) -> Self {
        let own = Arc::new(Mutex::new(own));
        let live_tails = Arc::new(Semaphore::new(LIVE_TAILS_MAX));
        Logs { hosts, own, live_tails, blocking: Blocking::Aside }
    }

    /// Makes this run on one thread, for simulations, in which no other thread has a part.
    pub fn on_one_thread(self) -> Self {
        Logs { blocking: Blocking::AtOnce, ..self }
    }

    /// What one session of StartLiveTail holds; none while there are as many as there may be.
    pub(crate) fn begin_live_tail(&self) -> Option<OwnedSemaphorePermit> {
        self.live_tails.clone().try_acquire_owned().ok()
    }

    /// Asks the own store and these hosts.
    pub(crate) async fn ask(
        &self,
        holders: Vec<Holder>,
        ask: impl Fn(Source) -> LogAsk,
    ) -> Result<Answers, String> {
        let own = self.ask_own(ask(OWN)).await?;
        let mut answers = Answers { replies: vec![(OWN, own)], silent: Vec::new() };
        let asked = holders.into_iter().map(|Holder { host, address, .. }| {
            let asking = self.hosts.ask(host, address, ask(host.value()));
            async move { (host, asking.await) }
        });
        let mut asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some((host, answer)) = asked.next().await {
            match answer {
                Ok(reply) => answers.replies.push((host.value(), reply)),
                Err(error) => {
                    tracing::warn!(host = %host, error, "a host does not answer for its logs");
                    answers.silent.push(host);
                }
            }
        }
        answers.silent.sort_unstable();
        Ok(answers)
    }

    /// Asks the own store alone.
    pub(crate) async fn ask_own(&self, ask: LogAsk) -> Result<LogReply, String> {
        self.with_own(move |own| own.store.answer(&ask)).await
    }

    /// Stores what a client put; it is on the disk when this returns.
    pub(crate) async fn put(
        &self,
        group: String,
        stream: String,
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> Result<(), String> {
        self.with_own(move |own| {
            let append = Append { group: &group, stream: &stream, events: &events, cursor: None };
            own.store.append(&[append], now)?;
            let keep = Keep { age: OWN_AGE, bytes: OWN_BYTES_MAX };
            let now = own.aging.now(&*own.clock);
            own.store.keep(keep, now).map(|_| ())
        })
        .await
    }

    /// Whether there was no such stream.
    pub(crate) async fn create_stream(
        &self,
        group: String,
        stream: String,
        now: Timestamp,
    ) -> Result<bool, String> {
        self.with_own(move |own| own.store.create_stream(&group, &stream, now)).await
    }

    async fn with_own<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Own) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        let own = self.own.clone();
        let worked = self
            .blocking
            .run(move || work(&mut own.lock().unwrap_or_else(PoisonError::into_inner)));
        match worked.await {
            Ok(result) => result.map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Own {
    fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let store = LogStore::open(&directory.join(OWN_FILE), Durability::Acknowledged)?;
        let aging = Aging::begun(&*clock, store.newest_stored()?);
        Ok(Own { store, aging, clock })
    }
}

/// Every host that may hold logs, in the order of their ids; only these when `hosts` names any.
pub(crate) fn holders(state: &State, hosts: Option<&BTreeSet<HostId>>) -> Vec<Holder> {
    let mut holders: Vec<Holder> = state
        .hosts()
        .filter(|host| host.is_registered() && hosts.is_none_or(|some| some.contains(&host.id)))
        .filter_map(|host| {
            let address = host.agent.as_ref()?.poll_address.clone();
            Some(Holder { host: host.id, address, connected: host.connected })
        })
        .collect();
    holders.sort_unstable_by_key(|holder| holder.host);
    holders
}

struct Agents<C> {
    client: Arc<C>,
    fleet: FleetId,
}

impl<C: LogClient> Hosts for Agents<C> {
    fn ask(&self, host: HostId, address: String, ask: LogAsk) -> Asking {
        let (client, fleet) = (self.client.clone(), self.fleet);
        Box::pin(async move {
            let peer = Peer { host, fleet, address };
            let nothing = ask.nothing();
            let request = LogRequest { protocol: PROTOCOL_VERSION, fleet, host, ask };
            match client.logs(&peer, request).await {
                // An agent from before there were logs: no task with any was placed there.
                Err(PollError::Status(StatusCode::NOT_FOUND)) => Ok(nothing),
                answer => answer.map_err(|error| chain(&error)),
            }
        })
    }
}

/// Hosts in memory: a store each, and whether it answers.
#[cfg(test)]
pub(crate) mod fake {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct FakeHosts {
        stores: Arc<Mutex<BTreeMap<HostId, LogStore>>>,
        directories: Arc<Mutex<Vec<tempfile::TempDir>>>,
    }

    impl FakeHosts {
        fn directory(&self) -> std::path::PathBuf {
            let made = tempfile::tempdir().unwrap();
            let path = made.path().to_owned();
            self.directories.lock().unwrap().push(made);
            path
        }

        pub(crate) fn logs(&self, clock: Arc<dyn Clock>) -> Logs {
            Logs::of(Arc::new(self.clone()), Own::open(&self.directory(), clock).unwrap())
        }

        /// The host answers from now on.
        pub(crate) fn add(&self, host: HostId) {
            let path = self.directory().join("logs.sqlite");
            let store = LogStore::open(&path, Durability::WithItsSource).unwrap();
            self.stores.lock().unwrap().insert(host, store);
        }

        pub(crate) fn append(&self, host: HostId, append: Append<'_>, now: Timestamp) {
            self.stores.lock().unwrap().get_mut(&host).unwrap().append(&[append], now).unwrap();
        }

        /// The host does not answer until it is [resumed](Self::resume) with what it had.
        pub(crate) fn pause(&self, host: HostId) -> LogStore {
            self.stores.lock().unwrap().remove(&host).unwrap()
        }

        pub(crate) fn resume(&self, host: HostId, store: LogStore) {
            self.stores.lock().unwrap().insert(host, store);
        }

        pub(crate) fn silence(&self, host: HostId) {
            self.stores.lock().unwrap().remove(&host);
        }
    }

    impl Hosts for FakeHosts {
        fn ask(&self, host: HostId, _address: String, ask: LogAsk) -> Asking {
            let answer = match self.stores.lock().unwrap().get_mut(&host) {
                Some(store) => store.answer(&ask).map_err(|error| error.to_string()),
                None => Err("silent".to_owned()),
            };
            Box::pin(std::future::ready(answer))
        }
    }
}
