//! DiskSpace: what goes when it is short, what is refused when there is none, and what never is touched.

use std::path::PathBuf;

use super::*;
use crate::host::disk::{self, Disk, DiskMonitor, DiskSpace, FileSystemUsage};

fn of_image(image: &str) -> TaskSpec {
    spec(vec![ContainerDefinition { image: Some(image.into()), ..container("app") }])
}

fn disk(room: DiskSpace) -> Disk {
    let file_system = FileSystemUsage {
        path: PathBuf::from("/var/lib/docker"),
        bytes: 1000,
        free_bytes: 30,
        used_percent: 97,
        inodes_used_percent: 4,
    };
    Disk { room, whole: true, file_systems: vec![file_system] }
}

/// Who shows the engine what the disk is like.
fn rig() -> (Rig, DiskMonitor) {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut EngineConfig)) -> (Rig, DiskMonitor) {
    let (monitor, watch) = disk::monitor();
    let rig = Rig::with(|config| {
        config.disk = Some(watch);
        change(config);
    });
    for image in ["a", "b", "c"] {
        rig.fake.publish_image(image, Behaviour::default());
    }
    (rig, monitor)
}

impl Rig {
    async fn ran_and_stopped(&mut self, number: u128, image: &str) {
        self.coordinator.run(task(number), of_image(image));
        self.until_running(task(number)).await;
        self.coordinator.stop(task(number));
        self.until_stopped(task(number)).await;
        // Each stops at a time of its own.
        self.pass(Duration::from_secs(1)).await;
        self.idle(2).await;
    }

