//! What the coordinator is told of a task, and how long it is told.

use ContainerStage::{Absent, Created, Removed, Running, Stopped, Unknown};
use expect_test::expect;
use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    task::{HealthStatus, StopCause, StopCode},
    task_definition::{ContainerDefinition, HealthCheck},
};

use super::*;
use crate::{
    engine::plan::sample::{KEY, container, intent_of, rules},
    settings::PullPolicy,
    task::observed::{Call, ContainerState, record::ContainerRecord},
};

const SESSION: u64 = 9;

/// An essential container and one that is not, in these states.
fn task(app: ContainerStage, helper: ContainerStage) -> (DesiredTask, ObservedTask) {
    let second = ContainerDefinition { essential: Some(false), ..container("helper") };
    let desired = DesiredTask::of(intent_of(vec![container("app"), second]), &rules());
    let mut observed = ObservedTask::new(&desired, PullPolicy::default());
    for (state, container) in [app, helper].into_iter().zip(&mut observed.containers) {
        container.state = ContainerState::sample(state, "id");
    }
    (desired, observed)
}

fn cause(code: StopCode) -> StopCause {
    StopCause { code, reason: "a reason".to_owned() }
}

fn key(number: u128) -> TaskKey {
    TaskKey { task: TaskId::new(number), generation: 1 }
}

/// A report that tells of nothing but its task and phase.
fn body(key: TaskKey, phase: ReportedPhase) -> ReportBody {
    let (desired, observed) = task(Running, Running);
    let report = task_report(&desired, &observed);
    ReportBody::Task(Box::new(TaskReport { task: key.task, phase, ..report }))
}

fn running(number: u128) -> ReportBody {
    body(key(number), ReportedPhase::Running)
}

fn stopped(number: u128) -> ReportBody {
    body(key(number), ReportedPhase::Stopped(cause(StopCode::UserInitiated)))
}

fn candidate(number: u128) -> ReportBody {
    ReportBody::StopCandidate { task: TaskId::new(number), generation: 1, run: None }
}

fn outbox(bodies: &[ReportBody]) -> Outbox {
    let mut outbox = Outbox::new(SESSION);
    for body in bodies {
        let task = match body {
            ReportBody::Task(report) => report.task,
            ReportBody::StopCandidate { task, .. } => *task,
        };
        outbox.push(TaskKey { task, generation: 1 }, body.clone());
    }
    outbox
}

fn up_to(seq: u64) -> Option<ReportPosition> {
    Some(ReportPosition { session: SESSION, seq })
}

/// Sends an answer, and tells which reports were in it.
fn answer(outbox: &mut Outbox) -> Vec<u64> {
    let seqs: Vec<u64> = outbox.reports().iter().map(|report| report.seq).collect();
    outbox.sent(seqs.last().copied());
    seqs
}

