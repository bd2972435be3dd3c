//! What is true. One field per kind of thing; `apply` (in `state/`, a file per resource) is the
//! only way to change it, and recovery is nothing but `apply`.
//!
//! Never: a refusal, a clock, an order that depends on chance. Things are kept in arenas under
//! small slots; ids and names lead to slots; slots are never journaled.

mod alarm;
mod arena;
mod auto_scaling;
mod capacity_provider;
mod cluster;
mod counter;
mod definition;
mod deployment;
mod dirty;
mod due;
mod entity;
mod group;
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

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    index::FastMap,
    mutual_tls::KeyHash,
    protocol::Epoch,
    task_policy::TaskPolicy,
};

use self::{
    alarm::Alarms,
    arena::Arena,
    dirty::Dirty,
    due::Agenda,
    entity::{Entity, kind},
    group::Groups,
    log_group::LogGroups,
    token::{ClientTokens, IdleMembers},
};
use super::event::Event;
use crate::{
    checkpoint::record::{MemberRecord, MetaRecord},
    model::{
        client_token::ClientTokenUse,
        deployment::DeploymentRecord,
        host::{HostStatus, Membership},
        name::{CapacityProviderName, ClusterName, ServiceName},
        revision::RevisionRecord,
        service::{HookId, ServiceId, ServicePolicy},
        task::TaskRecord,
    },
    placement::GroupNames,
};

pub use crate::placement::HostSlot;
pub use auto_scaling::Group;
pub use cluster::Cluster;
pub use definition::{Definition, Definitions, fixes_digest};
pub use dirty::Row;
pub use due::Due;
pub use entity::{EntityKey, RESTORE_ORDER, Record};
pub use host::{Host, QueuedOrder, managed_instance_id};
pub use picture::Picture;
pub(crate) use service::hash_of;
pub use service::{Revision, Service};
pub use service_task::{Counts, ServiceTask, Standing, ran_briefly};
pub use setting::{AccountSettings, DEFAULT_LOG_DRIVER_MODE};
pub use tally::{Ended, Tally};
pub use task::{Task, checked_health};
pub use token::JoinTokens;
pub use waiting::{Deadline, WAITING_TASKS_MAX, Waiting, WaitingSlot};

/// Slots: positions in the arenas, reused after removal, meaningful only inside one process.
pub type ClusterSlot = u32;
pub type DefinitionSlot = u32;
pub type TaskSlot = u32;
pub type ServiceSlot = u32;
pub type GroupSlot = u32;

/// Starts of which it is kept when they were, and by which epoch: more than were ever made on an old
/// journal before somebody went on from it.
const STARTS_KEPT_MAX: usize = 1_000;

/// Recoveries of which it is kept where the journal had parted from what was lost.
const RECOVERIES_KEPT_MAX: usize = 100;

/// How long services stop and start nothing after `recover`: longer than an agent that can reach the
/// coordinator needs to register, if the journal does not know its host (75 s), and to say what it runs.
const WORD_AWAITED: Duration = Duration::from_secs(90);

/// A start of the coordinator: the counter of its epoch, and the journal's sequence with which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub counter: u64,
    pub seq: u64,
}

