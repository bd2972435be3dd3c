//! Pulls from registries that hang, fall silent or come back, and what is known of what was pulled.

use super::{super::pulls::tasks_named, *};
use crate::task::key::TaskKey;

fn of(image: &str) -> TaskSpec {
    spec(vec![ContainerDefinition { image: Some(image.into()), ..container("app") }])
}

fn silence() -> Fault {
    let message = "dial tcp 10.0.0.1:5000: i/o timeout".to_owned();
    Fault::Fails(Unknown::Registry { message }.into())
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_holds_up_its_own_pulls_alone() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.fake.publish_image("good.example.com/web:1", Behaviour::default());
    rig.exchange().await;
    for number in 1..=20 {
        rig.fake.fail_next(Verb::Pull, Fault::Hangs(Duration::from_secs(3600)));
        rig.coordinator.run(task(number), of(&format!("hung.example.com/web:{number}")));
    }
    rig.idle(4).await;
    assert_eq!(rig.fake.count(Verb::Pull), rig.config.pulls_at_once, "and no more of it");
    // The pulls that hang have taken their faults.
    rig.fake.forget_faults();
    rig.coordinator.run(task(30), of("good.example.com/web:1"));
    let since = tokio::time::Instant::now();
    rig.until_running(task(30)).await;
    assert!(since.elapsed() < Duration::from_secs(60), "it waited {:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn image_that_is_wanted_again_while_it_waits_is_pulled_once() {
    const WANTED: &str = "hung.example.com/wanted:1";
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.fake.publish_image(WANTED, Behaviour::default());
    rig.exchange().await;
    let lanes = rig.config.pulls_at_once as u128;
    for number in 1..=lanes {
        rig.fake.fail_next(Verb::Pull, Fault::Hangs(Duration::from_secs(3600)));
        rig.coordinator.run(task(number), of(&format!("hung.example.com/web:{number}")));
    }
    rig.idle(4).await;
    for number in 100..103 {
        rig.coordinator.run(task(number), of(WANTED));
        rig.idle(4).await;
        rig.coordinator.stop(task(number));
        rig.until_stopped(task(number)).await;
    }
    rig.coordinator.run(task(200), of(WANTED));
    rig.idle(4).await;
    rig.fake.set_latency(Verb::Pull, Duration::from_secs(10));
    for number in 1..=lanes {
        rig.coordinator.stop(task(number));
    }
    rig.until_running(task(200)).await;
    let of_it =
        |call: &&crate::runtime::fake::FakeCall| call.verb == Verb::Pull && call.target == WANTED;
    assert_eq!(rig.fake.calls().iter().filter(of_it).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_is_not_asked_again_for_images_that_are_here() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::PullFirst);
    rig.exchange().await;
    rig.fake.fail_next(Verb::Pull, silence());
    for number in 1..=10 {
        let since = tokio::time::Instant::now();
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
        assert!(since.elapsed() < Duration::from_secs(1), "start {number}: {:?}", since.elapsed());
    }
    assert_eq!(rig.fake.count(Verb::Pull), 1);
    // An image that is not here can come from nowhere else; another registry is another.
    rig.fake.publish_image("web:2", Behaviour::default());
    rig.fake.publish_image("other.example.com/web:1", Behaviour::default());
    rig.coordinator.run(task(20), of("other.example.com/web:1"));
    rig.until_running(task(20)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 2);
    rig.coordinator.run(task(21), of("web:2"));
    rig.until_running(task(21)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 3);
    // It has answered: it is asked again.
    rig.fake.publish_image(IMAGE, Behaviour::default());
    rig.coordinator.run(task(22), one());
    rig.until_running(task(22)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 4);
    // And also after a while.
    rig.fake.fail_next(Verb::Pull, silence());
    for (number, pulls) in [(30, 5), (31, 5)] {
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
        assert_eq!(rig.fake.count(Verb::Pull), pulls);
    }
    rig.pass(Duration::from_secs(5 * 60)).await;
    rig.coordinator.run(task(32), one());
    rig.until_running(task(32)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 6);
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_falls_silent_is_tried_again_and_then_given_up() {
    for (failures, comes) in [(1, true), (4, true), (5, false)] {
        let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
        rig.fake.publish_image("new:1", Behaviour::default());
        rig.exchange().await;
        (0..failures).for_each(|_| rig.fake.fail_next(Verb::Pull, silence()));
        rig.coordinator.run(task(1), of("new:1"));
        if comes {
            rig.until_running(task(1)).await;
        } else {
            let (cause, _) = rig.until_stopped(task(1)).await;
            let told = "CannotPullContainerError: image new:1 was tried 5 times: dial tcp";
            assert!(cause.reason.starts_with(told), "{cause:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_is_reported_from_its_first_attempt_on() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.fake.publish_image("new:1", Behaviour::default());
    rig.exchange().await;
    (0..3).for_each(|_| rig.fake.fail_next(Verb::Pull, silence()));
    rig.coordinator.run(task(1), of("new:1"));
    for attempt in 1..=3 {
        let failed = |report: &TaskReport| {
            report.pulls.first().is_some_and(|pull| pull.failed_attempts == attempt)
        };
        let report = rig.until(task(1), failed).await;
        assert_eq!(report.phase, ReportedPhase::Activating);
        let pull = &report.pulls[0];
        assert_eq!((&*pull.image, report.pulls.len()), ("new:1", 1));
        assert_eq!(pull.last_error.as_deref(), Some("dial tcp 10.0.0.1:5000: i/o timeout"));
    }
    assert_eq!(rig.until_running(task(1)).await.pulls, []);
}

#[tokio::test(start_paused = true)]
async fn task_that_stops_between_two_attempts_tells_of_no_other() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.fake.publish_image("new:1", Behaviour::default());
    rig.exchange().await;
    (0..4).for_each(|_| rig.fake.fail_next(Verb::Pull, silence()));
    rig.coordinator.run(task(1), of("new:1"));
    rig.until(task(1), |report| !report.pulls.is_empty()).await;
    rig.coordinator.stop(task(1));
    let stopped = |report: &TaskReport| matches!(report.phase, ReportedPhase::Stopped(_));
    assert_eq!(rig.until(task(1), stopped).await.pulls, []);
}

#[test]
fn log_names_the_first_tasks_of_a_pull_and_counts_the_others() {
    let wanted = |tasks: u128| -> Vec<_> {
        let key = |number| TaskKey { task: task(number), generation: 1 };
        (1..=tasks).flat_map(|number| [(key(number), 0), (key(number), 1)]).collect()
    };
    assert_eq!(tasks_named(&wanted(1)), task(1).to_string());
    let named: Vec<_> = (1..=4).map(|number| task(number).to_string()).collect();
    assert_eq!(tasks_named(&wanted(4)), named.join(","));
    assert_eq!(tasks_named(&wanted(9)), format!("{} and 5 more", named.join(",")));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_had_is_told_by_its_own_name() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.exchange().await;
    let error = RuntimeError::NoLogin { message: "the helper failed".into() };
    rig.fake.fail_next(Verb::Pull, Fault::Fails(error));
    rig.coordinator.run(task(1), one());
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.reason, "CannotPullContainerAuthError: the helper failed");
}

#[tokio::test(start_paused = true)]
async fn an_image_built_here_stays_and_pins_no_digest_in_containerds_store() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::PreferCached);
    rig.fake.keep_images_in_containerd();
    rig.fake.add_image(IMAGE, Behaviour::default());
    rig.fake.publish_image("pulled:1", Behaviour::default());
    rig.restart_agent().await;
    rig.exchange().await;
    let mut digests = Vec::new();
    for (number, image) in [(1, IMAGE), (2, "pulled:1")] {
        rig.coordinator.run(task(number), of(image));
        rig.until_running(task(number)).await;
        rig.idle(2).await;
        let report = &rig.coordinator.tasks[&task(number)];
        digests.push(report.containers[0].image_digest.clone());
        rig.coordinator.stop(task(number));
        rig.until_stopped(task(number)).await;
        rig.idle(2).await;
    }
    assert_eq!(digests, [None, Some("sha256:pulled:1".to_owned())]);
    for _ in 0..60 {
        rig.pass(Duration::from_secs(300)).await;
        rig.idle(1).await;
    }
    assert!(rig.fake.has_image(IMAGE), "no registry has it");
    assert!(!rig.fake.has_image("pulled:1"), "a registry has it");
}
