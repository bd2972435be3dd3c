//! What is concluded from a change of a task: what is started again, what never begins, whether the
//! task stops by itself, and whether it has.

use longshore_common::{
    clock::Timestamp,
    task::{StopCause, StopCode},
};

use crate::task::{
    desired::{Condition, DesiredTask, Role},
    observed::{ContainerState, MainProcess, ObservedContainer, ObservedTask},
    order,
};

const PAUSE_EXITED: &str = "The container that holds the namespaces which this task's containers \
                            share (~internal~ecs~pause) exited";

const ESSENTIAL_EXITED: &str = "Essential container in task exited";

impl ObservedTask {
    /// Draws the conclusions of a change: what is started again, whether the task stops by itself,
    /// and whether it has.
    pub(crate) fn settle(&mut self, desired: &DesiredTask, now: Timestamp) {
        if self.stop_cause(desired).is_none() {
            for (wanted, container) in desired.containers.iter().zip(&mut self.containers) {
                if let Some(policy) = &wanted.restart {
                    container.start_again(policy);
                }
            }
            self.own_stop = self.first_end(desired);
            self.give_up_what_never_begins(desired, now);
        }
        if self.stop_cause(desired).is_none() {
            return;
        }
        self.set_stop_deadlines(desired, now);
        self.stopping_at.get_or_insert(now);
        let mut containers = desired.containers.iter().zip(&self.containers);
        let all_over = containers.all(|(wanted, c)| c.is_over() && !c.awaits_last_lines(wanted));
        if self.execution_stopped_at.is_none() && all_over {
            self.execution_stopped_at = Some(now);
        }
    }

    /// Every container whose dependencies can no longer be met never runs and says why, one that
    /// waits for such a one too. The task stops for it only if it is essential.
    fn give_up_what_never_begins(&mut self, desired: &DesiredTask, now: Timestamp) {
        while let Some((index, reason)) = order::never_begins(desired, self, now) {
            self.containers[index].give_up(reason.clone());
            if desired.containers[index].essential {
                let cause = StopCause { code: StopCode::TaskFailedToStart, reason };
                self.own_stop.get_or_insert(cause);
            }
        }
    }

    /// From now on, containers whose turn it is have their time to stop.
    fn set_stop_deadlines(&mut self, desired: &DesiredTask, now: Timestamp) {
        for (index, wanted) in desired.containers.iter().enumerate() {
            let Some((_, process)) = self.containers[index].running() else { continue };
            let gone = *process == MainProcess::Ended && desired.stop.is_none();
            if !gone && order::may_stop(desired, self, index) {
                self.containers[index].stop_begins(now.saturating_add(wanted.stop_grace));
            }
        }
    }

    /// Why the task stops by itself, if an essential container has ended.
    fn first_end(&self, desired: &DesiredTask) -> Option<StopCause> {
        let containers = || desired.containers.iter().zip(&self.containers);
        let mut ended = containers().filter(|(wanted, c)| wanted.essential && c.has_ended());
        let pause = containers().find(|(wanted, c)| wanted.role == Role::Pause && c.has_ended());
        let Some((_, pause)) = pause else {
            return ended.next().map(|(_, container)| own_stop_cause(container));
        };
        // The end of the pause container may take the others with it, and not the other way round:
        // one that ended in its own way was before.
        let before =
            ended.find(|(wanted, c)| wanted.role == Role::Defined && c.ended_in_its_own_way());
        let mut cause = own_stop_cause(before.map_or(pause, |(_, container)| container));
        if before.is_none() && pause.ever_ran() {
            cause.reason = PAUSE_EXITED.to_owned();
        }
        Some(cause)
    }

    /// In a task that was found by its containers, without a record, containers of which none is left ran
    /// and were removed since, where the others show it. Such containers are inspected, and not made again.
    pub(crate) fn gone_after_they_ran(&mut self, desired: &DesiredTask, now: Timestamp) {
        while let Some((index, succeeded)) = self.gone_after_it_ran(desired) {
            self.containers[index].counts_as_run(succeeded.then_some(now));
        }
    }

    /// A container of which nothing is left and that had begun, and whether it surely succeeded.
    fn gone_after_it_ran(&self, desired: &DesiredTask) -> Option<(usize, bool)> {
        let is_there =
            |index: &usize| !matches!(self.containers[*index].state, ContainerState::Absent { .. });
        let all = || 0..self.containers.len();
        let missing = || all().filter(|index| !is_there(index));
        // What depends on it was made after it had begun.
        let needed = missing().find_map(|index| {
            let there =
                all().filter(is_there).flat_map(|other| &desired.containers[other].depends_on);
            let needed: Vec<_> =
                there.filter(|one| one.on == index).map(|one| one.condition).collect();
            let succeeded = needed.contains(&Condition::Success);
            (!needed.is_empty()).then_some((index, succeeded))
        });
        // Nothing tells whether one was made that nobody needs. What could have run has.
        needed.or_else(|| {
            let could_run = |index: &usize| {
                !desired.containers[*index].essential && order::may_begin(desired, self, *index)
            };
            let any = all().any(|index| is_there(&index));
            missing().find(could_run).filter(|_| any).map(|index| (index, false))
        })
    }
}

fn own_stop_cause(ended: &ObservedContainer) -> StopCause {
    if ended.ever_ran() {
        return StopCause {
            code: StopCode::EssentialContainerExited,
            reason: ESSENTIAL_EXITED.to_owned(),
        };
    }
    StopCause {
        code: StopCode::TaskFailedToStart,
        reason: ended.reason().unwrap_or("Task failed to start").to_owned(),
    }
}
