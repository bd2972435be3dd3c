//! What agents say: that they are there, what became of orders, what became of tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{
        EngineHealth, Report, ReportBody, ReportedPhase, RunIntent, RunOrder, Seen, TaskReport,
    },
    task::{StopCause, StopCode},
};

use super::{Decision, Note, heard};
use crate::{
    command::{AgentAnswered, Command, HostCommand},
    event::{
        AttachmentEvent, DefinitionEvent, Event, HostEvent, ServiceEvent, TaskAdopted,
        TaskDefinitionRegistered, TaskEvent,
    },
    launch::demand::demand,
    lifecycle::attachment,
    model::{
        attachment::Attachments,
        host::HostStatus,
        name::Family,
        revision::{RevisionRecord, Rollout, TaskSetRecord},
        service::{RevisionId, ServiceRef},
        service_status::ServiceStatus,
        tags::Tags,
        task::{Phase, ServiceTaskRecord, TaskRecord, Wish},
    },
    state::{Host, Service, State, Task, ran_briefly},
};

/// An agent answered a poll. Repeated reports change nothing.
pub(super) fn answered(state: &State, answered: &AgentAnswered, at: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let Some(host) = state.host(answered.host).filter(|host| host.is_registered()) else {
        return decision;
    };
    if !host.connected {
        decision.events.push(Event::Host(HostEvent::HostConnected { host: host.id, at }));
    }
    let engine = answered.engine;
    if engine != EngineHealth::Unknown && engine != host.engine {
        decision.events.push(Event::Host(HostEvent::HostEngineChanged {
            host: host.id,
            engine,
            at,
        }));
    }
    let storage = answered.storage;
    if storage.is_news_after(host.storage) {
        decision.events.push(Event::Host(HostEvent::HostStorageChanged {
            host: host.id,
            storage,
            at,
        }));
    }
    if answered.leaving && host.status == HostStatus::Active {
        decision.events.push(Event::Host(HostEvent::HostDrained { host: host.id, at }));
    }
    if let Some(seen) = answered.seen {
        decision.notes.push(Note::OrdersTaken { host: host.id, order: seen.order });
    }
    let taken = host.reports_taken.filter(|taken| taken.session == answered.position.session);
    let last_of_task = last_reports(&answered.reports);
    let mut news = News::default();
    for (index, report) in answered.reports.iter().enumerate() {
        if taken.is_some_and(|taken| report.seq <= taken.seq) {
            continue;
        }
        if news.concerns(&report.body) {
            let reports = answered.reports[index..].to_vec();
            let rest = AgentAnswered { reports, ..answered.clone() };
            decision.rest =
                Some(Box::new(Command::Host(HostCommand::AgentAnswered(Box::new(rest)))));
            decision.notes.clear();
            return decision;
        }
        match &report.body {
            ReportBody::Task(task) => {
                // Each is held against the state before this answer: the last one tells how the task is.
                if last_of_task.get(&(task.task, task.generation)) == Some(&index) {
                    decision.events.extend(reported(state, host, task, at));
                }
            }
            ReportBody::StopCandidate { task, generation, run } => {
                let events = stop_candidate(state, host, answered, *task, *generation, run, at);
                news.hear(&events);
                decision.events.extend(events);
            }
        }
    }
    let images = answered.images.iter().filter(|held| host.images_taken != Some(held.position));
    decision
        .notes
        .extend(images.map(|held| Note::ImagesHeld { host: host.id, images: heard::images(held) }));
    if taken != Some(answered.position) {
        let position = answered.position;
        decision.notes.push(Note::ReportsTaken { host: host.id, position });
    }
    let is_heard = taken.is_some() && state.heard_since(host.slot).is_some();
    if !is_heard && says_what_is(answered) {
        decision.notes.push(Note::HostHeard { host: host.id });
    }
    if let Some(told) = told_all(state, host, answered) {
        decision.events.push(told);
        let ended = ended_unseen(state, host, &decision.events, at);
        decision.events.extend(ended);
    }
    decision
}

