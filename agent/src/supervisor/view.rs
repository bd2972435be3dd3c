//! The tasks as the introspection endpoint shows them.

use longshore_common::protocol::ReportedPhase;

use super::{ContainerView, Engine, TaskView, tasks::Task};
use crate::{
    report::{container_status, phase},
    runtime::ContainerRuntime,
};

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn view(&self) -> Vec<TaskView> {
        self.tasks.values().map(view).collect()
    }
}

fn view(task: &Task) -> TaskView {
    let (desired, observed) = (&task.desired, &task.observed);
    let stops = desired.stop_cause(observed).is_some();
    TaskView {
        task: desired.key.task,
        arn: desired.task_arn.clone(),
        cluster: desired.cluster.clone(),
        family: desired.family.clone(),
        revision: desired.revision,
        desired_status: if stops { "STOPPED" } else { "RUNNING" },
        known_status: known_status(task),
        containers: desired
            .containers
            .iter()
            .zip(&observed.containers)
            .map(|(wanted, container)| ContainerView {
                name: wanted.name.clone(),
                docker_id: container.id.clone(),
                docker_name: wanted.docker_name.clone(),
                status: container_status(container.state, observed.has_stopped()),
                ports: container.bindings.clone(),
            })
            .collect(),
    }
}

pub(super) fn known_status(task: &Task) -> &'static str {
    match phase(&task.desired, &task.observed) {
        ReportedPhase::Pending => "PENDING",
        ReportedPhase::Activating => "ACTIVATING",
        ReportedPhase::Running => "RUNNING",
        ReportedPhase::Stopping(_) => "STOPPING",
        ReportedPhase::Stopped(_) => "STOPPED",
    }
}
