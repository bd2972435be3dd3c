//! What hosts say after `recover` of tasks that the journal does not know: their word is one
//! machine's, and rules no more than that its tasks are known again.

use super::*;
use crate::{
    decide::REVISIONS_LOST_MAX,
    model::definition::{DefinitionStatus, StatusKind},
};

/// What the host says in its `n`th session.
fn says(world: &mut World, host: HostId, session: u64, reports: Vec<Report>) {
    let seq = reports.len() as u64;
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(host, seq, reports) else {
        panic!()
    };
    said.position.session = session;
    said.looked = false;
    world.put(Command::Host(HostCommand::AgentAnswered(said)));
}

/// The host holds what is desired of it, and leaves nothing unsaid.
fn tells_all(world: &mut World, host: HostId, session: u64) {
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(host, 0, vec![]) else {
        panic!()
    };
    said.position.session = session;
    let order = world.state.host(host).unwrap().last_order;
    said.seen = Some(Seen { epoch: world.state.epoch(), order });
    world.put(Command::Host(HostCommand::AgentAnswered(said)));
}

fn changed(report: Report, change: impl FnOnce(&mut RunIntent)) -> Report {
    let ReportBody::StopCandidate { task, generation, run } = report.body else { panic!() };
    let mut run = run.unwrap();
    change(&mut run);
    Report { body: ReportBody::StopCandidate { task, generation, run: Some(run) }, ..report }
}

fn recovered() -> (World, HostId) {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }));
    (world, hosts[0])
}

fn of_app(revision: u32) -> Report {
    changed(unknown_task(1, 5, "family:app", None), |run| {
        run.definition.family = "app".to_owned();
        run.definition.revision = revision;
    })
}

#[test]
fn definition_taken_back_is_inactive_and_starts_nothing() {
    let (mut world, host) = recovered();
    says(&mut world, host, 8, vec![of_app(2)]);
    assert!(world.state.task(TaskId::new(5)).is_some());
    let definitions = world.state.definitions();
    assert_eq!(definitions.get("app", 2).unwrap().status.kind(), StatusKind::Inactive);
    assert_eq!(definitions.latest_active("app").unwrap().definition.revision, 1);
    // Its number is not given a second time.
    world.put(register("app", 100));
    let latest = world.state.definitions().latest_active("app").unwrap();
    assert_eq!((latest.definition.revision, latest.status), (3, DefinitionStatus::Active));
    let read = restored(&rows(&mut world.state), world.state.seq());
    assert_eq!(world.state.picture().differences(&read.picture()), Vec::<String>::new());
}

#[test]
fn hosts_cannot_use_up_a_familys_revisions() {
    let (mut world, host) = recovered();
    // However often it says so: what it said before does not count.
    for (session, revision) in
        (8..).zip([1 + REVISIONS_LOST_MAX, 2 + REVISIONS_LOST_MAX, 1_000_000])
    {
        says(&mut world, host, session, vec![of_app(revision)]);
        let last = world.state.definitions().last_revision("app");
        assert_eq!(last, 1 + REVISIONS_LOST_MAX, "{revision}");
    }
    let read = restored(&rows(&mut world.state), world.state.seq());
    assert_eq!(read.definitions().last_registered("app"), 1);
}

#[test]
fn definition_or_overrides_above_the_apis_limits_are_not_taken_back() {
    let large = [
        changed(of_app(2), |run| {
            run.definition.spec.container_definitions[0].image = Some("i".repeat(65 * 1024));
        }),
        changed(of_app(2), |run| run.order.overrides.cpu = Some("1".repeat(33 * 1024))),
    ];
    for (number, report) in large.into_iter().enumerate() {
        let (mut world, host) = recovered();
        says(&mut world, host, 8, vec![report]);
        assert!(world.state.task(TaskId::new(5)).is_none(), "{number}");
        assert!(world.state.definitions().get("app", 2).is_none(), "{number}");
    }
}

#[test]
fn host_that_has_told_all_since_recovery_brings_nothing_new() {
    let (mut world, host) = recovered();
    // A hello is answered by an agent that has not compared anything.
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(host, 0, vec![]) else {
        panic!()
    };
    said.seen = Some(Seen { epoch: Epoch { counter: 1, incarnation: 1 }, order: 0 });
    world.put(Command::Host(HostCommand::AgentAnswered(said)));
    says(&mut world, host, 8, vec![of_app(2)]);
    assert!(world.state.task(TaskId::new(5)).is_some(), "it had not told all");
    tells_all(&mut world, host, 8);
    let late = || changed(unknown_task(1, 6, "family:app", None), |_| {});
    says(&mut world, host, 9, vec![late()]);
    assert!(world.state.task(TaskId::new(6)).is_none());
    world.state = restored(&rows(&mut world.state), world.state.seq());
    world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 3 }));
    says(&mut world, host, 10, vec![late()]);
    assert!(world.state.task(TaskId::new(6)).is_none(), "after a restart");
    // The next recovery begins anew.
    world.put(Command::Epoch(EpochCommand::Recover { beyond: 20, incarnation: 4, proved: None }));
    says(&mut world, host, 11, vec![late()]);
    assert!(world.state.task(TaskId::new(6)).is_some());
}
