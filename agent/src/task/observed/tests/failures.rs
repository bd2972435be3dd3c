//! A call that fails, in every way.

use super::*;
use crate::runtime::{ContainerDetails, RunState, RuntimeError, Unknown};

#[test]
fn an_unknown_outcome_of_a_create_concludes_nothing_and_a_known_one_does() {
    let told = after_every_error(history, |error| CallOutcome::Created(Err(error)));
    expect![[r#"
        not found       Stopped, no id, CannotCreateContainerError: No such container; task Stopped: TaskFailedToStart
        image not found Absent, no id; task Pending
        conflict        Absent, in doubt, no id; task Pending
        rejected        Stopped, no id, CannotCreateContainerError: no such program; task Stopped: TaskFailedToStart
        timeout         Absent, in doubt, no id, again after 250ms; task Pending
        transport       Absent, in doubt, no id, again after 250ms; task Pending
        engine          Absent, in doubt, no id, again after 250ms; task Pending
        unreadable      Absent, in doubt, no id, again after 250ms; task Pending
    "#]].assert_eq(&told);
}

#[test]
fn a_failed_start_is_looked_at_before_it_is_believed() {
    let told = after_every_error(|| history().created(), |error| CallOutcome::Started(Err(error)));
    expect![[r#"
        not found       Created, in doubt, again after 250ms; task Activating
        image not found Created, in doubt; task Activating
        conflict        Created, in doubt; task Activating
        rejected        Created, in doubt; task Activating
        timeout         Created, in doubt, again after 250ms; task Activating
        transport       Created, in doubt, again after 250ms; task Activating
        engine          Created, in doubt, again after 250ms; task Activating
        unreadable      Created, in doubt, again after 250ms; task Activating
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_failed_inspect_leaves_a_container_as_last_known() {
    let doubtful = || history().running().event("exit", exit(0));
    let told = after_every_error(doubtful, |error| CallOutcome::Inspected(Err(error)));
    expect![[r#"
        not found       Stopped, no id, exit code 0; task Stopped: EssentialContainerExited
        image not found Running, in doubt, again after 250ms; task Running
        conflict        Running, in doubt, again after 250ms; task Running
        rejected        Running, in doubt, again after 250ms; task Running
        timeout         Running, in doubt, again after 250ms; task Running
        transport       Running, in doubt, again after 250ms; task Running
        engine          Running, in doubt, again after 250ms; task Running
        unreadable      Running, in doubt, again after 250ms; task Running
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_failed_stop_is_tried_again() {
    let told = after_every_error(
        || history().running().stopping(),
        |error| CallOutcome::Stopped(Err(error)),
    );
    expect![[r#"
        not found       Running, in doubt, again after 250ms; task Stopping: UserInitiated
        image not found Running, in doubt, again after 250ms; task Stopping: UserInitiated
        conflict        Running, in doubt, again after 250ms; task Stopping: UserInitiated
        rejected        Running, in doubt, again after 250ms; task Stopping: UserInitiated
        timeout         Running, in doubt, again after 250ms; task Stopping: UserInitiated
        transport       Running, in doubt, again after 250ms; task Stopping: UserInitiated
        engine          Running, in doubt, again after 250ms; task Stopping: UserInitiated
        unreadable      Running, in doubt, again after 250ms; task Stopping: UserInitiated
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_failed_removal_is_tried_again_unless_it_is_gone() {
    let ended = || {
        let ended = history().running().event("exit", exit(3)).leaves();
        ended.inspected(shows(RunState::Exited)).but(|history| history.cleanup_due = true)
    };
    let told = after_every_error(ended, |error| CallOutcome::Removed(Err(error)));
    expect![[r#"
        not found       Removed, exit code 3; task Stopped: EssentialContainerExited
        image not found Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        conflict        Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        rejected        Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        timeout         Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        transport       Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        engine          Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
        unreadable      Stopped, exit code 3, again after 250ms; task Stopping: EssentialContainerExited
    "#]].assert_eq(&told);
}

#[test]
fn a_failed_pull_is_tried_again_only_when_that_can_help() {
    for (policy, expected) in [
        (
            PullPolicy::Always,
            expect![[r#"
            not found       Stopped, no id, CannotPullContainerError: image web:1: No such container; task Stopped: TaskFailedToStart
            image not found Stopped, no id, CannotPullContainerError: image web:1: No such image; task Stopped: TaskFailedToStart
            conflict        Stopped, no id, CannotPullContainerError: image web:1: in use; task Stopped: TaskFailedToStart
            rejected        Stopped, no id, CannotPullContainerError: image web:1: no such program; task Stopped: TaskFailedToStart
            timeout         Stopped, no id, DockerTimeoutError: image web:1: Could not transition to pulled; timed out after waiting 1m0s; task Stopped: TaskFailedToStart
            transport       Absent, no id, again after 1.1s; task Pending
            engine          Absent, no id, again after 1.1s; task Pending
            unreadable      Absent, no id, again after 1.1s; task Pending
        "#]],
        ),
        (
            PullPolicy::PullFirst,
            expect![[r#"
            not found       Absent, no id; task Pending
            image not found Absent, no id; task Pending
            conflict        Absent, no id; task Pending
            rejected        Absent, no id; task Pending
            timeout         Absent, no id; task Pending
            transport       Absent, no id, again after 1.1s; task Pending
            engine          Absent, no id, again after 1.1s; task Pending
            unreadable      Absent, no id, again after 1.1s; task Pending
        "#]],
        ),
    ] {
        let told = after_every_error(
            || history_of(vec![container("app")], policy),
            |error| CallOutcome::Pulled(Err(error)),
        );
        expected.assert_eq(&told);
    }
}

#[test]
fn a_pull_that_the_registry_fails_is_given_up_after_five_attempts() {
    let mut history = history_of(vec![container("app")], PullPolicy::Always);
    for _ in 0..5 {
        history = history.leaves().then(CallOutcome::Pulled(Err(engine_error())));
    }
    history.leaves().check(expect![[r#"
        pull
          Absent, no id, again after 1.1s; task Pending
        pull
          Absent, no id, again after 2.2s; task Pending
        pull
          Absent, no id, again after 4.4s; task Pending
        pull
          Absent, no id, again after 5s; task Pending
        pull
          Stopped, no id, CannotPullContainerError: image web:1 was tried 5 times: 500; task Stopped: TaskFailedToStart
        nothing to do
    "#]]);
}

#[test]
fn an_image_that_is_missing_is_pulled_and_the_container_made() {
    let missing = || RuntimeError::ImageNotFound { message: "No such image".to_owned() };
    history()
        .leaves()
        .then(CallOutcome::Created(Err(missing())))
        .leaves()
        .then(CallOutcome::PullCancelled)
        .leaves()
        .then(CallOutcome::Pulled(Ok(())))
        .leaves()
        .then(CallOutcome::Created(Err(missing())))
        .leaves()
        .check(expect![[r#"
            create
              Absent, no id; task Pending
            pull
              Absent, no id; task Pending
            pull
              Absent, no id; task Pending
            create
              Absent, no id; task Pending
            pull
        "#]]);
}

#[test]
fn a_create_whose_reply_was_lost_is_found_by_its_name() {
    let lost = || {
        let lost = RuntimeError::transport("reset");
        history().leaves().then(CallOutcome::Created(Err(lost))).leaves()
    };
    lost().inspected(shows(RunState::Created)).leaves().check(expect![[r#"
        create
          Absent, in doubt, no id, again after 250ms; task Pending
        inspect
          Created; task Activating
        start
    "#]]);
    lost()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .check(expect![[r#"
            create
              Absent, in doubt, no id, again after 250ms; task Pending
            inspect
              Absent, in doubt, no id, again after 1s; task Pending
            inspect
              Absent, no id; task Pending
            create
        "#]]);
}

#[test]
fn a_name_that_a_foreign_container_has_is_left_to_it() {
    let taken = RuntimeError::Conflict { message: "in use".to_owned() };
    let foreign = ContainerDetails { labels: Default::default(), ..shows(RunState::Running) };
    history()
        .leaves()
        .then(CallOutcome::Created(Err(taken)))
        .leaves()
        .inspected(foreign)
        .leaves()
        .check(expect![[r#"
            create
              Absent, in doubt, no id; task Pending
            inspect
              Stopped, no id, CannotCreateContainerError: the name ecs-web-3-app-21337730333a4173021a is taken by a container that is not this task's; remove it; task Stopped: TaskFailedToStart
            nothing to do
        "#]]);
}

#[test]
fn a_start_that_was_refused_never_ran() {
    let refused =
        || history().created().leaves().then(CallOutcome::Started(Err(refused()))).leaves();
    refused().inspected(shows(RunState::Created)).afresh().leaves().check(expect![[r#"
        nothing to do
    "#]]);
    // Some engines show a failed start as an exit, without a time at which it started.
    let exited = ContainerDetails { started_at: None, ..shows(RunState::Exited) };
    refused().afresh().inspected(exited).check(expect![[r#"
          Stopped, CannotStartContainerError: no such program; task Stopped: TaskFailedToStart
    "#]]);
}

#[test]
fn a_start_that_timed_out_is_what_the_inspect_shows() {
    let timeout = || {
        let timeout = Unknown::Timeout { after: Duration::from_secs(180) };
        history()
            .created()
            .leaves()
            .then(CallOutcome::Started(Err(timeout.into())))
            .leaves()
            .afresh()
    };
    timeout().inspected(shows(RunState::Running)).check(expect![[r#"
          Running; task Running
    "#]]);
    timeout().inspected(shows(RunState::Exited)).check(expect![[r#"
        Stopped, exit code 3; task Stopping: EssentialContainerExited
    "#]]);
    timeout().inspected(shows(RunState::Created)).check(expect![[r#"
          Stopped, DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s; task Stopped: TaskFailedToStart
    "#]]);
}

#[test]
fn a_start_that_the_engine_fails_three_times_is_given_up() {
    let mut history = history().created().afresh();
    for _ in 0..3 {
        let failed = history.leaves().then(CallOutcome::Started(Err(engine_error())));
        history = failed.leaves().inspected(shows(RunState::Created));
    }
    history.check(expect![[r#"
        start
          Created, in doubt, again after 250ms; task Activating
        inspect
          Created; task Activating
        start
          Created, in doubt, again after 500ms; task Activating
        inspect
          Created; task Activating
        start
          Created, in doubt, again after 1s; task Activating
        inspect
          Stopped, CannotStartContainerError: 500; task Stopped: TaskFailedToStart
    "#]]);
}

#[test]
fn a_start_that_lacks_something_else_than_the_container_is_given_up() {
    let mut history = history().created().afresh();
    for _ in 0..3 {
        let failed = history.leaves().then(CallOutcome::Started(Err(not_found())));
        history = failed.leaves().inspected(shows(RunState::Created));
    }
    history.check(expect![[r#"
        start
          Created, in doubt, again after 250ms; task Activating
        inspect
          Created; task Activating
        start
          Created, in doubt, again after 500ms; task Activating
        inspect
          Created; task Activating
        start
          Created, in doubt, again after 1s; task Activating
        inspect
          Stopped, CannotStartContainerError: No such container; task Stopped: TaskFailedToStart
    "#]]);
}

#[test]
fn stop_said_to_be_done_becomes_a_kill_while_the_process_runs() {
    let mut history = history().running().stopping().afresh();
    for _ in 0..4 {
        let stopped = history.leaves().then(CallOutcome::Stopped(Ok(())));
        history = stopped.leaves().inspected(shows(RunState::Running));
    }
    history.check(expect![[r#"
        stop
          Running, in doubt; task Stopping: UserInitiated
        inspect
          Running; task Stopping: UserInitiated
        stop
          Running, in doubt, again after 500ms; task Stopping: UserInitiated
        inspect
          Running; task Stopping: UserInitiated
        kill
          Running, in doubt, again after 1s; task Stopping: UserInitiated
        inspect
          Running; task Stopping: UserInitiated
        kill
          Running, in doubt, again after 2s; task Stopping: UserInitiated
        inspect
          Running; task Stopping: UserInitiated
    "#]]);
}
