//! A ledger that cannot be written: what runs goes on and is told of, and room is made.

use super::*;
use crate::{engine::ledger::tests::FULL, settings::ImageCleanup};

impl Rig {
    fn fill_disk(&self) {
        std::fs::write(self.directory.path().join(FULL), "").unwrap();
    }

    fn free_disk(&self) {
        std::fs::remove_file(self.directory.path().join(FULL)).unwrap();
    }

    fn runs(&self) -> usize {
        self.fake.containers().iter().filter(|c| c.state == RunState::Running).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_no_agent_and_doubles_no_task() {
    let mut rig = Rig::with(|config| {
        config.pull = PullPolicy::Always;
        config.images = ImageCleanup { enabled: true, ..ImageCleanup::default() };
    });
    for image in [IMAGE, "old:1"] {
        rig.fake.publish_image(image, Behaviour::default());
    }
    rig.exchange().await;
    for number in 1..=3 {
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
    }
    let old = spec(vec![ContainerDefinition { image: Some("old:1".into()), ..container("app") }]);
    for number in [8, 9] {
        rig.coordinator.run(task(number), old.clone());
        rig.until_running(task(number)).await;
        rig.coordinator.stop(task(number));
        rig.until_stopped(task(number)).await;
        rig.idle(2).await;
    }
    assert_eq!(rig.fake.containers().len(), 5);

    rig.fill_disk();
    // What happens is told, from memory; what comes is not taken, but a stop is carried out.
    rig.fake.exit("app", 3);
    rig.until_stopped(task(1)).await;
    rig.coordinator.run(task(4), one());
    rig.coordinator.stop(task(2));
    rig.until_stopped(task(2)).await;
    let mut exchanges = 0;
    let since = tokio::time::Instant::now();
    while since.elapsed() < Duration::from_secs(600) {
        let answer = rig.exchange().await;
        assert!(answer.seen.unwrap().order < rig.coordinator.last_order, "it was not taken");
        exchanges += 1;
    }
    assert!(exchanges <= 1300, "{exchanges} exchanges: each at once calls for the next");
    assert_eq!(rig.runs(), 1, "task 3 goes on");
    // Cleaned up: of the stopped ones the newest is kept.
    assert_eq!(rig.fake.containers().len(), 2);

    // A restart on the full disk takes up what runs.
    rig.restart_agent().await;
    rig.fake.forget_calls();
    rig.coordinator.tasks.clear();
    rig.until_running(task(3)).await;
    rig.idle(20).await;
    assert_eq!((rig.fake.count(Verb::Create), rig.runs()), (0, 1));

    rig.free_disk();
    rig.until_stopped(task(2)).await;
    rig.until_running(task(4)).await;
    assert_eq!((rig.fake.count(Verb::Create), rig.runs()), (1, 2));
}

/// Wherever the agent is killed on its way: before the stop, while the container stops, after.
#[tokio::test(start_paused = true)]
async fn stop_is_carried_out_on_a_full_disk_through_restarts() {
    for exchanges_before_the_kill in 0..6 {
        let mut rig = Rig::with_tasks(2).await;
        rig.fill_disk();
        rig.coordinator.stop(task(1));
        rig.idle(exchanges_before_the_kill).await;
        rig.restart_agent().await;
        rig.fake.forget_calls();
        rig.until_stopped(task(1)).await;
        rig.idle(20).await;
        assert_eq!((rig.fake.count(Verb::Start), rig.runs()), (0, 1));

        rig.restart_agent().await;
        rig.idle(20).await;
        rig.free_disk();
        rig.restart_agent().await;
        rig.idle(20).await;
        assert_eq!((rig.fake.count(Verb::Start), rig.runs()), (0, 1));
        assert_eq!(rig.exchange().await.seen.unwrap().order, rig.coordinator.last_order);
    }
}

#[tokio::test(start_paused = true)]
async fn ledger_that_cannot_be_written_is_told_until_it_can() {
    let mut rig = Rig::with_tasks(1).await;
    assert_eq!(rig.exchange().await.storage, StorageHealth::Ready);
    rig.fill_disk();
    rig.coordinator.run(task(2), one());
    rig.idle(2).await;
    assert_eq!(rig.exchange().await.storage, StorageHealth::Unwritable);
    assert_eq!(rig.handle().storage(), StorageHealth::Unwritable);

    // Also while no poll comes with something to write.
    rig.pass(Duration::from_secs(60)).await;
    assert_eq!(rig.handle().storage(), StorageHealth::Unwritable);
    rig.free_disk();
    rig.pass(Duration::from_secs(20)).await;
    assert_eq!(rig.handle().storage(), StorageHealth::Ready);
    assert_eq!(rig.exchange().await.storage, StorageHealth::Ready);
    rig.until_running(task(2)).await;
}

/// What it could not write it cannot compare either; its tasks are told of all the same.
#[tokio::test(start_paused = true)]
async fn agent_on_a_full_disk_tells_a_new_start_that_it_has_looked() {
    let mut rig = Rig::with_tasks(2).await;
    rig.fill_disk();
    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.coordinator = rig.coordinator.restarted();
    for _ in 0..20 {
        if rig.exchange().await.looked == Some(true) {
            return;
        }
    }
    panic!("it never says so");
}

#[tokio::test(start_paused = true)]
async fn coordinator_of_before_one_that_was_obeyed_stops_nothing() {
    let mut rig = Rig::with_tasks(2).await;
    rig.fill_disk();
    let mut earlier = rig.coordinator.clone();
    rig.coordinator = rig.coordinator.restarted();
    rig.coordinator.stop(task(1));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    earlier.stop(task(2));
    let answer = rig.poll(earlier.request(0)).await;
    assert_eq!(answer.outcome, PollOutcome::Refused(Refusal::StaleEpoch));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn coordinator_of_before_one_that_was_heard_stops_nothing() {
    let mut rig = Rig::with_tasks(1).await;
    rig.fill_disk();
    let mut earlier = rig.coordinator.clone();
    rig.coordinator = rig.coordinator.restarted();
    // Neither this order nor the newer start can be written.
    rig.coordinator.run(task(2), one());
    rig.exchange().await;
    earlier.stop(task(1));
    let answer = rig.poll(earlier.request(0)).await;
    assert_eq!(answer.outcome, PollOutcome::Refused(Refusal::StaleEpoch));
    assert_eq!(rig.runs(), 1);
}
