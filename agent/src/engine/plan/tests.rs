//! The step that each state of a container calls for.

use expect_test::{Expect, expect};
use longshore_common::{
    clock::Timestamp,
    task::{StopCause, StopCode},
};

use super::{
    sample::{KEY, intent, rules},
    *,
};
use crate::{
    settings::PullPolicy,
    task::{
        labels,
        observed::{
            CallOutcome,
            ContainerStage::{
                self, Absent, Created, Removed, Restarting, Running, Stopped, Unknown,
            },
            ObservedContainer, PullState,
            record::ContainerRecord,
        },
    },
};

/// A task in one state, which is to run unless a test says otherwise.
#[derive(Clone)]
struct Case {
    desired: DesiredTask,
    observed: ObservedTask,
    cleanup_due: bool,
}

type Wish = fn(Case) -> Case;

/// A task whose containers are in these states.
fn task_of(containers: &[(&str, ContainerStage)]) -> Case {
    let names: Vec<&str> = containers.iter().map(|(name, _)| *name).collect();
    let desired = DesiredTask::of(intent(&names), &rules());
    let mut observed = ObservedTask::new(&desired, PullPolicy::default());
    for ((name, stage), container) in containers.iter().zip(&mut observed.containers) {
        container.state = ContainerState::sample(*stage, &format!("id-of-{name}"));
    }
    Case { desired, observed, cleanup_due: false }
}

fn app(state: ContainerStage) -> Case {
    task_of(&[("app", state)])
}

impl Case {
    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn stopping(self) -> Self {
        let cause = StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() };
        self.but(|case| case.desired.stop = Some(cause))
    }

    /// Calls to stop its first container were made, and it runs on.
    fn stopped(mut self, calls: u32) -> Self {
        self.observed.settle(&self.desired, Timestamp(0));
        for _ in 0..calls {
            let call = CallOutcome::Stopped(Ok(()));
            self.observed.record(&self.desired, 0, call, &rules(), Timestamp(0));
        }
        self.container(|c| (c.activity, c.doubt) = (Activity::Idle, false))
    }

    fn cleaned_up(self) -> Self {
        self.stopping().but(|case| case.cleanup_due = true)
    }

    fn container(self, change: impl FnOnce(&mut ObservedContainer)) -> Self {
        self.but(|case| change(&mut case.observed.containers[0]))
    }

    fn steps(&self) -> Vec<Option<Step>> {
        let Case { desired, observed, cleanup_due } = self;
        let step =
            |index| next_step(desired, observed, index, &rules(), *cleanup_due, Timestamp(0));
        (0..desired.containers.len()).map(step).collect()
    }

    fn in_words(&self) -> String {
        self.steps().iter().map(in_words).collect::<Vec<_>>().join(", ")
    }
}

fn in_words(step: &Option<Step>) -> String {
    match step {
        None => "nothing".to_owned(),
        Some(Step::Pull { source }) => format!("pull {}", source.reference),
        Some(Step::Load { reference }) => format!("load {reference}"),
        Some(Step::Create { name, .. }) => format!("create {name}"),
        Some(Step::Start { id, .. }) => format!("start {id}"),
        Some(Step::Inspect { target }) => format!("inspect {target}"),
        Some(Step::Stop { id, grace }) => format!("stop {id} within {grace:?}"),
        Some(Step::Kill { id }) => format!("kill {id}"),
        Some(Step::Remove { id }) => format!("remove {id}"),
        Some(Step::LastLines { id }) => format!("read last lines of {id}"),
    }
}

/// A line a case: what it is, and the next step of each container.
fn check<const N: usize>(cases: [(&str, Case); N], expected: Expect) {
    let line = |(what, case): &(&str, Case)| format!("{what}: {}\n", case.in_words());
    expected.assert_eq(&cases.iter().map(line).collect::<String>());
}

