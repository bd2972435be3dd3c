//! What the coordinator is told: the whole of each task's latest state, numbered and kept until
//! acknowledged.
//!
//! Never: a status that was not observed. A task whose containers were not yet asked for since
//! the agent started has nothing to say.

use std::collections::BTreeMap;

use longshore_common::{
    limits::{REPORTS_EVER_MAX, REPORTS_PER_POLL_MAX},
    protocol::{
        ContainerReport, ContainerStatus, PullReport, Report, ReportBody, ReportPosition,
        ReportedPhase, TaskReport,
    },
};

use crate::task::{
    desired::{DesiredTask, Role},
    key::TaskKey,
    observed::{ContainerStage, ObservedTask, PullAmount},
};

#[cfg(test)]
mod tests;

/// How far a task is (ecs-behaviour 1.6).
pub(crate) fn phase(desired: &DesiredTask, observed: &ObservedTask) -> ReportedPhase {
    if let Some(cause) = observed.stop_cause(desired) {
        return if observed.has_stopped() {
            ReportedPhase::Stopped(cause.clone())
        } else {
            ReportedPhase::Stopping(cause.clone())
        };
    }
    let states = || desired.containers.iter().zip(&observed.containers);
    let runs = states().all(|(wanted, c)| {
        !wanted.essential
            || matches!(c.stage(), ContainerStage::Running | ContainerStage::Restarting)
    });
    let begun = observed.pull_started_at.is_some()
        || states().any(|(_, c)| c.is_called() || c.stage() != ContainerStage::Absent);
    match (runs, begun) {
        (true, _) => ReportedPhase::Running,
        (false, true) => ReportedPhase::Activating,
        (false, false) => ReportedPhase::Pending,
    }
}

pub(crate) fn task_report(desired: &DesiredTask, observed: &ObservedTask) -> TaskReport {
    let containers = desired
        .containers
        .iter()
        .zip(&observed.containers)
        .filter(|(wanted, _)| wanted.role == Role::Defined)
        .map(|(wanted, container)| {
            let status = container_status(container.stage(), observed.has_stopped());
            let over = status == ContainerStatus::Stopped;
            ContainerReport {
                name: wanted.name.clone(),
                status,
                runtime_id: container.id().map(str::to_owned),
                image_digest: container.image_digest.clone(),
                // One that is started again has an earlier end, which is not its own.
                exit_code: container.exit_code().filter(|_| over),
                reason: container.reason().map(str::to_owned),
                network_bindings: container.bindings().to_vec(),
                health: wanted.health_check.then(|| container.health().unwrap_or_default()),
                started_at: container.started_at(),
                finished_at: container.finished_at().filter(|_| over),
                last_lines: if over { container.last_lines().to_vec() } else { Vec::new() },
            }
        })
        .collect();
    TaskReport {
        task: desired.key.task,
        generation: desired.key.generation,
        phase: phase(desired, observed),
        containers,
        pull_started_at: observed.pull_started_at,
        pull_stopped_at: observed.pull_stopped_at,
        stopping_at: observed.stopping_at,
        execution_stopped_at: observed.execution_stopped_at,
        pulls: pulls(desired, observed),
    }
}

fn pulls(desired: &DesiredTask, observed: &ObservedTask) -> Vec<PullReport> {
    let mut pulls: Vec<PullReport> = Vec::new();
    // No attempt follows one that failed before the task was to stop.
    let goes_on = observed.stop_cause(desired).is_none();
    for (wanted, container) in desired.containers.iter().zip(&observed.containers) {
        let failure = container.pull_failure().cloned().filter(|_| goes_on);
        if container.pulled().is_none() && failure.is_none() {
            continue;
        }
        let PullAmount { bytes, of_bytes } = container.pulled().unwrap_or_default();
        if pulls.iter().all(|pull| *pull.image != *wanted.image) {
            pulls.push(PullReport {
                image: wanted.image.to_string(),
                bytes,
                of_bytes,
                failed_attempts: failure.as_ref().map_or(0, |failure| failure.attempts),
                last_error: failure.map(|failure| failure.error),
            });
        }
    }
    pulls
}

pub(crate) fn container_status(stage: ContainerStage, task_has_stopped: bool) -> ContainerStatus {
    match stage {
        _ if task_has_stopped => ContainerStatus::Stopped,
        ContainerStage::Unknown | ContainerStage::Absent | ContainerStage::Created => {
            ContainerStatus::Pending
        }
        ContainerStage::Running | ContainerStage::Restarting => ContainerStatus::Running,
        ContainerStage::Stopped | ContainerStage::Removed => ContainerStatus::Stopped,
    }
}

