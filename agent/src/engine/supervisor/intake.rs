//! The agent's half of the poll: fencing, taking orders, parking, answering (design.md rules 3
//! to 5).
//!
//! Never: a task run before the ledger holds its order, or an order taken from an older start of a
//! coordinator; a task stopped because a message did not name it; what a ledger proves of an older
//! journal overwritten by a poll that only asks for it.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    id::TaskId,
    index::FastSet,
    protocol::{
        Desired, DesiredDigest, Epoch, Order, OrderKind, PROTOCOL_VERSION, PollAnswer, PollOutcome,
        PollRequest, Refusal, Seen,
    },
    task::{StopCause, StopCode},
};
use tokio::{sync::oneshot, time::Instant};
use tracing::{info, warn};

use super::{
    ledger_state::LedgerState,
    polls::{ParkedPoll, PollKnowledge, TakenOrder, UnwrittenPoll},
    record::RETRY_AFTER,
    state::Engine,
};
use crate::{
    engine::ledger::Head,
    runtime::ContainerRuntime,
    task::{intent::Intent, key::TaskKey},
};

/// Maximum time that a poll is kept, whatever it asks for.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// Stop reason of a task whose end no journal holds any more.
const HAS_ENDED: &str = "The task has ended on its container instance since the backup was made \
                         that the coordinator was recovered from. How it ended is not known.";

