//! An agent that was killed adopts what it finds, and restarts nothing (promises.md P5).

use super::*;

fn changing_calls(rig: &Rig) -> usize {
    [Verb::Create, Verb::Start, Verb::Stop, Verb::Kill, Verb::Remove]
        .iter()
        .map(|verb| rig.fake.count(*verb))
        .sum()
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_touches_nothing_and_reports_everything() {
    let mut rig = Rig::with_tasks(5).await;
    rig.fake.forget_calls();
    rig.restart_agent().await;
    rig.coordinator.tasks.clear();
    for number in 1..=5 {
        let report = rig.until_running(task(number)).await;
        assert!(report.containers[0].started_at.is_some());
    }
    rig.idle(5).await;
    assert_eq!(changing_calls(&rig), 0);
    assert_eq!(rig.coordinator.manifests_wanted, 0);
    let first = rig.fake.calls().into_iter().map(|call| call.verb).take(3).collect::<Vec<_>>();
    assert_eq!(first, [Verb::Version, Verb::Events, Verb::List]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_the_agent_was_away_is_reported() {
    let mut rig = Rig::with_tasks(1).await;
    rig.kill_agent().await;
    rig.fake.exit("app", 4);
    rig.start_agent();
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert_eq!(report.containers[0].exit_code, Some(4));
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_the_agent_was_away_is_not_started_again() {
    let mut rig = Rig::with_tasks(1).await;
    rig.kill_agent().await;
    rig.fake.remove_outside("app");
    rig.pass(Duration::from_secs(60)).await;
    rig.start_agent();
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert!(report.containers[0].reason.as_deref().unwrap().starts_with("DockerStateError"));
    assert_eq!(rig.fake.count(Verb::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_between_any_two_calls_makes_no_second_container() {
    for verb in [Verb::Create, Verb::Start, Verb::Inspect] {
        for delay_ms in [0, 1, 50, 99] {
            let mut rig = Rig::new();
            rig.exchange().await;
            rig.fake.set_latency(verb, Duration::from_millis(100));
            rig.coordinator.run(task(1), one());
            let request = rig.coordinator.request(delay_ms);
            let answer = rig.poll(request).await;
            rig.coordinator.take(&answer);
            rig.restart_agent().await;
            rig.until_running(task(1)).await;
            let containers = rig.fake.containers();
            assert_eq!(containers.len(), 1, "{verb:?} {delay_ms}");
            assert_eq!(containers[0].starts, 1, "{verb:?} {delay_ms}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_ledger_adopts_by_labels_and_stops_nothing() {
    let mut rig = Rig::with_tasks(3).await;
    rig.kill_agent().await;
    std::fs::remove_file(&rig.config.ledger).unwrap();
    rig.start_agent();
    rig.fake.forget_calls();

    // Two are desired; one the coordinator wants stopped, which is not taken yet; nothing is.
    rig.coordinator.stop(task(3));
    rig.coordinator.tasks.clear();
    let answer = rig.exchange().await;
    assert_eq!(answer.seen, None);
    assert_eq!(changing_calls(&rig), 0);

    rig.coordinator.desired.remove(&task(2));
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    rig.coordinator.take(&answer);
    rig.until_running(task(1)).await;
    rig.until_stopped(task(3)).await;
    rig.idle(5).await;
    assert_eq!(rig.coordinator.candidates, [task(2)]);
    assert_eq!((rig.fake.count(Verb::Create), rig.fake.count(Verb::Start)), (0, 0));
    assert_eq!(rig.fake.count(Verb::Stop), 1);
    let running = |c: &&crate::runtime::fake::FakeContainer| c.state == RunState::Running;
    assert_eq!(rig.fake.containers().iter().filter(running).count(), 2);
}

/// An app that waits for two init containers, a sidecar, and how they stand once the app runs.
async fn with_init_containers() -> Rig {
    let mut rig = Rig::new();
    rig.exchange().await;
    let after = |name: &str, before: &str, condition| ContainerDefinition {
        depends_on: vec![longshore_common::task_definition::ContainerDependency {
            container_name: before.into(),
            condition,
        }],
        ..container(name)
    };
    let light = |c: ContainerDefinition| ContainerDefinition { essential: Some(false), ..c };
    use longshore_common::task_definition::DependencyCondition::{Complete, Success};
    let containers = vec![
        light(container("first")),
        light(after("second", "first", Success)),
        after("app", "second", Complete),
        light(container("once")),
    ];
    rig.coordinator.run(task(1), spec(containers));
    for name in ["first", "second", "once"] {
        let runs = |r: &TaskReport| {
            r.containers.iter().any(|c| c.name == name && c.status == ContainerStatus::Running)
        };
        rig.until(task(1), runs).await;
        rig.fake.exit(name, 0);
    }
    rig.until_running(task(1)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_lost_ledger_runs_nothing_again_that_ran_and_was_removed() {
    let all = ["first", "second", "once"];
    for removed in 0..1 << all.len() {
        let mut rig = with_init_containers().await;
        rig.idle(4).await;
        rig.kill_agent().await;
        std::fs::remove_file(&rig.config.ledger).unwrap();
        let removed: Vec<&str> =
            (0..all.len()).filter(|bit| removed >> bit & 1 == 1).map(|bit| all[bit]).collect();
        removed.iter().for_each(|name| rig.fake.remove_outside(name));
        rig.start_agent();
        rig.fake.forget_calls();
        rig.coordinator.tasks.clear();
        let answer = rig.poll(rig.coordinator.manifest(500)).await;
        rig.coordinator.take(&answer);
        let report = rig.until_running(task(1)).await;
        rig.idle(20).await;
        assert_eq!(rig.fake.count(Verb::Create), 0, "{removed:?} removed");
        assert_eq!(report.containers[2].status, ContainerStatus::Running, "{removed:?} removed");

        // The app's end is booked on the app.
        rig.fake.exit("app", 7);
        let (cause, report) = rig.until_stopped(task(1)).await;
        assert_eq!(cause.code, StopCode::EssentialContainerExited, "{removed:?} removed");
        assert_eq!(report.containers[2].exit_code, Some(7), "{removed:?} removed");
        for container in report.containers.iter().filter(|c| c.name != "app") {
            let gone = removed.contains(&&*container.name) && container.name != "first";
            assert_eq!(container.exit_code, (!gone).then_some(0), "{removed:?}: {container:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_found_by_labels_can_be_stopped_by_order() {
    let mut rig = Rig::with_tasks(1).await;
    rig.kill_agent().await;
    std::fs::remove_file(&rig.config.ledger).unwrap();
    rig.start_agent();
    rig.coordinator.desired.clear();
    rig.coordinator.tasks.clear();
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    rig.coordinator.take(&answer);
    rig.idle(3).await;
    assert_eq!(rig.coordinator.candidates, [task(1)]);
    rig.coordinator.order(task(1), 1, OrderKind::Stop(user_stop()));
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    assert_eq!(report.containers[0].name, "app");
}

#[tokio::test(start_paused = true)]
async fn a_stop_survives_the_agent() {
    let mut rig = Rig::with_tasks(1).await;
    rig.fake.set_latency(Verb::Stop, Duration::from_secs(20));
    rig.coordinator.stop(task(1));
    rig.exchange().await;
    rig.restart_agent().await;
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_failed_to_start_is_not_tried_again_by_a_restarted_agent() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let app = ContainerDefinition { image: Some("nowhere".into()), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    // The report leaves, and is never acknowledged.
    while !matches!(
        rig.poll(rig.coordinator.request(500)).await.outcome,
        PollOutcome::Accepted { reports, .. } if reports.iter().any(|report| matches!(
            &report.body,
            ReportBody::Task(report) if matches!(report.phase, ReportedPhase::Stopped(_))
        ))
    ) {}
    rig.fake.publish_image("nowhere", Behaviour::default());
    rig.pass(Duration::from_secs(1)).await;
    rig.restart_agent().await;
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert_eq!(rig.fake.containers(), []);
}

#[tokio::test(start_paused = true)]
async fn a_second_agent_on_one_ledger_is_refused() {
    let rig = Rig::new();
    let second =
        start(rig.config.clone(), rig.fake.clone(), rig.clock.clone(), CancellationToken::new());
    let error = second.err().unwrap().to_string();
    assert!(error.contains("another agent holds the ledger"), "{error}");
    assert!(rig.directory.path().exists());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_shuts_down_says_so_to_who_polls() {
    let mut rig = Rig::with_tasks(1).await;
    let handle = rig.handle();
    let request = rig.coordinator.request(50_000);
    let parked = tokio::spawn(async move { handle.poll(request).await });
    tokio::task::yield_now().await;
    let agent = rig.agent.take().unwrap();
    agent.shutdown.cancel();
    agent.running.await.unwrap().unwrap();
    assert_eq!(parked.await.unwrap(), Err(super::super::EngineStopped));
    assert_eq!(rig.fake.count(Verb::Stop), 0);
}

/// What this thread logs, of which a paused test has one.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Of tasks and containers, without their times.
    fn of_states(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let states = ["task RUNNING", "task STOPP", "container running", "container stopped"];
        let is_state = |line: &&str| states.iter().any(|state| line.contains(state));
        text.lines().filter(is_state).map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn restarted_agent_logs_no_state_again() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_writer({
            let lines = lines.clone();
            move || lines.clone()
        })
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let mut rig = Rig::with_tasks(3).await;
    // One ends by itself, one is stopped, one goes on.
    rig.fake.exit("app", 3);
    rig.until_stopped(task(1)).await;
    rig.coordinator.stop(task(2));
    rig.until_stopped(task(2)).await;
    rig.idle(2).await;
    let before = lines.of_states();
    assert!(before.iter().any(|line| line.contains("task STOPPED")), "{before:#?}");
    for _ in 0..2 {
        rig.restart_agent().await;
        rig.coordinator.tasks.clear();
        rig.until_running(task(3)).await;
        rig.idle(2).await;
        assert_eq!(lines.of_states(), before);
    }
}
