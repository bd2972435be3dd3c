//! What is true. One field per kind of thing; `apply` (in `state/`, a file per resource) is the
//! only way to change it, and recovery is nothing but `apply`.
//!
//! Never: a refusal, a clock, an order that depends on chance. Things are kept in arenas under
//! small slots; ids and names lead to slots; slots are never journaled.

mod apply;
mod arena;
mod auto_scaling;
mod changes;
mod cluster;
mod counter;
mod definition;
mod dirty;
mod due;
mod forgettable;
mod group;
mod host;
mod picture;
mod service;
mod service_task;
mod setting;
mod slot;
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
    arena::Arena,
    dirty::Dirty,
    due::Agenda,
    forgettable::Forgettable,
    group::Groups,
    token::{ClientTokens, IdleMembers},
};
use crate::{
    model::{
        alarm::{Alarm, AlarmName},
        capacity_provider::CapacityProvider,
        client_token::ClientTokenUse,
        host::Membership,
        log_group::{LogGroup, LogGroupName},
        name::{CapacityProviderName, ClusterName},
        service::{HookId, ServiceId, ServicePolicy},
    },
    placement::GroupNames,
};

pub(crate) use self::service::hash_of;
pub(crate) use self::task::AttachmentStep;
pub use self::{
    auto_scaling::Group,
    changes::{Changes, LogLine},
    cluster::Cluster,
    definition::{Definition, Definitions, fixes_digest},
    dirty::Row,
    due::Due,
    host::{Host, QueuedOrder, managed_instance_id},
    picture::Picture,
    service::{Revision, Service},
    service_task::{Counts, ServiceTask, Standing},
    setting::{AccountSettings, DEFAULT_LOG_DRIVER_MODE},
    slot::{ClusterSlot, DefinitionSlot, GroupSlot, ServiceSlot, TaskSlot, WaitingSlot},
    tally::{Ended, Tally},
    task::{Task, checked_health, ran_briefly},
    token::JoinTokens,
    waiting::{Deadline, WAITING_TASKS_MAX, Waiting},
};
pub use crate::{
    checkpoint::entity::{EntityKey, RESTORE_ORDER, Record},
    placement::HostSlot,
};

/// Maximum number of the coordinator's starts whose time and epoch are kept (ours): more than were
/// ever made on an old journal before somebody continued from it.
const STARTS_KEPT_MAX: usize = 1_000;

/// Maximum number of recoveries of which the journal's point of parting from what was lost is kept
/// (ours).
const RECOVERIES_KEPT_MAX: usize = 100;

/// Time after `recover` in which services stop and start nothing (ours): longer than an agent that
/// can reach the coordinator needs to register, if the journal does not know its host (75 s), and
/// to say what it runs.
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
    /// What batches with a lower sequence asked for may have been done, and may be over, in the part of the
    /// journal that was lost before the last `recover`.
    unsure_below: Option<u64>,
    /// `unsure_below` of the last recoveries, by the counters of their epochs: where the journal parted
    /// from what was lost.
    recoveries: BTreeMap<u64, u64>,
    /// Until when hosts may tell what they did in the lost part of the journal, since the last `recover`.
    word_awaited_until: Option<Timestamp>,
    clusters: Arena<ClusterSlot, Cluster>,
    clusters_by_name: BTreeMap<ClusterName, ClusterSlot>,
    definitions: Definitions,
    hosts: Arena<HostSlot, Host>,
    hosts_by_id: FastMap<HostId, HostSlot>,
    /// Host ids given to agents that joined, with the clusters their tokens allowed.
    members: BTreeMap<HostId, Membership>,
    /// Hosts by the keys of the members.
    hosts_by_key: FastMap<KeyHash, HostId>,
    idle_members: IdleMembers,
    tasks: Arena<TaskSlot, Task>,
    tasks_by_id: FastMap<TaskId, TaskSlot>,
    waiting: Arena<WaitingSlot, Waiting>,
    waiting_by_launch: FastMap<TaskId, WaitingSlot>,
    /// What is to be done at its time, be the scheduler at work or not.
    deadlines: BTreeSet<(Timestamp, Deadline)>,
    /// PROVISIONING tasks that may have run, and may be over, in a lost part of the journal.
    unsure_tasks: BTreeSet<TaskId>,
    services: Arena<ServiceSlot, Service>,
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
    /// True once scheduling has begun: after a start, not before hosts have said what they have
    /// seen; volatile.
    scheduling_began: bool,
    scheduling_held: bool,
    /// Clusters in which a service or a launch waits for room.
    clusters_with_waiting: BTreeSet<ClusterSlot>,
    /// Clusters whose services are looked at some at a time; volatile.
    clusters_with_rounds: BTreeSet<ClusterSlot>,
    /// When the current epoch began: no host's silence counts from an earlier time.
    epoch_started_at: Timestamp,
    /// Hosts of whose tasks this coordinator has not heard yet; volatile.
    unheard: BTreeSet<HostSlot>,
    groups: Groups,
    client_tokens: ClientTokens,
    join_tokens: JoinTokens,
    account_settings: AccountSettings,
    alarms: BTreeMap<AlarmName, Alarm>,
    log_groups: BTreeMap<LogGroupName, LogGroup>,
    auto_scaling: auto_scaling::Groups,
    capacity_providers: BTreeMap<CapacityProviderName, CapacityProvider>,
    /// Deleted clusters and deregistered hosts, by since when: still described for a while.
    inactive: BTreeSet<(Timestamp, Forgettable)>,
    dirty: Dirty,
    tallies: tally::Tallies,
    changes: Changes,
    /// True while a start replays what everybody has heard of already.
    replaying: bool,
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

    /// Whether this journal remembers to have had `epoch`. Against an epoch before those that are
    /// kept, nothing speaks.
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

    /// End of the time in which hosts say what they run beside the journal, and nobody starts what
    /// may run already: after `recover`, and anew after each start until one start has waited for
    /// that time.
    pub fn word_awaited_until(&self) -> Option<Timestamp> {
        self.word_awaited_until
    }

    /// Until when hosts may still report tasks that the journal does not know; `None` once that time is
    /// over. It begins with `recover`, and again with each later start while a host is unheard. Until then
    /// no surplus task is stopped and no group changes its size.
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

    /// Whether a backup was put into this journal's place, from which nobody has continued yet.
    pub fn awaits_recover(&self) -> bool {
        self.restored.is_some_and(|up_to| self.recovered_seq <= up_to)
    }

    /// Tells of what the journal is a copy.
    pub fn set_restored(&mut self, up_to: Option<u64>) {
        self.restored = up_to;
    }

    /// Whether what was asked for at this time and by this batch may have been done, and may be
    /// over, without a word of it in this journal, which was old when `recover` continued from it.
    pub fn is_unsure(&self, asked_at: Timestamp, asked_seq: u64) -> bool {
        match self.unsure_below {
            Some(below) => asked_seq < below,
            None => self.unsure_before.is_some_and(|before| asked_at < before),
        }
    }

    /// The first start of the coordinator whose orders a host cannot have seen, when the newest epoch that
    /// the host has seen is `seen`.
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
        &self.hosts[slot]
    }

    /// The host `id` if it is in `cluster`.
    pub fn host_in(&self, cluster: &Cluster, id: HostId) -> Option<&Host> {
        cluster.hosts.get(&id).map(|&slot| &self.hosts[slot])
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// Time since which a host's silence counts: each start gives the host a full grace.
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

    /// Names of the groups, for constraints that name groups.
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
}
