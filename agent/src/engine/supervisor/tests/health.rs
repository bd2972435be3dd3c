//! The coordinator is told whether the container engine answers, and at once.

use longshore_common::protocol::EngineHealth;
use tokio::sync::watch;

use super::*;
use crate::{
    engine::supervisor::{LeaveWatch, ReachWatch},
    host::docker_reach::DockerReach,
};

/// Polls that would be kept for long, until one answer is as wanted.
async fn told(rig: &mut Rig, wanted: EngineHealth) -> usize {
    for polls in 1..100 {
        let request = rig.coordinator.request(10_000);
        let answer = rig.poll(request).await;
        rig.coordinator.take(&answer);
        if answer.engine == wanted {
            return polls;
        }
    }
    panic!("never told {wanted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_and_comes_back_is_told_without_a_touch() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    told(&mut rig, EngineHealth::Answers).await;
    rig.fake.forget_calls();
    rig.fake.go_down();
    let polls = told(&mut rig, EngineHealth::Silent).await;
    assert!(polls <= 2, "a poll that was kept leaves with the news: {polls}");
    rig.idle(20).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    rig.fake.come_up();
    told(&mut rig, EngineHealth::Answers).await;
    assert_eq!(rig.fake.count(Verb::Stop) + rig.fake.count(Verb::Start), 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_told_by_who_asks_it() {
    let (sender, receiver) = watch::channel(DockerReach::default());
    let mut rig = Rig::with(|config| config.reach = Some(ReachWatch(receiver)));
    rig.exchange().await;
    told(&mut rig, EngineHealth::Answers).await;
    for (answers, engine) in [(true, EngineHealth::Answers), (false, EngineHealth::Silent)] {
        sender.send_replace(DockerReach { asked: true, answers, last: None });
        told(&mut rig, engine).await;
    }
    sender.send_replace(DockerReach { asked: true, answers: true, last: None });
    told(&mut rig, EngineHealth::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_has_not_asked_yet_says_nothing_of_the_engine() {
    let mut rig = Rig::new();
    rig.kill_agent().await;
    rig.fake.go_down();
    rig.start_agent();
    let answer = rig.exchange().await;
    assert_eq!(answer.engine, EngineHealth::Unknown);
    rig.fake.come_up();
    told(&mut rig, EngineHealth::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn host_that_leaves_is_told_of_at_once_and_from_then_on() {
    let (sender, receiver) = watch::channel(false);
    let mut rig = Rig::with(|config| config.leaving = Some(LeaveWatch(receiver)));
    assert!(!rig.exchange().await.leaving);
    rig.idle(5).await;
    sender.send_replace(true);
    // Whoever watched has nothing more to say.
    drop(sender);
    let request = rig.coordinator.request(10_000);
    let before = tokio::time::Instant::now();
    let mut answer = rig.poll(request).await;
    assert!(before.elapsed() < Duration::from_secs(1), "a poll that was kept leaves with the news");
    for _ in 0..3 {
        assert!(answer.leaving);
        rig.coordinator.take(&answer);
        answer = rig.exchange().await;
    }
}

#[tokio::test(start_paused = true)]
async fn host_that_stays_after_all_is_told_of_too() {
    let (sender, receiver) = watch::channel(false);
    let mut rig = Rig::with(|config| config.leaving = Some(LeaveWatch(receiver)));
    assert!(!rig.exchange().await.leaving);
    sender.send_replace(true);
    rig.idle(5).await;
    assert!(rig.exchange().await.leaving);
    sender.send_replace(false);
    let request = rig.coordinator.request(10_000);
    let before = tokio::time::Instant::now();
    assert!(!rig.poll(request).await.leaving);
    assert!(before.elapsed() < Duration::from_secs(1), "a poll that was kept leaves with the news");
}
