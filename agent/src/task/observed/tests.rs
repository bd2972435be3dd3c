//! What each outcome, event and listing teaches of a container, and what is reported then.

use std::time::Duration;

use expect_test::{Expect, expect};
use longshore_common::{
    protocol::ReportedPhase,
    task::{HealthStatus, StopCode},
    task_definition::{ContainerDefinition, HealthCheck, PortMapping},
};

use super::{
    container::OUT_OF_MEMORY,
    record::{ContainerRecord, TaskRecord},
    *,
};
use crate::{
    engine::{
        plan::{
            Step, next_step,
            sample::{container, intent, intent_of, rules},
        },
        report,
    },
    runtime::{ContainerChange, ContainerDetails, RunState, RuntimeError, Unknown},
    task::rules::Rules,
};

mod failures;
mod news;

const ID: &str = "id-of-app";

/// What happens to a container named `app`, line by line. Its steps are those that are planned.
struct History {
    desired: DesiredTask,
    observed: ObservedTask,
    rules: Rules,
    cleanup_due: bool,
    now: Timestamp,
    told: String,
}

fn history() -> History {
    history_of(vec![container("app")], PullPolicy::PreferCached)
}

fn history_of(containers: Vec<ContainerDefinition>, pull: PullPolicy) -> History {
    let rules = Rules { pull, ..rules() };
    let desired = DesiredTask::of(intent_of(containers), &rules);
    let observed = ObservedTask::new(&desired, pull);
    let told = String::new();
    History { desired, observed, rules, cleanup_due: false, now: Timestamp(100), told }
}

impl History {
    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The next step leaves, as the engine does it.
    fn leaves(mut self) -> Self {
        self.observed.settle(&self.desired, self.now);
        let step =
            next_step(&self.desired, &self.observed, 0, &self.rules, self.cleanup_due, self.now);
        let app = &mut self.observed.containers[0];
        if let Some(step) = &step {
            app.call_leaves(step.call());
        }
        self.told += &format!("{}\n", step.map_or("nothing to do", |step| name_of(&step)));
        self
    }

    /// The outcome of the step that left.
    fn then(mut self, outcome: CallOutcome) -> Self {
        self.now.0 += 1;
        let next = self.observed.record(&self.desired, 0, outcome, &self.rules, self.now);
        self.tell(next)
    }

    fn event(mut self, what: &str, change: ContainerChange) -> Self {
        self.now.0 += 1;
        let matters = self.observed.event(&self.desired, 0, change, self.now);
        self.told += &format!("{what}{}\n", if matters { "" } else { ", which changes nothing" });
        self.tell(NextStep::Now)
    }

    fn listed(mut self, found: Option<RunState>) -> Self {
        self.now.0 += 1;
        self.observed.listed(0, found.map(|state| (ID, state)));
        self.told += &match found {
            Some(state) => format!("listed as {state:?}\n"),
            None => "not listed\n".to_owned(),
        };
        self.tell(NextStep::Now)
    }

    fn created(self) -> Self {
        self.leaves().then(CallOutcome::Created(Ok(ID.to_owned())))
    }

    fn running(self) -> Self {
        self.created().leaves().then(CallOutcome::Started(Ok(())))
    }

    fn inspected(self, details: ContainerDetails) -> Self {
        self.then(CallOutcome::Inspected(Ok(Box::new(details))))
    }

    /// Only what comes now is of interest.
    fn afresh(self) -> Self {
        self.but(|history| history.told.clear())
    }

    fn stopping(self) -> Self {
        let cause = StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() };
        self.but(|history| history.desired.stop = Some(cause))
    }

    fn tell(mut self, next: NextStep) -> Self {
        self.observed.settle(&self.desired, self.now);
        self.told += &format!("  {}", state_of(&self.observed.containers[0]));
        if let NextStep::After(pause) = next {
            self.told += &format!(", again after {pause:?}");
        }
        let phase = match report::phase(&self.desired, &self.observed) {
            ReportedPhase::Pending => "Pending".to_owned(),
            ReportedPhase::Activating => "Activating".to_owned(),
            ReportedPhase::Running => "Running".to_owned(),
            ReportedPhase::Stopping(cause) => format!("Stopping: {:?}", cause.code),
            ReportedPhase::Stopped(cause) => format!("Stopped: {:?}", cause.code),
        };
        self.told += &format!("; task {phase}\n");
        self
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(self.told.trim_start());
    }
}

fn state_of(container: &ObservedContainer) -> String {
    let mut told = format!("{:?}", container.stage());
    if container.doubt {
        told += ", in doubt";
    }
    if container.id().is_none() {
        told += ", no id";
    }
    if let Some(code) = container.exit_code() {
        told += &format!(", exit code {code}");
    }
    if let Some(reason) = container.reason() {
        told += &format!(", {reason}");
    }
    told
}