#[derive(Default)]
pub struct State {
    /// The journal's sequence of the batch that was applied last.
    seq: u64,
    epoch: Epoch,
    /// Every epoch this journal has had, by counter: an agent that has seen another one proves
    /// that the journal went back (design.md rule 3).
    epochs: BTreeMap<u64, u64>,
    /// The epoch of the last `recover`: hosts may have tasks to adopt from then on.
    recovered: Option<Epoch>,
    /// The journal's sequence of that `recover`.
    recovered_seq: u64,
    /// The last batch of the copy that was restored as this journal; volatile, as the file says it.
    restored: Option<u64>,
    /// The journal's sequence with which each epoch began, by its counter: the last ones.
    starts: BTreeMap<u64, u64>,
    /// What was asked for before, as a time, in journals of earlier releases: see `unsure_below`.
    unsure_before: Option<Timestamp>,
    /// What was asked for by a batch below may have been done, and may be over, in the part of the
    /// journal that the last `recover` left behind.
    unsure_below: Option<u64>,
    /// `unsure_below` of the last recoveries, by the counters of their epochs: where the journal parted
    /// from what was lost.
    recoveries: BTreeMap<u64, u64>,
    /// See the function of this name.
    word_awaited_until: Option<Timestamp>,
    clusters: Arena<Cluster>,
    clusters_by_name: BTreeMap<ClusterName, ClusterSlot>,
    definitions: Definitions,
    hosts: Arena<Host>,
    hosts_by_id: FastMap<HostId, u32>,
    /// Host ids given to agents that joined, with the clusters their tokens allowed.
    members: BTreeMap<HostId, Membership>,
    /// Of the members' keys.
    hosts_by_key: FastMap<KeyHash, HostId>,
    idle_members: IdleMembers,
    tasks: Arena<Task>,
    tasks_by_id: FastMap<TaskId, TaskSlot>,
    waiting: Arena<Waiting>,
    waiting_by_launch: FastMap<TaskId, WaitingSlot>,
    /// What is to be done at its time, be the scheduler at work or not.
    deadlines: BTreeSet<(Timestamp, Deadline)>,
    services: Arena<Service>,
    services_by_id: FastMap<ServiceId, ServiceSlot>,
    /// Services that were made with a client token, by when; the same token makes another one once
    /// it has expired or its service is deleted.
    service_tokens: BTreeMap<(ClusterName, String), BTreeSet<(Timestamp, ServiceId)>>,
    service_policy: ServicePolicy,
    task_policy: TaskPolicy,
    agenda: Agenda,
    /// Services with a deployment under way that an alarm can fail, by the alarm's name.
    alarm_watchers: BTreeMap<String, BTreeSet<ServiceSlot>>,
    /// Calls of lifecycle hooks that are to be made, by when.
    hook_calls: BTreeSet<(Timestamp, ServiceSlot, HookId)>,
    /// After a start, not before hosts have said what they have seen; volatile.
    scheduling_began: bool,
    scheduling_held: bool,
    /// Clusters in which a service or a launch waits for room.
    clusters_with_waiting: BTreeSet<ClusterSlot>,
    /// Clusters whose services are looked at some at a time; volatile.
    clusters_with_rounds: BTreeSet<ClusterSlot>,
    /// When the current epoch began: no host's silence counts from before.
    epoch_started_at: Timestamp,
    /// Hosts of whose tasks this coordinator has not heard yet; volatile.
    unheard: BTreeSet<HostSlot>,
    groups: Groups,
    client_tokens: ClientTokens,
    join_tokens: JoinTokens,
    account_settings: AccountSettings,
    alarms: Alarms,
    log_groups: LogGroups,
    auto_scaling: auto_scaling::Groups,
    capacity_providers: capacity_provider::CapacityProviders,
    /// Deleted clusters and deregistered hosts, by since when: still described for a while.
    inactive: BTreeSet<(Timestamp, Forgettable)>,
    dirty: Dirty,
    tallies: tally::Tallies,
    changes: Changes,
    /// While a start replays what everybody has heard of already.
    replaying: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Forgettable {
    Host(HostId),
    Cluster(ClusterName),
    Service(ServiceId),
    CapacityProvider(CapacityProviderName),
}

/// What a batch changed that others must hear of once it is durable.
#[derive(Default)]
pub struct Changes {
    /// Hosts with a new order, digest or acknowledgement.
    pub hosts: Vec<HostId>,
    /// Tasks that left the state for the history.
    pub stopped: Vec<TaskRecord>,
    /// Service deployments as they are now, for the history.
    pub deployments: Vec<(ServiceId, DeploymentRecord)>,
    pub revisions: Vec<(ServiceId, RevisionRecord)>,
    /// Messages of services: (service, message, when).
    pub service_events: Vec<(ServiceId, String, Timestamp)>,
    /// Something outside is to be done ([`State::hook_calls`], [`State::launcher_calls`]).
    pub effects: bool,
    /// One line of the log each: (host, what).
    pub log: Vec<LogLine>,
}

/// A state change as the operator reads it (design.md rule 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub cluster: Option<ClusterName>,
    pub host: Option<HostId>,
    pub task: Option<TaskId>,
    pub service: Option<ServiceName>,
    pub what: String,
}

