//! Which namespaces the containers of a task share (`pidMode` and `ipcMode` of `task`), and by which
//! container: one of the agent's own, the last of its task.

use longshore_common::task_definition::{IpcMode, PidMode, TaskSpec};

use crate::{
    runtime::{IpcNamespace, PidNamespace},
    task::{
        intent::Intent,
        names::{PAUSE_IN_ENGINE, engine_name},
    },
};

/// Whether the task's containers share what only another container can hold.
pub(crate) fn needs_pause(spec: &TaskSpec) -> bool {
    shares_processes(spec) || shares_ipc(spec)
}

fn shares_processes(spec: &TaskSpec) -> bool {
    spec.pid_mode == Some(PidMode::Task)
}

pub(super) fn shares_ipc(spec: &TaskSpec) -> bool {
    spec.ipc_mode == Some(IpcMode::Task)
}

/// Index of the pause container among the task's containers, if the task needs one.
pub(crate) fn pause_index(spec: &TaskSpec) -> Option<usize> {
    needs_pause(spec).then_some(spec.container_definitions.len())
}

pub(crate) fn pause_name(intent: &Intent) -> String {
    engine_name(intent, PAUSE_IN_ENGINE)
}

/// What a container of the definition joins, by the engine's name of the pause container.
pub(super) fn joined(intent: &Intent) -> (Option<PidNamespace>, Option<IpcNamespace>) {
    let spec = &intent.definition.spec;
    let of_pause = || pause_name(intent);
    (
        shares_processes(spec).then(|| PidNamespace::Container(of_pause())),
        shares_ipc(spec).then(|| IpcNamespace::Container(of_pause())),
    )
}
