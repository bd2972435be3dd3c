//! Tags of log groups: TagResource, UntagResource, ListTagsForResource, and the older TagLogGroup,
//! UntagLogGroup, ListTagsLogGroup, which name the group instead of its ARN.

use std::collections::BTreeMap;

use longshore_core::{
    Command, Rejection,
    command::TagCommand,
    model::{log_group::LogGroupName, tagged::Resource, tags::Tags},
    rejection::TagRejection,
};
use serde::Deserialize;

use super::{groups, input, invalid};
use crate::{
    api::ecs::tags,
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
        protocol::tree::Tree,
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagLogGroupInput {
    log_group_name: String,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagLogGroupInput {
    log_group_name: String,
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsLogGroupInput {
    log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResourceInput {
    resource_arn: String,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResourceInput {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsForResourceInput {
    resource_arn: String,
}

pub(super) async fn tag_group(api: &Api, input: TagLogGroupInput) -> Result<Tree, ApiError> {
    let name = input::group_name("logGroupName", &input.log_group_name)?;
    tag(api, name, input.tags, ErrorCode::InvalidParameter).await
}

pub(super) async fn tag_resource(api: &Api, input: TagResourceInput) -> Result<Tree, ApiError> {
    let name = by_arn(api, &input.resource_arn)?;
    tag(api, name, input.tags, ErrorCode::TooManyTags).await
}

async fn tag(
    api: &Api,
    name: LogGroupName,
    given: BTreeMap<String, String>,
    too_many: ErrorCode,
) -> Result<Tree, ApiError> {
    if given.is_empty() {
        return Err(invalid("tags is empty: give at least one tag."));
    }
    let tags = tags::parse_map(given)?;
    groups::make_ours(api, &name).await?;
    let command = Command::Tag(TagCommand::Tag { resource: Resource::LogGroup(name), tags });
    match api.try_submit(command, |_, _| ()).await? {
        Ok(()) => Ok(Tree::object()),
        Err(rejection @ Rejection::Tag(TagRejection::TooManyTags { .. })) => {
            Err(ApiError::new(too_many, rejection.to_string()))
        }
        Err(rejection) => Err(api.refusal(&rejection)),
    }
}

pub(super) async fn untag_group(api: &Api, input: UntagLogGroupInput) -> Result<Tree, ApiError> {
    untag(api, input::group_name("logGroupName", &input.log_group_name)?, input.tags).await
}

pub(super) async fn untag_resource(api: &Api, input: UntagResourceInput) -> Result<Tree, ApiError> {
    untag(api, by_arn(api, &input.resource_arn)?, input.tag_keys).await
}

/// A key that the group has not is no error.
async fn untag(api: &Api, name: LogGroupName, keys: Vec<String>) -> Result<Tree, ApiError> {
    groups::exists(api, &name).await?;
    if keys.len() > tags::TAGS_MAX {
        return Err(invalid(format!(
            "{} keys are given; a log group has at most {} tags.",
            keys.len(),
            tags::TAGS_MAX
        )));
    }
    if api.read(|state| state.log_group(name.as_str()).is_some()).await? {
        let command = Command::Tag(TagCommand::Untag { resource: Resource::LogGroup(name), keys });
        api.submit(command, |_, _| ()).await?;
    }
    Ok(Tree::object())
}

pub(super) async fn list_of_group(
    api: &Api,
    input: ListTagsLogGroupInput,
) -> Result<Tree, ApiError> {
    list(api, input::group_name("logGroupName", &input.log_group_name)?).await
}

pub(super) async fn list_of_resource(
    api: &Api,
    input: ListTagsForResourceInput,
) -> Result<Tree, ApiError> {
    list(api, by_arn(api, &input.resource_arn)?).await
}

/// A group that only hosts know of has none.
async fn list(api: &Api, name: LogGroupName) -> Result<Tree, ApiError> {
    groups::exists(api, &name).await?;
    let held = api.read(|state| state.log_group(name.as_str()).map(|group| group.tags.clone()));
    let tags: Tags = held.await?.unwrap_or_default();
    let pairs = tags.into_iter().map(|(key, value)| (key, Tree::Text(value)));
    Ok(Tree::object().with("tags", Tree::Map(pairs.collect())))
}

/// A log group's ARN, with or without the `:*` that DescribeLogGroups shows.
fn by_arn(api: &Api, arn: &str) -> Result<LogGroupName, ApiError> {
    let name = arn.strip_prefix(api.identity.log_group("").as_str()).ok_or_else(|| {
        invalid(format!(
            "`{arn}` is not the ARN of a log group here; it should look like {}.",
            api.identity.log_group("NAME")
        ))
    })?;
    input::group_name("resourceArn", name.strip_suffix(":*").unwrap_or(name))
}
