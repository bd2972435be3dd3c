//! Tags of alarms: TagResource, UntagResource, ListTagsForResource.

use longshore_core::{
    Command, Rejection,
    command::TagCommand,
    model::{alarm::AlarmName, tagged::Resource},
    rejection::TagRejection,
};
use serde::Deserialize;

use super::{
    alarm_name, fault,
    input::{self, TagInput},
};
use crate::{
    api::ecs::tags::TAGS_MAX,
    edge::{
        context::Api,
        error::{ApiError, MonitoringFault},
        protocol::tree::Tree,
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::cloudwatch) struct TagResourceInput {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::cloudwatch) struct UntagResourceInput {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
pub(in crate::api::cloudwatch) struct ListTagsForResourceInput {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
}

pub(in crate::api::cloudwatch) async fn tag(
    api: &Api,
    input: TagResourceInput,
) -> Result<Tree, ApiError> {
    let resource = Resource::Alarm(by_arn(api, &input.resource_arn)?);
    let tags = input::tags(input.tags)?;
    submit(api, Command::Tag(TagCommand::Tag { resource, tags })).await
}

pub(in crate::api::cloudwatch) async fn untag(
    api: &Api,
    input: UntagResourceInput,
) -> Result<Tree, ApiError> {
    let (count, keys) = (input.tag_keys.len(), input.tag_keys);
    if count > TAGS_MAX {
        return Err(invalid_value(format!(
            "TagKeys has {count} entries; an alarm has at most {TAGS_MAX} tags."
        )));
    }
    let resource = Resource::Alarm(by_arn(api, &input.resource_arn)?);
    submit(api, Command::Tag(TagCommand::Untag { resource, keys })).await
}

pub(in crate::api::cloudwatch) async fn list(
    api: &Api,
    input: ListTagsForResourceInput,
) -> Result<Tree, ApiError> {
    let name = by_arn(api, &input.resource_arn)?;
    let held = api.read(|state| state.alarm(name.as_str()).map(|alarm| alarm.tags.clone())).await?;
    let tags = held.ok_or_else(|| not_found(&name))?;
    let tag =
        |(key, value)| Tree::object().with("Key", Tree::Text(key)).with("Value", Tree::Text(value));
    Ok(Tree::object().with("Tags", Tree::List(tags.into_iter().map(tag).collect())))
}

/// Submits a command; refusals are the errors that CloudWatch's operations on tags declare.
async fn submit(api: &Api, command: Command) -> Result<Tree, ApiError> {
    let refused = |rejection: Rejection| match rejection {
        Rejection::Tag(TagRejection::ResourceNotFound(_)) => {
            fault(MonitoringFault::NoSuchResource, rejection.to_string())
        }
        Rejection::Tag(TagRejection::TooManyTags { .. }) => invalid_value(rejection.to_string()),
        other => api.refusal(&other),
    };
    api.try_submit(command, |_, _| ()).await?.map_err(refused)?;
    Ok(Tree::object())
}

fn by_arn(api: &Api, arn: &str) -> Result<AlarmName, ApiError> {
    let name = arn.strip_prefix(api.identity.alarm("").as_str()).ok_or_else(|| {
        invalid_value(format!(
            "ResourceARN `{arn}` is not the ARN of an alarm here; it should look like {}.",
            api.identity.alarm("NAME")
        ))
    })?;
    alarm_name("ResourceARN", name)
}

fn not_found(name: &AlarmName) -> ApiError {
    let resource = format!("the alarm {name}");
    fault(
        MonitoringFault::NoSuchResource,
        Rejection::Tag(TagRejection::ResourceNotFound(resource)).to_string(),
    )
}

fn invalid_value(message: String) -> ApiError {
    fault(MonitoringFault::InvalidParameterValue, message)
}