#[test]
fn a_task_is_as_far_as_its_essential_containers() {
    let states = [Unknown, Absent, Created, Running, Stopped, Removed];
    let mut table = String::new();
    for app in states {
        for helper in [Absent, Running, Stopped] {
            let (desired, observed) = task(app, helper);
            let phase = phase(&desired, &observed);
            table += &format!("{app:?} and {helper:?}: {phase:?}\n");
        }
    }
    expect![[r#"
        Unknown and Absent: Activating
        Unknown and Running: Activating
        Unknown and Stopped: Activating
        Absent and Absent: Pending
        Absent and Running: Activating
        Absent and Stopped: Activating
        Created and Absent: Activating
        Created and Running: Activating
        Created and Stopped: Activating
        Running and Absent: Running
        Running and Running: Running
        Running and Stopped: Running
        Stopped and Absent: Activating
        Stopped and Running: Activating
        Stopped and Stopped: Activating
        Removed and Absent: Activating
        Removed and Running: Activating
        Removed and Stopped: Activating
    "#]]
    .assert_eq(&table);
}

#[test]
fn a_task_is_pending_until_a_call_or_a_pull_has_begun() {
    let phase_of = |change: fn(&mut ObservedTask)| {
        let (desired, mut observed) = task(Absent, Absent);
        change(&mut observed);
        phase(&desired, &observed)
    };
    assert_eq!(phase_of(|_| {}), ReportedPhase::Pending);
    assert_eq!(phase_of(|o| o.containers[1].call_leaves(Call::Other)), ReportedPhase::Activating);
    assert_eq!(phase_of(|o| o.pull_started_at = Some(Timestamp(1))), ReportedPhase::Activating);
}

#[test]
fn a_task_that_stops_says_why_until_it_has_stopped() {
    let (mut desired, mut observed) = task(Running, Running);
    let (ordered, by_itself) =
        (cause(StopCode::UserInitiated), cause(StopCode::EssentialContainerExited));
    desired.stop = Some(ordered.clone());
    assert_eq!(phase(&desired, &observed), ReportedPhase::Stopping(ordered.clone()));
    observed.execution_stopped_at = Some(Timestamp(1));
    assert_eq!(phase(&desired, &observed), ReportedPhase::Stopped(ordered));
    // What happened by itself came first: an order would not have let it.
    observed.own_stop = Some(by_itself.clone());
    assert_eq!(phase(&desired, &observed), ReportedPhase::Stopped(by_itself));
}

#[test]
fn a_container_that_never_ran_is_stopped_only_with_its_task() {
    let states = [Unknown, Absent, Created, Running, Stopped, Removed];
    let line = |state| {
        let [before, after] = [false, true].map(|stopped| container_status(state, stopped));
        format!("{state:?}: {before:?}, in a stopped task {after:?}\n")
    };
    expect![[r#"
        Unknown: Pending, in a stopped task Stopped
        Absent: Pending, in a stopped task Stopped
        Created: Pending, in a stopped task Stopped
        Running: Running, in a stopped task Stopped
        Stopped: Stopped, in a stopped task Stopped
        Removed: Stopped, in a stopped task Stopped
    "#]]
    .assert_eq(&states.map(line).concat());
}

#[test]
fn health_is_told_only_of_a_container_whose_definition_checks_it() {
    let check = HealthCheck {
        command: vec!["CMD".to_owned(), "true".to_owned()],
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
    };
    let checked = ContainerDefinition { health_check: Some(check), ..container("app") };
    let desired = DesiredTask::of(intent_of(vec![checked, container("other")]), &rules());
    let mut observed = ObservedTask::new(&desired, PullPolicy::default());
    let healthy = ContainerRecord {
        state: Running,
        id: Some("id".to_owned()),
        health: Some(HealthStatus::Healthy),
        ..ContainerRecord::default()
    };
    observed.containers[1].state = healthy.into_state();
    let report = task_report(&desired, &observed);
    assert_eq!((report.task, report.generation), (KEY.task, KEY.generation));
    let health: Vec<_> = report.containers.iter().map(|c| c.health).collect();
    assert_eq!(health, [Some(HealthStatus::Unknown), None]);
}

#[test]
fn a_report_is_repeated_until_it_is_acknowledged() {
    let mut outbox = outbox(&[running(1), running(2)]);
    assert!(outbox.has_news());
    assert_eq!(answer(&mut outbox), [1, 2]);
    assert!(!outbox.has_news());
    assert_eq!(answer(&mut outbox), [1, 2]);
    outbox.acknowledge(up_to(1));
    assert_eq!(answer(&mut outbox), [2]);
    outbox.acknowledge(up_to(2));
    assert_eq!(answer(&mut outbox), [0; 0]);
}

#[test]
fn the_latest_report_of_a_task_replaces_the_one_before() {
    let mut outbox = outbox(&[running(1), running(2), stopped(1)]);
    assert_eq!(answer(&mut outbox), [2, 3]);
    // Its number is new, so that an acknowledgement of the old one does not cover it.
    assert_eq!(outbox.acknowledge(up_to(2)), []);
    assert_eq!(answer(&mut outbox), [3]);
    assert_eq!(outbox.acknowledge(up_to(3)), [key(1)]);
}

#[test]
fn only_the_end_of_a_task_is_held_elsewhere_once_it_is_acknowledged() {
    let mut outbox = outbox(&[running(1), stopped(2), candidate(3), stopped(4)]);
    assert_eq!(outbox.acknowledge(up_to(3)), [key(2)]);
    assert_eq!(outbox.acknowledge(up_to(3)), []);
    assert_eq!(outbox.acknowledge(up_to(u64::MAX)), [key(4)]);
}

#[test]
fn an_acknowledgement_of_another_session_counts_for_nothing() {
    let mut outbox = outbox(&[stopped(1)]);
    let other = ReportPosition { session: SESSION - 1, seq: 5 };
    assert_eq!(outbox.acknowledge(Some(other)), []);
    assert_eq!(outbox.acknowledge(None), []);
    assert_eq!(answer(&mut outbox), [1]);
}

#[test]
fn a_report_that_is_withdrawn_is_neither_sent_nor_acknowledged() {
    let mut outbox = outbox(&[stopped(1), running(2)]);
    outbox.withdraw(key(1));
    outbox.withdraw(key(3));
    assert_eq!(answer(&mut outbox), [2]);
    assert_eq!(outbox.acknowledge(up_to(2)), []);
}

#[test]
fn a_new_start_of_the_coordinator_hears_everything_again() {
    let mut outbox = outbox(&[running(1)]);
    answer(&mut outbox);
    assert!(!outbox.has_news());
    outbox.send_again();
    assert!(outbox.has_news());
    assert_eq!(answer(&mut outbox), [1]);
}

#[test]
fn position_beyond_all_that_was_said_is_counted_on_from() {
    let mut outbox = outbox(&[running(1)]);
    assert!(outbox.count_on_from(up_to(50)));
    outbox.push(key(1), running(1));
    assert_eq!(outbox.acknowledge(up_to(50)), []);
    assert_eq!(answer(&mut outbox), [51]);
    // Once is enough, and a number that nobody reaches is none.
    for position in [up_to(50), up_to(51), up_to(u64::MAX), None] {
        assert!(!outbox.count_on_from(position));
    }
}

#[test]
fn who_is_acknowledged_less_and_has_nothing_to_say_says_it_once() {
    let mut outbox = outbox(&[stopped(1)]);
    outbox.acknowledge(up_to(1));
    assert!(outbox.is_acknowledged_beyond(up_to(0)));
    outbox.repeated(up_to(0));
    assert!(!outbox.is_acknowledged_beyond(up_to(0)));
}

#[test]
fn more_reports_than_an_answer_takes_follow_when_those_are_acknowledged() {
    let most = REPORTS_PER_POLL_MAX as u64;
    let bodies: Vec<ReportBody> = (1..=most + 3).map(|n| running(n.into())).collect();
    let mut outbox = outbox(&bodies);
    assert_eq!(answer(&mut outbox), (1..=most).collect::<Vec<_>>());
    // What was never sent has no room yet: it is no reason to answer.
    assert!(!outbox.has_news());
    outbox.acknowledge(up_to(most));
    assert!(outbox.has_news());
    assert_eq!(answer(&mut outbox), (most + 1..=most + 3).collect::<Vec<_>>());
}