fn name_of(step: &Step) -> &'static str {
    match step {
        Step::Pull { .. } => "pull",
        Step::Load { .. } => "load",
        Step::Create { .. } => "create",
        Step::Start { .. } => "start",
        Step::Inspect { .. } => "inspect",
        Step::Stop { .. } => "stop",
        Step::Kill { .. } => "kill",
        Step::Remove { .. } => "remove",
        Step::LastLines { .. } => "last lines",
    }
}

fn shows(state: RunState) -> ContainerDetails {
    let ran = state != RunState::Created;
    ContainerDetails {
        id: ID.to_owned(),
        labels: crate::engine::plan::labels::labels(&intent(&["app"]), 0, &rules()),
        state,
        exit_code: (state == RunState::Exited).then_some(3),
        started_at: ran.then_some(Timestamp(50)),
        finished_at: (state == RunState::Exited).then_some(Timestamp(60)),
        ..ContainerDetails::default()
    }
}

fn exit(code: i32) -> ContainerChange {
    ContainerChange::Exited { exit_code: Some(code) }
}

fn not_found() -> RuntimeError {
    RuntimeError::NotFound { message: "No such container".to_owned() }
}

fn refused() -> RuntimeError {
    RuntimeError::Rejected { message: "no such program".to_owned() }
}

fn engine_error() -> RuntimeError {
    Unknown::Engine { message: "500".to_owned() }.into()
}

fn every_error() -> Vec<(&'static str, RuntimeError)> {
    let image = RuntimeError::ImageNotFound { message: "No such image".to_owned() };
    let conflict = RuntimeError::Conflict { message: "in use".to_owned() };
    let unreadable = Unknown::Unreadable { message: "half a body".to_owned() };
    vec![
        ("not found", not_found()),
        ("image not found", image),
        ("conflict", conflict),
        ("rejected", refused()),
        ("timeout", Unknown::Timeout { after: Duration::from_secs(60) }.into()),
        ("transport", RuntimeError::transport("reset")),
        ("engine", engine_error()),
        ("unreadable", unreadable.into()),
    ]
}

/// The state after each error of one call, a line an error.
fn after_every_error(
    before: impl Fn() -> History,
    call: fn(RuntimeError) -> CallOutcome,
) -> String {
    let line = |(name, error)| {
        let history = before().leaves().afresh().then(call(error));
        format!("{name:<15} {}\n", history.told.trim())
    };
    every_error().into_iter().map(line).collect()
}

