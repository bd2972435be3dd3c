//! ListTaskDefinitions and ListTaskDefinitionFamilies.

use serde::{Deserialize, Serialize};

use super::validate::NAME_CHARS_MAX;
use crate::{
    api::{Api, error::ApiError, page::Page},
    state_machine::state::{Definition, DefinitionStatus, Definitions, State},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTaskDefinitionsInput {
    family_prefix: Option<String>,
    status: Option<Status>,
    sort: Option<Sort>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Active,
    Inactive,
    DeleteInProgress,
}

impl Status {
    fn is(self, status: DefinitionStatus) -> bool {
        match status {
            DefinitionStatus::Active => self == Status::Active,
            DefinitionStatus::Inactive { .. } => self == Status::Inactive,
            DefinitionStatus::DeleteInProgress { .. } => self == Status::DeleteInProgress,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Sort {
    Asc,
    Desc,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTaskDefinitionFamiliesInput {
    family_prefix: Option<String>,
    status: Option<FamilyStatus>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum FamilyStatus {
    Active,
    Inactive,
    All,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTaskDefinitionsOutput {
    task_definition_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTaskDefinitionFamiliesOutput {
    families: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// A revision's place in the order of the list.
type Key = (String, u32);

pub(crate) async fn revisions(
    api: &Api,
    input: ListTaskDefinitionsInput,
) -> Result<ListTaskDefinitionsOutput, ApiError> {
    let page = Page::parse("ListTaskDefinitions", input.max_results, input.next_token.as_deref())?;
    let after = page.after.as_deref().map(parse_cursor).transpose()?;
    let family = prefix(input.family_prefix)?;
    let status = input.status.unwrap_or(Status::Active);
    let sort = input.sort.unwrap_or(Sort::Asc);
    let list = move |state: &State| {
        let definitions = state.definitions();
        let families = families(definitions, family.as_deref(), sort, after.as_ref());
        let found = families.flat_map(|family| {
            let revisions = definitions.revisions(family);
            let wanted: Vec<&Definition> = match sort {
                Sort::Asc => revisions.collect(),
                Sort::Desc => revisions.rev().collect(),
            };
            wanted.into_iter()
        });
        let found = found
            .filter(|definition| status.is(definition.status))
            .map(|d| -> Key { (d.family.to_string(), d.definition.revision) })
            .filter(|key| match (&after, sort) {
                (None, _) => true,
                (Some(after), Sort::Asc) => key > after,
                (Some(after), Sort::Desc) => key < after,
            });
        page.take(found, |(family, revision)| format!("{family}:{revision}"))
    };
    let (found, next_token) = api.read(list).await?;
    let arn = |(family, revision): &Key| api.identity.task_definition(family, *revision);
    Ok(ListTaskDefinitionsOutput {
        task_definition_arns: found.iter().map(arn).collect(),
        next_token,
    })
}

/// The families whose revisions may come after `after`, in the list's order.
fn families<'a>(
    definitions: &'a Definitions,
    only: Option<&str>,
    sort: Sort,
    after: Option<&Key>,
) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    if let Some(only) = only {
        let found = definitions.families_from(only).next();
        let family = found.map(|(family, _)| family.as_str()).filter(|name| *name == only);
        return Box::new(family.into_iter());
    }
    let from = after.map(|(family, _)| family.as_str());
    match sort {
        Sort::Asc => {
            let families = definitions.families_from(from.unwrap_or_default());
            Box::new(families.map(|(family, _)| family.as_str()))
        }
        Sort::Desc => {
            let families = definitions.families_down_from(from);
            Box::new(families.map(|(family, _)| family.as_str()))
        }
    }
}

fn parse_cursor(cursor: &str) -> Result<Key, ApiError> {
    let key = cursor
        .rsplit_once(':')
        .and_then(|(family, revision)| Some((family.to_owned(), revision.parse().ok()?)));
    key.ok_or_else(|| ApiError::invalid_parameter("Invalid token."))
}

fn prefix(given: Option<String>) -> Result<Option<String>, ApiError> {
    match given.filter(|given| !given.is_empty()) {
        Some(given) if given.len() > NAME_CHARS_MAX => Err(ApiError::invalid_parameter(format!(
            "familyPrefix is longer than {NAME_CHARS_MAX} characters; no family's name is."
        ))),
        given => Ok(given),
    }
}

pub(crate) async fn families_of(
    api: &Api,
    input: ListTaskDefinitionFamiliesInput,
) -> Result<ListTaskDefinitionFamiliesOutput, ApiError> {
    let page =
        Page::parse("ListTaskDefinitionFamilies", input.max_results, input.next_token.as_deref())?;
    let prefix = prefix(input.family_prefix)?.unwrap_or_default();
    let status = input.status.unwrap_or(FamilyStatus::All);
    let list = move |state: &State| {
        let from = page.after.as_deref().unwrap_or(&prefix);
        let found = state
            .definitions()
            .families_from(from)
            .take_while(|(family, _)| family.as_str().starts_with(&prefix))
            .filter(|(family, _)| page.after.as_deref() != Some(family.as_str()))
            .filter(|(_, is_active)| match status {
                FamilyStatus::All => true,
                FamilyStatus::Active => *is_active,
                FamilyStatus::Inactive => !is_active,
            })
            .map(|(family, _)| family.to_string());
        page.take(found, String::clone)
    };
    let (families, next_token) = api.read(list).await?;
    Ok(ListTaskDefinitionFamiliesOutput { families, next_token })
}
