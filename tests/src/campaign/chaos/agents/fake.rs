//! One agent: its ledger, its tasks, and what it says when it is polled.

use std::collections::BTreeMap;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    machine::MachineMarks,
    protocol::{
        ContainerReport, ContainerStatus, Desired, DesiredDigest, EngineHealth, Epoch, HeldImages,
        Order, OrderKind, PROTOCOL_VERSION, PollAnswer, PollOutcome, PollRequest, Refusal,
        RegisterRequest, Report, ReportBody, ReportPosition, ReportedPhase, RunIntent, Seen,
        StorageHealth, TaskReport,
    },
    task::{HealthStatus, StopCause, StopCode},
};

use crate::chance::Chance;

#[derive(Clone)]
pub(super) struct FakeAgent {
    pub(super) host: HostId,
    pub(super) registration: RegisterRequest,
    /// So many polls are not answered any more.
    pub(super) silent_for: usize,
    /// Its host answers, and nobody listens.
    pub(super) refuses: bool,
    /// Its last poll was not answered.
    pub(super) unheard: bool,
    pub(super) gone: bool,
    /// Polls for which its disks have no room.
    pub(super) full_for: usize,
    pub(super) needs_manifest: bool,
    /// The start of the coordinator that has asked what this agent has seen.
    pub(super) greeted: Option<Epoch>,
    /// The start of the coordinator that it told last what its host has.
    pub(super) registered_with: Option<Epoch>,
    session: u64,
    seen: Option<Seen>,
    tasks: BTreeMap<TaskId, FakeTask>,
    reports: Vec<Report>,
    last_report: u64,
    /// The last report that was acknowledged.
    acknowledged: u64,
    /// The start of the coordinator for which everything was said once more last, and the last report
    /// that said it.
    repeated: Option<(Epoch, u64)>,
    images: u64,
    /// Polls in a row that the coordinator had nothing to say to this host.
    unknown: usize,
}

#[derive(Clone)]
struct FakeTask {
    generation: u32,
    intent: RunIntent,
    phase: ReportedPhase,
    stop: Option<StopCause>,
    health: HealthStatus,
    /// Polls until its stop is done.
    stopping_for: usize,
    /// No manifest names it.
    stranger: bool,
}

/// Polls after which a host that nobody knows is given up.
const UNKNOWN_MAX: usize = 20;
/// The longest stop, in polls.
const STOP_MAX: usize = 6;

impl FakeAgent {
    pub(super) fn new(host: HostId, registration: RegisterRequest, session: u64) -> Self {
        FakeAgent {
            host,
            registration,
            silent_for: 0,
            refuses: false,
            unheard: false,
            gone: false,
            full_for: 0,
            needs_manifest: true,
            greeted: None,
            registered_with: None,
            session,
            seen: None,
            tasks: BTreeMap::new(),
            reports: Vec::new(),
            last_report: 0,
            acknowledged: 0,
            repeated: None,
            images: 0,
            unknown: 0,
        }
    }

