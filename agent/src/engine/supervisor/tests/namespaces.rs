//! Tasks whose containers share namespaces, which the pause container holds.

use longshore_common::task_definition::{IpcMode, PidMode};

use super::*;
use crate::{
    pause::REFERENCE,
    runtime::{IpcNamespace, PidNamespace},
};

const PAUSE: &str = "~internal~ecs~pause";

fn sharing(containers: Vec<ContainerDefinition>) -> TaskSpec {
    TaskSpec { pid_mode: Some(PidMode::Task), ipc_mode: Some(IpcMode::Task), ..spec(containers) }
}

fn two() -> TaskSpec {
    sharing(vec![container("app"), container("side")])
}

/// What was done to which container, in its order.
fn done(rig: &Rig) -> Vec<String> {
    let all = rig.fake.containers();
    let name = |target: &String| {
        let found = all.iter().find(|c| c.id == *target || c.name == *target)?;
        Some(found.config.labels["com.amazonaws.ecs.container-name"].clone())
    };
    let verbs = [Verb::Start, Verb::Stop, Verb::Kill];
    let calls = rig.fake.calls();
    let calls = calls.iter().filter(|call| verbs.contains(&call.verb));
    calls.filter_map(|c| Some(format!("{:?} {}", c.verb, name(&c.target)?))).collect()
}

fn starts(rig: &Rig) -> Vec<u32> {
    rig.fake.containers().iter().map(|c| c.starts).collect()
}

#[tokio::test(start_paused = true)]
async fn the_pause_container_comes_first_goes_last_and_is_reported_to_nobody() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), two());
    let report = rig.until_running(task(1)).await;
    let names: Vec<_> = report.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["app", "side"]);
    let shown = rig.handle().tasks().await.unwrap();
    assert_eq!(shown[0].containers.len(), 2, "{shown:?}");

    let containers = rig.fake.containers();
    let pause = containers.iter().find(|c| c.config.image == *REFERENCE).unwrap();
    for container in containers.iter().filter(|c| c.id != pause.id) {
        let linux = &container.config.linux;
        assert_eq!(linux.processes, PidNamespace::Container(pause.name.clone()));
        assert_eq!(linux.ipc, IpcNamespace::Container(pause.name.clone()));
    }
    rig.coordinator.stop(task(1));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    let done = done(&rig);
    assert_eq!(done[0], format!("Start {PAUSE}"));
    assert_eq!(*done.last().unwrap(), format!("Kill {PAUSE}"), "{done:?}");
    assert!(!done.contains(&format!("Stop {PAUSE}")), "{done:?}");

    rig.pass(CLEANUP_WAIT).await;
    rig.idle(4).await;
    assert_eq!(rig.fake.containers(), []);
    assert_eq!(rig.fake.count(Verb::Pull), 0);
}

#[tokio::test(start_paused = true)]
async fn its_image_is_made_once_and_again_when_somebody_has_removed_it() {
    let mut rig = Rig::new();
    rig.exchange().await;
    for number in [1, 2] {
        rig.coordinator.run(task(number), two());
        rig.until_running(task(number)).await;
    }
    assert_eq!(rig.fake.count(Verb::Load), 1);
    rig.fake.remove_image_outside(&REFERENCE);
    rig.coordinator.run(task(3), two());
    rig.until_running(task(3)).await;
    assert_eq!(rig.fake.count(Verb::Load), 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_engine_does_not_take_fails_the_task_with_its_words() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let full = RuntimeError::Rejected { message: "no space left on device".into() };
    rig.fake.fail_next(Verb::Load, Fault::Fails(full));
    rig.coordinator.run(task(1), two());
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert_eq!(cause.reason, "CannotPullContainerError: no space left on device");
    assert_eq!(report.containers.len(), 2);
    assert_eq!(rig.fake.containers(), []);
}

#[tokio::test(start_paused = true)]
async fn its_end_is_the_tasks_and_the_reason() {
    for also_killed in [false, true] {
        let mut rig = Rig::new();
        rig.exchange().await;
        rig.coordinator.run(task(1), two());
        rig.until_running(task(1)).await;
        rig.idle(2).await;
        // The end of a process namespace kills what is in it: that may be seen first.
        if also_killed {
            for name in ["app", "side"] {
                rig.fake.end_process(name);
            }
        }
        rig.fake.end_process(PAUSE);
        rig.idle(1).await;
        if also_killed {
            rig.fake.exit("app", 137);
            rig.fake.exit("side", 137);
        }
        rig.fake.exit(PAUSE, 137);
        let (cause, _) = rig.until_stopped(task(1)).await;
        assert_eq!(cause.code, StopCode::EssentialContainerExited);
        assert!(cause.reason.contains(PAUSE), "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_another_container_is_its_own() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), two());
    rig.until_running(task(1)).await;
    rig.fake.exit("app", 3);
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.reason, "Essential container in task exited");
    assert_eq!(report.containers[0].exit_code, Some(3));
    let done = done(&rig);
    assert_eq!(done[3..], ["Stop side".to_owned(), format!("Kill {PAUSE}")]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_it_with_and_without_its_ledger() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), two());
    rig.until_running(task(1)).await;
    rig.restart_agent().await;
    rig.idle(4).await;
    assert_eq!(starts(&rig), [1, 1, 1]);

    rig.kill_agent().await;
    fs_err::remove_file(&rig.config.ledger).unwrap();
    rig.start_agent();
    rig.exchange().await;
    let manifest = rig.coordinator.manifest(0);
    let answer = rig.poll(manifest).await;
    rig.coordinator.take(&answer);
    rig.idle(4).await;
    assert_eq!(starts(&rig), [1, 1, 1]);
    assert_eq!(rig.coordinator.candidates, []);

    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    assert_eq!(*done(&rig).last().unwrap(), format!("Kill {PAUSE}"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_at_any_call_of_the_start_makes_each_container_once() {
    let calls = [(Verb::Load, 1), (Verb::Create, 1), (Verb::Start, 1), (Verb::Create, 2)];
    for (verb, count) in calls {
        let mut rig = Rig::new();
        rig.exchange().await;
        rig.coordinator.run(task(1), two());
        let mut exchanges = 0;
        while rig.fake.count(verb) < count {
            tokio::task::yield_now().await;
            if exchanges < 2 {
                rig.exchange().await;
                exchanges += 1;
            }
        }
        rig.restart_agent().await;
        rig.until_running(task(1)).await;
        assert_eq!(starts(&rig), [1, 1, 1], "killed at {verb:?} {count}");
    }
}
