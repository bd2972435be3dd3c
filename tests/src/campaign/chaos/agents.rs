//! The hosts: agents that take the coordinator's own polls, keep a ledger, and run tasks that start,
//! fail, fall ill and stop slowly. A host joins, is silent for a while, is cloned, and goes.

mod fake;

use std::collections::BTreeSet;

use longshore_common::{
    id::HostId,
    join_token::JoinToken,
    protocol::{
        Attribute, PollAnswer, PollOutcome, PollRequest, RegisterRequest, ReportBody,
        ReportPosition, Versions,
    },
    resources::{Capacity, CpuUnits, MemoryMib},
};
use longshore_coordinator::{
    driver::Refused,
    fleet::poller::{
        exchange::{self, Peer, Sender},
        testimony::{self, Testimony},
    },
};
use longshore_core::{
    Answer, Command, Rejection, State,
    command::{AgentAnswered, CertifyHost, EpochCommand, HostCommand, MemberCommand, TokenCommand},
    rejection::MemberRejection,
    state::Host,
};
use sha2::{Digest, Sha256};

use self::fake::FakeAgent;
use super::coordinator::{Coordinator, FLEET, POOL};
use crate::chance::Chance;

/// Hosts that run at the same time.
pub(super) const HOSTS_MAX: usize = 14;
/// One round in so many cuts a cluster off, for so many polls or more.
const CUT_OFF: usize = 150;
const CUT_OFF_MIN: usize = 10;
const LARGE_CPU: CpuUnits = CpuUnits(64 * 1024);
const LARGE_MEMORY: MemoryMib = MemoryMib(64 * 1024);
const LARGE_GPUS: usize = 8;
const ZONES: [&str; 3] = ["a", "b", "c"];

pub(super) struct Agents {
    agents: Vec<FakeAgent>,
    chance: Chance,
    /// No task fails, no host is silent: what is to come to an end does.
    calm: bool,
}

