//! What follows from a command: events and an answer, or a rejection. Looks, never changes.
//!
//! One file per resource. Whatever depends on the clients' words alone was checked when the command
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
        Command::CreateCluster { name, settings, tags } => {
            clusters::create(state, name, settings, tags, at)
        }
        Command::UpdateCluster { name, change } => clusters::update(state, name, change),
        Command::DeleteCluster { name } => clusters::delete(state, name, at),
        Command::RegisterTaskDefinition(register) => {
            task_definitions::register(state, register, at)
        }
        Command::DeregisterTaskDefinition(revision) => {
            task_definitions::deregister(state, revision, at)
        }
        Command::DeleteTaskDefinitions(revisions) => {
            Ok(task_definitions::delete(state, revisions, at))
        }
        Command::RunTask(run) => tasks::run(state, run, at, ids),
        Command::StartTask(start) => tasks::start(state, start, at, ids),
        Command::StopTask { cluster, task, reason } => {
            tasks::stop(state, cluster, *task, reason.as_deref(), at)
        }
        Command::SubmitAttachmentStateChanges { cluster, changes } => {
            attachments::submit(state, cluster, changes, at)
        }
        Command::RegisterContainerInstance(register) => {
            hosts::register_by_api(state, register, at, ids)
        }
        Command::RegisterHost { host, request } => hosts::register(state, *host, request, at),
        Command::DeregisterContainerInstance { cluster, host, force } => {
            hosts::deregister(state, cluster, *host, *force, at)
        }
        Command::UpdateContainerInstancesState { cluster, hosts, status } => {
            hosts::update_state(state, cluster, hosts, *status, at)
        }
        Command::PutAttributes { cluster, attributes } => {
            hosts::put_attributes(state, cluster, attributes)
        }
        Command::DeleteAttributes { cluster, attributes } => {
            hosts::delete_attributes(state, cluster, attributes)
        }
        Command::Tag { resource, tags } => tags::tag(state, resource, tags, at),
        Command::Untag { resource, keys } => tags::untag(state, resource, keys, at),
        Command::PutAccountSetting { scope, name, value } => {
            Ok(account_settings::put(scope, name, value))
        }
        Command::DeleteAccountSetting { principal, name } => {
            Ok(account_settings::delete(state, principal, name))
        }
        Command::CreateJoinToken(token) => join_tokens::create(state, token),
        Command::RevokeJoinToken { id } => join_tokens::revoke(state, id),
        Command::UseJoinToken { secret_hash, requested_host, key } => {
            join_tokens::use_token(state, secret_hash, *requested_host, *key, at, ids)
        }
        Command::CertifyHost(certify) => identity::certify(state, certify, at),
        Command::AgentAnswered(answered) => Ok(reports::answered(state, answered, at)),
        Command::AgentSilent { host, why, refused } => {
            Ok(reports::silent(state, *host, why, *refused, at))
        }
        Command::StartEpoch { incarnation } => Ok(epochs::start(state, *incarnation, at)),
        Command::Recover { beyond, incarnation, proved } => {
            Ok(epochs::recover(state, *beyond, *incarnation, *proved, at))
        }
        Command::SkipLostOrders { host, to } => Ok(epochs::skip_lost_orders(state, *host, *to)),
        Command::Tick => Ok(epochs::tick(state, at)),
        Command::CreateService(create) => services::create(state, create, at, ids),
        Command::UpdateService(update) => services::update(state, update, at, ids),
        Command::DeleteService { service, force } => services::delete(state, service, *force, at),
        Command::StopServiceDeployment { deployment, rollback } => {
            services::stop_deployment(state, deployment, *rollback, at)
        }
        Command::ContinueServiceDeployment { deployment, hook, action } => {
            services::continue_deployment(state, deployment, *hook, *action, at)
        }
        Command::HookAnswered { service, hook, answer } => {
            Ok(services::hook_answered(state, *service, *hook, answer, at))
        }
        Command::CreateTaskSet(create) => task_sets::create(state, create, at, ids),
        Command::UpdateTaskSet { service, task_set, scale_permille } => {
            task_sets::update(state, service, *task_set, *scale_permille, at)
        }
        Command::DeleteTaskSet { service, task_set, force } => {
            task_sets::delete(state, service, *task_set, *force, at)
        }
        Command::UpdateServicePrimaryTaskSet { service, task_set } => {
            task_sets::set_primary(state, service, *task_set, at)
        }
        Command::UpdateTaskProtection { cluster, tasks, minutes } => {
            task_protection::update(state, cluster, tasks, *minutes, at)
        }
        Command::BeginScheduling => {
            Ok(Decision { notes: vec![Note::SchedulingBegins], ..Decision::default() })
        }
        Command::ReplaceLostTasks { cluster } => services::replace_lost_tasks(state, cluster, at),

        Command::PutMetricAlarm(put) => alarms::put(state, put, at),
        Command::SetAlarmState(set) => alarms::set_state(state, set, at),
        Command::DeleteAlarms { names } => alarms::delete(state, names),

        Command::CreateLogGroup { name, tags } => log_groups::create(state, name, tags, at),
        Command::PutLogRetention { name, days } => log_groups::put_retention(state, name, *days),
        Command::DeleteLogGroup { name } => log_groups::delete(state, name),

        Command::CreateAutoScalingGroup { name, config } => {
            auto_scaling::create(state, name, config, at, ids)
        }
        Command::UpdateAutoScalingGroup { name, change } => {
            auto_scaling::update(state, name, change, at)
        }
        Command::DeleteAutoScalingGroup { name, force } => {
            auto_scaling::delete(state, name, *force, at)
        }
        Command::SetDesiredCapacity { name, desired, honour_cooldown } => {
            auto_scaling::set_desired(state, name, *desired, *honour_cooldown, at)
        }
        Command::SetInstanceProtection { name, instances, protected } => {
            auto_scaling::protect(state, name, instances, *protected)
        }
        Command::TerminateInstance { instance, decrement } => {
            auto_scaling::terminate(state, *instance, *decrement, at)
        }
        Command::PutGroupTags(tags) => auto_scaling::put_tags(state, tags, at),
        Command::DeleteGroupTags(tags) => auto_scaling::delete_tags(state, tags, at),
        Command::LauncherAnswered { instance, verb, result } => {
            Ok(auto_scaling::launcher_answered(state, *instance, *verb, result, at))
        }
        Command::LauncherListed { launcher, unknown, missing } => {
            Ok(auto_scaling::launcher_listed(state, launcher, unknown, missing, at))
        }
        Command::MachinesListed(listed) => Ok(machines::listed(state, listed, at)),
        Command::CreateCapacityProvider(provider) => {
            capacity_providers::create(state, provider, at)
        }
        Command::UpdateCapacityProvider { name, change } => {
            capacity_providers::update(state, name, change, at)
        }
        Command::DeleteCapacityProvider { name } => capacity_providers::delete(state, name, at),
        Command::PutClusterCapacityProviders { cluster, capacity } => {
            capacity_providers::put_for_cluster(state, cluster, capacity)
        }
    }
}
