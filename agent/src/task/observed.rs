//! What is known of a task on this host, from calls, events and listings.
//!
//! Pure: the wall time comes in. The one rule here is that unknown is not dead (promises.md 2.2):
//! a container ends by an inspect that shows it, by its exit event, or by two 404s for its id;
//! every other error leaves it as last known and in doubt, and doubt is cleared by an inspect.

use longshore_common::{clock::Timestamp, task::StopCause};

use crate::{settings::PullPolicy, task::desired::DesiredTask};

mod container;
mod events;
mod outcomes;
mod pull;
pub(crate) mod record;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    container::{Activity, Call, ObservedContainer},
    outcomes::{CallOutcome, NextStep, backoff},
    pull::{PullAmount, PullState},
    state::{ContainerStage, ContainerState, MainProcess, Run},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ObservedTask {
    pub(crate) containers: Vec<ObservedContainer>,
    /// Why the task stops although nobody ordered a stop.
    pub(crate) own_stop: Option<StopCause>,
    pub(crate) pull_started_at: Option<Timestamp>,
    pub(crate) pull_stopped_at: Option<Timestamp>,
    pub(crate) stopping_at: Option<Timestamp>,
    pub(crate) execution_stopped_at: Option<Timestamp>,
    /// The coordinator holds this task's end: the task is no longer desired here.
    pub(crate) acknowledged: bool,
}

impl ObservedTask {
    /// Why this task is to stop, if it is: the first of an order and what happened by itself.
    pub(crate) fn stop_cause<'a>(&'a self, desired: &'a DesiredTask) -> Option<&'a StopCause> {
        self.own_stop.as_ref().or(desired.stop.as_ref())
    }

    /// A task of which nothing was ever done here.
    pub(crate) fn new(desired: &DesiredTask, pull: PullPolicy) -> Self {
        let state = ContainerState::Absent { listed: None };
        let fresh = ObservedContainer { state, ..Default::default() };
        let mut task =
            ObservedTask { containers: vec![fresh; desired.containers.len()], ..Self::default() };
        task.set_pulls(desired, pull);
        task
    }

    /// A task as the ledger or the labels tell of it, to be compared with the engine.
    pub(crate) fn unseen(mut self, desired: &DesiredTask, pull: PullPolicy) -> Self {
        self.containers.resize_with(desired.containers.len(), ObservedContainer::default);
        self.set_pulls(desired, pull);
        for container in &mut self.containers {
            match container.state {
                ContainerState::Stopped { .. } | ContainerState::Removed { .. } => {}
                ContainerState::Unknown(_)
                | ContainerState::Absent { .. }
                | ContainerState::Created { .. }
                | ContainerState::Started { .. }
                | ContainerState::Running { .. }
                | ContainerState::Restarting { .. } => {
                    container.state = ContainerState::Unknown(container.state.leave());
                }
            }
        }
        self
    }

    /// What was pulled before, under [`PullPolicy::Once`], is not pulled again.
    pub(crate) fn reuse(&mut self, desired: &DesiredTask, was_pulled: impl Fn(&str) -> bool) {
        for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
            if container.pull.is_needed() && was_pulled(&wanted.image) {
                container.pull = PullState::NotNeeded;
            }
        }
    }

    fn set_pulls(&mut self, desired: &DesiredTask, policy: PullPolicy) {
        for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
            container.pull = PullState::before(wanted, policy);
        }
    }

    /// Whether every container was asked for since the agent started: else there is no news.
    pub(crate) fn is_known(&self) -> bool {
        self.containers.iter().all(|c| !matches!(c.state, ContainerState::Unknown(_)))
    }

    /// Whether every container was looked at, and nothing is in doubt.
    pub(crate) fn is_seen(&self) -> bool {
        self.is_known() && self.containers.iter().all(|c| !c.doubt && !c.is_called())
    }

    /// Whether an inspect of a container is needed or under way.
    pub(crate) fn awaits_inspection(&self) -> bool {
        let inspected = Activity::Calling(Call::Inspect);
        !self.is_known() || self.containers.iter().any(|c| c.doubt || c.activity == inspected)
    }

    /// Whether a container was seen to run, so that the task has not ended.
    pub(crate) fn runs(&self) -> bool {
        self.containers.iter().any(ObservedContainer::runs)
    }

    /// Whether no container runs, none will, and nothing is open.
    pub(crate) fn has_stopped(&self) -> bool {
        self.execution_stopped_at.is_some()
    }

    /// An operator's view of the pull: from the first image's begin to the last one's end.
    pub(crate) fn pull_begins(&mut self, now: Timestamp) {
        self.pull_started_at.get_or_insert(now);
        self.pull_stopped_at = None;
    }

    /// The wall clock was set ahead by this, or back when negative. What is measured from a
    /// container's start counts the time that has passed, not the jump.
    pub(crate) fn clock_jumped(&mut self, by_ms: i64) {
        for container in &mut self.containers {
            if let ContainerState::Running { run, .. } = &mut container.state {
                run.clock_jumped_ms = run.clock_jumped_ms.saturating_add(by_ms);
                if let Some(stop) = &mut run.stop {
                    stop.by = stop.by.jumped(by_ms);
                }
            }
        }
    }
}
