//! ListTaskDefinitions and ListTaskDefinitionFamilies.

use longshore_core::{
    model::{definition::StatusKind, name::Family},
    state::State,
};
use serde::{Deserialize, Serialize};

use super::validate::NAME_CHARS_MAX;
use crate::edge::{context::Api, error::ApiError, page::Page};

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
    fn kind(self) -> StatusKind {
        match self {
            Status::Active => StatusKind::Active,
            Status::Inactive => StatusKind::Inactive,
            Status::DeleteInProgress => StatusKind::DeleteInProgress,
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

pub(crate) async fn revisions(
    api: &Api,
    input: ListTaskDefinitionsInput,
) -> Result<ListTaskDefinitionsOutput, ApiError> {
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let after = page.after.as_deref().map(parse_cursor).transpose()?;
    let family = prefix(input.family_prefix)?.map(|name| name.parse::<Family>());
    let status = input.status.unwrap_or(Status::Active).kind();
    let backwards = input.sort == Some(Sort::Desc);
    let list = move |state: &State| {
        // No family has a name that is none.
        let family = match family {
            Some(Err(_)) => return (Vec::new(), None),
            Some(Ok(family)) => Some(family),
            None => None,
        };
        let found = state.definitions().listed(status, family.as_ref(), after.as_ref(), backwards);
        page.take(found.cloned(), |(family, revision)| format!("{family}:{revision}"))
    };
    let (found, next_token) = api.read(list).await?;
    let arn = |(family, revision): &(Family, u32)| {
        api.identity.task_definition(family.as_str(), *revision)
    };
    Ok(ListTaskDefinitionsOutput {
        task_definition_arns: found.iter().map(arn).collect(),
        next_token,
    })
}

fn parse_cursor(cursor: &str) -> Result<(Family, u32), ApiError> {
    let key = cursor
        .rsplit_once(':')
        .and_then(|(family, revision)| Some((family.parse().ok()?, revision.parse().ok()?)));
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
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let prefix = prefix(input.family_prefix)?.unwrap_or_default();
    let status = input.status.unwrap_or(FamilyStatus::All);
    let list = move |state: &State| {
        let from = page.after.as_deref().unwrap_or(&prefix);
        let active = match status {
            FamilyStatus::All => None,
            FamilyStatus::Active => Some(true),
            FamilyStatus::Inactive => Some(false),
        };
        let found = state
            .definitions()
            .families_from(from, active)
            .take_while(|family| family.as_str().starts_with(&prefix))
            .filter(|family| page.after.as_deref() != Some(family.as_str()))
            .map(Family::to_string);
        page.take(found, String::clone)
    };
    let (families, next_token) = api.read(list).await?;
    Ok(ListTaskDefinitionFamiliesOutput { families, next_token })
}
