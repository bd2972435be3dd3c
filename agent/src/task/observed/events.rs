//! What the container engine's events and listings say of a task.

use longshore_common::clock::Timestamp;

use crate::{
    runtime::{ContainerChange, RunState},
    task::{
        desired::DesiredTask,
        observed::{ContainerState, ObservedTask},
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
                if container.being_started || container.has_begun() {
                    container.started_at = Some(at);
                    return false;
                }
                // Somebody else started it, perhaps while another call of ours is under way.
                container.doubt = true;
            }
            ContainerChange::Exited { exit_code } => {
                container.exit_seen = Some((exit_code, at));
                container.doubt = true;
            }
            // Its own exit, if it comes to that, tells it too, unless that was told first.
            ContainerChange::OutOfMemory => return container.kernel_killed_for_memory(),
            ContainerChange::Health(health) => {
                if !desired.containers[index].health_check || container.health == Some(health) {
                    return false;
                }
                container.health = Some(health);
            }
            // With its network it loses its ports; with another it has others.
            ContainerChange::LeftNetwork => {
                // A container that ends leaves its network too.
                let runs = container.state == ContainerState::Running && !container.end_is_known();
                if !runs || container.being_started {
                    return false;
                }
                (container.left_network, container.doubt) = (true, true);
            }
            ContainerChange::JoinedNetwork => {
                if !std::mem::take(&mut container.left_network) {
                    return false;
                }
                container.doubt = true;
            }
            // It goes on as it is, and is stopped as any other.
            ContainerChange::ByOthers(_) => return false,
            ContainerChange::Removed => {
                if container.state == ContainerState::Removed {
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
        if container.in_flight {
            return;
        }
        match (container.state, found) {
            (ContainerState::Removed, _) => {}
            (ContainerState::Unknown, None) if container.id.is_none() => {
                container.state = ContainerState::Absent;
            }
            (ContainerState::Stopped, None) => container.state = ContainerState::Removed,
            (ContainerState::Absent, None) => {}
            // A listing is no 404: an engine that starts may not have read its containers yet.
            (
                ContainerState::Unknown
                | ContainerState::Created
                | ContainerState::Running
                | ContainerState::Restarting,
                None,
            ) => container.doubt = true,
            // An engine that has missed the end is told to stop what it takes for running.
            (ContainerState::Running, Some((_, RunState::Running))) => {
                container.process_ended = false;
            }
            (ContainerState::Created, Some((_, RunState::Created)))
            | (ContainerState::Restarting, Some((_, RunState::Exited)))
            | (ContainerState::Stopped, Some((_, RunState::Exited | RunState::Created))) => {}
            (_, Some((id, _))) => {
                container.id.get_or_insert_with(|| id.to_owned());
                container.doubt = true;
            }
        }
    }
}
