//! The tasks as introspection and the task endpoints show them.

use super::{ContainerView, TaskView, state::Engine, task::Task};
use crate::{
    engine::report::{container_status, phase_name},
    runtime::ContainerRuntime,
    task::{desired::Role, key::TaskKey, shown::ShownTask},
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
    let stops = observed.stop_cause(desired).is_some();
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
                docker_id: container.id().map(str::to_owned),
                docker_name: wanted.docker_name.clone(),
                status: container_status(container.stage(), observed.has_stopped()),
                ports: container.bindings().to_vec(),
            })
            .collect(),
    }
}
