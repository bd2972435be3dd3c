//! Events and listings: reasons to look, and what comes of it.

use super::*;
use crate::runtime::{ContainerChange, RunState, RuntimeError};

#[test]
fn what_is_gone_has_ended_after_two_404s_or_after_one_and_its_exit() {
    history()
        .running()
        .afresh()
        .listed(None)
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .check(expect![[r#"
            not listed
              Running, in doubt; task Running
            inspect
              Running, in doubt, again after 1s; task Running
            inspect
              Stopped, no id, DockerStateError: the container is gone, and it was not this agent that removed it; task Stopped: EssentialContainerExited
        "#]]);
    history()
        .running()
        .afresh()
        .event("exit", exit(0))
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .check(expect![[r#"
            exit
              Running, in doubt; task Running
            inspect
              Stopped, no id, exit code 0; task Stopped: EssentialContainerExited
        "#]]);
    history()
        .running()
        .afresh()
        .event("start", ContainerChange::Started)
        .but(|history| history.observed.containers[0].doubt = true)
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .inspected(shows(RunState::Running))
        .check(expect![[r#"
            start, which changes nothing
              Running; task Running
            inspect
              Running, in doubt, again after 1s; task Running
            inspect
              Running; task Running
        "#]]);
}

#[test]
fn a_created_container_that_is_gone_is_made_again() {
    history()
        .created()
        .afresh()
        .event("removal", ContainerChange::Removed)
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .check(expect![[r#"
            removal
              Created, in doubt; task Activating
            inspect
              Absent, no id; task Pending
            create
        "#]]);
}

#[test]
fn an_exit_during_a_start_is_newer_than_the_reply() {
    history()
        .created()
        .leaves()
        .afresh()
        .event("start", ContainerChange::Started)
        .event("exit", exit(0))
        .then(CallOutcome::Started(Ok(())))
        .leaves()
        .check(expect![[r#"
            start, which changes nothing
              Created; task Activating
            exit
              Created, in doubt; task Activating
              Running, in doubt; task Running
            inspect
        "#]]);
}

#[test]
fn an_exit_during_an_inspect_is_newer_than_what_it_shows() {
    history()
        .running()
        .but(|history| history.observed.containers[0].doubt = true)
        .leaves()
        .afresh()
        .event("exit", exit(0))
        .inspected(shows(RunState::Running))
        .leaves()
        .check(expect![[r#"
            exit
              Running, in doubt; task Running
              Running, in doubt; task Running
            inspect
        "#]]);
}

#[test]
fn what_was_seen_to_exit_is_not_made_again_though_its_start_had_no_reply() {
    history()
        .created()
        .leaves()
        .afresh()
        .event("exit", exit(0))
        .then(CallOutcome::Started(Err(RuntimeError::transport("reset"))))
        .event("removal", ContainerChange::Removed)
        .leaves()
        .then(CallOutcome::Inspected(Err(not_found())))
        .leaves()
        .check(expect![[r#"
            exit
              Created, in doubt; task Activating
              Created, in doubt, again after 250ms; task Activating
            removal
              Created, in doubt; task Activating
            inspect
              Stopped, no id, exit code 0; task Stopped: EssentialContainerExited
            nothing to do
        "#]]);
}

/// Its ports are asked for after its start, and the event of that start comes before, while or after.
#[test]
fn the_event_of_our_own_start_is_no_reason_to_look_again() {
    let started = |history: History| history.then(CallOutcome::Started(Ok(())));
    let heard = |history: History| history.event("start", ContainerChange::Started);
    let asked = |history: History| history.leaves();
    let shown = |history: History| history.inspected(shows(RunState::Running));
    let orders: [[&dyn Fn(History) -> History; 4]; 4] = [
        [&heard, &started, &asked, &shown],
        [&started, &heard, &asked, &shown],
        [&started, &asked, &heard, &shown],
        [&started, &asked, &shown, &heard],
    ];
    for order in orders {
        let ports = vec![PortMapping { container_port: Some(80), ..PortMapping::default() }];
        let app = ContainerDefinition { port_mappings: ports, ..container("app") };
        let begun = history_of(vec![app], PullPolicy::PreferCached).created().leaves().afresh();
        let history = order.iter().fold(begun, |history, what| what(history)).afresh();
        history.leaves().check(expect![[r#"
            nothing to do
        "#]]);
    }
}

#[test]
fn events_are_reasons_to_look() {
    let changes = [
        ("start", ContainerChange::Started),
        ("exit", exit(0)),
        ("out of memory", ContainerChange::OutOfMemory),
        ("health", ContainerChange::Health(HealthStatus::Healthy)),
        ("removal", ContainerChange::Removed),
    ];
    let mut told = String::new();
    for (what, change) in changes {
        told += &history().created().afresh().event(what, change).told;
        told += &history().running().afresh().event(what, change).told;
    }
    expect![[r#"
        start
          Created, in doubt; task Activating
        start, which changes nothing
          Running; task Running
        exit
          Created, in doubt; task Activating
        exit
          Running, in doubt; task Running
        out of memory, which changes nothing
          Created; task Activating
        out of memory, which changes nothing
          Running; task Running
        health, which changes nothing
          Created; task Activating
        health, which changes nothing
          Running; task Running
        removal
          Created, in doubt; task Activating
        removal
          Running, in doubt; task Running
    "#]]
    .assert_eq(&told);
}

/// Every state, over what a listing says: how an agent that starts finds its containers.
#[test]
fn a_listing_is_compared_with_what_is_known() {
    let listings = [None, Some(RunState::Created), Some(RunState::Running), Some(RunState::Exited)];
    let states = [
        ContainerStage::Unknown,
        ContainerStage::Absent,
        ContainerStage::Created,
        ContainerStage::Running,
        ContainerStage::Stopped,
        ContainerStage::Removed,
    ];
    let mut table = String::new();
    for state in states {
        table += &format!("{state:?}\n");
        for found in listings {
            let listed = history().but(|history| {
                let app = &mut history.observed.containers[0];
                app.state = ContainerState::sample(state, ID);
                history.observed.listed(0, found.map(|state| (ID, state)));
            });
            let found = found.map_or("nothing".to_owned(), |state| format!("{state:?}"));
            table += &format!("  {found:<8} {}\n", state_of(&listed.observed.containers[0]));
        }
    }
    expect![[r#"
        Unknown
          nothing  Absent, no id
          Created  Unknown, in doubt
          Running  Unknown, in doubt
          Exited   Unknown, in doubt
        Absent
          nothing  Absent, no id
          Created  Absent, in doubt
          Running  Absent, in doubt
          Exited   Absent, in doubt
        Created
          nothing  Created, in doubt
          Created  Created
          Running  Created, in doubt
          Exited   Created, in doubt
        Running
          nothing  Running, in doubt
          Created  Running, in doubt
          Running  Running
          Exited   Running, in doubt
        Stopped
          nothing  Removed
          Created  Stopped
          Running  Stopped, in doubt
          Exited   Stopped
        Removed
          nothing  Removed
          Created  Removed
          Running  Removed
          Exited   Removed
    "#]]
    .assert_eq(&table);
}

#[test]
fn a_listing_from_before_a_call_says_nothing() {
    history().leaves().listed(Some(RunState::Running)).check(expect![[r#"
        create
        listed as Running
          Absent, no id; task Activating
    "#]]);
}
