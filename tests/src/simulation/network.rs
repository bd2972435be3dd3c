//! The network between coordinator and agents: delays, lost requests, lost answers, cut hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_agent::engine::supervisor;
use longshore_common::{
    id::HostId,
    protocol::{PollAnswer, PollRequest},
};
use longshore_coordinator::fleet::client::{AgentClient, Peer, PollError};

use crate::chance::Chance;

/// Longest delay of one message either way, while faults go on.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// One message in so many is lost, while faults go on.
const LOSS_ONE_IN: usize = 12;
/// When a lost message shows: nothing comes back.
const NEVER: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub struct Network(Arc<Mutex<Links>>);

struct Links {
    agents: BTreeMap<HostId, supervisor::EngineHandle>,
    cut: BTreeSet<HostId>,
    faulty: bool,
    chance: Chance,
    polls: u64,
    lost: u64,
}

enum Fate {
    Arrives(Duration),
    Lost,
}

impl Network {
    pub fn new(chance: Chance) -> Self {
        Network(Arc::new(Mutex::new(Links {
            agents: BTreeMap::new(),
            cut: BTreeSet::new(),
            faulty: false,
            chance,
            polls: 0,
            lost: 0,
        })))
    }

    pub fn set_faulty(&self, faulty: bool) {
        self.links().faulty = faulty;
    }

    pub fn connect(&self, host: HostId, agent: supervisor::EngineHandle) {
        self.links().agents.insert(host, agent);
    }

    /// Nobody listens there: connections are refused.
    pub fn disconnect(&self, host: HostId) {
        self.links().agents.remove(&host);
    }

    pub fn cut(&self, host: HostId) {
        self.links().cut.insert(host);
    }

    pub fn heal(&self, host: HostId) {
        self.links().cut.remove(&host);
    }

    /// Polls so far, and messages lost.
    pub fn counts(&self) -> (u64, u64) {
        let links = self.links();
        (links.polls, links.lost)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, host: HostId) -> Fate {
        let mut links = self.links();
        let lost = links.cut.contains(&host) || (links.faulty && links.chance.one_in(LOSS_ONE_IN));
        if lost {
            links.lost += 1;
            return Fate::Lost;
        }
        match links.faulty {
            true => Fate::Arrives(links.chance.up_to(DELAY_MAX)),
            false => Fate::Arrives(Duration::from_micros(100)),
        }
    }

    async fn travel(&self, host: HostId) {
        match self.fate(host) {
            Fate::Arrives(delay) => tokio::time::sleep(delay).await,
            Fate::Lost => tokio::time::sleep(NEVER).await,
        }
    }
}

impl AgentClient for Network {
    async fn poll(&self, peer: &Peer, request: PollRequest) -> Result<PollAnswer, PollError> {
        self.links().polls += 1;
        self.travel(peer.host).await;
        let agent = self.links().agents.get(&peer.host).cloned();
        let refused = || PollError::Refused(std::io::ErrorKind::ConnectionRefused.into());
        let answer = agent.ok_or_else(refused)?.poll(request).await;
        let answer = answer.map_err(|error| PollError::Lost(Box::new(error)))?;
        self.travel(peer.host).await;
        Ok(answer)
    }

    fn forget(&self, _host: HostId) {}
}
