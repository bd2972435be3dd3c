//! Task sets: the deployments of services with the EXTERNAL controller (ecs-behaviour 1.12).

use longshore_common::clock::Timestamp;

use super::{Answer, Decision, gate, services};
use crate::{
    command::{CreateTaskSet, TaskSetCommand},
    event::{Event, ServiceEvent},
    launch::ids::Ids,
    model::{
        revision::{RevisionRecord, TaskSetRecord},
        service::{RevisionId, ServiceRef},
    },
    rejection::{Rejection, ServiceRejection, TaskSetRejection},
    state::{Revision, Service, State},
};

/// Maximum number of task sets of one service (Amazon's quota).
const TASK_SETS_MAX: usize = 5;

pub(super) fn decide_task_set(
    state: &State,
    command: &TaskSetCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        TaskSetCommand::CreateTaskSet(asked) => create(state, asked, at, ids),
        TaskSetCommand::UpdateTaskSet { service, task_set, scale_permille } => {
            update(state, service, *task_set, *scale_permille, at)
        }
        TaskSetCommand::DeleteTaskSet { service, task_set, force } => {
            delete(state, service, *task_set, *force, at)
        }
        TaskSetCommand::UpdateServicePrimaryTaskSet { service, task_set } => {
            set_primary(state, service, *task_set, at)
        }
    }
}

fn external<'a>(state: &'a State, named: &ServiceRef) -> Result<&'a Service, Rejection> {
    let service = gate::service(state, named)?;
    if !service.is_external() {
        return Err(TaskSetRejection::NotExternal(named.clone()).into());
    }
    Ok(service)
}

fn create(
    state: &State,
    create: &CreateTaskSet,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let service = external(state, &create.service)?;
    if let Some(token) = &create.client_token {
        let sets = service.revisions.iter();
        let earlier =
            sets.filter_map(|r| Some((r, r.record.task_set.as_ref()?))).find(|(_, set)| {
                set.client_token.as_ref().is_some_and(|(earlier, _)| *earlier == token.token)
            });
        if let Some((revision, set)) = earlier {
            let same = set.client_token.as_ref().is_some_and(|(_, h)| *h == token.parameters_hash);
            return match same {
                true => Ok(Decision::with(vec![], Answer::TaskSet(revision.record.id))),
                false => Err(ServiceRejection::ServiceTokenConflict(create.service.clone()).into()),
            };
        }
    }
    if service.revisions.len() >= TASK_SETS_MAX {
        return Err(TaskSetRejection::TooManyTaskSets { limit: TASK_SETS_MAX }.into());
    }
    let definition = services::usable(state, &create.definition)?;
    services::check_constraints(definition, &service.config)?;
    let task_set = TaskSetRecord {
        external_id: create.external_id.clone(),
        scale_permille: create.scale_permille,
        tags: create.tags.clone(),
        client_token: create.client_token.as_ref().map(|t| (t.token.clone(), t.parameters_hash)),
        draining: false,
        stable: false,
        stability_at: at,
    };
    let revision =
        RevisionRecord { task_set: Some(task_set), ..services::revision(definition, ids, at) };
    let answer = Answer::TaskSet(revision.id);
    let event = Event::Service(ServiceEvent::RevisionCreated {
        service: service.id,
        revision: Box::new(revision),
    });
    Ok(Decision::with(vec![event], answer))
}

fn changed(
    service: &Service,
    revision: &Revision,
    at: Timestamp,
    change: impl FnOnce(&mut TaskSetRecord),
) -> Event {
    let mut record = RevisionRecord { updated_at: at, ..revision.record.clone() };
    if let Some(set) = &mut record.task_set {
        change(set);
    }
    Event::Service(ServiceEvent::RevisionChanged {
        service: service.id,
        revision: Box::new(record),
    })
}

fn update(
    state: &State,
    named: &ServiceRef,
    id: RevisionId,
    scale_permille: u32,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let service = external(state, named)?;
    let (revision, _) = gate::task_set(service, id)?;
    let event = changed(service, revision, at, |set| {
        (set.scale_permille, set.stable, set.stability_at) = (scale_permille, false, at);
    });
    Ok(Decision::of(vec![event]))
}

/// Asking once more for its end changes nothing.
fn is_being_deleted(service: &Service, id: RevisionId) -> bool {
    let set = service.revision(id).and_then(|revision| revision.record.task_set.as_ref());
    set.is_some_and(|set| set.draining)
}

fn delete(
    state: &State,
    named: &ServiceRef,
    id: RevisionId,
    force: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let service = external(state, named)?;
    if is_being_deleted(service, id) {
        return Ok(Decision::default());
    }
    let (revision, set) = gate::task_set(service, id)?;
    if !force && set.scale_permille > 0 {
        return Err(TaskSetRejection::TaskSetScaledAboveZero(id).into());
    }
    let event = changed(service, revision, at, |set| set.draining = true);
    Ok(Decision::of(vec![event]))
}

fn set_primary(
    state: &State,
    named: &ServiceRef,
    id: RevisionId,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let service = external(state, named)?;
    gate::task_set(service, id)?;
    if service.primary == Some(id) {
        return Ok(Decision::default());
    }
    Ok(Decision::of(vec![Event::Service(ServiceEvent::PrimaryChanged {
        service: service.id,
        revision: id,
        at,
    })]))
}
