//! Log groups: those that were made here, and those that hosts know because a task wrote to them.

use std::{collections::BTreeMap, ops::Bound};

use longshore_common::{
    clock::Timestamp,
    logs::{
        options::LOG_NAME_CHARS_MAX,
        query::{LogAsk, LogReply},
    },
};
use longshore_core::{
    Command,
    command::LogGroupCommand,
    model::{log_group::LogGroupName, tags::Tags},
};
use serde::Deserialize;

use super::{fan_out, input, invalid, no_such_group};
use crate::{
    api::ecs::tags,
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
        protocol::tree::Tree,
    },
};

/// What PutRetentionPolicy takes.
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateLogGroupInput {
    log_group_name: String,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    log_group_class: Option<LogGroupClass>,
    deletion_protection_enabled: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum LogGroupClass {
    Standard,
    InfrequentAccess,
    Delivery,
    Essentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogGroupInput {
    log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRetentionPolicyInput {
    log_group_name: String,
    retention_in_days: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogGroupsInput {
    #[serde(default)]
    account_identifiers: Vec<String>,
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
    include_linked_accounts: Option<bool>,
    log_group_class: Option<LogGroupClass>,
    #[serde(default)]
    log_group_identifiers: Vec<String>,
}

pub(super) async fn create(api: &Api, input: CreateLogGroupInput) -> Result<Tree, ApiError> {
    let name = input::group_name("logGroupName", &input.log_group_name)?;
    let refused = [
        (input.kms_key_id.is_some(), "kmsKeyId"),
        (input.deletion_protection_enabled == Some(true), "deletionProtectionEnabled"),
        (
            input.log_group_class.is_some_and(|class| class != LogGroupClass::Standard),
            "a logGroupClass other than STANDARD",
        ),
    ];
    if let Some((_, what)) = refused.iter().find(|(given, _)| *given) {
        return Err(invalid(format!(
            "This version of Longshore does not honour {what} of a log group. Leave it out."
        )));
    }
    let tags = tags::parse_map(input.tags)?;
    api.submit(Command::LogGroup(LogGroupCommand::CreateLogGroup { name, tags }), |_, _| ())
        .await?;
    Ok(Tree::object())
}

/// Gone is what every host was told: none that has it may be away, or it would come back.
pub(super) async fn delete(api: &Api, input: LogGroupInput) -> Result<Tree, ApiError> {
    let name = input::group_name("logGroupName", &input.log_group_name)?;
    let made = api.read(|state| state.log_group(name.as_str()).is_some()).await?;
    let heard = fan_out::ask(api, None, |_| one_group(&name)).await?;
    if !made && !is_known(&heard, &name) {
        return Err(heard.not_found(no_such_group()));
    }
    if !heard.away.is_empty() {
        return Err(heard.not_found(ApiError::new(
            ErrorCode::ServiceUnavailable,
            "The log group is not deleted: each host must remove its part.",
        )));
    }
    let group = name.as_str().to_owned();
    fan_out::ask(api, None, |_| LogAsk::DeleteGroup { group: group.clone() }).await?;
    if made {
        api.submit(Command::LogGroup(LogGroupCommand::DeleteLogGroup { name }), |_, _| ()).await?;
    }
    Ok(Tree::object())
}

pub(super) async fn put_retention(
    api: &Api,
    input: PutRetentionPolicyInput,
) -> Result<Tree, ApiError> {
    let name = input::group_name("logGroupName", &input.log_group_name)?;
    let days = input.retention_in_days;
    if !RETENTION_DAYS.contains(&days) {
        let valid: Vec<String> = RETENTION_DAYS.iter().map(u32::to_string).collect();
        return Err(invalid(format!(
            "retentionInDays is {days}; it must be one of {}.",
            valid.join(", ")
        )));
    }
    set_retention(api, name, Some(days)).await
}

pub(super) async fn delete_retention(api: &Api, input: LogGroupInput) -> Result<Tree, ApiError> {
    let name = input::group_name("logGroupName", &input.log_group_name)?;
    set_retention(api, name, None).await
}

/// A group that only hosts know of is one of ours from now on.
async fn set_retention(api: &Api, name: LogGroupName, days: Option<u32>) -> Result<Tree, ApiError> {
    make_ours(api, &name).await?;
    let put = Command::LogGroup(LogGroupCommand::PutLogRetention { name: name.clone(), days });
    api.submit(put, |_, _| ()).await?;
    // Who does not hear it now hears it with the next question for events of this group.
    let group = name.as_str().to_owned();
    let told = |_| LogAsk::SetRetention { group: group.clone(), days };
    if let Err(error) = fan_out::ask(api, None, told).await {
        tracing::info!(%error, group, "not every host was told how long to keep a log group");
    }
    Ok(Tree::object())
}

/// Whether there is such a group, here or on a host.
pub(super) async fn exists(api: &Api, name: &LogGroupName) -> Result<(), ApiError> {
    if api.read(|state| state.log_group(name.as_str()).is_some()).await? {
        return Ok(());
    }
    let heard = fan_out::ask(api, None, |_| one_group(name)).await?;
    match is_known(&heard, name) {
        true => Ok(()),
        false => Err(heard.not_found(no_such_group())),
    }
}

/// Makes a group that only hosts know of one of ours.
pub(super) async fn make_ours(api: &Api, name: &LogGroupName) -> Result<(), ApiError> {
    exists(api, name).await?;
    if api.read(|state| state.log_group(name.as_str()).is_none()).await? {
        // Somebody may have made it meanwhile.
        let create = Command::LogGroup(LogGroupCommand::CreateLogGroup {
            name: name.clone(),
            tags: Tags::new(),
        });
        let _ = api.try_submit(create, |_, _| ()).await?;
    }
    Ok(())
}

fn one_group(name: &LogGroupName) -> LogAsk {
    let name = name.as_str().to_owned();
    LogAsk::Groups { prefix: name, part: String::new(), after: None, limit: 1 }
}

/// Whether a host knows the group: the first group whose name begins with a group's own name is the
/// group itself.
fn is_known(heard: &fan_out::Heard, name: &LogGroupName) -> bool {
    heard.replies.iter().any(|(_, reply)| match reply {
        LogReply::Groups(groups) => groups.iter().any(|group| group.name == name.as_str()),
        LogReply::Streams(_) | LogReply::Events(_) | LogReply::Done => false,
    })
}

/// A group as DescribeLogGroups shows it.
struct GroupSummary {
    created_at: Timestamp,
    retention_days: Option<u32>,
    bytes: u64,
}

pub(super) async fn describe(api: &Api, input: DescribeLogGroupsInput) -> Result<Tree, ApiError> {
    if !input.account_identifiers.is_empty() || input.include_linked_accounts == Some(true) {
        return Err(invalid("Longshore has one account: there are no linked ones."));
    }
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(invalid("logGroupNamePrefix and logGroupNamePattern cannot both be given."));
    }
    let named =
        input.log_group_identifiers.iter().map(|given| input::group(api, None, Some(given)));
    let named: Vec<LogGroupName> = named.collect::<Result<_, _>>()?;
    let page = input::page(api, input.limit, input.next_token.as_deref())?;
    let prefix = input.log_group_name_prefix.unwrap_or_default();
    let part = input.log_group_name_pattern.unwrap_or_default();
    if prefix.len().max(part.len()) > LOG_NAME_CHARS_MAX {
        return Err(invalid(format!("A name has at most {LOG_NAME_CHARS_MAX} characters.")));
    }
    let none = input.log_group_class.is_some_and(|class| class != LogGroupClass::Standard);
    let mut shown: BTreeMap<String, GroupSummary> = BTreeMap::new();
    if !none {
        let after = page.after.clone();
        // One more, so that it is known whether there are more.
        let limit = page.size as u32 + 1;
        let heard = fan_out::ask(api, None, |_| LogAsk::Groups {
            prefix: prefix.clone(),
            part: part.clone(),
            after: after.clone(),
            limit,
        })
        .await?;
        for (_, reply) in heard.replies {
            let LogReply::Groups(groups) = reply else { continue };
            for group in groups {
                let entry = shown.entry(group.name).or_insert(GroupSummary {
                    created_at: group.created_at,
                    retention_days: None,
                    bytes: 0,
                });
                entry.created_at = entry.created_at.min(group.created_at);
                entry.bytes += group.bytes;
            }
        }
        let made = api.read(|state| {
            let first = match &after {
                Some(after) if *after >= prefix => Bound::Excluded(after.as_str()),
                _ => Bound::Included(prefix.as_str()),
            };
            let groups = state.log_groups_from(first);
            groups
                .take_while(|group| group.name.as_str().starts_with(prefix.as_str()))
                .filter(|group| group.name.as_str().contains(part.as_str()))
                .take(limit as usize)
                .cloned()
                .collect::<Vec<_>>()
        });
        for group in made.await? {
            let entry = shown.entry(group.name.as_str().to_owned()).or_insert(GroupSummary {
                created_at: group.created_at,
                retention_days: None,
                bytes: 0,
            });
            entry.created_at = group.created_at;
            entry.retention_days = group.retention_days;
        }
    }
    let is_named =
        |name: &str| named.is_empty() || named.iter().any(|wanted| wanted.as_str() == name);
    let shown = shown.into_iter().filter(|(name, _)| is_named(name));
    let (groups, next_token) = page.take(shown, |(name, _)| name.clone());
    let views = groups.into_iter().map(|(name, group)| view(api, &name, &group)).collect();
    Ok(Tree::object().with("logGroups", Tree::List(views)).with_some("nextToken", next_token))
}

fn view(api: &Api, name: &str, group: &GroupSummary) -> Tree {
    let arn = api.identity.log_group(name);
    Tree::object()
        .with("logGroupName", name)
        .with("creationTime", Tree::Whole(group.created_at.0))
        .with_some("retentionInDays", group.retention_days)
        .with("metricFilterCount", 0)
        .with("arn", format!("{arn}:*"))
        .with("storedBytes", Tree::Whole(group.bytes))
        .with("logGroupClass", "STANDARD")
        .with("logGroupArn", arn)
}
