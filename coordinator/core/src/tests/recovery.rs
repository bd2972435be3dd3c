//! Recovery and checkpoints: what hosts run is taken in after `recover`, and a start from a
//! checkpoint gives the same state.

use super::*;

#[test]
fn after_recover_unknown_tasks_are_adopted_with_their_definition() {
    let (mut world, hosts) = World::with_hosts(1);
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(app)) = register("app", 100)
    else {
        unreachable!()
    };
    let definition = TaskDefinition { family: "app".to_owned(), revision: 4, spec: app.spec };
    let order = RunOrder {
        definition: 0,
        cluster: "web".to_owned(),
        task_arn: String::new(),
        overrides: TaskOverride::default(),
        group: "family:app".to_owned(),
        started_by: None,
        created_at: Timestamp(5),
        container_ids: vec![],
        gpus: Vec::new(),
        image_digests: Vec::new(),
        log_driver_mode: None,
    };
    let run = Some(Box::new(RunIntent { definition, order }));
    let task = TaskId::new(5);
    let report = Report { seq: 1, body: ReportBody::StopCandidate { task, generation: 1, run } };
    world.put(answered(hosts[0], 1, vec![report.clone()]));
    assert!(world.state.task(task).is_none());
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }));
    assert_eq!(world.state.epoch().counter, 10);
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(hosts[0], 1, vec![report])
    else {
        unreachable!()
    };
    said.position.session = 8;
    world.log.clear();
    world.put(Command::Host(HostCommand::AgentAnswered(said)));
    assert_eq!(world.state.host(hosts[0]).unwrap().tasks.len(), 1);
    world.check(expect![[r#"
        TaskDefinitionRegistered
        TaskAdopted
    "#]]);
}

#[test]
fn tasks_are_adopted_after_further_starts_too() {
    let (mut world, hosts) = World::with_hosts(1);
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }));
    // The host is off, and the coordinator starts again.
    world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 3 }));
    world.log.clear();
    let task = unknown_task(1, 5, "family:lost", None);
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(hosts[0], 1, vec![task])
    else {
        panic!()
    };
    said.position.session = 8;
    world.put(Command::Host(HostCommand::AgentAnswered(said)));
    world.check(expect![[r#"
        TaskDefinitionRegistered
        TaskAdopted
    "#]]);
}

#[test]
fn time_changes_nothing_of_a_journal_known_to_be_old() {
    let (mut world, _) = World::with_hosts(1);
    let token = JoinToken {
        id: "t".to_owned(),
        secret_hash: [1; 32],
        cluster: None,
        expires_at: world.at,
        uses_left: None,
    };
    world.put(Command::Token(TokenCommand::CreateJoinToken(token)));
    world.at = Timestamp(world.at.0 + 10 * 3_600_000);
    world.log.clear();
    world.state.hold_scheduling(true);
    world.put(Command::Epoch(EpochCommand::Tick));
    world.check(expect![""]);
    world.state.hold_scheduling(false);
    world.put(Command::Epoch(EpochCommand::Tick));
    world.check(expect![[r#"
        JoinTokensExpired
    "#]]);
}

#[test]
fn two_tasks_of_one_unknown_revision_register_it_once() {
    let (mut world, hosts) = World::with_hosts(1);
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }));
    world.log.clear();
    let running = report(4, TaskId::new(6), ReportedPhase::Running);
    let group = "family:lost";
    let reports = vec![
        unknown_task(1, 5, group, None),
        unknown_task(2, 6, group, None),
        unknown_task(3, 5, group, None),
        running,
    ];
    world.put(answered(hosts[0], 4, reports));
    world.check(expect![[r#"
        TaskDefinitionRegistered
        TaskAdopted
        TaskAdopted
        TaskReported
    "#]]);
    world.state.take_changes();
    assert_eq!(world.state.check(), Vec::<String>::new());
    let all = rows(&mut world.state);
    let state = restored(&all, world.state.seq());
    assert_eq!(world.state.picture().differences(&state.picture()), Vec::<String>::new());
}

#[test]
fn a_definition_that_a_journal_holds_twice_is_one() {
    let (mut world, hosts) = World::with_hosts(1);
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }));
    world.put(answered(hosts[0], 1, vec![unknown_task(1, 5, "family:lost", None)]));
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(lost)) =
        register("lost", 100)
    else {
        unreachable!()
    };
    let definition = TaskDefinition { family: "lost".to_owned(), revision: 4, spec: lost.spec };
    let again = Event::Definition(DefinitionEvent::TaskDefinitionRegistered(Box::new(
        crate::event::TaskDefinitionRegistered {
            taken_back: true,
            definition: std::sync::Arc::new(definition),
            requires_attributes: Vec::new(),
            compatibilities: Vec::new(),
            registered_by: String::new(),
            tags: Tags::new(),
            at: Timestamp(1),
        },
    )));
    world.state.apply(&again, 99);
    world.state.take_changes();
    assert_eq!(world.state.check(), Vec::<String>::new());
    world.put(answered(
        hosts[0],
        2,
        vec![report(2, TaskId::new(5), ReportedPhase::Stopped(exited()))],
    ));
    world.put(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(RevisionRef {
        family: "lost".parse().unwrap(),
        revision: Some(4),
    })));
    world.state.take_changes();
    assert_eq!(world.state.check(), Vec::<String>::new());
}

#[test]
fn a_state_restored_from_a_checkpoint_is_the_same_state() {
    let mut world = busy();
    let all = rows(&mut world.state);
    let state = restored(&all, world.state.seq());
    for id in world.state.hosts().map(|host| host.id).collect::<Vec<_>>() {
        let (before, after) = (world.state.host(id).unwrap(), state.host(id).unwrap());
        assert_eq!(before.digest, after.digest);
        assert_eq!(before.last_order, after.last_order);
        assert_eq!(
            (before.running_tasks, before.pending_tasks, before.tasks.len()),
            (after.running_tasks, after.pending_tasks, after.tasks.len())
        );
        let remaining = |state: &State| {
            let host = state.host(id).unwrap();
            state.cluster_at(host.cluster).index.remaining(host.slot).cloned()
        };
        assert_eq!(remaining(&world.state), remaining(&state));
    }
    assert_eq!(world.state.tasks_len(), state.tasks_len());
    assert_eq!(state.client_token(&"web".parse().unwrap(), "t").unwrap().tasks.len(), 1);
}

#[test]
fn a_checkpoint_taken_in_slices_is_of_the_moment_it_began() {
    let mut whole = busy();
    let expected = rows(&mut whole.state);
    let mut sliced = busy();
    sliced.state.begin_capture();
    let mut steps = 0;
    let captured = loop {
        if let Some(rows) = sliced.state.capture_slice(1) {
            break rows;
        }
        // Everything keeps changing meanwhile.
        steps += 1;
        sliced.put(run_task(1));
        let task = *sliced.state.cluster("web").unwrap().tasks.keys().next().unwrap();
        sliced.put(stop(task));
    };
    assert!(steps > 10);
    let mut captured: Vec<_> =
        captured.into_iter().map(|row| (row.kind, row.key, row.value)).collect();
    captured.sort();
    assert_eq!(captured, expected);
    // The next checkpoint has what changed meanwhile.
    assert!(sliced.state.changed_len() > 0);
}
