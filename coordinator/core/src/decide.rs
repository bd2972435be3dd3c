//! What follows from a command: events and an answer, or a rejection. Looks, never changes.
//!
//! `decide` hands each command to its resource's file. Whatever depends on the clients' words alone was checked when the command
//! was parsed; here are the rules that depend on the state.

mod account_settings;
mod alarms;
mod attachments;
mod auto_scaling;
mod capacity_providers;
mod clusters;
mod deadlines;
mod decision;
mod epochs;
pub mod explain;
mod gate;
mod heard;
mod hosts;
pub mod identity;
pub mod join_tokens;
mod log_groups;
mod machines;
mod missing_instances;
mod reports;
mod services;
mod tags;
mod task_definitions;
mod task_protection;
mod task_sets;
mod tasks;

use crate::{
    command::{Command, Envelope},
    launch::ids::Ids,
    rejection::Rejection,
    state::State,
};

use self::decision::each_once;
pub use self::decision::{Answer, Decision, Note, PlacementFailure};
#[cfg(test)]
pub(super) use heard::REVISIONS_LOST_MAX;
pub use tasks::{CLUSTER_TASKS_LISTED_MAX, PLACEMENT_CONSTRAINTS_MAX};

/// Decides a command. Deterministic: the same state and envelope give the same decision.
pub fn decide(state: &State, envelope: &Envelope) -> Result<Decision, Rejection> {
    let at = envelope.at;
    let ids = Ids::from(envelope.entropy);
    match &envelope.command {
        Command::Epoch(command) => Ok(epochs::decide_epoch(state, command, at)),
        Command::Cluster(command) => clusters::decide_cluster(state, command, at),
        Command::Definition(command) => task_definitions::decide_definition(state, command, at),
        Command::Task(command) => tasks::decide_task(state, command, at, ids),
        Command::Attachment(command) => attachments::decide_attachment(state, command, at),
        Command::Member(command) => identity::decide_member(state, command, at),
        Command::Host(command) => hosts::decide_host(state, command, at, ids),
        Command::Token(command) => join_tokens::decide_token(state, command, at, ids),
        Command::Tag(command) => tags::decide_tag(state, command, at),
        Command::Setting(command) => Ok(account_settings::decide_setting(state, command)),
        Command::Service(command) => services::decide_service(state, command, at, ids),
        Command::TaskSet(command) => task_sets::decide_task_set(state, command, at, ids),
        Command::Alarm(command) => alarms::decide_alarm(state, command, at),
        Command::LogGroup(command) => log_groups::decide_log_group(state, command, at),
        Command::AutoScaling(command) => auto_scaling::decide_auto_scaling(state, command, at, ids),
        Command::CapacityProvider(command) => {
            capacity_providers::decide_capacity_provider(state, command, at)
        }
    }
}
