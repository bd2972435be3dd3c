//! Who may begin, who may stop, and what a dependency that cannot be met does to the task.

use expect_test::{Expect, expect};
use longshore_common::task_definition::{
    ContainerDefinition, ContainerDependency, DependencyCondition, VolumeFrom,
};

use super::*;
use crate::{
    engine::plan::sample::{container, intent_of, rules},
    settings::PullPolicy,
    task::observed::{
        ContainerStage::{self, Absent, Created, Removed, Restarting, Running, Stopped, Unknown},
        record::ContainerRecord,
    },
};

/// `app` depends on `init`.
struct Pair {
    desired: DesiredTask,
    observed: ObservedTask,
}

fn depends(condition: DependencyCondition) -> ContainerDefinition {
    let depends_on = ContainerDependency { container_name: "init".to_owned(), condition };
    ContainerDefinition { depends_on: vec![depends_on], ..container("app") }
}

fn pair(app: ContainerDefinition) -> Pair {
    let init = ContainerDefinition {
        essential: Some(false),
        health_check: Some(serde_json::from_str(r#"{"command":["CMD","true"]}"#).unwrap()),
        start_timeout: Some(5),
        ..container("init")
    };
    let desired = DesiredTask::of(intent_of(vec![app, init]), &rules());
    let observed = ObservedTask::new(&desired, PullPolicy::default());
    Pair { desired, observed }
}

impl Pair {
    fn init(mut self, change: impl FnOnce(&mut ObservedContainer)) -> Self {
        change(&mut self.observed.containers[1]);
        self
    }

    fn at(&self, now: u64) -> String {
        match never_begins(&self.desired, &self.observed, Timestamp(now)) {
            Some((_, why)) => why,
            None if may_begin(&self.desired, &self.observed, 0) => "begins".to_owned(),
            None => match next_deadline(&self.desired, &self.observed) {
                Some(at) => format!("waits until {}", at.0),
                None => "waits".to_owned(),
            },
        }
    }
}

const STATES: [ContainerStage; 7] =
    [Unknown, Absent, Created, Running, Restarting, Stopped, Removed];

fn ran(container: &mut ObservedContainer, state: ContainerStage, exit_code: Option<i32>) {
    container.state = record(state, exit_code, None).into_state();
}

fn record(
    state: ContainerStage,
    exit_code: Option<i32>,
    health: Option<HealthStatus>,
) -> ContainerRecord {
    let ever_ran = !matches!(state, Unknown | Absent | Created);
    ContainerRecord {
        state,
        id: (ever_ran || state == Created).then(|| "id".to_owned()),
        ever_ran,
        started_at: ever_ran.then_some(Timestamp(1000)),
        exit_code: exit_code.or((state == Restarting).then_some(3)),
        health,
        ..ContainerRecord::default()
    }
}

fn check(app: ContainerDefinition, exit_code: i32, expected: Expect) {
    let mut table = String::new();
    for state in STATES {
        let ended = matches!(state, Stopped | Removed);
        let pair = pair(app.clone()).init(|init| ran(init, state, ended.then_some(exit_code)));
        let name = format!("{state:?}");
        table += &format!("{name:<10} {}\n", pair.at(2000));
    }
    expected.assert_eq(&table);
}

#[test]
fn start_is_met_by_what_runs_or_has_run() {
    check(
        depends(DependencyCondition::Start),
        3,
        expect![[r#"
            Unknown    waits
            Absent     waits
            Created    waits
            Running    begins
            Restarting begins
            Stopped    begins
            Removed    begins
        "#]],
    );
}

#[test]
fn complete_is_met_by_any_end() {
    check(
        depends(DependencyCondition::Complete),
        3,
        expect![[r#"
            Unknown    waits
            Absent     waits
            Created    waits
            Running    waits until 6000
            Restarting waits until 6000
            Stopped    begins
            Removed    begins
        "#]],
    );
}

#[test]
fn success_is_met_by_exit_code_0_alone() {
    check(
        depends(DependencyCondition::Success),
        0,
        expect![[r#"
            Unknown    waits
            Absent     waits
            Created    waits
            Running    waits until 6000
            Restarting waits until 6000
            Stopped    begins
            Removed    begins
        "#]],
    );
    check(
        depends(DependencyCondition::Success),
        3,
        expect![[r#"
            Unknown    waits
            Absent     waits
            Created    waits
            Running    waits until 6000
            Restarting waits until 6000
            Stopped    CannotStartContainerError: container app depends on init, which ended with exit code 3 before it was a SUCCESS
            Removed    CannotStartContainerError: container app depends on init, which ended with exit code 3 before it was a SUCCESS
        "#]],
    );
}

#[test]
fn healthy_is_met_by_a_check_that_passes_while_it_runs() {
    check(
        depends(DependencyCondition::Healthy),
        0,
        expect![[r#"
            Unknown    waits
            Absent     waits
            Created    waits
            Running    waits until 6000
            Restarting waits until 6000
            Stopped    CannotStartContainerError: container app depends on init, which ended with exit code 0 before it was HEALTHY
            Removed    CannotStartContainerError: container app depends on init, which ended with exit code 0 before it was HEALTHY
        "#]],
    );
    let healthy = |state| {
        pair(depends(DependencyCondition::Healthy)).init(|init| {
            init.state = record(state, None, Some(HealthStatus::Healthy)).into_state();
        })
    };
    assert_eq!(healthy(Running).at(2000), "begins");
    assert_eq!(healthy(Restarting).at(2000), "waits until 6000");
}

#[test]
fn what_never_ran_meets_nothing() {
    for condition in [
        DependencyCondition::Start,
        DependencyCondition::Complete,
        DependencyCondition::Success,
        DependencyCondition::Healthy,
    ] {
        let pair = pair(depends(condition)).init(|init| {
            let never_ran = ContainerRecord { state: Stopped, ..ContainerRecord::default() };
            init.state = never_ran.into_state();
        });
        assert_eq!(
            pair.at(2000),
            "CannotStartContainerError: container app depends on init, which never ran",
        );
    }
}

#[test]
fn a_start_timeout_counts_from_the_dependencys_start_and_ends_the_wait() {
    let running =
        || pair(depends(DependencyCondition::Complete)).init(|init| ran(init, Running, None));
    assert_eq!(running().at(5999), "waits until 6000");
    assert_eq!(
        running().at(6000),
        "CannotStartContainerError: container app depends on init, which was not COMPLETE within \
         its startTimeout of 5 s",
    );
    let mut begun = running();
    begun.observed.containers[0].state = ContainerState::sample(Created, "id");
    assert_eq!(begun.at(6000), "waits", "what was begun with is not given up");
}

#[test]
fn links_wait_for_a_start_and_volumes_from_for_a_container() {
    let links = ContainerDefinition { links: vec!["init:db".to_owned()], ..container("app") };
    let from = VolumeFrom { source_container: Some("init".to_owned()), read_only: None };
    let volumes = ContainerDefinition { volumes_from: vec![from], ..container("app") };
    let at =
        |app: ContainerDefinition, state| pair(app).init(|init| ran(init, state, None)).at(2000);
    assert_eq!(at(links.clone(), Created), "waits");
    assert_eq!(at(links, Running), "begins");
    assert_eq!(at(volumes.clone(), Absent), "waits");
    assert_eq!(at(volumes, Created), "begins");
}

#[test]
fn a_container_stops_after_those_that_depend_on_it() {
    let stops = |app| {
        let mut pair =
            pair(depends(DependencyCondition::Start)).init(|init| ran(init, Running, None));
        pair.observed.containers[0].state = ContainerState::sample(app, "id");
        let both = [0, 1].map(|index| may_stop(&pair.desired, &pair.observed, index));
        (both[0], both[1])
    };
    for state in STATES {
        let over = !matches!(state, Unknown | Running);
        assert_eq!(stops(state), (true, over), "{state:?}");
    }
}