impl Agents {
    pub(super) fn new(chance: Chance) -> Self {
        Agents { agents: Vec::new(), chance, calm: false }
    }

    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }

    /// Of two with one identity an operator ends the copy: whatever one of them says of its tasks,
    /// the other one says otherwise, for ever.
    fn end_copies(&mut self) {
        let mut seen = BTreeSet::new();
        self.agents.retain(|agent| seen.insert(agent.host));
    }

    pub(super) fn set_calm(&mut self, calm: bool) {
        self.calm = calm;
        if calm {
            self.end_copies();
        }
        self.agents
            .iter_mut()
            .filter(|_| calm)
            .for_each(|agent| (agent.silent_for, agent.full_for) = (0, 0));
    }

    /// A host with this token joins a cluster and registers there; `instance` is what it says to be.
    pub(super) async fn join(
        &mut self,
        coordinator: &mut Coordinator,
        token: &str,
        cluster: &str,
        instance: Option<String>,
    ) {
        let Ok(token) = token.parse::<JoinToken>() else { return };
        // Exposed: its hash is what the coordinator knows it by.
        let secret_hash = Sha256::digest(token.secret.expose()).into();
        // Now and then one asks for the identity of a host that the API registered.
        let requested_host = match self.chance.one_in(6) {
            true => coordinator.peek(|state| {
                state
                    .hosts()
                    .find(|host| host.agent.is_none() && host.is_registered())
                    .map(|h| h.id)
            }),
            false => None,
        };
        let joined = coordinator
            .submit(Command::Token(TokenCommand::UseJoinToken {
                secret_hash,
                requested_host,
                key: None,
            }))
            .await;
        let Some(Ok(Answer::Host(host))) = joined else { return };
        let request = self.registration(cluster, instance);
        let mut agent = FakeAgent::new(host, request, self.chance.draw());
        if register(coordinator, &mut agent).await {
            self.agents.push(agent);
        }
    }

    fn registration(&mut self, cluster: &str, instance_id: Option<String>) -> RegisterRequest {
        let zone = ZONES[self.chance.below(ZONES.len())].to_owned();
        let mut attributes = vec![
            attribute("ecs.availability-zone", Some(zone)),
            attribute("ecs.os-type", Some("linux".to_owned())),
            attribute("ecs.cpu-architecture", Some("x86_64".to_owned())),
        ];
        for capability in CAPABILITIES {
            attributes.push(attribute(capability, None));
        }
        if self.chance.one_in(2) {
            attributes.push(attribute(POOL, None));
        }
        if self.chance.one_in(3) {
            attributes.push(attribute("disk", Some("ssd".to_owned())));
        }
        let gpus = match self.chance.one_in(3) {
            true => vec!["GPU-a".to_owned(), "GPU-b".to_owned()],
            false => Vec::new(),
        };
        let number = self.chance.below(250);
        RegisterRequest {
            protocol: 1,
            cluster: cluster.to_owned(),
            capacity: Capacity {
                cpu: CpuUnits(1024 * (1 + self.chance.below(3) as u32)),
                memory: MemoryMib(512 * (1 + self.chance.below(4) as u32)),
                reserved_ports: Box::default(),
                gpus: gpus.into(),
            },
            attributes,
            tags: Vec::new(),
            versions: Versions {
                agent: "1.90.0".to_owned(),
                agent_hash: "hash".to_owned(),
                docker: Some("27.0.0".to_owned()),
            },
            poll_address: format!("10.0.0.{number}:51680"),
            advertise: format!("10.0.0.{number}"),
            instance_id,
            boot_id: format!("boot-{}", self.chance.draw()),
            run: None,
        }
    }

    /// So many of a cluster's hosts that their tasks are not replaced are cut off at once.
    fn cut_off(&mut self) {
        let Some(cluster) =
            self.chance.pick(&self.agents).map(|one| one.registration.cluster.clone())
        else {
            return;
        };
        let polls = CUT_OFF_MIN + self.chance.below(CUT_OFF_MIN);
        let of_cluster = self.agents.iter_mut().filter(|one| one.registration.cluster == cluster);
        of_cluster.for_each(|agent| agent.silent_for = polls);
    }

    /// Every host that can be heard is polled once, most of them work, and troubles come.
    pub(super) async fn go_on(&mut self, coordinator: &mut Coordinator) {
        if !self.calm && self.chance.one_in(CUT_OFF) {
            self.cut_off();
        }
        // After a start nobody is given an order before all that can be heard are asked what they
        // have seen.
        for agent in self.agents.iter_mut().filter(|agent| agent.silent_for == 0) {
            if coordinator.broken {
                return;
            }
            greet(coordinator, agent).await;
        }
        for at in 0..self.agents.len() {
            if coordinator.broken {
                return;
            }
            let trouble = !self.calm && self.chance.one_in(40);
            if trouble {
                self.trouble(coordinator, at).await;
            }
            if !self.calm && self.chance.one_in(3) {
                continue;
            }
            let agent = &mut self.agents[at];
            if agent.silent_for > 0 {
                agent.silent_for -= 1;
                // The poll that is parked is lost; only the next connection is refused.
                let refused = agent.refuses && std::mem::replace(&mut agent.unheard, true);
                let host = agent.host;
                let why = "nothing was heard".to_owned();
                coordinator
                    .submit(Command::Host(HostCommand::AgentSilent { host, why, refused }))
                    .await;
                continue;
            }
            agent.unheard = false;
            agent.work(&mut self.chance, self.calm, coordinator.now());
            poll(coordinator, agent).await;
        }
        self.agents.retain(|agent| !agent.gone);
        self.miss_the_gone(coordinator).await;
    }

    /// Whoever is gone answers no poll.
    async fn miss_the_gone(&mut self, coordinator: &mut Coordinator) {
        let here: BTreeSet<HostId> = self.hosts().collect();
        let gone: Vec<HostId> = coordinator.peek(|state| {
            let polled = state.hosts().filter(|host| host.is_registered() && host.agent.is_some());
            let gone = polled.filter(|host| host.connected && !here.contains(&host.id));
            gone.map(|host| host.id).collect()
        });
        for host in gone {
            let why = "nobody listens there any more".to_owned();
            coordinator
                .submit(Command::Host(HostCommand::AgentSilent { host, why, refused: false }))
                .await;
        }
    }

    async fn trouble(&mut self, coordinator: &mut Coordinator, at: usize) {
        let kind = self.chance.below(11);
        let room = self.agents.len() < HOSTS_MAX;
        let agent = &mut self.agents[at];
        match kind {
            0..=3 => {
                agent.silent_for = 1 + self.chance.below(30);
                agent.refuses = self.chance.one_in(2);
            }
            // Its agent restarts.
            4..=5 => {
                agent.restart(self.chance.draw());
                register(coordinator, agent).await;
            }
            // Its ledger is lost.
            6 => agent.lose_ledger(self.chance.draw()),
            // The machine boots: nothing of it runs any more.
            7 => {
                agent.boot(self.chance.draw());
                register(coordinator, agent).await;
            }
            // It is cloned: two of one identity.
            8 if room => {
                let mut twin = agent.clone();
                twin.boot(self.chance.draw());
                if register(coordinator, &mut twin).await {
                    self.agents.push(twin);
                }
            }
            // It is gone for good, unsaid.
            9 if self.chance.one_in(3) => agent.gone = true,
            // What is there is full for a while.
            10 => agent.full_for = 1 + self.chance.below(30),
            // It registers anew with more, or with another version.
            _ => {
                agent.registration.capacity.memory.0 += 64;
                agent.registration.versions.agent = "1.91.0".to_owned();
                register(coordinator, agent).await;
            }
        }
    }

    /// The same of one with more of everything than the others together.
    pub(super) async fn join_large(
        &mut self,
        coordinator: &mut Coordinator,
        token: &str,
        cluster: &str,
    ) {
        let before = self.agents.len();
        self.join(coordinator, token, cluster, None).await;
        let Some(agent) = self.agents.get_mut(before) else { return };
        let capacity = &mut agent.registration.capacity;
        (capacity.cpu, capacity.memory) = (LARGE_CPU, LARGE_MEMORY);
        capacity.gpus = (0..LARGE_GPUS).map(|gpu| format!("GPU-{gpu}")).collect();
        let missing = [attribute(POOL, None), attribute("disk", Some("ssd".to_owned()))];
        let had = &mut agent.registration.attributes;
        had.retain(|attribute| !missing.iter().any(|one| one.name == attribute.name));
        had.extend(missing);
        register(coordinator, agent).await;
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.agents.iter().map(|agent| agent.host)
    }

    /// What the agents of a host hold: two of a host that was cloned.
    pub(super) fn shown(&self, host: HostId) -> String {
        let of_host = self.agents.iter().filter(|agent| agent.host == host);
        of_host.map(FakeAgent::shown).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn clear(&mut self) {
        self.agents.clear();
    }

    /// What an instance ran on is no more.
    pub(super) fn terminate(&mut self, instance: &str) {
        self.agents.retain(|agent| agent.registration.instance_id.as_deref() != Some(instance));
    }

    pub(super) fn is_instance(&self, instance: &str) -> bool {
        self.agents.iter().any(|agent| agent.registration.instance_id.as_deref() == Some(instance))
    }
}

