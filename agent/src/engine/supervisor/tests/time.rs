//! P13: a wall clock that is set, ahead or back, neither fires nor stops what is measured by time.

use longshore_common::task_definition::{ContainerDependency, DependencyCondition, RestartPolicy};

use super::*;

const YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;
const JUMPS: [i64; 6] = [-YEARS_MS, -3_600_000, -1000, 1000, 3_600_000, YEARS_MS];

async fn with(containers: Vec<ContainerDefinition>) -> Rig {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(containers));
    rig
}

fn restarting() -> ContainerDefinition {
    let restart_policy = RestartPolicy {
        enabled: true,
        ignored_exit_codes: Vec::new(),
        restart_attempt_period: Some(60),
    };
    ContainerDefinition { restart_policy: Some(restart_policy), ..container("app") }
}

/// `app` waits until `init` has ended, for a minute at most.
fn waiting() -> Vec<ContainerDefinition> {
    let condition = DependencyCondition::Complete;
    let depends_on = vec![ContainerDependency { container_name: "init".into(), condition }];
    let app = ContainerDefinition { depends_on, ..container("app") };
    let init = ContainerDefinition {
        essential: Some(false),
        start_timeout: Some(60),
        ..container("init")
    };
    vec![app, init]
}

#[tokio::test(start_paused = true)]
async fn a_restart_policy_goes_by_the_time_that_has_passed() {
    for jump in JUMPS {
        let mut rig = with(vec![restarting()]).await;
        let first = rig.until_running(task(1)).await;
        rig.pass(Duration::from_secs(40)).await;
        rig.clock.jump(jump);
        rig.pass(Duration::from_secs(40)).await;
        rig.fake.exit("app", 3);
        let again = |r: &TaskReport| r.containers[0].started_at != first.containers[0].started_at;
        rig.until(task(1), again).await;
        assert_eq!(rig.fake.containers()[0].starts, 2, "jumped by {jump} ms");

        rig.clock.jump(-jump);
        rig.pass(Duration::from_secs(40)).await;
        rig.fake.exit("app", 4);
        let (cause, _) = rig.until_stopped(task(1)).await;
        assert_eq!(cause.code, StopCode::EssentialContainerExited);
        assert_eq!(rig.fake.containers()[0].starts, 2, "it ran for 40 s; jumped by {jump} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_timeout_goes_by_the_time_that_has_passed() {
    for jump in JUMPS {
        let mut rig = with(waiting()).await;
        let runs = |r: &TaskReport| r.containers[1].status == ContainerStatus::Running;
        rig.until(task(1), runs).await;
        rig.clock.jump(jump);
        rig.idle(100).await;
        assert_eq!(rig.fake.count(Verb::Stop), 0, "50 s have passed; jumped by {jump} ms");
        rig.idle(22).await;
        let (cause, _) = rig.until_stopped(task(1)).await;
        let reason = "was not COMPLETE within its startTimeout of 60 s";
        assert!(cause.reason.ends_with(reason), "{cause:?}");
        assert_eq!(rig.fake.count(Verb::Stop), 1, "61 s have passed; jumped by {jump} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_while_the_clock_jumps() {
    let mut rig = with(vec![restarting()]).await;
    rig.coordinator.run(task(2), one());
    rig.until_running(task(1)).await;
    rig.until_running(task(2)).await;
    rig.fake.forget_calls();
    for jump in JUMPS.iter().cycle().take(300) {
        rig.clock.jump(*jump);
        rig.exchange().await;
        rig.pass(Duration::from_secs(6)).await;
        rig.clock.jump(-jump);
    }
    let changing = [Verb::Create, Verb::Start, Verb::Stop, Verb::Kill, Verb::Remove];
    assert_eq!(changing.map(|verb| rig.fake.count(verb)), [0; 5]);
    for number in [1, 2] {
        assert_eq!(rig.coordinator.tasks[&task(number)].phase, ReportedPhase::Running);
    }
}
