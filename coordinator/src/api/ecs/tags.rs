//! Tags: the rules of all resources, and TagResource, UntagResource, ListTagsForResource.
//!
//! `longshore:` tags say what ECS's API cannot (design.md rule 10). Services and clusters have those
//! of [`SERVICE_OPTION_TAGS`], tasks those of [`TASK_OPTION_TAGS`]; any other is refused here, with the list, before it can be stored and
//! mean nothing.

use std::collections::BTreeMap;

use longshore_common::arn::Arn;
use longshore_core::{
    command::{Command, TagCommand},
    model::{
        capacity_provider::scale_in_after_ms,
        name::ClusterName,
        options::OPTION_PREFIX,
        service::{SERVICE_OPTION_TAGS, ServiceOptions},
        tagged::Resource,
        tags::Tags,
        task_options::{TASK_OPTION_TAGS, TaskOptions},
    },
};
use serde::{Deserialize, Serialize};

use super::identifiers;
use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
};

/// Maximum number of user tags of one resource (ecs-behaviour 1.22).
pub(crate) const TAGS_MAX: usize = 50;
/// Maximum length of a tag's key in characters (ecs-behaviour 1.22).
pub(crate) const KEY_CHARS_MAX: usize = 128;
/// Maximum length of a tag's value in characters (ecs-behaviour 1.22).
pub(crate) const VALUE_CHARS_MAX: usize = 256;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TagInput {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

/// Whose tags a task takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum PropagateTags {
    TaskDefinition,
    Service,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TagView {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagResourceInput {
    resource_arn: String,
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UntagResourceInput {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsForResourceInput {
    resource_arn: String,
}

/// An answer that says no more than that it was done.
#[derive(Serialize)]
pub(crate) struct Done {}

#[derive(Serialize)]
pub(crate) struct ListTagsForResourceOutput {
    tags: Vec<TagView>,
}

pub(crate) async fn tag(api: &Api, input: TagResourceInput) -> Result<Done, ApiError> {
    let tags = parse_any(input.tags)?;
    let resource = resource(api, &input.resource_arn)?;
    // What options there will be is decided with the tags that the resource has.
    if !has_options(&resource) {
        no_options(&tags)?;
    }
    api.submit(Command::Tag(TagCommand::Tag { resource, tags }), |_, _| ()).await?;
    Ok(Done {})
}

pub(crate) async fn untag(api: &Api, input: UntagResourceInput) -> Result<Done, ApiError> {
    let resource = resource(api, &input.resource_arn)?;
    if input.tag_keys.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "tagKeys has {} entries; a resource has at most {TAGS_MAX} tags.",
            input.tag_keys.len()
        )));
    }
    for key in &input.tag_keys {
        let chars = key.chars().count();
        if chars == 0 || chars > KEY_CHARS_MAX {
            return Err(key_length(chars));
        }
        if is_reserved(key) {
            return Err(ApiError::invalid_parameter(format!(
                "The tag `{key}` begins with aws: and cannot be removed."
            )));
        }
    }
    api.submit(Command::Tag(TagCommand::Untag { resource, keys: input.tag_keys }), |_, _| ())
        .await?;
    Ok(Done {})
}