    fn images(&self) -> Vec<String> {
        let ids = self.fake.image_ids().into_iter();
        ids.map(|id| id.replace("sha256:id-of-", "")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn cleanup_keeps_only_the_newest_stopped_tasks_when_room_is_short() {
    let (mut rig, monitor) = rig();
    rig.exchange().await;
    rig.coordinator.run(task(9), of_image("c"));
    rig.until_running(task(9)).await;
    rig.ran_and_stopped(1, "a").await;
    rig.ran_and_stopped(2, "b").await;
    assert_eq!(rig.fake.containers().len(), 3);
    monitor.seen.send_replace(disk(DiskSpace::Short));
    rig.idle(20).await;
    let left: Vec<String> =
        rig.fake.containers().into_iter().map(|container| container.config.image).collect();
    assert_eq!(left, ["c", "b"]);
    // The image of before was not pulled by anyone, and stays.
    assert_eq!(rig.images(), ["b", "c", IMAGE]);
    // It is still taken, and what is left over is looked at again while room is short.
    rig.ran_and_stopped(3, "a").await;
    rig.pass(Duration::from_secs(120)).await;
    rig.idle(20).await;
    assert_eq!(rig.images(), ["a", "c", IMAGE]);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_new_task_is_refused_by_a_reason_that_says_what_to_do() {
    let (mut rig, monitor) = rig();
    rig.exchange().await;
    rig.coordinator.run(task(1), of_image("a"));
    rig.until_running(task(1)).await;
    monitor.seen.send_replace(disk(DiskSpace::Lacking));
    rig.idle(2).await;
    rig.coordinator.run(task(2), of_image("b"));
    let (cause, _) = rig.until_stopped(task(2)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    expect_test::expect!["ResourceInitializationError: no space left on this host: the file system of /var/lib/docker has 30 of 1000 bytes free (97 % used, 4 % of its inodes); remove what it need not hold (`docker system prune`), make it larger, or change disk-refuse-at and disk-floor"]
        .assert_eq(&cause.reason);
    assert_eq!(rig.fake.count(Verb::Pull), 1);
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    // A restart refuses nothing that was taken, and the host recovers.
    rig.restart_agent().await;
    rig.idle(2).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    monitor.seen.send_replace(disk(DiskSpace::Enough));
    rig.idle(2).await;
    rig.coordinator.run(task(3), of_image("b"));
    rig.until_running(task(3)).await;
}

/// Without its ledger the agent is told of all its tasks anew, here before it could see any of them.
#[tokio::test(start_paused = true)]
async fn lost_ledger_stops_nothing_that_runs_when_there_is_no_room() {
    let (mut rig, monitor) = rig();
    rig.exchange().await;
    rig.coordinator.run(task(1), of_image("a"));
    rig.until_running(task(1)).await;
    monitor.seen.send_replace(disk(DiskSpace::Lacking));
    rig.kill_agent().await;
    std::fs::remove_file(&rig.config.ledger).unwrap();
    // The first listing takes its time; this task was ordered while nobody was there.
    rig.fake.fail_next(Verb::List, Fault::Hangs(Duration::from_secs(50)));
    rig.start_agent();
    rig.coordinator.run(task(2), of_image("b"));
    rig.coordinator.tasks.clear();
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    rig.coordinator.take(&answer);

    let (cause, _) = rig.until_stopped(task(2)).await;
    assert!(cause.reason.contains("no space left on this host"), "{cause:?}");
    rig.until_running(task(1)).await;
    rig.idle(20).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
    assert_eq!((rig.fake.count(Verb::Stop), rig.fake.count(Verb::Start)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn room_is_told_at_once_when_all_was_read() {
    use {DiskSpace::*, StorageHealth::*};
    let (mut rig, monitor) = rig();
    rig.exchange().await;
    assert_eq!(rig.exchange().await.storage, Unknown);
    let mut was = Unknown;
    for (room, whole, told) in [
        // Docker has not told yet where its data is.
        (Enough, false, Unknown),
        (Enough, true, Ready),
        (Short, true, Ready),
        (Lacking, true, Full),
        (Short, true, Ready),
    ] {
        let before = tokio::time::Instant::now();
        monitor.seen.send_replace(Disk { whole, ..disk(room) });
        let request = rig.coordinator.request(10_000);
        let answer = rig.poll(request).await;
        rig.coordinator.take(&answer);
        assert_eq!((answer.storage, rig.handle().storage()), (told, told));
        let at_once = before.elapsed() < Duration::from_secs(1);
        assert_eq!(at_once, told != was, "a poll that was kept leaves with the news");
        was = told;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_without_space_makes_room_and_is_tried_again() {
    let (mut rig, monitor) = rig();
    rig.exchange().await;
    rig.ran_and_stopped(1, "a").await;
    rig.ran_and_stopped(2, "b").await;
    monitor.seen.send_replace(disk(DiskSpace::Enough));
    let message = "write /var/lib/docker/tmp/GetImageBlob7: no space left on device";
    let fault = || Fault::Fails(Unknown::Engine { message: message.into() }.into());
    rig.fake.fail_next(Verb::Pull, fault());
    rig.coordinator.run(task(3), of_image("c"));
    rig.until_running(task(3)).await;
    assert_eq!(rig.images(), ["b", "c", IMAGE]);

    // As often as any pull; then it says why.
    (0..5).for_each(|_| rig.fake.fail_next(Verb::Pull, fault()));
    rig.coordinator.run(task(4), of_image("a"));
    let (cause, _) = rig.until_stopped(task(4)).await;
    let expected = format!(
        "CannotPullContainerError: image a was tried 5 times: {message}; the file system of \
         /var/lib/docker has 30 "
    );
    assert!(cause.reason.starts_with(&expected), "{}", cause.reason);
}

#[tokio::test(start_paused = true)]
async fn of_stopped_tasks_only_so_many_are_kept() {
    let (mut rig, _monitor) = rig_with(|config| config.stopped_tasks_kept = 2);
    rig.exchange().await;
    for number in 1..=4 {
        rig.ran_and_stopped(number, IMAGE).await;
    }
    rig.idle(4).await;
    assert_eq!(rig.fake.containers().len(), 2);
    let kept: Vec<TaskId> =
        rig.handle().tasks().await.unwrap().into_iter().map(|known| known.task).collect();
    assert_eq!(kept, [task(3), task(4)]);
    rig.pass(CLEANUP_WAIT).await;
    rig.idle(4).await;
    assert_eq!(rig.fake.containers().len(), 0);
}
