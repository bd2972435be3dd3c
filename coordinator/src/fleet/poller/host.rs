//! The polls of one host.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use longshore_common::{
    id::{HostId, TaskId},
    limits::{BEATS_MISSED_MAX, REPORTS_PER_POLL_MAX, beat},
    protocol::{
        EngineHealth, PollAnswer, PollOutcome, PollRequest, Refusal, Report, ReportBody,
        ReportPosition, Seen,
    },
    telemetry::chain,
};
use longshore_core::{
    Command, State,
    command::{AgentAnswered, EpochCommand, HostCommand},
    model::host::HostStatus,
    state::Host,
};
use tokio::time::Instant;

use super::{
    exchange::{self, HostSnapshot, Peer as AgentPeer, Sender},
    followed::Followed,
    pace::Pace,
    start_barrier::StartBarrier,
    testimony::{self, Testimony},
};
use crate::{
    driver::{Handle, Refused, Signal, Unavailable},
    fleet::{
        client::{AgentClient, Peer, PollError},
        join::IDENTITY_CONFLICTS,
        topics::Topics,
    },
};

#[cfg(test)]
mod tests;

pub(crate) const POLLS: &str = "longshore_polls_total";
pub(crate) const ORDER_SECONDS: &str = "longshore_order_departure_seconds";
/// Interval of asking a host what it has seen while an old journal waits for the operator (ours).
/// Each answer brings all reports that the host cannot be rid of, so the interval is long; yet it
/// ends before an agent warns that nobody polls it.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);
/// Minimum interval between two warnings of one host that it runs what is not known (ours).
const WARNING_GAP: Duration = Duration::from_secs(60);
/// Maximum number of polls under way to one host: the parked poll and the newer one that releases
/// it.
const POLLS_IN_FLIGHT_MAX: usize = 2;

pub(super) struct HostPoller<A> {
    host: HostId,
    sender: Arc<Sender>,
    handle: Handle,
    agents: Arc<A>,
    barrier: Arc<StartBarrier>,
    signal: Arc<Signal>,
    followed: Followed,
    /// Number of attempts, from which jitter is made; it needs no randomness of quality.
    attempts: u64,
    /// Whether the agent said last that its machine is about to be taken away: the host is drained for
    /// it once, and an operator may take that back.
    leaves: bool,
    pace: Pace,
    /// Time since which a warning stands that the host runs tasks which are not known here.
    warned_of_unknown: Option<Instant>,
}

/// Ends with the answer, and with the last order that the host had been given when it was sent.
type PollUnderWay = Pin<Box<dyn Future<Output = (Result<PollAnswer, Again>, u64)> + Send>>;

