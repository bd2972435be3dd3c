//! The polls of one host.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use longshore_common::{
    id::HostId,
    limits::{BEATS_MISSED_MAX, REPORTS_PER_POLL_MAX, beat},
    protocol::{
        EngineHealth, PollAnswer, PollOutcome, PollRequest, Refusal, Report, ReportBody,
        ReportPosition, Seen,
    },
    telemetry::chain,
};
use tokio::time::Instant;

use super::{
    exchange::{self, Peer as AgentPeer, Sender, Shown},
    pace::Pace,
    start_barrier::StartBarrier,
    testimony::{self, Testimony},
};
use crate::{
    api::health::{ORDER_SECONDS, POLLS},
    driver::{Handle, Refused, Signal, Unavailable},
    fleet::{
        client::{AgentClient, Peer, PollError},
        join::IDENTITY_CONFLICTS,
    },
    state_machine::{
        Command, State,
        command::AgentAnswered,
        state::{Host, HostStatus},
    },
};

/// Between two warnings of one host that it runs what is not known.
const WARNING_GAP: Duration = Duration::from_secs(60);
/// The parked poll and the newer one that releases it.
const POLLS_IN_FLIGHT_MAX: usize = 2;

pub(super) struct HostPoller<A> {
    host: HostId,
    sender: Arc<Sender>,
    handle: Handle,
    agents: Arc<A>,
    barrier: Arc<StartBarrier>,
    signal: Arc<Signal>,
    /// For jitter; no need for randomness of quality.
    attempts: u64,
    /// Whether the agent said last that its machine is about to be taken away: the host is drained for
    /// it once, and an operator may take that back.
    leaves: bool,
    pace: Pace,
    /// Since when a warning stands that the host runs tasks which are not known here.
    warned_of_unknown: Option<Instant>,
}

/// Ends with the answer, and with the last order that the host had been given when it was sent.
type PollUnderWay = Pin<Box<dyn Future<Output = (Result<PollAnswer, Again>, u64)> + Send>>;

/// Why the poller goes back to saying hello.
enum Again {
    /// The host is gone, or has no agent.
    Ended,
    /// It could not be heard; the sentence goes to the log.
    Silent(String),
    /// Its host answered that nobody listens.
    RefusedConnection(String),
    /// The agent is another one than before, or knows a newer coordinator.
    Unfamiliar,
}

impl From<Unavailable> for Again {
    fn from(_: Unavailable) -> Self {
        Again::Ended
    }
}

impl<A: AgentClient> HostPoller<A> {
    pub(super) fn new(
        host: HostId,
        sender: Arc<Sender>,
        handle: Handle,
        agents: Arc<A>,
        barrier: Arc<StartBarrier>,
    ) -> Self {
        let signal = handle.signals().listen(host);
        HostPoller {
            host,
            sender,
            handle,
            agents,
            barrier,
            signal,
            attempts: 0,
            leaves: false,
            pace: Pace::new(Instant::now()),
            warned_of_unknown: None,
        }
    }

    /// Until the host has no agent any more.
    pub(super) async fn run(mut self) {
        let mut last_complaint = String::new();
        loop {
            let ended = match self.greet().await {
                Ok(peer) => {
                    last_complaint.clear();
                    match self.converse(peer).await {
                        Ok(never) => match never {},
                        Err(again) => again,
                    }
                }
                Err(again) => again,
            };
            match ended {
                Again::Ended => break,
                Again::Unfamiliar => {}
                Again::Silent(_) | Again::RefusedConnection(_) => {
                    let (why, refused) = match ended {
                        Again::RefusedConnection(why) => (why, true),
                        Again::Silent(why) => (why, false),
                        Again::Ended | Again::Unfamiliar => continue,
                    };
                    self.barrier.arrived(self.host);
                    if last_complaint != why {
                        tracing::warn!(host = %self.host, "no answer from the agent: {why}");
                        last_complaint.clone_from(&why);
                    }
                    let silent = Command::AgentSilent { host: self.host, why, refused };
                    if self.handle.submit_always(silent, |_, _| ()).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(self.pause()).await;
                }
            }
        }
        self.barrier.arrived(self.host);
        self.handle.signals().forget(self.host);
    }

    /// Learns what the agent has seen, before it is given anything.
    async fn greet(&mut self) -> Result<AgentPeer, Again> {
        if let Some(until) = self.pace.pause(Instant::now(), self.beat()) {
            tokio::time::sleep_until(until).await;
        }
        if self.handle.peek(State::awaits_recover) {
            match self.listen_until_recovered().await? {}
        }
        self.while_journal_stands().await?;
        self.pace.again(Instant::now(), self.beat(), false);
        let hello = |state: &State, host: &Host, sender: &Sender| {
            (exchange::hello(state, host, sender), ())
        };
        let (to, request, ()) = self.prepare(hello).await?;
        let answer = self.ask(&to, request).await?;
        let peer = self.understand(&answer).await?;
        self.barrier.arrived(self.host);
        self.take(&answer).await?;
        self.barrier.passed().await;
        Ok(peer)
    }