/// What the fake hosts can do: what task definitions of the campaign ask for.
const CAPABILITIES: [&str; 9] = [
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.task-cpu-mem-limit",
];

fn attribute(name: &str, value: Option<String>) -> Attribute {
    Attribute { name: name.to_owned(), value }
}

/// A host says what it has. Whether it is taken.
async fn register(coordinator: &mut Coordinator, agent: &mut FakeAgent) -> bool {
    let (host, request) = (agent.host, Box::new(agent.registration.clone()));
    let (key, by, secret_hash, run) = ([7; 32], None, None, None);
    let certify = Box::new(CertifyHost { host, key, by, secret_hash, run });
    coordinator.submit(Command::Member(MemberCommand::CertifyHost(certify))).await;
    agent.registered_with = Some(coordinator.peek(State::epoch));
    let registered =
        coordinator.submit(Command::Host(HostCommand::RegisterHost { host, request })).await;
    !matches!(registered, Some(Err(Refused::Rejected(_))))
}

/// Asks an agent what it has seen, once in each start and after each recovery, before it is given
/// anything. Whether it may be.
async fn greet(coordinator: &mut Coordinator, agent: &mut FakeAgent) -> bool {
    let epoch = coordinator.peek(State::epoch);
    if agent.greeted == Some(epoch) {
        return true;
    }
    let Some(answer) = ask(coordinator, agent, exchange::hello).await else { return false };
    if !take(coordinator, agent, answer).await {
        return false;
    }
    // A coordinator that is back from a backup knows the host as it was then.
    if agent.registered_with != Some(epoch) {
        register(coordinator, agent).await;
    }
    agent.greeted = Some(epoch);
    true
}

