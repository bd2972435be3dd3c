//! Containers that wait for each other, that are started again, and that end before it is said.

use longshore_common::task_definition::{ContainerDependency, DependencyCondition, RestartPolicy};

use super::*;

fn after(name: &str, dependencies: &[(&str, DependencyCondition)]) -> ContainerDefinition {
    let depends_on = dependencies.iter().map(|(name, condition)| ContainerDependency {
        container_name: (*name).to_owned(),
        condition: *condition,
    });
    ContainerDefinition { depends_on: depends_on.collect(), ..container(name) }
}

fn init(name: &str) -> ContainerDefinition {
    ContainerDefinition { essential: Some(false), ..container(name) }
}

/// Names of the containers of these calls, in their order.
fn names(rig: &Rig, verb: Verb) -> Vec<String> {
    let all = rig.fake.containers();
    let name = |target: &String| {
        let found = all.iter().find(|c| c.id == *target || c.name == *target)?;
        Some(found.config.labels["com.amazonaws.ecs.container-name"].clone())
    };
    let calls = rig.fake.calls();
    calls.iter().filter(|c| c.verb == verb).filter_map(|c| name(&c.target)).collect()
}

#[tokio::test(start_paused = true)]
async fn containers_begin_after_what_they_depend_on_and_stop_before_it() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let containers = vec![
        after(
            "app",
            &[("migrate", DependencyCondition::Success), ("db", DependencyCondition::Start)],
        ),
        after("migrate", &[("db", DependencyCondition::Start)]),
        container("db"),
    ];
    let containers = containers
        .into_iter()
        .map(|c| ContainerDefinition { essential: Some(c.name != "migrate"), ..c })
        .collect();
    rig.coordinator.run(task(1), spec(containers));
    rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
    assert_eq!(names(&rig, Verb::Create), ["db", "migrate"], "the app waits for the migration");

    rig.fake.exit("migrate", 0);
    rig.until_running(task(1)).await;
    assert_eq!(names(&rig, Verb::Start), ["db", "migrate", "app"]);

    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    assert_eq!(names(&rig, Verb::Stop), ["app", "db"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_init_container_fails_the_task_and_says_which_and_how() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let app = after("app", &[("init", DependencyCondition::Success)]);
    rig.coordinator.run(task(1), spec(vec![app, init("init")]));
    rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
    rig.fake.exit("init", 3);
    let (cause, report) = rig.until_stopped(task(1)).await;
    let reason = "CannotStartContainerError: container app depends on init, which ended with exit \
                  code 3 before it was a SUCCESS";
    assert_eq!((cause.code, cause.reason.as_str()), (StopCode::TaskFailedToStart, reason));
    assert_eq!(report.containers[0].reason.as_deref(), Some(reason));
    assert_eq!(report.containers[1].exit_code, Some(3));
    assert_eq!(names(&rig, Verb::Create), ["init"]);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_takes_longer_than_its_start_timeout_fails_the_task() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let app = after("app", &[("init", DependencyCondition::Complete)]);
    let init = ContainerDefinition { start_timeout: Some(60), ..init("init") };
    rig.coordinator.run(task(1), spec(vec![app, init]));
    let running = rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert!(
        cause.reason.ends_with("was not COMPLETE within its startTimeout of 60 s"),
        "{cause:?}"
    );
    let waited = report.stopping_at.unwrap().since(running.containers[1].started_at.unwrap());
    assert_eq!(waited.as_secs(), 60);
    assert_eq!(names(&rig, Verb::Stop), ["init"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_goes_on_waiting_where_it_was() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let app = after("app", &[("init", DependencyCondition::Success)]);
    rig.coordinator.run(task(1), spec(vec![app, init("init")]));
    rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
    rig.restart_agent().await;
    rig.idle(4).await;
    assert_eq!(names(&rig, Verb::Create), ["init"]);
    rig.fake.exit("init", 0);
    rig.until_running(task(1)).await;
    assert_eq!(names(&rig, Verb::Start), ["init", "app"]);
}

#[tokio::test(start_paused = true)]
async fn what_never_runs_says_why_and_ends_the_task_only_if_essential() {
    use DependencyCondition::{Complete, Healthy, Start, Success};
    // The first ends with 3; each of the others waits for the one before it.
    for (conditions, essential) in [
        ([Success, Start, Complete], false),
        ([Success, Success, Healthy], false),
        ([Success, Start, Complete], true),
    ] {
        let what = format!("{conditions:?}, essential: {essential}");
        let mut rig = Rig::new();
        rig.exchange().await;
        let names = ["b", "c", "d"];
        let mut containers = vec![container("app"), init("a")];
        for (index, condition) in conditions.into_iter().enumerate() {
            let before = ["a", "b", "c"][index];
            let essential = Some(essential && index == 2);
            let health_check = Some(HealthCheck {
                command: vec!["CMD".into(), "true".into()],
                interval: None,
                timeout: None,
                retries: None,
                start_period: None,
            });
            let waits = after(names[index], &[(before, condition)]);
            containers.push(ContainerDefinition { essential, health_check, ..waits });
        }
        rig.coordinator.run(task(1), spec(containers));
        rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
        rig.fake.exit("a", 3);
        let stopped =
            |c: &longshore_common::protocol::ContainerReport| c.status == ContainerStatus::Stopped;
        let report = rig.until(task(1), |r| r.containers[2..].iter().all(stopped)).await;
        let first = "CannotStartContainerError: container b depends on a, which ended with exit \
                     code 3 before it was a SUCCESS";
        let reasons: Vec<_> = report.containers[2..].iter().map(|c| c.reason.as_deref()).collect();
        assert_eq!(reasons[0], Some(first), "{what}");
        for (index, before) in [(1, "b"), (2, "c")] {
            let name = names[index];
            let reason = format!(
                "CannotStartContainerError: container {name} depends on {before}, which never ran"
            );
            assert_eq!(reasons[index], Some(&*reason), "{what}");
        }
        assert_eq!(rig.fake.count(Verb::Create), 2, "{what}");
        if essential {
            let (cause, _) = rig.until_stopped(task(1)).await;
            assert_eq!(cause.code, StopCode::TaskFailedToStart, "{what}");
        } else {
            rig.idle(20).await;
            assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_timeout_ends_the_wait_of_what_is_not_essential_alone() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let init = ContainerDefinition { start_timeout: Some(60), ..init("init") };
    let side = after("side", &[("init", DependencyCondition::Complete)]);
    let side = ContainerDefinition { essential: Some(false), ..side };
    rig.coordinator.run(task(1), spec(vec![container("app"), init, side]));
    let report = rig.until(task(1), |r| r.containers[2].reason.is_some()).await;
    let reason = report.containers[2].reason.as_deref().unwrap();
    assert!(reason.ends_with("was not COMPLETE within its startTimeout of 60 s"), "{reason}");
    rig.idle(20).await;
    let report = &rig.coordinator.tasks[&task(1)];
    assert_eq!(report.phase, ReportedPhase::Running);
    assert_eq!(report.containers[1].status, ContainerStatus::Running);
}

fn restarting(ignored_exit_codes: Vec<i32>) -> ContainerDefinition {
    let restart_policy =
        RestartPolicy { enabled: true, ignored_exit_codes, restart_attempt_period: Some(60) };
    ContainerDefinition { restart_policy: Some(restart_policy), ..container("app") }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ran_long_enough_is_started_again_in_place() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![restarting(vec![0])]));
    let first = rig.until_running(task(1)).await;
    rig.clock.advance(Duration::from_secs(60));
    rig.fake.exit("app", 3);
    let again =
        rig.until(task(1), |r| r.containers[0].started_at != first.containers[0].started_at).await;
    assert_eq!(again.phase, ReportedPhase::Running);
    assert_eq!(again.containers[0].runtime_id, first.containers[0].runtime_id);
    assert_eq!(again.containers[0].exit_code, None);
    assert_eq!(rig.fake.containers()[0].starts, 2);

    // Not long enough: the end of the task.
    rig.fake.exit("app", 4);
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert_eq!(report.containers[0].exit_code, Some(4));
}

#[tokio::test(start_paused = true)]
async fn an_ignored_exit_code_or_an_order_to_stop_ends_a_container_for_good() {
    let mut rig = Rig::new();
    rig.exchange().await;
    for (number, end) in [(1, true), (2, false)] {
        rig.coordinator.run(task(number), spec(vec![restarting(vec![0])]));
        rig.until_running(task(number)).await;
        rig.clock.advance(Duration::from_secs(60));
        match end {
            true => rig.fake.exit("app", 0),
            false => rig.coordinator.stop(task(number)),
        }
        rig.until_stopped(task(number)).await;
    }
    assert!(rig.fake.containers().iter().all(|c| c.starts == 1));
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_the_agent_was_away_is_started_again_too() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![restarting(vec![])]));
    rig.until_running(task(1)).await;
    rig.kill_agent().await;
    rig.clock.advance(Duration::from_secs(60));
    rig.fake.exit("app", 3);
    rig.start_agent();
    rig.idle(4).await;
    assert_eq!(rig.fake.containers()[0].starts, 2);
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn an_essential_process_that_ended_is_told_before_the_engine_says_how() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let helper = ContainerDefinition { essential: Some(false), ..container("helper") };
    rig.coordinator.run(task(1), spec(vec![container("app"), helper]));
    rig.until_running(task(1)).await;
    rig.fake.end_process("app");
    let report = rig.until(task(1), |r| matches!(r.phase, ReportedPhase::Stopping(_))).await;
    assert_eq!(report.containers[0].status, ContainerStatus::Running, "how it ended is not known");
    rig.idle(2).await;
    assert_eq!(names(&rig, Verb::Stop), ["helper"], "nothing is left to stop of the app");

    rig.fake.exit("app", 9);
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert_eq!(report.containers[0].exit_code, Some(9));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_missed_an_end_is_told_to_stop_what_is_gone() {
    let mut rig = Rig::new();
    rig.exchange().await;
    for number in [1, 2] {
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
        rig.fake.end_process("app");
        rig.until(task(number), |r| matches!(r.phase, ReportedPhase::Stopping(_))).await;
        rig.idle(2).await;
        assert_eq!(rig.fake.count(Verb::Stop), number as usize - 1, "its own word is waited for");
        match number {
            1 => rig.pass(rig.config.resync + Duration::from_secs(1)).await,
            _ => rig.coordinator.stop(task(number)),
        }
        rig.until_stopped(task(number)).await;
        rig.fake.remove_outside("app");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_may_be_started_again_is_not_told_to_have_ended() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![restarting(vec![])]));
    rig.until_running(task(1)).await;
    rig.fake.end_process("app");
    rig.idle(2).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn waiting_containers_image_is_pulled_upfront_where_asked() {
    for (upfront, pulled) in [(false, 1), (true, 2)] {
        let mut rig = Rig::with(|config| {
            config.pull = PullPolicy::Always;
            config.pull_upfront = upfront;
        });
        let of = |image: &str, container: ContainerDefinition| {
            rig.fake.publish_image(image, Behaviour::default());
            ContainerDefinition { image: Some(image.to_owned()), ..container }
        };
        let waits = after("app", &[("init", DependencyCondition::Success)]);
        let containers = vec![of("registry/app:1", waits), of("registry/init:1", init("init"))];
        rig.exchange().await;
        rig.coordinator.run(task(1), spec(containers));
        rig.until(task(1), |r| r.containers[1].status == ContainerStatus::Running).await;
        rig.idle(2).await;
        assert_eq!(rig.fake.count(Verb::Pull), pulled, "{upfront}");
        assert_eq!(rig.fake.count(Verb::Create), 1, "the app waits all the same");
        rig.fake.exit("init", 0);
        rig.until_running(task(1)).await;
        assert_eq!(rig.fake.count(Verb::Pull), 2);
    }
}