    /// What it holds, for whoever looks for what went wrong.
    pub(super) fn shown(&self) -> String {
        let task = |(id, task): (&TaskId, &FakeTask)| {
            let FakeTask { generation, phase, stop, stranger, .. } = task;
            format!("{id} {generation} {phase:?} stop {} stranger {stranger}", stop.is_some())
        };
        let tasks: Vec<String> = self.tasks.iter().map(task).collect();
        format!(
            "agent of {}: seen {:?}, silent for {}, unknown {}, needs a manifest {}, {} reports, tasks: {}",
            self.host,
            self.seen,
            self.silent_for,
            self.unknown,
            self.needs_manifest,
            self.reports.len(),
            tasks.join("; ")
        )
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// The agent's process starts anew: its tasks run on, and are reported from the first again.
    pub(super) fn restart(&mut self, session: u64) {
        self.session = session;
        self.reports.clear();
        (self.last_report, self.acknowledged, self.repeated) = (0, 0, None);
        self.greeted = None;
        // Which of its tasks no manifest names is in no ledger.
        self.tasks.values_mut().for_each(|task| task.stranger = false);
        let tasks: Vec<TaskId> = self.tasks.keys().copied().collect();
        tasks.into_iter().for_each(|task| self.report(task));
    }

    pub(super) fn lose_ledger(&mut self, session: u64) {
        self.seen = None;
        self.needs_manifest = true;
        self.restart(session);
    }

    /// The machine is another one, or the same anew: nothing runs there.
    pub(super) fn boot(&mut self, session: u64) {
        self.registration.boot_id = format!("boot-{session}");
        for task in self.tasks.values_mut() {
            task.phase = ReportedPhase::Stopped(exited());
        }
        self.restart(session);
    }

    pub(super) fn is_unknown(&mut self) {
        self.unknown += 1;
        self.gone |= self.unknown > UNKNOWN_MAX;
    }

    pub(super) fn answer(&mut self, request: &PollRequest) -> PollAnswer {
        self.unknown = 0;
        self.full_for = self.full_for.saturating_sub(1);
        let stale = self.seen.is_some_and(|seen| {
            let (theirs, same) = (request.epoch, request.epoch == seen.epoch);
            let later = theirs.counter > seen.epoch.counter && request.last_order >= seen.order;
            !same && !later
        });
        let only_asks =
            request.hold_ms == 0 && request.orders.is_empty() && request.manifest.is_none();
        let of_other_epoch = self.seen.is_some_and(|seen| seen.epoch != request.epoch);
        let outcome = match stale {
            true => PollOutcome::Refused(Refusal::StaleEpoch),
            false if of_other_epoch && only_asks => self.say(request),
            false => self.take(request),
        };
        PollAnswer {
            protocol: PROTOCOL_VERSION,
            host: self.host,
            boot_id: self.registration.boot_id.clone(),
            session: self.session,
            seen: self.seen,
            machine: MachineMarks::default(),
            engine: EngineHealth::Answers,
            storage: match self.full_for {
                0 => StorageHealth::Ready,
                _ => StorageHealth::Full,
            },
            leaving: false,
            looked: Some(matches!(outcome, PollOutcome::Accepted { needs_manifest: false, .. })),
            subscriptions: None,
            outcome,
        }
    }

    /// Keeps nothing of the request.
    fn say(&mut self, request: &PollRequest) -> PollOutcome {
        self.repeat_what_may_be_lost(request);
        let has_all = self.seen.map(|seen| seen.order) == Some(request.last_order);
        self.needs_manifest = has_all && self.digest() != request.digest;
        self.accepted(request)
    }

    fn take(&mut self, request: &PollRequest) -> PollOutcome {
        self.repeat_what_may_be_lost(request);
        let nothing_ever = request.last_order == 0 && request.digest == DesiredDigest::default();
        if self.seen.is_none() && request.manifest.is_none() && !nothing_ever {
            // Without a ledger nobody knows which orders were taken.
            self.needs_manifest = true;
            return self.accepted(request);
        }
        let mut order = self.seen.map_or(0, |seen| seen.order);
        if let Some(manifest) = &request.manifest {
            for given in &manifest.orders {
                let held = self.tasks.contains_key(&given.task);
                self.obey(given, request);
                let seen = self.seen.is_some_and(|seen| seen.order >= manifest.seen_order);
                if !held && seen && manifest.given_before.contains(&given.task) {
                    self.has_ended(given.task);
                }
            }
            let named = |task: &TaskId| manifest.orders.iter().any(|order| order.task == *task);
            let strangers: Vec<TaskId> =
                self.tasks.keys().filter(|task| !named(task)).copied().collect();
            strangers.into_iter().for_each(|task| self.tell_stranger(task));
            // Whatever was acknowledged before is said again.
            let known: Vec<TaskId> =
                self.tasks.keys().filter(|task| named(task)).copied().collect();
            known.into_iter().for_each(|task| self.report(task));
            order = request.last_order;
        }
        for given in &request.orders {
            if given.seq == order + 1 {
                self.obey(given, request);
                order = given.seq;
            }
        }
        self.seen = Some(Seen { epoch: request.epoch, order });
        if let Some(acknowledged) = request.acknowledged.filter(|at| at.session == self.session) {
            self.acknowledged = self.acknowledged.max(acknowledged.seq);
            self.reports.retain(|report| report.seq > acknowledged.seq);
        }
        self.needs_manifest = order == request.last_order && self.digest() != request.digest;
        self.accepted(request)
    }

    /// Whoever acknowledges less than was acknowledged before is told everything again: once until that
    /// is acknowledged, or for each start.
    fn repeat_what_may_be_lost(&mut self, request: &PollRequest) {
        let position = request.acknowledged.filter(|at| at.session == self.session);
        let repeats = self.repeated.is_some_and(|(epoch, last)| {
            epoch == request.epoch && self.reports.iter().any(|report| report.seq <= last)
        });
        if repeats || self.acknowledged <= position.map_or(0, |at| at.seq) {
            return;
        }
        let is_candidate = |task: &FakeTask| {
            let ended = matches!(task.phase, ReportedPhase::Stopped(_));
            task.stranger && !ended && task.stop.is_none()
        };
        let tasks: Vec<(TaskId, bool)> =
            self.tasks.iter().map(|(id, task)| (*id, is_candidate(task))).collect();
        for (task, candidate) in tasks {
            match candidate {
                true => self.tell_stranger(task),
                false => self.report(task),
            }
        }
        self.repeated = Some((request.epoch, self.last_report));
    }

    fn accepted(&self, request: &PollRequest) -> PollOutcome {
        let position = ReportPosition { session: self.session, seq: self.images };
        let held = HeldImages { position, references: vec!["app:1".to_owned()] };
        PollOutcome::Accepted {
            reports: self.reports.clone(),
            needs_manifest: self.needs_manifest,
            images: (request.images != Some(position)).then_some(held),
        }
    }

    fn digest(&self) -> DesiredDigest {
        let mut digest = DesiredDigest::default();
        let ended = |task: &FakeTask| matches!(task.phase, ReportedPhase::Stopped(_));
        for (id, task) in self.tasks.iter().filter(|(_, task)| !task.stranger && !ended(task)) {
            let desired = if task.stop.is_some() { Desired::Stop } else { Desired::Run };
            digest.add(*id, task.generation, desired);
        }
        digest
    }

    fn obey(&mut self, order: &Order, request: &PollRequest) {
        match &order.kind {
            OrderKind::Run(run) => {
                let Some(definition) = request.definitions.get(run.definition as usize) else {
                    return;
                };
                let known = self.tasks.get_mut(&order.task);
                if let Some(task) = known.filter(|task| task.generation >= order.generation) {
                    task.stranger = false;
                    return;
                }
                let intent =
                    RunIntent { definition: (**definition).clone(), order: (**run).clone() };
                let task = FakeTask {
                    generation: order.generation,
                    intent,
                    phase: ReportedPhase::Pending,
                    stop: None,
                    health: HealthStatus::Unknown,
                    stopping_for: 0,
                    stranger: false,
                };
                self.tasks.insert(order.task, task);
                self.report(order.task);
            }
            OrderKind::Stop(cause) => {
                let Some(task) = self.tasks.get_mut(&order.task) else { return };
                if task.generation <= order.generation {
                    task.stop.get_or_insert_with(|| cause.clone());
                }
            }
        }
    }

    /// A task that ran here before and is not here any more.
    fn has_ended(&mut self, task: TaskId) {
        let Some(ended) = self.tasks.get_mut(&task) else { return };
        let reason = "The task has ended since the backup was made.".to_owned();
        let cause = StopCause { code: StopCode::TerminationNotice, reason };
        ended.phase = ReportedPhase::Stopped(cause);
        self.report(task);
    }

    /// Its tasks come on by a step each, as chance will have it.
    pub(super) fn work(&mut self, chance: &mut Chance, calm: bool, _now: Timestamp) {
        if chance.one_in(20) {
            self.images += 1;
        }
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if matches!(task.phase, ReportedPhase::Stopped(_)) {
                // Kept until the coordinator has taken the word.
                if !self.reports.iter().any(|report| is_of(report, id)) {
                    self.tasks.remove(&id);
                }
                continue;
            }
            if task.come_on(chance, calm) {
                self.report(id);
            }
        }
    }