#[test]
fn every_state_of_a_container_has_its_step() {
    let wishes: [(&str, Wish); 5] = [
        ("to run", |case| case),
        ("only the ledger tells of it", |case| case.but(|c| c.desired.confirmed = false)),
        ("only its labels tell of it", |case| case.but(|c| c.desired.intent = None)),
        ("to stop", Case::stopping),
        ("over, to be cleaned up", Case::cleaned_up),
    ];
    let states = [Unknown, Absent, Created, Running, Restarting, Stopped, Removed];
    let mut table = String::new();
    for (wish, wished) in wishes {
        table += &format!("{wish}\n");
        for state in states {
            let state_name = format!("{state:?}");
            table += &format!("  {state_name:<10} {}\n", wished(app(state)).in_words());
        }
    }
    expect![[r#"
        to run
          Unknown    nothing
          Absent     create ecs-web-3-app-21337730333a4173021a
          Created    start id-of-app
          Running    nothing
          Restarting start id-of-app
          Stopped    nothing
          Removed    nothing
        only the ledger tells of it
          Unknown    nothing
          Absent     nothing
          Created    nothing
          Running    nothing
          Restarting nothing
          Stopped    nothing
          Removed    nothing
        only its labels tell of it
          Unknown    nothing
          Absent     nothing
          Created    nothing
          Running    nothing
          Restarting nothing
          Stopped    nothing
          Removed    nothing
        to stop
          Unknown    nothing
          Absent     nothing
          Created    nothing
          Running    stop id-of-app within 30s
          Restarting nothing
          Stopped    nothing
          Removed    nothing
        over, to be cleaned up
          Unknown    nothing
          Absent     nothing
          Created    remove id-of-app
          Running    stop id-of-app within 30s
          Restarting remove id-of-app
          Stopped    remove id-of-app
          Removed    nothing
    "#]]
    .assert_eq(&table);
}

#[test]
fn an_image_that_is_needed_is_pulled_before_the_create() {
    let needed = app(Absent).container(|c| c.pull = PullState::NEEDED);
    check(
        [
            ("needed", needed.clone()),
            ("needed, to stop", needed.clone().stopping()),
            ("needed, unconfirmed", needed.but(|case| case.desired.confirmed = false)),
            ("pulled", app(Absent).container(|c| c.pull = PullState::Done)),
        ],
        expect![[r#"
            needed: pull web:1
            needed, to stop: nothing
            needed, unconfirmed: nothing
            pulled: create ecs-web-3-app-21337730333a4173021a
        "#]],
    );
}

#[test]
fn nothing_is_done_while_a_call_is_under_way_or_a_pause_lasts() {
    let [absent, running] =
        [Absent, Running].map(|state| app(state).container(|c| c.doubt = true).stopping());
    check(
        [
            ("absent, a call", absent.clone().container(|c| c.call_leaves(Call::Other))),
            ("absent, a pause", absent.container(|c| c.activity = Activity::Waiting)),
            ("running, a call", running.clone().container(|c| c.call_leaves(Call::Other))),
            ("running, a pause", running.container(|c| c.activity = Activity::Waiting)),
        ],
        expect![[r#"
            absent, a call: nothing
            absent, a pause: nothing
            running, a call: nothing
            running, a pause: nothing
        "#]],
    );
}

#[test]
fn doubt_is_cleared_before_anything_else() {
    let doubtful = |state| app(state).container(|c| c.doubt = true);
    check(
        [
            ("absent", doubtful(Absent)),
            ("created", doubtful(Created)),
            ("running, to stop", doubtful(Running).stopping()),
            ("stopped, to clean up", doubtful(Stopped).cleaned_up()),
        ],
        expect![[r#"
            absent: inspect ecs-web-3-app-21337730333a4173021a
            created: inspect id-of-app
            running, to stop: inspect id-of-app
            stopped, to clean up: inspect id-of-app
        "#]],
    );
}

#[test]
fn a_stop_takes_the_time_that_the_definition_gives_and_becomes_a_kill() {
    let stop = app(Running).stopping();
    let short = Duration::from_secs(5);
    check(
        [
            ("the agent's time", stop.clone()),
            ("its own", stop.clone().but(|case| case.desired.containers[0].stop_grace = short)),
            ("failed once", stop.clone().stopped(1)),
            ("failed twice", stop.stopped(2)),
        ],
        expect![[r#"
            the agent's time: stop id-of-app within 30s
            its own: stop id-of-app within 5s
            failed once: stop id-of-app within 30s
            failed twice: kill id-of-app
        "#]],
    );
}

#[test]
fn a_task_that_stops_by_itself_stops_what_still_runs_of_it() {
    let task = task_of(&[("app", Stopped), ("log", Running), ("b", Created), ("c", Absent)]);
    check(
        [("essential", task.but(|case| case.observed.settle(&case.desired, Timestamp(1))))],
        expect![[r#"
            essential: nothing, stop id-of-log within 30s, nothing, nothing
        "#]],
    );
}

#[test]
fn a_container_without_an_id_is_left_alone() {
    let lost = |stage| {
        let record = ContainerRecord { state: stage, ever_ran: true, ..Default::default() };
        app(stage).container(|c| c.state = record.into_state())
    };
    check(
        [
            ("created", lost(Created)),
            ("running, to stop", lost(Running).stopping()),
            ("stopped, to clean up", lost(Stopped).cleaned_up()),
        ],
        expect![[r#"
            created: nothing
            running, to stop: nothing
            stopped, to clean up: nothing
        "#]],
    );
}

#[test]
fn container_is_created_by_its_definition_under_a_fixed_name() {
    let steps = app(Absent).steps();
    let [Some(Step::Create { name, config, .. })] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(*name, crate::task::names::docker_name("web", 3, "app", KEY));
    assert_eq!(
        **config,
        container_config::container_config(&intent(&["app"]), 0, &rules()).unwrap(),
    );
    assert_eq!(labels::task_of(&config.labels, &rules()), Some(KEY));
    assert_eq!(steps, app(Absent).steps());
}
