//! The tasks as introspection and the task endpoints show them.

use longshore_common::protocol::ReportedPhase;

use super::{ContainerView, Engine, TaskView, tasks::Task};
use crate::{
    engine::{
        plan::{DesiredTask, Role, TaskKey},
        report::{container_status, phase},
        task::{observed::ObservedTask, shown::ShownTask},
    },
    runtime::ContainerRuntime,
};

impl<R: ContainerRuntime> Engine<R> {
    pub(super) fn view(&self) -> Vec<TaskView> {
        self.tasks.values().map(view).collect()
    }

    /// Shows the endpoints what a task is like now.
    pub(super) fn publish(&self, key: TaskKey) {
        if let (Some(endpoints), Some(task)) = (&self.config.endpoints, self.tasks.get(&key)) {
            endpoints.directory.publish(ShownTask::of(&task.desired, &task.observed));
        }
    }

    pub(super) fn withdraw_from_endpoints(&self, key: TaskKey) {
        if let Some(endpoints) = &self.config.endpoints {
            endpoints.directory.forget(key);
        }
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
        known_status: phase_name(desired, observed),
        containers: desired
            .containers
            .iter()
            .zip(&observed.containers)
            .filter(|(wanted, _)| wanted.role == Role::Defined)
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

/// How far a task is, as ECS's introspection names it.
pub(super) fn phase_name(desired: &DesiredTask, observed: &ObservedTask) -> &'static str {
    match phase(desired, observed) {
        ReportedPhase::Pending => "PENDING",
        ReportedPhase::Activating => "ACTIVATING",
        ReportedPhase::Running => "RUNNING",
        ReportedPhase::Stopping(_) => "STOPPING",
        ReportedPhase::Stopped(_) => "STOPPED",
    }
}