/// Which reports are not yet acknowledged. At most one a task: the latest wins.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    session: u64,
    last: u64,
    /// The last one that left in an answer.
    sent: u64,
    /// The last one that was acknowledged.
    acknowledged: u64,
    /// The last one when everything was said once more.
    repeated: u64,
    unacknowledged: BTreeMap<u64, PendingReport>,
    by_task: BTreeMap<TaskKey, u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct PendingReport {
    key: TaskKey,
    body: ReportBody,
}

impl Outbox {
    pub(crate) fn new(session: u64) -> Self {
        Outbox { session, ..Self::default() }
    }

    pub(crate) fn push(&mut self, key: TaskKey, body: ReportBody) {
        self.withdraw(key);
        self.last += 1;
        self.unacknowledged.insert(self.last, PendingReport { key, body });
        self.by_task.insert(key, self.last);
    }

    /// What is not acknowledged of this task is no longer worth saying.
    pub(crate) fn withdraw(&mut self, key: TaskKey) {
        if let Some(seq) = self.by_task.remove(&key) {
            self.unacknowledged.remove(&seq);
        }
    }

    /// How many reports are not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Whether the next answer would hold something that was never sent.
    pub(crate) fn has_news(&self) -> bool {
        let last = self.unacknowledged.keys().take(REPORTS_PER_POLL_MAX).next_back();
        last.is_some_and(|seq| *seq > self.sent)
    }

    /// Takes a cumulative acknowledgement and returns the tasks whose end is now held elsewhere.
    pub(crate) fn acknowledge(&mut self, position: Option<ReportPosition>) -> Vec<TaskKey> {
        let Some(position) = position.filter(|p| p.session == self.session) else {
            return Vec::new();
        };
        self.acknowledged = self.acknowledged.max(position.seq.min(self.last));
        let rest = self.unacknowledged.split_off(&position.seq.saturating_add(1));
        let done = std::mem::replace(&mut self.unacknowledged, rest);
        done.into_values()
            .filter_map(|PendingReport { key, body }| {
                self.by_task.remove(&key);
                match body {
                    ReportBody::Task(report) => {
                        matches!(report.phase, ReportedPhase::Stopped(_)).then_some(key)
                    }
                    ReportBody::StopCandidate { .. } => None,
                }
            })
            .collect()
    }

    /// Whether an earlier poll acknowledged more than this one does.
    pub(crate) fn is_acknowledged_beyond(&self, position: Option<ReportPosition>) -> bool {
        self.acknowledged > self.held(position)
    }

    /// Everything was said once more, to one who holds no more than this. There may be nothing to say.
    pub(crate) fn repeated(&mut self, position: Option<ReportPosition>) {
        self.repeated = self.last;
        if !self.repeats() {
            self.acknowledged = self.held(position);
        }
    }

    /// Counts on from what the coordinator holds of this session, where that is more than was ever said:
    /// the machine was set back with its memory. Whether it was so.
    pub(crate) fn count_on_from(&mut self, position: Option<ReportPosition>) -> bool {
        let ahead = Some(self.held(position))
            .filter(|held| (self.last + 1..=REPORTS_EVER_MAX).contains(held));
        self.last = ahead.unwrap_or(self.last);
        ahead.is_some()
    }

    /// What a position says of this session.
    fn held(&self, position: Option<ReportPosition>) -> u64 {
        let ours = position.filter(|position| position.session == self.session);
        ours.map_or(0, |position| position.seq)
    }

    /// Whether some of what was said once more is not acknowledged.
    pub(crate) fn repeats(&self) -> bool {
        self.unacknowledged.range(..=self.repeated).next().is_some()
    }

    /// Another start of the coordinator reads: what left before may never have arrived.
    pub(crate) fn send_again(&mut self) {
        self.sent = 0;
    }

    /// Everything not acknowledged, from the oldest: acknowledgements are cumulative, so an answer
    /// that was lost must be covered by the next.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.unacknowledged
            .iter()
            .take(REPORTS_PER_POLL_MAX)
            .map(|(seq, pending)| Report { seq: *seq, body: pending.body.clone() })
            .collect()
    }

    /// An answer left with reports up to this one.
    pub(crate) fn sent(&mut self, last: Option<u64>) {
        self.sent = self.sent.max(last.unwrap_or_default());
    }
}

/// How far a task is, as ECS's introspection names it.
pub(crate) fn phase_name(desired: &DesiredTask, observed: &ObservedTask) -> &'static str {
    match phase(desired, observed) {
        ReportedPhase::Pending => "PENDING",
        ReportedPhase::Activating => "ACTIVATING",
        ReportedPhase::Running => "RUNNING",
        ReportedPhase::Stopping(_) => "STOPPING",
        ReportedPhase::Stopped(_) => "STOPPED",
    }
}