    fn report(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        // At most one of a task: the latest wins.
        self.reports.retain(|report| !is_of(report, id));
        self.last_report += 1;
        let body = ReportBody::Task(Box::new(task.told(id)));
        self.reports.push(Report { seq: self.last_report, body });
    }

    fn tell_stranger(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.stranger = true;
        self.reports.retain(|report| !is_of(report, id));
        self.last_report += 1;
        let body = ReportBody::StopCandidate {
            task: id,
            generation: task.generation,
            run: Some(Box::new(task.intent.clone())),
        };
        self.reports.push(Report { seq: self.last_report, body });
    }
}

impl FakeTask {
    /// Whether there is something new to tell.
    fn come_on(&mut self, chance: &mut Chance, calm: bool) -> bool {
        if let Some(cause) = self.stop.clone() {
            if !matches!(self.phase, ReportedPhase::Stopping(_)) {
                self.phase = ReportedPhase::Stopping(cause);
                self.stopping_for = if calm { 0 } else { chance.below(STOP_MAX) };
                return true;
            }
            if self.stopping_for > 0 {
                self.stopping_for -= 1;
                return false;
            }
            self.phase = ReportedPhase::Stopped(cause);
            return true;
        }
        let checked = self.intent.definition.spec.container_definitions.iter();
        let checked = checked.into_iter().any(|container| container.health_check.is_some());
        match self.phase {
            ReportedPhase::Pending => {
                self.phase = ReportedPhase::Activating;
                chance.one_in(2)
            }
            ReportedPhase::Activating if !calm && chance.one_in(8) => {
                let reason = "CannotPullContainerError: no such image".to_owned();
                let cause = StopCause { code: StopCode::TaskFailedToStart, reason };
                self.phase = ReportedPhase::Stopped(cause);
                true
            }
            ReportedPhase::Activating => {
                self.phase = ReportedPhase::Running;
                true
            }
            ReportedPhase::Running if checked && self.health == HealthStatus::Unknown => {
                self.health = HealthStatus::Healthy;
                true
            }
            ReportedPhase::Running if checked && !calm && chance.one_in(60) => {
                self.health = match self.health {
                    HealthStatus::Healthy => HealthStatus::Unhealthy,
                    HealthStatus::Unhealthy | HealthStatus::Unknown => HealthStatus::Healthy,
                };
                true
            }
            // Tasks of nobody's service come to their end, in calm times soon: those wait for it.
            ReportedPhase::Running
                if self.is_alone() && chance.one_in(if calm { 3 } else { 25 }) =>
            {
                self.phase = ReportedPhase::Stopped(exited());
                true
            }
            ReportedPhase::Running if !calm && chance.one_in(150) => {
                self.phase = ReportedPhase::Stopped(exited());
                true
            }
            ReportedPhase::Running | ReportedPhase::Stopping(_) | ReportedPhase::Stopped(_) => {
                false
            }
        }
    }

