//! Task definitions: RegisterTaskDefinition, DeregisterTaskDefinition, DeleteTaskDefinitions,
//! DescribeTaskDefinition.
//!
//! `input` types the request, `validate` refuses, `requires_attributes` and `compatibilities`
//! compute, `view` shows, `list` lists. None of them looks at the state but for what they show.

pub(crate) mod input;
pub(crate) mod sizes;
pub(crate) mod validate;
pub(crate) mod compatibilities;
pub(crate) mod requires_attributes;
pub(crate) mod view;
pub(crate) mod list;

use longshore_core::{
    command::{Command, DefinitionCommand, RegisterTaskDefinition},
    decide::Answer,
    model::{definition::RevisionRef, name::Family},
    state::{Definition, State},
};
use serde::{Deserialize, Serialize};

use self::{
    input::RegisterTaskDefinitionInput,
    validate::Invalid,
    view::{DefinitionSnapshot, TaskDefinitionView},
};
use super::{
    failure::Failure,
    identifiers,
    tags::{self, TagView},
};
use crate::edge::{context::Api, error::ApiError};

/// Maximum number of revisions that one call deletes (ecs-behaviour 1.1, batch limits).
const DELETED_MAX: usize = 10;
const NOT_THERE: &str = "The specified task definition does not exist. Specify a valid account, \
                         family, revision and try again.";
const NOT_AN_IDENTIFIER: &str = "The specified task definition identifier is invalid. Specify a \
                                 valid name or ARN and try again.";
/// The state machine's word for [`NOT_THERE`].
const MISSING: &str = "MISSING";