    /// While a restored backup waits for the operator, the agent is only asked what it has seen, so that
    /// he goes beyond that with his first `recover`.
    async fn listen_until_recovered(&mut self) -> Result<std::convert::Infallible, Again> {
        loop {
            let hello = |state: &State, host: &Host, sender: &Sender| {
                (exchange::hello(state, host, sender), ())
            };
            let (to, request, ()) = self.prepare(hello).await?;
            let heard = match self.ask(&to, request).await {
                Ok(answer) => !matches!(self.understand(&answer).await, Err(Again::Ended)),
                Err(_) => false,
            };
            self.barrier.arrived(self.host);
            let (handle, pause) = (self.handle.clone(), self.pause());
            tokio::select! {
                stands = handle.journal_stands() => {
                    stands?;
                    return Err(Again::Unfamiliar);
                }
                () = tokio::time::sleep(pause), if !heard => {}
            }
        }
    }

    /// Keeps a poll parked at the agent, and sends a newer one whenever the host's state changes.
    async fn converse(&mut self, mut peer: AgentPeer) -> Result<std::convert::Infallible, Again> {
        let mut in_flight = FuturesUnordered::new();
        let mut shown = None;
        // More orders wait than one poll takes: the next one follows at once.
        let mut unfinished = false;
        // Whether the last answer brought anything; the first poll follows a greeting.
        let mut brought = true;
        let signal = self.signal.clone();
        loop {
            let changed = shown != Some(self.current()?);
            let stale = changed || unfinished || peer.needs_manifest;
            let wanted = in_flight.is_empty() || (stale && in_flight.len() < POLLS_IN_FLIGHT_MAX);
            let pause = self.pace.pause(Instant::now(), self.beat()).filter(|_| wanted);
            if wanted && pause.is_none() {
                self.while_journal_stands().await?;
                let hold = self.beat();
                match changed {
                    true => self.pace.newer(Instant::now()),
                    false => self.pace.again(Instant::now(), hold, brought),
                }
                unfinished = false;
                let (to, request, (now_shown, last_order)) = self
                    .prepare(|state, host, sender| {
                        let hold_ms = hold.as_millis() as u32;
                        let request = exchange::poll(state, host, sender, peer, hold_ms);
                        (request, (Shown::of(host), host.last_order))
                    })
                    .await?;
                // Whatever this manifest leaves open, the agent will say so again.
                peer.needs_manifest = false;
                shown = Some(now_shown);
                let durable_since = signal.take_since();
                if let Some(since) = durable_since.filter(|_| !request.orders.is_empty()) {
                    metrics::histogram!(ORDER_SECONDS).record(since.elapsed());
                }
                in_flight.push(self.poll(to, request, hold, last_order));
            }
            tokio::select! {
                Some((answer, last_order)) = in_flight.next() => {
                    let answer = answer?;
                    let newer = self.understand(&answer).await?;
                    let advanced = peer.seen.max(newer.seen);
                    brought = advanced > peer.seen || answer.tells_something();
                    unfinished |= advanced.map(|seen| seen.order) < Some(last_order);
                    peer = AgentPeer {
                        seen: advanced,
                        needs_manifest: newer.needs_manifest && in_flight.is_empty(),
                    };
                    self.take(&answer).await?;
                }
                () = signal.changed() => {}
                () = tokio::time::sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
            }
        }
    }

    fn poll(
        &self,
        to: Peer,
        request: PollRequest,
        hold: Duration,
        last_order: u64,
    ) -> PollUnderWay {
        let agents = self.agents.clone();
        let patience = hold + self.beat() * BEATS_MISSED_MAX;
        Box::pin(async move {
            let answer = match tokio::time::timeout(patience, agents.poll(&to, request)).await {
                Ok(answer) => answer.map_err(|error| silent(&error)),
                Err(_) => Err(silence(patience)),
            };
            count(&answer);
            (answer, last_order)
        })
    }

    async fn ask(&self, to: &Peer, request: PollRequest) -> Result<PollAnswer, Again> {
        let patience = self.beat() * BEATS_MISSED_MAX;
        let answer = match tokio::time::timeout(patience, self.agents.poll(to, request)).await {
            Ok(answer) => answer.map_err(|error| silent(&error)),
            Err(_) => Err(silence(patience)),
        };
        count(&answer);
        answer
    }

    /// Checks an answer's identity, its truth and its fence.
    async fn understand(&self, answer: &PollAnswer) -> Result<AgentPeer, Again> {
        let of_other_machine = self.handle.peek(|state| {
            let place = state.host(self.host).and_then(|host| host.agent.as_ref());
            place.is_some_and(|place| answer.machine.differ_from(&place.machine))
        });
        if of_other_machine {
            metrics::counter!(IDENTITY_CONFLICTS).increment(1);
            return Err(Again::Silent(
                "ALARM: another machine answers at this host's address with a copy of the host's \
                 identity. Nothing that it says counts. Stop its agent, remove identity.json from \
                 its data directory, and start it with a join token"
                    .to_owned(),
            ));
        }
        match self.handle.peek(|state| testimony::judge(state, self.host, answer)) {
            Testimony::Stands => {}
            Testimony::OfLostOrders { to } => return Err(self.skip_lost_orders(to).await),
            Testimony::WentBack(evidence) => {
                self.handle.raise_went_back(evidence);
                return Err(Again::Unfamiliar);
            }
            Testimony::Untrue(untruth) => return Err(Again::Silent(untruth.to_string())),
        }
        match &answer.outcome {
            PollOutcome::Accepted { needs_manifest, .. } => {
                Ok(AgentPeer { seen: answer.seen, needs_manifest: *needs_manifest })
            }
            PollOutcome::Refused(Refusal::OrderGap { expected }) => {
                let order = expected.saturating_sub(1);
                let seen = answer.seen.map(|seen| Seen { order, ..seen });
                Ok(AgentPeer { seen, needs_manifest: false })
            }
            PollOutcome::Refused(refusal) => {
                Err(Again::Silent(format!("the agent refuses this coordinator: {refusal:?}")))
            }
        }
    }

