//! Tasks whose containers share namespaces: what each is made with, and in which order.

use std::sync::Arc;

use longshore_common::{
    task::{StopCause, StopCode},
    task_definition::TaskDefinition,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    engine::plan::{
        Step,
        container_config::container_config,
        namespaces::pause_name,
        next_step,
        sample::{KEY, intent, rules},
    },
    runtime::PidNamespace,
    settings::PullPolicy,
    task::{
        desired::{DesiredTask, Role},
        labels::{container_index, task_of},
        observed::{ContainerStage, ContainerState, ObservedTask, PullState},
    },
};

/// Of containers `app` and `side`, with these members beside.
fn task(members: Value) -> Arc<Intent> {
    let mut intent = (*intent(&["app", "side"])).clone();
    let mut spec = serde_json::to_value(&intent.definition.spec).unwrap();
    for (name, value) in members.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let spec = serde_json::from_value(spec).unwrap();
    intent.definition = Arc::new(TaskDefinition { spec, ..(*intent.definition).clone() });
    Arc::new(intent)
}

fn state(stage: ContainerStage, index: usize, observed: &mut ObservedTask) {
    observed.containers[index].state = ContainerState::sample(stage, &format!("id-{index}"));
}

#[test]
fn only_namespaces_of_the_task_are_joined() {
    let namespaces = |members: Value| {
        let intent = task(members);
        let linux = container_config(&intent, 0, &rules()).unwrap().linux;
        let pause = DesiredTask::of(intent.clone(), &rules()).pause();
        (linux.processes, linux.ipc, pause.is_some())
    };
    let pause = || pause_name(&task(json!({})));
    assert!(pause().starts_with("ecs-web-3-internalecspause-"), "{}", pause());
    let (joined, shared) = (PidNamespace::Container(pause()), IpcNamespace::Container(pause()));
    let (pid, ipc) = (PidNamespace::EngineDefault, IpcNamespace::EngineDefault);
    let task = json!("task");
    assert_eq!(namespaces(json!({})), (pid.clone(), ipc.clone(), false));
    assert_eq!(namespaces(json!({ "pidMode": "host" })), (PidNamespace::Host, ipc.clone(), false));
    assert_eq!(namespaces(json!({ "pidMode": task })), (joined.clone(), ipc, true));
    assert_eq!(namespaces(json!({ "ipcMode": task })), (pid.clone(), shared.clone(), true));
    assert_eq!(namespaces(json!({ "ipcMode": "none" })), (pid, IpcNamespace::None, false));
    assert_eq!(namespaces(json!({ "pidMode": task, "ipcMode": task })), (joined, shared, true));
}

#[test]
fn the_pause_container_holds_what_is_shared_and_nothing_else() {
    let setting = |name: &str, value: &str| json!({ "namespace": name, "value": value });
    let sized = |name: &str, size: u32| {
        json!({
            "name": name, "image": "web:1", "linuxParameters": { "sharedMemorySize": size },
            "systemControls": [setting("kernel.shmmni", "512"), setting("net.core.somaxconn", "9")],
        })
    };
    let containers = json!([sized("app", 64), sized("side", 128)]);
    let with = |members: Value| {
        let mut members = members;
        members["containerDefinitions"] = containers.clone();
        container_config_of_pause(&task(members))
    };
    let shared = with(json!({ "ipcMode": "task" }));
    assert_eq!(shared.linux.ipc, IpcNamespace::Shareable);
    assert_eq!(shared.linux.shared_memory_bytes, Some(128 * MIB));
    let settings: Vec<_> = shared.linux.kernel_settings.into_iter().collect();
    assert_eq!(settings, [("kernel.shmmni".to_owned(), "512".to_owned())]);
    assert_eq!((shared.network, shared.readonly_root), (Network::None, true));
    assert_eq!(shared.linux.capabilities_dropped, ["ALL"]);

    let processes = with(json!({ "pidMode": "task" })).linux;
    assert_eq!(processes.ipc, IpcNamespace::EngineDefault);
    assert_eq!((processes.shared_memory_bytes, processes.kernel_settings.len()), (None, 0));
}

fn container_config_of_pause(intent: &Intent) -> ContainerConfig {
    super::container_config(intent, &rules())
}

#[test]
fn it_is_found_again_by_its_labels_and_lies_in_the_tasks_control_group() {
    let intent = task(json!({ "pidMode": "task", "memory": "64" }));
    let config = container_config_of_pause(&intent);
    let desired = DesiredTask::of(intent.clone(), &rules());
    assert_eq!(task_of(&config.labels, &rules()), Some(KEY));
    assert_eq!(container_index(&config.labels, &desired), Some(2));
    assert!(desired.group.is_some());
    assert_eq!(config.group, desired.group);
    let app = container_config(&intent, 0, &rules()).unwrap();
    assert_eq!(app.group, desired.group);
    assert_eq!(app.labels["longshore.stops-before"], "2");

    // One container and the pause container are two.
    let one = json!([{ "name": "app", "image": "web:1" }]);
    let alone = |mode: Value| {
        let members = json!({ "containerDefinitions": one, "memory": "64", "pidMode": mode });
        DesiredTask::of(task(members), &rules()).group
    };
    assert_eq!(alone(json!("task")), desired.group);
    assert_eq!(alone(json!("host")), None);
}

#[test]
fn it_is_the_first_to_start_and_the_last_to_stop_and_is_not_asked_to() {
    let mut desired = DesiredTask::of(task(json!({ "pidMode": "task" })), &rules());
    let mut observed = ObservedTask::new(&desired, PullPolicy::Always);
    let steps = |desired: &DesiredTask, observed: &ObservedTask| {
        let step = |index| {
            next_step(desired, observed, index, &rules(), false, crate::engine::plan::Timestamp(0))
        };
        [0, 1, 2].map(|index| match step(index) {
            None => "-",
            Some(Step::Pull { .. }) => "pull",
            Some(Step::Load { .. }) => "load",
            Some(Step::Create { .. }) => "create",
            Some(Step::Start { .. }) => "start",
            Some(Step::Stop { .. }) => "stop",
            Some(Step::Kill { .. }) => "kill",
            Some(other) => panic!("{other:?}"),
        })
    };
    assert_eq!(steps(&desired, &observed), ["-", "-", "create"], "never pulled");
    observed.containers[2].pull = PullState::NEEDED;
    assert_eq!(steps(&desired, &observed), ["-", "-", "load"]);
    state(ContainerStage::Created, 2, &mut observed);
    assert_eq!(steps(&desired, &observed), ["-", "-", "start"]);
    state(ContainerStage::Running, 2, &mut observed);
    assert_eq!(steps(&desired, &observed), ["pull", "pull", "-"]);
    state(ContainerStage::Running, 0, &mut observed);
    state(ContainerStage::Running, 1, &mut observed);
    assert_eq!(steps(&desired, &observed), ["-", "-", "-"]);

    let cause = StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() };
    desired.stop = Some(cause);
    assert_eq!(steps(&desired, &observed), ["stop", "stop", "-"]);
    state(ContainerStage::Stopped, 0, &mut observed);
    assert_eq!(steps(&desired, &observed), ["-", "stop", "-"]);
    state(ContainerStage::Stopped, 1, &mut observed);
    assert_eq!(steps(&desired, &observed), ["-", "-", "kill"]);
}

#[test]
fn no_container_of_a_definition_is_a_pause_container() {
    let desired = DesiredTask::of(intent(&["app"]), &rules());
    assert!(desired.containers.iter().all(|container| container.role == Role::Defined));
}