#[test]
fn a_container_goes_from_its_create_to_its_removal() {
    history()
        .running()
        .stopping()
        .leaves()
        .then(CallOutcome::Stopped(Ok(())))
        .leaves()
        .inspected(shows(RunState::Exited))
        .leaves()
        .but(|history| history.cleanup_due = true)
        .leaves()
        .then(CallOutcome::Removed(Ok(())))
        .leaves()
        .check(expect![[r#"
            create
              Created; task Activating
            start
              Running; task Running
            stop
              Running, in doubt; task Stopping: UserInitiated
            inspect
              Stopped, exit code 3; task Stopping: UserInitiated
            last lines
            nothing to do
              Removed, exit code 3; task Stopped: UserInitiated
            nothing to do
        "#]]);
}

#[test]
fn ports_that_the_engine_chooses_are_asked_for_before_it_runs() {
    let mapping = PortMapping { container_port: Some(80), ..PortMapping::default() };
    let app = ContainerDefinition { port_mappings: vec![mapping], ..container("app") };
    history_of(vec![app], PullPolicy::PreferCached)
        .running()
        .leaves()
        .inspected(shows(RunState::Running))
        .check(expect![[r#"
            create
              Created; task Activating
            start
              Created, in doubt; task Activating
            inspect
              Running; task Running
        "#]]);
}

#[test]
fn health_counts_only_when_the_definition_asks_for_it() {
    let check = HealthCheck {
        command: vec!["CMD".to_owned(), "true".to_owned()],
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
    };
    let app = ContainerDefinition { health_check: Some(check), ..container("app") };
    let healthy = ContainerChange::Health(HealthStatus::Healthy);
    let history = history_of(vec![app], PullPolicy::PreferCached).running().afresh();
    assert_eq!(history.observed.containers[0].health(), Some(HealthStatus::Unknown));
    let history = history.event("healthy", healthy).event("healthy", healthy);
    assert_eq!(history.observed.containers[0].health(), Some(HealthStatus::Healthy));
    history.check(expect![[r#"
        healthy
          Running; task Running
        healthy, which changes nothing
          Running; task Running
    "#]]);
}

#[test]
fn a_container_killed_for_its_memory_says_so() {
    let killed =
        ContainerDetails { exit_code: Some(137), oom_killed: true, ..shows(RunState::Exited) };
    history()
        .running()
        .afresh()
        .event("exit", exit(137))
        .leaves()
        .inspected(killed)
        .check(expect![[r#"
            exit
              Running, in doubt; task Running
            inspect
              Stopped, exit code 137, OutOfMemoryError: Container killed due to memory usage; task Stopping: EssentialContainerExited
        "#]]);
}

/// Docker tells of it by an event, before the end or after; what was stopped is killed for that.
#[test]
fn a_memory_kill_that_an_event_tells_of_is_the_reason_of_a_kill_only() {
    let event = |history: History| history.event("oom", ContainerChange::OutOfMemory);
    let ended = |history: History, code: i32| {
        let details = ContainerDetails { exit_code: Some(code), ..shows(RunState::Exited) };
        history.event("exit", exit(code)).leaves().inspected(details)
    };
    let reason = |history: History| history.observed.containers[0].reason().map(str::to_owned);
    let told = Some(OUT_OF_MEMORY.to_owned());
    assert_eq!(reason(ended(event(history().running()), 137)), told);
    assert_eq!(reason(event(ended(history().running(), 137))), told);
    assert_eq!(reason(ended(event(history().running()), 1)), None);
    assert_eq!(reason(ended(history().running(), 137)), None);
    let stopped = history().running().stopping().leaves().then(CallOutcome::Stopped(Ok(())));
    assert_eq!(reason(ended(event(stopped), 137)), None);
}

#[test]
fn after_a_restart_only_an_end_is_still_believed() {
    let states = [
        ContainerStage::Absent,
        ContainerStage::Created,
        ContainerStage::Running,
        ContainerStage::Stopped,
        ContainerStage::Removed,
    ];
    let mut table = String::new();
    for state in states {
        let sample = ContainerState::sample(state, ID);
        let history = history().but(|history| history.observed.containers[0].state = sample);
        let unseen = history.observed.unseen(&history.desired, PullPolicy::PreferCached);
        table += &format!("{state:?}: {:?}\n", unseen.containers[0].stage());
    }
    expect![[r#"
        Absent: Unknown
        Created: Unknown
        Running: Unknown
        Stopped: Stopped
        Removed: Removed
    "#]]
    .assert_eq(&table);
}

#[test]
fn what_the_ledger_keeps_of_a_container_is_no_call_and_no_doubt() {
    let before = history().running().event("exit", exit(3)).leaves().observed;
    let record = rmp_serde::to_vec_named(&TaskRecord::from(&before)).unwrap();
    let after: TaskRecord = rmp_serde::from_slice(&record).unwrap();
    let after = ObservedTask::from(after);
    let (before, after) = (&before.containers[0], &after.containers[0]);
    assert!(before.is_called() && !after.is_called() && !after.doubt);
    assert_eq!((after.stage(), after.ever_ran()), (before.stage(), true));
    assert_eq!((after.id(), after.started_at()), (before.id(), before.started_at()));
}

#[test]
fn a_task_stops_by_itself_when_an_essential_container_ends() {
    let helper = ContainerDefinition { essential: Some(false), ..container("helper") };
    let mut task = history_of(vec![container("app"), helper], PullPolicy::PreferCached);
    let mut ends = |index: usize, ever_ran| {
        let stopped = ContainerStage::Stopped;
        let ended = ContainerRecord { state: stopped, ever_ran, ..ContainerRecord::default() };
        task.observed.containers[index].state = ended.into_state();
        task.observed.settle(&task.desired, Timestamp(7));
        task.observed.own_stop.clone().map(|cause| cause.code)
    };
    assert_eq!(ends(1, true), None);
    assert_eq!(ends(0, false), Some(StopCode::TaskFailedToStart));
    // The first reason stays.
    assert_eq!(ends(0, true), Some(StopCode::TaskFailedToStart));
    assert_eq!(task.observed.execution_stopped_at, Some(Timestamp(7)));
}

#[test]
fn a_task_that_is_stopping_has_stopped_once_nothing_is_open() {
    let stopped = |change: &dyn Fn(&mut ObservedContainer)| {
        let mut task = history().stopping();
        change(&mut task.observed.containers[0]);
        task.observed.settle(&task.desired, Timestamp(7));
        task.observed.has_stopped()
    };
    let sample = |stage| ContainerState::sample(stage, ID);
    assert!(stopped(&|_| {}));
    assert!(stopped(&|app| app.state = sample(ContainerStage::Created)));
    assert!(stopped(&|app| app.state = sample(ContainerStage::Stopped)));
    assert!(!stopped(&|app| app.state = sample(ContainerStage::Unknown)));
    assert!(!stopped(&|app| app.state = sample(ContainerStage::Running)));
    assert!(!stopped(&|app| app.call_leaves(Call::Other)));
    assert!(!stopped(&|app| app.doubt = true));
}
