//! GPUs: which task has which, and that they are given back.

use super::*;

const IDS: [&str; 3] = ["GPU-a", "GPU-b", "GPU-c"];

/// A host with three GPUs, and a definition that asks for `asked` of them.
fn world(asked: &str) -> (World, HostId) {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let host = world.add_host_with(Capacity {
        cpu: CpuUnits(1024),
        memory: MemoryMib(1000),
        reserved_ports: Box::default(),
        gpus: IDS.map(str::to_owned).into(),
    });
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(mut app)) =
        register("app", 10)
    else {
        unreachable!()
    };
    let gpus = serde_json::json!([{ "type": "GPU", "value": asked }]);
    app.spec.container_definitions[0].resource_requirements = serde_json::from_value(gpus).unwrap();
    world.put(Command::Definition(DefinitionCommand::RegisterTaskDefinition(app)));
    (world, host)
}

fn gpus_of(state: &State, task: TaskId) -> Vec<String> {
    state.task(task).unwrap().gpus.to_vec()
}

fn free(state: &State, host: HostId) -> Vec<String> {
    state.host(host).unwrap().free_gpus().cloned().collect()
}

fn stopped(world: &mut World, host: HostId, task: TaskId) {
    let cause = StopCause { code: StopCode::EssentialContainerExited, reason: "over".to_owned() };
    let report = report(1, task, ReportedPhase::Stopped(cause));
    world.put(answered(host, 0, vec![report]));
}

#[test]
fn each_task_has_gpus_of_its_own_and_is_refused_when_too_few() {
    let (mut world, host) = world("1");
    let (tasks, failures) = world.run(4);
    let of_tasks: Vec<_> = tasks.iter().map(|task| gpus_of(&world.state, *task)).collect();
    assert_eq!(of_tasks, [["GPU-a"], ["GPU-b"], ["GPU-c"]]);
    assert_eq!(failures.len(), 1);
    assert!(failures[0].starts_with("RESOURCE:GPU: "), "{failures:?}");
    assert!(failures[0].contains("has 0 of the 1 GPUs needed"), "{failures:?}");

    // The one that came free is the next one's.
    stopped(&mut world, host, tasks[1]);
    assert_eq!(free(&world.state, host), ["GPU-b"]);
    let (next, failures) = world.run(1);
    assert_eq!((gpus_of(&world.state, next[0]), failures), (vec!["GPU-b".to_owned()], vec![]));
}

#[test]
fn a_restored_state_knows_whose_they_are() {
    let (mut world, host) = world("2");
    let (tasks, _) = world.run(1);
    let all = rows(&mut world.state);
    let state = restored(&all, world.state.seq());
    assert_eq!(gpus_of(&state, tasks[0]), ["GPU-a", "GPU-b"]);
    assert_eq!(free(&state, host), ["GPU-c"]);
    let left = |state: &State| {
        let host = state.host(host).unwrap();
        state.cluster_at(host.cluster).index.remaining(host.slot).unwrap().gpus
    };
    assert_eq!((left(&world.state), left(&state)), (1, 1));
}

#[test]
fn a_host_that_comes_back_with_others_gives_away_only_those() {
    let (mut world, host) = world("1");
    let (tasks, _) = world.run(1);
    let capacity = |gpus: &[&str]| Capacity {
        cpu: CpuUnits(1024),
        memory: MemoryMib(1000),
        reserved_ports: Box::default(),
        gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(),
    };
    world.register_host(Some(host), capacity(&["GPU-a", "GPU-d"]));
    let (next, failures) = world.run(2);
    assert_eq!((gpus_of(&world.state, tasks[0])), ["GPU-a"]);
    assert_eq!((next.len(), gpus_of(&world.state, next[0])), (1, vec!["GPU-d".to_owned()]));
    assert_eq!(failures.len(), 1);
}

#[test]
fn what_an_older_release_has_written_has_none() {
    let (mut world, _) = World::with_hosts(1);
    world = world.with_definition(10);
    let (tasks, _) = world.run(1);
    let record = world.state.task(tasks[0]).unwrap().record(&world.state);
    let written = rmp_serde::to_vec_named(&record).unwrap();
    assert!(!written.windows(4).any(|text| text == b"gpus"), "nothing is written of none");
    let read: crate::model::task::TaskRecord = rmp_serde::from_slice(&written).unwrap();
    assert_eq!((read.gpus.len(), read.demand.gpus), (0, 0));
}
