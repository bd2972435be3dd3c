//! The container engine fails in every way: unknown is not dead (promises.md 2.2, P6).

use super::*;

fn engine_error() -> RuntimeError {
    Unknown::Engine { message: "something broke".into() }.into()
}

/// An agent with one task that runs.
pub(super) async fn running() -> Rig {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig
}

/// Every verb with every fault: a task runs in the end, once, or fails with a reason.
#[tokio::test(start_paused = true)]
async fn every_fault_of_every_call_ends_well() {
    let minute = Duration::from_secs(60);
    let faults = [
        Fault::Fails(engine_error()),
        Fault::Fails(RuntimeError::transport("connection reset")),
        Fault::Fails(Unknown::Unreadable { message: "half a body".into() }.into()),
        Fault::Fails(RuntimeError::NotFound { message: "No such container".into() }),
        Fault::Fails(RuntimeError::Conflict { message: "in use".into() }),
        Fault::Fails(RuntimeError::Rejected { message: "bad parameter".into() }),
        Fault::ReplyLost,
        Fault::Hangs(minute),
    ];
    for verb in [Verb::Create, Verb::Start, Verb::Inspect, Verb::Stop, Verb::Kill, Verb::Image] {
        for fault in &faults {
            let mut rig = Rig::new();
            rig.exchange().await;
            rig.fake.fail_next(verb, fault.clone());
            let app = ContainerDefinition {
                port_mappings: vec![PortMapping {
                    container_port: Some(80),
                    ..PortMapping::default()
                }],
                ..container("app")
            };
            rig.coordinator.run(task(1), spec(vec![app]));
            let report = rig
                .until(task(1), |r| {
                    matches!(r.phase, ReportedPhase::Running | ReportedPhase::Stopped(_))
                })
                .await;
            let what = format!("{verb:?} {fault:?} {report:?}");
            let containers = rig.fake.containers();
            if report.phase == ReportedPhase::Running {
                rig.coordinator.stop(task(1));
                rig.until_stopped(task(1)).await;
                assert_eq!(rig.fake.containers().len(), 1, "{what}");
                assert_eq!(rig.fake.containers()[0].starts, 1, "{what}");
            } else {
                assert!(containers.iter().all(|c| c.starts == 0), "{what}");
                assert!(report.containers[0].reason.is_some(), "{what}");
            }
            let running = |c: &crate::runtime::fake::FakeContainer| c.state == RunState::Running;
            assert!(!rig.fake.containers().iter().any(running), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_reply_was_lost_is_adopted() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.fail_next(Verb::Create, Fault::ReplyLost);
    // The first look comes too early as well.
    rig.fake.fail_next(Verb::Inspect, Fault::Fails(engine_error()));
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    assert_eq!(rig.fake.containers().len(), 1);
    assert_eq!(rig.fake.count(Verb::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn task_fails_and_touches_nothing_when_its_container_name_is_taken() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let key = crate::task::key::TaskKey { task: task(1), generation: 1 };
    let name = crate::task::names::docker_name("web", 3, "app", key);
    let foreign = ContainerConfig { image: IMAGE.into(), ..ContainerConfig::default() };
    rig.fake.create_outside(&name, foreign);
    rig.coordinator.run(task(1), one());
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert!(cause.reason.starts_with("CannotCreateContainerError: the name"), "{}", cause.reason);
    assert_eq!(rig.fake.containers().len(), 1);
    assert_eq!((rig.fake.count(Verb::Start), rig.fake.count(Verb::Remove)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_engine_refuses_fails_the_task_with_its_words() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let refused = RuntimeError::Rejected { message: "exec: \"nope\": not found".into() };
    rig.fake.fail_next(Verb::Start, Fault::Fails(refused));
    rig.coordinator.run(task(1), one());
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert_eq!(cause.reason, "CannotStartContainerError: exec: \"nope\": not found");
    assert_eq!(report.containers[0].exit_code, None);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_fails_the_task_as_a_timeout() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.fail_next(Verb::Start, Fault::Hangs(Duration::from_secs(180)));
    rig.coordinator.run(task(1), one());
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(
        cause.reason,
        "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_nobody_has_fails_the_task() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let app = ContainerDefinition { image: Some("nowhere".into()), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(
        cause.reason,
        "CannotPullContainerError: manifest for nowhere not found: manifest unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_tried_five_times() {
    let mut rig = Rig::new();
    rig.fake.publish_image("far", Behaviour::default());
    rig.exchange().await;
    for _ in 0..4 {
        rig.fake.fail_next(Verb::Pull, Fault::Fails(engine_error()));
    }
    let app = ContainerDefinition { image: Some("far".into()), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    rig.until_running(task(1)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 5);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_gone_leaves_statuses_as_they_were() {
    let mut rig = running().await;
    rig.fake.go_down();
    rig.idle(200).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    rig.coordinator.run(task(2), one());
    rig.idle(20).await;
    assert!(!rig.coordinator.tasks.contains_key(&task(2)));

    rig.fake.come_up();
    rig.until_running(task(2)).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    assert_eq!(rig.fake.containers()[0].starts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_the_engine_was_gone_is_found_when_it_is_back() {
    let mut rig = running().await;
    rig.fake.crash();
    rig.idle(20).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    rig.fake.come_up();
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert_eq!(report.containers[0].exit_code, Some(137));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_removed_has_stopped() {
    let mut rig = running().await;
    rig.fake.remove_outside("app");
    let (_, report) = rig.until_stopped(task(1)).await;
    assert_eq!(report.containers[0].exit_code, Some(137));
    assert_eq!(rig.fake.count(Verb::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn one_404_is_not_believed() {
    let mut rig = running().await;
    let missing = RuntimeError::NotFound { message: "No such container".into() };
    rig.fake.fail_next(Verb::Inspect, Fault::Fails(missing));
    // A listing of an engine that has not read its containers yet.
    rig.fake.fail_next(Verb::List, Fault::Fails(RuntimeError::transport("reset")));
    rig.fake.go_down();
    rig.idle(3).await;
    rig.fake.come_up();
    rig.idle(60).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_no_event_told_of_is_found_by_the_resync() {
    let mut rig = running().await;
    // Events are lost while the engine is away, and the stream comes back later than the exit.
    rig.fake.go_down();
    rig.fake.exit("app", 9);
    rig.pass(Duration::from_secs(30)).await;
    rig.fake.come_up();
    let (_, report) = rig.until_stopped(task(1)).await;
    assert_eq!(report.containers[0].exit_code, Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_fails_is_tried_again_and_then_killed() {
    let mut rig = running().await;
    for _ in 0..2 {
        rig.fake.fail_next(Verb::Stop, Fault::Fails(engine_error()));
    }
    rig.coordinator.stop(task(1));
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    assert_eq!(report.containers[0].exit_code, Some(137));
    assert_eq!((rig.fake.count(Verb::Stop), rig.fake.count(Verb::Kill)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_as_soon_as_it_starts_is_not_taken_for_running() {
    let mut rig = Rig::with(|config| config.resync = 10 * PATIENCE);
    let short = Behaviour { runs_for: Some(Duration::ZERO), exit_code: 5, ..Behaviour::default() };
    rig.fake.add_image(IMAGE, short);
    rig.exchange().await;
    // Its exit is told before, or after, the start is answered.
    for number in 1..=32 {
        rig.coordinator.run(task(number), one());
    }
    for number in 1..=32 {
        let (cause, report) = rig.until_stopped(task(number)).await;
        assert_eq!(cause.code, StopCode::EssentialContainerExited);
        assert_eq!(report.containers[0].exit_code, Some(5));
    }
}