/// Orders of tasks that ran here before and are not here any more are stopped before they begin: the
/// coordinator hears that they have ended.
fn without_what_has_ended(orders: Vec<TakenOrder>, given_before: &[TaskId]) -> Vec<TakenOrder> {
    let given_before: FastSet<TaskId> = given_before.iter().copied().collect();
    let stop = |taken: &TakenOrder| match taken {
        TakenOrder::Run(intent) if given_before.contains(&intent.key.task) => {
            Some(TakenOrder::Stop(
                intent.key,
                StopCause { code: StopCode::TerminationNotice, reason: HAS_ENDED.to_owned() },
            ))
        }
        TakenOrder::Run(_) | TakenOrder::Stop(..) => None,
    };
    orders
        .into_iter()
        .flat_map(|taken| {
            let stop = stop(&taken);
            std::iter::once(taken).chain(stop)
        })
        .collect()
}

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn poll_arrived(
        &mut self,
        request: Box<PollRequest>,
        reply: oneshot::Sender<PollAnswer>,
    ) {
        self.polls.push_back((request, reply));
        self.next_polls();
    }

    /// Polls are taken one after the other: a later one waits for an earlier one's write.
    fn next_polls(&mut self) {
        while self.unwritten_poll.is_none()
            && let Some((request, reply)) = self.polls.pop_front()
        {
            if let Err(refusal) = self.fence(&request) {
                warn!(
                    host = %self.config.host, ?refusal, epoch = request.epoch.counter,
                    "a poll was refused: nothing of it was taken",
                );
                drop(reply.send(self.answer(PollOutcome::Refused(refusal))));
                continue;
            }
            self.take_poll(request, reply);
        }
    }

    /// Who may order, and whether this continues what the ledger holds.
    fn fence(&self, request: &PollRequest) -> Result<(), Refusal> {
        if request.protocol > PROTOCOL_VERSION {
            return Err(Refusal::UnknownProtocol { supported: PROTOCOL_VERSION });
        }
        if request.fleet != self.config.fleet {
            return Err(Refusal::OtherFleet(self.config.fleet));
        }
        if request.host != self.config.host {
            return Err(Refusal::OtherHost);
        }
        if self.heard.is_some_and(|heard| is_older(request.epoch, heard)) {
            return Err(Refusal::StaleEpoch);
        }
        let Some(Head { seen, .. }) = &self.head else { return Ok(()) };
        let (theirs, ours) = (request.epoch, seen.epoch);
        let same = theirs == ours;
        // Less than we saw, from a start that should know it: its journal went back.
        let went_back = !same && request.last_order < seen.order;
        if is_older(theirs, ours) || went_back {
            return Err(Refusal::StaleEpoch);
        }
        if request.manifest.is_some() {
            return Ok(());
        }
        let new = request.orders.iter().filter(|order| order.seq > seen.order);
        for (expected, order) in (seen.order + 1..).zip(new) {
            let known = match &order.kind {
                OrderKind::Run(run) => (run.definition as usize) < request.definitions.len(),
                OrderKind::Stop(_) => true,
            };
            if order.seq != expected || !known {
                return Err(Refusal::OrderGap { expected });
            }
        }
        Ok(())
    }

    fn take_poll(&mut self, request: Box<PollRequest>, reply: oneshot::Sender<PollAnswer>) {
        self.config.topics.take(&request.sections);
        let seen = self.head.as_ref().map(|head| head.seen);
        if let Some(seen) = seen
            && request.last_order < seen.order
        {
            // Overtaken on its way by a later poll of the same coordinator.
            let nothing =
                PollOutcome::Accepted { reports: Vec::new(), needs_manifest: false, images: None };
            drop(reply.send(self.answer(nothing)));
            return;
        }
        if seen.is_some_and(|seen| seen.epoch != request.epoch) && only_asks(&request) {
            self.tell_what_was_seen(&request, reply);
            return;
        }
        if seen.is_none_or(|seen| seen.epoch != request.epoch) {
            info!(
                host = %self.config.host, epoch = request.epoch.counter,
                last_order = request.last_order, "polled by a new start of the coordinator",
            );
            self.outbox.send_again();
        }
        self.repeat_what_may_be_lost(&request);
        let ended = self.outbox.acknowledge(request.acknowledged);
        self.acknowledged(ended);

        let nothing_ever = request.last_order == 0 && request.digest == DesiredDigest::default();
        let (orders, named) = match (&request.manifest, seen) {
            (Some(manifest), _) => {
                let mut orders = self.new_orders(&request, &manifest.orders);
                // Without a ledger nobody knows which of the tasks that are not here have ended.
                if seen.is_some_and(|seen| seen.order >= manifest.seen_order) {
                    orders = without_what_has_ended(orders, &manifest.given_before);
                }
                let named = manifest.orders.iter().map(key_of).collect();
                (orders, Some(named))
            }
            (None, Some(seen)) => {
                let fresh = request.orders.iter().filter(|order| order.seq > seen.order);
                (self.new_orders(&request, fresh), None)
            }
            // Without a ledger nobody knows which orders were taken: `park` asks for a manifest.
            (None, None) if !nothing_ever => {
                self.park(request, reply);
                return;
            }
            (None, None) => (Vec::new(), None),
        };
        let last = match request.manifest {
            Some(_) => request.last_order,
            None => request.orders.last().map_or(0, |order| order.seq),
        };
        let head = Head {
            fleet: self.config.fleet,
            host: self.config.host,
            seen: Seen { epoch: request.epoch, order: last.max(seen.map_or(0, |seen| seen.order)) },
        };
        if named.is_none() && self.head.as_ref() == Some(&head) {
            self.park(request, reply);
            return;
        }
        self.unwritten_poll =
            Some(UnwrittenPoll { head, being_written: false, orders, named, request, reply });
    }

    /// Reports everything again in two cases: the coordinator acknowledges less than it did (its journal is
    /// an older one, or an agent on a copy of this machine has answered), or more than this agent ever said
    /// (this machine was set back). At most once for each start of the coordinator, or until all is
    /// acknowledged.
    fn repeat_what_may_be_lost(&mut self, request: &PollRequest) {
        let ahead = self.outbox.count_on_from(request.acknowledged);
        let repeats = self.repeated_for == Some(request.epoch) && self.outbox.repeats();
        if ahead || !repeats && self.outbox.is_acknowledged_beyond(request.acknowledged) {
            self.repeated_for = Some(request.epoch);
            self.report_all_anew();
            self.outbox.repeated(request.acknowledged);
        }
    }

    /// Answers a new start of the coordinator that asks before it orders anything. Nothing of it is
    /// kept: when its journal turns out to be old, the next start is to hear the same.
    fn tell_what_was_seen(&mut self, request: &PollRequest, reply: oneshot::Sender<PollAnswer>) {
        // Here already: what this answer brings is acknowledged next, and hides that there was more.
        self.repeat_what_may_be_lost(request);
        let agrees = self.agrees(request);
        self.agreed = agrees == Some(true);
        self.send(reply, agrees == Some(false), PollKnowledge::by(request));
    }

    /// The orders among these that change something here.
    fn new_orders<'a>(
        &self,
        request: &PollRequest,
        orders: impl IntoIterator<Item = &'a Order>,
    ) -> Vec<TakenOrder> {
        let newest = |key: TaskKey| {
            let all = TaskKey { generation: 0, ..key }..=TaskKey { generation: u32::MAX, ..key };
            self.tasks.range(all).next_back().map(|(key, task)| (*key, task))
        };
        orders
            .into_iter()
            .filter_map(|order| {
                let key = key_of(order);
                match &order.kind {
                    OrderKind::Run(run) => {
                        let known = newest(key).is_some_and(|(newest, task)| {
                            newest.generation > key.generation
                                || newest == key && task.desired.intent.is_some()
                        });
                        let definition = request.definitions.get(run.definition as usize);
                        (!known).then_some(())?;
                        Some(TakenOrder::Run(Arc::new(Intent {
                            key,
                            epoch: request.epoch,
                            definition: definition?.clone(),
                            order: (**run).clone(),
                        })))
                    }
                    OrderKind::Stop(cause) => Some(TakenOrder::Stop(key, cause.clone())),
                }
            })
            .collect()
    }

    /// The batch under way is in the ledger: now its orders count.
    pub(super) fn orders_written(&mut self) {
        let Some(taking) = self.unwritten_poll.take_if(|taking| taking.being_written) else {
            return;
        };
        self.head = Some(taking.head);
        // A poll that was parked before is answered first.
        self.agreed = false;
        let mut changed = Vec::new();
        for taken in taking.orders {
            match taken {
                TakenOrder::Run(intent) => {
                    changed.push(intent.key);
                    self.run_ordered(intent);
                }
                TakenOrder::Stop(key, cause) => {
                    changed.push(key);
                    self.stop_ordered(key, cause);
                }
            }
        }
        if let Some(named) = taking.named {
            self.manifest_taken(&named);
            changed = self.tasks.keys().copied().collect();
        }
        changed.dedup();
        for key in changed {
            self.advance(key);
        }
        self.park(taking.request, taking.reply);
        self.next_polls();
    }

    /// The batch under way could not be written: its orders stay with the coordinator, which sends them
    /// again with its next poll. Tasks that are here are stopped all the same: a stop that comes twice is
    /// one stop, and an agent that starts without having it on record is sent it again before it may
    /// launch anything.
    pub(super) fn orders_not_taken(&mut self) {
        let Some(taking) = self.unwritten_poll.take_if(|taking| taking.being_written) else {
            return;
        };
        self.heard = Some(taking.request.epoch);
        for taken in taking.orders {
            if let TakenOrder::Stop(key, cause) = taken
                && self.tasks.contains_key(&key)
            {
                self.stop_ordered(key, cause);
                self.advance(key);
            }
        }
        self.park(taking.request, taking.reply);
        self.next_polls();
    }

    /// Compares what is here with what a manifest named. What it did not name goes on.
    fn manifest_taken(&mut self, named: &FastSet<TaskKey>) {
        let mut candidates = 0;
        for (key, task) in &mut self.tasks {
            task.report_anew();
            if task.superseded {
                continue;
            }
            if named.contains(key) {
                task.candidate = false;
                task.desired.confirmed = true;
                // It is still desired: the coordinator does not hold its end after all.
                task.observed.acknowledged = false;
            } else if task.observed.has_stopped() {
                task.observed.acknowledged = true;
                self.outbox.withdraw(*key);
            } else {
                candidates += 1;
                task.candidate = true;
                self.outbox.push(*key, task.stop_candidate());
            }
        }
        info!(
            host = %self.config.host, named = named.len(), stop_candidates = candidates,
            "took a full manifest",
        );
    }

    fn park(&mut self, request: Box<PollRequest>, reply: oneshot::Sender<PollAnswer>) {
        self.release_parked();
        let agrees = self.agrees(&request);
        // What cannot be written cannot be compared either.
        let cannot_compare = agrees.is_none() && self.ledger_state != LedgerState::Written;
        self.agreed = agrees == Some(true) || self.head.is_some() && cannot_compare;
        if agrees == Some(true) {
            self.confirm();
        }
        let has_news =
            self.outbox.has_news() || self.health_has_news() || self.config.topics.has_news();
        if self.ledger_state != LedgerState::Written && !has_news {
            // More orders could not be taken either: the answer shows that this host lives.
            let hold = Duration::from_millis(request.hold_ms.into()).min(RETRY_AFTER);
            let (told, until) = (PollKnowledge::by(&request), Instant::now() + hold);
            self.parked = Some(ParkedPoll { reply, told, until });
        } else if self.head.is_none() || agrees == Some(false) {
            self.send(reply, true, PollKnowledge::by(&request));
        } else if has_news || self.leaves_orders(&request) {
            self.send(reply, false, PollKnowledge::by(&request));
        } else {
            let hold = Duration::from_millis(request.hold_ms.into()).min(HOLD_MAX);
            let (told, until) = (PollKnowledge::by(&request), Instant::now() + hold);
            self.parked = Some(ParkedPoll { reply, told, until });
        }
    }

    /// There are orders that this poll had no room for: the answer asks for them.
    fn leaves_orders(&self, request: &PollRequest) -> bool {
        self.head.as_ref().is_some_and(|head| request.last_order > head.seen.order)
    }

    /// Whether both sides desire the same; unknown while more orders are to come, or the ledger
    /// is new.
    fn agrees(&self, request: &PollRequest) -> Option<bool> {
        let head = self.head.as_ref()?;
        (head.seen.order == request.last_order).then(|| self.digest() == request.digest)
    }

    fn digest(&self) -> DesiredDigest {
        let mut digest = DesiredDigest::default();
        for (key, task) in self.tasks.iter().filter(|(_, task)| task.counts()) {
            let desired = if task.desired.stop.is_some() { Desired::Stop } else { Desired::Run };
            digest.add(key.task, key.generation, desired);
        }
        digest
    }

    pub(super) fn release_parked(&mut self) {
        if let Some(parked) = self.parked.take() {
            self.send(parked.reply, false, parked.told);
        }
    }

    pub(super) fn release_news(&mut self) {
        if self.parked.is_some() && self.outbox.has_news() {
            self.release_parked();
        }
    }

    fn send(
        &mut self,
        reply: oneshot::Sender<PollAnswer>,
        needs_manifest: bool,
        told: PollKnowledge,
    ) {
        let reports = self.outbox.reports();
        let sent = reports.last().map(|report| report.seq);
        let images = self.images_to_tell(told.images);
        let outcome = PollOutcome::Accepted { reports, needs_manifest, images };
        let subscriptions = self.config.topics.to_tell(told.subscriptions);
        let answer = PollAnswer { subscriptions, ..self.answer(outcome) };
        if reply.send(answer).is_ok() {
            self.outbox.sent(sent);
            self.config.topics.are_told();
            self.health_is_answered();
        }
    }

    /// Whether an answer leaves the coordinator with all that there is to know of its tasks here.
    fn tells_all(&self, outcome: &PollOutcome) -> bool {
        match outcome {
            PollOutcome::Accepted { reports, needs_manifest: false, .. } => {
                self.has_inspected() && self.agreed && self.outbox.len() == reports.len()
            }
            PollOutcome::Accepted { .. } | PollOutcome::Refused(_) => false,
        }
    }

    fn answer(&self, outcome: PollOutcome) -> PollAnswer {
        PollAnswer {
            protocol: PROTOCOL_VERSION,
            host: self.config.host,
            boot_id: self.config.boot_id.clone(),
            session: self.config.session,
            seen: self.head.as_ref().map(|head| head.seen),
            machine: self.config.machine.clone(),
            engine: self.health(),
            storage: self.storage(),
            leaving: self.health.is_leaving(),
            looked: Some(self.tells_all(&outcome)),
            subscriptions: None,
            outcome,
        }
    }
}

/// Whether a poll brings nothing and does not wait for news: it asks what this agent has seen.
fn only_asks(request: &PollRequest) -> bool {
    request.hold_ms == 0 && request.orders.is_empty() && request.manifest.is_none()
}

/// Whether `theirs` is of an earlier start than `ours`, or of a twin of that start.
fn is_older(theirs: Epoch, ours: Epoch) -> bool {
    theirs.counter < ours.counter || theirs.counter == ours.counter && theirs != ours
}

fn key_of(order: &Order) -> TaskKey {
    TaskKey { task: order.task, generation: order.generation }
}