    fn is_alone(&self) -> bool {
        !self.intent.order.group.starts_with("service:")
    }

    fn told(&self, id: TaskId) -> TaskReport {
        let status = match self.phase {
            ReportedPhase::Pending | ReportedPhase::Activating => ContainerStatus::Pending,
            ReportedPhase::Running | ReportedPhase::Stopping(_) => ContainerStatus::Running,
            ReportedPhase::Stopped(_) => ContainerStatus::Stopped,
        };
        let containers = self.intent.definition.spec.container_definitions.iter();
        let told = containers.map(|container| ContainerReport {
            name: container.name.clone(),
            status,
            runtime_id: Some("d0c4e4".to_owned()),
            image_digest: Some("sha256:ab".to_owned()),
            exit_code: (status == ContainerStatus::Stopped).then_some(1),
            health: container.health_check.as_ref().map(|_| self.health),
            ..ContainerReport::default()
        });
        TaskReport {
            task: id,
            generation: self.generation,
            phase: self.phase.clone(),
            containers: told.collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            pulls: Vec::new(),
        }
    }
}

fn is_of(report: &Report, task: TaskId) -> bool {
    match &report.body {
        ReportBody::Task(told) => told.task == task,
        ReportBody::StopCandidate { task: told, .. } => *told == task,
    }
}

fn exited() -> StopCause {
    let reason = "Essential container in task exited".to_owned();
    StopCause { code: StopCode::EssentialContainerExited, reason }
}