/// One poll as the coordinator's poller makes it, and what it makes of the answer.
async fn poll(coordinator: &mut Coordinator, agent: &mut FakeAgent) {
    if !greet(coordinator, agent).await {
        return;
    }
    let peer = Peer { seen: agent.seen(), needs_manifest: agent.needs_manifest };
    let request =
        |state: &State, host: &Host, sender: &Sender| exchange::poll(state, host, sender, peer, 1);
    if let Some(answer) = ask(coordinator, agent, request).await {
        take(coordinator, agent, answer).await;
    }
}

/// Nothing while the journal is known to be old, and of a host that the coordinator has no agent of.
async fn ask(
    coordinator: &mut Coordinator,
    agent: &mut FakeAgent,
    request: impl Fn(&State, &Host, &Sender) -> PollRequest,
) -> Option<PollAnswer> {
    if coordinator.journal_is_old() {
        return None;
    }
    let sender = Sender { fleet: FLEET, identity: (*coordinator.identity).clone() };
    let prepare = |state: &State| {
        let host = state.host(agent.host).filter(|host| host.is_registered())?;
        host.agent.as_ref()?;
        Some(request(state, host, &sender))
    };
    let handle = coordinator.handle.clone();
    let prepared = coordinator.drive(handle.read(prepare)).await?.ok()?;
    let Some(request) = prepared else {
        agent.is_unknown();
        return None;
    };
    Some(agent.answer(&request))
}

/// What the coordinator makes of an answer. Whether the agent obeys it.
async fn take(coordinator: &mut Coordinator, agent: &mut FakeAgent, answer: PollAnswer) -> bool {
    let host = agent.host;
    match coordinator.peek(|state| testimony::judge(state, host, &answer)) {
        Testimony::Stands => {}
        Testimony::OfLostOrders { to } => {
            coordinator.submit(Command::Epoch(EpochCommand::SkipLostOrders { host, to })).await;
            return false;
        }
        Testimony::WentBack(evidence) => {
            coordinator.handle.raise_went_back(evidence);
            return false;
        }
        Testimony::Untrue(untruth) => panic!("no agent of this campaign lies: {untruth}"),
    }
    let PollOutcome::Accepted { reports, images, .. } = answer.outcome else {
        let (why, refused) = ("the agent refuses this coordinator".to_owned(), false);
        coordinator.submit(Command::Host(HostCommand::AgentSilent { host, why, refused })).await;
        return false;
    };
    let candidates = reports.iter().filter_map(|report| match report.body {
        ReportBody::StopCandidate { task, .. } => Some(task),
        ReportBody::Task(_) => None,
    });
    let candidates: Vec<_> = candidates.collect();
    let ended_candidates = match candidates.is_empty() {
        true => Vec::new(),
        false => {
            let handle = coordinator.handle.clone();
            let ended = coordinator.drive(handle.stopped_tasks(candidates)).await;
            let Some(Ok(ended)) = ended else { return false };
            ended.into_iter().filter(exchange::has_ended).map(|task| task.id).collect()
        }
    };
    let seq = reports.last().map_or(0, |report| report.seq);
    let known = coordinator
        .peek(|state| state.host(agent.host).and_then(|host| host.reports_taken))
        .filter(|taken| taken.session == answer.session)
        .map_or(0, |taken| taken.seq);
    let position = ReportPosition { session: answer.session, seq: seq.max(known) };
    let answered = AgentAnswered {
        host: agent.host,
        seen: answer.seen,
        position,
        reports,
        ended_candidates,
        images,
        engine: answer.engine,
        storage: answer.storage,
        leaving: false,
        looked: answer.looked.unwrap_or(true),
    };
    let answered =
        coordinator.submit(Command::Host(HostCommand::AgentAnswered(Box::new(answered)))).await;
    if let Some(Err(Refused::Rejected(Rejection::Member(MemberRejection::HostDeregistered(_))))) =
        answered
    {
        agent.is_unknown();
    }
    true
}
