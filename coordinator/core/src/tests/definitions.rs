//! Task definitions: how revisions are numbered and end, and which are neither registered nor run.

use super::*;

#[test]
fn revisions_count_up_and_are_never_given_twice() {
    let mut world = World::new();
    for _ in 0..2 {
        world.put(register("app", 10));
    }
    world.put(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(revision(Some(2)))));
    world.put(Command::Definition(DefinitionCommand::DeleteTaskDefinitions(vec![
        revision(Some(2)),
        revision(Some(1)),
    ])));
    world.put(Command::Epoch(EpochCommand::Tick));
    let answer = world.put(register("app", 10));
    assert_eq!(answer, Some(Answer::Revision { family: "app".parse().unwrap(), revision: 3 }));
    assert!(world.state.definitions().get("app", 2).is_none());
    world.check(expect![[r#"
        EpochStarted
        TaskDefinitionRegistered
        TaskDefinitionRegistered
        TaskDefinitionDeregistered
        TaskDefinitionDeleteRequested
        TaskDefinitionDeleted
        TaskDefinitionRegistered
    "#]]);
}

#[test]
fn a_deleted_revision_stays_until_its_last_task_has_ended() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(10);
    let (tasks, _) = world.run(1);
    world.put(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(revision(Some(1)))));
    world.put(Command::Definition(DefinitionCommand::DeleteTaskDefinitions(vec![revision(Some(
        1,
    ))])));
    world.put(Command::Epoch(EpochCommand::Tick));
    assert!(world.state.definitions().get("app", 1).is_some());
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Stopped(exited()))]));
    world.put(Command::Epoch(EpochCommand::Tick));
    assert!(world.state.definitions().get("app", 1).is_none());
}

#[test]
fn what_the_operator_forbids_is_neither_registered_nor_run() {
    let (mut world, _) = World::with_hosts(1);
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(mut forbidden)) =
        register("app", 10)
    else {
        unreachable!()
    };
    forbidden.spec.container_definitions[0].privileged = Some(true);
    let forbidden = Command::Definition(DefinitionCommand::RegisterTaskDefinition(forbidden));
    world.put(forbidden.clone());
    // Registered before the operator thought of it.
    world.state.set_task_policy(no_privileged());
    world.log.clear();
    world.put(forbidden);
    world.put(run_task(1));
    world.put(register("app", 10));
    world.put(run_task(1));
    world.check(expect![[r#"
        rejected: The operator of this cluster lets no task have privileged of container main. Take it out of the task definition, or have the coordinator's settings `forbid`, `bind_roots` and `allow_volumes` changed.
        rejected: The operator of this cluster lets no task have privileged of container main. Take it out of the task definition, or have the coordinator's settings `forbid`, `bind_roots` and `allow_volumes` changed.
        TaskDefinitionRegistered
        TasksStarted 1
    "#]]);
}