pub(crate) async fn list(
    api: &Api,
    input: ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, ApiError> {
    let resource = resource(api, &input.resource_arn).map_err(|refusal| match refusal.code {
        ErrorCode::ResourceNotFound => not_listed(&input.resource_arn),
        _ => refusal,
    })?;
    let tags = api.read(move |state| state.tags(&resource).map(view)).await?;
    let tags = tags.ok_or_else(|| not_listed(&input.resource_arn))?;
    Ok(ListTagsForResourceOutput { tags })
}

fn not_found(arn: &str) -> ApiError {
    let sentence = format!("The specified resource was not found: {arn}.");
    ApiError::new(ErrorCode::ResourceNotFound, sentence)
}

/// ListTagsForResource declares no error for what is not there.
fn not_listed(arn: &str) -> ApiError {
    ApiError { code: ErrorCode::InvalidParameter, ..not_found(arn) }
}

/// What an ARN names, if it can carry tags.
fn resource(api: &Api, given: &str) -> Result<Resource, ApiError> {
    let arn: Arn = given.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "`{given}` is not an ARN of ECS: give the full ARN of the resource."
        ))
    })?;
    let (kind, rest) = arn.resource.split_once('/').unwrap_or((&arn.resource, ""));
    let cluster = || -> Result<ClusterName, ApiError> {
        let name = rest.split_once('/').map_or("", |(cluster, _)| cluster);
        name.parse().map_err(|_| {
            ApiError::invalid_parameter(format!(
                "Long arn format must be used for tagging operations: `{given}` must name the \
                 cluster too."
            ))
        })
    };
    let identity = &api.identity;
    let found = match kind {
        "cluster" => identifiers::cluster_if_here(identity, given)?.map(Resource::Cluster),
        "task-definition" => match identifiers::task_definition(identity, given)? {
            None => None,
            Some(reference) => {
                let revision = reference.revision.ok_or_else(|| {
                    ApiError::invalid_parameter(format!(
                        "`{given}` names no revision: tags belong to one revision."
                    ))
                })?;
                Some(Resource::TaskDefinition { family: reference.family, revision })
            }
        },
        "task" => {
            let cluster = cluster()?;
            let task = identifiers::task(identity, &cluster, given)?;
            task.map(|task| Resource::Task { cluster, task })
        }
        "container-instance" => {
            let cluster = cluster()?;
            let host = identifiers::container_instance(identity, &cluster, given)?;
            host.map(|host| Resource::ContainerInstance { cluster, host })
        }
        "service" => {
            let cluster = cluster()?;
            let service = identifiers::service(identity, &cluster, given)?;
            service.map(Resource::Service)
        }
        "task-set" => identifiers::task_set_by_arn(identity, given)?
            .map(|(service, task_set)| Resource::TaskSet { service, task_set }),
        "capacity-provider" => {
            identifiers::capacity_provider(identity, given)?.map(Resource::CapacityProvider)
        }
        other => {
            return Err(ApiError::invalid_parameter(format!(
                "A `{other}` cannot be tagged in this release of Longshore: clusters, task \
                 definitions, tasks, container instances, services, task sets and capacity \
                 providers can."
            )));
        }
    };
    found.ok_or_else(|| not_found(given))
}

/// Whether `longshore:` tags mean something there.
fn has_options(resource: &Resource) -> bool {
    match resource {
        Resource::Cluster(_)
        | Resource::Service(_)
        | Resource::Task { .. }
        | Resource::CapacityProvider(_) => true,
        Resource::TaskDefinition { .. }
        | Resource::ContainerInstance { .. }
        | Resource::TaskSet { .. }
        | Resource::LogGroup(_)
        | Resource::Alarm(_) => false,
    }
}

pub(crate) fn view(tags: &Tags) -> Vec<TagView> {
    tags.iter().map(|(key, value)| TagView { key: key.clone(), value: value.clone() }).collect()
}

/// The tags that a user gives a resource that has no options.
pub(crate) fn parse(given: Vec<TagInput>) -> Result<Tags, ApiError> {
    let tags = parse_any(given)?;
    no_options(&tags)?;
    Ok(tags)
}

/// The tags that a user gives a service or a cluster, and what those among them say that are
/// settings.
pub(crate) fn parse_with_options(given: Vec<TagInput>) -> Result<(Tags, ServiceOptions), ApiError> {
    let tags = parse_any(given)?;
    let options = ServiceOptions::of_tags(&tags).map_err(ApiError::invalid_parameter)?;
    Ok((tags, options))
}

/// The tags that a user gives a capacity provider, and the setting among them.
pub(crate) fn parse_of_provider(given: Vec<TagInput>) -> Result<(Tags, Option<u64>), ApiError> {
    let tags = parse_any(given)?;
    let scale_in_after_ms = scale_in_after_ms(&tags).map_err(ApiError::invalid_parameter)?;
    Ok((tags, scale_in_after_ms))
}

/// The tags that a user gives a task, and what those among them say that are settings.
pub(crate) fn parse_with_task_options(
    given: Vec<TagInput>,
) -> Result<(Tags, TaskOptions), ApiError> {
    let tags = parse_any(given)?;
    let options = TaskOptions::of_tags(&tags).map_err(ApiError::invalid_parameter)?;
    Ok((tags, options))
}

/// Parses tags from an object of keys and values, which is how CloudWatch Logs has them.
pub(crate) fn parse_map(given: BTreeMap<String, String>) -> Result<Tags, ApiError> {
    let pair = |(key, value)| TagInput { key: Some(key), value: Some(value) };
    parse(given.into_iter().map(pair).collect())
}