/// Ends the tasks of the host that were PROVISIONING, and that the host did not tell of after
/// `recover` though it told everything.
fn ended_unseen(state: &State, host: &Host, events: &[Event], at: Timestamp) -> Vec<Event> {
    let taken_back = |id: TaskId| {
        events.iter().any(|event| {
            matches!(event,
                Event::Attachment(AttachmentEvent::TaskTakenBack { task, .. }) if *task == id)
        })
    };
    let of_host = state.unsure_tasks().filter(|task| task.host == host.slot);
    let unseen = of_host.filter(|task| !taken_back(task.id));
    let stopped = |task: &Task| {
        let reason = "The task was PROVISIONING when the backup was made that the coordinator was \
                      recovered from. Whether it has run since is not known: run it anew if it has \
                      not.";
        let unseen = StopCause { code: StopCode::TaskFailedToStart, reason: reason.to_owned() };
        let cause = match &task.wish {
            Wish::Stop { cause, .. } => cause.clone(),
            Wish::Run => unseen,
        };
        Event::Task(TaskEvent::TaskStopRequested { task: task.id, cause, at })
    };
    unseen.map(stopped).collect()
}

/// Of each task and generation that reports tell of, which of them is the last one.
fn last_reports(reports: &[Report]) -> BTreeMap<(TaskId, u32), usize> {
    let of_task = |(index, report): (usize, &Report)| match &report.body {
        ReportBody::Task(task) => Some(((task.task, task.generation), index)),
        ReportBody::StopCandidate { .. } => None,
    };
    reports.iter().enumerate().filter_map(of_task).collect()
}

/// Notes after `recover` that the host's agent holds what is desired of it, and leaves nothing
/// unsaid.
fn told_all(state: &State, host: &Host, answered: &AgentAnswered) -> Option<Event> {
    let recovered = state.recovered()?.counter;
    let agrees = Some(Seen { epoch: state.epoch(), order: host.last_order }) == answered.seen;
    let tells = agrees && says_what_is(answered) && host.told_all < recovered;
    tells.then_some(Event::Host(HostEvent::HostToldAll { host: host.id, recovered }))
}

/// Whether the host's tasks are as this answer leaves them. An agent that was away, or whose
/// container engine does not answer, tells what was last known: that may be long over.
fn says_what_is(answered: &AgentAnswered) -> bool {
    answered.looked && answered.engine != EngineHealth::Silent
}

/// What the items of one answer brought into the state. A later item that has to do with any of it
/// is decided when it is there.
#[derive(Default)]
struct News {
    tasks: BTreeSet<TaskId>,
    definitions: BTreeSet<(String, u32)>,
    revisions: BTreeSet<RevisionId>,
}

impl News {
    fn hear(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Task(TaskEvent::TaskAdopted(adopted)) => {
                    self.tasks.insert(adopted.record.id);
                }
                Event::Definition(DefinitionEvent::TaskDefinitionRegistered(registered)) => {
                    let definition = &registered.definition;
                    self.definitions.insert((definition.family.clone(), definition.revision));
                }
                Event::Service(ServiceEvent::RevisionCreated { revision, .. }) => {
                    self.revisions.insert(revision.id);
                }
                _ => {}
            }
        }
    }

    fn concerns(&self, body: &ReportBody) -> bool {
        match body {
            ReportBody::Task(report) => self.tasks.contains(&report.task),
            ReportBody::StopCandidate { task, run, .. } => {
                self.tasks.contains(task) || run.as_ref().is_some_and(|run| self.concern(run))
            }
        }
    }

    fn concern(&self, run: &RunIntent) -> bool {
        let definition = (run.definition.family.clone(), run.definition.revision);
        self.definitions.contains(&definition)
            || revision_of(&run.order).is_some_and(|revision| self.revisions.contains(&revision))
    }
}