/// Why the poller goes back to saying hello.
enum Again {
    /// The host is gone, or has no agent.
    Ended,
    /// The host could not be heard; the sentence is written to the log.
    Silent(String),
    /// The host answered that nobody listens there.
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
        topics: Arc<Topics>,
    ) -> Self {
        let signal = handle.signals().listen(host);
        let followed = Followed::new(host, signal.clone(), topics);
        HostPoller {
            host,
            sender,
            handle,
            agents,
            barrier,
            signal,
            followed,
            attempts: 0,
            leaves: false,
            pace: Pace::new(Instant::now()),
            warned_of_unknown: None,
        }
    }

    /// Polls the host until it has no agent any more.
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
                    let silent =
                        Command::Host(HostCommand::AgentSilent { host: self.host, why, refused });
                    if self.handle.submit_always(silent, |_, _| ()).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(self.pause()).await;
                }
            }
        }
        self.barrier.arrived(self.host);
        self.handle.hearing().forget(self.host);
        self.handle.signals().forget(self.host);
    }

    /// Learns what the agent has seen, before it is given anything.
    async fn greet(&mut self) -> Result<AgentPeer, Again> {
        if let Some(until) = self.pace.pause(Instant::now(), self.beat()) {
            tokio::time::sleep_until(until).await;
        }
        if self.handle.is_held() {
            match self.listen_until_recovered().await? {}
        }
        self.pace.again(Instant::now(), self.beat(), false);
        self.followed.greet(Instant::now());
        let hello = |state: &State, host: &Host, sender: &Sender| {
            (exchange::hello(state, host, sender), ())
        };
        let (to, request, ()) = self.prepare(hello).await?;
        let answer = self.ask(&to, request).await?;
        let peer = self.understand(&answer).await?;
        self.has_spoken();
        self.followed.learn(answer.subscriptions.as_deref(), Instant::now());
        self.take(&answer).await?;
        self.barrier.passed().await;
        Ok(peer)
    }

    /// Asks the agent only what it has seen while an old journal waits for the operator, so that
    /// the operator continues beyond that with the first `recover`. The question is repeated from
    /// time to time, so that a host that falls silent meanwhile is noticed.
    async fn listen_until_recovered(&mut self) -> Result<std::convert::Infallible, Again> {
        loop {
            let hello = |state: &State, host: &Host, sender: &Sender| {
                (exchange::hello(state, host, sender), ())
            };
            let (to, request, ()) = self.prepare(hello).await?;
            let answer = self.ask(&to, request).await?;
            match self.understand(&answer).await {
                Ok(_) | Err(Again::Unfamiliar) => self.has_spoken(),
                Err(again) => return Err(again),
            }
            tokio::select! {
                stands = self.handle.journal_stands() => {
                    stands?;
                    return Err(Again::Unfamiliar);
                }
                () = tokio::time::sleep(self.beat().max(LISTEN_AGAIN)) => {}
            }
        }
    }

    fn has_spoken(&self) {
        self.handle.hearing().heard(self.host);
        self.barrier.arrived(self.host);
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
            let now = Instant::now();
            let (behind, behind_from) =
                (self.followed.is_behind(now), self.followed.behind_from(now));
            let changed = behind || shown != Some(self.current()?);
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
                let (to, mut request, (now_shown, last_order)) = self
                    .prepare(|state, host, sender| {
                        let hold_ms = hold.as_millis() as u32;
                        let request = exchange::poll(state, host, sender, peer, hold_ms);
                        (request, (HostSnapshot::of(host), host.last_order))
                    })
                    .await?;
                // A manifest may fill a poll by itself.
                if request.manifest.is_none() {
                    request.sections = self.followed.sections(Instant::now());
                }
                request.knows_subscriptions = self.followed.is_known();
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
                    let now = Instant::now();
                    if matches!(answer.outcome, PollOutcome::Refused(_)) {
                        self.followed.refused();
                    }
                    let learned = self.followed.learn(answer.subscriptions.as_deref(), now);
                    let advanced = peer.seen.max(newer.seen);
                    brought = advanced > peer.seen || answer.tells_something() || learned;
                    unfinished |= advanced.map(|seen| seen.order) < Some(last_order);
                    peer = AgentPeer {
                        seen: advanced,
                        needs_manifest: newer.needs_manifest && in_flight.is_empty(),
                    };
                    self.take(&answer).await?;
                }
                () = signal.changed() => {}
                () = tokio::time::sleep_until(behind_from.unwrap_or_else(Instant::now)), if behind_from.is_some() => {}
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
        if self.handle.is_held() {
            return Again::Unfamiliar;
        }
        let skip = Command::Epoch(EpochCommand::SkipLostOrders { host: self.host, to });
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
        let command = Command::Host(HostCommand::AgentAnswered(Box::new(answered)));
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

    /// Those of the stop candidates among `reports` that ended by our own history.
    async fn ended(&mut self, reports: &[Report]) -> Result<Vec<TaskId>, Unavailable> {
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
        let unknown = |task: &&TaskId| {
            !ended.contains(task) && self.handle.peek(|state| state.task(**task).is_none())
        };
        let mut unknown = candidates.iter().filter(unknown);
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

    fn current(&self) -> Result<HostSnapshot, Again> {
        let shown = self.handle.peek(|state| state.host(self.host).map(HostSnapshot::of));
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