impl From<Invalid> for ApiError {
    /// ECS refuses the content of a task definition with ClientException.
    fn from(Invalid(sentence): Invalid) -> Self {
        ApiError::client(sentence)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeregisterTaskDefinitionInput {
    task_definition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTaskDefinitionsInput {
    task_definitions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTaskDefinitionInput {
    task_definition: String,
    #[serde(default)]
    include: Vec<TaskDefinitionField>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TaskDefinitionField {
    Tags,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskDefinitionOutput {
    task_definition: TaskDefinitionView,
    tags: Vec<TagView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeregisterTaskDefinitionOutput {
    task_definition: TaskDefinitionView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTaskDefinitionsOutput {
    task_definitions: Vec<TaskDefinitionView>,
    failures: Vec<Failure>,
}

pub(crate) async fn register(
    api: &Api,
    input: RegisterTaskDefinitionInput,
) -> Result<TaskDefinitionOutput, ApiError> {
    let (family, spec, given_tags) = input.into_parts();
    validate::check(&family, &spec)?;
    let tags = tags::parse(given_tags)?;
    let family = family.parse().map_err(|_| {
        ApiError::client(format!("Family contains invalid characters: `{family}`."))
    })?;
    let shown_tags = tags::view(&tags);
    let command = Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
        RegisterTaskDefinition {
            family,
            requires_attributes: requires_attributes::of(&spec),
            compatibilities: compatibilities::of(&spec),
            spec,
            registered_by: api.caller.arn.clone(),
            tags,
        },
    )));
    let shown = api.submit(command, show_answered).await?.ok_or_else(unable_to_describe)?;
    Ok(TaskDefinitionOutput { task_definition: shown.view(&api.identity), tags: shown_tags })
}

pub(crate) async fn deregister(
    api: &Api,
    input: DeregisterTaskDefinitionInput,
) -> Result<DeregisterTaskDefinitionOutput, ApiError> {
    let reference = with_revision(api, &input.task_definition)?.ok_or_else(not_there)?;
    let command = Command::Definition(DefinitionCommand::DeregisterTaskDefinition(reference));
    let shown = api.submit(command, show_answered).await?.ok_or_else(unable_to_describe)?;
    Ok(DeregisterTaskDefinitionOutput { task_definition: shown.view(&api.identity) })
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteTaskDefinitionsInput,
) -> Result<DeleteTaskDefinitionsOutput, ApiError> {
    let count = input.task_definitions.len();
    if count == 0 || count > DELETED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "taskDefinitions has {count} entries; give 1 to {DELETED_MAX}."
        )));
    }
    let mut references: Vec<(String, RevisionRef)> = Vec::new();
    let mut failures = Vec::new();
    for given in input.task_definitions {
        // What cannot be a revision is a failure of its own: the others are deleted.
        match with_revision(api, &given) {
            Err(_) => failures.push(Failure::of(given, NOT_AN_IDENTIFIER)),
            Ok(None) => failures.push(Failure::of(given, NOT_THERE)),
            Ok(Some(reference)) if references.iter().any(|(_, asked)| *asked == reference) => {}
            Ok(Some(reference)) => references.push((given, reference)),
        }
    }
    let given_as = references.clone();
    let references = references.into_iter().map(|(_, reference)| reference).collect();
    let command = Command::Definition(DefinitionCommand::DeleteTaskDefinitions(references));
    let (shown, refused) = api
        .submit(command, |state, answer| match answer {
            Answer::Revisions { accepted, failures } => {
                let show = |(family, revision): &(Family, u32)| show(state, family, *revision);
                (accepted.iter().filter_map(show).collect::<Vec<_>>(), failures)
            }
            _ => (Vec::new(), Vec::new()),
        })
        .await?;
    failures.extend(refused.into_iter().map(|(reference, reason)| {
        let named = given_as.iter().find(|(_, asked)| *asked == reference);
        let given = named.map_or_else(String::new, |(given, _)| given.clone());
        Failure::of(given, if reason == MISSING { NOT_THERE } else { reason })
    }));
    let task_definitions = shown.iter().map(|shown| shown.view(&api.identity)).collect();
    Ok(DeleteTaskDefinitionsOutput { task_definitions, failures })
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeTaskDefinitionInput,
) -> Result<TaskDefinitionOutput, ApiError> {
    let reference = identifiers::task_definition(&api.identity, &input.task_definition)?
        .ok_or_else(unable_to_describe)?;
    let found = api
        .read(move |state| {
            let definition = find(state, &reference)?;
            Some((DefinitionSnapshot::of(definition), tags::view(&definition.tags)))
        })
        .await?;
    let (shown, tags) = found.ok_or_else(unable_to_describe)?;
    let with_tags = input.include.contains(&TaskDefinitionField::Tags);
    let tags = if with_tags { tags } else { Vec::new() };
    Ok(TaskDefinitionOutput { task_definition: shown.view(&api.identity), tags })
}

/// The revision that a user means; without a number, the latest ACTIVE one.
fn find<'a>(state: &'a State, reference: &RevisionRef) -> Option<&'a Definition> {
    let family = reference.family.as_str();
    match reference.revision {
        Some(revision) => state.definitions().get(family, revision),
        None => state.definitions().latest_active(family),
    }
}

fn show(state: &State, family: &Family, revision: u32) -> Option<DefinitionSnapshot> {
    state.definitions().get(family.as_str(), revision).map(DefinitionSnapshot::of)
}

fn show_answered(state: &State, answer: Answer) -> Option<DefinitionSnapshot> {
    match answer {
        Answer::Revision { family, revision } => show(state, &family, revision),
        _ => None,
    }
}

fn unable_to_describe() -> ApiError {
    ApiError::client("Unable to describe task definition.")
}

fn not_there() -> ApiError {
    ApiError::client(NOT_THERE)
}

/// Deregistering and deleting are for one revision: a family's name alone is not enough.
fn with_revision(api: &Api, given: &str) -> Result<Option<RevisionRef>, ApiError> {
    let reference = identifiers::task_definition(&api.identity, given)?;
    match &reference {
        Some(RevisionRef { revision: None, family }) => Err(ApiError::client(format!(
            "`{given}` names no revision: give {family}:revision or its ARN."
        ))),
        Some(_) | None => Ok(reference),
    }
}
