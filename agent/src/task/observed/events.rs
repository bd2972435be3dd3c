//! What the container engine's events and listings say of a task.

use longshore_common::clock::Timestamp;

use crate::{
    runtime::{ContainerChange, RunState},
    task::{
        desired::DesiredTask,
        observed::{
            ObservedTask,
            state::{ContainerState, LastKnown, MainProcess},
        },
    },
};

impl ObservedTask {
    /// Takes an event of container `index`. True when there is something to plan or to report.
    pub(crate) fn event(
        &mut self,
        desired: &DesiredTask,
        index: usize,
        change: ContainerChange,
        at: Timestamp,
    ) -> bool {
        let container = &mut self.containers[index];
        match change {
            ContainerChange::Started => {
                // Of our own start, or of one that an inspect has shown: it brings the exact time.
                if container.is_being_started() || container.has_begun() {
                    match container.state.run_mut() {
                        Some(run) => run.started_at = Some(at),
                        None => container.news.started_at = Some(at),
                    }
                    return false;
                }
                // Somebody else started it, perhaps while another call of ours is under way.
                container.doubt = true;
            }
            ContainerChange::Exited { exit_code } => {
                container.news.exit = Some((exit_code, at));
                container.doubt = true;
            }
            // The container's own exit, if one comes, tells of it too, unless that was told first.
            ContainerChange::OutOfMemory => return container.kernel_killed_for_memory(),
            ContainerChange::Health(health) => {
                if !desired.containers[index].health_check || container.health() == Some(health) {
                    return false;
                }
                if let Some(run) = container.state.run_mut() {
                    run.health = Some(health);
                }
            }
            // With its network it loses its ports; with another it has others.
            ContainerChange::LeftNetwork => {
                // A container that ends leaves its network too.
                if container.end_is_known() {
                    return false;
                }
                let ContainerState::Running { left_network, .. } = &mut container.state else {
                    return false;
                };
                (*left_network, container.doubt) = (true, true);
            }
            ContainerChange::JoinedNetwork => {
                let ContainerState::Running { left_network, .. } = &mut container.state else {
                    return false;
                };
                if !std::mem::take(left_network) {
                    return false;
                }
                container.doubt = true;
            }
            // The container goes on as it is, and is stopped as any other.
            ContainerChange::ByOthers(_) => return false,
            ContainerChange::Removed => {
                if matches!(container.state, ContainerState::Removed { .. }) {
                    return false;
                }
                container.missing = container.missing.max(1);
                container.doubt = true;
            }
        }
        true
    }

    /// Takes what a listing of every container of ours says of container `index`.
    pub(crate) fn listed(&mut self, index: usize, found: Option<(&str, RunState)>) {
        let container = &mut self.containers[index];
        if container.is_called() {
            return;
        }
        match (&mut container.state, found) {
            (ContainerState::Removed { .. }, _) | (ContainerState::Absent { .. }, None) => {}
            (ContainerState::Unknown(known), None) if known.id.is_none() && known.run.is_none() => {
                container.state = ContainerState::Absent { listed: None };
            }
            (ContainerState::Stopped { id, ending }, None) => {
                let (id, ending) = (id.take(), ending.clone());
                container.state = ContainerState::Removed { id, ending };
            }
            // A listing is no 404: an engine that starts may not have read its containers yet.
            (
                ContainerState::Unknown(_)
                | ContainerState::Created { .. }
                | ContainerState::Started { .. }
                | ContainerState::Running { .. }
                | ContainerState::Restarting { .. },
                None,
            ) => container.doubt = true,
            // An engine that has missed the end is told to stop what it takes for running.
            (ContainerState::Running { process, .. }, Some((_, RunState::Running))) => {
                if *process == MainProcess::Ended {
                    *process = MainProcess::Runs { pid: None };
                }
            }
            (ContainerState::Created { .. }, Some((_, RunState::Created)))
            | (ContainerState::Restarting { .. }, Some((_, RunState::Exited)))
            | (ContainerState::Stopped { .. }, Some((_, RunState::Exited | RunState::Created))) => {
            }
            (
                ContainerState::Unknown(LastKnown { id: known, .. })
                | ContainerState::Absent { listed: known }
                | ContainerState::Stopped { id: known, .. },
                Some((id, _)),
            ) => {
                known.get_or_insert_with(|| id.to_owned());
                container.doubt = true;
            }
            (
                ContainerState::Created { .. }
                | ContainerState::Started { .. }
                | ContainerState::Running { .. }
                | ContainerState::Restarting { .. },
                Some(_),
            ) => container.doubt = true,
        }
    }
}
