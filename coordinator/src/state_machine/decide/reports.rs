//! What agents say: that they are there, what became of orders, what became of tasks.

use std::collections::BTreeMap;

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{ReportBody, ReportedPhase, TaskReport},
    task::{StopCause, StopCode},
};

use super::{Decision, Note};
use crate::state_machine::{
    command::AgentAnswered,
    event::{Event, TaskAdopted},
    state::{Host, State, Task},
};

/// An agent answered a poll. Repeated reports change nothing.
pub(super) fn answered(state: &State, answered: &AgentAnswered, at: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let Some(host) = state.host(answered.host).filter(|host| host.is_registered()) else {
        return decision;
    };
    if !host.connected {
        decision.events.push(Event::HostConnected { host: host.id, at });
    }
    if let Some(seen) = answered.seen {
        decision.notes.push(Note::OrdersTaken { host: host.id, order: seen.order });
    }
    let taken = host.reports_taken.filter(|taken| taken.session == answered.position.session);
    let mut ended = BTreeMap::<TaskId, ()>::new();
    for report in &answered.reports {
        if taken.is_some_and(|taken| report.seq <= taken.seq) {
            continue;
        }
        match &report.body {
            ReportBody::Task(report) => {
                if ended.contains_key(&report.task) {
                    continue;
                }
                let event = reported(state, host, report, at);
                if let Some(Event::TaskStopped { task, .. }) = &event {
                    ended.insert(*task, ());
                }
                decision.events.extend(event);
            }
            ReportBody::StopCandidate { task, generation, .. } => {
                let known = state.task(*task).is_some();
                if !known && answered.ended_candidates.contains(task) {
                    decision.events.push(Event::StopCandidateConfirmed {
                        host: host.id,
                        task: *task,
                        generation: *generation,
                        cause: StopCause {
                            code: StopCode::TerminationNotice,
                            reason: "The coordinator's history says that this task has ended."
                                .to_owned(),
                        },
                    });
                }
            }
        }
    }
    for adopted in &answered.adopted {
        if state.task(adopted.id).is_none() {
            let record = adopted.clone();
            decision.events.push(Event::TaskAdopted(Box::new(TaskAdopted { record })));
        }
    }
    if taken != Some(answered.position) {
        let position = answered.position;
        decision.notes.push(Note::ReportsTaken { host: host.id, position });
    }
    decision
}

fn reported(state: &State, host: &Host, report: &TaskReport, at: Timestamp) -> Option<Event> {
    let task = state.task(report.task)?;
    if task.host != host.slot || task.generation != report.generation {
        return None;
    }
    match &report.phase {
        ReportedPhase::Stopped(cause) => Some(Event::TaskStopped {
            task: task.id,
            cause: cause.clone(),
            report: Some(Box::new(report.clone())),
            at,
        }),
        ReportedPhase::Pending
        | ReportedPhase::Activating
        | ReportedPhase::Running
        | ReportedPhase::Stopping(_) => (!known(task, report)).then(|| Event::TaskReported {
            task: task.id,
            report: Box::new(report.clone()),
            at,
        }),
    }
}

/// Whether a report says what the state says already: such are not journaled.
fn known(task: &Task, report: &TaskReport) -> bool {
    match &task.report {
        Some(known) => **known == *report,
        // The order was taken; ECS shows PENDING for that already.
        None => report.phase == ReportedPhase::Pending,
    }
}

pub(super) fn silent(state: &State, host: HostId, why: &str, at: Timestamp) -> Decision {
    match state.host(host) {
        Some(host) if host.connected => {
            let (host, why) = (host.id, why.to_owned());
            Decision {
                events: vec![Event::HostDisconnected { host, why, at }],
                ..Default::default()
            }
        }
        _ => Decision::default(),
    }
}
