//! Auto Scaling's groups, by its query protocol: what a capacity provider stands on.
//!
//! A group's launch template or launch configuration is the name of a launcher in the coordinator's
//! settings. What says nothing that could be kept here is refused by name: scaling policies, load
//! balancers, lifecycle hooks and mixed instances among it.

mod fault;
mod input;
mod view;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Bound};

use longshore_core::{
    Command, Rejection,
    command::AutoScalingCommand,
    model::auto_scaling::{AutoScalingGroupName, InstanceId},
    rejection::{AutoScalingRejection, TagRejection},
    state::{Group, State},
};
use serde::Deserialize;

use self::fault::{group_name, invalid};
use crate::edge::{
    context::Api,
    error::{ApiError, AutoScalingFault, ErrorCode},
    page::Page,
    protocol::tree::Tree,
};

/// Maximum size of a page of groups (Auto Scaling's limit).
const PAGE_MAX: u32 = 100;
/// Maximum size of a page of instances (Auto Scaling's limit).
const INSTANCES_PAGE_MAX: u32 = 50;
/// Default size of a page (Auto Scaling's).
const PAGE_DEFAULT: u32 = 50;
/// Maximum number of instances in one SetInstanceProtection (Auto Scaling's limit).
const PROTECTED_AT_ONCE_MAX: usize = 50;
/// Maximum number of names in one request (Auto Scaling's limit).
const NAMES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteInput {
    auto_scaling_group_name: String,
    #[serde(default)]
    force_delete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeInput {
    #[serde(default)]
    auto_scaling_group_names: Vec<String>,
    include_instances: Option<bool>,
    next_token: Option<String>,
    max_records: Option<u32>,
    #[serde(default)]
    filters: Vec<FilterInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FilterInput {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetDesiredCapacityInput {
    auto_scaling_group_name: String,
    desired_capacity: u32,
    #[serde(default)]
    honor_cooldown: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetInstanceProtectionInput {
    instance_ids: Vec<String>,
    auto_scaling_group_name: String,
    protected_from_scale_in: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeInstancesInput {
    #[serde(default)]
    instance_ids: Vec<String>,
    max_records: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TerminateInput {
    instance_id: String,
    should_decrement_desired_capacity: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeActivitiesInput {
    #[serde(default)]
    activity_ids: Vec<String>,
    auto_scaling_group_name: Option<String>,
    max_records: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagsInput {
    tags: Vec<input::TagInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeTagsInput {
    #[serde(default)]
    filters: Vec<FilterInput>,
    next_token: Option<String>,
    max_records: Option<u32>,
}

pub(super) async fn create(api: &Api, input: input::CreateInput) -> Result<Tree, ApiError> {
    let (name, config) = input.parse()?;
    let command = Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
        name,
        config: Box::new(config),
    });
    // A name is free once its group is gone.
    let refused = |rejection: Rejection| match rejection {
        Rejection::AutoScaling(AutoScalingRejection::GroupDeleting(_)) => ApiError::new(
            ErrorCode::AutoScaling(AutoScalingFault::AlreadyExists),
            rejection.to_string(),
        ),
        other => api.refusal(&other),
    };
    api.try_submit(command, |_, _| ()).await?.map_err(refused)?;
    Ok(Tree::object())
}

pub(super) async fn update(api: &Api, input: input::UpdateInput) -> Result<Tree, ApiError> {
    let (name, change) = input.parse()?;
    let change = Box::new(change);
    api.submit(
        Command::AutoScaling(AutoScalingCommand::UpdateAutoScalingGroup { name, change }),
        |_, _| (),
    )
    .await?;
    Ok(Tree::object())
}

pub(super) async fn delete(api: &Api, input: DeleteInput) -> Result<Tree, ApiError> {
    let name = group_name(&input.auto_scaling_group_name)?;
    let force = input.force_delete;
    api.submit(
        Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup { name, force }),
        |_, _| (),
    )
    .await?;
    Ok(Tree::object())
}

pub(super) async fn set_desired(
    api: &Api,
    input: SetDesiredCapacityInput,
) -> Result<Tree, ApiError> {
    let command = Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
        name: group_name(&input.auto_scaling_group_name)?,
        desired: input.desired_capacity,
        honour_cooldown: input.honor_cooldown,
    });
    api.submit(command, |_, _| ()).await?;
    Ok(Tree::object())
}

pub(super) async fn protect(
    api: &Api,
    input: SetInstanceProtectionInput,
) -> Result<Tree, ApiError> {
    let count = input.instance_ids.len();
    if count > PROTECTED_AT_ONCE_MAX {
        return Err(invalid(format!(
            "InstanceIds has {count} entries; it may have {PROTECTED_AT_ONCE_MAX}."
        )));
    }
    let instances = input.instance_ids.iter().map(|id| instance_id(id));
    let command = Command::AutoScaling(AutoScalingCommand::SetInstanceProtection {
        name: group_name(&input.auto_scaling_group_name)?,
        instances: instances.collect::<Result<_, ApiError>>()?,
        protected: input.protected_from_scale_in,
    });
    // SetInstanceProtection declares no error for a group that is being deleted.
    let refused = |rejection: Rejection| match rejection {
        Rejection::AutoScaling(AutoScalingRejection::GroupDeleting(_)) => {
            invalid(rejection.to_string())
        }
        other => api.refusal(&other),
    };
    api.try_submit(command, |_, _| ()).await?.map_err(refused)?;
    Ok(Tree::object())
}

pub(super) async fn terminate(api: &Api, input: TerminateInput) -> Result<Tree, ApiError> {
    let instance = instance_id(&input.instance_id)?;
    let decrement = input.should_decrement_desired_capacity;
    let identity = api.identity.clone();
    let show = move |state: &State, _| {
        let (group, instance) = state.instance_known_as(instance)?;
        Some(view::activity(&identity, group, instance))
    };
    let command =
        Command::AutoScaling(AutoScalingCommand::TerminateInstance { instance, decrement });
    let activity = api.submit(command, show).await?;
    Ok(Tree::object().with_some("Activity", activity))
}

pub(super) async fn describe(api: &Api, input: DescribeInput) -> Result<Tree, ApiError> {
    let names = group_names(&input.auto_scaling_group_names)?;
    let filters = parse_filters(&input.filters, &["tag-key", "tag-value", "tag:"])?;
    let page = page(api, input.max_records, &input.next_token, PAGE_MAX)?;
    let with_instances = input.include_instances != Some(false);
    let identity = api.identity.clone();
    let show = move |state: &State| {
        let groups = groups(state, &names, page.after.as_deref());
        let wanted = groups.filter(|group| filters.iter().all(|filter| filter.takes(group)));
        let views = wanted.map(|group| {
            (group.name.clone(), view::group(&identity, state, group, with_instances))
        });
        page.take(views, |(name, _)| name.to_string())
    };
    let (shown, next_token) = api.read(show).await?;
    let shown = shown.into_iter().map(|(_, view)| view).collect();
    Ok(Tree::object()
        .with("AutoScalingGroups", Tree::List(shown))
        .with_some("NextToken", next_token))
}

pub(super) async fn describe_instances(
    api: &Api,
    input: DescribeInstancesInput,
) -> Result<Tree, ApiError> {
    if input.instance_ids.len() > INSTANCES_PAGE_MAX as usize {
        return Err(invalid(format!(
            "InstanceIds has {} entries; it may have {INSTANCES_PAGE_MAX}.",
            input.instance_ids.len()
        )));
    }
    // An id that no instance of ours can have is one that is not found.
    let asked: Vec<InstanceId> =
        input.instance_ids.iter().filter_map(|id| id.parse().ok()).collect();
    let all = input.instance_ids.is_empty();
    let page = page(api, input.max_records, &input.next_token, INSTANCES_PAGE_MAX)?;
    let after: Option<InstanceId> = match &page.after {
        Some(after) => Some(after.parse().map_err(|_| bad_token())?),
        None => None,
    };
    let show = move |state: &State| {
        let rest = |id: &InstanceId| after.is_none_or(|after| *id > after);
        let ids: Box<dyn Iterator<Item = InstanceId>> = match all {
            true => Box::new(state.instances_after(after)),
            false => {
                let known = asked.iter().filter_map(|id| state.instance_known_as(*id));
                let known: BTreeSet<InstanceId> = known.map(|(_, instance)| instance.id).collect();
                Box::new(known.into_iter().filter(rest))
            }
        };
        let found = ids.filter_map(|id| state.instance(id));
        let views = found.map(|(group, instance)| {
            (
                instance.id,
                view::instance(state, group, instance)
                    .with("AutoScalingGroupName", group.name.as_str()),
            )
        });
        page.take(views, |(id, _)| id.to_string())
    };
    let (shown, next_token) = api.read(show).await?;
    let shown = shown.into_iter().map(|(_, view)| view).collect();
    Ok(Tree::object()
        .with("AutoScalingInstances", Tree::List(shown))
        .with_some("NextToken", next_token))
}

/// What is under way, and how the instances that are there came to be.
pub(super) async fn describe_activities(
    api: &Api,
    input: DescribeActivitiesInput,
) -> Result<Tree, ApiError> {
    let names = match &input.auto_scaling_group_name {
        Some(name) => vec![group_name(name)?],
        None => Vec::new(),
    };
    let page = page(api, input.max_records, &input.next_token, PAGE_MAX)?;
    let after: Option<InstanceId> = match &page.after {
        Some(after) => Some(after.parse().map_err(|_| bad_token())?),
        None => None,
    };
    let (identity, ids) = (api.identity.clone(), input.activity_ids);
    let show = move |state: &State| {
        let found = state.instances_after(after).filter_map(|id| state.instance(id));
        let views = found
            .filter(|(group, instance)| {
                let asked = names.is_empty() || names.contains(&group.name);
                asked && (ids.is_empty() || ids.contains(&view::activity_id(group, instance)))
            })
            .map(|(group, instance)| (instance.id, view::activity(&identity, group, instance)));
        page.take(views, |(id, _)| id.to_string())
    };
    let (shown, next_token) = api.read(show).await?;
    let shown = shown.into_iter().map(|(_, view)| view).collect();
    Ok(Tree::object().with("Activities", Tree::List(shown)).with_some("NextToken", next_token))
}

pub(super) async fn put_tags(api: &Api, input: TagsInput) -> Result<Tree, ApiError> {
    let tags = input::of_groups(input.tags)?;
    submit_tags(api, Command::AutoScaling(AutoScalingCommand::PutGroupTags(tags))).await
}

pub(super) async fn delete_tags(api: &Api, input: TagsInput) -> Result<Tree, ApiError> {
    let tags = input::of_groups(input.tags)?;
    let keys = tags.into_iter().map(|(group, key, _)| (group, key)).collect();
    submit_tags(api, Command::AutoScaling(AutoScalingCommand::DeleteGroupTags(keys))).await
}

/// A change of tags, with the errors that CreateOrUpdateTags and DeleteTags declare.
async fn submit_tags(api: &Api, command: Command) -> Result<Tree, ApiError> {
    let refused = |rejection: Rejection| {
        let code = match rejection {
            Rejection::AutoScaling(AutoScalingRejection::GroupDeleting(_)) => {
                AutoScalingFault::ResourceInUse
            }
            Rejection::Tag(TagRejection::TooManyTags { .. }) => AutoScalingFault::LimitExceeded,
            other => return api.refusal(&other),
        };
        ApiError::new(ErrorCode::AutoScaling(code), rejection.to_string())
    };
    api.try_submit(command, |_, _| ()).await?.map_err(refused)?;
    Ok(Tree::object())
}

pub(super) async fn describe_tags(api: &Api, input: DescribeTagsInput) -> Result<Tree, ApiError> {
    let known = ["auto-scaling-group", "key", "value", "propagate-at-launch"];
    let filters = parse_filters(&input.filters, &known)?;
    let page = page(api, input.max_records, &input.next_token, PAGE_MAX)?;
    let show = move |state: &State| {
        // A tag is named by its group, a colon, which no group's name has, and its key.
        let after = page.after.as_deref().and_then(|after| after.split_once(':'));
        let first = after.map_or(Bound::Unbounded, |(group, _)| Bound::Included(group));
        let tags = state.auto_scaling_groups_from(first).flat_map(|group| {
            let tags = group.config.tags.iter();
            tags.map(move |(key, tag)| (group.name.as_str(), key.as_str(), tag))
        });
        let wanted = tags.filter(|(group, key, tag)| {
            let rest = after.is_none_or(|after| (*group, *key) > after);
            rest && filters.iter().all(|filter| match filter.name.as_str() {
                "auto-scaling-group" => filter.has(group),
                "key" => filter.has(key),
                "value" => filter.has(&tag.value),
                _ => filter.has(&tag.propagate.to_string()),
            })
        });
        let views =
            wanted.map(|(group, key, tag)| (format!("{group}:{key}"), view::tag(group, key, tag)));
        page.take(views, |(name, _)| name.clone())
    };
    let (shown, next_token) = api.read(show).await?;
    let shown = shown.into_iter().map(|(_, view)| view).collect();
    Ok(Tree::object().with("Tags", Tree::List(shown)).with_some("NextToken", next_token))
}

/// The groups named, or all, in the order of their names, after this one.
fn groups<'a>(
    state: &'a State,
    names: &'a [AutoScalingGroupName],
    after: Option<&'a str>,
) -> Box<dyn Iterator<Item = &'a Group> + 'a> {
    if names.is_empty() {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        return Box::new(state.auto_scaling_groups_from(first));
    }
    let rest = names.iter().filter(move |name| after.is_none_or(|after| name.as_str() > after));
    Box::new(rest.filter_map(|name| state.auto_scaling_group(name.as_str())))
}

impl FilterInput {
    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|wanted| wanted == value)
    }

    fn takes(&self, group: &Group) -> bool {
        let mut tags = group.config.tags.iter();
        match self.name.as_str() {
            "tag-key" => tags.any(|(key, _)| self.has(key)),
            "tag-value" => tags.any(|(_, tag)| self.has(&tag.value)),
            name => name
                .strip_prefix("tag:")
                .is_some_and(|wanted| tags.any(|(key, tag)| key == wanted && self.has(&tag.value))),
        }
    }
}

/// A name that ends with a colon stands for all that begin so.
fn parse_filters(given: &[FilterInput], known: &[&str]) -> Result<Vec<FilterInput>, ApiError> {
    let mut filters = Vec::new();
    for FilterInput { name, values } in given {
        let is_known = known.iter().any(|known| match known.ends_with(':') {
            true => name.starts_with(known),
            false => name == known,
        });
        if !is_known {
            return Err(invalid(format!(
                "The filter `{name}` is not known. Known ones: {}.",
                known.join(", ")
            )));
        }
        filters.push(FilterInput { name: name.clone(), values: values.clone() });
    }
    Ok(filters)
}

fn page(
    api: &Api,
    max_records: Option<u32>,
    next_token: &Option<String>,
    max: u32,
) -> Result<Page, ApiError> {
    let size = max_records.unwrap_or(PAGE_DEFAULT.min(max));
    if !(1..=max).contains(&size) {
        return Err(invalid(format!("MaxRecords is {size}; it must be between 1 and {max}.")));
    }
    Page::parse(&api.page_scope, Some(size.into()), next_token.as_deref()).map_err(|_| bad_token())
}

fn bad_token() -> ApiError {
    ApiError::new(
        ErrorCode::AutoScaling(AutoScalingFault::InvalidNextToken),
        "The token is not one that this operation gave. Give the NextToken of the last answer as \
         it was.",
    )
}

fn group_names(given: &[String]) -> Result<Vec<AutoScalingGroupName>, ApiError> {
    if given.len() > NAMES_MAX {
        return Err(invalid(format!(
            "AutoScalingGroupNames has {} entries; it may have {NAMES_MAX}.",
            given.len()
        )));
    }
    let mut names =
        given.iter().map(|name| group_name(name)).collect::<Result<Vec<_>, ApiError>>()?;
    names.sort();
    names.dedup();
    Ok(names)
}

fn instance_id(given: &str) -> Result<InstanceId, ApiError> {
    given.parse().map_err(|_| {
        invalid(format!(
            "Instance Id not found - No managed instance found for instance ID: {given}"
        ))
    })
}
