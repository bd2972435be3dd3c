//! Stops: what waits for one, and how long it takes whoever restarts meanwhile.

use longshore_common::clock::Clock;

use super::*;

const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

fn slow(name: &str, stop_timeout: u32) -> ContainerDefinition {
    ContainerDefinition {
        image: Some("slow:1".into()),
        stop_timeout: Some(stop_timeout),
        ..container(name)
    }
}

fn rig() -> Rig {
    let rig = Rig::new();
    rig.fake.add_image("slow:1", Behaviour { stops_after: NEVER, ..Behaviour::default() });
    rig
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_stops_whose_grace_runs() {
    const SLOW: u128 = 200;
    let mut rig = rig();
    rig.exchange().await;
    for number in 1..=SLOW {
        rig.coordinator.run(task(number), spec(vec![slow("app", 120)]));
    }
    let others = SLOW + 1..=SLOW + 3;
    for number in others.clone() {
        rig.coordinator.run(task(number), one());
    }
    for number in 1..=SLOW + 3 {
        rig.until_running(task(number)).await;
    }
    let since = rig.clock.monotonic();
    for number in 1..=SLOW {
        rig.coordinator.stop(task(number));
    }
    rig.until(task(SLOW), |r| matches!(r.phase, ReportedPhase::Stopping(_))).await;
    rig.idle(1).await;
    assert_eq!(rig.fake.count(Verb::Stop), SLOW as usize, "some wait for their signal");
    // Beside them: an exit is seen, a task is stopped, another one starts and shows its ports.
    rig.fake.exit(&container_of(&rig, SLOW + 1), 3);
    rig.coordinator.stop(task(SLOW + 2));
    let port = PortMapping { container_port: Some(80), ..PortMapping::default() };
    let with_port = ContainerDefinition { port_mappings: vec![port], ..container("app") };
    rig.coordinator.run(task(SLOW + 4), spec(vec![with_port]));
    rig.until_stopped(task(SLOW + 1)).await;
    rig.until_stopped(task(SLOW + 2)).await;
    let started = rig.until_running(task(SLOW + 4)).await;
    assert_eq!(started.containers[0].network_bindings.len(), 1);
    let took = rig.clock.monotonic().since(since);
    assert!(took < Duration::from_secs(60), "they waited {took:?} for others' grace");
    rig.until_stopped(task(1)).await;
}

fn container_of(rig: &Rig, number: u128) -> String {
    let id = task(number).to_string();
    let all = rig.fake.containers();
    all.iter().find(|c| c.config.labels["longshore.task"] == id).unwrap().id.clone()
}

/// How long a stop of a container that never ends by itself took, with `meanwhile` in its middle.
async fn stop_takes(meanwhile: impl AsyncFnOnce(&mut Rig)) -> Duration {
    let mut rig = rig();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![slow("app", 30)]));
    rig.until_running(task(1)).await;
    rig.coordinator.stop(task(1));
    rig.until(task(1), |r| matches!(r.phase, ReportedPhase::Stopping(_))).await;
    rig.pass(Duration::from_secs(20)).await;
    meanwhile(&mut rig).await;
    let (_, report) = rig.until_stopped(task(1)).await;
    let finished = report.containers[0].finished_at.unwrap();
    finished.since(report.stopping_at.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_one_deadline_whoever_restarts() {
    let undisturbed = stop_takes(async |_| {}).await;
    let agent = stop_takes(async |rig| rig.restart_agent().await).await;
    let engine = stop_takes(async |rig| {
        rig.fake.go_down();
        rig.pass(Duration::from_secs(1)).await;
        rig.fake.come_up();
    })
    .await;
    for (what, took) in [("nobody", undisturbed), ("agent", agent), ("engine", engine)] {
        // As exactly as a poll lets time pass.
        assert!((29..=31).contains(&took.as_secs()), "{what}: it took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_timeout_of_zero_is_the_hosts() {
    let mut rig = rig();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![slow("app", 0)]));
    rig.until_running(task(1)).await;
    let labels = &rig.fake.containers()[0].config.labels;
    assert_eq!(labels["longshore.stop-timeout-seconds"], "30");
    rig.coordinator.stop(task(1));
    let (_, report) = rig.until_stopped(task(1)).await;
    let took = report.containers[0].finished_at.unwrap().since(report.stopping_at.unwrap());
    assert!((29..=31).contains(&took.as_secs()), "{took:?}");
}