fn parse_any(given: Vec<TagInput>) -> Result<Tags, ApiError> {
    if given.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "Too many tags: {} given, a resource has at most {TAGS_MAX}.",
            given.len()
        )));
    }
    let mut tags = Tags::new();
    for TagInput { key, value } in given {
        let key = key.unwrap_or_default();
        check_key(&key)?;
        let value = value.unwrap_or_default();
        check_value(&key, &value)?;
        if tags.contains_key(&key) {
            return Err(ApiError::invalid_parameter(format!(
                "Duplicate tag keys found: `{key}` is given twice."
            )));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), ApiError> {
    let chars = key.chars().count();
    if chars == 0 || chars > KEY_CHARS_MAX {
        return Err(key_length(chars));
    }
    check_chars("key", key)?;
    if is_reserved(key) {
        return Err(ApiError::invalid_parameter(format!(
            "The tag key `{key}` begins with aws:, which is reserved for Amazon Web Services."
        )));
    }
    Ok(())
}

fn key_length(chars: usize) -> ApiError {
    ApiError::invalid_parameter(format!(
        "A tag key must be 1 to {KEY_CHARS_MAX} characters long; one of {chars} was given."
    ))
}

fn no_options(tags: &Tags) -> Result<(), ApiError> {
    let Some(key) = tags.keys().find(|key| key.starts_with(OPTION_PREFIX)) else { return Ok(()) };
    Err(ApiError::invalid_parameter(format!(
        "The tag `{key}` means nothing here: tags that begin with `{OPTION_PREFIX}` are settings of \
         services and clusters ({}) and of tasks ({}). Use a key that does not begin with `{OPTION_PREFIX}` for a tag \
         of your own.",
        SERVICE_OPTION_TAGS.join(", "),
        TASK_OPTION_TAGS.join(", ")
    )))
}

fn check_value(key: &str, value: &str) -> Result<(), ApiError> {
    let chars = value.chars().count();
    if chars > VALUE_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "The value of the tag `{key}` is {chars} characters long; at most {VALUE_CHARS_MAX} \
             are allowed."
        )));
    }
    check_chars("value", value)?;
    if is_reserved(value) {
        return Err(ApiError::invalid_parameter(format!(
            "The value of the tag `{key}` begins with aws:, which is reserved for Amazon Web \
             Services."
        )));
    }
    Ok(())
}

fn is_reserved(text: &str) -> bool {
    text.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

/// ECS's pattern for both, `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`.
fn check_chars(what: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |c: char| {
        c.is_alphanumeric() || c.is_whitespace() && !c.is_control() || "_.:/=+-@".contains(c)
    };
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(ApiError::invalid_parameter(format!(
            "The tag {what} `{}` contains the character {bad:?}. Use letters, numbers, spaces and \
             _.:/=+-@.",
            text.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> TagInput {
        TagInput { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    fn refusal(tags: Vec<TagInput>) -> String {
        parse(tags).map_or_else(|error| error.message, |_| "ok".to_owned())
    }

    #[test]
    fn tags_have_keys_and_perhaps_values() {
        let parsed =
            parse(vec![tag("team", "a b"), TagInput { key: Some("x".into()), value: None }]);
        let parsed = parsed.unwrap();
        assert_eq!(parsed.get("team").map(String::as_str), Some("a b"));
        assert_eq!(parsed.get("x").map(String::as_str), Some(""));
        assert_eq!(refusal(vec![tag(&"k".repeat(128), &"v".repeat(256))]), "ok");
        assert_eq!(refusal(vec![tag("größe", "_.:/=+-@")]), "ok");
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        for (tags, begins) in [
            (vec![TagInput { key: None, value: None }], "A tag key must be 1 to 128"),
            (vec![tag("", "")], "A tag key must be 1 to 128"),
            (vec![tag(&"k".repeat(129), "")], "A tag key must be 1 to 128"),
            (vec![tag("k", &"v".repeat(257))], "The value of the tag `k` is 257"),
            (vec![tag("k\n", "")], "The tag key `k\\n` contains the character '\\n'"),
            (vec![tag("k", "a#b")], "The tag value `a#b` contains the character '#'"),
            (vec![tag("aws:x", "")], "The tag key `aws:x` begins with aws:"),
            (vec![tag("AwS:x", "")], "The tag key `AwS:x` begins with aws:"),
            (vec![tag("k", "aws:x")], "The value of the tag `k` begins with aws:"),
            (vec![tag("k", "1"), tag("k", "2")], "Duplicate tag keys found: `k`"),
            (
                vec![tag("longshore:timeout", "1h")],
                "The tag `longshore:timeout` means nothing here",
            ),
            (vec![tag("k", ""); 51], "Too many tags: 51 given"),
        ] {
            let said = refusal(tags);
            assert!(said.starts_with(begins), "{said}");
        }
    }
}
