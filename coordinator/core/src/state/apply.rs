//! How events become state: `apply` hands each event to its resource's file, where the rows of a checkpoint
//! are made and put back, too.
//!
//! Every change of an entity begins with `touch`. Never: a refusal.

mod alarm;
mod auto_scaling;
mod capacity_provider;
mod cluster;
mod definition;
mod deployment;
mod dirty;
mod due;
mod entity;
mod epoch;
mod host;
mod log_group;
mod picture;
mod service;
mod service_task;
mod setting;
mod tags;
mod tally;
mod task;
mod token;
mod waiting;

use super::State;
use crate::{event::Event, model::host::HostStatus};

impl State {
    /// Makes an event true. `seq` is the batch it belongs to.
    pub fn apply(&mut self, event: &Event, seq: u64) {
        match event {
            Event::EpochStarted { epoch, at } => self.epoch_started(*epoch, *at, seq),
            Event::Recovered { epoch, at, unsure_before, unsure_below } => {
                self.journal_recovered(*epoch, *at, *unsure_before, *unsure_below, seq);
            }
            Event::WordAwaited => self.word_awaited(),
            Event::ClusterCreated { name, settings, tags, at } => {
                self.cluster_created(name, settings, tags, *at);
            }
            Event::ClusterUpdated { name, settings } => self.cluster_updated(name, settings),
            Event::ClusterDeleted { name, at } => self.cluster_deleted(name, *at),
            Event::ClusterForgotten { name } => self.cluster_forgotten(name),
            Event::TaskDefinitionRegistered(registered) => self.definition_registered(registered),
            Event::TaskDefinitionDeregistered { family, revision, at } => {
                self.definition_deregistered(family, *revision, *at);
            }
            Event::TaskDefinitionDeleteRequested { family, revision, at } => {
                self.definition_delete_requested(family, *revision, *at);
            }
            Event::TaskDefinitionDeleted { family, revision } => {
                self.definition_deleted(family, *revision);
            }
            Event::TasksStarted(started) => self.tasks_started(started, seq),
            Event::TaskStopRequested { task, cause, at } => {
                self.task_stop_requested(*task, cause, *at, seq);
            }
            Event::TaskReported { task, report, at } => {
                self.task_reported(*task, report, *at, seq);
            }
            Event::TaskStopped { task, cause, report, ran_briefly, at } => {
                self.task_stopped(*task, cause, report.as_deref(), *ran_briefly, *at, seq);
            }
            Event::ClientTokensExpired { tokens } => self.client_tokens_expired(tokens),
            Event::HostJoined { host, cluster, at } => self.host_joined(*host, cluster, *at),
            Event::HostCertified { host, key, by, at } => {
                self.host_certified(*host, *key, *by, *at);
            }
            Event::HostRegistered(registered) => self.host_registered(registered, seq),
            Event::HostDrained { host, .. } => self.host_status(*host, HostStatus::Draining),
            Event::HostActivated { host, .. } => self.host_status(*host, HostStatus::Active),
            Event::HostDeregistered { host, at } => self.host_deregistered(*host, *at, seq),
            Event::HostForgotten { host } => self.host_forgotten(*host),
            Event::MembersForgotten { hosts } => self.members_forgotten(hosts),
            Event::HostConnected { host, at } => self.host_connectivity(*host, true, false, *at),
            Event::LostOrdersSkipped { host, to } => self.lost_orders_skipped(*host, *to, seq),
            Event::HostDisconnected { host, refused, at, .. } => {
                self.host_connectivity(*host, false, *refused, *at);
            }
            Event::HostSilenceChanged { host, refused, at, .. } => {
                self.host_silence_changed(*host, *refused, *at);
            }
            Event::HostEngineChanged { host, engine, at } => {
                self.host_engine_changed(*host, *engine, *at);
            }
            Event::HostToldAll { host, recovered } => self.host_told_all(*host, *recovered),
            Event::HostStorageChanged { host, storage, at } => {
                self.host_storage_changed(*host, *storage, *at);
            }
            Event::AttributesPut { host, attributes } => self.attributes_put(*host, attributes),
            Event::AttributesDeleted { host, names } => self.attributes_deleted(*host, names),
            Event::CustomAttributesDeleted { host, names } => {
                self.custom_attributes_deleted(*host, names)
            }
            Event::StopCandidateConfirmed { host, task, generation, cause } => {
                self.stop_candidate_confirmed(*host, *task, *generation, cause, seq);
            }
            Event::Tagged { resource, tags } => self.tagged(resource, tags),
            Event::Untagged { resource, keys } => self.untagged(resource, keys),
            Event::AccountSettingPut { scope, name, value } => {
                self.account_setting_put(scope, name, value);
            }
            Event::AccountSettingDeleted { principal, name } => {
                self.account_setting_deleted(principal, name);
            }
            Event::JoinTokenCreated(token) => self.join_token_created(token),
            Event::JoinTokenUsed { id } => self.join_token_used(id),
            Event::JoinTokenRevoked { id } => self.join_token_revoked(id),
            Event::JoinTokensExpired { ids } => self.join_tokens_expired(ids),
            Event::TaskAdopted(adopted) => self.task_adopted(adopted, seq),
            Event::ServiceCreated(created) => self.service_created(created),
            Event::ServiceConfigured { service, config, .. } => {
                self.service_configured(*service, config);
            }
            Event::ServiceDraining { service, .. } => self.service_draining(*service),
            Event::ServiceDeleted { service, at } => self.service_deleted(*service, *at),
            Event::ServiceForgotten { service } => self.service_forgotten(*service),
            Event::RevisionCreated { service, revision } => {
                self.revision_created(*service, revision);
            }
            Event::RevisionChanged { service, revision } => {
                self.revision_changed(*service, revision);
            }
            Event::RevisionDropped { service, revision } => {
                self.revision_dropped(*service, *revision);
            }
            Event::PrimaryChanged { service, revision, at } => {
                self.primary_changed(*service, *revision, *at);
            }
            Event::DeploymentSet { service, deployment } => {
                self.deployment_set(*service, deployment);
            }
            Event::ServiceLogged { service, message, at } => {
                self.service_logged(*service, message, *at);
            }
            Event::ServiceSteady { service, at } => self.service_steady(*service, *at),
            Event::TasksStopRequested { tasks, cause, failed, at } => {
                self.tasks_stop_requested(tasks, cause, *failed, *at, seq);
            }
            Event::TasksSettled { tasks, .. } => self.tasks_settled(tasks),
            Event::TasksLost { host, tasks, .. } => self.tasks_lost(*host, tasks),
            Event::TasksReturned { host, tasks, .. } => self.tasks_returned(*host, tasks),
            Event::TaskMoved { service, moving } => self.task_moved(*service, *moving),
            Event::TaskProtectionPut { tasks, until } => self.task_protection_put(tasks, *until),
            Event::ReplacingPaused { cluster, lost_hosts, hosts, .. } => {
                self.replacing_paused(cluster, *lost_hosts, *hosts);
            }
            Event::ReplacingResumed { cluster, overridden, .. } => {
                self.replacing_resumed(cluster, *overridden);
            }

            Event::AlarmPut(put) => self.alarm_put(put),
            Event::AlarmStateSet(set) => self.alarm_state_set(set),
            Event::AlarmsDeleted { names } => self.alarms_deleted(names),

            Event::LogGroupCreated { name, tags, at } => self.log_group_created(name, tags, *at),
            Event::LogRetentionPut { name, days } => self.log_retention_put(name, *days),
            Event::LogGroupDeleted { name } => self.log_group_deleted(name),

            Event::GroupScaled { group, desired, why, at } => {
                self.group_scaled(group, *desired, why, *at);
            }
            Event::GroupExcess { group, since } => self.group_excess(group, *since),
            Event::TasksWaiting(waiting) => self.tasks_waiting(waiting, seq),
            Event::WaitingTasksEnded { launch, tasks, cause, at } => {
                self.waiting_tasks_ended(*launch, tasks, cause, *at);
            }
            Event::TaskTimeoutSet { task, timeout_ms } => {
                self.task_timeout_set(*task, *timeout_ms);
            }
            Event::AutoScalingGroupCreated { name, uid, config, at } => {
                self.auto_scaling_group_created(name, *uid, config, *at);
            }
            Event::AutoScalingGroupConfigured { name, config, at } => {
                self.auto_scaling_group_configured(name, config, *at);
            }
            Event::AutoScalingGroupDeleting { name, .. } => self.auto_scaling_group_deleting(name),
            Event::AutoScalingGroupDeleted { name } => self.auto_scaling_group_deleted(name),
            Event::InstancesWanted { group, count, at } => {
                self.instances_wanted(group, *count, *at);
            }
            Event::InstanceSet { group, instance, why, shape } => {
                self.instance_set(group, instance, why, shape.as_deref());
            }
            Event::InstanceGone { group, instance, .. } => self.instance_gone(group, *instance),
            Event::CapacityProviderSet(provider) => self.capacity_provider_set(provider),
            Event::CapacityProviderForgotten { name } => self.capacity_provider_forgotten(name),
        }
    }
}
