//! RegisterTaskDefinition, DeregisterTaskDefinition, DeleteTaskDefinitions.

use std::sync::Arc;

use longshore_common::{
    clock::Timestamp,
    task_definition::{TaskDefinition, TaskSpec},
};

use super::{Answer, Decision};
use crate::{
    command::{DefinitionCommand, RegisterTaskDefinition},
    event::{DefinitionEvent, Event, TaskDefinitionRegistered},
    model::definition::{DefinitionStatus, RevisionRef},
    rejection::{DefinitionRejection, Rejection},
    state::{Definition, State},
};

/// Maximum number of revisions of one family (ecs-behaviour 1.3).
pub(super) const REVISIONS_MAX: u32 = 1_000_000;

pub(super) fn decide_definition(
    state: &State,
    command: &DefinitionCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        DefinitionCommand::RegisterTaskDefinition(asked) => register(state, asked, at),
        DefinitionCommand::DeregisterTaskDefinition(revision) => deregister(state, revision, at),
        DefinitionCommand::DeleteTaskDefinitions(revisions) => Ok(delete(state, revisions, at)),
    }
}

fn register(
    state: &State,
    register: &RegisterTaskDefinition,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    allowed(state, &register.spec)?;
    let family = &register.family;
    let revision = state.definitions().last_revision(family.as_str()).saturating_add(1);
    if revision > REVISIONS_MAX {
        let (family, limit) = (family.clone(), REVISIONS_MAX);
        return Err(DefinitionRejection::TooManyRevisions { family, limit }.into());
    }
    let definition = Arc::new(TaskDefinition {
        family: family.as_str().to_owned(),
        revision,
        spec: register.spec.clone(),
    });
    let event = Event::Definition(DefinitionEvent::TaskDefinitionRegistered(Box::new(
        TaskDefinitionRegistered {
            definition,
            requires_attributes: register.requires_attributes.clone(),
            compatibilities: register.compatibilities.clone(),
            registered_by: register.registered_by.clone(),
            tags: register.tags.clone(),
            taken_back: false,
            at,
        },
    )));
    Ok(Decision::with(vec![event], Answer::Revision { family: family.clone(), revision }))
}

/// What the operator forbids is neither registered nor run.
pub(super) fn allowed(state: &State, spec: &TaskSpec) -> Result<(), Rejection> {
    match state.task_policy().refusal(spec) {
        Some(member) => Err(DefinitionRejection::Forbidden { member }.into()),
        None => Ok(()),
    }
}

/// The revision a user means; without a number, the latest active one.
pub(super) fn find<'a>(
    state: &'a State,
    revision: &RevisionRef,
) -> Result<&'a Definition, Rejection> {
    let definitions = state.definitions();
    let family = revision.family.as_str();
    match revision.revision {
        Some(number) => definitions.get(family, number),
        None => definitions.latest_active(family),
    }
    .ok_or_else(|| {
        Rejection::Definition(DefinitionRejection::TaskDefinitionNotFound {
            family: revision.family.clone(),
            revision: revision.revision,
        })
    })
}

/// Deregistering an inactive revision is fine and changes nothing.
fn deregister(state: &State, revision: &RevisionRef, at: Timestamp) -> Result<Decision, Rejection> {
    let definition = find(state, revision)?;
    let (family, revision) = (definition.family.clone(), definition.definition.revision);
    let answer = Answer::Revision { family: family.clone(), revision };
    let events = match definition.status {
        DefinitionStatus::Active => {
            vec![Event::Definition(DefinitionEvent::TaskDefinitionDeregistered {
                family,
                revision,
                at,
            })]
        }
        DefinitionStatus::Inactive { .. } | DefinitionStatus::DeleteInProgress { .. } => vec![],
    };
    Ok(Decision::with(events, answer))
}

/// Only INACTIVE revisions can be deleted; one that tasks still use goes when the last has ended.
fn delete(state: &State, revisions: &[RevisionRef], at: Timestamp) -> Decision {
    let mut events = Vec::new();
    let mut accepted = Vec::new();
    let mut failures = Vec::new();
    for asked in revisions {
        let found = match asked.revision {
            Some(number) => state.definitions().get(asked.family.as_str(), number),
            None => None,
        };
        let Some(definition) = found else {
            failures.push((asked.clone(), "MISSING"));
            continue;
        };
        let (family, revision) = (definition.family.clone(), definition.definition.revision);
        match definition.status {
            DefinitionStatus::Active => {
                failures.push((asked.clone(), "The specified task definition is still in ACTIVE status. Please deregister the target and try again."));
                continue;
            }
            // Named twice, it is asked for once.
            DefinitionStatus::Inactive { .. } if accepted.contains(&(family.clone(), revision)) => {
            }
            DefinitionStatus::Inactive { .. } => {
                let family = family.clone();
                events.push(Event::Definition(DefinitionEvent::TaskDefinitionDeleteRequested {
                    family,
                    revision,
                    at,
                }));
            }
            DefinitionStatus::DeleteInProgress { .. } => {}
        }
        accepted.push((family, revision));
    }
    Decision::with(events, Answer::Revisions { accepted, failures })
}