fn reported(state: &State, host: &Host, report: &TaskReport, at: Timestamp) -> Vec<Event> {
    let Some(task) = state.task(report.task) else { return Vec::new() };
    if task.host != host.slot || task.generation != report.generation {
        return Vec::new();
    }
    let containers = &state.definition_at(task.definition).definition.spec.container_definitions;
    let report = Box::new(heard::report(report, containers, at));
    match &report.phase {
        ReportedPhase::Stopped(cause) => {
            let (cause, brief) = (cause.clone(), ran_briefly(task, cause, at));
            let stopped = attachment::execution_stopped(task, cause, Some(report), brief, at);
            stopped.into_iter().collect()
        }
        ReportedPhase::Pending
        | ReportedPhase::Activating
        | ReportedPhase::Running
        | ReportedPhase::Stopping(_) => {
            if known(task, &report) {
                return Vec::new();
            }
            let reported = Event::Task(TaskEvent::TaskReported { task: task.id, report, at });
            match task.phase {
                // The order was given in a part of the journal that is lost.
                Phase::Provisioning => {
                    let task = task.id;
                    let taken_back = AttachmentEvent::TaskTakenBack { task, at };
                    vec![Event::Attachment(taken_back), reported]
                }
                Phase::Deprovisioning { .. } => Vec::new(),
                Phase::Pending
                | Phase::Activating
                | Phase::Running { .. }
                | Phase::Deactivating { .. }
                | Phase::Stopping { .. } => vec![reported],
            }
        }
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
    if let Some(task) = state.task(task) {
        // Its order was given in a part of the journal that is lost.
        let runs = task.phase == Phase::Provisioning
            && task.host == host.slot
            && task.generation == generation
            && run.is_some()
            && may_take_back(state, host);
        if runs {
            let taken_back = AttachmentEvent::TaskTakenBack { task: task.id, at };
            return vec![Event::Attachment(taken_back)];
        }
        // It was ended here before its host could tell that it runs.
        return match task.attachments.as_ref().and_then(|held| held.execution_stop.as_ref()) {
            Some(stop) if task.host == host.slot && task.generation == generation => {
                let (host, task, cause) = (host.id, task.id, stop.cause.clone());
                vec![Event::Host(HostEvent::StopCandidateConfirmed {
                    host,
                    task,
                    generation,
                    cause,
                })]
            }
            _ => Vec::new(),
        };
    }
    if answered.ended_candidates.contains(&task) {
        let cause = StopCause {
            code: StopCode::TerminationNotice,
            reason: "The coordinator's history says that this task has ended.".to_owned(),
        };
        let host = host.id;
        return vec![Event::Host(HostEvent::StopCandidateConfirmed {
            host,
            task,
            generation,
            cause,
        })];
    }
    match run {
        Some(run) if may_take_back(state, host) => adopt(state, host, task, generation, run, at),
        _ => Vec::new(),
    }
}

/// Whether the host's word counts for tasks that this journal does not know: until it has told all.
fn may_take_back(state: &State, host: &Host) -> bool {
    state.recovered().is_some_and(|recovered| host.told_all < recovered.counter)
}

fn adopt(
    state: &State,
    host: &Host,
    task: TaskId,
    generation: u32,
    run: &RunIntent,
    at: Timestamp,
) -> Vec<Event> {
    if !heard::can_be_taken_back(run, at) {
        return Vec::new();
    }
    let Ok(family) = run.definition.family.parse::<Family>() else { return Vec::new() };
    let revision = run.definition.revision;
    let mut events = Vec::new();
    if state.definitions().get(family.as_str(), revision).is_none() {
        let registered = state.definitions().last_registered(family.as_str());
        if revision > registered.saturating_add(heard::REVISIONS_LOST_MAX) {
            return Vec::new();
        }
        events.push(Event::Definition(DefinitionEvent::TaskDefinitionRegistered(Box::new(
            TaskDefinitionRegistered {
                definition: Arc::new(run.definition.clone()),
                requires_attributes: Vec::new(),
                compatibilities: Vec::new(),
                registered_by: String::new(),
                tags: Tags::new(),
                taken_back: true,
                at,
            },
        ))));
    }
    let service = service_of(state, host, &run.order);
    if let Some((service, id)) = service.filter(|(service, id)| service.revision(*id).is_none()) {
        let revision = Box::new(lost_revision(service, id, &family, revision, run, at));
        events
            .push(Event::Service(ServiceEvent::RevisionCreated { service: service.id, revision }));
    }
    let cluster = state.cluster_at(host.cluster);
    // It had its host in the part of the journal that is lost.
    let waited = state.waiting_with(cluster, task).map(|waiting| &waiting.launch);
    let record = TaskRecord {
        id: task,
        cluster: cluster.name.clone(),
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
        tags: waited.map(|launch| launch.tags.clone()).unwrap_or_default(),
        started_by: run.order.started_by.clone(),
        containers: run.order.container_ids.clone(),
        gpus: run.order.gpus.clone(),
        report: None,
        end: None,
        service: service.map(|(service, revision)| ServiceTaskRecord {
            service: service.id,
            revision,
            settled: false,
            lost: false,
            returned: false,
            protected_until: None,
        }),
        // Its agent does not know: where no launch here does, such a task runs without an end.
        timeout_ms: waited.and_then(|launch| launch.timeout_ms),
        provider: waited.and_then(|launch| launch.provider.clone()),
        asked: None,
        log_driver_mode: run.order.log_driver_mode,
        placed_seq: 0,
        // What it had attached is in the lost part of the journal.
        attachments: Attachments::default(),
    };
    events.push(Event::Task(TaskEvent::TaskAdopted(Box::new(TaskAdopted { record }))));
    events
}

/// The service that started a task, and the revision, which a journal that is lost may have known
/// alone.
fn service_of<'a>(
    state: &'a State,
    host: &Host,
    order: &RunOrder,
) -> Option<(&'a Service, RevisionId)> {
    let name = order.group.strip_prefix("service:")?.parse().ok()?;
    let cluster = state.cluster_at(host.cluster).name.clone();
    let service = state.service_named(&ServiceRef { cluster, name })?;
    match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => Some((service, revision_of(order)?)),
        ServiceStatus::Inactive { .. } => None,
    }
}

