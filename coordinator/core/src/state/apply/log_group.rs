//! Log groups by name.

use std::ops::Bound;

use longshore_common::clock::Timestamp;

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::LogGroupEvent,
    model::{
        log_group::{LogGroup, LogGroupName},
        tags::Tags,
    },
    state::{State, changes::LogTo},
};

impl State {
    pub(super) fn apply_log_group(&mut self, event: &LogGroupEvent) {
        match event {
            LogGroupEvent::LogGroupCreated { name, tags, at } => {
                self.log_group_created(name, tags, *at)
            }
            LogGroupEvent::LogRetentionPut { name, days } => self.log_retention_put(name, *days),
            LogGroupEvent::LogGroupDeleted { name } => self.log_group_deleted(name),
        }
    }

    pub fn log_group(&self, name: &str) -> Option<&LogGroup> {
        self.log_groups.get(name)
    }

    pub fn log_groups_len(&self) -> usize {
        self.log_groups.len()
    }

    /// All groups from this name on, in the order of their names.
    pub fn log_groups_from(&self, first: Bound<&str>) -> impl Iterator<Item = &LogGroup> + use<'_> {
        self.log_groups.range::<str, _>((first, Bound::Unbounded)).map(|(_, group)| group)
    }

    pub(super) fn log_group_created(&mut self, name: &LogGroupName, tags: &Tags, at: Timestamp) {
        self.touch(EntityKey::LogGroup(name.clone()));
        self.log(LogTo::nothing(), format_args!("log group {name} made"));
        let (name, tags) = (name.clone(), tags.clone());
        let group = LogGroup { name: name.clone(), created_at: at, retention_days: None, tags };
        self.log_groups.insert(name, group);
    }

    pub(super) fn log_group_tags_mut(&mut self, name: &LogGroupName) -> Option<&mut Tags> {
        self.touch(EntityKey::LogGroup(name.clone()));
        self.log_groups.get_mut(name).map(|group| &mut group.tags)
    }

    pub(super) fn log_retention_put(&mut self, name: &LogGroupName, days: Option<u32>) {
        self.touch(EntityKey::LogGroup(name.clone()));
        let Some(group) = self.log_groups.get_mut(name) else { return };
        group.retention_days = days;
        match days {
            Some(days) => {
                self.log(LogTo::nothing(), format_args!("log group {name} keeps {days} days"));
            }
            None => {
                self.log(LogTo::nothing(), format_args!("log group {name} keeps what hosts keep"));
            }
        }
    }

    pub(super) fn log_group_deleted(&mut self, name: &LogGroupName) {
        self.touch(EntityKey::LogGroup(name.clone()));
        self.log_groups.remove(name);
        self.log(LogTo::nothing(), format_args!("log group {name} deleted"));
    }
}

impl Entity for kind::LogGroup {
    fn keys(state: &State) -> Vec<LogGroupName> {
        state.log_groups.keys().cloned().collect()
    }

    fn row(state: &State, name: &LogGroupName) -> Option<LogGroup> {
        state.log_group(name.as_str()).cloned()
    }

    fn restore(state: &mut State, row: LogGroup) {
        state.log_groups.insert(row.name.clone(), row);
    }
}