impl State {
    /// An empty state to restore rows and replay batches into; nothing of that is told again.
    pub fn to_recover() -> Self {
        State { replaying: true, ..State::default() }
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether this journal remembers to have had `epoch`.
    /// Of one before those that are kept nothing speaks against it.
    pub fn knows_epoch(&self, epoch: Epoch) -> bool {
        match self.epochs.get(&epoch.counter) {
            Some(incarnation) => *incarnation == epoch.incarnation,
            None => {
                let first = self.epochs.first_key_value();
                self.epochs.len() == STARTS_KEPT_MAX
                    && first.is_some_and(|(first, _)| epoch.counter < *first)
            }
        }
    }

    pub fn recovered(&self) -> Option<Epoch> {
        self.recovered
    }

    /// Until when hosts are given the time to say what they run beside the journal, and nobody starts
    /// what may run: after `recover`, and anew after each start until one has waited for so long.
    pub fn word_awaited_until(&self) -> Option<Timestamp> {
        self.word_awaited_until
    }

    /// Until when what hosts run beside the journal may still come to light, while that is to come:
    /// besides, a while after each start in which some were not heard yet. Nothing is stopped for being
    /// one too many, and no group grows or shrinks.
    pub fn may_come_to_light_until(&self, at: Timestamp) -> Option<Timestamp> {
        let unheard = self.has_recovered() && self.unheard_len() > 0;
        let of_start = unheard.then(|| self.epoch_started_at.saturating_add(WORD_AWAITED));
        self.word_awaited_until.max(of_start).filter(|until| *until > at)
    }

    pub fn epoch_started_at(&self) -> Timestamp {
        self.epoch_started_at
    }

    /// Whether this journal once was an old one: hosts may run, and be, what it does not know. It
    /// stays so over later starts, since a host may be heard for the first time long after.
    pub fn has_recovered(&self) -> bool {
        self.recovered.is_some()
    }

    /// Whether a backup was put into this journal's place, from which nobody has gone on yet.
    pub fn awaits_recover(&self) -> bool {
        self.restored.is_some_and(|up_to| self.recovered_seq <= up_to)
    }

    /// Tells of what the journal is a copy.
    pub fn set_restored(&mut self, up_to: Option<u64>) {
        self.restored = up_to;
    }

    /// Whether what was asked for at this time and by this batch may have been done, and may be over,
    /// without a word of it in this journal: it was old when `recover` went on from it.
    pub fn is_unsure(&self, asked_at: Timestamp, asked_seq: u64) -> bool {
        match self.unsure_below {
            Some(below) => asked_seq < below,
            None => self.unsure_before.is_some_and(|before| asked_at < before),
        }
    }

    /// The first start that is none of those by which a host has seen `seen`: of what it and later ones
    /// gave, the host knows nothing.
    pub fn first_start_beside(&self, seen: Epoch) -> Start {
        let known = self.knows_epoch(seen);
        let first = seen.counter.saturating_add(u64::from(known));
        let own = self.starts.range(first..).next().or_else(|| self.starts.last_key_value());
        // A copy of the journal may have been started fewer times than what it is a copy of.
        let lost = !known && self.is_of_lost_journal(seen);
        let recovery = self.recoveries.range(seen.counter..).find(|_| lost);
        let proved =
            recovery.and_then(|(_, below)| self.starts.iter().find(|(_, seq)| *seq >= below));
        match own.into_iter().chain(proved).min_by_key(|(_, seq)| **seq) {
            Some((&counter, &seq)) => Start { counter, seq },
            None => Start { counter: self.epoch.counter, seq: self.seq.saturating_add(1) },
        }
    }

    /// The start whose epoch this is.
    pub fn start(&self) -> Start {
        let counter = self.epoch.counter;
        Start { counter, seq: self.starts.get(&counter).copied().unwrap_or_default() }
    }

    /// The start before the one with this counter; one before all batches when that is not known.
    pub fn start_before(&self, counter: u64) -> Start {
        let before = self.starts.range(..counter).next_back();
        before.map_or(Start { counter: 0, seq: 0 }, |(&counter, &seq)| Start { counter, seq })
    }

    /// Whether an epoch may have been of the part of the journal that the last `recover` left
    /// behind. One that is not below the recovery's was not known to it: whoever has seen that one
    /// obeys no epoch of ours.
    pub fn is_of_lost_journal(&self, epoch: Epoch) -> bool {
        self.recovered.is_some_and(|recovered| epoch.counter < recovered.counter)
    }

    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters_by_name.get(name).map(|&slot| &self.clusters[slot])
    }