fn revision_of(order: &RunOrder) -> Option<RevisionId> {
    RevisionId::parse(order.started_by.as_deref()?.strip_prefix("ecs-svc/")?)
}

/// A revision that the service once had, so that its tasks count for the service: the scheduler
/// then replaces them like those of any earlier revision. A task set keeps what it has.
fn lost_revision(
    service: &Service,
    id: RevisionId,
    family: &Family,
    revision: u32,
    run: &RunIntent,
    at: Timestamp,
) -> RevisionRecord {
    let task_set = service.is_external().then(|| TaskSetRecord {
        external_id: None,
        scale_permille: 1000,
        tags: Tags::new(),
        client_token: None,
        draining: false,
        stable: false,
        stability_at: at,
    });
    RevisionRecord {
        id,
        family: family.clone(),
        revision,
        created_at: run.order.created_at,
        updated_at: at,
        rollout: Rollout::Completed,
        reason: format!("ECS deployment ecs-svc/{id} was taken back from its container instances."),
        failed_tasks: 0,
        has_run: true,
        scaled: false,
        task_set,
        image_digests: BTreeMap::new(),
    }
}

pub(super) fn silent(
    state: &State,
    host: HostId,
    why: &str,
    refused: bool,
    at: Timestamp,
) -> Decision {
    let Some(host) = state.host(host) else { return Decision::default() };
    let (id, why) = (host.id, why.to_owned());
    // Only the next attempt to connect shows why a connection broke.
    let events = match host.connected {
        true => vec![Event::Host(HostEvent::HostDisconnected { host: id, why, refused, at })],
        false if state.silent_since(host).is_some() && host.refused != refused => {
            vec![Event::Host(HostEvent::HostSilenceChanged { host: id, why, refused, at })]
        }
        false => Vec::new(),
    };
    Decision { events, ..Default::default() }
}
