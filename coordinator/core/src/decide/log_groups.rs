//! CreateLogGroup, PutRetentionPolicy, DeleteRetentionPolicy, DeleteLogGroup.

use longshore_common::clock::Timestamp;

use super::Decision;
use crate::{
    command::LogGroupCommand,
    event::{Event, LogGroupEvent},
    model::{
        log_group::{LOG_GROUPS_MAX, LogGroupName},
        tags::Tags,
    },
    rejection::{LogGroupRejection, Rejection},
    state::State,
};

pub(super) fn decide_log_group(
    state: &State,
    command: &LogGroupCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        LogGroupCommand::CreateLogGroup { name, tags } => create(state, name, tags, at),
        LogGroupCommand::PutLogRetention { name, days } => put_retention(state, name, *days),
        LogGroupCommand::DeleteLogGroup { name } => delete(state, name),
    }
}

fn create(
    state: &State,
    name: &LogGroupName,
    tags: &Tags,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    if state.log_group(name.as_str()).is_some() {
        return Err(LogGroupRejection::LogGroupExists(name.clone()).into());
    }
    if state.log_groups_len() >= LOG_GROUPS_MAX {
        return Err(LogGroupRejection::TooManyLogGroups { limit: LOG_GROUPS_MAX }.into());
    }
    Ok(Decision::of(vec![Event::LogGroup(LogGroupEvent::LogGroupCreated {
        name: name.clone(),
        tags: tags.clone(),
        at,
    })]))
}

fn put_retention(
    state: &State,
    name: &LogGroupName,
    days: Option<u32>,
) -> Result<Decision, Rejection> {
    let group = state.log_group(name.as_str()).ok_or(LogGroupRejection::LogGroupNotFound)?;
    if group.retention_days == days {
        return Ok(Decision::default());
    }
    Ok(Decision::of(vec![Event::LogGroup(LogGroupEvent::LogRetentionPut {
        name: name.clone(),
        days,
    })]))
}

fn delete(state: &State, name: &LogGroupName) -> Result<Decision, Rejection> {
    state.log_group(name.as_str()).ok_or(LogGroupRejection::LogGroupNotFound)?;
    Ok(Decision::of(vec![Event::LogGroup(LogGroupEvent::LogGroupDeleted { name: name.clone() })]))
}