    pub fn clusters_len(&self) -> usize {
        self.clusters_by_name.len()
    }

    pub fn cluster_at(&self, slot: ClusterSlot) -> &Cluster {
        &self.clusters[slot]
    }

    /// All clusters after this name, in the order of their names, INACTIVE ones included.
    pub fn clusters_after(&self, after: Option<&str>) -> impl Iterator<Item = &Cluster> + use<'_> {
        let start = match after {
            Some(name) => Bound::Excluded(name),
            None => Bound::Unbounded,
        };
        let clusters = self.clusters_by_name.range::<str, _>((start, Bound::Unbounded));
        clusters.map(|(_, &slot)| &self.clusters[slot])
    }

    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    pub fn definition_at(&self, slot: DefinitionSlot) -> &Definition {
        self.definitions.at(slot)
    }

    pub fn host(&self, id: HostId) -> Option<&Host> {
        self.hosts_by_id.get(&id).map(|&slot| &self.hosts[slot])
    }

    pub fn host_at(&self, slot: HostSlot) -> &Host {
        &self.hosts[slot.0]
    }

    /// The host `id` if it is in `cluster`.
    pub fn host_in(&self, cluster: &Cluster, id: HostId) -> Option<&Host> {
        cluster.hosts.get(&id).map(|slot| &self.hosts[slot.0])
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// Since when a host's silence counts: it has a full grace from each start on.
    pub fn silent_since(&self, host: &Host) -> Option<Timestamp> {
        host.silent_since().map(|since| since.max(self.epoch_started_at))
    }

    pub fn hosts_len(&self) -> usize {
        self.hosts_by_id.len()
    }

    pub fn membership(&self, host: HostId) -> Option<&Membership> {
        self.members.get(&host)
    }

    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks_by_id.get(&id).map(|&slot| &self.tasks[slot])
    }

    pub fn task_at(&self, slot: TaskSlot) -> &Task {
        &self.tasks[slot]
    }

    pub fn tasks_len(&self) -> usize {
        self.tasks_by_id.len()
    }

    pub fn group_name(&self, group: crate::placement::GroupKey) -> &str {
        self.groups.name(group)
    }

    pub fn group_key(&self, name: &str) -> Option<crate::placement::GroupKey> {
        self.groups.key(name)
    }

    /// For constraints that name groups.
    pub fn groups(&self) -> &dyn GroupNames {
        &self.groups
    }

    pub fn client_token(&self, cluster: &ClusterName, token: &str) -> Option<&ClientTokenUse> {
        self.client_tokens.get(cluster, token)
    }

    pub(super) fn expired_client_tokens(
        &self,
        at: Timestamp,
    ) -> impl Iterator<Item = (ClusterName, String)> {
        self.client_tokens.expired(at)
    }

    pub fn join_tokens(&self) -> &JoinTokens {
        &self.join_tokens
    }

    pub fn account_settings(&self) -> &AccountSettings {
        &self.account_settings
    }

    /// Takes what the batches since the last call changed.
    pub fn take_changes(&mut self) -> Changes {
        self.settle_tallies();
        std::mem::take(&mut self.changes)
    }

    /// Ends a batch: everything applied since the last call has this sequence in the journal.
    pub fn set_seq(&mut self, seq: u64) {
        assert!(seq > self.seq, "the journal's sequence only grows");
        self.seq = seq;
    }

    /// Makes an event true. `seq` is the batch it belongs to.
    pub fn apply(&mut self, event: &Event, seq: u64) {
        match event {
            Event::EpochStarted { epoch, at } => self.epoch_started(*epoch, *at, seq),
            Event::Recovered { epoch, at, unsure_before, unsure_below } => {
                self.epoch_started(*epoch, *at, seq);
                self.word_awaited_until = Some(at.saturating_add(WORD_AWAITED));
                (self.recovered, self.recovered_seq) = (Some(*epoch), seq);
                (self.unsure_before, self.unsure_below) = (*unsure_before, *unsure_below);
                self.recoveries.extend(unsure_below.map(|below| (epoch.counter, below)));
                if self.recoveries.len() > RECOVERIES_KEPT_MAX {
                    self.recoveries.pop_first();
                }
                self.unsure_launches_keep_no_deadline();
            }
            Event::WordAwaited => {
                self.touch(EntityKey::Meta(()));
                self.word_awaited_until = None;
            }
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

    fn epoch_started(&mut self, epoch: Epoch, at: Timestamp, seq: u64) {
        self.touch(EntityKey::Meta(()));
        self.epoch_started_at = at;
        let awaits_on = self.word_awaited_until.is_some();
        self.word_awaited_until = awaits_on.then(|| at.saturating_add(WORD_AWAITED));
        self.nobody_is_heard(epoch.counter);
        self.all_are_due();
        self.epoch = epoch;
        self.epochs.insert(epoch.counter, epoch.incarnation);
        self.starts.insert(epoch.counter, seq);
        // A journal of an earlier program may hold more.
        while self.epochs.len() > STARTS_KEPT_MAX {
            self.epochs.pop_first();
        }
        while self.starts.len() > STARTS_KEPT_MAX {
            self.starts.pop_first();
        }
    }
}

impl Entity for kind::Meta {
    type Key = ();
    type Row = MetaRecord;

    fn id((): &()) -> Vec<u8> {
        Vec::new()
    }

    fn keys(_: &State) -> Vec<()> {
        vec![()]
    }

    fn row(state: &State, (): &()) -> Option<MetaRecord> {
        let (epoch, epochs, recovered) = (state.epoch, state.epochs.clone(), state.recovered);
        Some(MetaRecord {
            epoch,
            epochs,
            recovered,
            recovered_seq: state.recovered_seq,
            starts: state.starts.clone(),
            unsure_before: state.unsure_before,
            unsure_below: state.unsure_below,
            recoveries: state.recoveries.clone(),
            word_awaited_until: state.word_awaited_until,
        })
    }

    fn restore(state: &mut State, row: MetaRecord) {
        state.epoch = row.epoch;
        state.epochs = row.epochs;
        state.recovered = row.recovered;
        state.recovered_seq = row.recovered_seq;
        state.starts = row.starts;
        state.unsure_before = row.unsure_before;
        state.unsure_below = row.unsure_below;
        state.recoveries = row.recoveries;
        // Rows of earlier programs hold the last one alone.
        let last = row.recovered.zip(row.unsure_below);
        state.recoveries.extend(last.map(|(epoch, below)| (epoch.counter, below)));
        state.word_awaited_until = row.word_awaited_until;
    }
}

impl Entity for kind::Member {
    type Key = HostId;
    type Row = MemberRecord;

    fn id(host: &HostId) -> Vec<u8> {
        host.value().to_be_bytes().into()
    }

    fn keys(state: &State) -> Vec<HostId> {
        state.members.keys().copied().collect()
    }

    fn row(state: &State, host: &HostId) -> Option<MemberRecord> {
        let membership = state.members.get(host)?.clone();
        Some(MemberRecord { host: *host, membership })
    }

    fn restore(state: &mut State, row: MemberRecord) {
        state.insert_member(row.host, row.membership);
    }
}
