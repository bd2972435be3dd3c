//! What agents say: that they are there, what became of orders, what became of tasks.

use std::{collections::BTreeSet, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{ReportBody, ReportedPhase, RunIntent, RunOrder, TaskReport},
    task::{StopCause, StopCode},
};

use super::{Decision, Note, tasks::demand};
use crate::state_machine::{
    command::{AgentAnswered, Tags},
    event::{Event, TaskAdopted, TaskDefinitionRegistered},
    name::Family,
    record::{ServiceTaskRecord, TaskRecord},
    service::{RevisionId, ServiceRef},
    state::{Host, Phase, State, Task, Wish},
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
    let mut ended = BTreeSet::new();
    for report in &answered.reports {
        if taken.is_some_and(|taken| report.seq <= taken.seq) {
            continue;
        }
        match &report.body {
            ReportBody::Task(report) => {
                if ended.contains(&report.task) {
                    continue;
                }
                let event = reported(state, host, report, at);
                if let Some(Event::TaskStopped { task, .. }) = &event {
                    ended.insert(*task);
                }
                decision.events.extend(event);
            }
            ReportBody::StopCandidate { task, generation, run } => {
                let events = stop_candidate(state, host, answered, *task, *generation, run, at);
                decision.events.extend(events);
            }
        }
    }
    let images = answered.images.iter().filter(|held| host.images_taken != Some(held.position));
    decision
        .notes
        .extend(images.map(|held| Note::ImagesHeld { host: host.id, images: held.clone() }));
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

/// A task that its host runs and no manifest named (promises.md 2.5): stopped only when the
/// history knows its end, taken back after `recover`, else left alone.
fn stop_candidate(
    state: &State,
    host: &Host,
    answered: &AgentAnswered,
    task: TaskId,
    generation: u32,
    run: &Option<Box<RunIntent>>,
    at: Timestamp,
) -> Vec<Event> {
    if state.task(task).is_some() {
        return Vec::new();
    }
    if answered.ended_candidates.contains(&task) {
        let cause = StopCause {
            code: StopCode::TerminationNotice,
            reason: "The coordinator's history says that this task has ended.".to_owned(),
        };
        let host = host.id;
        return vec![Event::StopCandidateConfirmed { host, task, generation, cause }];
    }
    let recovering = state.recovered() == Some(state.epoch());
    match run {
        Some(run) if recovering => adopt(state, host, task, generation, run, at),
        _ => Vec::new(),
    }
}

fn adopt(
    state: &State,
    host: &Host,
    task: TaskId,
    generation: u32,
    run: &RunIntent,
    at: Timestamp,
) -> Vec<Event> {
    let Ok(family) = run.definition.family.parse::<Family>() else { return Vec::new() };
    let revision = run.definition.revision;
    let mut events = Vec::new();
    if state.definitions().get(family.as_str(), revision).is_none() {
        events.push(Event::TaskDefinitionRegistered(Box::new(TaskDefinitionRegistered {
            definition: Arc::new(run.definition.clone()),
            requires_attributes: Vec::new(),
            compatibilities: Vec::new(),
            registered_by: String::new(),
            tags: Tags::new(),
            at,
        })));
    }
    let record = TaskRecord {
        id: task,
        cluster: state.cluster_at(host.cluster).name.clone(),
        host: Some(host.id),
        family,
        revision,
        group: run.order.group.clone(),
        generation,
        version: 1,
        wish: Wish::Run,
        phase: Phase::Pending,
        created_at: run.order.created_at,
        demand: demand(&run.definition.spec, &run.order.overrides),
        overrides: run.order.overrides.clone(),
        tags: Tags::new(),
        started_by: run.order.started_by.clone(),
        containers: run.order.container_ids.clone(),
        gpus: run.order.gpus.clone(),
        report: None,
        end: None,
        service: service_of(state, host, &run.order),
        // Its agent does not know: such a task runs without an end.
        timeout_ms: None,
        provider: None,
        asked: None,
    };
    events.push(Event::TaskAdopted(Box::new(TaskAdopted { record })));
    events
}

/// The service that started a task, when it still has the task's revision.
fn service_of(state: &State, host: &Host, order: &RunOrder) -> Option<ServiceTaskRecord> {
    let name = order.group.strip_prefix("service:")?.parse().ok()?;
    let cluster = state.cluster_at(host.cluster).name.clone();
    let service = state.service_named(&ServiceRef { cluster, name })?;
    let digits = order.started_by.as_deref()?.strip_prefix("ecs-svc/")?;
    let revision = service.revision(RevisionId::parse(digits)?)?.record.id;
    Some(ServiceTaskRecord {
        service: service.id,
        revision,
        settled: false,
        lost: false,
        returned: false,
        protected_until: None,
    })
}

pub(super) fn silent(
    state: &State,
    host: HostId,
    why: &str,
    refused: bool,
    at: Timestamp,
) -> Decision {
    match state.host(host) {
        Some(host) if host.connected => {
            let (host, why) = (host.id, why.to_owned());
            Decision {
                events: vec![Event::HostDisconnected { host, why, refused, at }],
                ..Default::default()
            }
        }
        _ => Decision::default(),
    }
}
