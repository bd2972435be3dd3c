//! What others do to a task's containers behind the agent's back: for each change, what its task does.
//!
//! One rule holds for all: what the coordinator is told and what runs are the same. A task that
//! is said to be stopped has nothing that runs and holds ports; one that goes on shows the ports that
//! it has.

use super::*;
use crate::runtime::ByOthers;

/// What somebody does to a container.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// With so long between the end and the start.
    Restart(Duration),
    Stop,
    Kill,
    Start,
    Pause,
    Unpause,
    Rename,
    Update,
    Commit,
    Disconnect,
    Remove,
}

const CHANGES: [Change; 14] = [
    Change::Restart(Duration::ZERO),
    Change::Restart(Duration::from_millis(5)),
    Change::Restart(Duration::from_millis(40)),
    Change::Restart(Duration::from_secs(10)),
    Change::Stop,
    Change::Kill,
    Change::Start,
    Change::Pause,
    Change::Unpause,
    Change::Rename,
    Change::Update,
    Change::Commit,
    Change::Disconnect,
    Change::Remove,
];

/// When it is done.
#[derive(Clone, Copy, Debug)]
enum When {
    Running,
    /// The task was ordered to stop, and its container takes its time.
    Stopping,
    /// Its end is known to the coordinator; the container waits for its clean-up.
    Stopped,
    /// While no agent runs.
    AgentAway,
    /// While the container engine does not tell of it.
    EngineAway,
}

const WHEN: [When; 5] =
    [When::Running, When::Stopping, When::Stopped, When::AgentAway, When::EngineAway];

/// What the task does: it goes on, or it ends.
fn ends(change: Change, when: When) -> Option<bool> {
    match (when, change) {
        (When::Stopping | When::Stopped, _) => Some(true),
        (_, Change::Stop | Change::Kill | Change::Remove) => Some(true),
        // It goes on if it runs again before its end was concluded, and else it is stopped again.
        (_, Change::Restart(_)) => None,
        (
            _,
            Change::Start
            | Change::Pause
            | Change::Unpause
            | Change::Rename
            | Change::Update
            | Change::Commit
            | Change::Disconnect,
        ) => Some(false),
    }
}

impl Rig {
    async fn by_others(&mut self, name: &str, change: Change) {
        // The wall goes on, so that one run is told from the next.
        self.clock.advance(Duration::from_millis(7));
        let fake = self.fake.clone();
        match change {
            Change::Restart(between) => {
                fake.exit(name, 143);
                self.pass(between).await;
                self.clock.advance(Duration::from_millis(7));
                fake.start_outside(name);
            }
            Change::Stop => fake.exit(name, 143),
            Change::Kill => fake.exit(name, 137),
            Change::Start => fake.start_outside(name),
            Change::Pause => fake.change_outside(name, ByOthers::Paused),
            Change::Unpause => fake.change_outside(name, ByOthers::Unpaused),
            Change::Rename => fake.rename_outside(name, "another-name"),
            Change::Update => fake.change_outside(name, ByOthers::Updated),
            Change::Commit => fake.change_outside(name, ByOthers::Committed),
            Change::Disconnect => fake.disconnect_outside(name),
            Change::Remove => fake.remove_outside(name),
        }
    }

    /// What is told of the task is what there is of it.
    fn assert_told_what_is(&self, what: &str) -> bool {
        let report = &self.coordinator.tasks[&task(1)];
        let all = self.fake.containers();
        let running: Vec<_> = all.iter().filter(|c| c.state == RunState::Running).collect();
        assert!(all.len() <= 2, "{what}: there are {} containers", all.len());
        let ended = matches!(report.phase, ReportedPhase::Stopped(_));
        if ended {
            assert_eq!(running.len(), 0, "{what}: the task is STOPPED, and {running:?} run");
        } else {
            assert_eq!(report.phase, ReportedPhase::Running, "{what}");
            let names = ["app", "side"];
            for (name, told) in names.iter().zip(&report.containers) {
                let runs = running
                    .iter()
                    .any(|c| c.config.labels["com.amazonaws.ecs.container-name"] == **name);
                let said = told.status == ContainerStatus::Running;
                assert_eq!(said, runs, "{what}: {name} is said to be {:?}", told.status);
                if runs {
                    let held = self.fake.ports_held(name);
                    assert_eq!(told.network_bindings, held, "{what}: ports of {name}");
                }
            }
        }
        ended
    }
}

fn with_port(name: &str) -> ContainerDefinition {
    let port = PortMapping { container_port: Some(80), ..PortMapping::default() };
    ContainerDefinition { port_mappings: vec![port], ..container(name) }
}

/// A task with an essential container and another one, each with a port, on an engine that takes its
/// time to answer.
async fn two() -> Rig {
    let mut rig = Rig::new();
    rig.fake.add_image(
        IMAGE,
        Behaviour { stops_after: Duration::from_secs(5), ..Behaviour::default() },
    );
    rig.fake.set_latency(Verb::Inspect, Duration::from_millis(20));
    rig.fake.set_latency(Verb::LastLines, Duration::from_millis(20));
    rig.exchange().await;
    let side = ContainerDefinition { essential: Some(false), ..with_port("side") };
    rig.coordinator.run(task(1), spec(vec![with_port("app"), side]));
    rig.until(task(1), |r| r.containers.iter().all(|c| c.status == ContainerStatus::Running)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn every_change_by_others_leaves_no_copy_and_no_unseen_container() {
    let mut cells = 0;
    for change in CHANGES {
        for when in WHEN {
            for name in ["app", "side"] {
                let what = format!("{change:?} of {name}, {when:?}");
                let mut rig = two().await;
                match when {
                    When::Running => rig.by_others(name, change).await,
                    When::Stopping => {
                        rig.coordinator.stop(task(1));
                        rig.until(task(1), |r| matches!(r.phase, ReportedPhase::Stopping(_))).await;
                        rig.by_others(name, change).await;
                        rig.until_stopped(task(1)).await;
                    }
                    When::Stopped => {
                        rig.coordinator.stop(task(1));
                        rig.until_stopped(task(1)).await;
                        rig.idle(2).await;
                        rig.by_others(name, change).await;
                    }
                    When::AgentAway => {
                        rig.kill_agent().await;
                        rig.by_others(name, change).await;
                        rig.start_agent();
                    }
                    When::EngineAway => {
                        rig.fake.go_down();
                        rig.by_others(name, change).await;
                        rig.pass(Duration::from_secs(1)).await;
                        rig.fake.come_up();
                    }
                }
                // Well within the next comparison with the whole engine.
                rig.idle(120).await;
                let ended = rig.assert_told_what_is(&what);
                let expected = match name {
                    "app" => ends(change, when),
                    // What is not essential ends alone.
                    _ => Some(matches!(when, When::Stopping | When::Stopped)),
                };
                if let Some(expected) = expected {
                    assert_eq!(ended, expected, "{what}");
                }
                assert_eq!(rig.fake.count(Verb::Create), 2, "{what}: made again");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, CHANGES.len() * WHEN.len() * 2);
}
