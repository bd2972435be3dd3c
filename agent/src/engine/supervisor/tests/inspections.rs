//! That the agent has seen its containers is told with all that it saw, and not before.

use super::{failures::running, *};

/// Exchanges until an answer says that the agent has looked, and how many did not.
async fn until_looked(rig: &mut Rig) -> usize {
    for before in 0..1000 {
        if rig.exchange().await.looked == Some(true) {
            return before;
        }
    }
    panic!("it never has looked: {:?}", rig.fake.calls());
}

/// What may have become of a container while nobody watched.
const FATES: [&str; 3] = ["runs on", "ended", "is gone"];
/// What the container engine makes of the inspections that follow.
const ENGINES: [&str; 4] = ["answers", "is slow", "fails once", "is down at first"];

#[tokio::test(start_paused = true)]
async fn an_agent_says_it_has_looked_once_all_it_saw_is_said() {
    for (fate, engine) in FATES.iter().flat_map(|fate| ENGINES.map(|engine| (*fate, engine))) {
        let mut rig = running().await;
        rig.kill_agent().await;
        match fate {
            "ended" => rig.fake.exit("app", 137),
            "is gone" => rig.fake.remove_outside("app"),
            _ => {}
        }
        match engine {
            "is slow" => rig.fake.set_latency(Verb::Inspect, Duration::from_secs(5)),
            "fails once" => rig.fake.fail_next(Verb::Inspect, Fault::Hangs(Duration::from_secs(5))),
            "is down at first" => rig.fake.go_down(),
            _ => {}
        }
        rig.coordinator.tasks.clear();
        rig.start_agent();
        if engine == "is down at first" {
            for _ in 0..5 {
                assert_eq!(rig.exchange().await.looked, Some(false), "{fate}, engine {engine}");
            }
            rig.fake.come_up();
        }
        let before = until_looked(&mut rig).await;
        if ["is slow", "fails once"].contains(&engine) {
            assert!(before > 0, "{fate}, engine {engine}: it said so before it could know");
        }
        let said = rig.coordinator.tasks.get(&task(1)).map(|report| &report.phase);
        let is_true = match fate {
            "runs on" => matches!(said, Some(ReportedPhase::Running)),
            _ => matches!(said, Some(ReportedPhase::Stopping(_) | ReportedPhase::Stopped(_))),
        };
        assert!(is_true, "{fate}, engine {engine}: with that it said {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_is_looked_at_anew() {
    let mut rig = running().await;
    until_looked(&mut rig).await;
    rig.fake.go_down();
    rig.idle(3).await;
    assert_eq!(rig.exchange().await.looked, Some(false));
    rig.fake.exit("app", 137);
    rig.fake.set_latency(Verb::Inspect, Duration::from_secs(5));
    rig.fake.come_up();
    assert!(until_looked(&mut rig).await > 0);
    let said = &rig.coordinator.tasks[&task(1)].phase;
    assert!(matches!(said, ReportedPhase::Stopping(_) | ReportedPhase::Stopped(_)), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn one_container_that_is_never_shown_keeps_nobody_waiting_for_long() {
    let mut rig = running().await;
    rig.kill_agent().await;
    rig.fake.set_latency(Verb::Inspect, Duration::from_secs(3600));
    let started = tokio::time::Instant::now();
    rig.start_agent();
    until_looked(&mut rig).await;
    let waited = started.elapsed().as_secs();
    assert!((30..=35).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_its_ledger_has_not_looked_before_a_manifest() {
    let mut rig = running().await;
    rig.kill_agent().await;
    fs_err::remove_file(&rig.config.ledger).unwrap();
    rig.start_agent();
    for _ in 0..10 {
        assert_eq!(rig.exchange().await.looked, Some(false));
    }
    let manifest = rig.coordinator.manifest(500);
    let answer = rig.poll(manifest).await;
    rig.coordinator.take(&answer);
    until_looked(&mut rig).await;
    assert_eq!(rig.coordinator.tasks[&task(1)].phase, ReportedPhase::Running);
}