    /// Numbers the host's orders above those of the lost part of the journal. What to do next.
    async fn skip_lost_orders(&self, to: u64) -> Again {
        if self.handle.peek(State::awaits_recover) {
            return Again::Unfamiliar;
        }
        let skip = Command::SkipLostOrders { host: self.host, to };
        match self.handle.submit_always(skip, |_, _| ()).await {
            Ok(()) => Again::Unfamiliar,
            Err(_) => Again::Ended,
        }
    }

    /// Tells the state what an answer says, when it says something.
    async fn take(&mut self, answer: &PollAnswer) -> Result<(), Again> {
        let PollOutcome::Accepted { reports, images, needs_manifest } = &answer.outcome else {
            return Ok(());
        };
        // An agent says no more at once; what is left out is not acknowledged, and comes again.
        let reports = &reports[..reports.len().min(REPORTS_PER_POLL_MAX)];
        let host = self.host;
        let seen_order = answer.seen.map_or(0, |seen| seen.order);
        // An agent of an earlier release does not say whether it has looked. What a manifest is to
        // tell it, it has not compared yet.
        let looked = answer.looked.unwrap_or(!needs_manifest);
        let leaves = answer.leaving && !self.leaves;
        let (taken, is_news) = self
            .handle
            .peek(|state| {
                let host = state.host(host)?;
                let queued = host.queue.front().is_some_and(|queued| queued.order <= seen_order);
                let heard = host.reports_taken.map(|taken| taken.session) == Some(answer.session);
                let tells_engine =
                    answer.engine != EngineHealth::Unknown && answer.engine != host.engine;
                let tells_storage = answer.storage.is_news_after(host.storage);
                let knows = looked && answer.engine != EngineHealth::Silent;
                let tells_look = knows && state.heard_since(host.slot).is_none();
                // Its word counts for tasks that the journal does not know until this is decided.
                let ours = Seen { epoch: state.epoch(), order: host.last_order };
                let tells_all = knows
                    && answer.seen == Some(ours)
                    && state.recovered().is_some_and(|recovered| host.told_all < recovered.counter);
                let leaves = leaves && host.status == HostStatus::Active;
                let connects = !host.connected || !heard;
                let tells_health = tells_engine || tells_storage || tells_look;
                let is_news = connects || queued || tells_health || tells_all || leaves;
                Some((host.reports_taken, is_news))
            })
            .ok_or(Again::Ended)?;
        if !answer.tells_something() && !is_news {
            self.leaves = answer.leaving;
            return Ok(());
        }
        let known = taken.filter(|taken| taken.session == answer.session).map_or(0, |t| t.seq);
        let seq = reports.last().map_or(known, |report| report.seq.max(known));
        let answered = AgentAnswered {
            host,
            seen: answer.seen,
            position: ReportPosition { session: answer.session, seq },
            reports: reports.to_vec(),
            ended_candidates: self.ended(reports).await?,
            images: images.clone(),
            engine: answer.engine,
            storage: answer.storage,
            leaving: leaves,
            looked,
        };
        let command = Command::AgentAnswered(Box::new(answered));
        match self.handle.submit_always(command, |_, _| ()).await {
            Ok(()) => {
                self.leaves = answer.leaving;
                Ok(())
            }
            Err(Refused::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(Refused::Rejected(rejection)) => Err(Again::Silent(rejection.to_string())),
            Err(Refused::JournalWentBack(_)) => Err(Again::Unfamiliar),
        }
    }

    /// Of the stop candidates among `reports`, those that ended by our own history.
    async fn ended(
        &mut self,
        reports: &[Report],
    ) -> Result<Vec<longshore_common::id::TaskId>, Unavailable> {
        let candidates: Vec<_> = reports
            .iter()
            .filter_map(|report| match report.body {
                ReportBody::StopCandidate { task, .. } => Some(task),
                ReportBody::Task(_) => None,
            })
            .collect();
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let ended = self.handle.stopped_tasks(candidates.clone()).await?;
        let ended = ended.into_iter().filter(exchange::has_ended);
        let ended: Vec<_> = ended.map(|task| task.id).collect();
        let mut unknown = candidates.iter().filter(|task| !ended.contains(task));
        if let Some(task) = unknown.next()
            && self.warned_of_unknown.is_none_or(|since| since.elapsed() >= WARNING_GAP)
        {
            self.warned_of_unknown = Some(Instant::now());
            tracing::warn!(
                host = %self.host, %task, others = unknown.count(),
                "the host runs tasks that this coordinator does not know: unless a recover takes them \
                 back, they are left alone"
            );
        }
        Ok(ended)
    }

    /// Waits while an agent has proved that the journal went back: nothing is sent meanwhile.
    async fn while_journal_stands(&self) -> Result<(), Again> {
        match self.handle.journal_stands().await? {
            false => Ok(()),
            true => Err(Again::Unfamiliar),
        }
    }

    fn current(&self) -> Result<Shown, Again> {
        let shown = self.handle.peek(|state| state.host(self.host).map(Shown::of));
        shown.ok_or(Again::Ended)
    }

    /// What a poll is to say, once it is durable in all its parts: an order shows other entities
    /// than its host, as they are now.
    async fn prepare<T>(
        &self,
        view: impl FnOnce(&State, &Host, &Sender) -> (PollRequest, T),
    ) -> Result<(Peer, PollRequest, T), Again> {
        let prepared = self.handle.read(|state| {
            let host = state.host(self.host).filter(|host| host.is_registered())?;
            let address = host.agent.as_ref()?.poll_address.clone();
            let to = Peer { host: self.host, fleet: self.sender.fleet, address };
            let (request, more) = view(state, host, &self.sender);
            Some((to, request, more))
        });
        prepared.await?.ok_or(Again::Ended)
    }

    fn beat(&self) -> Duration {
        beat(self.handle.peek(State::hosts_len))
    }

    /// About a beat, different for each host and attempt.
    fn pause(&mut self) -> Duration {
        self.attempts += 1;
        let mixed = (self.host.value() as u64 ^ self.attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.beat().mul_f64(0.75 + 0.5 * (mixed >> 11) as f64 / (1u64 << 53) as f64)
    }
}

pub(super) fn has_agent(state: &State, host: HostId) -> bool {
    state.host(host).is_some_and(|host| host.is_registered() && host.agent.is_some())
}

fn silent(error: &PollError) -> Again {
    match error {
        PollError::Refused(_) => Again::RefusedConnection(chain(error)),
        _ => Again::Silent(chain(error)),
    }
}

fn count(answer: &Result<PollAnswer, Again>) {
    let outcome = match answer {
        Ok(PollAnswer { outcome: PollOutcome::Accepted { .. }, .. }) => "answered",
        Ok(PollAnswer { outcome: PollOutcome::Refused(_), .. }) => "refused",
        Err(Again::RefusedConnection(_)) => "connection_refused",
        Err(Again::Silent(_) | Again::Ended | Again::Unfamiliar) => "silent",
    };
    metrics::counter!(POLLS, "outcome" => outcome).increment(1);
}

fn silence(patience: Duration) -> Again {
    Again::Silent(format!("nothing was heard for {} ms", patience.as_millis()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::poll;
    use longshore_common::{
        arn::Identity,
        clock::Timestamp,
        id::FleetId,
        machine::MachineMarks,
        protocol::{Epoch, ReportedPhase, StorageHealth},
        task::{StopCause, StopCode},
    };
    use tokio::pin;

    use super::*;
    use crate::{
        driver::{CheckpointPace, JournalWentBack, step::RULES, stepped},
        journal::memory::{MemoryDisk, MemoryJournal},
        state_machine::{
            command::{Resource, SettableHostStatus, Tags},
            record::TaskRecord,
            schedule::tests::world::{CLUSTER, World, replicas},
        },
    };

    /// Agents that no test asks.
    struct Nobody;

    impl AgentClient for Nobody {
        async fn poll(&self, _: &Peer, _: PollRequest) -> Result<PollAnswer, PollError> {
            Err(PollError::Timeout(Duration::ZERO))
        }

        fn forget(&self, _: HostId) {}
    }

    /// An agent that answers every poll with the same claim of what it has seen.
    struct Claims {
        seen: Option<Seen>,
        polls: AtomicUsize,
    }

    impl Claims {
        fn new(seen: Option<Seen>) -> Arc<Self> {
            Arc::new(Claims { seen, polls: AtomicUsize::new(0) })
        }

        fn answer(&self, host: HostId) -> PollAnswer {
            PollAnswer {
                protocol: 1,
                host,
                boot_id: "boot".to_owned(),
                session: 1,
                seen: self.seen,
                machine: Default::default(),
                engine: EngineHealth::Answers,
                storage: Default::default(),
                leaving: false,
                looked: Some(true),
                outcome: PollOutcome::Accepted {
                    reports: Vec::new(),
                    needs_manifest: false,
                    images: None,
                },
            }
        }
    }

    /// More polls than this are a loop without end, which no clock would stop.
    const POLLS_MAX: usize = 1000;

    impl AgentClient for Claims {
        async fn poll(&self, peer: &Peer, _: PollRequest) -> Result<PollAnswer, PollError> {
            let polls = self.polls.fetch_add(1, Ordering::Relaxed);
            assert!(polls < POLLS_MAX, "polls have no pace");
            Ok(self.answer(peer.host))
        }

        fn forget(&self, _: HostId) {}
    }

    fn start(world: World) -> (Handle, stepped::Stepped<MemoryJournal>) {
        let mut next = 0u128;
        let entropy = Box::new(move || {
            next += 1 << 64;
            next
        });
        let journal = MemoryDisk::default().journal();
        stepped::start(world.state, journal, entropy, CheckpointPace::default())
    }

    fn poller_of<A: AgentClient>(host: HostId, handle: &Handle, agents: Arc<A>) -> HostPoller<A> {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let sender = Arc::new(Sender { fleet: FleetId::new(1), identity });
        let barrier = Arc::new(StartBarrier::new(std::iter::empty()));
        HostPoller::new(host, sender, handle.clone(), agents, barrier)
    }

    /// Lets the driver do whatever is asked of it until `asking` has its answer.
    async fn drive<T>(
        stepped: &mut stepped::Stepped<MemoryJournal>,
        asking: impl Future<Output = T>,
    ) -> T {
        pin!(asking);
        loop {
            tokio::select! {
                done = &mut asking => return done,
                () = stepped.requested() => {
                    stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
                    stepped.flush().unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn lie_of_one_host_closes_nothing_to_the_others() {
        let world = World::with_hosts(2);
        let (host, epoch) = (world.hosts[0], world.state.epoch());
        let (handle, mut stepped) = start(world);
        let lies = [
            Seen { epoch, order: u64::MAX },
            Seen { epoch, order: 1 },
            Seen { epoch: Epoch { counter: u64::MAX, incarnation: 1 }, order: 0 },
            Seen { epoch: Epoch { counter: 1, incarnation: 9 }, order: u64::MAX },
        ];
        for lie in lies {
            let agents = Claims::new(Some(lie));
            let mut poller = poller_of(host, &handle, agents);
            let greeted = drive(&mut stepped, poller.greet()).await;
            let Err(Again::Silent(why)) = greeted else { panic!("{lie:?} was believed") };
            assert!(why.contains("does not tell the truth"), "{why}");
            assert_eq!(*handle.went_back().borrow(), None, "{lie:?}");
        }
        let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
        let tag = Command::Tag { resource: cluster, tags: Tags::new() };
        drive(&mut stepped, handle.submit(tag, |_, _| ())).await.unwrap();
    }

    /// It never says what it has seen, so that orders always seem to wait.
    #[tokio::test(start_paused = true)]
    async fn agent_that_holds_no_poll_is_polled_once_a_beat() {
        let mut world = World::with_hosts(1);
        world.create(replicas(1));
        let host = world.hosts[0];
        let (handle, mut stepped) = start(world);
        let agents = Claims::new(None);
        let poller = poller_of(host, &handle, agents.clone());
        let watched = tokio::time::timeout(Duration::from_secs(60), poller.run());
        assert!(drive(&mut stepped, watched).await.is_err());
        let polls = agents.polls.load(Ordering::Relaxed);
        assert!((60..=180).contains(&polls), "{polls} polls in 60 s");
    }

    /// A host's proof may be a lie that nobody can tell from the truth: the way out is open.
    #[tokio::test]
    async fn host_whose_proof_is_not_believed_can_be_thrown_out() {
        let world = World::with_hosts(1);
        let (host, epoch) = (world.hosts[0], world.state.epoch());
        let (handle, mut stepped) = start(world);
        let proof = Epoch { counter: epoch.counter + 3, incarnation: 777 };
        let agents = Claims::new(Some(Seen { epoch: proof, order: 5 }));
        let mut poller = poller_of(host, &handle, agents.clone());
        assert!(matches!(drive(&mut stepped, poller.greet()).await, Err(Again::Unfamiliar)));
        assert!(handle.went_back().borrow().is_some());
        let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
        let tag = Command::Tag { resource: cluster, tags: Tags::new() };
        let refused = drive(&mut stepped, handle.submit(tag, |_, _| ())).await;
        assert!(matches!(refused, Err(Refused::JournalWentBack(_))), "{refused:?}");
        let cluster = CLUSTER.parse().unwrap();
        let deregister = Command::DeregisterContainerInstance { cluster, host, force: true };
        drive(&mut stepped, handle.submit(deregister, |_, _| ())).await.unwrap();
        drive(&mut stepped, handle.recover(3)).await.unwrap();
        assert!(matches!(drive(&mut stepped, poller.greet()).await, Err(Again::Ended)));
        assert_eq!(*handle.went_back().borrow(), None);
    }

    /// What a host claims of the lost part of a journal is taken over only as far as numbers reach.
    #[tokio::test]
    async fn order_number_that_nobody_reaches_is_not_taken_over() {
        let mut world = World::with_hosts(1);
        world.call(Command::Recover { beyond: 9, incarnation: 3, proved: None }).unwrap();
        let host = world.hosts[0];
        let to = u64::MAX;
        world.call(Command::SkipLostOrders { host, to }).unwrap();
        assert_eq!(world.state.host(host).unwrap().last_order, 0);
        world.create(replicas(1));
        // Services wait for the hosts' word first.
        world.pass(90.0);
        let given = world.state.host(host).unwrap().last_order;
        assert_eq!(given, 1);
        let (handle, mut stepped) = start(world);
        let lost = Epoch { counter: 8, incarnation: 777 };
        for (order, taken_over) in [(u64::MAX, given), (40, 40)] {
            let agents = Claims::new(Some(Seen { epoch: lost, order }));
            let mut poller = poller_of(host, &handle, agents);
            assert!(drive(&mut stepped, poller.greet()).await.is_err());
            assert_eq!(handle.peek(|state| state.host(host).unwrap().last_order), taken_over);
        }
    }

    /// Until the operator has spoken, hosts are asked what they have seen, and for nothing else.
    #[tokio::test]
    async fn restored_journal_is_held_until_recover_goes_beyond_its_hosts() {
        let mut world = World::with_hosts(1);
        let (host, epoch) = (world.hosts[0], world.state.epoch());
        world.state.set_restored(Some(world.state.seq()));
        let (handle, mut stepped) = start(world);
        let restored = JournalWentBack::Restored { proof: None };
        assert_eq!(*handle.went_back().borrow(), Some(restored));
        let counter = epoch.counter + 3;
        let agents = Claims::new(Some(Seen { epoch: Epoch { counter, incarnation: 7 }, order: 5 }));
        let mut poller = poller_of(host, &handle, agents.clone());
        let recovers = async {
            while handle.went_back().borrow().as_ref().unwrap().proof().is_none() {
                tokio::task::yield_now().await;
            }
            let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
            let tag = Command::Tag { resource: cluster, tags: Tags::new() };
            let refused = handle.submit(tag, |_, _| ()).await;
            assert!(matches!(refused, Err(Refused::JournalWentBack(_))), "{refused:?}");
            handle.recover(3).await.unwrap();
        };
        let both = async { tokio::join!(poller.greet(), recovers) };
        let (greeted, ()) = drive(&mut stepped, both).await;
        assert!(matches!(greeted, Err(Again::Unfamiliar)));
        assert_eq!(agents.polls.load(Ordering::Relaxed), 1);
        assert_eq!(*handle.went_back().borrow(), None);
        assert_eq!(handle.peek(State::epoch).counter, counter + 1);
        // It obeys now, once its orders are numbered above those that are lost.
        assert!(drive(&mut stepped, poller.greet()).await.is_err());
        assert!(drive(&mut stepped, poller.greet()).await.is_ok());
    }

    #[tokio::test]
    async fn host_heard_after_recover_of_a_backup_raises_the_alarm_again() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        world.state.set_restored(Some(world.state.seq()));
        let (handle, mut stepped) = start(world);
        drive(&mut stepped, handle.recover(3)).await.unwrap();
        let counter = handle.peek(State::epoch).counter + 3;
        let agents = Claims::new(Some(Seen { epoch: Epoch { counter, incarnation: 7 }, order: 0 }));
        let mut poller = poller_of(host, &handle, agents);
        assert!(drive(&mut stepped, poller.greet()).await.is_err());
        let evidence = handle.went_back().borrow().clone();
        assert!(matches!(evidence, Some(JournalWentBack::Proved(_))), "{evidence:?}");
        drive(&mut stepped, handle.recover(4)).await.unwrap();
        assert_eq!(handle.peek(State::epoch).counter, counter + 1);
        assert!(drive(&mut stepped, poller.greet()).await.is_ok());
    }

    /// Whatever a manifest names that the agent was ordered before, and does not hold, has ended: the
    /// journal lost that, be it known to be old or not.
    #[test]
    fn manifest_tells_what_was_given_before_and_nothing_unseen() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let old = world.start_alone(host);
        world.pass(1.0);
        // The coordinator starts on a backup.
        world.call(Command::StartEpoch { incarnation: 2 }).unwrap();
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let sender = Sender { fleet: FleetId::new(1), identity };
        let given_to = |world: &World, epoch: Epoch, order: Option<u64>| {
            let seen = order.map(|order| Seen { epoch, order });
            let peer = AgentPeer { seen, needs_manifest: true };
            let found = world.state.host(host).unwrap();
            let request = exchange::poll(&world.state, found, &sender, peer, 0);
            let manifest = request.manifest.unwrap();
            let expected = if manifest.given_before.is_empty() { 0 } else { order.unwrap() };
            assert_eq!(manifest.seen_order, expected);
            manifest.given_before
        };
        let given = |world: &World, order| given_to(world, world.state.epoch(), order);
        // Of a start before the last.
        let first = Epoch { counter: 1, incarnation: 1 };
        let new = world.start_alone(host);
        let both = if old < new { vec![old, new] } else { vec![new, old] };
        let cases =
            |of_two| [(None, vec![]), (Some(0), vec![]), (Some(1), vec![old]), (Some(2), of_two)];
        for (seen, expected) in cases(both.clone()) {
            assert_eq!(given(&world, seen), expected, "{seen:?}");
        }
        assert_eq!(given_to(&world, first, Some(1)), [old]);
        world.call(Command::Recover { beyond: 6, incarnation: 5, proved: None }).unwrap();
        // Another start was lost in between, which nobody knows: what it gave is numbered as ours.
        let lost = Epoch { counter: 5, incarnation: 77 };
        for epoch in [first, lost] {
            assert_eq!(given_to(&world, epoch, Some(0)), []);
        }
        assert_eq!(given_to(&world, first, Some(2)), [old]);
        assert_eq!(given_to(&world, lost, Some(2)), both);
        for (seen, expected) in cases(both.clone()) {
            assert_eq!(given(&world, seen), expected, "{seen:?}");
        }
        // Without the queue, of each start what was placed before it.
        world.state.orders_taken(host, 2);
        let without = [(Some(0), vec![]), (Some(1), vec![old]), (Some(2), both.clone())];
        for (seen, expected) in without {
            assert_eq!(given(&world, seen), expected, "{seen:?}");
        }
        // Third by its number, which the agent takes for one of those that are lost.
        world.start_alone(host);
        world.call(Command::SkipLostOrders { host, to: 50 }).unwrap();
        assert_eq!(given(&world, Some(50)), both);
        assert_eq!(given(&world, Some(10)), [], "nobody knows what it has seen");
        world.call(Command::StartEpoch { incarnation: 7 }).unwrap();
        assert_eq!(given(&world, Some(50)), both);
        // From here on numbers tell again.
        let later = world.start_alone(host);
        assert!(given(&world, Some(51)).contains(&later));
        assert_eq!(given(&world, Some(51)).len(), 3);
    }

    /// Orders that were given over several starts, and not seen, hide none that were seen before.
    #[test]
    fn manifest_tells_what_was_given_before_orders_that_were_not_seen() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let old = world.start_alone(host);
        world.call(Command::Recover { beyond: 6, incarnation: 5, proved: None }).unwrap();
        let recovery = world.state.epoch();
        world.start_alone(host);
        for incarnation in [7, 8] {
            world.start_alone(host);
            world.call(Command::StartEpoch { incarnation }).unwrap();
        }
        // A start knows no queue.
        world.state.orders_taken(host, 4);
        let given = |epoch, order| {
            let peer = AgentPeer { seen: Some(Seen { epoch, order }), needs_manifest: true };
            let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
            let sender = Sender { fleet: FleetId::new(1), identity };
            let found = world.state.host(host).unwrap();
            exchange::poll(&world.state, found, &sender, peer, 0).manifest.unwrap().given_before
        };
        for epoch in [recovery, world.state.epoch()] {
            assert_eq!(given(epoch, 2), [old], "{epoch:?}");
        }
        assert_eq!(given(recovery, 3).len(), 3, "all of the recovery's were seen");
    }

    /// More starts with orders than are remembered, while the host is off.
    #[test]
    fn order_that_was_never_taken_was_not_given_before() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let mut incarnations = 2..;
        let mut start = |world: &mut World| {
            let incarnation = incarnations.next().unwrap();
            world.call(Command::StartEpoch { incarnation }).unwrap();
            world.state.epoch()
        };
        let seen = Seen { epoch: start(&mut world), order: 0 };
        for _ in 0..12 {
            world.start_alone(host);
            start(&mut world);
            world.state.orders_taken(host, u64::MAX);
            let peer = AgentPeer { seen: Some(seen), needs_manifest: true };
            let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
            let sender = Sender { fleet: FleetId::new(1), identity };
            let found = world.state.host(host).unwrap();
            let manifest = exchange::poll(&world.state, found, &sender, peer, 0).manifest.unwrap();
            assert_eq!(manifest.given_before, [], "{:?}", found.orders_at_starts);
        }
    }

    /// The lost part of the journal had more starts than its copy.
    #[test]
    fn task_that_a_copy_of_the_journal_placed_was_not_given_before() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let old = world.start_alone(host);
        world.call(Command::StartEpoch { incarnation: 2 }).unwrap();
        let new = world.start_alone(host);
        let seen = Seen { epoch: Epoch { counter: 4, incarnation: 77 }, order: 2 };
        let proved = Some(seen.epoch);
        world.call(Command::Recover { beyond: 4, incarnation: 5, proved }).unwrap();
        let answer = Claims::new(Some(seen)).answer(host);
        let judged = |world: &World| testimony::judge(&world.state, host, &answer);
        assert_eq!(judged(&world), Testimony::OfLostOrders { to: 2 });
        // Another recovery, of which another host is the reason, changes nothing of that.
        let proved = Some(Epoch { counter: 6, incarnation: 88 });
        world.call(Command::Recover { beyond: 6, incarnation: 9, proved }).unwrap();
        assert_eq!(judged(&world), Testimony::OfLostOrders { to: 2 });
        world.call(Command::SkipLostOrders { host, to: 2 }).unwrap();
        assert_eq!(judged(&world), Testimony::Stands);
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let sender = Sender { fleet: FleetId::new(1), identity };
        let peer = AgentPeer { seen: Some(seen), needs_manifest: true };
        let found = world.state.host(host).unwrap();
        let manifest = exchange::poll(&world.state, found, &sender, peer, 0).manifest.unwrap();
        assert_eq!(manifest.given_before, [old]);
        assert!(manifest.orders.iter().any(|order| order.task == new));
    }

    /// A hello still shows the earlier start, and nothing happens on this host afterwards.
    #[tokio::test]
    async fn quiet_host_is_believed_only_until_it_has_told_all() {
        let mut world = World::with_hosts(1);
        world.call(Command::Recover { beyond: 9, incarnation: 3, proved: None }).unwrap();
        let (host, ours) = (world.hosts[0], world.state.epoch());
        let (handle, mut stepped) = start(world);
        for (epoch, told_all) in [(Epoch { counter: 8, incarnation: 7 }, 0), (ours, ours.counter)] {
            let agents = Claims::new(Some(Seen { epoch, order: 0 }));
            let answer = agents.answer(host);
            let mut poller = poller_of(host, &handle, agents);
            assert!(drive(&mut stepped, poller.take(&answer)).await.is_ok());
            assert_eq!(handle.peek(|state| state.host(host).unwrap().told_all), told_all);
        }
    }

    /// More orders than were lost were given before the host was heard: its queue is skipped with them.
    #[test]
    fn manifest_tells_what_was_given_before_when_the_queue_was_skipped() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let old = world.start_alone(host);
        world.call(Command::StartEpoch { incarnation: 2 }).unwrap();
        world.call(Command::Recover { beyond: 6, incarnation: 5, proved: None }).unwrap();
        for _ in 0..2 {
            world.start_alone(host);
        }
        world.call(Command::SkipLostOrders { host, to: 2 }).unwrap();
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let sender = Sender { fleet: FleetId::new(1), identity };
        for (seen, expected) in [(2, vec![old]), (1, Vec::new())] {
            let seen = Seen { epoch: world.state.epoch(), order: seen };
            let peer = AgentPeer { seen: Some(seen), needs_manifest: true };
            let found = world.state.host(host).unwrap();
            let request = exchange::poll(&world.state, found, &sender, peer, 0);
            assert_eq!(request.manifest.unwrap().given_before, expected, "{seen:?}");
        }
    }

    /// Of the history, what found no host in this journal may run all the same.
    #[test]
    fn task_that_was_given_up_unseen_has_not_ended() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        let task = world.start_alone(host);
        let failed = StopCause { code: StopCode::TaskFailedToStart, reason: String::new() };
        world.report(task, ReportedPhase::Stopped(failed));
        let mut stopped = world.take_batches().into_iter().flat_map(|batch| batch.history.stopped);
        let ended = stopped.next().unwrap();
        assert!(exchange::has_ended(&ended));
        let unseen = TaskRecord { host: None, ..ended.clone() };
        assert!(!exchange::has_ended(&unseen));
        let mut stopped = unseen;
        stopped.end.as_mut().unwrap().cause.code = StopCode::UserInitiated;
        assert!(exchange::has_ended(&stopped), "somebody stopped it while it waited");
    }

    /// One notice drains once: an operator may make the host ACTIVE again.
    #[tokio::test]
    async fn host_that_leaves_is_drained_once_for_each_notice() {
        let world = World::with_hosts(1);
        let host = world.hosts[0];
        let (handle, mut stepped) = start(world);
        let mut poller = poller_of(host, &handle, Arc::new(Nobody));
        for (leaving, drains) in
            [(false, false), (true, true), (true, false), (false, false), (true, true)]
        {
            let answer = PollAnswer {
                protocol: 1,
                host,
                boot_id: "boot".to_owned(),
                session: 7,
                seen: None,
                machine: MachineMarks::default(),
                engine: EngineHealth::Answers,
                storage: StorageHealth::Ready,
                leaving,
                looked: Some(true),
                outcome: PollOutcome::Accepted {
                    reports: vec![],
                    needs_manifest: false,
                    images: None,
                },
            };
            {
                let taken = poller.take(&answer);
                pin!(taken);
                while poll!(&mut taken).is_pending() {
                    stepped.requested().await;
                    stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
                    stepped.flush().unwrap();
                }
            }
            let status = handle.peek(|state| state.host(host).unwrap().status);
            assert_eq!(status == HostStatus::Draining, drains, "{leaving}");
            // The operator wants it all the same.
            let (cluster, hosts) = (CLUSTER.parse().unwrap(), vec![host]);
            let status = SettableHostStatus::Active;
            let active = Command::UpdateContainerInstancesState { cluster, hosts, status };
            let active = handle.submit(active, |_, _| ());
            pin!(active);
            assert!(poll!(&mut active).is_pending());
            stepped.requested().await;
            stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
            stepped.flush().unwrap();
            active.await.unwrap();
        }
    }

    /// An order shows a definition, a revision, a cluster: whichever of them is newer than the disk.
    #[tokio::test]
    async fn orders_wait_until_all_that_they_show_is_durable() {
        let mut world = World::with_hosts(1);
        world.create(replicas(1));
        let host = world.hosts[0];
        let (handle, mut stepped) = start(world);
        let poller = poller_of(host, &handle, Arc::new(Nobody));
        let polled = |state: &State, host: &Host, sender: &Sender| {
            (exchange::poll(state, host, sender, AgentPeer::default(), 0), ())
        };
        let (_, request, ()) = poller.prepare(polled).await.ok().unwrap();
        assert_eq!(request.manifest.unwrap().orders.len(), 1);

        // Nothing of the host itself changes.
        let before = handle.peek(|state| state.host(host).unwrap().changed_seq);
        let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
        let tags = Tags::from([("team".to_owned(), "a".to_owned())]);
        let tag = handle.submit(Command::Tag { resource: cluster, tags }, |_, _| ());
        pin!(tag);
        assert!(poll!(&mut tag).is_pending());
        stepped.requested().await;
        stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
        assert_eq!(handle.peek(|state| state.host(host).unwrap().changed_seq), before);
        let prepared = poller.prepare(polled);
        pin!(prepared);
        assert!(poll!(&mut prepared).is_pending(), "an order shows what a crash would undo");
        stepped.flush().unwrap();
        assert!(poll!(&mut prepared).is_ready());
    }
}
